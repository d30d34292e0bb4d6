package cluster

import (
	"strings"
	"testing"
)

func repetition(t *testing.T, c *cluster) {
	flags := []string{"--role", role, "--oidc-provider-arn", provider}

	for mode, name := range map[string]string{"--server-side": "server_side_apply", "--server-side=false": "apply"} {
		t.Run("inject_and_"+name+"_twice_changes_nothing", func(t *testing.T) {
			namespace := c.namespace(t)
			all := []string{strings.Join(kindNames, ","), "--namespace", namespace}
			c.apply(t, namespace, inject(t, everyKind(), flags...), mode).saysNothing(t)
			before := c.versions(t, all...)
			c.apply(t, namespace, inject(t, everyKind(), flags...), mode).saysNothing(t)
			equal(t, c.versions(t, all...), before)
			// Also of what inject has made.
			c.apply(t, namespace, inject(t, inject(t, everyKind(), flags...), flags...), mode).saysNothing(t)
			equal(t, c.versions(t, all...), before)
		})
	}

	t.Run("inject_leaves_what_the_API_server_has_stored_as_it_is", func(t *testing.T) {
		namespace := c.namespace(t)
		all := []string{strings.Join(kindNames, ","), "--namespace", namespace}
		c.apply(t, namespace, inject(t, everyKind(), flags...), "--server-side").saysNothing(t)
		before := c.versions(t, all...)
		stored := c.kubectl(t, "", append([]string{"get", "--output", "yaml"}, all...)...).succeeds(t)
		c.kubectl(t, inject(t, stored, flags...), "replace", "-f", "-").saysNothing(t)
		equal(t, c.versions(t, all...), before)
	})
}
