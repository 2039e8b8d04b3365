{{- define "bounds" -}}
{{- $out := list -}}
{{- range .Validation -}}
{{- if hasPrefix "Required:" . }}{{ $out = prepend $out "required" }}
{{- else if regexMatch "^(Optional|Pattern|Type|Format|XValidation|Schemaless|items:Pattern):" . }}
{{- else }}{{ $out = append $out (. | replace "|" "\\|") }}{{ end -}}
{{- end -}}
{{ join ", " $out }}
{{- end -}}
