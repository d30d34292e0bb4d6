package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNode verifies what only a kubelet does, with the webhook in pods of its own.
func TestNode(t *testing.T) {
	c := start(t)
	c.startNode(t)
	trusts := c.trustsCluster(t)
	c.installPods(t, c.startSTS(t, trusts...))
	// Nothing else can be scheduled meanwhile.
	drain(t, c)

	for name, claim := range map[string]func(*testing.T, *cluster){
		"a_Job_starts_when_its_sidecar_has_credentials_of_the_clusters_own_token_and_completes":                  completion,
		"a_job_of_a_slow_STS_starts_when_the_credentials_arrive":                                                 slowStart,
		"while_STS_denies_the_role_the_events_say_so_and_stay_current":                                           denied,
		"a_token_of_an_issuer_that_STS_does_not_trust_is_explained_in_the_events":                                untrusted,
		"a_deleted_job_gets_credentials_until_its_grace_period_ends":                                             deletion,
		"a_hung_sidecar_is_replaced_within_a_minute_whatever_the_grace_period_of_the_pod":                        hung,
		"a_mistake_that_ends_the_sidecar_is_shown_by_describe":                                                   mistake,
		"after_three_kills_in_a_row_the_file_was_right_all_along":                                                kills,
		"the_sidecar_has_no_token_for_the_API_server_and_the_job_has_its_own":                                    tokens,
		"a_container_that_a_later_webhook_adds_gets_credentials":                                                 later,
		"the_limits_of_the_sidecar_are_in_force_and_the_pod_keeps_its_class":                                     limits,
		"a_sidecar_that_is_killed_for_its_memory_is_restarted_and_explained_and_the_file_stays_right":            outOfMemory,
		"a_token_that_the_kubelet_renews_after_four_fifths_of_its_life_is_used_before_the_old_one_expires_on_it": renewal,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claim(t, c)
		})
	}
}

const (
	// How an ID of the embedded STS begins in the file, and in the answer of the URI.
	issued  = `"AccessKeyId":"STS.Sandbox`
	isRight = `grep -q '` + issued + `' ` + file
)

// asks prints what the file and the URI have, and fails without.
const asks = `set -e; ` + isRight + `; wget -q -O - $ALIBABA_CLOUD_CREDENTIALS_URI; echo`

func completion(t *testing.T, c *cluster) {
	namespace := c.place(t, "pod-security.kubernetes.io/enforce=restricted")
	template := strings.SplitN(jobPod("job", "", asks), "spec:\n", 2)[1]
	c.apply(t, namespace, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: job}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n"+
		"    "+strings.ReplaceAll(template, "\n", "\n    ")).succeeds(t)
	within(t, 2*time.Minute, "the Job completes", func() bool {
		job, err := c.client.BatchV1().Jobs(namespace).Get(context.Background(), "job", meta.GetOptions{})
		check(t, err)
		for _, condition := range job.Status.Conditions {
			if condition.Type == batch.JobFailed {
				t.Fatalf("the Job failed: %s", condition.Message)
			}
			if condition.Type == batch.JobComplete {
				return true
			}
		}
		return false
	})
	pods, err := c.client.CoreV1().Pods(namespace).List(context.Background(), meta.ListOptions{})
	check(t, err)
	equal(t, len(pods.Items), 1)
	pod := &pods.Items[0]
	contains(t, c.logs(t, namespace, pod.Name, "job"), issued)
	contains(t, c.logs(t, namespace, pod.Name, "ram-sidecar"), `"identity":"oidc"`)
	sidecar, job := status(pod, "ram-sidecar").State.Terminated, status(pod, "job").State.Terminated
	if sidecar == nil || sidecar.ExitCode != 0 || sidecar.FinishedAt.Before(&job.FinishedAt) {
		t.Fatalf("the sidecar: %v\nthe job: %v", sidecar, job)
	}
	t.Logf("the job started %s after the sidecar, which ended %s after it", job.StartedAt.Sub(sidecar.StartedAt.Time), sidecar.FinishedAt.Sub(job.FinishedAt.Time))
	c.described(t, namespace, pod.Name, "Events:", "", "completed")
}

func slowStart(t *testing.T, c *cluster) {
	namespace := c.place(t)
	slow := c.startSTS(t, append(c.trustsCluster(t), "--fault", "latency=4s")...)
	c.apply(t, namespace, slow.of(t, jobPod("job", "", asks))).succeeds(t)
	pod := c.succeeds(t, namespace, "job")
	sidecar, job := status(pod, "ram-sidecar").State.Terminated, status(pod, "job").State.Terminated
	took := job.StartedAt.Sub(sidecar.StartedAt.Time)
	t.Logf("the job started after %s", took)
	if took < 4*time.Second || took > 15*time.Second {
		t.Fatalf("the job started after %s", took)
	}
	equal(t, len(c.events(t, namespace, "job", "Startup probe failed")), 0)
}

