package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	sandboxProvider = "acs:ram::1234567890123456:oidc-provider/sandbox-provider"
	sandboxRole     = "acs:ram::1234567890123456:role/sandbox-role"
	file            = "/mnt/.alibabacloud/credentials"
	apiToken        = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// An STS for pods, which trusts the cluster's tokens.
type sts struct {
	// Its address for pods, and the one that sets its faults.
	url, control string
}

// startSTS runs the embedded STS behind https.
func (c *cluster) startSTS(t *testing.T, flags ...string) sts {
	t.Helper()
	// Everything that runs here is written to a file of its own.
	name := strings.ReplaceAll(t.Name(), "/", "-")
	command := exec.Command(*program, append([]string{"sandbox", "--listen", "127.0.0.1:0"}, flags...)...)
	stdout, err := command.StdoutPipe()
	check(t, err)
	log := create(t, c.path(name+".sts.log"))
	command.Stderr = log
	check(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	check(t, err)
	control := strings.TrimSpace(strings.TrimPrefix(line, "ALIBABA_CLOUD_STS_ENDPOINT="))
	target, err := url.Parse(control)
	check(t, err)
	certificate, key := c.authority.issue(t, *node)
	pair, err := tls.X509KeyPair(certificate, key)
	check(t, err)
	listener, err := tls.Listen("tcp", *node+":0", &tls.Config{Certificates: []tls.Certificate{pair}})
	check(t, err)
	server := &http.Server{Handler: httputil.NewSingleHostReverseProxy(target)}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return sts{"https://" + listener.Addr().String(), control + "/_sandbox/faults"}
}

// trustsCluster returns the flags with which an STS trusts the tokens of the cluster.
func (c *cluster) trustsCluster(t *testing.T) []string {
	t.Helper()
	raw := func(path string) []byte {
		found, err := c.client.RESTClient().Get().AbsPath(path).DoRaw(context.Background())
		check(t, err)
		return found
	}
	var configuration struct{ Issuer string }
	check(t, json.Unmarshal(raw("/.well-known/openid-configuration"), &configuration))
	c.write(t, "jwks.json", raw("/openid/v1/jwks"))
	return []string{"--oidc-issuer", configuration.Issuer, "--oidc-keys", c.path("jwks.json")}
}

// fault replaces the faults of an STS; without a plan there are none.
func (s sts) fault(t *testing.T, plan string) {
	t.Helper()
	method := http.MethodPut
	if plan == "" {
		method = http.MethodDelete
	}
	request, err := http.NewRequest(method, s.control, strings.NewReader(plan))
	check(t, err)
	response, err := http.DefaultClient.Do(request)
	check(t, err)
	response.Body.Close()
	equal(t, response.StatusCode/100, 2)
}

// installPods does what the guide says, with the STS as the one of the sidecars.
func (c *cluster) installPods(t *testing.T, of sts) {
	t.Helper()
	c.kubectl(t, "", "apply", "-k", config("webhook")).saysNothing(t)
	certificate, key := c.authority.issue(t, webhookHost)
	c.write(t, "webhook.crt", certificate)
	c.write(t, "webhook.key", key)
	c.kubectl(t, "", "create", "secret", "tls", "ram-sidecar-webhook-tls", "--namespace", webhookNamespace,
		"--cert", c.path("webhook.crt"), "--key", c.path("webhook.key")).succeeds(t)
	c.trust(t, c.authority.pem)
	const args = "/spec/template/spec/containers/0/args/"
	c.kubectl(t, "", "patch", "deployment", webhookName, "--namespace", webhookNamespace, "--type", "json", "--patch", fmt.Sprintf(`[
		{"op": "replace", "path": %q, "value": %q}, {"op": "add", "path": %[3]q, "value": "--ca-config-map=sts"},
		{"op": "add", "path": %[3]q, "value": "--env=ALIBABA_CLOUD_STS_ENDPOINT=%[4]s"}]`,
		args+"2", "--oidc-provider-arn="+sandboxProvider, args+"-", of.url)).succeeds(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.kubectl(t, "", "logs", "deployment/"+webhookName, "--namespace", webhookNamespace, "--tail", "20"))
			t.Log(c.kubectl(t, "", "describe", "pods", "--namespace", webhookNamespace).stdout)
		}
	})
	c.kubectl(t, "", "rollout", "status", "deployment/"+webhookName, "--namespace", webhookNamespace, "--timeout", "2m").succeeds(t)
}

