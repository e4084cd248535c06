{{/* The node label that names a configuration, as with NVIDIA's plugin. */}}
{{- define "dphub.configurationLabel" -}}
nvidia.com/device-plugin.config
{{- end }}

{{/*
The configurations, as JSON: for each, its `name`, the `suffix` of its objects, and its `files` in /etc/dphub. With
config.map there is one for each name, for the nodes whose label has that name, and one without a name for all other
nodes. Each has its own DaemonSet, so no process has to query the API server for the label, and a change to the label
replaces the pod on that node.
*/}}
{{- define "dphub.configurations" -}}
{{- $root := . -}}
{{- $map := .Values.config.map | default dict -}}
{{- $text := get (.Values.config.plugins | default dict) "gpu.yaml" -}}
{{- if $map -}}
{{- $text = include "dphub.defaultConfiguration" . -}}
{{- end -}}
{{- $files := include "dphub.files" (dict "root" . "text" $text "place" "gpu.yaml") -}}
{{- $found := list (dict "name" "" "suffix" "" "files" $files) -}}
{{- range $name, $text := $map -}}
{{- $suffix := printf "-%s" (regexReplaceAll "[^a-z0-9]+" (lower $name) "-") -}}
{{- $files := include "dphub.files" (dict "root" $root "text" $text "place" (printf "config.map.%s" $name)) -}}
{{- $found = append $found (dict "name" $name "suffix" $suffix "files" $files) -}}
{{- end -}}
{{- toJson $found -}}
{{- end }}

{{/* The text of gpu.yaml for nodes without the label, if there is a config.map. */}}
{{- define "dphub.defaultConfiguration" -}}
{{- $config := .Values.config -}}
{{- $texts := list -}}
{{- if $config.default -}}
{{- $texts = list (get $config.map $config.default) -}}
{{- else -}}
{{- range $config.fallbackStrategies -}}
{{- if and (eq . "named") (hasKey $config.map "default") -}}
{{- $texts = append $texts $config.map.default -}}
{{- else if and (eq . "single") (eq (len $config.map) 1) -}}
{{- $texts = append $texts (values $config.map | first) -}}
{{- else if eq . "empty" -}}
{{- $texts = append $texts "version: v1\n" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $texts -}}
{{- fail "config.map has no configuration for nodes without a label: set config.default to one of its names" -}}
{{- end -}}
{{- first $texts -}}
{{- end }}

{{/* The files in /etc/dphub. `text` is the content of gpu.yaml, and `place` the name of the value that contains it. */}}
{{- define "dphub.files" -}}
{{- $files := merge (dict "circus.ini" (include "dphub.circusIni" .root)) (.root.Values.config.plugins | default dict) -}}
{{- if .root.Values.agent.enabled -}}
{{- $files = set $files "agent.yaml" .root.Values.agent.config -}}
{{- end -}}
{{- if or .text (include "dphub.gpuKeys" .root | fromYaml) -}}
{{- $files = set $files "gpu.yaml" (include "dphub.gpuFile" .) -}}
{{- end -}}
{{- toYaml $files -}}
{{- end }}

{{/* circus.ini, with sections for the agent and the DRA process added if they are enabled and have none yet. */}}
{{- define "dphub.circusIni" -}}
{{- .Values.config.circusIni -}}
{{- if and .Values.agent.enabled (not (contains "-m hub.agent" .Values.config.circusIni)) }}
# Passes information about the node's devices between the hub and the cluster.
[watcher:agent]
cmd = python -m hub.agent --config agent.yaml
{{ end -}}
{{- if and .Values.dra.enabled (not (contains "-m hub.dra" .Values.config.circusIni)) }}
# Reads claims and publishes devices for the plugins whose section has the line `api = dra`.
[watcher:dra]
cmd = python -m hub.dra
{{ end -}}
{{- end }}

{{/* The text of a gpu.yaml: unchanged, or with the keys that values set. */}}
{{- define "dphub.gpuFile" -}}
{{- $file := fromYaml (.text | default "") -}}
{{- with $file.Error -}}
{{- fail (printf "%s: not a YAML mapping: %s" $.place .) -}}
{{- end -}}
{{- if and ($file.sharing).mps (not .root.Values.mps.enabled) -}}
{{- fail (printf "%s: sharing.mps needs mps.enabled, which mounts the directories of the MPS daemons" .place) -}}
{{- end -}}
{{- $keys := include "dphub.gpuKeys" .root | fromYaml -}}
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

{{/* A list, made from a list, a comma-separated string, or no value. */}}
{{- define "dphub.list" -}}
{{- if kindIs "string" . -}}
{{- splitList "," (nospace .) | compact | toJson -}}
{{- else -}}
{{- . | default list | toJson -}}
{{- end -}}
{{- end }}
