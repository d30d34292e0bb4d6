package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/release"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// TestChart verifies what Helm makes of config/helm/ram-sidecar without a cluster.
func TestChart(t *testing.T) {
	t.Run("lint_has_no_warning", func(t *testing.T) {
		for name, values := range variants(t) {
			linter := lint.All(chartDirectory(), parsed(t, values), webhookNamespace, true)
			for _, message := range linter.Messages {
				if message.Severity > support.InfoSev {
					t.Errorf("%s: %v", name, message)
				}
			}
		}
	})

	t.Run("each_set_of_values_renders_what_was_reviewed", func(t *testing.T) {
		// A certificate is generated at each rendering.
		generated := regexp.MustCompile(`((?:caBundle|ca\.crt|tls\.crt|tls\.key): )\S+`)
		for name, values := range variants(t) {
			rendered, err := render(t, values)
			check(t, err)
			text := strings.TrimSpace(rendered.Manifest) + "\n"
			if strings.Contains(text, "kind: Secret") {
				text = generated.ReplaceAllString(text, "${1}<generated>")
			}
			for line := range strings.Lines(strings.TrimSpace(rendered.Info.Notes) + "\n") {
				text += strings.TrimRight("# "+line, " \n") + "\n"
			}
			path := filepath.Join(*repository, "tests/cluster/testdata/chart", name+".yaml")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				check(t, os.WriteFile(path, []byte(text), 0o644))
			}
			reviewed, err := os.ReadFile(path)
			check(t, err)
			if text != string(reviewed) {
				t.Errorf("%s differs, which UPDATE_GOLDEN=1 writes:\n%s", path, text)
			}
		}
	})

	t.Run("the_values_of_every_release_render", func(t *testing.T) {
		// Within it nothing may change, as docs/src/guides/upgrade-and-remove.md says.
		series := regexp.MustCompile(`^(0\.)?\d+\.`)
		version := series.FindString(loaded(t).Metadata.Version)
		paths, err := filepath.Glob(filepath.Join(*repository, "tests/data/releases", version+"*/chart/*.yaml"))
		check(t, err)
		equal(t, len(paths) > 0, true)
		for _, path := range paths {
			values, err := os.ReadFile(path)
			check(t, err)
			if _, err := render(t, string(values)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	})

	t.Run("the_guide_renders_and_names_values_that_exist", func(t *testing.T) {
		text, err := os.ReadFile(filepath.Join(*repository, "docs/src/guides/helm.md"))
		check(t, err)
		guide := string(text)
		_, err = render(t, regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(guide)[1])
		check(t, err)
		_, table, _ := strings.Cut(guide, "| value | effect |\n| --- | --- |\n")
		table, _, _ = strings.Cut(table, "\n\n")
		names := 0
		for row := range strings.Lines(table) {
			for _, name := range regexp.MustCompile("`(.+?)`").FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
				_, exists, err := unstructured.NestedFieldNoCopy(loaded(t).Values, strings.Split(name[1], ".")...)
				check(t, err)
				if !exists {
					t.Errorf("there is no value %s", name[1])
				}
				names++
			}
		}
		equal(t, names > 10, true)
	})

	t.Run("it_makes_the_objects_of_the_kustomization_and_of_each_component", func(t *testing.T) {
		c := &cluster{directory: t.TempDir()}
		values := map[string]string{
			"webhook":                "",
			"webhook/ack":            "ack: true",
			"webhook/cert-manager":   "certificate: {source: cert-manager}",
			"webhook/metrics":        "monitoring: {annotations: true}",
			"webhook/network-policy": "networkPolicy: {enabled: true, apiServer: [192.0.2.0/24]}",
			"webhook/pod-monitor":    "monitoring: {podMonitor: {enabled: true}}",
		}
		places, err := filepath.Glob(filepath.Join(config("webhook"), "*/kustomization.yaml"))
		check(t, err)
		equal(t, len(places), len(values)-1)
		for place, values := range values {
			directory := c.kustomization(t, config(place))
			expected := withoutHelm(t, c.kubectl(t, "", "kustomize", directory).succeeds(t))
			rendered, err := render(t, "flags: {oidc-provider-arn: "+provider+"}\n"+values)
			check(t, err)
			found := withoutHelm(t, rendered.Manifest)
			for name, object := range expected {
				if found[name] != object {
					t.Errorf("%s: %s is\n%s\nand not\n%s", place, name, found[name], object)
				}
				delete(found, name)
			}
			for name := range found {
				t.Errorf("%s has no %s", place, name)
			}
		}
	})

	t.Run("a_wrong_value_is_refused_with_its_name", func(t *testing.T) {
		const right = "flags: {oidc-provider-arn: " + provider + "}\n"
		for _, mistake := range []struct{ values, message string }{
			{"", "flags.oidc-provider-arn is not set: name the cluster's OIDC provider, acs:ram::<account ID>:oidc-provider/ack-rrsa-<cluster ID>, or another identity in flags.identity"},
			{"flags: {oidc-provider-arn: ack-rrsa-c0123456789}", "flags.oidc-provider-arn: Does not match pattern '^(acs:ram::[0-9]+:oidc-provider/.+)?$'"},
			{"flags: {identity: oidc, rol: job}", "flags: Additional property rol is not allowed"},
			{"flags: {identity: rrsa}", `flags.identity: flags.identity must be one of the following: "", "oidc", "access_key"`},
			{"flags: {identity: oidc, account-id: 1234567890123456}", "flags.account-id: Invalid type. Expected: string, given: integer"},
			{"flags: {identity: oidc, skip-containers: [12345678]}", "flags.skip-containers.0: Invalid type. Expected: string, given: integer"},
			{"flags: {identity: oidc, listen: '127.0.0.1:1'}", "flags: Additional property listen is not allowed"},
			{right + "replica: 1", "(root): Additional property replica is not allowed"},
			{right + "replicas: 0", "replicas: Must be greater than or equal to 1"},
			{right + "failurePolicy: ignore", `failurePolicy: failurePolicy must be one of the following: "Fail", "Ignore"`},
			{right + "image: ram-sidecar:0.1.0", "image: Invalid type. Expected: object, given: string"},
			{right + "image: {digest: 0123}", "image.digest: Invalid type. Expected: string, given: integer"},
			{right + "certificate: {source: self-signed}", `certificate.source: certificate.source must be one of the following: "generated", "cert-manager", "existing"`},
			{right + "certificate: {source: existing}", "certificate.caBundle has no certificate: with certificate.source=existing it is the authority of the Secret's certificate, in PEM; add --set-file certificate.caBundle=ca.crt"},
			{right + "certificate: {caBundle: x}", "certificate.caBundle is set, and would be ignored: remove it, or set certificate.source=existing instead of generated"},
			{right + "networkPolicy: {enabled: true}", "networkPolicy.apiServer is empty, so that no labelled pod could be created: list the address ranges from which the API server calls"},
			{right + "networkPolicy: {apiServer: [10.0.0.1]}", "networkPolicy.apiServer.0: Does not match pattern"},
		} {
			_, err := render(t, mistake.values)
			if err == nil {
				t.Errorf("%s is accepted", mistake.values)
			} else if !strings.Contains(err.Error(), mistake.message) {
				t.Errorf("%s: this is missing:\n%s\nin:\n%v", mistake.values, mistake.message, err)
			}
		}
		_, err := renderIn(t, "default", right)
		contains(t, fmt.Sprint(err), "the namespace is default, whose pods would never get the sidecar, because the webhook leaves its own namespace alone: install it in another, by --namespace ram-sidecar --create-namespace")
	})
}

