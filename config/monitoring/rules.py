"""The recording and alert rules, of which `generate` makes a file for Prometheus.

In an expression or a duration `~10m` is ten minutes, and `~600` that many seconds, for credentials that live for an hour. They are
divided by the scale, which is 1 but where the rules are tried on short lives. What the daemon itself decides, such as its
longest backoff of a minute, is written without `~`.
"""

import re
from pathlib import Path

# Sidecars that are scraped by one job are a fleet: they share the quota of one account.
FLEET = "job"

# An attempt that fails is repeated within a minute, but where STS throttles.
RETRIES = "2m"

ENDS_SOON = f"""\
(
  ram_sidecar_credentials_expiration_timestamp_seconds - time() < ~600
and
  ram_sidecar_consecutive_failures > 0
)"""

EXPIRED_TOKEN = ["AuthenticationFail.OIDCToken.Expired", "InvalidSecurityToken.Expired"]


# The failing attempts of the sidecars whose last attempt failed: the counters that have risen, or have begun to exist.
FAILING = "instance_code:ram_sidecar_renewals_failing:total"


def failing():
    failures = 'ram_sidecar_renewals_total{result="failure"}'
    return f"""\
({failures} unless {failures} == {failures} offset {RETRIES})
and ignoring (result, code)
  ram_sidecar_consecutive_failures > 0"""


def regex(codes):
    return "|".join(codes).replace(".", "[.]")


def codes_by_class():
    """The labels of the codes of each class, as the reference lists them."""
    page = (Path(__file__).parents[2] / "docs/src/reference/errors.md").read_text()
    table = page.split("## Failures", 1)[1].split("\n## ", 1)[0]
    classes = {}
    for code, who in re.findall(r"^\| `([^`]+)` \| (\w+) \|", table, re.MULTILINE):
        classes.setdefault(who, []).append(code.rstrip("*."))
    return classes


def recording_rules(codes):
    phases = "ram_sidecar_phase == 1"
    calls = "ram_sidecar_renewals_total"
    return [
        ("job_phase:ram_sidecar_sidecars:count", f"count by ({FLEET}, phase) ({phases})"),
        (
            "job:ram_sidecar_credentials_expiration_timestamp_seconds:min",
            f"min by ({FLEET}) (ram_sidecar_credentials_expiration_timestamp_seconds)",
        ),
        (FAILING, failing()),
        # A counter of a code begins at one, which increase() would not count.
        (
            "job_result_code:ram_sidecar_renewals:delta15m",
            f"sum by ({FLEET}, result, code) (clamp_min(({calls} - {calls} offset ~15m) or {calls}, 0))",
        ),
        (
            "job:ram_sidecar_renewals_throttled:ratio15m",
            f"""\
sum by ({FLEET}) (job_result_code:ram_sidecar_renewals:delta15m{{code=~"{regex(codes["quota"])}"}})
/
(sum by ({FLEET}) (job_result_code:ram_sidecar_renewals:delta15m) > 0)""",
        ),
        # Without the first renewal of each sidecar, which a rollout brings together.
        (
            "job:ram_sidecar_renewals_together:ratio1m",
            f"""\
sum by ({FLEET}) (clamp_min({calls}{{result="success"}} - {calls}{{result="success"}} offset ~1m, 0))
/
count by ({FLEET}) (ram_sidecar_consecutive_failures)""",
        ),
        (
            "job_endpoint_outcome_le:ram_sidecar_sts_request_duration_seconds_bucket:rate5m",
            f"sum by ({FLEET}, endpoint, outcome, le) (rate(ram_sidecar_sts_request_duration_seconds_bucket[~5m]))",
        ),
    ]


