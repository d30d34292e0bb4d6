package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func kinds(t *testing.T, c *cluster) {
	flags := []string{"--image", "ram-sidecar:0.1.0", "--role", role, "--oidc-provider-arn", provider}
	byInject, byWebhook := map[string]core.PodSpec{}, map[string]core.PodSpec{}

	t.Run("inject_adds_the_sidecar_to_every_kind_and_the_API_server_accepts_it", func(t *testing.T) {
		namespace := c.namespace(t)
		manifest := inject(t, everyKind(), flags...)
		c.apply(t, namespace, manifest, "--validate=strict").saysNothing(t)
		c.podsOf(t, namespace, byInject)
	})

	t.Run("the_webhook_adds_it_to_the_pods_of_every_kind", func(t *testing.T) {
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		c.apply(t, namespace, everyKind()).saysNothing(t)
		c.podsOf(t, namespace, byWebhook)
	})

	t.Run("inject_and_the_webhook_make_the_same_pods", func(t *testing.T) {
		for kind, expected := range byInject {
			sameSpec(t, byWebhook[kind], expected)
		}
	})
}

// podsOf creates a pod from each template in a namespace, and notes its spec by the kind of its owner.
func (c *cluster) podsOf(t *testing.T, namespace string, specs map[string]core.PodSpec) {
	t.Helper()
	for _, kind := range kindNames {
		var owner unstructured.Unstructured
		text := c.kubectl(t, "", "get", kind, "job", "--output", "json", "--namespace", namespace).succeeds(t)
		check(t, json.Unmarshal([]byte(text), &owner))
		found := templates(owner.Object)
		if kind == "pod" {
			found = []map[string]any{owner.Object}
		}
		if len(found) == 0 {
			t.Fatalf("%s has no template", kind)
		}
		for _, template := range found {
			created := c.createFrom(t, namespace, owner, withoutToken(t, template))
			if !hasSidecar(t, created) {
				t.Errorf("the pod of a %s has no sidecar", kind)
			}
			specs[kind] = withoutAdmission(created.Spec)
		}
	}
}

// withoutToken removes the volume of the token for the API server, which the API server has added to a pod that exists.
func withoutToken(t *testing.T, template map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(template)
	check(t, err)
	var pod core.Pod
	check(t, json.Unmarshal(text, &pod))
	pod.Spec = withoutAdmission(pod.Spec)
	text, err = json.Marshal(map[string]any{"metadata": map[string]any{"labels": pod.Labels, "annotations": pod.Annotations}, "spec": pod.Spec})
	check(t, err)
	var bare map[string]any
	check(t, json.Unmarshal(text, &bare))
	return bare
}

// withoutAdmission removes the volume with a random name that the API server adds to each pod.
func withoutAdmission(spec core.PodSpec) core.PodSpec {
	isToken := func(name string) bool { return strings.HasPrefix(name, "kube-api-access-") }
	var volumes []core.Volume
	for _, volume := range spec.Volumes {
		if !isToken(volume.Name) {
			volumes = append(volumes, volume)
		}
	}
	spec.Volumes = volumes
	for _, list := range [][]core.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			var mounts []core.VolumeMount
			for _, mount := range list[i].VolumeMounts {
				if !isToken(mount.Name) {
					mounts = append(mounts, mount)
				}
			}
			list[i].VolumeMounts = mounts
		}
	}
	return spec
}

// sameSpec verifies that two pods are the same.
func sameSpec(t *testing.T, found, expected core.PodSpec) {
	t.Helper()
	texts := [2]string{}
	for i, spec := range []core.PodSpec{found, expected} {
		text, err := json.MarshalIndent(spec, "", " ")
		check(t, err)
		texts[i] = string(text)
	}
	equal(t, texts[0], texts[1])
}

var kindNames = []string{
	"cronjob", "daemonset", "deployment", "job", "pod", "podtemplate", "pytorchjob", "replicaset", "replicationcontroller", "statefulset",
}

// everyKind returns an object of each kind that makes pods, and a pod.
func everyKind() string {
	template := func(policy string) string {
		return fmt.Sprintf(`{metadata: {labels: {app: job}}, spec: {serviceAccountName: job, restartPolicy: %s, initContainers: [{name: init, image: "example.com/init:1"}], containers: [{name: job, image: "example.com/job:1"}]}}`, policy)
	}
	service, job := template("Always"), template("Never")
	selector := "selector: {matchLabels: {app: job}}"
	var objects []string
	for _, object := range [][2]string{
		{"apps/v1, kind: DaemonSet", fmt.Sprintf("spec: {%s, template: %s}", selector, service)},
		{"apps/v1, kind: Deployment", fmt.Sprintf("spec: {%s, template: %s}", selector, service)},
		{"apps/v1, kind: ReplicaSet", fmt.Sprintf("spec: {%s, template: %s}", selector, service)},
		{"apps/v1, kind: StatefulSet", fmt.Sprintf("spec: {serviceName: job, %s, template: %s}", selector, service)},
		{"batch/v1, kind: CronJob", fmt.Sprintf(`spec: {schedule: "0 0 * * *", jobTemplate: {spec: {template: %s}}}`, job)},
		{"batch/v1, kind: Job", fmt.Sprintf("spec: {template: %s}", job)},
		{"kubeflow.org/v1, kind: PyTorchJob", fmt.Sprintf("spec: {pytorchReplicaSpecs: {Master: {template: %s}, Worker: {template: %[1]s}}}", job)},
		{"v1, kind: Pod", strings.TrimSuffix(strings.TrimPrefix(job, "{metadata: {labels: {app: job}}, "), "}")},
		{"v1, kind: PodTemplate", "template: " + job},
		{"v1, kind: ReplicationController", fmt.Sprintf("spec: {selector: {app: job}, template: %s}", service)},
	} {
		objects = append(objects, fmt.Sprintf("{apiVersion: %s, metadata: {name: job}, %s}", object[0], object[1]))
	}
	return strings.Join(objects, "\n---\n")
}
