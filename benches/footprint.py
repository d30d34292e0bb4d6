#!/usr/bin/env python3
"""Measures what the daemon costs: size, start, memory, wake-ups. `benches/race` compares the cost of a request.

    python3 benches/footprint.py --binary STATIC [--memory]

STATIC is the program of the image, as `.ci/image` leaves it in target/image/TARGET/release/ram-sidecar: the budgets are those
of a program that is compiled as the Dockerfile does. Needs Linux, Python 3.11 and the `openssl` command.

Where a budget of memory is exceeded, the parts say what to do. "anonymous" is what the process has allocated. "file" is
code and constants: write config/order.ld again (`benches/order.py`), and build again. What then remains is what the
program needs: raise the budget with the change that needs it.

Takes a minute and a half, or ten seconds for the size and the memory alone, which hardly depend on what else the machine
does. Talks to loopback addresses only, keeps its files in a temporary directory, and ends only the processes that it has
started. The exit code is 1 when a budget is exceeded, 2 when something cannot be measured. Run it on a machine that does
nothing else.
"""

import contextlib
import datetime
import http.client
import http.server
import json
import re
import resource
import secrets
import selectors
import shutil
import signal
import socket
import ssl
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
    MIB,
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

# That of the image (.ci/image).
BINARY_MAX = 7_000_000
# What was measured, 4.4, 4.5 and 6.4 MiB, and some more, so that config/order.ld need not be written for each change.
IDLE_MAX = 5.0 * MIB
AFTER_BURST_MAX = 5.6 * MIB
RESIDENT_MAX = 7.2 * MIB
THREADS_MAX = 2
FIRST_200_MEDIAN = 0.020
FIRST_200_MAX = 0.100
BETWEEN_WAKE_UPS_MIN = 30.0

START_RUNS = 30
IDLE_FOR = 60.0
CONNECTIONS = 2000
WHOLE_RUN_MAX = 300


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--memory", action="store_true", help="measure size and memory only, without a minute of idleness")
    # A hang of anything ends here, and the stack of contexts cleans up.
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(WHOLE_RUN_MAX)
    measure(parser, everything)


def everything(table, binary, options):
    allow_connections()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="footprint-")))
        # The worker of nginx, which is not root, reads a file in it.
        scratch.chmod(0o755)
        size(table, binary)
        stub = stack.enter_context(Stub(scratch))
        if not options.memory:
            start(table, binary, scratch, "sandbox", {"flags": ["--sandbox"]})
            start(table, binary, scratch, "TLS to an STS of this machine", stub.settings())
        idle(table, binary, scratch, stub, 0 if options.memory else IDLE_FOR)
        crowds(table, binary, scratch, stub)


# (a) The binary.


def size(table, binary):
    """The length of the file, as the release profile strips it."""
    length = binary.stat().st_size
    table.section("Size")
    table.row("binary, bytes", length, BINARY_MAX, length <= BINARY_MAX)


# (b) The start.


def start(table, binary, scratch, sts, settings):
    """From just before fork and exec to the first HTTP 200.

    The client connects to a fixed free port every half millisecond until it is open; a request that arrives before the
    credentials waits in the daemon, so that retries add no time. The time of fork, some milliseconds of Python, is
    included. The line on standard output is timed in the same run.
    """
    to_200, to_line = [], []
    for _ in range(START_RUNS):
        port = free_port()
        began = time.monotonic()
        with Daemon(binary, scratch, port=port, **settings) as daemon:
            first_200(port, began + 10)
            to_200.append(time.monotonic() - began)
            daemon.uri()
            to_line.append(daemon.announced_at - began)
    table.section(f"Start: from exec, {START_RUNS} runs, {sts}")
    worst = max(to_200)
    median = statistics.median(to_200)
    table.row("to the first 200, median", milliseconds(median), milliseconds(FIRST_200_MEDIAN), median <= FIRST_200_MEDIAN)
    table.row("to the first 200, worst", milliseconds(worst), milliseconds(FIRST_200_MAX), worst <= FIRST_200_MAX)
    table.row("to the line on standard output, median", milliseconds(statistics.median(to_line)), "", None)
    table.row("to the line on standard output, worst", milliseconds(max(to_line)), "", None)