func denied(t *testing.T, c *cluster) {
	namespace := c.place(t)
	sts := c.startSTS(t, append(c.trustsCluster(t), "--fault", "deny")...)
	c.apply(t, namespace, sts.of(t, jobPod("job", "", asks))).succeeds(t)
	current := func(part string) func(*core.Pod) bool {
		return func(*core.Pod) bool {
			for _, event := range c.events(t, namespace, "job", part) {
				if time.Since(event.LastTimestamp.Time) < 5*time.Second {
					return true
				}
			}
			return false
		}
	}
	c.awaits(t, namespace, "job", time.Minute, "an event says that the role trusts nobody", current("NoPermission"))
	c.described(t, namespace, "job", "Events:", "", "denied")
	// The kubelet would drop events after 25 of a kind; these go on.
	since := time.Now()
	for time.Since(since) < 3*time.Minute {
		time.Sleep(30 * time.Second)
		c.awaits(t, namespace, "job", 40*time.Second, "the event is told again", current("NoPermission"))
	}
	sts.fault(t, "throttle")
	c.awaits(t, namespace, "job", 90*time.Second, "an event says that STS throttles", current("Throttling"))
	sts.fault(t, "")
	since = time.Now()
	c.succeeds(t, namespace, "job")
	t.Logf("the job ended %s after STS answered", time.Since(since).Round(time.Second))
}

func untrusted(t *testing.T, c *cluster) {
	namespace := c.place(t)
	c.apply(t, namespace, c.startSTS(t).of(t, jobPod("job", "", asks))).succeeds(t)
	c.awaits(t, namespace, "job", time.Minute, "an event says that the issuer is another", func(*core.Pod) bool {
		return len(c.events(t, namespace, "job", "IssuerNotMatch")) > 0
	})
	c.described(t, namespace, "job", "Events:", "", "untrusted")
}

// lastly asks for credentials once a second after the signal to end.
const lastly = `trap 'i=0; while [ $i -lt 12 ]; do wget -q -O /dev/null $ALIBABA_CLOUD_CREDENTIALS_URI && echo served || echo refused; ` +
	`i=$((i+1)); sleep 1; done; exit 0' TERM; echo started; while true; do sleep 1; done`

func deletion(t *testing.T, c *cluster) {
	namespace := c.place(t)
	c.apply(t, namespace, withGrace(jobPod("job", "", lastly), 40)).succeeds(t)
	c.runs(t, namespace, "job")
	c.serves(t, namespace, func() {
		c.kubectl(t, "", "delete", "pod", "job", "--namespace", namespace).succeeds(t)
	})
}

// serves verifies that a job that asks lastly is served each time while the pod ends.
func (c *cluster) serves(t *testing.T, namespace string, ends func()) {
	t.Helper()
	followed := make(chan string)
	go func() { followed <- c.logs(t, namespace, "job", "job", "--follow") }()
	eventually(t, "the job has started", func() bool {
		return strings.Contains(c.logs(t, namespace, "job", "job"), "started")
	})
	ends()
	log := <-followed
	t.Logf("%d of 12 requests were served", strings.Count(log, "served"))
	equal(t, log, "started\n"+strings.Repeat("served\n", 12))
}

func hung(t *testing.T, c *cluster) {
	namespace := c.place(t)
	c.apply(t, namespace, withGrace(jobPod("job", "", forever), 300)).succeeds(t)
	pod := c.runs(t, namespace, "job")
	process := c.process(t, pod, "job")
	c.signal(t, pod, "ram-sidecar", syscall.SIGSTOP)
	took := c.restarted(t, namespace, "job", 1, time.Minute)
	t.Logf("it was replaced after %s", took)
	equal(t, status(c.get(t, namespace, "job"), "job").RestartCount, 0)
	content, err := os.ReadFile(inside(process, file))
	check(t, err)
	contains(t, string(content), issued)
	c.described(t, namespace, "job", "Events:", "", "hung")
}

func mistake(t *testing.T, c *cluster) {
	namespace := c.place(t)
	c.apply(t, namespace, inject(t, jobPod("job", "", asks), "--role", sandboxRole, "--oidc-provider-arn", sandboxProvider,
		"--env", "ALIBABA_CLOUD_STS_ENDPOINT=http://sts.example.com")).succeeds(t)
	c.awaits(t, namespace, "job", time.Minute, "the sidecar has ended", func(pod *core.Pod) bool {
		found := status(pod, "ram-sidecar")
		return found.State.Terminated != nil || found.LastTerminationState.Terminated != nil
	})
	c.described(t, namespace, "job", "      Message: ", "      Exit Code: ", "mistake")
}

