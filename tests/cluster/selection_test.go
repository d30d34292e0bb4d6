package cluster

import (
	"fmt"
	"strings"
	"testing"
)

func selection(t *testing.T, c *cluster) {
	t.Run("labels_of_the_pod_and_of_its_namespace_opt_in_and_out", func(t *testing.T) {
		const (
			injected = "gets the sidecar"
			plain    = "is created as it is"
			warned   = "is created as it is, and its owner is warned"
			denied   = "is denied"
		)
		odd := `the label ram-sidecar/inject is "yes", so the pod gets no sidecar: write "true" or "false"`
		for _, row := range []struct {
			namespace string
			pods      map[string]string
		}{
			{"", map[string]string{"": plain, "true": injected, "false": plain, "yes": warned}},
			{"true", map[string]string{"": injected, "true": injected, "false": plain, "yes": denied}},
			{"false", map[string]string{"": plain, "true": injected, "false": plain, "yes": warned}},
			{"yes", map[string]string{"": plain, "true": injected, "false": plain, "yes": warned}},
		} {
			namespace := c.namespace(t, "ram-sidecar/inject="+row.namespace)
			if row.namespace == "" {
				c.kubectl(t, "", "label", "namespace", namespace, "ram-sidecar/inject-").succeeds(t)
			}
			for label, expected := range row.pods {
				name, metadata := "pod-"+label, fmt.Sprintf("labels: {ram-sidecar/inject: %q}", label)
				if label == "" {
					name, metadata = "pod", ""
				}
				applied := c.apply(t, namespace, pod(name, metadata))
				found := plain
				created := c.get(t, namespace, name)
				switch {
				case created == nil:
					found = denied
					applied.fails(t, "the sidecar cannot be injected: "+odd)
				case hasSidecar(t, created):
					found = injected
					applied.succeeds(t)
				case applied.stderr != "":
					found = warned
					applied.says(t, "Warning: ram-sidecar: "+odd)
				}
				if found != expected {
					t.Errorf("the label %q in a namespace with %q: the pod %s, and not: %s", label, row.namespace, found, expected)
				}
			}
		}
	})

	t.Run("pods_of_the_cluster_itself_never_get_the_sidecar", func(t *testing.T) {
		for _, namespace := range []string{"kube-system", "kube-public", "kube-node-lease", webhookNamespace} {
			c.kubectl(t, "", "label", "namespace", namespace, "ram-sidecar/inject=true").succeeds(t)
			c.kubectl(t, "", "create", "serviceaccount", "job", "--namespace", namespace).succeeds(t)
			c.apply(t, namespace, pod("job", `labels: {ram-sidecar/inject: "true"}`)).saysNothing(t)
			equal(t, hasSidecar(t, c.get(t, namespace, "job")), false)
			c.kubectl(t, "", "label", "namespace", namespace, "ram-sidecar/inject-").succeeds(t)
		}
	})

	t.Run("pods_with_the_label_of_ACK_get_the_sidecar_where_a_role_is_named", func(t *testing.T) {
		c.kubectl(t, "", "apply", "-k", c.kustomization(t, config("webhook/ack"))).succeeds(t)
		c.trust(t, c.authority.pem)
		t.Cleanup(func() {
			c.kubectl(t, "", "apply", "-k", config("webhook")).succeeds(t)
			c.trust(t, c.authority.pem)
		})
		const label = `pod-identity.alibabacloud.com/injection`
		labelled := fmt.Sprintf(`labels: {%s: "on"}`, label)
		withRole := "\nannotations: {pod-identity.alibabacloud.com/role-name: job}"
		for _, row := range []struct {
			namespace, metadata string
			isInjected          bool
		}{
			{"off", labelled + withRole, true},
			{"off", labelled, false},
			{"on", withRole, true},
			{"on", "", false},
			{"on", fmt.Sprintf(`labels: {%s: "off"}`, label) + withRole, false},
			{"on", `labels: {ram-sidecar/inject: "false"}` + withRole, false},
			{"on", `labels: {ram-sidecar/inject: "true"}` + withRole, true},
		} {
			namespace := c.namespace(t, label+"="+row.namespace)
			// Its account has no role.
			manifest := strings.Replace(pod("job", row.metadata), "serviceAccountName: job", "serviceAccountName: default", 1)
			eventually(t, fmt.Sprintf("%v is as expected", row), func() bool {
				c.kubectl(t, "", "delete", "pod", "job", "--ignore-not-found", "--now", "--namespace", namespace).succeeds(t)
				applied := c.apply(t, namespace, manifest)
				return applied.isSuccess && hasSidecar(t, c.get(t, namespace, "job")) == row.isInjected
			})
		}
	})
}
