{{/* The node labels for a configuration, given `root` and `name`. */}}
{{- define "dphub.nodeSelector" -}}
{{- with .root.Values.nodeSelector }}
{{- toYaml . }}
{{- end }}
{{- with .name }}
{{ include "dphub.configurationLabel" . }}: {{ . | quote }}
{{- end }}
{{- end }}

{{/* For each word that `requireHardware` accepts, the labels of Node Feature Discovery and of the vendors' GPU operators; one of them suffices. */}}
{{- define "dphub.hardwareLabels" -}}
gpu: [feature.node.kubernetes.io/pci-10de.present, nvidia.com/gpu.present]
rdma: [feature.node.kubernetes.io/pci-15b3.present]
amd: [feature.node.kubernetes.io/pci-1002.present, feature.node.kubernetes.io/amd-gpu]
{{- end }}

{{/*
The affinity of a configuration's pods, given `root` and `name`. Kubernetes combines terms with "or", and the expressions
of a term with "and". So each of the user's terms is repeated for each hardware label. The configuration without a name
excludes the nodes that have the configuration label.
*/}}
{{- define "dphub.affinity" -}}
{{- $affinity := deepCopy (.root.Values.affinity | default dict) -}}
{{- $known := include "dphub.hardwareLabels" . | fromYaml -}}
{{- $either := list -}}
{{- range .root.Values.requireHardware -}}
{{- range get $known . -}}
{{- $either = append $either (list (dict "key" . "operator" "In" "values" (list "true"))) -}}
{{- end -}}
{{- end -}}
{{- $all := list -}}
{{- if and .root.Values.config.map (not .name) -}}
{{- $all = list (dict "key" (include "dphub.configurationLabel" .) "operator" "DoesNotExist") -}}
{{- end -}}
{{- if or $either $all -}}
{{- $required := dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" dict $affinity -}}
{{- $terms := list -}}
{{- range $term := $required.nodeSelectorTerms | default (list dict) -}}
{{- range $either | default (list list) -}}
{{- $expressions := concat ($term.matchExpressions | default list) . $all -}}
{{- $terms = append $terms (merge (dict "matchExpressions" $expressions) $term) -}}
{{- end -}}
{{- end -}}
{{- $node := dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) -}}
{{- $affinity = mergeOverwrite $affinity (dict "nodeAffinity" $node) -}}
{{- end -}}
{{- with $affinity -}}
{{- toYaml . -}}
{{- end -}}
{{- end }}
