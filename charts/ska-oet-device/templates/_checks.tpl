{{/* Refuses values that JSON Schema cannot judge, or of which it only says that a pattern does not match.  All of them at once. */}}
{{- define "ska-oet-device.check" -}}
{{- $problems := concat
      (include "ska-oet-device.problemsOfSubarrays" . | fromJsonArray)
      (include "ska-oet-device.problemsOfNames" . | fromJsonArray)
      (include "ska-oet-device.problemsOfPlaces" . | fromJsonArray)
      (include "ska-oet-device.problemsOfEnvironment" . | fromJsonArray) -}}
{{- if not $problems -}}
{{- range .Values.subarrays -}}
{{- $context := dict "root" $ "subarray" . -}}
{{- $problems = concat $problems (include "ska-oet-device.problemsOfProperties" $context | fromJsonArray) -}}
{{- end -}}
{{- end -}}
{{- if not $problems -}}
{{- range .Values.subarrays -}}
{{- $context := dict "root" $ "subarray" . -}}
{{- $problems = concat $problems (include "ska-oet-device.problemsOfOne" $context | fromJsonArray) -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "the values cannot be used:\n  - %s\n" (join "\n  - " (uniq $problems))) -}}
{{- end -}}
{{- end -}}

{{- define "ska-oet-device.problemsOfSubarrays" -}}
{{- $problems := list -}}
{{- $ids := list -}}
{{- range .Values.subarrays -}}
{{- $id := include "ska-oet-device.text" .id -}}
{{- if not (kindIs "string" .id) -}}
{{- $problems = append $problems (printf "the id %s of a subarray is no text: it is two digits in quotation marks, such as \"01\"" $id) -}}
{{- else if not (regexMatch "^(0[1-9]|[1-9][0-9])$" $id) -}}
{{- $problems = append $problems (printf "the id %s of a subarray is not two digits from \"01\" to \"99\"" (toJson $id)) -}}
{{- else if has $id $ids -}}
{{- $problems = append $problems (printf "two subarrays have the id %q: each has a device of its own" $id) -}}
{{- end -}}
{{- $ids = append $ids $id -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "ska-oet-device.problemsOfNames" -}}
{{- $problems := list -}}
{{- $name := include "ska-oet-device.fullname" . -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) -}}
{{- $problems = append $problems (printf "%q, of the name of the release, cannot begin the name of a Service, which is lower-case letters, digits and hyphens, a letter first: set fullnameOverride, or name the release otherwise" $name) -}}
{{- end -}}
{{- $ours := include "ska-oet-device.labels" (dict "Values" (omit .Values "labels") "Chart" .Chart "Release" .Release) | fromYaml | keys -}}
{{- range $label, $text := .Values.labels -}}
{{- if has $label (concat $ours (list "app.kubernetes.io/component" "ska-oet-device/subarray" "component" "function" "domain" "subsystem")) -}}
{{- $problems = append $problems (printf "labels has %s, which the chart sets itself" $label) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "ska-oet-device.problemsOfPlaces" -}}
{{- $problems := list -}}
{{- $host := include "ska-oet-device.tangoHost" . -}}
{{- if not $host -}}
{{- $problems = append $problems "no Tango database is named: set tangoHost (or global.tango_host) to HOST:PORT, such as databaseds:10000; ska-oet-device-umbrella brings a database to try it" -}}
{{- else if not (regexMatch "^[A-Za-z0-9._-]+:[0-9]{1,5}(,[A-Za-z0-9._-]+:[0-9]{1,5})*$" $host) -}}
{{- $problems = append $problems (printf "tangoHost is %q, which is not HOST:PORT, such as databaseds:10000" $host) -}}
{{- end -}}
{{- if gt (len .Values.scripts.volume) 1 -}}
{{- $problems = append $problems (printf "scripts.volume has %d sources (%s): a volume has one" (len .Values.scripts.volume) (keys .Values.scripts.volume | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if .Values.scripts.volume -}}
{{- $path := clean .Values.scripts.mountPath -}}
{{- $hidden := list -}}
{{- range $taken := list "/tmp" "/home/oet" "/dev/shm" "/var/lib/oet" "/etc/oet-git-tokens" "/opt/oet" "/usr/bin" "/usr/lib" "/bin" "/lib" "/proc" "/sys" -}}
{{- if hasPrefix (printf "%s/" (trimSuffix "/" $path)) (printf "%s/" $taken) }}{{ $hidden = append $hidden $taken }}{{ end -}}
{{- end -}}
{{- if $hidden -}}
{{- $problems = append $problems (printf "scripts.mountPath is %q, where the volume would hide %s: it needs a folder of its own, such as /scripts" $path (join ", " $hidden)) -}}
{{- end -}}
{{- end -}}
{{- $sizes := dict "state.persistence.size" .Values.state.persistence.size "state.emptyDirSize" .Values.state.emptyDirSize "sharedMemorySize" .Values.sharedMemorySize "temporarySize" .Values.temporarySize -}}
{{- range .Values.subarrays -}}
{{- with (.state | default dict).size }}{{ $_ := set $sizes "subarrays[].state.size" . }}{{ end -}}
{{- end -}}
{{- range $name, $size := $sizes -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?(k|Ki|M|Mi|G|Gi|T|Ti)?$" $size) -}}
{{- $problems = append $problems (printf "%s is %q, which is no quantity of Kubernetes, such as 20Gi" $name $size) -}}
{{- end -}}
{{- end -}}
{{- $ports := list .Values.ports.orb .Values.ports.heartbeat .Values.ports.event -}}
{{- if lt (len (uniq $ports)) 3 -}}
{{- $problems = append $problems "ports has one port twice: orb, heartbeat and event are three" -}}
{{- end -}}
{{- if and .Values.telemetry.enabled (not .Values.telemetry.endpoint) -}}
{{- $problems = append $problems "telemetry.enabled needs telemetry.endpoint, such as http://collector:4318/v1/traces" -}}
{{- end -}}
{{- $here := printf "^[a-z]([a-z0-9-]*[a-z0-9])?(\\.%s(\\.svc(\\.[a-z0-9.-]+)?)?)?:[0-9]+$" .Release.Namespace -}}
{{- if and $host (include "ska-oet-device.byOperator" .) (not (regexMatch $here $host)) -}}
{{- $problems = append $problems (printf "tangoHost is %q: a DeviceServer of the operator has the name of a Tango database of its own namespace, %s, such as databaseds:10000" $host .Release.Namespace) -}}
{{- end -}}
{{- $operator := (.Values.global | default dict).operator -}}
{{- if not (or (kindIs "bool" $operator) (kindIs "invalid" $operator)) -}}
{{- $problems = append $problems (printf "global.operator is %s: it is true or false, without quotation marks" (toJson $operator)) -}}
{{- end -}}
{{- if and .Values.loadBalancer.enabled (include "ska-oet-device.byOperator" .) -}}
{{- $problems = append $problems "loadBalancer is for StatefulSets; the operator makes its own: operator.enableLoadBalancer" -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "ska-oet-device.problemsOfEnvironment" -}}
{{- $problems := list -}}
{{- $ours := list "POD_IP" "TANGO_HOST" "ORBendPoint" "ORBendPointPublish" "TANGO_ZMQ_EVENT_PORT" "TANGO_ZMQ_HEARTBEAT_PORT" "STATE_DIRECTORY" "HOME" "OET_HISTORY_URL" "OET_WAIT_FOR_DATABASE" -}}
{{- if .Values.telemetry.enabled -}}
{{- $ours = concat $ours (list "TANGO_TELEMETRY_ENABLE" "TANGO_TELEMETRY_TYPES" "TANGO_TELEMETRY_TRACING_EXPORTERS" "TANGO_TELEMETRY_TRACING_ENDPOINTS") -}}
{{- end -}}
{{- $lists := list .Values.extraEnv -}}
{{- range .Values.subarrays -}}
{{- $lists = append $lists (.extraEnv | default list) -}}
{{- end -}}
{{- range $lists -}}
{{- $names := list -}}
{{- range . -}}
{{- if has .name $ours -}}
{{- $problems = append $problems (printf "extraEnv has %s, which the chart sets itself" .name) -}}
{{- else if has .name $names -}}
{{- $problems = append $problems (printf "extraEnv has %s twice" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{/* What belongs together in one subarray, once its properties are known to be good.  root, subarray */}}
{{- define "ska-oet-device.problemsOfOne" -}}
{{- $problems := list -}}
{{- $values := .root.Values -}}
{{- $texts := include "ska-oet-device.properties" . | fromJson -}}
{{- $url := first ($texts.HistoryUrl | default (list "")) | trim -}}
{{- $secret := $values.history.existingSecret.name -}}
{{- if and $url $secret -}}
{{- $problems = append $problems (printf "subarray %s has the property HistoryUrl, and history.existingSecret names another one: one of both" .subarray.id) -}}
{{- end -}}
{{- if regexMatch "://[^/?@:]*:[^@]+@|[?&](password|passwd|sslpassword)=" $url -}}
{{- $problems = append $problems (printf "the property HistoryUrl of subarray %s has a password, which would stand in a ConfigMap and in the Tango database: put the whole URL into a Secret, and name that in history.existingSecret" .subarray.id) -}}
{{- end -}}
{{- $sqlite := not (or $secret (and $url (not (hasPrefix "sqlite" $url)))) -}}
{{- $kept := or $values.state.persistence.enabled (.subarray.state | default dict).existingClaim -}}
{{- if and $sqlite (not $kept) (not $values.state.acceptLoss) -}}
{{- $problems = append $problems "the history would be lost with each pod: it is SQLite in the state folder, and state.persistence.enabled is false. Enable it, name a PostgreSQL in history.existingSecret, or set state.acceptLoss to true to try it" -}}
{{- end -}}
{{- $needed := add 30 (include "ska-oet-device.stopGracePeriod" . | int64) -}}
{{- $period := include "ska-oet-device.terminationGracePeriod" . | int64 -}}
{{- if include "ska-oet-device.byOperator" .root -}}
{{- $most := sub ($values.operator.terminationGracePeriodSeconds | int64) 10 -}}
{{- if gt (include "ska-oet-device.stopGracePeriod" . | int64) $most -}}
{{- $problems = append $problems (printf "StopGracePeriod of subarray %s is longer than %d s: a DeviceServer of the operator cannot say how long its pods may take to end, so that they have %d s, and the rest of the end takes 10 s" .subarray.id $most ($values.operator.terminationGracePeriodSeconds | int64)) -}}
{{- end -}}
{{- else if lt $period $needed -}}
{{- $problems = append $problems (printf "terminationGracePeriodSeconds of subarray %s is %d: with its StopGracePeriod the end may take %d s, and Kubernetes would kill scripts that clean up" .subarray.id $period $needed) -}}
{{- end -}}
{{- if and $values.loadBalancer.enabled (not (.subarray.loadBalancer | default dict).address) -}}
{{- $problems = append $problems (printf "loadBalancer.enabled needs the address by which clients reach subarray %s: subarrays[].loadBalancer.address" .subarray.id) -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{/* As the device, and `oet config dsconfig`, would judge its properties.  root, subarray */}}
{{- define "ska-oet-device.problemsOfProperties" -}}
{{- $problems := list -}}
{{- $rules := (.root.Files.Get "files/device.json" | fromJson).properties -}}
{{- $id := .subarray.id -}}
{{- range $name, $texts := include "ska-oet-device.properties" . | fromJson -}}
{{- $rule := get $rules $name -}}
{{- if not $rule -}}
{{- $nearest := include "ska-oet-device.nearest" (dict "name" $name "known" (keys $rules | sortAlpha)) -}}
{{- $problems = append $problems (printf "the device has no property %s: is %s meant?" $name $nearest) -}}
{{- else -}}
{{- $given := list -}}
{{- range $texts }}{{ if trim . }}{{ $given = append $given . }}{{ end }}{{ end -}}
{{- if and (gt (len $given) 1) (not $rule.several) -}}
{{- $problems = append $problems (printf "property %s of subarray %s has %d values; it is to be %s" $name $id (len $given) $rule.rule) -}}
{{- end -}}
{{- range $given -}}
{{- $wrong := include "ska-oet-device.wrong" (dict "text" . "rule" $rule) -}}
{{- if $wrong -}}
{{- $shown := regexReplaceAll "://[^ ]*@" (trunc 80 .) "://***@" | toJson -}}
{{- $problems = append $problems (printf "property %s of subarray %s: %s %s" $name $id $shown $wrong) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{/* What is wrong with one text; empty if nothing is.  text, rule */}}
{{- define "ska-oet-device.wrong" -}}
{{- $rule := .rule -}}
{{- $text := .text -}}
{{- if not (regexMatch "^[\\x00-\\x7f]*$" $text) -}}
is not ASCII; Tango's programs disagree on how to keep that
{{- else if contains "\\\"" $text -}}
has a backslash before a quotation mark, which is lost in databases on MariaDB
{{- else if gt (len $text) 65535 -}}
has {{ len $text }} bytes: a database keeps 65535
{{- else if or (not (regexMatch $rule.pattern $text)) (and $rule.never (regexMatch $rule.never $text)) (gt (len $text) (int $rule.longest)) -}}
is not {{ $rule.rule }}{{ if has $text (list "true" "false") }}: YAML takes ON without quotation marks for true, and OFF for false{{ end }}
{{- else if hasKey $rule "lowest" -}}
{{- $number := regexFind "[-+0-9.eE]+" $text | float64 -}}
{{- range $unit, $bytes := $rule.units -}}
{{- if regexMatch (printf "[0-9. \t]%s\\s*$" $unit) $text }}{{ $number = mulf $number $bytes }}{{ end -}}
{{- end -}}
{{- if and $rule.units (regexMatch "[0-9]\\s*$" $text) }}{{ $number = mulf $number 1048576 }}{{ end -}}
{{- /* What a float cannot hold has become 0. */ -}}
{{- $huge := and (eq $number 0.0) (regexMatch "^[^eE]*[1-9][^eE]*[eE]\\+?[0-9]" $text) -}}
{{- if or $huge (lt $number (float64 $rule.lowest)) (gt $number (float64 $rule.highest)) -}}
is not {{ $rule.rule }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name that has most pairs of letters in common.  name, known */}}
{{- define "ska-oet-device.nearest" -}}
{{- $name := .name | lower | replace "_" "" | replace "-" "" -}}
{{- $best := first .known -}}
{{- $most := -1.0 -}}
{{- range .known -}}
{{- $known := . | lower -}}
{{- $common := 0 -}}
{{- range $i := until (max 0 (sub (len $name) 1) | int) -}}
{{- if contains (substr $i (int (add $i 2)) $name) $known }}{{ $common = add $common 1 }}{{ end -}}
{{- end -}}
{{- $score := divf (float64 $common) (float64 (add (len $name) (len $known))) -}}
{{- if gt $score $most }}{{ $most = $score }}{{ $best = . }}{{ end -}}
{{- end -}}
{{- $best -}}
{{- end -}}
