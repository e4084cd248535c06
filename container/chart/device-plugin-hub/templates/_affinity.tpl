{{/* By what `requireHardware` names: labels of Node Feature Discovery and of NVIDIA's GPU operator, one of which suffices. */}}
{{- define "dphub.hardwareLabels" -}}
gpu: [feature.node.kubernetes.io/pci-10de.present, nvidia.com/gpu.present]
rdma: [feature.node.kubernetes.io/pci-15b3.present]
{{- end }}

{{/* The affinity of the pods. Kubernetes combines the terms by or, so each one of the user is there once per label. */}}
{{- define "dphub.affinity" -}}
{{- $affinity := deepCopy (.Values.affinity | default dict) -}}
{{- $known := include "dphub.hardwareLabels" . | fromYaml -}}
{{- $labels := list -}}
{{- range .Values.requireHardware -}}
{{- $labels = concat $labels (get $known .) -}}
{{- end -}}
{{- if $labels -}}
{{- $required := dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" dict $affinity -}}
{{- $terms := list -}}
{{- range $term := $required.nodeSelectorTerms | default (list dict) -}}
{{- range $labels -}}
{{- $found := dict "key" . "operator" "In" "values" (list "true") -}}
{{- $more := append ($term.matchExpressions | default list) $found -}}
{{- $terms = append $terms (merge (dict "matchExpressions" $more) $term) -}}
{{- end -}}
{{- end -}}
{{- $node := dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) -}}
{{- $affinity = mergeOverwrite $affinity (dict "nodeAffinity" $node) -}}
{{- end -}}
{{- with $affinity -}}
{{- toYaml . -}}
{{- end -}}
{{- end }}
