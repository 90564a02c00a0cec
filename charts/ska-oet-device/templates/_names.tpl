{{/* What things are called.  40 characters leave room for "-register-" and a hash in a Job's name, and for what Kubernetes adds to a pod's. */}}
{{- define "ska-oet-device.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "ska-oet-device.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which pods are found: nothing that an upgrade changes. */}}
{{- define "ska-oet-device.selectors" -}}
app.kubernetes.io/name: {{ include "ska-oet-device.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "ska-oet-device.labels" -}}
{{ include "ska-oet-device.selectors" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: ska-oet
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ska-oet-device.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- define "ska-oet-device.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "ska-oet-device.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "ska-oet-device.tangoHost" -}}
{{- .Values.tangoHost | default (.Values.global | default dict).tango_host | default "" -}}
{{- end -}}

{{/* Whether the SKA's Tango operator makes the servers; empty if not.  global.operator is what the SKA's charts agree on. */}}
{{- define "ska-oet-device.byOperator" -}}
{{- if or .Values.operator.enabled (.Values.global | default dict).operator }}yes{{ end -}}
{{- end -}}

{{/* The name of a subarray's device.  root, subarray */}}
{{- define "ska-oet-device.device" -}}
{{- printf "%s-oet/subarray/%s" .root.Values.telescope .subarray.id -}}
{{- end -}}

{{/* The name of what belongs to a subarray.  root, subarray */}}
{{- define "ska-oet-device.member" -}}
{{- printf "%s-%s" (include "ska-oet-device.fullname" .root) .subarray.id -}}
{{- end -}}

{{/* The claim for a subarray's state where no volumeClaimTemplate makes one.  root, subarray */}}
{{- define "ska-oet-device.claim" -}}
{{- (.subarray.state | default dict).existingClaim | default (printf "%s-state" (include "ska-oet-device.member" .)) -}}
{{- end -}}

{{/* Numbers by their JSON, which never writes 2e+06. */}}
{{- define "ska-oet-device.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* root, subarray */}}
{{- define "ska-oet-device.claimSpec" -}}
{{- $persistence := .root.Values.state.persistence -}}
{{- $own := .subarray.state | default dict -}}
spec:
  accessModes:
    {{- toYaml $persistence.accessModes | nindent 4 }}
  {{- with ($own.storageClass | default $persistence.storageClass) }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources:
    requests:
      storage: {{ $own.size | default $persistence.size }}
{{- end -}}