def first_200(port, deadline):
    while time.monotonic() < deadline:
        try:
            if get("127.0.0.1", port, "/api/v1/credentials/0")[0] == 200:
                return
        except ConnectionError:
            pass
        time.sleep(0.0005)
    raise Unmeasurable("no HTTP 200 within ten seconds of the start")


# (c) Memory, threads, wake-ups.


def idle(table, binary, scratch, stub, seconds):
    """Resident memory, threads and wake-ups after a real refresh over TLS and some seconds of idleness.

    Memory is VmRSS of /proc/PID/status: RssAnon belongs to the process, RssFile is the binary and the C library, pages that
    the kernel shares and can drop. A wake-up is a voluntary context switch of any thread, because an idle process that
    was woken only blocks again. They are read ten times a second, which wakes no thread, so that the gaps between them
    are known too.
    """
    with Daemon(binary, scratch, **stub.settings()) as daemon:
        daemon.uri()
        # The thread that resolved names and read files for the renewal ends after a second.
        time.sleep(3)
        before = switches(daemon.pid)
        seen, wake_ups = before, []
        began = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            if (count := switches(daemon.pid)) != seen:
                wake_ups.append((now - began, count - seen))
                seen = count
            time.sleep(0.1)
        status = Status.of(daemon.pid)
    count = seen - before
    moments = [at for at, _ in wake_ups]
    gaps = [later - earlier for earlier, later in zip(moments, moments[1:])]
    # Half a second for the sampling and for a busy machine.
    rare = all(gap >= BETWEEN_WAKE_UPS_MIN - 0.5 for gap in gaps) and all(n == 1 for _, n in wake_ups)

    table.section(f"Idle: after a refresh over TLS and {seconds:.0f} s")
    table.memory("resident", status, IDLE_MAX)
    table.row("threads", status.threads, THREADS_MAX, status.threads <= THREADS_MAX)
    if not seconds:
        return
    table.row(f"wake-ups in {seconds:.0f} s", count, "", None)
    table.row(
        "… at second",
        ", ".join(f"{at:.1f}" + (f" (x{n})" if n > 1 else "") for at, n in wake_ups) or "none",
        f"{BETWEEN_WAKE_UPS_MIN:.0f} s apart",
        rare,
    )
    table.row("involuntary switches since the start", status.involuntary, "", None)


def crowds(table, binary, scratch, stub):
    """Memory after 2,000 requests, each with a connection of its own, spread over a second, and around 2,000
    connections that send nothing.

    Each crowd has a daemon of its own. The peak is VmHWM. The memory afterwards is read two seconds later, when every
    connection is closed.
    """
    table.section(f"Crowds: {CONNECTIONS} connections")
    with Daemon(binary, scratch, **stub.settings()) as daemon:
        port = port_of(daemon.uri())
        answered, took = burst(port)
        peak = Status.of(daemon.pid).peak
        time.sleep(2)
        after = Status.of(daemon.pid)
    good = answered == CONNECTIONS
    table.row("burst: answered 200", f"{answered} in {took:.2f} s", CONNECTIONS, good)
    table.row("burst: peak resident", mib(peak), "", None)
    table.memory("burst: resident afterwards", after, AFTER_BURST_MAX)

    with Daemon(binary, scratch, **stub.settings()) as daemon:
        port = port_of(daemon.uri())
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            time.sleep(0.5)
            began = time.monotonic()
            code, _ = get("127.0.0.1", port, "/api/v1/credentials/0")
            waited = time.monotonic() - began
            during = Status.of(daemon.pid)
        time.sleep(2)
        after = Status.of(daemon.pid)
    table.row("silent: a good client meanwhile", f"{code} in {waited * 1000:.1f} ms", 200, code == 200)
    table.memory("silent: resident meanwhile", during, RESIDENT_MAX)
    table.memory("silent: resident afterwards", after, RESIDENT_MAX)


def burst(port):
    """Opens the connections at an even pace over one second, without waiting for answers; returns the good ones."""
    selector = selectors.DefaultSelector()
    request = b"GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    opened = answered = 0
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < 10 and (opened < CONNECTIONS or selector.get_map()):
        due = min(CONNECTIONS, int(elapsed * CONNECTIONS))
        while opened < due:
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            selector.register(client, selectors.EVENT_WRITE)
            opened += 1
        for key, event in selector.select(timeout=0.001):
            client = key.fileobj
            try:
                if event & selectors.EVENT_WRITE:
                    client.send(request)
                    selector.modify(client, selectors.EVENT_READ)
                    continue
                answered += client.recv(65536).startswith(b"HTTP/1.1 200 ")
            except OSError:
                pass
            selector.unregister(client)
            client.close()
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    selector.close()
    return answered, time.monotonic() - began


