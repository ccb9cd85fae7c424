{{- define "sluice.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sluice.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* What selects pods, which may never change. */ -}}
{{- define "sluice.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.secret" -}}
{{- if .Values.secret.existing -}}
{{- .Values.secret.existing -}}
{{- else -}}
{{- include "sluice.name" . -}}
{{- end -}}
{{- end -}}

{{- define "sluice.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{- define "sluice.redisUrl" -}}
{{- if .Values.redis.enabled -}}
{{- if .Values.redis.passwordKey -}}
{{- printf "redis://:$(%s)@%s-redis:6379" .Values.redis.passwordKey (include "sluice.name" .) -}}
{{- else -}}
{{- printf "redis://%s-redis:6379" (include "sluice.name" .) -}}
{{- end -}}
{{- else -}}
{{- required "redis.url: name your Redis, or set redis.enabled for one of the chart's" .Values.redis.url -}}
{{- end -}}
{{- end -}}

{{- /* sluice.yaml: what the values say, with the Redis and the PostgreSQL of the release. */ -}}
{{- define "sluice.config" -}}
{{- if not .Values.config.providers -}}
{{- fail "config.providers: name at least one provider" -}}
{{- end -}}
{{- $redis := default dict .Values.config.redis -}}
{{- if not $redis.cluster -}}
{{- $redis = merge (dict "url" "${REDIS_URL}") $redis -}}
{{- end -}}
{{- $config := merge (dict "redis" $redis) .Values.config -}}
{{- if .Values.postgresql.enabled -}}
{{- if .Values.config.history -}}
{{- fail "config.history: the chart writes it where postgresql.enabled is set" -}}
{{- end -}}
{{- $url := printf "postgres://sluice:${%s}@%s-postgresql/sluice" .Values.postgresql.passwordKey (include "sluice.name" .) -}}
{{- $config = merge (dict "history" (dict "url" $url)) $config -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "sluice.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
fsGroup: 1000
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "sluice.containerSecurity" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: { drop: [ALL] }
{{- end -}}

{{- /* What both roles have in their environment; variables that others name with $(…) come first. */ -}}
{{- define "sluice.env" -}}
{{- if and .Values.redis.enabled .Values.redis.passwordKey }}
- name: {{ .Values.redis.passwordKey }}
  valueFrom: { secretKeyRef: { name: {{ include "sluice.secret" . }}, key: {{ .Values.redis.passwordKey }} } }
{{- end }}
{{- if not (default dict .Values.config.redis).cluster }}
- { name: REDIS_URL, value: {{ include "sluice.redisUrl" . | quote }} }
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sluice.envFrom" -}}
{{- if or .Values.secret.existing .Values.secret.values }}
envFrom:
  - secretRef: { name: {{ include "sluice.secret" . }} }
{{- end }}
{{- end -}}

{{- /* Where pods may run: of `api` or `worker`. */ -}}
{{- define "sluice.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
