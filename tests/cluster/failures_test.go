package cluster

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func failures(t *testing.T, c *cluster) {
	t.Run("without_the_webhook_labelled_pods_are_refused_and_others_are_created", func(t *testing.T) {
		plain, labelled := c.namespace(t), c.namespace(t, "ram-sidecar/inject=true")
		c.stopWebhook()
		t.Cleanup(func() { c.startWebhook(t) })
		const label = "labels: {ram-sidecar/inject: %q}"
		isTrue, isFalse, isOdd := fmt.Sprintf(label, "true"), fmt.Sprintf(label, "false"), fmt.Sprintf(label, "yes")
		const sentence = `failed calling webhook "%s.inject.ram-sidecar": failed to call webhook: Post "https://` + webhookHost + `:443/inject?timeout=10s"`
		c.apply(t, plain, pod("job", isTrue)).fails(t, fmt.Sprintf(sentence, "pod"))
		c.apply(t, labelled, pod("job", "")).fails(t, fmt.Sprintf(sentence, "namespace"))
		c.apply(t, labelled, pod("odd", isOdd)).fails(t, fmt.Sprintf(sentence, "namespace"))
		c.apply(t, plain, pod("plain", "")).saysNothing(t)
		c.apply(t, plain, pod("odd", isOdd)).saysNothing(t)
		c.apply(t, plain, pod("out", isFalse)).saysNothing(t)
		c.apply(t, labelled, pod("out", isFalse)).saysNothing(t)
	})

	t.Run("without_its_rights_pods_are_denied_with_the_object_that_restores_them", func(t *testing.T) {
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		c.kubectl(t, "", "delete", "clusterrolebinding", webhookName).succeeds(t)
		sentence := fmt.Sprintf("cannot read the service account %s/job: the API server forbids it; let the webhook's service account `get` the resource `serviceaccounts` in %[1]s, by a ClusterRole and a ClusterRoleBinding, or run without --read-service-accounts", namespace)
		eventually(t, "the API server forbids it", func() bool {
			applied := c.apply(t, namespace, pod("job", ""), "--dry-run=server")
			return !applied.isSuccess && strings.Contains(applied.stderr, sentence)
		})
		c.kubectl(t, "", "apply", "-k", config("webhook")).succeeds(t)
		c.trust(t, c.authority.pem)
		eventually(t, "the API server permits it again", func() bool {
			return c.apply(t, namespace, pod("job", ""), "--dry-run=server").isSuccess
		})
		c.apply(t, namespace, pod("job", "")).saysNothing(t)
		equal(t, hasSidecar(t, c.get(t, namespace, "job")), true)
	})

	t.Run("a_token_that_expired_is_told_and_a_new_one_is_used_at_once", func(t *testing.T) {
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		token := c.read(t, "token")
		c.write(t, "token", []byte("expired"))
		c.apply(t, namespace, pod("job", "")).fails(t, "the API server rejects the token in "+c.path("token"))
		c.write(t, "token", token)
		c.apply(t, namespace, pod("job", "")).saysNothing(t)
	})

	t.Run("certificates_and_their_authority_are_replaced_under_load_without_a_failed_review", func(t *testing.T) {
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		reloads := strings.Count(c.log(t), "were reloaded")
		load := c.load(t, namespace, 4)
		const rotations = 10
		for i := range rotations {
			expected := c.certify(t, c.authority)
			equal(t, c.presented(t), expected)
			// The API server connects anew when the bundle has changed.
			c.trust(t, fmt.Appendf(nil, "# %d\n%s", i, c.authority.pem))
			load.wait(t, 20)
		}
		// Both are trusted while the certificates of the old one are in use.
		next := newAuthority(t)
		c.trust(t, append(append([]byte{}, c.authority.pem...), next.pem...))
		c.synchronized(t, namespace)
		expected := c.certify(t, next)
		equal(t, c.presented(t), expected)
		c.trust(t, next.pem)
		load.wait(t, 100)
		load.stop(t)
		equal(t, strings.Count(c.log(t), "were reloaded"), reloads+rotations+1)
		equal(t, strings.Count(c.log(t), "Keeping the current certificate"), 0)
		c.authority.certificate, c.authority.key, c.authority.pem = next.certificate, next.key, next.pem
	})

	t.Run("a_certificate_that_the_API_server_does_not_trust_refuses_pods_until_it_is_trusted", func(t *testing.T) {
		namespace := c.namespace(t, "ram-sidecar/inject=true")
		other := newAuthority(t)
		c.certify(t, other)
		// The API server connects anew.
		c.stopWebhook()
		c.startWebhook(t)
		c.apply(t, namespace, pod("job", "")).fails(t, "tls: failed to verify certificate: x509: certificate signed by unknown authority")
		c.certify(t, c.authority)
		c.apply(t, namespace, pod("job", "")).saysNothing(t)
	})

	t.Run("a_rollout_of_the_webhook_fails_no_review", func(t *testing.T) {
		load := c.load(t, c.namespace(t, "ram-sidecar/inject=true"), 4)
		load.wait(t, 20)
		old := c.webhook
		c.port++
		c.startWebhook(t)
		check(t, old.process.Process.Signal(syscall.SIGTERM))
		_, err := c.client.DiscoveryV1().EndpointSlices(webhookNamespace).Update(context.Background(), c.endpoint(), meta.UpdateOptions{})
		check(t, err)
		eventually(t, "the old process ends", func() bool {
			select {
			case <-old.ended:
				return true
			default:
				return false
			}
		})
		load.wait(t, 100)
		load.stop(t)
		equal(t, old.process.ProcessState.ExitCode(), 0)
	})
}

