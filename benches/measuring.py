"""What the measurements share: the daemon under measurement, what the kernel reports of it, and the table of results."""

import argparse
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

MIB = 1024 * 1024
PREFIX = "ALIBABA_CLOUD_CREDENTIALS_URI="


class Unmeasurable(Exception):
    """Something that is needed is missing or does not work."""


def parser_of(description):
    """Returns a parser of the command line, for a script with this documentation."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--binary", type=Path, default=Path("target/release/ram-sidecar"))
    return parser


def measure(parser, everything):
    """Measures and exits: 0, or 1 when a budget is exceeded, or 2 when something cannot be measured."""
    options = parser.parse_args()
    binary = options.binary.resolve()
    signal.signal(signal.SIGTERM, stopped)

    table = Table()
    try:
        if not binary.is_file():
            raise Unmeasurable(f"{options.binary} is missing; build it with: cargo build --release --locked")
        everything(table, binary, options)
    except Unmeasurable as error:
        print(f"\nCANNOT MEASURE: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(table.verdict())


class Daemon:
    """The daemon under measurement, in an environment of its own."""

    def __init__(self, binary, scratch, flags=(), env=None, port=0, admin_port=0, within=(), patience=10):
        self.command = [*map(str, within), str(binary), "serve", *flags]
        self.command += ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin_port}"]
        self.env = env or {}
        self.log = scratch / "daemon.log"
        self.announced_at = None
        self.patience = patience

    def __enter__(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        self.pid = self.process.pid
        self.line = None
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        return self

    def read(self):
        line = self.process.stdout.readline().decode()
        self.announced_at = time.monotonic()
        self.line = line.strip()

    def uri(self):
        """Returns the address that it prints once it has credentials."""
        self.reader.join(timeout=self.patience)
        if not (self.line or "").startswith(PREFIX):
            raise Unmeasurable(f"the daemon did not start:\n{self.log.read_text()}")
        return self.line.removeprefix(PREFIX)

    def __exit__(self, *_):
        end(self.process)
        self.reader.join(timeout=5)
        self.process.stdout.close()


class Status:
    """What /proc/PID/status says, in bytes. It stays readable when the process is not dumpable."""

    @classmethod
    def of(cls, pid):
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        status = cls()
        memory = {name: int(value.split()[0]) * 1024 for name, value in fields.items() if value.endswith(" kB")}
        status.resident, status.anonymous, status.file = memory["VmRSS"], memory["RssAnon"], memory["RssFile"]
        status.peak = memory["VmHWM"]
        status.threads = int(fields["Threads"])
        status.involuntary = int(fields["nonvoluntary_ctxt_switches"])
        return status


class Table:
    """Prints rows as they are measured, and remembers the budgets that were exceeded."""

    def __init__(self):
        self.exceeded = []

    def section(self, title):
        self.title = title
        print(f"\n{title}", flush=True)

    def row(self, what, value, budget, within, remark=""):
        verdict = {None: "", True: "ok", False: "EXCEEDED"}[within]
        if within is False:
            self.exceeded.append(f"{self.title}: {what} {value}, budget {budget}")
        line = f"  {what:<40} {value!s:>22}  {budget!s:>12} {verdict} {remark}"
        print(line.rstrip(), flush=True)

    def memory(self, what, status, budget):
        within = None if budget is None else status.resident <= budget
        parts = f"(anonymous {mib(status.anonymous)}, file {mib(status.file)})"
        self.row(what, mib(status.resident), "" if budget is None else mib(budget), within, parts)

    def verdict(self):
        print()
        for budget in self.exceeded:
            print(f"EXCEEDED: {budget}")
        if not self.exceeded:
            print("No budget is exceeded.")
        return 1 if self.exceeded else 0


def mib(bytes_):
    return f"{bytes_ / MIB:.2f} MiB"


def milliseconds(seconds):
    return f"{seconds * 1000:.1f} ms"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(process):
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stopped(*_):
    sys.exit(2)
