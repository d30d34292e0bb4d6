#!/usr/bin/env python3
"""Measures whether a daemon leaks over many renewals and requests, and how soon it answers after a restart.

    cargo build --release --locked
    python3 benches/endurance.py [--binary target/release/ram-sidecar]

Needs Linux, Python 3.11, and root, because the daemon hides its descriptors from everybody else. Takes about 25 minutes
for 10,000 renewals, by 8 daemons side by side, because a process renews at most once a second; `--daemons`, `--renewals` and
`--requests` make it shorter for a trial. Talks to loopback addresses only, keeps its files in a temporary directory, and
ends only the processes that it has started. The exit code is 1 when a promise is broken, 2 when something cannot be
measured.

The method: one `ram-sidecar sandbox` issues credentials that live for 20 seconds. Beside it run the daemons, each with a
file and a state, which get SIGHUP twice a second, so that each renews as often as it can. Meanwhile four threads of
another process send requests to all of them in every dialect, one connection for each request, and a third process reads
their files in a loop. Both check every answer and every reading: complete, from one issue, not expired.
"""

import base64
import contextlib
import datetime
import http.client
import json
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# Keeps compiled modules out of this directory.
sys.dont_write_bytecode = True

from measuring import (  # noqa: E402
    Daemon,
    Status,
    Unmeasurable,
    end,
    free_port,
    measure,
    mib,
    milliseconds,
    parser_of,
)

KIB = 1024

# How much a process may grow although nothing leaks, because the allocator takes some more pages: in all, and in the second
# half of the work. A leak of one byte a request, or of a hundred bytes a renewal, exceeds the second limit.
GROWTH_MAX = 256 * KIB
LATE_MAX = 64 * KIB
# From the kill to the first good answer of the next process, which is started at once and has a state.
RESTART_MAX = 1.0

LIFETIME = 20
WARM_UP_RENEWALS = 40
WARM_UP_REQUESTS = 5000
SETTLE_FOR = 5.0
# This process may have to wait for a CPU before it reads the clock.
TOLERANCE = 0.5
RESTARTS = 10
STS_LATENCY = 0.3
PATHS = {"URI": "/api/v1/credentials/0", "container": "/api/v1/container/0"}
METADATA = "/latest/meta-data/ram/security-credentials/"


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--daemons", type=int, default=8)
    parser.add_argument("--renewals", type=int, default=10_000, help="of all daemons together")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of all daemons together")
    measure(parser, everything)


def everything(table, binary, options):
    if os.geteuid() != 0:
        raise Unmeasurable("only root may count the descriptors of a process that hides them")
    with tempfile.TemporaryDirectory(prefix="endurance-") as scratch:
        restarts(table, binary, Path(scratch))
        long_life(table, binary, Path(scratch), options)


# (a) A long life.