// load creates pods, one after the other in each of several clients.
type load struct {
	created atomic.Int64
	failed  chan error
	ends    context.CancelFunc
	clients sync.WaitGroup
}

func (c *cluster) load(t *testing.T, namespace string, clients int) *load {
	ctx, ends := context.WithCancel(context.Background())
	l := &load{failed: make(chan error, clients), ends: ends}
	t.Cleanup(ends)
	for range clients {
		l.clients.Add(1)
		go func() {
			defer l.clients.Done()
			for ctx.Err() == nil {
				created, err := c.client.CoreV1().Pods(namespace).Create(context.Background(), &core.Pod{
					ObjectMeta: meta.ObjectMeta{GenerateName: "job-"},
					Spec:       core.PodSpec{ServiceAccountName: "job", Containers: []core.Container{{Name: "job", Image: "a"}}},
				}, meta.CreateOptions{DryRun: []string{meta.DryRunAll}})
				if err == nil && len(created.Spec.InitContainers) != 1 {
					err = fmt.Errorf("a pod has no sidecar: %v", created.Spec)
				}
				if err != nil {
					l.failed <- err
					return
				}
				l.created.Add(1)
			}
		}()
	}
	return l
}

// wait waits until so many more pods are created.
func (l *load) wait(t *testing.T, pods int64) {
	t.Helper()
	before := l.created.Load()
	eventually(t, "pods are created", func() bool {
		select {
		case err := <-l.failed:
			t.Fatal(err)
		default:
		}
		return l.created.Load() >= before+pods
	})
}

func (l *load) stop(t *testing.T) {
	t.Helper()
	l.ends()
	l.clients.Wait()
	select {
	case err := <-l.failed:
		t.Fatal(err)
	default:
	}
}

// synchronized waits until the API server obeys the configuration as it is now: it calls a webhook that is added to it.
func (c *cluster) synchronized(t *testing.T, namespace string) {
	t.Helper()
	// Configurations are read from one cache, in order.
	c.neighbour(t, namespace, "a-probe", `"image": "a"`)
	eventually(t, "the API server obeys its configuration", func() bool {
		shown := c.apply(t, namespace, pod("probe", ""), "--dry-run=server", "--output=yaml")
		return strings.Contains(shown.succeeds(t), "name: a-probe")
	})
}