def alerts(codes, least_fleet, file_retries):
    who = "{{ $labels.instance }}{{ with $labels.pod }} (pod {{ $labels.namespace }}/{{ . }}){{ end }}"
    fleet = "the fleet {{ $labels.job }}"
    mendable = regex(codes["time"] + codes["quota"])
    return [
        (
            "RamSidecarCredentialsEnding",
            "critical",
            "~1m",
            ENDS_SOON,
            f"The credentials of {who} end, and their renewal fails",
            "{{ if gt $value 0.0 }}They end in {{ $value | humanizeDuration }}; then the job gets no answer any more."
            "{{ else }}They have ended: the job gets no answer.{{ end }}"
            " Read the code and the advice in /ready or in the log of the sidecar, and follow it."
            " If many sidecars have the same code, look at STS and the network before any single pod.",
        ),
        (
            "RamSidecarNoCredentials",
            "critical",
            "~5m",
            """\
ram_sidecar_phase{phase="pending"} == 1
and ignoring (phase)
  ram_sidecar_consecutive_failures > 0""",
            f"{who} has never obtained credentials",
            "Every request of its job is answered with 503. Read the code and the advice in /ready or in the log of the sidecar,"
            " and follow it; `ram-sidecar check` with the same settings explains the attempt step by step.",
        ),
        (
            "RamSidecarRenewalOverdue",
            "warning",
            "~1m",
            f"""\
# A renewal is due after 0.43 of the lifetime: 0.75 of what is left then is a second interval.
time()
>
  ram_sidecar_credentials_renewal_timestamp_seconds
  + 0.75 * (ram_sidecar_credentials_expiration_timestamp_seconds - ram_sidecar_credentials_renewal_timestamp_seconds)
unless
  {ENDS_SOON.replace(chr(10), chr(10) + "  ")}""",
            f"{who} has not renewed its credentials for two intervals",
            "The current credentials are still served. See in the log of the sidecar whether attempts fail, or obtain"
            " credentials that end sooner than the current ones; if there are no attempts at all, restart it and report a bug.",
        ),
        (
            "RamSidecarRefused",
            "warning",
            "~5m",
            f'{FAILING}{{code!~"{mendable}"}}',
            f"{who} is refused with {{{{ $labels.code }}}}",
            "No retry can succeed until somebody changes a policy, a name or a key: {{ $labels.code }} in the reference of errors"
            " says which. The sidecar tries again every minute, and needs no restart.",
        ),
        (
            "RamSidecarTokenExpired",
            "warning",
            "~5m",
            f'{FAILING}{{code=~"{regex(EXPIRED_TOKEN)}"}}',
            f"The token by which {who} proves its identity has expired",
            "Whatever rotates the token has stopped: the kubelet for a projected service account token, your own job for the"
            " files of a temporary AccessKey. Repair it; the sidecar reads the file again for every attempt. If the token is"
            " fresh, set the clock of the machine.",
        ),
        (
            "RamSidecarClockSkew",
            "warning",
            "~5m",
            "abs(ram_sidecar_clock_skew_seconds) > 30",
            f"The clock of {who} is wrong by {{{{ $value | humanizeDuration }}}}",
            "The sidecar corrects its own signatures, other programs on the machine do not: services refuse them when the clock is"
            " wrong by 15 minutes. Repair the synchronization of the node's clock (chrony, NTP).",
        ),
        (
            "RamSidecarFileNotWritten",
            "critical",
            "~2m",
            f"""\
increase(ram_sidecar_file_write_errors_total[{file_retries}s]) > 0
unless
  time() - ram_sidecar_file_last_write_timestamp_seconds < {file_retries}""",
            f"{who} cannot write its {{{{ $labels.format }}}} file",
            "Who reads the file has old credentials, and none when they expire. The log names the path and the reason: a full"
            " disk, a missing directory, or one that is not writable for the sidecar's user. It tries again every 30 seconds.",
        ),
        (
            "RamSidecarThrottled",
            "warning",
            "~5m",
            "job:ram_sidecar_renewals_throttled:ratio15m > 0.2",
            f"STS throttles {{{{ $value | humanizePercentage }}}} of the calls of {fleet}",
            "The quota of AssumeRole is shared by the whole account. Find who else calls STS in its audit log, let the sidecars"
            " of a machine share one, raise role.duration, use another region's endpoint in sts.endpoint, or ask for a higher"
            " quota.",
        ),
        (
            "RamSidecarRenewalsInLockstep",
            "warning",
            "",
            f"""\
count_over_time((job:ram_sidecar_renewals_together:ratio1m > 0.5)[~2h:~1m]) >= 3
and
  count by ({FLEET}) (ram_sidecar_consecutive_failures) >= {least_fleet}""",
            f"More than half of {fleet} renews within one minute, again and again",
            "Sidecars spread their renewals by themselves. Look for what makes them renew together: a scheduled SIGHUP or reload,"
            " or restarts of all of them. They use up the quota of STS in a moment, and other callers are throttled.",
        ),
        *webhook_alerts(),
    ]


