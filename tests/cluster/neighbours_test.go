package cluster

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	admission "k8s.io/api/admission/v1"
	core "k8s.io/api/core/v1"
)

func neighbours(t *testing.T, c *cluster) {
	t.Run("containers_that_other_webhooks_add_before_and_after_get_the_credentials_too", func(t *testing.T) {
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		// The API server calls configurations by their names in alphabetical order.
		for _, name := range []string{"a-first", "z-last"} {
			c.neighbour(t, namespace, name, `"image": "a"`)
		}
		var found *core.Pod
		eventually(t, "both webhooks are called", func() bool {
			c.kubectl(t, "", "delete", "pod", "job", "--ignore-not-found", "--now", "--namespace", namespace).succeeds(t)
			c.apply(t, namespace, pod("job", "")).saysNothing(t)
			found = c.get(t, namespace, "job")
			return len(found.Spec.Containers) == 3
		})
		for _, name := range []string{"job", "a-first", "z-last"} {
			container := containers(found)[name]
			equal(t, variables(container), variables(containers(found)["job"]))
			if !hasVariable(container) || len(container.VolumeMounts) < 2 {
				t.Errorf("the container %s got no credentials: %v", name, container)
			}
		}
		// Each once: nothing is added again when the webhook is called again.
		equal(t, len(found.Spec.InitContainers), 1)
		equal(t, strings.Count(variables(containers(found)["job"]), uri), 1)

		// Containers that an annotation excludes are excluded later too, whoever has it.
		c.kubectl(t, "", "annotate", "serviceaccount", "job", "ram-sidecar/skip-containers=z-last", "--namespace", namespace).succeeds(t)
		c.apply(t, namespace, pod("skipping", "")).saysNothing(t)
		found = c.get(t, namespace, "skipping")
		equal(t, hasVariable(containers(found)["a-first"]), true)
		equal(t, hasVariable(containers(found)["z-last"]), false)
	})
}

func variables(container core.Container) string {
	var names []string
	for _, variable := range container.Env {
		names = append(names, variable.Name)
	}
	return strings.Join(names, " ")
}

// neighbour installs a webhook of somebody else, which adds a container of its own name to each pod of a namespace.
func (c *cluster) neighbour(t *testing.T, namespace, name, container string) {
	t.Helper()
	address := c.serve(t, http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		var review admission.AdmissionReview
		var pod core.Pod
		if json.NewDecoder(request.Body).Decode(&review) != nil || json.Unmarshal(review.Request.Object.Raw, &pod) != nil {
			response.WriteHeader(http.StatusBadRequest)
			return
		}
		answer := &admission.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		if _, has := containers(&pod)[name]; !has {
			kind := admission.PatchTypeJSONPatch
			answer.PatchType = &kind
			answer.Patch = fmt.Appendf(nil, `[{"op": "add", "path": "/spec/containers/-", "value": {"name": %q, %s}}]`, name, container)
		}
		review.Request, review.Response = nil, answer
		_ = json.NewEncoder(response).Encode(review)
	}))
	c.apply(t, "", fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: %s}
webhooks:
  - name: %[1]s.example.com
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}
    rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
    clientConfig: {url: %q, caBundle: %s}
    admissionReviewVersions: [v1]
    sideEffects: None
    reinvocationPolicy: Never
`, name, namespace, address, base64.StdEncoding.EncodeToString(c.authority.pem))).succeeds(t)
	t.Cleanup(func() { c.kubectl(t, "", "delete", "mutatingwebhookconfiguration", name).succeeds(t) })
}