# The daemon, and the STS that it talks to.


class Stub:
    """An STS behind TLS, with a certificate authority of its own."""

    def __init__(self, scratch, name="localhost"):
        self.scratch = scratch
        self.name = name

    def __enter__(self):
        key, certificate = self.certificates()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sts)
        self.port = self.server.server_address[1]
        self.server.failures = []
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def certificates(self):
        place = self.scratch
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        (place / "extensions").write_text(f"subjectAltName=IP:127.0.0.1,DNS:{self.name}\nbasicConstraints=critical,CA:FALSE\n")
        openssl(
            "req", "-x509", *curve, "-days", "2", "-subj", "/CN=footprint CA",
            "-keyout", place / "ca.key", "-out", place / "ca.pem",
        )
        openssl("req", *curve, "-subj", "/CN=127.0.0.1", "-keyout", place / "sts.key", "-out", place / "sts.csr")
        openssl(
            "x509", "-req", "-days", "2", "-in", place / "sts.csr", "-extfile", place / "extensions",
            "-CA", place / "ca.pem", "-CAkey", place / "ca.key", "-CAcreateserial", "-out", place / "sts.pem",
        )
        return place / "sts.key", place / "sts.pem"

    def settings(self):
        """Returns the flags and the environment of a daemon that talks to this."""
        return {
            "flags": ["--sts-endpoint", f"https://127.0.0.1:{self.port}", "--ca-file", str(self.scratch / "ca.pem")],
            "env": {
                "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1234567890123456:role/footprint",
                "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAIfootprint",
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "not-a-secret",
            },
        }


class Sts(http.server.BaseHTTPRequestHandler):
    """Answers a POST with credentials for an hour, as large as those of the real service, or with the next of the failures."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes, of which the second would wait for an acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.failures:
            self.fail(self.server.failures.pop(0))
            return
        expires_at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        body = json.dumps({
            "RequestId": secrets.token_hex(16).upper(),
            "AssumedRoleUser": {
                "Arn": "acs:ram::1234567890123456:role/footprint/session",
                "AssumedRoleId": "312345678901234567:session",
            },
            "Credentials": {
                "AccessKeyId": "STS." + secrets.token_hex(12),
                "AccessKeySecret": secrets.token_hex(22),
                "SecurityToken": "CAIS" + secrets.token_hex(400),
                "Expiration": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        }).encode()
        self.answer(200, body)

    def fail(self, status):
        """Answers with an error, or closes the connection if there is no status."""
        self.close_connection = True
        if status:
            code = {400: "Throttling.User", 503: "ServiceUnavailable"}[status]
            error = {"RequestId": secrets.token_hex(16).upper(), "HostId": "sts", "Code": code, "Message": "Later."}
            self.answer(status, json.dumps(error).encode())

    def answer(self, status, body):
        # The Date header comes with it.
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


# What the kernel reports.


def switches(pid):
    """Returns how often the threads of a process gave up the CPU to wait."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end in between.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.M)[1])
    return total


# Helpers.


def get(host, port, path, method="GET", headers=None):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def port_of(uri):
    return int(uri.split(":")[2].split("/")[0])


def openssl(*arguments):
    if not shutil.which("openssl"):
        raise Unmeasurable("the openssl command is missing: apt-get install openssl")
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise Unmeasurable(f"openssl {arguments[0]}: {done.stderr}")


def allow_connections():
    """Raises the limit of open files, which the daemon inherits and raises for itself too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + 200
    if hard != resource.RLIM_INFINITY and hard < needed * 4:
        raise Unmeasurable(f"{needed * 4} open files are needed, {hard} are allowed: ulimit -n {needed * 4}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed * 4, hard))


def too_long(*_):
    raise Unmeasurable(f"not done within {WHOLE_RUN_MAX} seconds")


if __name__ == "__main__":
    main()
