"""Runs the sidecars, their faults and Prometheus for .ci/monitoring, in a namespace of their own."""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, "config/monitoring")
import rules  # noqa: E402

PROGRAM, SCRATCH = Path(sys.argv[1]).resolve(), Path(sys.argv[2])

# An hour of the real rules is two minutes here.
SCALE = 30
SCRAPE, EVALUATION = 1, 2
LIFETIME = "lifetime=2m"
# Their end is waited for.
SHORT_LIFETIME = "lifetime=70s"
PROMETHEUS = "http://127.0.0.1:9090"
DEADLINE = 110

# A file is tried again after 2 s more at each failure, so that 20 s are enough for the first few.
FILE_RETRIES = 20

started = time.monotonic()
processes = []


@dataclass
class Group:
    """Sidecars that share a sandbox, and its faults. Prometheus takes each group for a fleet."""

    name: str
    size: int
    alert: str = ""
    # The fault of the sandbox.
    fault: str = ""
    lifetime: str = LIFETIME
    # Seconds from the fault until the alert is due, and from its end until the alert may last.
    due: float = 0
    lasts: float = 0
    # The alert is one of the fleet.
    is_shared: bool = False
    fired: float | None = None
    since: float | None = None
    cleared: float | None = None
    recovered: float | None = None
    seen: set = field(default_factory=set)
    members: list = field(default_factory=list)


def scaled(minutes):
    return minutes * 60 / SCALE


GROUPS = [
    Group("quiet", 6),
    Group("down", 4, "RamSidecarCredentialsEnding", "down", SHORT_LIFETIME),
    Group("deny", 4, "RamSidecarRefused", "deny", due=scaled(5)),
    # The share is that of the last quarter of an hour.
    Group("throttle", 4, "RamSidecarThrottled", "throttle", due=scaled(5), lasts=scaled(15), is_shared=True),
    Group("skew", 4, "RamSidecarClockSkew", "skew=2m", due=scaled(5)),
    Group("full disk", 4, "RamSidecarFileNotWritten", due=scaled(2), lasts=8),
    Group("expired token", 4, "RamSidecarTokenExpired", due=scaled(5)),
    Group("certificate", 1, "RamSidecarWebhookCertificateEnding", due=scaled(5)),
]


class Webhook:
    """A webhook, whose certificate is the fault."""

    port = 8443
    name = "webhook"

    def __init__(self):
        for name, days in [("good", 30), ("bad", 7)]:
            options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=webhook -addext subjectAltName=DNS:webhook"
            files = ["-keyout", SCRATCH / f"{name}.key", "-out", SCRATCH / f"{name}.crt", "-days", str(days)]
            subprocess.run(["openssl", *options.split(), *files], check=True, capture_output=True)
        self.install("good")
        flags = [
            f"--listen=127.0.0.1:{self.port}",
            f"--tls-cert={SCRATCH}/tls.crt",
            f"--tls-key={SCRATCH}/tls.key",
            "--identity=sandbox",
            "--role=acs:ram::1234567890123456:role/job",
        ]
        start([PROGRAM, "webhook", *flags], {}, SCRATCH / "webhook.log")

    def install(self, name):
        for kind in ["key", "crt"]:
            shutil.copy(SCRATCH / f"{name}.{kind}", SCRATCH / f"new.{kind}")
            (SCRATCH / f"new.{kind}").rename(SCRATCH / f"tls.{kind}")

    def review(self):
        """Sends the reviews of a pod that gets the sidecar, and of one that cannot have it."""
        for annotations in [{}, {"ram-sidecar/duration": "never"}]:
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "pod", "labels": {"ram-sidecar/inject": "true"}, "annotations": annotations},
                "spec": {"containers": [{"name": "job", "image": "job"}]},
            }
            request = {
                "uid": "1",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "namespace": "proof",
                "operation": "CREATE",
                "object": pod,
            }
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
            call = urllib.request.Request(
                f"https://127.0.0.1:{self.port}/inject", json.dumps(review).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(call, context=ssl._create_unverified_context()) as response:
                response.read()


class Sidecar:
    def __init__(self, group, index, number):
        self.group, self.port = group, 9100 + number
        self.data = f"http://127.0.0.1:{8100 + number}/api/v1/credentials/0"
        self.name = f"{group.name.replace(' ', '-')}-{index}"
        self.directory = SCRATCH / self.name
        self.directory.mkdir()
        files = SCRATCH / "disk" if group.name == "full disk" else self.directory
        environment = {
            **group.environment,
            "RAM_SIDECAR_LISTEN": f"127.0.0.1:{8100 + number}",
            "RAM_SIDECAR_ADMIN_LISTEN": f"127.0.0.1:{self.port}",
            "RAM_SIDECAR_FILE": str(files / f"{self.name}.json"),
            "POD_NAME": self.name,
        }
        if group.name == "expired token":
            environment |= {"RAM_SIDECAR_IDENTITY": "profile", "ALIBABA_CLOUD_CONFIG_FILE": str(SCRATCH / "profiles.json")}
            for name in ["ID", "SECRET"]:
                del environment[f"ALIBABA_CLOUD_ACCESS_KEY_{name}"]
        self.process = start([PROGRAM, "serve"], environment, self.directory / "log")

    def metrics(self):
        return get(f"http://127.0.0.1:{self.port}/metrics")

    def value(self, name):
        found = re.search(rf"^{name} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else None

    def renew(self):
        self.process.send_signal(signal.SIGHUP)


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    disk = SCRATCH / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    try:
        start_all()
        quiet()
        for group in faulty():
            set_fault(group, True)
            group.since = time.monotonic()
        watch()
        print_table()
        queries()
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        subprocess.run(["umount", disk], check=True)


def start_all():
    for number, group in enumerate(sidecars()):
        group.environment = sandbox(group, number)
    numbers = iter(range(100))
    for group in sidecars():
        group.members = [Sidecar(group, index, next(numbers)) for index in range(group.size)]
    GROUPS[-1].members = [Webhook()]
    (SCRATCH / "rules.yaml").write_text(rules.text(SCALE, least_fleet=5, file_retries=FILE_RETRIES))
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE}s", "scrape_timeout": f"{SCRAPE}s", "evaluation_interval": f"{EVALUATION}s"},
        "rule_files": [str(SCRATCH / "rules.yaml")],
        "scrape_configs": [
            {
                "job_name": group.name,
                "scheme": "https" if group.name == "certificate" else "http",
                "tls_config": {"insecure_skip_verify": True},
                "static_configs": [
                    {"targets": [f"127.0.0.1:{one.port}"], "labels": {"namespace": "proof", "pod": one.name}}
                    for one in group.members
                ],
            }
            for group in GROUPS
        ],
    }
    # JSON is YAML.
    (SCRATCH / "prometheus.json").write_text(json.dumps(configuration))
    start(
        [
            "prometheus",
            f"--config.file={SCRATCH}/prometheus.json",
            f"--storage.tsdb.path={SCRATCH}/data",
            "--web.listen-address=127.0.0.1:9090",
        ],
        dict(os.environ),
        SCRATCH / "prometheus.log",
    )


