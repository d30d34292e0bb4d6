package cluster

import (
	"fmt"
	"testing"

	core "k8s.io/api/core/v1"
)

func resources(t *testing.T, c *cluster) {
	const (
		unlimited = "annotations: {ram-sidecar/limit-cpu: none}"
		limited   = "resources: {limits: {cpu: 500m, memory: 64Mi}}"
		// The container has what the limit range requires, and no more.
		modest = "resources: {requests: {cpu: 50m, memory: 32Mi}}"
	)

	t.Run("a_quota_on_limits_of_the_processor_counts_the_sidecar_which_has_a_limit_where_the_job_has_one", func(t *testing.T) {
		namespace := c.withQuota(t, "limits.cpu", "2")
		c.apply(t, namespace, podWith("job", "", limited)).
			says(t, "Warning: ram-sidecar: keeps its QoS class Guaranteed: the sidecar has a CPU limit too")
		limits := containers(c.get(t, namespace, "job"))["ram-sidecar"].Resources.Limits
		equal(t, limits.Cpu().String(), "100m")
	})

	t.Run("a_quota_refuses_a_sidecar_without_a_limit_until_a_flag_or_an_annotation_sets_one", func(t *testing.T) {
		namespace := c.withQuota(t, "limits.cpu", "2")
		const sentence = "failed quota: quota: must specify limits.cpu for: ram-sidecar"
		c.apply(t, namespace, podWith("job", unlimited, limited)).fails(t, sentence)
		c.apply(t, namespace, podWith("annotated", "annotations: {ram-sidecar/limit-cpu: 100m}", limited)).saysNothing(t)

		c.withFlags(t, "--limit-cpu", "none")
		c.apply(t, namespace, podWith("job", "", limited)).fails(t, sentence)
		c.withFlags(t, "--limit-cpu", "100m")
		c.apply(t, namespace, podWith("job", "", limited)).saysNothing(t)
		// So does the flag of inject.
		by := func(amount string) string {
			return inject(t, podWith("injected", `labels: {ram-sidecar/inject: "true"}`, limited),
				"--role", role, "--oidc-provider-arn", provider, "--limit-cpu", amount)
		}
		c.apply(t, namespace, by("none")).fails(t, sentence)
		c.apply(t, namespace, by("100m")).saysNothing(t)
	})

	t.Run("a_minimum_of_a_limit_range_refuses_the_sidecar_until_flags_or_annotations_request_more", func(t *testing.T) {
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		c.apply(t, namespace, `
apiVersion: v1
kind: LimitRange
metadata: {name: limits}
spec: {limits: [{type: Container, min: {cpu: 50m, memory: 32Mi}, default: {cpu: 500m, memory: 256Mi}, defaultRequest: {cpu: 100m, memory: 128Mi}}]}
`).saysNothing(t)
		refused := c.apply(t, namespace, podWith("job", "", modest))
		refused.fails(t, "minimum cpu usage per Container is 50m, but request is 5m")
		refused.fails(t, "minimum memory usage per Container is 32Mi, but request is 16Mi")
		annotations := `annotations: {ram-sidecar/request-cpu: 50m, ram-sidecar/request-memory: 32Mi}`
		c.apply(t, namespace, podWith("annotated", annotations, modest)).succeeds(t)
		c.withFlags(t, "--request-cpu", "50m", "--request-memory", "32Mi")
		c.apply(t, namespace, podWith("job", "", modest)).succeeds(t)
	})

	t.Run("the_class_of_a_pod_is_changed_only_from_best_effort", func(t *testing.T) {
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		none := "annotations: {ram-sidecar/request-cpu: none, ram-sidecar/request-memory: none, ram-sidecar/limit-memory: none}"
		for i, row := range []struct {
			metadata, container string
			class               core.PodQOSClass
		}{
			{"", limited, core.PodQOSGuaranteed},
			{"", modest, core.PodQOSBurstable},
			{"", "", core.PodQOSBurstable},
			{none, "", core.PodQOSBestEffort},
		} {
			name := fmt.Sprintf("pod-%d", i)
			c.apply(t, namespace, podWith(name, row.metadata, row.container)).succeeds(t)
			equal(t, c.get(t, namespace, name).Status.QOSClass, row.class)
		}
	})
}