// polls prints at each poll what was right: the file, and the URI or the seconds since it was.
const polls = `gone=0; trap "exit 0" TERM; while true; do
` + isRight + ` && echo file || echo no file
wget -q -O /dev/null $ALIBABA_CLOUD_CREDENTIALS_URI 2>/dev/null && { [ $gone = 0 ] || echo gap $(($(date +%s)-gone)); gone=0; } || { [ $gone != 0 ] || gone=$(date +%s); }
sleep 0.5; done`

func kills(t *testing.T, c *cluster) {
	namespace := c.place(t)
	c.apply(t, namespace, jobPod("job", "", polls)).succeeds(t)
	c.runs(t, namespace, "job")
	for i := range int32(3) {
		c.signal(t, c.get(t, namespace, "job"), "ram-sidecar", syscall.SIGKILL)
		t.Logf("kill %d: it runs again after %s", i+1, c.restarted(t, namespace, "job", i+1, time.Minute))
	}
	time.Sleep(5 * time.Second)
	log := c.logs(t, namespace, "job", "job")
	gaps := regexp.MustCompile(`gap (\d+)`).FindAllString(log, -1)
	t.Logf("the file was right in %d polls; seconds without the URI: %s", strings.Count(log, "file\n"), strings.Join(gaps, ", "))
	equal(t, len(gaps), 3)
	equal(t, strings.Count(log, "no file"), 0)
}

func tokens(t *testing.T, c *cluster) {
	namespace := c.place(t)
	c.apply(t, namespace, jobPod("job", "", "test -s "+apiToken+"/token && echo has its own; "+forever)).succeeds(t)
	pod := c.runs(t, namespace, "job")
	eventually(t, "the job finds its token", func() bool {
		return strings.Contains(c.logs(t, namespace, "job", "job"), "has its own")
	})
	found, err := os.ReadDir(inside(c.process(t, pod, "ram-sidecar"), apiToken))
	check(t, err)
	equal(t, len(found), 0)
}

func later(t *testing.T, c *cluster) {
	namespace := c.place(t)
	c.neighbour(t, namespace, "z-last", fmt.Sprintf(`"image": %q, "command": ["busybox", "sh", "-c", %q]`, busybox, asks))
	eventually(t, "the webhook is called", func() bool {
		return strings.Contains(c.apply(t, namespace, jobPod("job", "", asks), "--dry-run=server", "--output=yaml").succeeds(t), "z-last")
	})
	c.apply(t, namespace, jobPod("job", "", asks)).succeeds(t)
	c.succeeds(t, namespace, "job")
	contains(t, c.logs(t, namespace, "job", "z-last"), issued)
}

func limits(t *testing.T, c *cluster) {
	namespace := c.place(t)
	for _, row := range []struct {
		name, resources       string
		class                 core.PodQOSClass
		memory, quota, shares string
	}{
		{"burstable", "", core.PodQOSBurstable, "67108864", "-1", "5"},
		{"guaranteed", "resources: {limits: {cpu: 500m, memory: 64Mi}}", core.PodQOSGuaranteed, "67108864", "10000", "102"},
	} {
		c.apply(t, namespace, jobPodWith(row.name, "", forever, row.resources)).succeeds(t)
		pod := c.runs(t, namespace, row.name)
		equal(t, pod.Status.QOSClass, row.class)
		process := c.process(t, pod, "ram-sidecar")
		equal(t, limit(t, process, "memory", "memory.limit_in_bytes"), row.memory)
		equal(t, limit(t, process, "cpu", "cpu.cfs_quota_us"), row.quota)
		equal(t, limit(t, process, "cpu", "cpu.shares"), row.shares)
		t.Logf("%s: the peak of its memory is %s bytes", row.name, limit(t, process, "memory", "memory.max_usage_in_bytes"))
	}
}

func outOfMemory(t *testing.T, c *cluster) {
	namespace := c.place(t)
	c.apply(t, namespace, jobPod("job", "", polls)).succeeds(t)
	pod := c.runs(t, namespace, "job")
	process := c.process(t, pod, "ram-sidecar")
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", process))
	check(t, err)
	_, rest, _ := strings.Cut(string(groups), ":memory:")
	group, _, _ := strings.Cut(rest, "\n")
	// Another process in its cgroup takes what is left. The kernel kills the one that the kubelet has given the higher score.
	eater := exec.Command("sh", "-c", `echo $$ >"$0" && exec busybox tail -c 200m /dev/zero`, "/sys/fs/cgroup/memory"+group+"/cgroup.procs")
	check(t, eater.Start())
	t.Cleanup(func() {
		_ = eater.Process.Kill()
		_ = eater.Wait()
	})
	took := c.restarted(t, namespace, "job", 1, time.Minute)
	_ = eater.Process.Kill()
	t.Logf("it runs again after %s", took)
	equal(t, status(c.get(t, namespace, "job"), "ram-sidecar").LastTerminationState.Terminated.Reason, "OOMKilled")
	time.Sleep(2 * time.Second)
	log := c.logs(t, namespace, "job", "job")
	equal(t, strings.Count(log, "no file"), 0)
	c.described(t, namespace, "job", "    Last State: ", "    Ready: ", "out-of-memory")
}

