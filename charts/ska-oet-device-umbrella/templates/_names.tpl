{{- define "umbrella.databaseds" -}}
{{- .Values.global.tango_host | splitList ":" | first -}}
{{- end -}}

{{- define "umbrella.port" -}}
{{- .Values.global.tango_host | splitList ":" | last | int -}}
{{- end -}}

{{- define "umbrella.tangodb" -}}
{{- include "umbrella.databaseds" . }}-tangodb
{{- end -}}

{{- define "umbrella.secret" -}}
{{- .Values.tangodb.existingSecret | default (include "umbrella.tangodb" .) -}}
{{- end -}}

{{/* root, component */}}
{{- define "umbrella.selectors" -}}
app.kubernetes.io/name: {{ .component | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end -}}

{{- define "umbrella.labels" -}}
{{ include "umbrella.selectors" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: ska-oet
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "umbrella.image" -}}
image: "{{ with .registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .repository }}:{{ .tag }}"
imagePullPolicy: {{ .pullPolicy }}
{{- end -}}