def sandbox(group, number):
    """Starts the sandbox of a group, and returns what it prints: its endpoint, its role and an AccessKey."""
    output = SCRATCH / f"sandbox-{number}"
    short = "lifetime=2s" if group.name == "expired token" else group.lifetime
    command = [PROGRAM, "sandbox", "--listen", f"127.0.0.1:{7100 + number}", "--fault", short]
    start(command, {}, SCRATCH / f"sandbox-{number}.log", output)
    until(10, "the sandbox prints its AccessKey", lambda: output.read_text().count("\n") == 4)
    printed = dict(line.split("=", 1) for line in output.read_text().splitlines())
    if group.name == "expired token":
        minted = subprocess.run([PROGRAM, "get"], env=printed, check=True, capture_output=True, text=True)
        group.expired = json.loads(minted.stdout)
        group.environment = printed
        set_fault(group, False)
    return printed


def sidecars():
    return GROUPS[:-1]


def faulty():
    return [group for group in GROUPS if group.alert]


def set_fault(group, is_on):
    """Lets the fault of a group come or go. Where an attempt would notice it, there is one at once."""
    if group.name == "certificate":
        group.members[0].install("bad" if is_on else "good")
        return
    if group.name == "full disk":
        filler = SCRATCH / "disk/filler"
        if not is_on:
            filler.unlink()
            return
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
    elif group.name == "expired token":
        key = {
            "access_key_id": group.environment["ALIBABA_CLOUD_ACCESS_KEY_ID"],
            "access_key_secret": group.environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        }
        profile = {"name": "proof", "mode": "AK", **key}
        if is_on:
            names = {"access_key_id": "AccessKeyId", "access_key_secret": "AccessKeySecret", "sts_token": "SecurityToken"}
            profile = {"name": "proof", "mode": "StsToken"} | {name: group.expired[of] for name, of in names.items()}
        new = SCRATCH / "profiles.new"
        new.write_text(json.dumps({"current": "proof", "profiles": [profile]}))
        new.chmod(0o600)
        new.rename(SCRATCH / "profiles.json")
        put_faults(group, LIFETIME)
    else:
        put_faults(group, f"{group.fault},{group.lifetime}" if is_on else LIFETIME)
    for sidecar in group.members:
        sidecar.renew()


def put_faults(group, faults):
    url = f"http://127.0.0.1:{7100 + GROUPS.index(group)}/_sandbox/faults"
    with urllib.request.urlopen(urllib.request.Request(url, faults.encode(), method="PUT")) as response:
        response.read()


