package cluster

import (
	"strings"
	"testing"
)

func lifecycle(t *testing.T, c *cluster) {
	namespace := c.namespace(t, "ram-sidecar/inject=true")

	t.Run("a_dry_run_shows_the_sidecar_and_creates_nothing", func(t *testing.T) {
		shown := c.apply(t, namespace, pod("dry", ""), "--dry-run=server", "--output=yaml").succeeds(t)
		contains(t, shown, "name: ram-sidecar\n")
		contains(t, shown, uri)
		if c.get(t, namespace, "dry") != nil {
			t.Fatal("the pod was created")
		}
		c.apply(t, namespace, pod("dry", `annotations: {ram-sidecar/role: "?"}`), "--dry-run=server").
			fails(t, "the sidecar cannot be injected: the annotation ram-sidecar/role: ")
	})

	t.Run("updates_of_a_pod_are_not_reviewed_and_change_nothing_else", func(t *testing.T) {
		c.apply(t, namespace, pod("updated", "")).saysNothing(t)
		reviews := strings.Count(c.log(t), "A pod was reviewed")
		before := c.get(t, namespace, "updated")
		for _, update := range [][]string{
			{"label", "pod", "updated", "a=b"},
			{"label", "pod", "updated", "ram-sidecar/inject=false"},
			{"label", "pod", "updated", "ram-sidecar/inject=true", "--overwrite"},
			{"annotate", "pod", "updated", "ram-sidecar/role=?"},
			{"set", "image", "pod/updated", "job=example.com/job:2"},
		} {
			c.kubectl(t, "", append(update, "--namespace", namespace)...).saysNothing(t)
		}
		after := c.get(t, namespace, "updated")
		equal(t, after.Spec.Containers[0].Image, "example.com/job:2")
		after.Spec.Containers[0].Image = before.Spec.Containers[0].Image
		sameSpec(t, after.Spec, before.Spec)
		equal(t, strings.Count(c.log(t), "A pod was reviewed"), reviews)
	})

	t.Run("a_second_apply_of_a_pod_that_got_the_sidecar_changes_nothing", func(t *testing.T) {
		for _, mode := range []string{"--server-side=false", "--server-side"} {
			name := "again" + strings.TrimPrefix(mode, "--server-side")
			name = strings.ReplaceAll(name, "=", "-")
			c.apply(t, namespace, pod(name, ""), mode).saysNothing(t)
			before := c.versions(t, "pods", "--namespace", namespace)
			c.apply(t, namespace, pod(name, ""), mode).saysNothing(t)
			equal(t, c.versions(t, "pods", "--namespace", namespace), before)
		}
	})

	t.Run("a_pod_with_the_sidecar_takes_an_ephemeral_container", func(t *testing.T) {
		c.apply(t, namespace, pod("debugged", "")).saysNothing(t)
		before := c.get(t, namespace, "debugged")
		c.kubectl(t, "", "debug", "debugged", "--image=example.com/debug:1", "--container=debug", "--target=job",
			"--attach=false", "--profile=restricted", "--namespace", namespace).succeeds(t)
		after := c.get(t, namespace, "debugged")
		equal(t, len(after.Spec.EphemeralContainers), 1)
		equal(t, len(after.Spec.EphemeralContainers[0].Env), 0)
		after.Spec.EphemeralContainers = nil
		sameSpec(t, after.Spec, before.Spec)
	})
}
