{{/* The environment of a server, by either way of making it.  root, subarray */}}
{{- define "ska-oet-device.commonEnvironment" -}}
- name: OET_WAIT_FOR_DATABASE
  value: forever
- name: STATE_DIRECTORY
  value: /var/lib/oet
- name: HOME
  value: /home/oet
{{- with .root.Values.history.existingSecret }}
{{- if .name }}
- name: OET_HISTORY_URL
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .root.Values.telemetry }}
{{- if .enabled }}
- name: TANGO_TELEMETRY_ENABLE
  value: "on"
- name: TANGO_TELEMETRY_TYPES
  value: tracing
- name: TANGO_TELEMETRY_TRACING_EXPORTERS
  value: {{ .exporter }}
- name: TANGO_TELEMETRY_TRACING_ENDPOINTS
  value: {{ .endpoint | quote }}
{{- end }}
{{- end }}
{{- $own := list }}
{{- range .subarray.extraEnv }}
{{- $own = append $own .name }}
{{- end }}
{{- range .root.Values.extraEnv }}
{{- if not (has .name $own) }}
{{ toYaml (list .) }}
{{- end }}
{{- end }}
{{- with .subarray.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The server listens on the pod's address, and tells the database that.  POD_IP stands before what it is put into: $(POD_IP) is replaced by
what has been said above it.  Events have ports of their own, by two variables of Tango's.  root, subarray
*/}}
{{- define "ska-oet-device.addresses" -}}
{{- $ports := .root.Values.ports -}}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: TANGO_HOST
  value: {{ include "ska-oet-device.tangoHost" .root | quote }}
- name: ORBendPoint
  value: giop:tcp:$(POD_IP):{{ int $ports.orb }}
{{- if .root.Values.loadBalancer.enabled }}
- name: ORBendPointPublish
  value: giop:tcp:{{ .subarray.loadBalancer.address }}:{{ int $ports.orb }}
{{- end }}
- name: TANGO_ZMQ_EVENT_PORT
  value: {{ int $ports.event | quote }}
- name: TANGO_ZMQ_HEARTBEAT_PORT
  value: {{ int $ports.heartbeat | quote }}
{{- end -}}

{{/* root, subarray */}}
{{- define "ska-oet-device.volumes" -}}
{{- $values := .root.Values -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ $values.temporarySize }}
- name: home
  emptyDir:
    sizeLimit: {{ $values.temporarySize }}
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ $values.sharedMemorySize }}
{{- if not $values.state.persistence.enabled }}
{{- if not (.subarray.state | default dict).existingClaim }}
- name: state
  emptyDir:
    sizeLimit: {{ $values.state.emptyDirSize }}
{{- end }}
{{- end }}
{{- if or (.subarray.state | default dict).existingClaim (and $values.state.persistence.enabled (include "ska-oet-device.byOperator" .root)) }}
- name: state
  persistentVolumeClaim:
    claimName: {{ include "ska-oet-device.claim" . | quote }}
{{- end }}
{{- with $values.scripts.volume }}
- name: scripts
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.gitTokens.existingSecret }}
{{- if .name }}
- name: git-tokens
  secret:
    secretName: {{ .name | quote }}
    defaultMode: 0440
    items:
      - key: {{ .key | quote }}
        path: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* root */}}
{{- define "ska-oet-device.volumeMounts" -}}
{{- $values := .root.Values -}}
- name: tmp
  mountPath: /tmp
- name: home
  mountPath: /home/oet
- name: shared-memory
  mountPath: /dev/shm
- name: state
  mountPath: /var/lib/oet
{{- if $values.scripts.volume }}
- name: scripts
  mountPath: {{ $values.scripts.mountPath | quote }}
  readOnly: true
{{- end }}
{{- if $values.gitTokens.existingSecret.name }}
- name: git-tokens
  mountPath: /etc/oet-git-tokens
  readOnly: true
{{- end }}
{{- with $values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What runs beside the server: its image, read-only, without rights.  root */}}
{{- define "ska-oet-device.helper" -}}
image: {{ include "ska-oet-device.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
env:
  - name: TANGO_HOST
    value: {{ include "ska-oet-device.tangoHost" .root | quote }}
  - name: HOME
    value: /tmp
securityContext:
  {{- include "ska-oet-device.withoutNull" .root.Values.securityContext | nindent 2 }}
resources:
  {{- toYaml .root.Values.registration.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  - name: programs
    mountPath: /etc/ska-oet-device
    readOnly: true
{{- end -}}

{{/* A null says that a default of the chart is not wanted: Kubernetes has no use for it. */}}
{{- define "ska-oet-device.withoutNull" -}}
{{- $kept := dict -}}
{{- range $name, $value := . -}}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $kept $name $value }}{{ end -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end -}}

{{/* What a subarray says goes before what is said for all, also where that is an empty list.  root, subarray */}}
{{- define "ska-oet-device.podSettings" -}}
{{- $values := .root.Values -}}
{{- $subarray := .subarray -}}
serviceAccountName: {{ include "ska-oet-device.serviceAccountName" .root | quote }}
automountServiceAccountToken: false
# Variables for each Service of the namespace are nothing that scripts should see.
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "ska-oet-device.withoutNull" .root.Values.podSecurityContext | nindent 2 }}
{{- range $name := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with (get (hasKey $subarray $name | ternary $subarray $values) $name) }}
{{ dict $name . | toYaml }}
{{- end }}
{{- end }}
{{- end -}}
