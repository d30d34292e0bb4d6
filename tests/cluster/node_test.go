package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	parts  = flag.String("parts", "", "the kubelet, the scheduler and the controllers, in one program")
	cgroup = flag.String("cgroup", "", "the cgroup of all pods")
)

const nodeName = "node"

// startNode starts all that runs on the node: containerd, the kubelet, the scheduler and the controllers.
func (c *cluster) startNode(t *testing.T) {
	// By the address of its service, pods reach the API server.
	listener, err := net.Listen("tcp", apiService+":443")
	check(t, err)
	t.Cleanup(func() { listener.Close() })
	go forward(listener, strings.TrimPrefix(c.url, "https://"))

	c.write(t, "cni/10-pods.conflist", []byte(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
		"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.1.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}}]}`))
	c.write(t, "containerd.toml", fmt.Appendf(nil, `
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = %q
[plugins."io.containerd.grpc.v1.cri"]
# Without CAP_SYS_RESOURCE a score cannot be lowered.
restrict_oom_score_adj = true
sandbox_image = "localhost/pause:1"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = %q
`, containerdSocket, c.path("cni")))
	c.run(t, "containerd", exec.Command("containerd", "--config", c.path("containerd.toml")))
	eventually(t, "containerd answers", func() bool {
		return exec.Command("ctr", "--address", containerdSocket, "version").Run() == nil
	})
	c.importImage(t, "docker.io/library/ram-sidecar:0.1.0", map[string]string{"ram-sidecar": *program}, "/ram-sidecar")
	c.importImage(t, busybox, map[string]string{"bin/busybox": "/bin/busybox"}, "/bin/busybox")
	c.importImage(t, "localhost/pause:1", map[string]string{"bin/busybox": "/bin/busybox"}, "/bin/busybox", "sleep", "2147483647")

	part := func(name string, args ...string) {
		c.run(t, name, exec.Command(*parts, append([]string{name, "--kubeconfig", c.path("kubeconfig")}, args...)...))
	}
	part("kube-controller-manager", "--root-ca-file", c.path("ca.crt"), "--leader-elect=false", "--bind-address=127.0.0.1")
	part("kube-scheduler", "--leader-elect=false", "--bind-address=127.0.0.1")
	c.write(t, "resolv.conf", nil)
	c.write(t, "kubelet.yaml", fmt.Appendf(nil, `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
# Nobody else is in this network.
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: %q
clusterDNS: [10.0.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://%s
evictionHard: {memory.available: 50Mi, nodefs.available: 1%%, imagefs.available: 1%%}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
resolvConf: %q
`, *cgroup, containerdSocket, c.path("resolv.conf")))
	part("kubelet", "--config", c.path("kubelet.yaml"), "--hostname-override", nodeName, "--node-ip", *node)
	eventually(t, "the node is ready", func() bool {
		found, err := c.client.CoreV1().Nodes().Get(context.Background(), nodeName, meta.GetOptions{})
		if err != nil {
			return false
		}
		for _, condition := range found.Status.Conditions {
			if condition.Type == core.NodeReady {
				return condition.Status == core.ConditionTrue
			}
		}
		return false
	})
}

const (
	containerdSocket = "/run/containerd/containerd.sock"
	busybox          = "localhost/busybox:1"
)

// run runs a program until the test ends.
func (c *cluster) run(t *testing.T, name string, command *exec.Cmd) {
	t.Helper()
	log := create(t, c.path(name+".log"))
	command.Stdout, command.Stderr = log, log
	check(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			text := string(c.read(t, name+".log"))
			t.Logf("the end of the log of %s:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
}

// importImage makes an image of files of this machine, as `docker save` writes it.
func (c *cluster) importImage(t *testing.T, name string, files map[string]string, entrypoint ...string) {
	t.Helper()
	var layer bytes.Buffer
	writer := tar.NewWriter(&layer)
	for to, from := range files {
		content, err := os.ReadFile(from)
		check(t, err)
		addFile(t, writer, to, content)
	}
	check(t, writer.Close())
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{"Entrypoint": entrypoint, "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	check(t, err)
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	check(t, err)
	var image bytes.Buffer
	writer = tar.NewWriter(&image)
	addFile(t, writer, "layer.tar", layer.Bytes())
	addFile(t, writer, "config.json", config)
	addFile(t, writer, "manifest.json", manifest)
	check(t, writer.Close())
	command := exec.Command("ctr", "--address", containerdSocket, "--namespace", "k8s.io", "images", "import", "-")
	execute(t, command, image.String()).succeeds(t)
}

func addFile(t *testing.T, writer *tar.Writer, name string, content []byte) {
	t.Helper()
	check(t, writer.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
	_, err := writer.Write(content)
	check(t, err)
}

// forward connects each client of a listener to an address.
func forward(listener net.Listener, to string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			server, err := net.DialTimeout("tcp", to, 10*time.Second)
			if err != nil {
				return
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(server, client)
				_ = server.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(client, server)
		}()
	}
}