def webhook_alerts():
    reviews = "ram_sidecar_webhook_reviews_total"
    lookups = "ram_sidecar_webhook_account_lookups_total"
    certificates = "ram_sidecar_webhook_certificate_expiration_timestamp_seconds"
    return [
        (
            "RamSidecarWebhookFailing",
            "critical",
            "~5m",
            f"""\
sum by ({FLEET}) (increase({reviews}{{outcome=~"denied|admitted without"}}[~10m]))
/
(sum by ({FLEET}) (increase({reviews}{{outcome=~"denied|admitted without|injected"}}[~10m])) > 0)
> 0.5
or
sum by ({FLEET}) (increase({lookups}{{result="failure"}}[~10m]))
/
(sum by ({FLEET}) (increase({lookups}[~10m])) > 0)
> 0.1""",
            "The webhook {{ $labels.job }} cannot add the sidecar to {{ $value | humanizePercentage }} of the pods that ask for it",
            "They are denied, or created without credentials. The label reason of its reviews says why, its log has a line for"
            " each pod. If it is the service account, the webhook lacks the right to read it or cannot reach the API server; if it"
            " is the settings, correct the flags of the webhook or the annotations.",
        ),
        (
            "RamSidecarWebhookAbsent",
            "critical",
            "~5m",
            f"""\
count by ({FLEET}) ({certificates} offset ~1h)
unless
  count by ({FLEET}) ({certificates})""",
            "No replica of the webhook {{ $labels.job }} answers",
            "Pods that are labelled for the sidecar are not admitted as long as it is away. Look at its pods and their events"
            " first; if Prometheus alone cannot reach them, at its network policy. If it was removed for good, the alert ends"
            " within the hour.",
        ),
        (
            "RamSidecarWebhookCertificateEnding",
            "warning",
            "~5m",
            f"{certificates} - time() < 14 * 86400",
            "The certificate of the webhook {{ $labels.instance }} ends in {{ $value | humanizeDuration }}",
            "Then the API server refuses it, and pods that are labelled for the sidecar are not admitted. Look at the Certificate"
            " of cert-manager and its events, or replace the Secret by hand; the webhook reads its files again.",
        ),
    ]


def text(scale=1, runbooks=None, least_fleet=20, file_retries=120):
    """The file for Prometheus. `runbooks` is the address of the page that describes the alerts.

    A lockstep is one of a fleet of at least `least_fleet`. A file that cannot be written is tried again within `file_retries`
    seconds: after 2 s first, then after up to 30 s.
    """
    codes = codes_by_class()
    lines = [
        "# Generated by config/monitoring/generate: change config/monitoring/rules.py.",
        "groups:",
        "  - name: ram-sidecar",
        "    rules:",
    ]
    for name, expression in recording_rules(codes):
        lines += [f"      - record: {name}", *block("expr", scaled(expression, scale), 8)]
    lines += ["  - name: ram-sidecar-alerts", "    rules:"]
    for name, severity, duration, expression, summary, description in alerts(codes, least_fleet, file_retries):
        lines += [f"      - alert: {name}", *block("expr", scaled(expression, scale), 8)]
        if duration:
            lines += [f"        for: {scaled(duration, scale)}"]
        lines += ["        labels:", f"          severity: {severity}", "        annotations:"]
        lines += block("summary", summary, 10)
        lines += block("description", description, 10)
        if runbooks:
            lines += block("runbook_url", f"{runbooks}#{name.lower()}", 10)
    return "\n".join(lines) + "\n"


def block(key, value, indent):
    """A text in YAML, which nothing in it can end."""
    space = " " * indent
    return [f"{space}{key}: |-", *(f"{space}  {line}" for line in value.splitlines())]


UNITS = {"s": 1, "m": 60, "h": 3600}


def scaled(expression, scale):
    def one(match):
        number, unit = int(match[1]), match[2]
        if scale == 1:
            return match[0][1:]
        milliseconds = round(number * UNITS.get(unit, 1) * 1000 / scale)
        return f"{milliseconds}ms" if unit else f"{milliseconds / 1000:g}"

    return re.sub(r"~(\d+)([smh]?)", one, expression)
