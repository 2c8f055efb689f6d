{{/* The DaemonSet of one group of nodes: dict root, group. The default group has the name "". */}}
{{- define "cellar.daemonset" -}}
{{- $group := .group }}
{{- with .root }}
{{- $name := include "cellar.name" . }}
{{- $plugin := dir (include "cellar.endpoint" .) }}
{{- $types := list }}
{{- range $group.pools }}{{ $types = append $types .type }}{{ end -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ $name }}-node{{ with $group.name }}-{{ . }}{{ end }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "cellar.labels" . | nindent 4 }}
    app.kubernetes.io/component: node
    {{- with $group.name }}
    cellar.csi.internal/group: {{ . }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "cellar.selector" . | nindent 6 }}
      app.kubernetes.io/component: node
      {{- with $group.name }}
      cellar.csi.internal/group: {{ . }}
      {{- end }}
  updateStrategy:
    type: RollingUpdate
    # no surge: the new driver cannot open the pools while the old one has them
    rollingUpdate: {maxSurge: 0, maxUnavailable: {{ .Values.node.maxUnavailable }}}
  template:
    metadata:
      labels:
        {{- include "cellar.selector" . | nindent 8 }}
        app.kubernetes.io/component: node
        {{- with $group.name }}
        cellar.csi.internal/group: {{ . }}
        {{- end }}
      {{- with .Values.node.annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ $name }}-node
      automountServiceAccountToken: false # it has no rights in the API, and no need of any
      priorityClassName: {{ .Values.node.priorityClassName }}
      terminationGracePeriodSeconds: 30 # it leaves within 20 s of SIGTERM
      {{- include "cellar.pullSecrets" . | nindent 6 }}
      nodeSelector:
        {{- toYaml $group.nodeSelector | nindent 8 }}
      tolerations:
        {{- toYaml $group.tolerations | nindent 8 }}
      {{- with $group.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: cellar
          image: {{ include "cellar.image" . }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          args:
            - serve
            - --node-id=$(NODE_NAME)
            {{- if not .Values.nodeSidecars.enabled }}
            - --kubelet-dir={{ .Values.kubeletDir }}
            {{- end }}
            - --state-dir={{ $plugin }}/state # survives the pod; it is on the node, below kubelet's folder
            - --listen=:{{ .Values.node.port }}
            - --tls-dir=/etc/cellar/tls
            - --max-volumes={{ int64 .Values.maxVolumes }}
            {{- range $group.pools }}
            - --pool={{ include "cellar.pool" . }}
            {{- end }}
            {{- include "cellar.commonArgs" . | nindent 12 }}
            {{- with $group.extraArgs }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          env:
            - name: NODE_NAME
              valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
            - name: CELLAR_ENDPOINT # for commands: kubectl exec ds/{{ $name }}-node -- cellar pools
              value: unix://{{ include "cellar.endpoint" . }}
          ports:
            - {name: cellar, containerPort: {{ .Values.node.port }}}
            - {name: metrics, containerPort: {{ .Values.node.metricsPort }}}
          livenessProbe:
            httpGet: {path: /healthz, port: {{ ternary 9606 "metrics" .Values.nodeSidecars.enabled }}} # who asks Probe
            initialDelaySeconds: 5
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /{{ ternary "healthz" "readyz" .Values.nodeSidecars.enabled }}, port: metrics}
            periodSeconds: 5
            timeoutSeconds: 5
          securityContext:
            # Kubelet and the pods must see its mounts, and Kubernetes allows Bidirectional mount propagation to
            # privileged containers only. It also attaches loop devices and mounts (CAP_SYS_ADMIN), and grows
            # mounted ext4 filesystems (CAP_SYS_RESOURCE).
            privileged: true
            readOnlyRootFilesystem: true
          resources:
            {{- toYaml $group.resources | nindent 12 }}
          volumeMounts:
            # at the same path as on the node, because kubelet sends paths below it
            - {name: kubelet, mountPath: {{ .Values.kubeletDir }}, mountPropagation: Bidirectional}
            - {name: dev, mountPath: /dev}
            # the driver disables discards of loop devices there; by default it is read-only in containerd before 2.0
            - {name: sys, mountPath: /sys}
            {{- if .Values.ioLimits.enabled }}
            # the driver sets IO limits in the control group of all pods; a runtime may show only the container's own
            - {name: cgroup, mountPath: /sys/fs/cgroup}
            {{- end }}
            - {name: tls, mountPath: /etc/cellar/tls, readOnly: true}
            - {name: run, mountPath: /run}
            - {name: tmp, mountPath: /tmp}
            {{- if has "lvm" $types }}
            - {name: lvm-lock, mountPath: /run/lock}
            - {name: udev, mountPath: /run/udev, readOnly: true}
            {{- end }}
            {{- range $group.pools }}
            {{- if eq .type "loopfile" }}
            # the container also sees a disk that is mounted there later
            - {name: pool-{{ .name }}, mountPath: {{ .where }}, mountPropagation: HostToContainer}
            {{- end }}
            {{- end }}
        {{- if .Values.nodeSidecars.enabled }}
        - name: registrar
          image: {{ .Values.nodeSidecars.registrar.image }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          args:
            - --csi-address=/csi/csi.sock
            - --kubelet-registration-path={{ include "cellar.endpoint" . }}
            - --http-endpoint=:9605
          livenessProbe:
            httpGet: {path: /healthz, port: 9605}
            initialDelaySeconds: 5
            timeoutSeconds: 5
          securityContext:
            {{- include "cellar.confined" . | nindent 12 }}
            runAsUser: 0 # the directories of kubelet are root's
          resources:
            {{- toYaml .Values.nodeSidecars.registrar.resources | nindent 12 }}
          volumeMounts:
            - {name: plugin, mountPath: /csi}
            - {name: registry, mountPath: /registration}
        - name: livenessprobe
          image: {{ .Values.nodeSidecars.livenessProbe.image }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          args:
            - --csi-address=/csi/csi.sock
            - --http-endpoint=:9606
          securityContext:
            {{- include "cellar.confined" . | nindent 12 }}
            runAsUser: 0 # the socket is root's
          resources:
            {{- toYaml .Values.nodeSidecars.livenessProbe.resources | nindent 12 }}
          volumeMounts:
            - {name: plugin, mountPath: /csi}
        {{- end }}
        {{- if .Values.page.enabled }}
        {{- include "cellar.page" (dict "root" . "socket" "plugin" "user" 0) | nindent 8 }}
        {{- end }}
      volumes:
        - name: kubelet
          hostPath: {path: {{ .Values.kubeletDir }}, type: Directory}
        - name: dev
          hostPath: {path: /dev, type: Directory}
        - name: sys
          hostPath: {path: /sys, type: Directory}
        {{- if .Values.ioLimits.enabled }}
        - name: cgroup
          hostPath: {path: /sys/fs/cgroup, type: Directory}
        {{- end }}
        - name: tls
          secret: # the controller makes it; kubelet waits for it
            secretName: {{ ternary .Values.tls.nodeSecret (printf "%s-node" $name) (eq .Values.tls.mode "secrets") }}
        - name: run
          emptyDir: {medium: Memory, sizeLimit: 16Mi}
        - name: tmp
          emptyDir: {medium: Memory, sizeLimit: 16Mi}
        {{- if has "lvm" $types }}
        - name: lvm-lock # LVM's locks and the driver's, shared with the node's own commands
          hostPath: {path: /run/lock, type: DirectoryOrCreate}
        - name: udev
          hostPath: {path: /run/udev, type: DirectoryOrCreate}
        {{- end }}
        {{- range $group.pools }}
        {{- if eq .type "loopfile" }}
        - name: pool-{{ .name }}
          hostPath: {path: {{ .where }}, type: DirectoryOrCreate}
        {{- end }}
        {{- end }}
        {{- if or .Values.nodeSidecars.enabled .Values.page.enabled }}
        - name: plugin
          hostPath: {path: {{ $plugin }}, type: DirectoryOrCreate}
        {{- end }}
        {{- if .Values.page.enabled }}
        - name: no-token
          emptyDir: {}
        {{- end }}
        {{- if .Values.nodeSidecars.enabled }}
        - name: registry
          hostPath: {path: {{ .Values.kubeletDir }}/plugins_registry, type: Directory}
        {{- end }}
{{- end }}
{{- end -}}