func renewal(t *testing.T, c *cluster) {
	namespace := c.place(t)
	sts := c.startSTS(t, append(c.trustsCluster(t), "--fault", "lifetime=2m")...)
	manifest := jobPod("job", `annotations: {pod-identity.alibabacloud.com/service-account-token-expiration: "600"}`, forever)
	c.apply(t, namespace, sts.of(t, manifest)).succeeds(t)
	pod := c.runs(t, namespace, "job")
	process := c.process(t, pod, "ram-sidecar")
	path := inside(process, "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token")
	began, expires := lifetime(t, path)
	equal(t, expires.Sub(began), 10*time.Minute)
	within(t, 10*time.Minute, "the kubelet renews the token", func() bool {
		time.Sleep(time.Second)
		renewed, _ := lifetime(t, path)
		return renewed.After(began)
	})
	t.Logf("the kubelet renewed the token %s after it was issued", time.Since(began).Round(time.Second))
	// What is in force after the old one is worth nothing was obtained with the new one.
	time.Sleep(time.Until(expires.Add(2*time.Minute + 10*time.Second)))
	content, err := os.ReadFile(inside(process, file))
	check(t, err)
	contains(t, string(content), issued)
	log := c.logs(t, namespace, "job", "ram-sidecar")
	for _, level := range []string{`"level":"WARN"`, `"level":"ERROR"`} {
		equal(t, strings.Count(log, level), 0)
	}
	document := execute(t, exec.Command("nsenter", "--net", "--target", fmt.Sprint(process), "busybox", "wget", "-q", "-O", "-",
		fmt.Sprintf("http://127.0.0.1:7002/api/v1/credentials/%s", pod.UID)), "").succeeds(t)
	var answer struct{ Expiration time.Time }
	check(t, json.Unmarshal([]byte(document), &answer))
	if left := time.Until(answer.Expiration); left < 0 || left > 2*time.Minute {
		t.Fatalf("the credentials are good for %s", left)
	}
	equal(t, status(c.get(t, namespace, "job"), "ram-sidecar").RestartCount, 0)
}

// lifetime returns when a token was issued, and when it expires.
func lifetime(t *testing.T, path string) (issued, expires time.Time) {
	t.Helper()
	token, err := os.ReadFile(path)
	check(t, err)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(token), ".")[1])
	check(t, err)
	var claims struct{ Iat, Exp int64 }
	check(t, json.Unmarshal(payload, &claims))
	return time.Unix(claims.Iat, 0), time.Unix(claims.Exp, 0)
}

func drain(t *testing.T, c *cluster) {
	namespace := c.place(t)
	uncordon := func() { c.kubectl(t, "", "uncordon", nodeName).succeeds(t) }

	t.Run("a_drained_job_gets_credentials_until_its_grace_period_ends", func(t *testing.T) {
		t.Cleanup(uncordon)
		c.apply(t, namespace, withGrace(jobPod("job", "labels: {drained: job}", lastly), 40)).succeeds(t)
		c.runs(t, namespace, "job")
		drains := []string{"drain", nodeName, "--pod-selector", "drained=job", "--force", "--timeout", "1m"}
		c.kubectl(t, "", drains...).fails(t, "--delete-emptydir-data")
		c.serves(t, namespace, func() {
			c.kubectl(t, "", append(drains, "--delete-emptydir-data")...).succeeds(t)
		})
	})

	t.Run("while_the_webhook_is_drained_its_budget_keeps_one_that_reviews_every_pod", func(t *testing.T) {
		load := c.load(t, namespace, 1)
		load.wait(t, 5)
		c.kubectl(t, "", "drain", nodeName, "--pod-selector", "app.kubernetes.io/name="+webhookName, "--timeout", "20s").
			fails(t, "would violate the pod's disruption budget")
		load.wait(t, 20)
		uncordon()
		c.kubectl(t, "", "rollout", "status", "deployment/"+webhookName, "--namespace", webhookNamespace, "--timeout", "2m").succeeds(t)
		load.wait(t, 20)
		load.stop(t)
	})
}
