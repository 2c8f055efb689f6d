{{/*
Set `groups` in the dict `into`: the default group, if there are `pools`, and the `nodeGroups`, each with name,
pools, nodeSelector, affinity, tolerations, resources and extraArgs. It is filled in, not rendered: a number that is
written as YAML and read again is not what it was.
*/}}
{{- define "cellar.nodeGroups" -}}
{{- $node := .root.Values.node -}}
{{- $groups := list -}}
{{- if .root.Values.pools -}}
{{- $default := merge (dict "name" "" "pools" .root.Values.pools) (pick $node "nodeSelector" "tolerations" "resources" "extraArgs") -}}
{{- $groups = append $groups (set $default "affinity" $node.affinity) -}}
{{- if .root.Values.nodeGroups -}}
{{- include "cellar.otherNodes" (dict "root" .root "group" $default) -}}
{{- end -}}
{{- end -}}
{{- range .root.Values.nodeGroups -}}
{{- $group := dict "name" .name "pools" .pools -}}
{{- $selector := dict -}}
{{- range $key, $value := merge (deepCopy (.nodeSelector | default dict)) ($node.nodeSelector | default dict) -}}
{{- $_ := set $selector $key (toString $value) -}}
{{- end -}}
{{- $_ := set $group "nodeSelector" $selector -}}
{{- $_ := set $group "extraArgs" (concat ($node.extraArgs | default list) (.extraArgs | default list)) -}}
{{- $own := . -}}
{{- range list "affinity" "tolerations" "resources" -}}
{{- $_ := set $group . (ternary (get $own .) (get $node .) (hasKey $own .)) -}}
{{- end -}}
{{- $groups = append $groups $group -}}
{{- end -}}
{{- $_ := set .into "groups" $groups -}}
{{- end -}}

{{/* Keep the default group away from the nodes of the others, by its affinity: dict root, group. */}}
{{- define "cellar.otherNodes" -}}
{{- $affinity := deepCopy (.group.affinity | default dict) -}}
{{- $node := get $affinity "nodeAffinity" | default dict -}}
{{- $required := get $node "requiredDuringSchedulingIgnoredDuringExecution" | default dict -}}
{{- $terms := get $required "nodeSelectorTerms" | default (list dict) -}}
{{- range .root.Values.nodeGroups -}}
{{- $labels := .nodeSelector | default dict -}}
{{- $longer := list -}}
{{- range $term := $terms -}}
{{- range $key := keys $labels | sortAlpha -}}
{{/* a node lacks one of the group's labels, or another: terms are alternatives */}}
{{- $other := dict "key" $key "operator" "NotIn" "values" (list (toString (get $labels $key))) -}}
{{- $expressions := append (get $term "matchExpressions" | default list) $other -}}
{{- $longer = append $longer (set (deepCopy $term) "matchExpressions" $expressions) -}}
{{- end -}}
{{- end -}}
{{- $terms = $longer -}}
{{- end -}}
{{- $_ := set $required "nodeSelectorTerms" $terms -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" $required -}}
{{- $_ := set .group "affinity" (set $affinity "nodeAffinity" $node) -}}
{{- end -}}

{{/* Refuse groups that would put two drivers on a node, as far as their names and labels tell. */}}
{{- define "cellar.checkGroups" -}}
{{- if not (or .Values.pools .Values.nodeGroups) -}}
{{- fail "pools and nodeGroups are both empty: no node would have a driver" -}}
{{- end -}}
{{- $several := or .Values.pools (gt (len (.Values.nodeGroups | default list)) 1) -}}
{{- $earlier := list -}}
{{- range $group := .Values.nodeGroups -}}
{{- if and $several (not $group.nodeSelector) -}}
{{- fail (printf "nodeGroups: %s has no nodeSelector, so its nodes would also have the driver of another group (the list `pools` is one: set it to [] to have none)" $group.name) -}}
{{- end -}}
{{- range $other := $earlier -}}
{{- if eq $group.name $other.name -}}
{{- fail (printf "nodeGroups: there are two groups named %s" $group.name) -}}
{{- end -}}
{{- include "cellar.refuseWithin" (dict "wider" $other "group" $group) -}}
{{- include "cellar.refuseWithin" (dict "wider" $group "group" $other) -}}
{{- end -}}
{{- $earlier = append $earlier $group -}}
{{- end -}}
{{- end -}}

{{/* Refuse a group whose nodes all have the labels of a wider one: dict wider, group. */}}
{{- define "cellar.refuseWithin" -}}
{{- $labels := .group.nodeSelector | default dict -}}
{{- $outside := false -}}
{{- range $key, $value := .wider.nodeSelector -}}
{{- if ne (toString $value) (toString (get $labels $key)) -}}{{- $outside = true -}}{{- end -}}
{{- end -}}
{{- if not (or $outside .wider.affinity .group.affinity) -}}
{{- fail (printf "nodeGroups: every node that the nodeSelector of %s selects is also selected by that of %s, and a node has one driver: give the groups one label with different values" .group.name .wider.name) -}}
{{- end -}}
{{- if and (not $outside) (eq (len $labels) (len .wider.nodeSelector)) -}}
{{- fail (printf "nodeGroups: %s and %s have the same nodeSelector, and a node has one driver: give the groups one label with different values" .wider.name .group.name) -}}
{{- end -}}
{{- end -}}
