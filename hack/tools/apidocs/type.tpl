{{- define "type" -}}
{{- if markdownShouldRenderType . }}
## {{ .Name }}

{{ .Doc }}
{{ if .IsAlias }}
A {{ markdownRenderTypeLink .UnderlyingType }}.
{{ end }}
{{- with .SortedReferences }}
In{{ range $i, $type := . }}{{ if $i }},{{ end }} {{ markdownRenderTypeLink $type }}{{ end }}.
{{ end }}
{{- if .Members }}
| field | meaning | default | bounds |
| --- | --- | --- | --- |
{{- range .Members }}
| `{{ .Name }}` {{ regexReplaceAll "\\[Moment\\]\\(#\\w+\\)" (regexReplaceAll "\\[(Line|Name|NamespaceName|Label)\\]\\(#\\w+\\)" (regexReplaceAll "\\[(\\w+)\\]\\(https:[^)]*\\)" (markdownRenderType .Type) "$1") "string") "Time" }} | {{ template "type_members" . }} | {{ with markdownRenderDefault .Default }}`{{ . }}`{{ end }} | {{ template "bounds" . }} |
{{- end }}
{{ end }}
{{- if .EnumValues }}
| value | meaning |
| --- | --- |
{{- range .EnumValues }}
| `{{ .Name }}` | {{ .Doc | replace "\n" " " }} |
{{- end }}
{{ end }}
{{- end }}
{{- end -}}
