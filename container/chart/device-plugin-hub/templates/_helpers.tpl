{{/* The name of all objects. */}}
{{- define "dphub.name" -}}
{{- $wanted := .Values.nameOverride | default .Release.Name -}}
{{- $name := contains $wanted .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $wanted) -}}
{{- .Values.fullnameOverride | default ($name | trunc 53 | trimSuffix "-") -}}
{{- end }}

{{- define "dphub.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end }}

{{/* The labels that select the pods of this release; all its objects have them, except the pod of `helm test`. */}}
{{- define "dphub.labels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default "device-plugin-hub" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The labels that select the pods of a configuration, given `root` and `name`. */}}
{{- define "dphub.podLabels" -}}
{{ include "dphub.labels" .root }}
{{- with .name }}
app.kubernetes.io/component: {{ . | quote }}
{{- end }}
{{- end }}

{{/* The metadata of objects that have the name of the release and belong to its namespace. */}}
{{- define "dphub.metadata" -}}
name: {{ include "dphub.name" . | quote }}
namespace: {{ include "dphub.namespace" . | quote }}
labels:
  {{- include "dphub.labels" . | nindent 2 }}
{{- end }}

{{/* The image, by its digest if there is one. */}}
{{- define "dphub.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}
