{{/* The files in /etc/dphub. */}}
{{- define "dphub.files" -}}
{{- $files := merge (dict "circus.ini" .Values.config.circusIni) (.Values.config.plugins | default dict) -}}
{{- if or (hasKey $files "gpu.yaml") (include "dphub.gpuKeys" . | fromYaml) -}}
{{- $files = set $files "gpu.yaml" (include "dphub.gpuFile" (dict "root" . "text" (get $files "gpu.yaml"))) -}}
{{- end -}}
{{- toYaml $files -}}
{{- end }}

{{/* A gpu.yaml: its text as it is, or with the keys that values set. */}}
{{- define "dphub.gpuFile" -}}
{{- $keys := include "dphub.gpuKeys" .root | fromYaml -}}
{{- $file := fromYaml (.text | default "") -}}
{{- with $file.Error -}}
{{- fail (printf "gpu.yaml: not a YAML mapping: %s" .) -}}
{{- end -}}
{{- if $keys -}}
{{- mergeOverwrite $file $keys | toYaml -}}
{{- else -}}
{{- .text -}}
{{- end -}}
{{- end }}

{{/* The keys of gpu.yaml that values set. NVIDIA's plugin takes these values as variables, which override its file, too. */}}
{{- define "dphub.gpuKeys" -}}
{{- $values := .Values -}}
{{- $flags := dict -}}
{{- range $key := list "migStrategy" "failOnInitError" "deviceDiscoveryStrategy" "gdrcopyEnabled" "gdsEnabled" "mofedEnabled" -}}
{{- $flags = set $flags $key (get $values $key) -}}
{{- end -}}
{{- $plugin := dict "deviceIDStrategy" .Values.deviceIDStrategy "passDeviceSpecs" .Values.compatWithCPUManager -}}
{{- $plugin = set $plugin "deviceListStrategy" (include "dphub.list" .Values.deviceListStrategy | fromJsonArray) -}}
{{- $plugin = set $plugin "nvidiaCTKPath" (.Values.cdi).nvidiaHookPath -}}
{{- $cdi := dict "feature_flags" (include "dphub.list" (.Values.cdi).featureFlags | fromJsonArray) -}}
{{- $keys := dict -}}
{{- with include "dphub.known" $plugin | fromYaml -}}{{- $flags = set $flags "plugin" . -}}{{- end -}}
{{- with include "dphub.known" $flags | fromYaml -}}{{- $keys = set $keys "flags" . -}}{{- end -}}
{{- with include "dphub.known" $cdi | fromYaml -}}{{- $keys = set $keys "dphub" (dict "cdi" .) -}}{{- end -}}
{{- toYaml $keys -}}
{{- end }}

{{/* A mapping without the keys that have no value; false is a value. */}}
{{- define "dphub.known" -}}
{{- range $key, $value := . }}
{{- if or $value (kindIs "bool" $value) }}
{{ $key }}: {{ $value | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{/* A list, from a list, from words with commas, or from nothing. */}}
{{- define "dphub.list" -}}
{{- if kindIs "string" . -}}
{{- splitList "," (nospace .) | compact | toJson -}}
{{- else -}}
{{- . | default list | toJson -}}
{{- end -}}
{{- end }}
