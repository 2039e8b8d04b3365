{{- define "type_members" -}}
{{- if eq .Name "metadata" -}}
as of every Kubernetes object
{{- else -}}
{{ .Doc | replace "\n" " " | replace "|" "\\|" }}
{{- end -}}
{{- end -}}