// withQuota returns a namespace whose pods get the sidecar, with a quota that its controller has seen.
func (c *cluster) withQuota(t *testing.T, resource, amount string) string {
	t.Helper()
	namespace := c.namespace(t, "ram-sidecar/inject=true")
	c.kubectl(t, "", "create", "quota", "quota", "--hard", resource+"="+amount, "--namespace", namespace).succeeds(t)
	c.kubectl(t, "", "patch", "resourcequota", "quota", "--namespace", namespace, "--subresource=status", "--type=merge",
		"--patch", fmt.Sprintf(`{"status": {"hard": {%q: %q}, "used": {%[1]q: "0"}}}`, resource, amount)).succeeds(t)
	return namespace
}

func podSecurity(t *testing.T, c *cluster) {
	t.Run("pods_with_the_sidecar_meet_the_levels_that_they_met_without_it", func(t *testing.T) {
		for _, row := range []struct {
			level, security string
			isAdmitted      bool
		}{
			{"restricted", "", true},
			{"restricted", "securityContext: {runAsNonRoot: true}", false},
			{"baseline", "securityContext: {runAsNonRoot: true}", true},
			{"baseline", "securityContext: {capabilities: {add: [SYS_ADMIN]}}", false},
			{"privileged", "securityContext: {capabilities: {add: [SYS_ADMIN]}}", true},
		} {
			namespace := c.namespace(t, "ram-sidecar/inject=true", "pod-security.kubernetes.io/enforce="+row.level)
			manifest := pod("job", "")
			if row.security != "" {
				manifest = fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: job}, spec: {serviceAccountName: job, containers: [{name: job, image: a, %s}]}}", row.security)
			}
			for _, label := range []string{"false", "true"} {
				c.kubectl(t, "", "label", "namespace", namespace, "ram-sidecar/inject="+label, "--overwrite").succeeds(t)
				applied := c.apply(t, namespace, manifest, "--dry-run=server", "--output=yaml")
				if row.isAdmitted {
					applied.saysNothing(t)
				} else {
					applied.fails(t, fmt.Sprintf("violates PodSecurity %q", row.level+":latest"))
				}
			}
			c.kubectl(t, "", "label", "namespace", namespace, "ram-sidecar/inject=true", "--overwrite").succeeds(t)
			if row.isAdmitted {
				eventuallyInjected(t, c, namespace, manifest)
			}
		}
	})

	t.Run("the_address_of_the_metadata_service_needs_the_privileged_level_and_the_refusal_names_the_container", func(t *testing.T) {
		for _, level := range []string{"restricted", "baseline", "privileged"} {
			namespace := c.namespace(t, "ram-sidecar/inject=true", "pod-security.kubernetes.io/enforce="+level)
			applied := c.apply(t, namespace, pod("job", `annotations: {ram-sidecar/metadata-address: "true"}`))
			contains(t, applied.stderr, "Warning: ram-sidecar: needs a namespace with the privileged Pod Security level")
			if level == "privileged" {
				applied.succeeds(t)
			} else {
				applied.fails(t, `"NET_ADMIN"`)
				applied.fails(t, fmt.Sprintf("violates PodSecurity %q", level+":latest"))
			}
		}
	})
}

// eventuallyInjected waits until a pod of a namespace, whose label was changed a moment before, gets the sidecar.
func eventuallyInjected(t *testing.T, c *cluster, namespace, manifest string) {
	t.Helper()
	eventually(t, "the pod gets the sidecar", func() bool {
		c.kubectl(t, "", "delete", "pod", "job", "--ignore-not-found", "--now", "--namespace", namespace).succeeds(t)
		c.apply(t, namespace, manifest).succeeds(t)
		return hasSidecar(t, c.get(t, namespace, "job"))
	})
}