// helm verifies the chart in the cluster, in place of what kubectl has installed.
func helm(t *testing.T, c *cluster) {
	values := parsed(t, variants(t)["default"])
	objects := []string{"--namespace", webhookNamespace, "secret/ram-sidecar-webhook-tls", "deployment/" + webhookName,
		"service/" + webhookName, "serviceaccount/" + webhookName, "poddisruptionbudget/" + webhookName,
		"clusterrole/" + webhookName, "clusterrolebinding/" + webhookName, "mutatingwebhookconfiguration/ram-sidecar"}
	secret := func(t *testing.T) *core.Secret {
		t.Helper()
		secret, err := c.client.CoreV1().Secrets(webhookNamespace).Get(context.Background(), "ram-sidecar-webhook-tls", meta.GetOptions{})
		check(t, err)
		return secret
	}
	spec := func(t *testing.T) string {
		t.Helper()
		deployment, err := c.client.AppsV1().Deployments(webhookNamespace).Get(context.Background(), webhookName, meta.GetOptions{})
		check(t, err)
		text, err := json.Marshal(deployment.Spec)
		check(t, err)
		return string(text)
	}
	const refused = "cannot be imported into the current release: invalid ownership metadata"
	install := func(t *testing.T, name string, takesOver bool) (*release.Release, error) {
		install := action.NewInstall(c.helm(t))
		install.ReleaseName, install.Namespace, install.TakeOwnership = name, webhookNamespace, takesOver
		return install.Run(loaded(t), values)
	}
	upgrade := func(t *testing.T, values map[string]any) {
		t.Helper()
		upgrade := action.NewUpgrade(c.helm(t))
		upgrade.Namespace = webhookNamespace
		_, err := upgrade.Run("ram-sidecar", loaded(t), values)
		check(t, err)
	}
	uninstall := func(t *testing.T, name string) {
		t.Helper()
		_, err := action.NewUninstall(c.helm(t)).Run(name)
		check(t, err)
	}
	// A pod is reviewed by the webhook, which presents the certificate of the Secret.
	works := func(t *testing.T) {
		t.Helper()
		// The service account may be another than before.
		c.authenticate(t)
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		eventually(t, "a pod gets the sidecar", func() bool {
			found := c.apply(t, namespace, pod("job", ""), "--dry-run=server", "--output=yaml")
			return found.isSuccess && strings.Contains(found.stdout, "name: ram-sidecar")
		})
	}

	t.Run("each_set_of_values_passes_strict_validation", func(t *testing.T) {
		for name, values := range variants(t) {
			rendered, err := render(t, values)
			check(t, err)
			applied := c.apply(t, "", rendered.Manifest, "--dry-run=server", "--validate=strict")
			if !applied.isSuccess || applied.stderr != "" {
				t.Errorf("%s: %s%s", name, applied.stdout, applied.stderr)
			}
		}
	})

	t.Run("a_release_takes_over_what_kubectl_has_installed_only_when_asked_and_no_review_fails", func(t *testing.T) {
		c.write(t, "authority.crt", c.authority.pem)
		c.kubectl(t, "", "create", "secret", "generic", "ram-sidecar-webhook-tls", "--namespace", webhookNamespace,
			"--type", "kubernetes.io/tls", "--from-file", "ca.crt="+c.path("authority.crt"),
			"--from-file", c.path("tls/..data/tls.crt"), "--from-file", c.path("tls/..data/tls.key")).succeeds(t)
		certificate, pods := secret(t).ResourceVersion, spec(t)
		_, err := install(t, "ram-sidecar", false)
		contains(t, fmt.Sprint(err), refused)
		load := c.load(t, c.namespace(t, "ram-sidecar/inject=true"), 4)
		load.wait(t, 20)
		_, err = install(t, "ram-sidecar", true)
		check(t, err)
		load.wait(t, 50)
		load.stop(t)
		equal(t, secret(t).ResourceVersion, certificate)
		equal(t, spec(t), pods)
	})

	t.Run("a_certificate_is_generated_that_the_API_server_trusts", func(t *testing.T) {
		c.kubectl(t, "", "delete", "--namespace", webhookNamespace, "secret/ram-sidecar-webhook-tls").succeeds(t)
		upgrade(t, values)
		data := secret(t).Data
		c.mount(t, data["tls.crt"], data["tls.key"])
		c.stopWebhook()
		c.startWebhook(t)
		equal(t, c.presented(t), string(data["tls.crt"]))
		works(t)
	})

	t.Run("upgrades_and_rollbacks_keep_the_certificate_and_a_second_release_is_refused", func(t *testing.T) {
		before := c.versions(t, objects...)
		for range 2 {
			upgrade(t, values)
			equal(t, c.versions(t, objects...), before)
		}
		upgrade(t, parsed(t, variants(t)["default"]+"replicas: 3"))
		after := c.versions(t, objects...)
		equal(t, strings.Contains(after, `"replicas":3`), true)
		certificate := secret(t).ResourceVersion
		check(t, action.NewRollback(c.helm(t)).Run("ram-sidecar"))
		equal(t, strings.Contains(c.versions(t, objects...), `"replicas":2`), true)
		equal(t, secret(t).ResourceVersion, certificate)
		works(t)
		_, err := install(t, "other", false)
		contains(t, fmt.Sprint(err), refused)
	})

	t.Run("the_certificate_outlives_the_release_and_is_used_by_the_next", func(t *testing.T) {
		before := secret(t).ResourceVersion
		uninstall(t, "ram-sidecar")
		equal(t, c.kubectl(t, "", "get", "mutatingwebhookconfiguration/ram-sidecar").isSuccess, false)
		equal(t, secret(t).ResourceVersion, before)
		// Also of another name, which does not own it.
		for _, name := range []string{"ram-sidecar", "other", "ram-sidecar"} {
			_, err := install(t, name, false)
			check(t, err)
			equal(t, secret(t).ResourceVersion, before)
			works(t)
			uninstall(t, name)
		}
	})

	t.Run("a_Secret_without_a_certificate_is_named_and_one_made_by_hand_is_used", func(t *testing.T) {
		c.kubectl(t, "", "delete", "--namespace", webhookNamespace, "secret/ram-sidecar-webhook-tls").succeeds(t)
		c.kubectl(t, "", "create", "secret", "generic", "ram-sidecar-webhook-tls", "--namespace", webhookNamespace).succeeds(t)
		_, err := install(t, "ram-sidecar", false)
		contains(t, fmt.Sprint(err), "the Secret ram-sidecar-webhook-tls in the namespace ram-sidecar has no tls.crt and tls.key: delete it, and a certificate is generated, or name another in certificate.secretName")
		c.kubectl(t, "", "delete", "--namespace", webhookNamespace, "secret/ram-sidecar-webhook-tls").succeeds(t)

		// The commands of the kustomization.
		execute(t, exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
			"-days", "3650", "-keyout", c.path("own.key"), "-out", c.path("own.crt"), "-subj", "/CN=ram-sidecar-webhook",
			"-addext", "subjectAltName=DNS:"+webhookHost), "").succeeds(t)
		c.kubectl(t, "", "create", "secret", "tls", "ram-sidecar-webhook-tls", "--namespace", webhookNamespace,
			"--cert", c.path("own.crt"), "--key", c.path("own.key")).succeeds(t)
		before := secret(t).ResourceVersion
		_, err = install(t, "ram-sidecar", false)
		check(t, err)
		equal(t, secret(t).ResourceVersion, before)
		c.mount(t, c.read(t, "own.crt"), c.read(t, "own.key"))
		equal(t, c.presented(t), string(c.read(t, "own.crt")))
		works(t)
	})

	t.Run("an_upgrade_leaves_what_cert-manager_has_published", func(t *testing.T) {
		// Those that kubectl has applied.
		c.kubectl(t, "", "delete", "--all", "certificates,issuers", "--namespace", webhookNamespace).succeeds(t)
		values := parsed(t, variants(t)["cert-manager"])
		upgrade(t, values)
		c.certify(t, c.authority)
		c.trust(t, c.authority.pem)
		before := c.versions(t, "mutatingwebhookconfigurations")
		upgrade(t, values)
		equal(t, c.versions(t, "mutatingwebhookconfigurations"), before)
		works(t)
		uninstall(t, "ram-sidecar")
	})
}

