{{/*
Startup and liveness alone have a container killed, and with it what it runs.  So they ask only whether the device answers at all; `oet health
--alive` says so, too, while the Tango database is away and nobody could know better.  PostgreSQL, file systems and the database are the device's
health, which counts for readiness: that kills nothing.  The device has its plain name: a kubelet does not put the pod's address into a probe.
seconds, context
*/}}
{{- define "ska-oet-device.isAlive" -}}
exec:
  command:
    - oet
    - health
    - {{ include "ska-oet-device.device" .context }}
    - --alive
    - --timeout
    - {{ int .seconds | quote }}
{{- end -}}

{{/* How long and how often.  A kubelet waits 5 s longer than the command does.  One of Values.probes */}}
{{- define "ska-oet-device.pace" -}}
timeoutSeconds: {{ add 5 (int .timeoutSeconds) }}
periodSeconds: {{ int .periodSeconds }}
failureThreshold: {{ int .failureThreshold }}
{{- end -}}

{{/* root, subarray */}}
{{- define "ska-oet-device.probes" -}}
{{- $probes := .root.Values.probes -}}
startupProbe:
  {{- include "ska-oet-device.isAlive" (dict "seconds" $probes.startup.timeoutSeconds "context" .) | nindent 2 }}
  {{- include "ska-oet-device.pace" $probes.startup | nindent 2 }}
livenessProbe:
  {{- include "ska-oet-device.isAlive" (dict "seconds" $probes.liveness.timeoutSeconds "context" .) | nindent 2 }}
  {{- include "ska-oet-device.pace" $probes.liveness | nindent 2 }}
readinessProbe:
  exec:
    command:
      - oet
      - health
      - {{ include "ska-oet-device.device" . }}
      - --timeout
      - {{ int $probes.readiness.timeoutSeconds | quote }}
  {{- include "ska-oet-device.pace" $probes.readiness | nindent 2 }}
{{- end -}}
