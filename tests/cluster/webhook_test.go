package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	webhookNamespace = "ram-sidecar"
	webhookName      = "ram-sidecar-webhook"
	webhookHost      = webhookName + "." + webhookNamespace + ".svc"
)

// The process of the webhook.
type webhook struct {
	process *exec.Cmd
	ended   chan struct{}
	log     string
}

// install does what the guide says, and then what the kubelet and the controllers do.
func (c *cluster) install(t *testing.T) {
	c.kubectl(t, "", "apply", "-k", config("webhook")).saysNothing(t)
	c.certify(t, c.authority)
	c.trust(t, c.authority.pem)
	_, err := c.client.DiscoveryV1().EndpointSlices(webhookNamespace).Create(context.Background(), c.endpoint(), meta.CreateOptions{})
	check(t, err)
	c.authenticate(t)
	c.startWebhook(t)
	t.Cleanup(func() {
		c.stopWebhook()
		log := c.log(t)
		for _, token := range c.tokens {
			if strings.Contains(log, token) {
				t.Error("the webhook has logged its token")
			}
		}
		if t.Failed() {
			t.Logf("the end of the webhook's log:\n%s", log[max(0, len(log)-4000):])
		}
	})

	// The API server notices the configuration a moment later.
	namespace := c.namespace(t, "ram-sidecar/inject=true")
	eventually(t, "a pod gets the sidecar", func() bool {
		found := c.apply(t, namespace, pod("job", ""), "--dry-run=server", "--output=yaml")
		return found.isSuccess && strings.Contains(found.stdout, "name: ram-sidecar")
	})
}

// authenticate gives the webhook a token of its service account.
func (c *cluster) authenticate(t *testing.T) {
	t.Helper()
	token, err := c.client.CoreV1().ServiceAccounts(webhookNamespace).CreateToken(context.Background(), webhookName,
		&authentication.TokenRequest{}, meta.CreateOptions{})
	check(t, err)
	c.tokens = append(c.tokens, token.Status.Token)
	c.write(t, "token", []byte(token.Status.Token))
}

// endpoint returns the address of the webhook.
func (c *cluster) endpoint() *discovery.EndpointSlice {
	name, protocol := "https", core.ProtocolTCP
	return &discovery.EndpointSlice{
		ObjectMeta: meta.ObjectMeta{
			Name:   webhookName,
			Labels: map[string]string{discovery.LabelServiceName: webhookName},
		},
		AddressType: discovery.AddressTypeIPv4,
		Endpoints:   []discovery.Endpoint{{Addresses: []string{*node}}},
		Ports:       []discovery.EndpointPort{{Name: &name, Port: &c.port, Protocol: &protocol}},
	}
}

// config returns a directory of manifests.
func config(name string) string {
	return filepath.Join(*repository, "config/kubernetes", name)
}