// helm returns what Helm's actions need of the cluster.
func (c *cluster) helm(t *testing.T) *action.Configuration {
	t.Helper()
	access := genericclioptions.NewConfigFlags(false)
	namespace, kubeconfig := webhookNamespace, c.path("kubeconfig")
	access.Namespace, access.KubeConfig = &namespace, &kubeconfig
	configuration := new(action.Configuration)
	check(t, configuration.Init(access, namespace, "secret", func(string, ...any) {}))
	return configuration
}

func chartDirectory() string {
	return filepath.Join(*repository, "config/helm/ram-sidecar")
}

func loaded(t *testing.T) *chart.Chart {
	t.Helper()
	loaded, err := loader.Load(chartDirectory())
	check(t, err)
	return loaded
}

// variants returns the sets of values that are rendered, by their names.
func variants(t *testing.T) map[string]string {
	t.Helper()
	const ending = ".values.yaml"
	paths, err := filepath.Glob(filepath.Join(*repository, "tests/cluster/testdata/chart/*"+ending))
	check(t, err)
	found := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		check(t, err)
		found[strings.TrimSuffix(filepath.Base(path), ending)] = string(text)
	}
	return found
}

func parsed(t *testing.T, values string) chartutil.Values {
	t.Helper()
	parsed, err := chartutil.ReadValues([]byte(values))
	check(t, err)
	return parsed
}