def long_life(table, binary, scratch, options):
    """Compares what daemons use after a warm-up, after the first half of the work, and after the second.

    Before each measurement they are idle for five seconds, so that every connection and the thread for blocking work have
    ended. Caches may still fill in the first half; a leak grows in the second half as it did in the first.
    """
    spawn = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(binary, f"lifetime={LIFETIME}s"))
        pod = [stack.enter_context(Member(binary, scratch / f"member-{n}", sandbox)) for n in range(options.daemons)]
        for member in pod:
            member.uri()
            until(member.file.exists, "the first file")
        load = stack.enter_context(Work(spawn, ask_all, [member.routes() for member in pod]))
        files = stack.enter_context(Work(spawn, read_all, [str(member.file) for member in pod]))
        hangups = stack.enter_context(Hangups(pod))

        def work(renewals, requests):
            goal = sandbox.answered() + renewals
            # At this rate the requests take as long as the renewals.
            load.go(requests, requests / (renewals / len(pod)))
            files.go(0, 0)
            hangups.go()
            until(lambda: sandbox.answered() >= goal and load.done() >= requests, "the work", 60 + 4 * renewals / len(pod))
            hangups.pause()
            load.pause()
            files.pause()
            time.sleep(SETTLE_FOR)
            return [Life.of(member.pid) for member in pod], Status.of(sandbox.process.pid)

        began = time.monotonic()
        fresh, _ = work(WARM_UP_RENEWALS * len(pod), WARM_UP_REQUESTS * len(pod))
        renewals_before, requests_before = sandbox.answered(), load.done_in_all()
        half, _ = work(options.renewals // 2, options.requests // 2)
        whole, sandbox_status = work(options.renewals - options.renewals // 2, options.requests - options.requests // 2)
        renewals, requests = sandbox.answered() - renewals_before, load.done_in_all() - requests_before
        took = time.monotonic() - began
        asked, read = load.end(), files.end()
        logs = [member.log.read_text() for member in pod]

    table.section(f"A long life: {len(pod)} daemons, {took / 60:.1f} min")
    table.row("renewals", f"{renewals:,}", f"{options.renewals:,}", renewals >= options.renewals)
    table.row("requests, each answered 200 and good", f"{requests:,}", f"{options.requests:,}", not asked.mistakes)
    rotations = sum(read.rotations)
    table.row("readings of the files, each whole and good", f"{read.count:,}", "", not read.mistakes)
    table.row("rotations that the readings saw", f"{rotations:,}", "", None, f"fewest {min(read.rotations):,}")
    for mistake in [*asked.mistakes, *read.mistakes]:
        print(f"    {mistake}", flush=True)
    errors = sum(log.count('"level":"ERROR"') + log.count("panicked") for log in logs)
    table.row("errors in the logs", errors, 0, errors == 0)

    table.section("Growth of each daemon, in KiB: after the first half, after the whole")
    for n, (first, middle, last) in enumerate(zip(fresh, half, whole), start=1):
        for what in ("anonymous", "resident"):
            sizes = [getattr(life, what) for life in (first, middle, last)]
            early, late = (sizes[1] - sizes[0]) // KIB, (sizes[2] - sizes[1]) // KIB
            within = budget = None
            if what == "anonymous":
                within = early + late <= GROWTH_MAX // KIB and late <= LATE_MAX // KIB
                budget = f"{GROWTH_MAX // KIB}, {LATE_MAX // KIB} late"
            table.row(f"{n}: {what}, from {mib(sizes[0])}", f"{early:+d}, {early + late:+d}", budget or "", within)
        for what in ("descriptors", "threads"):
            counts = [getattr(life, what) for life in (first, middle, last)]
            table.row(f"{n}: {what}", ", ".join(map(str, counts)), counts[0], counts[2] <= counts[0])
    table.row("the sandbox: resident", mib(sandbox_status.resident), "", None, "it stores what it has issued")


class Member(Daemon):
    """One of the daemons, with a file, a state and every dialect."""

    def __init__(self, binary, place, sandbox):
        place.mkdir()
        self.file = place / "credentials"
        self.metadata_port = free_port()
        dialects = ["--container", "--metadata-listen", f"127.0.0.1:{self.metadata_port}"]
        outputs = ["--file", str(self.file), "--state", str(place / "state")]
        super().__init__(binary, place, [*dialects, "--metadata-role-name", "job", *outputs], sandbox.env)

    def routes(self):
        """Returns the port and path of each dialect."""
        port = int(self.uri().split(":")[2].split("/")[0])
        return [*((port, path) for path in PATHS.values()), (self.metadata_port, METADATA + "job")]


class Life(Status):
    """What a process uses: its status, and how many descriptors."""

    @classmethod
    def of(cls, pid):
        life = super().of(pid)
        life.descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return life


class Hangups:
    """Sends SIGHUP to daemons twice a second, unless it is paused."""

    def __init__(self, pod):
        self.pids = [member.pid for member in pod]
        self.going, self.ended = threading.Event(), threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def run(self):
        while not self.ended.wait(0.5):
            if self.going.is_set():
                for pid in self.pids:
                    os.kill(pid, signal.SIGHUP)

    def go(self):
        self.going.set()

    def pause(self):
        self.going.clear()
        # The last renewal is over after this.
        time.sleep(2)

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


# The other processes.


class Outcome:
    """The results of requests or readings."""

    def __init__(self, places):
        self.count = 0
        self.mistakes = []
        self.last = [None] * places
        self.rotations = [0] * places

    def good(self, place, credentials):
        self.count += 1
        if self.last[place] != credentials["id"]:
            self.rotations[place] += self.last[place] is not None
            self.last[place] = credentials["id"]

    def wrong(self, what):
        self.count += 1
        if len(self.mistakes) < 10:
            self.mistakes.append(f"{datetime.datetime.now(datetime.UTC):%H:%M:%S} {what}")


class Work:
    """A process that repeats a task unless it is paused, and returns the outcome at the end."""

    def __init__(self, spawn, task, argument):
        self.goal, self.rate = spawn.Value("q", 0), spawn.Value("d", 0.0)
        self.count, self.before = spawn.Value("q", 0), 0
        self.going, self.ended = spawn.Event(), spawn.Event()
        self.queue = spawn.Queue()
        shared = (self.goal, self.rate, self.count, self.going, self.ended, self.queue)
        self.process = spawn.Process(target=task, args=(argument, *shared), daemon=True)

    def __enter__(self):
        self.process.start()
        return self

    def go(self, goal, rate):
        self.before = self.count.value
        self.goal.value, self.rate.value = self.before + goal, rate
        self.going.set()

    def pause(self):
        self.going.clear()

    def done(self):
        if not self.process.is_alive():
            raise Unmeasurable("a process of the measurement has ended")
        return self.count.value - self.before

    def done_in_all(self):
        return self.count.value

    def end(self):
        self.ended.set()
        self.going.set()
        return self.queue.get(timeout=60)

    def __exit__(self, *_):
        self.ended.set()
        self.going.set()
        self.process.join(timeout=10)
        self.process.kill()


def ask_all(pod, goal, rate, count, going, ended, queue):
    """Sends requests from four threads, at an even pace, until the goal is reached."""
    routes = [(place, *route) for place, routes in enumerate(pod) for route in routes]
    outcome, lock = Outcome(len(pod)), threading.Lock()

    def ask(first):
        turn = first
        while not ended.is_set():
            going.wait()
            if count.value >= goal.value:
                time.sleep(0.05)
                continue
            place, port, path = routes[turn % len(routes)]
            turn += 1
            began = time.monotonic()
            try:
                found = requested(port, path)
                note = lambda: outcome.good(place, found)  # noqa: E731
            except (Wrong, OSError) as error:
                note = lambda error=error: outcome.wrong(f"daemon {place + 1}, {path}: {error!r}")  # noqa: E731
            with lock:
                note()
                count.value += 1
            time.sleep(max(0.0, began + 4 / max(rate.value, 1.0) - time.monotonic()))

    threads = [threading.Thread(target=ask, args=(n * len(routes) // 4,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.put(outcome)


def read_all(files, _goal, _rate, count, going, ended, queue):
    """Reads the files in turn, again and again."""
    outcome = Outcome(len(files))
    while not ended.is_set():
        going.wait()
        for place, file in enumerate(files):
            try:
                outcome.good(place, examined(Path(file).read_bytes()))
            except (Wrong, OSError) as error:
                outcome.wrong(f"{file}: {error!r}")
        count.value = outcome.count
        # A few hundred readings of each file a second leave CPU time to the others.
        time.sleep(0.002)
    queue.put(outcome)


class Wrong(Exception):
    """An answer that must never be given."""


def requested(port, path, timeout=10):
    """Asks for credentials; anything but good ones is an error."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    if not answer:
        raise ConnectionResetError("closed without an answer")
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise Wrong(f"{head.splitlines()[0]!r} {body[:300]!r}")
    return examined(body)


def examined(document):
    """Returns the credentials in a document of any dialect, if it is complete, from one issue, and not expired."""
    try:
        fields = json.loads(document)
        key_id, expiration = fields["AccessKeyId"], fields["Expiration"]
        secret = fields.get("AccessKeySecret") or fields["SecretAccessKey"]
        token = fields.get("SecurityToken") or fields["Token"]
        # The sandbox's token names the AccessKey that it belongs to.
        of_one_issue = key_id.encode() in base64.b64decode(token) and bool(secret)
        left = (datetime.datetime.fromisoformat(expiration) - datetime.datetime.now(datetime.UTC)).total_seconds()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Wrong(f"not a complete document: {error!r}, {len(document)} bytes") from error
    if not of_one_issue:
        raise Wrong(f"parts of several issues: {key_id}")
    if left < -TOLERANCE:
        raise Wrong(f"expired for {-left:.1f} s")
    return {"id": key_id, "document": document}


# (b) Restarts.


def restarts(table, binary, scratch):
    """What clients without cached credentials see when the daemon is killed (SIGKILL) and started again at once.

    The port is the same. Eight threads ask without a pause all the while; what they may meet is a refused or a reset
    connection. STS takes 0.3 seconds for an answer, and in the last case it is away.
    """
    cases = {
        "without a state": (False, True),
        "with a state": (True, True),
        "with a state, STS away": (True, False),
    }
    table.section(f"Restart: SIGKILL and a start at once, {RESTARTS} runs, STS takes {STS_LATENCY} s")
    for number, (name, (keeps, is_there)) in enumerate(cases.items()):
        runs = []
        for run in range(RESTARTS):
            place = scratch / f"restart-{number}-{run}"
            place.mkdir()
            runs.append(restart(binary, place, keeps, is_there))
        gaps = [run.gap for run in runs]
        worst = max(gaps)
        within = worst <= RESTART_MAX if keeps else None
        budget = milliseconds(RESTART_MAX) if keeps else ""
        table.row(f"{name}: to the next 200, median", milliseconds(statistics.median(gaps)), "", None)
        table.row(f"{name}: to the next 200, worst", milliseconds(worst), budget, within)
        errors = f"{sum(run.refused for run in runs):,} refused, {sum(run.reset for run in runs):,} reset"
        table.row(f"{name}: connections", errors, "", None, f"{sum(run.good for run in runs):,} answered well")
        mistakes = [mistake for run in runs for mistake in run.mistakes]
        table.row(f"{name}: wrong answers", len(mistakes), 0, not mistakes)
        for mistake in mistakes[:5]:
            print(f"    {mistake}", flush=True)
        if keeps:
            same = sum(run.is_same for run in runs)
            table.row(f"{name}: the same document at once", f"{same} of {RESTARTS}", RESTARTS, same == RESTARTS)


def restart(binary, place, keeps, is_there):
    seen = Restart()
    port = free_port()
    state = ["--state", str(place / "state")] if keeps else []
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(binary, f"latency={int(STS_LATENCY * 1000)}ms"))
        settings = {"flags": state, "env": sandbox.env, "port": port}
        first = stack.enter_context(Daemon(binary, place, **settings))
        first.uri()
        before = requested(port, PATHS["URI"])
        if state:
            until((place / "state").exists, "the state")
        if not is_there:
            sandbox.set("down")
        ended = threading.Event()
        clients = [threading.Thread(target=seen.ask, args=(port, ended)) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(0.3)
        killed_at = time.monotonic()
        first.process.kill()
        first.process.wait()
        stack.enter_context(Daemon(binary, place, **settings))
        until(lambda: seen.first_after(killed_at), "an answer of the successor", 30)
        time.sleep(0.3)
        ended.set()
        for client in clients:
            client.join()
    answered_at, document = seen.first_after(killed_at)
    seen.gap, seen.is_same = answered_at - killed_at, document == before["document"]
    return seen


class Restart:
    """What clients saw around one restart."""

    def __init__(self):
        self.answers, self.mistakes, self.refused, self.reset = [], [], 0, 0
        self.lock = threading.Lock()

    @property
    def good(self):
        return len(self.answers)

    def ask(self, port, ended):
        while not ended.is_set():
            began = time.monotonic()
            try:
                document = requested(port, PATHS["URI"])["document"]
                with self.lock:
                    self.answers.append((began, time.monotonic(), document))
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(0.001)
            except OSError:
                self.reset += 1
            except Wrong as wrong:
                self.mistakes.append(str(wrong))

    def first_after(self, moment):
        """Returns the first good answer to a request that was sent after a moment."""
        with self.lock:
            found = [(at, document) for began, at, document in self.answers if began > moment]
        return min(found, default=None)


# What is measured against.


class Sandbox:
    """The embedded STS in a process of its own."""

    def __init__(self, binary, faults):
        self.command = [str(binary), "sandbox", "--listen", "127.0.0.1:0", "--fault", faults]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        lines = [self.process.stdout.readline().decode().strip() for _ in range(4)]
        if not all("=" in line for line in lines):
            end(self.process)
            raise Unmeasurable("the sandbox did not start")
        self.env = dict(line.split("=", 1) for line in lines)
        self.host = self.env["ALIBABA_CLOUD_STS_ENDPOINT"].removeprefix("http://")
        return self

    def control(self, method, body=None):
        connection = http.client.HTTPConnection(self.host, timeout=10)
        try:
            connection.request(method, "/_sandbox/faults", body)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def set(self, faults):
        self.control("PUT", faults)

    def answered(self):
        return self.control("GET")["Answered"]

    def __exit__(self, *_):
        end(self.process)
        self.process.stdout.close()


def until(condition, what, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise Unmeasurable(f"{what}: not within {timeout} s")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
