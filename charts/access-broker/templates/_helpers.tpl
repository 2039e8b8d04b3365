{{- define "access-broker.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What the Pods of the Deployment and of the Job share. */}}
{{- define "access-broker.pod" -}}
{{- include "access-broker.podOf" (dict "account" "access-broker" "of" .Values "Values" .Values) }}
{{- end }}

{{- define "access-broker.podOf" -}}
serviceAccountName: {{ .account }}
securityContext:
  runAsNonRoot: true
  {{- with .Values.runAsUser }}
  runAsUser: {{ int64 . }}
  {{- end }}
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "access-broker.container" -}}
{{- include "access-broker.containerOf" (dict "name" "access-broker" "of" .Values "root" .) }}
{{- end }}

{{- define "access-broker.containerOf" -}}
name: {{ .name }}
image: {{ include "access-broker.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
resources: {{ toJson .of.resources }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- /* The probes of the observer and the checker. */}}
{{- define "access-observer.probes" -}}
livenessProbe:
  httpGet:
    path: /healthz
    port: health
  initialDelaySeconds: 15
  periodSeconds: 20
readinessProbe:
  httpGet:
    path: /readyz
    port: health
  periodSeconds: 10
{{- end }}
