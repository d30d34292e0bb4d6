// Package cluster verifies the webhook, `inject` and config/kubernetes against a real API server, as users do: by kubectl.
//
// TestCluster has no controllers and no kubelet. Where a claim needs what they do, the test does it: it creates pods from
// templates, runs the webhook's program with the arguments of its Deployment, and publishes its endpoint. TestNode has both, and
// verifies what only they show. TestChart needs neither. `.ci/cluster` runs them.
package cluster

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/klog/v2"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app/testing"
)

var (
	program    = flag.String("program", "", "the program under test")
	repository = flag.String("repository", "", "the root of the repository")
	// Nodes have other addresses than loopback, which no endpoint may have.
	node = flag.String("node", "", "an address of this machine")
)

// The first of the API server's addresses for services, by which pods reach it.
const apiService = "10.0.0.1"

// TestMain makes this program kubectl where it is started with the variable, so that both are of one version.
func TestMain(m *testing.M) {
	// The API server's package for tests has raised it.
	if _, err := logs.GlogSetter("0"); err != nil {
		panic(err)
	}
	if os.Getenv(asKubectl) == "" {
		os.Exit(m.Run())
	}
	os.Args[0] = "kubectl"
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}

const asKubectl = "CLUSTER_TEST_AS_KUBECTL"

func TestCluster(t *testing.T) {
	c := start(t)
	c.install(t)
	for _, claims := range []func(*testing.T, *cluster){
		manifests,
		selection,
		lifecycle,
		kinds,
		resources,
		podSecurity,
		mistakes,
		neighbours,
		failures,
		repetition,
		// Last, because it removes the webhook.
		helm,
	} {
		claims(t, c)
	}
}

// A cluster.
type cluster struct {
	directory string
	url       string
	client    *kubernetes.Clientset
	authority *authority
	webhook   *webhook
	// Those that the webhook has had.
	tokens []string
	// The port of the webhook.
	port int32
}

func start(t *testing.T) *cluster {
	c := &cluster{directory: t.TempDir(), authority: newAuthority(t), port: 8443}
	storage := storagebackend.NewDefaultConfig("/registry", nil)
	storage.Transport.ServerList = []string{c.startEtcd(t)}

	log := create(t, c.path("apiserver.log"))
	var logging flag.FlagSet
	klog.InitFlags(&logging)
	check(t, logging.Set("stderrthreshold", "FATAL"))
	check(t, logging.Set("logtostderr", "false"))
	klog.SetOutput(log)
	certificate, key := c.authority.issue(t, "127.0.0.1", apiService)
	c.write(t, "apiserver.crt", certificate)
	c.write(t, "apiserver.key", key)
	c.write(t, "ca.crt", c.authority.pem)
	server, err := apiserver.StartTestServer(quiet{t}, nil, []string{
		"--authorization-mode=RBAC",
		"--advertise-address=" + *node,
		// Without kube-proxy no address of a service leads anywhere.
		"--enable-aggregator-routing=true",
		"--kubelet-preferred-address-types=InternalIP",
		"--tls-cert-file=" + c.path("apiserver.crt"),
		"--tls-private-key-file=" + c.path("apiserver.key"),
	}, storage)
	check(t, err)
	t.Cleanup(server.TearDownFn)
	c.client, err = kubernetes.NewForConfig(server.ClientConfig)
	check(t, err)
	c.url = server.ClientConfig.Host
	check(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"": {
			Server: c.url, CertificateAuthority: c.path("ca.crt"),
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"": {Token: server.ClientConfig.BearerToken}},
		Contexts:  map[string]*clientcmdapi.Context{"": {}},
	}, c.path("kubeconfig")))

	c.apply(t, "", foreignKinds).succeeds(t)
	return c
}

func (c *cluster) startEtcd(t *testing.T) string {
	client, peer := "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	etcd := exec.Command("etcd", "--data-dir", c.path("etcd"), "--log-level", "error",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	etcd.Stdout = create(t, c.path("etcd.log"))
	etcd.Stderr = etcd.Stdout
	check(t, etcd.Start())
	t.Cleanup(func() {
		check(t, etcd.Process.Kill())
		_ = etcd.Wait()
	})
	return client
}

// quiet drops what the API server logs.
type quiet struct{ testing.TB }

func (quiet) Log(...any)          {}
func (quiet) Logf(string, ...any) {}

// What a command has printed, and whether it succeeded.
type output struct {
	command, stdout, stderr string
	isSuccess               bool
}

// kubectl runs kubectl with an input.
func (c *cluster) kubectl(t *testing.T, input string, args ...string) output {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	command := exec.Command(self, args...)
	command.Env = append(os.Environ(), asKubectl+"=true", "KUBECONFIG="+c.path("kubeconfig"), "HOME="+c.directory)
	return execute(t, command, input)
}

// apply applies manifests to a namespace.
func (c *cluster) apply(t *testing.T, namespace, manifest string, args ...string) output {
	t.Helper()
	args = append([]string{"apply", "-f", "-"}, args...)
	if namespace != "" {
		args = append(args, "--namespace", namespace)
	}
	return c.kubectl(t, manifest, args...)
}

// inject runs `ram-sidecar inject` on a manifest, and returns the result.
func inject(t *testing.T, manifest string, args ...string) string {
	t.Helper()
	command := exec.Command(*program, append([]string{"inject"}, args...)...)
	return execute(t, command, manifest).succeeds(t)
}

func execute(t *testing.T, command *exec.Cmd, input string) output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &stdout, &stderr
	err := command.Run()
	if _, isExit := err.(*exec.ExitError); err != nil && !isExit {
		t.Fatal(err)
	}
	return output{
		command:   strings.Join(command.Args[1:], " "),
		stdout:    stdout.String(),
		stderr:    stderr.String(),
		isSuccess: err == nil,
	}
}

// succeeds returns what the command has printed on standard output.
func (o output) succeeds(t *testing.T) string {
	t.Helper()
	if !o.isSuccess {
		t.Fatalf("%s failed:\n%s%s", o.command, o.stdout, o.stderr)
	}
	return o.stdout
}

// says verifies that the command has succeeded with this text on standard error.
func (o output) says(t *testing.T, text string) {
	t.Helper()
	o.succeeds(t)
	contains(t, o.stderr, text)
}

// saysNothing verifies that the command has succeeded with nothing on standard error.
func (o output) saysNothing(t *testing.T) {
	t.Helper()
	o.succeeds(t)
	equal(t, o.stderr, "")
}

// fails verifies that the command has failed with this text on standard error.
func (o output) fails(t *testing.T, text string) {
	t.Helper()
	if o.isSuccess {
		t.Fatalf("%s succeeded:\n%s%s", o.command, o.stdout, o.stderr)
	}
	contains(t, o.stderr, text)
}

func (c *cluster) path(name string) string {
	return filepath.Join(c.directory, name)
}

func (c *cluster) write(t *testing.T, name string, content []byte) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(c.path(name)), 0o700))
	check(t, os.WriteFile(c.path(name), content, 0o600))
}

func (c *cluster) read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(c.path(name))
	check(t, err)
	return content
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Create(path)
	check(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, found, expected T) {
	t.Helper()
	if found != expected {
		t.Fatalf("found:\n%v\nexpected:\n%v", found, expected)
	}
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Fatalf("this is missing:\n%s\nin:\n%s", part, text)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, time.Minute, what, holds)
}

// within waits until a condition holds, for a limited time.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