// startWebhook runs the webhook as its Deployment says, with further flags.
func (c *cluster) startWebhook(t *testing.T, flags ...string) {
	t.Helper()
	deployment, err := c.client.AppsV1().Deployments(webhookNamespace).Get(context.Background(), webhookName, meta.GetOptions{})
	check(t, err)
	args := deployment.Spec.Template.Spec.Containers[0].Args
	args = append(args, "--listen", fmt.Sprintf("0.0.0.0:%d", c.port),
		"--tls-cert", c.path("tls/..data/tls.crt"), "--tls-key", c.path("tls/..data/tls.key"),
		"--kubernetes-token-file", c.path("token"), "--kubernetes-ca-file", c.path("ca.crt"))
	host, port, err := net.SplitHostPort(strings.TrimPrefix(c.url, "https://"))
	check(t, err)
	started := &webhook{
		process: exec.Command(*program, append(args, flags...)...),
		ended:   make(chan struct{}),
		log:     c.path("webhook.log"),
	}
	log, err := os.OpenFile(started.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(t, err)
	defer log.Close()
	started.process.Env = []string{"KUBERNETES_SERVICE_HOST=" + host, "KUBERNETES_SERVICE_PORT=" + port}
	started.process.Stdout, started.process.Stderr = log, log
	check(t, started.process.Start())
	go func() {
		_ = started.process.Wait()
		close(started.ended)
	}()
	c.webhook = started
	eventually(t, "the webhook is ready", func() bool {
		select {
		case <-started.ended:
			t.Fatalf("the webhook ended:\n%s", c.log(t))
		default:
		}
		connection, err := c.dial()
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
}

func (c *cluster) stopWebhook() {
	_ = c.webhook.process.Process.Kill()
	<-c.webhook.ended
}

// withFlags runs the webhook with further flags until the test ends.
func (c *cluster) withFlags(t *testing.T, flags ...string) {
	t.Helper()
	c.stopWebhook()
	c.startWebhook(t, flags...)
	t.Cleanup(func() {
		c.stopWebhook()
		c.startWebhook(t)
	})
}

func (c *cluster) log(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(c.webhook.log)
	check(t, err)
	return string(log)
}

// certify replaces the certificate of the webhook.
func (c *cluster) certify(t *testing.T, by *authority) string {
	t.Helper()
	certificate, key := by.issue(t, webhookHost)
	c.mount(t, certificate, key)
	return string(certificate)
}

// mount replaces the files of the Secret as the kubelet does it.
func (c *cluster) mount(t *testing.T, certificate, key []byte) {
	t.Helper()
	directory := fmt.Sprintf("tls/..%d", rotation.Add(1))
	check(t, os.MkdirAll(c.path(directory), 0o700))
	c.write(t, directory+"/tls.crt", certificate)
	c.write(t, directory+"/tls.key", key)
	check(t, os.Symlink(filepath.Base(directory), c.path("tls/..new")))
	check(t, os.Rename(c.path("tls/..new"), c.path("tls/..data")))
}

var rotation atomic.Int64

// trust lets the API server trust certificates, by the command of config/kubernetes/webhook/kustomization.yaml.
func (c *cluster) trust(t *testing.T, bundle []byte) {
	t.Helper()
	configuration, err := c.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(context.Background(), "ram-sidecar", meta.GetOptions{})
	check(t, err)
	var operations []string
	for i := range configuration.Webhooks {
		operations = append(operations, fmt.Sprintf(`{"op": "add", "path": "/webhooks/%d/clientConfig/caBundle", "value": "%s"}`,
			i, base64.StdEncoding.EncodeToString(bundle)))
	}
	c.kubectl(t, "", "patch", "mutatingwebhookconfiguration", "ram-sidecar", "--type", "json",
		"--patch", "["+strings.Join(operations, ",")+"]").succeeds(t)
}

// presented returns the certificate that the webhook presents.
func (c *cluster) presented(t *testing.T) string {
	t.Helper()
	connection, err := c.dial()
	check(t, err)
	defer connection.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: connection.ConnectionState().PeerCertificates[0].Raw}))
}

func (c *cluster) dial() (*tls.Conn, error) {
	return tls.Dial("tcp", fmt.Sprintf("%s:%d", *node, c.port), &tls.Config{InsecureSkipVerify: true})
}

// An authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := certificateTemplate("authority")
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	certificate, err := x509.ParseCertificate(der)
	check(t, err)
	return &authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns a certificate for names and addresses, and its key.
func (a *authority) issue(t *testing.T, names ...string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := certificateTemplate(names[0])
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	check(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func certificateTemplate(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
	}
}

// serve answers by https on loopback, with a certificate of the authority, until the test ends; it returns the address.
func (c *cluster) serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	certificate, key := c.authority.issue(t, "127.0.0.1")
	pair, err := tls.X509KeyPair(certificate, key)
	check(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	check(t, err)
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return "https://" + listener.Addr().String()
}
