package cluster

import (
	"fmt"
	"strings"
	"testing"
)

func mistakes(t *testing.T, c *cluster) {
	namespace := c.namespace(t, "ram-sidecar/inject=true")
	const denied = `Error from server: error when creating "STDIN": admission webhook "namespace.inject.ram-sidecar" denied the request: the sidecar cannot be injected: `

	t.Run("a_mistake_in_an_annotation_denies_the_pod_with_one_sentence", func(t *testing.T) {
		for annotations, sentence := range map[string]string{
			`ram-sidecar/rol: job`:                                     "ram-sidecar/rol: there is no such annotation; choose one of ram-sidecar/role, ",
			`ram-sidecar/inject: "true"`:                               "ram-sidecar/inject: it is a label of pods and namespaces; write it under metadata.labels\n",
			`ram-sidecar/role: "acs:ram::one:role/job"`:                "ram-sidecar/role: its account id `one` is not a number; a role ARN has the form acs:ram::<account id>:role/<role name>\n",
			`ram-sidecar/identity: oauth`:                              "ram-sidecar/identity: `oauth` is not an identity of a pod; choose oidc, access_key, ecs_ram_role, credentials_uri, sandbox\n",
			`ram-sidecar/duration: 5m`:                                 "ram-sidecar/duration: `5m` is outside the limits of STS; choose 15m to 12h\n",
			`ram-sidecar/metadata: maybe`:                              "ram-sidecar/metadata: `maybe` is neither true nor false\n",
			`ram-sidecar/metrics: "on"`:                                "ram-sidecar/metrics: `on` is neither true nor false\n",
			`ram-sidecar/readiness: httpGet`:                           "ram-sidecar/readiness: `httpGet` is neither true nor false\n",
			`ram-sidecar/port: "80000"`:                                "ram-sidecar/port: `80000` is not a port of the sidecar; choose 1024 to 65533\n",
			`ram-sidecar/secret: a/b`:                                  "ram-sidecar/secret: `a/b` is not a Secret's name; write lowercase letters, digits, `-` and `.`\n",
			`ram-sidecar/limit-cpu: 100x`:                              "ram-sidecar/limit-cpu: `100x` is not a quantity; write it like 50m or 64Mi, or none\n",
			`ram-sidecar/request-cpu: "2", ram-sidecar/limit-cpu: "1"`: "ram-sidecar/request-cpu: `2` is more than `1` of the annotation ram-sidecar/limit-cpu; a request is at most its limit\n",
		} {
			applied := c.apply(t, namespace, pod("job", fmt.Sprintf("annotations: {%s}", annotations)))
			applied.fails(t, denied+"the annotation "+sentence)
			equal(t, strings.Count(applied.stderr, "\n"), 1)
		}
	})

	t.Run("a_pod_without_a_role_is_denied_and_an_annotation_of_its_account_is_enough", func(t *testing.T) {
		manifest := strings.Replace(pod("default", ""), "serviceAccountName: job", "serviceAccountName: default", 1)
		c.apply(t, namespace, manifest).fails(t, denied+"no role is set: set --role or the annotation ram-sidecar/role")
		c.kubectl(t, "", "annotate", "serviceaccount", "default", "ram-sidecar/role=other", "--namespace", namespace).succeeds(t)
		c.apply(t, namespace, manifest).saysNothing(t)
		contains(t, fmt.Sprint(containers(c.get(t, namespace, "default"))["ram-sidecar"].Env), "acs:ram::1234567890123456:role/other")
	})

	t.Run("an_account_may_not_choose_the_image_of_the_pods_of_others", func(t *testing.T) {
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		c.kubectl(t, "", "annotate", "serviceaccount", "job", "ram-sidecar/image=example.com/other:1", "--namespace", namespace).succeeds(t)
		c.apply(t, namespace, pod("job", "")).fails(t, denied+
			"the service account's annotation ram-sidecar/image: the webhook does not accept it from service accounts; set it on the pod, or let the webhook's --account-annotations name it")
		c.withFlags(t, "--account-annotations", "role,image")
		c.apply(t, namespace, pod("job", "")).saysNothing(t)
		equal(t, containers(c.get(t, namespace, "job"))["ram-sidecar"].Image, "example.com/other:1")
	})

	t.Run("with_the_failure_policy_Ignore_the_webhook_admits_such_a_pod_and_warns", func(t *testing.T) {
		c.withFlags(t, "--failure-policy", "Ignore")
		c.apply(t, namespace, pod("ignored", `annotations: {ram-sidecar/role: "?"}`)).
			says(t, "Warning: ram-sidecar: not injected: the annotation ram-sidecar/role: ")
		equal(t, hasSidecar(t, c.get(t, namespace, "ignored")), false)
	})

	t.Run("a_role_of_another_account_is_told_when_the_pod_is_created", func(t *testing.T) {
		c.apply(t, namespace, pod("foreign", `annotations: {ram-sidecar/role: "acs:ram::6543210987654321:role/job"}`)).
			says(t, "Warning: ram-sidecar: has a role of the account 6543210987654321, but its OIDC provider is of the account 1234567890123456")
	})
}