def quiet():
    """Waits until everything is scraped, and no rule has anything to say."""

    def is_scraped():
        try:
            return len(query("ram_sidecar_phase{phase='fresh'} == 1")) == sum(group.size for group in sidecars())
        except OSError:
            # Prometheus starts.
            return False

    until(30, "all sidecars have credentials", is_scraped)
    # promtool knows the older text only.
    text = get(f"http://127.0.0.1:{GROUPS[0].members[0].port}/metrics", "text/plain")
    subprocess.run(["promtool", "check", "metrics"], input=text, check=True, text=True)
    print("ok: promtool finds nothing in the metrics", flush=True)
    GROUPS[-1].members[0].review()
    for sidecar in [one for group in sidecars() for one in group.members]:
        get(sidecar.data)
        get(f"http://127.0.0.1:{sidecar.port}/nothing", is_refused=True)
        get(sidecar.data + "/nothing", is_refused=True)
    while time.monotonic() - started < FILE_RETRIES + 2 * EVALUATION:
        firing = alerts()
        check(not firing, f"without a fault these fire: {firing}")
        time.sleep(0.2)
    print(f"ok: no alert without a fault, {time.monotonic() - started:.0f} s after the start", flush=True)


def watch():
    """Follows all alerts until each fault has been noticed and is over; clears a fault when all its sidecars have noticed it."""
    while any(group.recovered is None for group in faulty()):
        check(time.monotonic() - started < DEADLINE, f"not in time: {[g.name for g in faulty() if g.recovered is None]}")
        firing, now = alerts(), time.monotonic()
        for group in GROUPS:
            of_group = {alert["labels"]["alertname"] for alert in firing if alert["labels"]["job"] == group.name}
            group.seen |= of_group
            check(of_group <= {group.alert}, f"{group.name}: {of_group} fires, and only {group.alert or 'none'} may")
            if not group.alert:
                continue
            count = sum(alert["labels"]["job"] == group.name for alert in firing)
            if group.fired is None and count == (1 if group.is_shared else group.size):
                group.fired = now
                set_fault(group, False)
                group.cleared = time.monotonic()
            elif group.cleared and group.recovered is None and not of_group:
                group.recovered = now
            check(not (group.recovered and of_group), f"{group.name}: {of_group} fires again, after the fault")
        if GROUPS[1].due == 0:
            # As the sidecars themselves see it.
            ends = GROUPS[1].members[0].value("ram_sidecar_credentials_expiration_timestamp_seconds")
            GROUPS[1].due = ends - time.time() + now - GROUPS[1].since - scaled(10) + scaled(1)
        time.sleep(0.2)


def print_table():
    print(f"\n{'fault':15} {'alert':30} {'due after':>9} {'fires':>7} {'recovers':>9}")
    # Two evaluations, the scrape before them, and the poll of this script.
    patience = 2 * EVALUATION + SCRAPE + 1
    problems = []
    for group in faulty():
        fires, recovers = group.fired - group.since, group.recovered - group.cleared
        print(f"{group.name:15} {group.alert:30} {group.due:7.0f} s {fires:5.1f} s {recovers:7.1f} s")
        if not group.due - 1 <= fires <= group.due + patience:
            problems.append(f"{group.name}: it is due after {group.due:.0f} s, and fires after {fires:.1f} s")
        if recovers > group.lasts + patience:
            problems.append(f"{group.name}: it recovers after {recovers:.1f} s")
    check(not problems, "; ".join(problems))
    print(f"ok: each fault fires its alert and no other, {time.monotonic() - started:.0f} s after the start", flush=True)


def queries():
    """Executes the queries of the dashboards over the whole run."""
    one = next(group for group in GROUPS if group.name == "deny").members[0]
    values = {"$job": ".+", "$instance": f"127.0.0.1:{one.port}", "$__rate_interval": "10s", "$__range": "1m"}
    count = 0
    for path in sorted(Path("config/monitoring/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in values.items():
                    expression = expression.replace(name, value)
                found = query(expression, is_range=True)
                check(found, f"{path.stem}: {panel['title']}: no data for {expression}")
                count += 1
    print(f"ok: the {count} queries of the dashboards return data")


def query(expression, is_range=False):
    now = time.time()
    arguments = {"query": expression}
    if is_range:
        arguments |= {"start": now - (time.monotonic() - started), "end": now, "step": 2}
    url = f"{PROMETHEUS}/api/v1/query{'_range' if is_range else ''}?{urllib.parse.urlencode(arguments)}"
    return json.loads(get(url))["data"]["result"]


def alerts():
    found = json.loads(get(f"{PROMETHEUS}/api/v1/alerts"))["data"]["alerts"]
    return [alert for alert in found if alert["state"] == "firing"]


def get(url, accept="application/openmetrics-text", is_refused=False):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as response:
            return response.read().decode()
    except urllib.error.HTTPError:
        if not is_refused:
            raise
        return ""


def start(command, environment, log, output=None):
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=log.open("wb"), stdout=(output or log).open("ab"))
    processes.append(process)
    return process


def until(seconds, what, is_true):
    deadline = time.monotonic() + seconds
    while not is_true():
        check(time.monotonic() < deadline, f"{what}: not in {seconds} s")
        time.sleep(0.1)


def check(is_true, problem):
    if not is_true:
        keep = os.environ.get("KEEP")
        if keep:
            shutil.copytree(SCRATCH, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("data"))
        sys.exit(f"FAILED: {problem}")


main()
