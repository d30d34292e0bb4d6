package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	provider = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c0123456789"
	role     = "acs:ram::1234567890123456:role/job"
	uri      = "ALIBABA_CLOUD_CREDENTIALS_URI"
)

// namespace creates a namespace with labels, and in it the service accounts that pods use: job has a role, default has none.
func (c *cluster) namespace(t *testing.T, labels ...string) string {
	t.Helper()
	name := fmt.Sprintf("test-%d", namespaces.Add(1))
	c.kubectl(t, "", "create", "namespace", name).succeeds(t)
	if len(labels) > 0 {
		c.kubectl(t, "", append([]string{"label", "namespace", name}, labels...)...).succeeds(t)
	}
	c.apply(t, name, fmt.Sprintf(`
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: job, annotations: {ram-sidecar/role: %q}}}
`, role)).succeeds(t)
	return name
}

var namespaces atomic.Int64

// pod returns a pod that meets the restricted standard, with lines for its metadata.
func pod(name, metadata string) string {
	return podWith(name, metadata, "")
}

// podWith returns the same pod with further lines for its container.
func podWith(name, metadata, container string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: %s
%s
spec:
  serviceAccountName: job
  restartPolicy: Never
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: job
      image: example.com/job:1
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
%s
`, name, indented(metadata, 2), indented(container, 6))
}

func indented(lines string, by int) string {
	lines = strings.TrimSpace(lines)
	if lines == "" {
		return ""
	}
	indent := strings.Repeat(" ", by)
	return indent + strings.ReplaceAll(lines, "\n", "\n"+indent)
}

// get returns a pod; nil if there is none.
func (c *cluster) get(t *testing.T, namespace, name string) *core.Pod {
	t.Helper()
	pods, err := c.client.CoreV1().Pods(namespace).List(context.Background(), meta.ListOptions{FieldSelector: "metadata.name=" + name})
	check(t, err)
	if len(pods.Items) == 0 {
		return nil
	}
	return &pods.Items[0]
}

// hasSidecar reports whether a pod has the sidecar, and the container job has its variable; it must have both or none.
func hasSidecar(t *testing.T, pod *core.Pod) bool {
	t.Helper()
	has := false
	for _, container := range pod.Spec.InitContainers {
		has = has || container.Name == "ram-sidecar"
	}
	equal(t, hasVariable(containers(pod)["job"]), has)
	return has
}

func hasVariable(container core.Container) bool {
	for _, variable := range container.Env {
		if variable.Name == uri {
			return true
		}
	}
	return false
}

// containers returns the containers of a pod by their names.
func containers(pod *core.Pod) map[string]core.Container {
	found := map[string]core.Container{}
	for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		found[container.Name] = container
	}
	return found
}

// objects returns what kubectl finds.
func (c *cluster) objects(t *testing.T, args ...string) []unstructured.Unstructured {
	t.Helper()
	text := c.kubectl(t, "", append([]string{"get", "--output", "json"}, args...)...).succeeds(t)
	var list unstructured.UnstructuredList
	check(t, json.Unmarshal([]byte(text), &list))
	return list.Items
}

// versions returns the content of each object that kubectl finds, with its version.
func (c *cluster) versions(t *testing.T, args ...string) string {
	t.Helper()
	var lines []string
	for _, object := range c.objects(t, args...) {
		if object.GetKind() == "Job" {
			// Whatever its manifest, the first repetition of a server-side apply stores a Job again, as it is.
			object.SetResourceVersion("")
		}
		text, err := json.Marshal(object.Object)
		check(t, err)
		lines = append(lines, string(text))
	}
	return strings.Join(lines, "\n")
}

// templates returns every pod template in an object, at any depth.
func templates(value any) []map[string]any {
	var found []map[string]any
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			if template, ok := inner.(map[string]any); ok && name == "template" {
				if spec, ok := template["spec"].(map[string]any); ok && spec["containers"] != nil {
					found = append(found, template)
					continue
				}
			}
			found = append(found, templates(inner)...)
		}
	case []any:
		for _, inner := range value {
			found = append(found, templates(inner)...)
		}
	}
	return found
}

// createFrom creates a pod from a template, as the controller of its owner does: with a generated name, and without a
// namespace in its metadata.
func (c *cluster) createFrom(t *testing.T, namespace string, owner unstructured.Unstructured, template map[string]any) *core.Pod {
	t.Helper()
	text, err := json.Marshal(template)
	check(t, err)
	var typed core.PodTemplateSpec
	check(t, json.Unmarshal(text, &typed))
	isController := true
	created, err := c.client.CoreV1().Pods(namespace).Create(context.Background(), &core.Pod{
		ObjectMeta: meta.ObjectMeta{
			GenerateName: owner.GetName() + "-",
			Labels:       typed.Labels,
			Annotations:  typed.Annotations,
			OwnerReferences: []meta.OwnerReference{{
				APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(), Controller: &isController,
			}},
		},
		Spec: typed.Spec,
	}, meta.CreateOptions{})
	check(t, err)
	return created
}

// The kinds of others, whose types are not part of Kubernetes.
const foreignKinds = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pytorchjobs.kubeflow.org}
spec:
  group: kubeflow.org
  names: {kind: PyTorchJob, plural: pytorchjobs, singular: pytorchjob}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: issuers.cert-manager.io}
spec:
  group: cert-manager.io
  names: {kind: Issuer, plural: issuers, singular: issuer}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificates.cert-manager.io}
spec:
  group: cert-manager.io
  names: {kind: Certificate, plural: certificates, singular: certificate}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: PodMonitor, plural: podmonitors, singular: podmonitor}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`