func render(t *testing.T, values string) (*release.Release, error) {
	t.Helper()
	return renderIn(t, webhookNamespace, values)
}

// renderIn does what `helm template` does.
func renderIn(t *testing.T, namespace, values string) (*release.Release, error) {
	t.Helper()
	install := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	install.ReleaseName, install.Namespace = "ram-sidecar", namespace
	install.ClientOnly, install.DryRun, install.Replace = true, true, true
	return install.Run(loaded(t), parsed(t, values))
}

// withoutHelm returns the objects of manifests by kind and name, without the namespace itself, and without what Helm adds: labels
// and a certificate.
func withoutHelm(t *testing.T, manifests string) map[string]string {
	t.Helper()
	found := map[string]string{}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		var object unstructured.Unstructured
		if decoder.Decode(&object.Object) != nil {
			return found
		}
		if object.Object == nil || object.GetKind() == "Namespace" || object.GetKind() == "Secret" {
			continue
		}
		object.SetLabels(nil)
		if webhooks, ok := object.Object["webhooks"].([]any); ok {
			for _, webhook := range webhooks {
				unstructured.RemoveNestedField(webhook.(map[string]any), "clientConfig", "caBundle")
			}
		}
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetIndent("", "  ")
		check(t, encoder.Encode(object.Object))
		found[object.GetKind()+" "+object.GetName()] = text.String()
	}
}
