{{- define "cellar.name" -}}
{{- if contains "cellar" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-cellar" (.Release.Name | trunc 33 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "cellar.selector" -}}
app.kubernetes.io/name: cellar
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cellar.labels" -}}
{{ include "cellar.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "cellar.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cellar.topologyKey" -}}
{{ .Values.topologyKey | default (printf "%s/node" .Values.driverName) }}
{{- end -}}

{{- define "cellar.endpoint" -}}
{{ printf "%s/plugins/%s/csi.sock" .Values.kubeletDir .Values.driverName }}
{{- end -}}

{{/* "true" or "": the snapshotter exits at once if its CRDs are missing. */}}
{{- define "cellar.snapshots" -}}
{{- if eq (toString .Values.snapshots.enabled) "auto" -}}
{{- if .Capabilities.APIVersions.Has "snapshot.storage.k8s.io/v1" -}}true{{- end -}}
{{- else if eq (toString .Values.snapshots.enabled) "true" -}}true{{- end -}}
{{- end -}}

{{- define "cellar.groups" -}}
{{- if include "cellar.snapshots" . -}}
{{- if eq (toString .Values.snapshots.groups) "auto" -}}
{{- if .Capabilities.APIVersions.Has "groupsnapshot.storage.k8s.io/v1" -}}true{{- end -}}
{{- else if eq (toString .Values.snapshots.groups) "true" -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The flags that `cellar route` and `cellar serve` must have in common. */}}
{{- define "cellar.commonArgs" -}}
- --driver-name={{ .Values.driverName }}
- --topology-key={{ include "cellar.topologyKey" . }}
- --metrics=:{{ .Values.node.metricsPort }}
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- if not .Values.attach.enabled }}
- --no-attach
{{- end }}
{{- end -}}

{{/* One pool in the form of `--pool`: name=type:where,key=value. */}}
{{- define "cellar.pool" -}}
{{- $options := list (printf "%s=%s:%s" .name .type .where) -}}
{{- range $key, $value := omit . "name" "type" "where" -}}
{{- if and (kindIs "float64" $value) (eq (toString $value) (toString (floor $value))) -}}
{{- $value = int64 $value -}}{{/* else helm writes 1.073741824e+09 */}}
{{- end -}}
{{- if kindIs "map" $value -}}
{{- $parts := list -}}
{{- range $name, $part := $value -}}
{{- if kindIs "float64" $part -}}{{- $part = int64 $part -}}{{- end -}}
{{- $parts = append $parts (printf "%s=%s" $name (toString $part)) -}}
{{- end -}}
{{- $value = join ";" $parts -}}
{{- end -}}
{{- $options = append $options (printf "%s=%s" $key (toString $value)) -}}
{{- end -}}
{{ join "," $options }}
{{- end -}}

{{/* Refuse IO limits if they are not enforced: dict root, where, parameters. */}}
{{- define "cellar.requireLimits" -}}
{{- $where := .where -}}
{{- $enabled := .root.Values.ioLimits.enabled -}}
{{- range $key, $value := .parameters -}}
{{- if and (not $enabled) (has $key (list "readIops" "writeIops" "readBps" "writeBps")) (not (regexMatch "^0+([kKmMgGtTpP].*)?$" (toString $value))) -}}
{{- fail (printf "%s: %s=%v: limits are enforced with ioLimits.enabled=true only; set that, leave it out, or set it to 0, which means no limit" $where $key $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A peer of a NetworkPolicy: the pods of a list of namespaces. */}}
{{- define "cellar.namespaces" -}}
- from:
    - namespaceSelector:
        matchExpressions:
          - {key: kubernetes.io/metadata.name, operator: In, values: [{{ join ", " . }}]}
{{- end -}}

{{/* Refuse kube-system: the controller may create any Secret and use any Lease of its namespace. */}}
{{- define "cellar.refuseNamespace" -}}
{{- if and (eq .Release.Namespace "kube-system") (not .Values.namespace.allowKubeSystem) -}}
{{- fail "the controller may create any Secret and change any Lease of its namespace, among them those of kube-system: install into a namespace of its own (helm install -n cellar-system), or set namespace.allowKubeSystem=true" -}}
{{- end -}}
{{- end -}}

{{- define "cellar.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "cellar.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Whether the page is on the pod network: "true" or "". */}}
{{- define "cellar.pageOnNetwork" -}}
{{- if and .Values.page.enabled .Values.page.podNetwork -}}true{{- end -}}
{{- end -}}

{{/* The container with the page: dict root, socket (the volume with the driver's socket), user (whose socket it is). */}}
{{- define "cellar.page" -}}
{{- $page := .root.Values.page -}}
- name: page
  image: {{ include "cellar.image" .root }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    - page
    - --wait
    - --listen={{ ternary "" "127.0.0.1" $page.podNetwork }}:{{ $page.port }}
  env:
    - name: CELLAR_ENDPOINT
      value: unix:///csi/csi.sock
  ports:
    - {name: page, containerPort: {{ $page.port }}}
  securityContext:
    {{- include "cellar.confined" .root | nindent 4 }}
    runAsUser: {{ .user }} # the socket is this user's
    runAsGroup: {{ .user }}
  resources:
    {{- toYaml $page.resources | nindent 4 }}
  volumeMounts:
    - {name: {{ .socket }}, mountPath: /csi, readOnly: true}
    # where Kubernetes would mount the token of the service account: the page needs none
    - {name: no-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end -}}

{{/* A sidecar of the controller: dict root, name, sidecar, port, args, env. */}}
{{- define "cellar.sidecar" -}}
- name: {{ .name }}
  image: {{ .sidecar.image }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    - --csi-address=/csi/csi.sock
    - --timeout=60s
    - --leader-election
    - --leader-election-namespace=$(NAMESPACE)
    - --http-endpoint=:{{ .port }}
    {{- range concat .args (.sidecar.extraArgs | default list) }}
    - {{ . }}
    {{- end }}
  env:
    - name: NAMESPACE
      valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
    - name: POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
  ports:
    - {name: {{ .name }}, containerPort: {{ .port }}}
  livenessProbe:
    httpGet: {path: /healthz/leader-election, port: {{ .port }}}
    initialDelaySeconds: 10
    periodSeconds: 20
    timeoutSeconds: 5
  securityContext:
    {{- include "cellar.confined" . | nindent 4 }}
  resources:
    {{- toYaml .sidecar.resources | nindent 4 }}
  volumeMounts:
    - {name: socket, mountPath: /csi}
{{- end -}}
