{{/*
The device properties of one subarray, as JSON {name: [texts]}: what a Tango database holds.  root, subarray
One empty text stands for no value.
*/}}
{{- define "ska-oet-device.properties" -}}
{{- $texts := dict -}}
{{- range $name, $value := include "ska-oet-device.given" . | fromJson -}}
{{- $elements := list -}}
{{- range (kindIs "slice" $value | ternary $value (list $value)) -}}
{{- $elements = append $elements (include "ska-oet-device.text" .) -}}
{{- end -}}
{{- $_ := set $texts $name ($elements | default (list "")) -}}
{{- end -}}
{{- toJson $texts -}}
{{- end -}}

{{/*
The values that were given: the subarray's before those of all, and what follows from the volumes.  `merge` would take 0, false, an empty text
or an empty list of the subarray for nothing, and have that of all.
*/}}
{{- define "ska-oet-device.given" -}}
{{- $given := dict -}}
{{- range $values := list .root.Values.properties .subarray.properties -}}
{{- range $name, $value := $values }}{{ $_ := set $given $name $value }}{{ end -}}
{{- end -}}
{{- if and .root.Values.scripts.volume (not (hasKey $given "ScriptRoots")) -}}
{{- $_ := set $given "ScriptRoots" (list .root.Values.scripts.mountPath) -}}
{{- end -}}
{{- if and .root.Values.gitTokens.existingSecret.name (not (hasKey $given "GitTokenFile")) -}}
{{- $_ := set $given "GitTokenFile" (include "ska-oet-device.gitTokenFile" .root) -}}
{{- end -}}
{{- toJson $given -}}
{{- end -}}

{{- define "ska-oet-device.gitTokenFile" -}}
{{- printf "/etc/oet-git-tokens/%s" .Values.gitTokens.existingSecret.key -}}
{{- end -}}

{{/* What dsconfig's json2tango loads, for some subarrays.  root, subarrays */}}
{{- define "ska-oet-device.dsconfig" -}}
{{- $root := .root -}}
{{- $servers := dict -}}
{{- range .subarrays -}}
{{- $context := dict "root" $root "subarray" . -}}
{{- $properties := dict "properties" (include "ska-oet-device.properties" $context | fromJson) -}}
{{- $devices := dict (include "ska-oet-device.device" $context) $properties -}}
{{- $_ := set $servers .id (dict "OetDevice" $devices) -}}
{{- end -}}
{{- $class := dict "properties" (dict "AllowedAccessCmd" ($root.Files.Get "files/device.json" | fromJson).readersCommands) -}}
{{- toPrettyJson (dict "servers" (dict "OetDevice" $servers) "classes" (dict "OetDevice" $class)) -}}
{{- end -}}

{{/* Seconds of StopGracePeriod, rounded up.  root, subarray */}}
{{- define "ska-oet-device.stopGracePeriod" -}}
{{- $texts := (include "ska-oet-device.properties" . | fromJson).StopGracePeriod | default (list "") -}}
{{- $text := first $texts | trim -}}
{{- $text | default "5" | float64 | ceil | int64 -}}
{{- end -}}

{{/*
What the end of a server takes at most beyond StopGracePeriod: 2 s until a process that SIGKILL does not end is given up, 10 s for what
multiplies faster than it can be killed, 5 s for the device server, 5 s for the last of all; and 8 s for a host that is busy.
*/}}
{{- define "ska-oet-device.terminationGracePeriod" -}}
{{- $derived := add 30 (include "ska-oet-device.stopGracePeriod" . | int64) -}}
{{- .subarray.terminationGracePeriodSeconds | default .root.Values.terminationGracePeriodSeconds | default $derived | int64 -}}
{{- end -}}