// place creates a namespace whose pods get the sidecar.
func (c *cluster) place(t *testing.T, labels ...string) string {
	t.Helper()
	name := fmt.Sprintf("test-%d", namespaces.Add(1))
	c.kubectl(t, "", "create", "namespace", name).succeeds(t)
	c.kubectl(t, "", append([]string{"label", "namespace", name, "ram-sidecar/inject=true"}, labels...)...).succeeds(t)
	c.apply(t, name, fmt.Sprintf(`{apiVersion: v1, kind: ServiceAccount, metadata: {name: job, annotations: {ram-sidecar/role: %q}}}`, sandboxRole)).succeeds(t)
	c.kubectl(t, "", "create", "configmap", "sts", "--from-file", "ca.crt="+c.path("ca.crt"), "--namespace", name).succeeds(t)
	return name
}

// of returns a manifest with the sidecar, which asks this STS; the webhook leaves it as it is.
func (s sts) of(t *testing.T, manifest string, flags ...string) string {
	t.Helper()
	return inject(t, manifest, append([]string{"--role", sandboxRole, "--oidc-provider-arn", sandboxProvider,
		"--ca-config-map", "sts", "--env", "ALIBABA_CLOUD_STS_ENDPOINT=" + s.url}, flags...)...)
}

// jobPod returns a pod whose container runs a script of busybox.
func jobPod(name, metadata, script string) string {
	return jobPodWith(name, metadata, script, "")
}

// jobPodWith returns the same pod with further lines for its container.
func jobPodWith(name, metadata, script, container string) string {
	lines := fmt.Sprintf("command: [busybox, sh, -c, %q]\n%s", script, container)
	return strings.Replace(podWith(name, metadata, lines), "example.com/job:1", busybox, 1)
}

// withGrace sets the grace period of a pod.
func withGrace(manifest string, seconds int) string {
	return strings.Replace(manifest, "spec:\n", fmt.Sprintf("spec:\n  terminationGracePeriodSeconds: %d\n", seconds), 1)
}

// forever keeps a container running, and ends it at once when the pod is deleted.
const forever = `trap "exit 0" TERM; while true; do sleep 1; done`

// status returns what the kubelet says of a container; the zero value before it says anything.
func status(pod *core.Pod, name string) core.ContainerStatus {
	for _, status := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if status.Name == name {
			return status
		}
	}
	return core.ContainerStatus{}
}

// awaits waits until a pod is as it is described, and returns it.
func (c *cluster) awaits(t *testing.T, namespace, name string, limit time.Duration, what string, holds func(*core.Pod) bool) *core.Pod {
	t.Helper()
	var pod *core.Pod
	t.Cleanup(func() {
		if t.Failed() && pod != nil {
			t.Log(c.kubectl(t, "", "describe", "pod", name, "--namespace", namespace).stdout)
			t.Log(c.kubectl(t, "", "logs", name, "--all-containers", "--tail", "20", "--namespace", namespace).stdout)
		}
	})
	within(t, limit, name+": "+what, func() bool {
		pod = c.get(t, namespace, name)
		if pod != nil && holds(pod) {
			return true
		}
		time.Sleep(200 * time.Millisecond)
		return false
	})
	return pod
}

func (c *cluster) runs(t *testing.T, namespace, name string) *core.Pod {
	t.Helper()
	return c.awaits(t, namespace, name, 2*time.Minute, "its job runs", func(pod *core.Pod) bool {
		return status(pod, "job").State.Running != nil
	})
}

func (c *cluster) succeeds(t *testing.T, namespace, name string) *core.Pod {
	t.Helper()
	return c.awaits(t, namespace, name, 2*time.Minute, "it succeeds", func(pod *core.Pod) bool {
		if pod.Status.Phase == core.PodFailed {
			t.Fatalf("the job failed:\n%s", c.logs(t, namespace, name, "job"))
		}
		return pod.Status.Phase == core.PodSucceeded
	})
}

// restarted waits until the sidecar runs again, and returns how long it took.
func (c *cluster) restarted(t *testing.T, namespace, name string, times int32, limit time.Duration) time.Duration {
	t.Helper()
	since := time.Now()
	c.awaits(t, namespace, name, limit, "its sidecar runs again", func(pod *core.Pod) bool {
		found := status(pod, "ram-sidecar")
		return found.RestartCount >= times && found.State.Running != nil
	})
	return time.Since(since).Round(100 * time.Millisecond)
}

func (c *cluster) logs(t *testing.T, namespace, name, container string, flags ...string) string {
	t.Helper()
	return c.kubectl(t, "", append([]string{"logs", name, "--container", container, "--namespace", namespace}, flags...)...).succeeds(t)
}

