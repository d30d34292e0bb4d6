{{/* The labels of every object. None of them selects pods: selectors are those of config/kubernetes/webhook. */}}
{{- define "ram-sidecar.labels" -}}
app.kubernetes.io/name: ram-sidecar-webhook
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ram-sidecar.selector" -}}
app.kubernetes.io/name: ram-sidecar-webhook
{{- end }}

{{- define "ram-sidecar.image" -}}
{{- with .Values.image -}}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The name by which the API server calls the webhook. */}}
{{- define "ram-sidecar.host" -}}
ram-sidecar-webhook.{{ .Release.Namespace }}.svc
{{- end }}

{{/* The arguments of the webhook, in the order of their names. */}}
{{- define "ram-sidecar.flags" -}}
{{- $flags := merge (dict) .Values.flags (dict "image" (include "ram-sidecar.image" .)) }}
{{- if ne .Values.failurePolicy "Fail" }}
{{- $flags = merge $flags (dict "failure-policy" .Values.failurePolicy) }}
{{- end }}
{{- range $name, $value := $flags }}
{{- if kindIs "map" $value }}
{{- range $variable, $setting := $value }}
- {{ printf "--%s=%s=%s" $name $variable (kindIs "string" $setting | ternary $setting (toJson $setting)) | quote }}
{{- end }}
{{- else if kindIs "slice" $value }}
{{- with $value }}
- {{ printf "--%s=%s" $name (join "," .) | quote }}
{{- end }}
{{- else if kindIs "bool" $value }}
{{- if $value }}
- --{{ $name }}
{{- end }}
{{- else if not (has (toString $value) (list "" "<nil>")) }}
- {{ printf "--%s=%s" $name (kindIs "string" $value | ternary $value (toJson $value)) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* How each webhook is called; of: the root, path, and what differs. */}}
{{- define "ram-sidecar.call" -}}
rules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE]
    resources: [pods]
    scope: Namespaced
clientConfig:
  service:
    name: ram-sidecar-webhook
    namespace: {{ .root.Release.Namespace }}
    path: {{ .path }}
  {{- with .bundle }}
  caBundle: {{ . }}
  {{- end }}
admissionReviewVersions: [v1]
failurePolicy: {{ .failurePolicy | default .root.Values.failurePolicy }}
matchPolicy: Equivalent
# Called again when another webhook has changed the pod, for the containers that it has added.
reinvocationPolicy: {{ .reinvocationPolicy | default "IfNeeded" }}
sideEffects: None
timeoutSeconds: {{ .timeoutSeconds | default 10 }}
{{- end }}

{{/* The namespaces whose pods the webhook may see: never the cluster's own, nor the webhook's, which could not start without it. */}}
{{- define "ram-sidecar.namespaces" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: {{ append .Values.namespaces.excluded .Release.Namespace | uniq | toJson }}
{{- with .Values.namespaces.only }}
- key: kubernetes.io/metadata.name
  operator: In
  values: {{ toJson . }}
{{- end }}
{{- end }}
