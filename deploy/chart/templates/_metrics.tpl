{{- /* The daemon's arguments for metrics. */ -}}
{{- define "mtls.metrics.args" -}}
{{- with .Values.metrics }}
{{- if .enabled }}
- --metrics={{ .address }}:{{ .port }}
- --metrics-edges={{ .edges }}
{{- if .tlsSecret }}
- --metrics-cert=/etc/mtls/metrics-tls/tls.crt
- --metrics-key=/etc/mtls/metrics-tls/tls.key
{{- end }}
{{- if .tokenSecret }}
- --metrics-token-file=/etc/mtls/metrics-token/token
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Secrets to be mounted, by name. */ -}}
{{- define "mtls.metrics.secrets" -}}
{{- with .Values.metrics }}
{{- if and .enabled .tlsSecret }}
tls: {{ .tlsSecret }}
{{- end }}
{{- if and .enabled .tokenSecret }}
token: {{ .tokenSecret }}
{{- end }}
{{- end }}
{{- end -}}
