package cluster

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func manifests(t *testing.T, c *cluster) {
	t.Run("every_manifest_passes_strict_validation_and_applying_it_again_changes_nothing", func(t *testing.T) {
		var directories []string
		check(t, filepath.WalkDir(config(""), func(path string, _ fs.DirEntry, err error) error {
			if filepath.Base(path) == "kustomization.yaml" {
				directories = append(directories, filepath.Dir(path))
			}
			return err
		}))
		for _, directory := range directories {
			for _, mode := range []string{"--server-side=false", "--server-side"} {
				isWebhook := strings.HasPrefix(directory, config("webhook"))
				// The one that is installed belongs to `kubectl apply`.
				if isWebhook && mode == "--server-side" {
					continue
				}
				place := []string{"-k", c.kustomization(t, directory)}
				// The webhook's namespace is part of it.
				if !isWebhook {
					place = append(place, "--namespace", c.namespace(t))
				}
				apply := append([]string{"apply", mode, "--validate=strict"}, place...)
				c.kubectl(t, "", apply...).saysNothing(t)
				before := c.versions(t, place...)
				again := c.kubectl(t, "", apply...)
				again.saysNothing(t)
				equal(t, c.versions(t, place...), before)
				for line := range strings.Lines(again.stdout) {
					// Its patch always has the whole selector of a budget.
					isBudget := strings.HasPrefix(line, "poddisruptionbudget.policy/")
					if !isBudget && !strings.HasSuffix(line, " unchanged\n") && !strings.HasSuffix(line, " serverside-applied\n") {
						t.Errorf("%s: %s", directory, line)
					}
				}
			}
		}
		c.kubectl(t, "", "apply", "-k", config("webhook")).succeeds(t)
		c.trust(t, c.authority.pem)
	})

	t.Run("the_webhook_leaves_the_examples_as_they_are", func(t *testing.T) {
		for _, example := range []string{"native", "classic"} {
			var specs []any
			for _, label := range []string{"ram-sidecar/inject=false", "ram-sidecar/inject=true"} {
				namespace := c.namespace(t, label)
				c.kubectl(t, "", "apply", "-k", config(example), "--namespace", namespace).saysNothing(t)
				specs = append(specs, c.get(t, namespace, "job").Spec)
			}
			if !reflect.DeepEqual(specs[0], specs[1]) {
				t.Fatalf("%s: %v\n%v", example, specs[0], specs[1])
			}
		}
	})

	t.Run("the_pods_of_the_webhook_and_of_the_examples_meet_the_restricted_standard", func(t *testing.T) {
		namespace := c.namespace(t, "pod-security.kubernetes.io/enforce=restricted")
		for _, example := range []string{"job", "pytorchjob"} {
			c.kubectl(t, "", "apply", "-k", config(example), "--namespace", namespace).saysNothing(t)
			for _, object := range c.objects(t, "-k", config(example), "--namespace", namespace) {
				for _, template := range templates(object.Object) {
					c.createFrom(t, namespace, object, template)
				}
			}
		}
		for _, object := range c.objects(t, "-k", config("webhook")) {
			for _, template := range templates(object.Object) {
				// Its own pods do not wait for it.
				hasSidecar := len(c.createFrom(t, webhookNamespace, object, template).Spec.InitContainers) > 0
				equal(t, hasSidecar, false)
			}
		}
	})
}

// kustomization returns a directory that kubectl can render: a component is taken on top of the directory that it lies in.
func (c *cluster) kustomization(t *testing.T, directory string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(directory, "kustomization.yaml"))
	check(t, err)
	if !strings.Contains(string(text), "kind: Component") {
		return directory
	}
	taking := t.TempDir()
	up, err := filepath.Rel(taking, directory)
	check(t, err)
	text = fmt.Appendf(nil, "resources: [%s]\ncomponents: [%s]\n", filepath.Dir(up), up)
	check(t, os.WriteFile(filepath.Join(taking, "kustomization.yaml"), text, 0o600))
	return taking
}