// process returns the first process of a container.
func (c *cluster) process(t *testing.T, pod *core.Pod, container string) int {
	t.Helper()
	id := strings.TrimPrefix(status(pod, container).ContainerID, "containerd://")
	listed := execute(t, exec.Command("ctr", "--address", containerdSocket, "--namespace", "k8s.io", "tasks", "list"), "").succeeds(t)
	for line := range strings.Lines(listed) {
		if fields := strings.Fields(line); fields[0] == id {
			process, err := strconv.Atoi(fields[1])
			check(t, err)
			return process
		}
	}
	t.Fatalf("no process of %s in:\n%s", id, listed)
	return 0
}

func (c *cluster) signal(t *testing.T, pod *core.Pod, container string, signal syscall.Signal) {
	t.Helper()
	check(t, syscall.Kill(c.process(t, pod, container), signal))
}

// inside returns the path of a file as a process sees it.
func inside(process int, path string) string {
	return fmt.Sprintf("/proc/%d/root%s", process, path)
}

// limit reads a file of a process's cgroup.
func limit(t *testing.T, process int, controller, name string) string {
	t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", process))
	check(t, err)
	for line := range strings.Lines(string(groups)) {
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); parts[1] == controller {
			text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, parts[2], name))
			check(t, err)
			return strings.TrimSpace(string(text))
		}
	}
	t.Fatalf("no controller %s in:\n%s", controller, groups)
	return ""
}

// events returns the events of a pod whose text has a part, the newest last.
func (c *cluster) events(t *testing.T, namespace, name, part string) []core.Event {
	t.Helper()
	list, err := c.client.CoreV1().Events(namespace).List(context.Background(), meta.ListOptions{FieldSelector: "involvedObject.name=" + name})
	check(t, err)
	var found []core.Event
	for _, event := range list.Items {
		if strings.Contains(event.Message, part) {
			found = append(found, event)
		}
	}
	return found
}

// described verifies what `kubectl describe pod` says, from a heading on, against a file.
func (c *cluster) described(t *testing.T, namespace, name, from, to, golden string) {
	t.Helper()
	text := c.kubectl(t, "", "describe", "pod", name, "--namespace", namespace).succeeds(t)
	start := strings.Index(text, from)
	if start < 0 {
		t.Fatalf("no %q in:\n%s", from, text)
	}
	text = text[start:]
	if end := strings.Index(text, to); to != "" && end >= 0 {
		text = text[:end]
	}
	for _, volatile := range volatile {
		text = volatile.pattern.ReplaceAllString(text, volatile.by)
	}
	path := filepath.Join(*repository, "tests/cluster/testdata", golden+".txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(text), 0o644))
	}
	expected, err := os.ReadFile(path)
	check(t, err)
	equal(t, text, string(expected))
}

var volatile = []struct {
	pattern *regexp.Regexp
	by      string
}{
	// A probe that runs while the sidecar ends.
	{regexp.MustCompile(`(?m)^.* probe errored and resulted in unknown state: .*\n`), ""},
	{regexp.MustCompile(`STS\.Sandbox\w+`), "STS.Sandbox…"},
	{regexp.MustCompile(`test-\d+`), "<namespace>"},
	{regexp.MustCompile(`/job-[a-z0-9]{5}\b`), "/job-<id>"},
	{regexp.MustCompile(`(containerd://|sha256:)[0-9a-f]{64}`), "$1…"},
	{regexp.MustCompile(`(198\.51\.100\.1):\d+`), "$1:<port>"},
	{regexp.MustCompile(`RequestId [0-9A-F-]+`), "RequestId …"},
	{regexp.MustCompile(`[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]+ [+-]\d{4}`), "<time>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`), "<time>"},
	{regexp.MustCompile(`(?m)^(  \w+ +\w+ +)(\d+[smh])+( \(x\d+ over (\d+[smh])+\))? +`), "${1}<age>  "},
	{regexp.MustCompile(`(?m)^(  Type +Reason +)Age +`), "${1}Age  "},
	{regexp.MustCompile(`(?m)^(  ---- +------ +)---- +`), "${1}----  "},
	{regexp.MustCompile(`[ \t]+\n`), "\n"},
	// Columns are as wide as what is in them.
	{regexp.MustCompile(`(\S) {2,}`), "${1}  "},
	{regexp.MustCompile(`(?s)\{"timestamp".*\}\n`), "<the end of the log>\n"},
}
