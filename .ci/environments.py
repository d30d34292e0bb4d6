"""Runs the daemon in the environments of .ci/environments, and judges what happens.

    environments.py run DIRECTORY WORKERS TEXT write|compare STATIC [DYNAMIC]
    environments.py row DIRECTORY PLAN     one row, in namespaces of its own
    environments.py clock DIRECTORY YEAR   the row of a virtual machine
    environments.py launch PLAN            the daemon of a row, below strace
    environments.py sts DIRECTORY PROGRAM  STS and its name server alone; prints the variables of a daemon that calls it

DIRECTORY has the roots, and the kernel and the initial file system of the virtual machine.
"""

import collections
import concurrent.futures
import ctypes
import datetime
import http.client
import http.server
import itertools
import json
import os
import re
import resource
import shutil
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

PAGE = "docs/src/reference/environments.md"

# The ordinary value of each dimension comes first.
DIMENSIONS = {
    "root": ["Debian 12", "Debian 11", "Debian 13", "empty root", "busybox"],
    "hosts": [
        "files dns",
        "files dns myhostname",
        "files mdns4_minimal [NOTFOUND=return] dns",
        "files resolve [!UNAVAIL=return] dns",
        "no nsswitch.conf",
    ],
    "dns": ["DNS up", "DNS down before the start", "DNS down while holding", "DNS slow", "DNS lying"],
    "place": ["complete", "no /dev", "no /proc", "no /etc", "read-only root", "no /tmp", "no HOME"],
    "loopback": ["::1 and 127.0.0.1", "only 127.0.0.1", "only ::1"],
    "limit": [
        "no limit",
        "NOFILE 64",
        "NOFILE 32",
        "FSIZE 0",
        "AS 256 MiB",
        "NPROC 8",
        "NPROC 8 used up while holding",
    ],
    "confinement": ["unconfined", "Docker's seccomp", "no timerfd and no sock_diag", "user namespace"],
    "streams": ["open streams", "no stdin", "no stdout", "no stderr", "no streams"],
    "build": ["static", "dynamic"],
}
ORDINARY = {dimension: values[0] for dimension, values in DIMENSIONS.items()}

# The one environment in which the daemon ends by a signal, before its first line.
NO_NULL = {"place": "no /dev", "streams": "no streams"}
ABORTS = "SIGABRT at the start, by Rust's runtime"

# Under these the daemon may end at the start, and the rest of the row would not be tested.
ALONE = [
    {"loopback": "no loopback yet"},
    {"loopback": "only ::1 without a setting"},
    {"place": "read-only root with a file configured"},
    {"place": "no /tmp with a file configured"},
    NO_NULL,
    *({"limit": f"NOFILE {number}"} for number in (6, 8, 10, 12, 16, 20, 24)),
    *({"limit": f"AS {number} MiB"} for number in (8, 12, 16, 64)),
    *({"limit": f"NPROC {number}"} for number in (1, 2, 3)),
]

EXPECTED = {
    "DNS up": "serves",
    "DNS slow": "serves",
    "DNS down before the start": "503 until DNS is up, then serves",
    "DNS down while holding": "serves to the expiry, then 503 until DNS is up",
    "DNS lying": "503 until DNS tells the truth, then serves",
}
RULE = """\
- Every release of Debian with every line of `nsswitch.conf` and every state of DNS: all combinations.
- Of all dimensions: every two values of two dimensions stand together in at least one row.
- A value under which the daemon may end at the start has rows of its own, in Debian 12 and the empty root: the rest of such
  a row would not be tested.
- Not combined is what contradicts itself: `nsswitch.conf` needs Debian and `/etc`; without `/etc` the DNS server is 127.0.0.1;
  the dynamic build needs the C library of Debian 12 or later; Rust's runtime opens `/dev/null` for each standard stream that
  is closed, and aborts without it, before the program begins."""

# What the book says of each dimension: its subject, and its other values.
MEANINGS = {
    "root": ("root", "the file system that the program sees: Debian 11, 12 or 13, nothing, or busybox alone"),
    "hosts": ("`hosts` in `nsswitch.conf`", "lines that make a C library load modules"),
    "dns": (
        "DNS",
        "down: nothing listens there, from before the start or while credentials are held; slow: answers after 0.6 s;"
        " lying: answers every name with the address of a portal, as a network does that wants a login",
    ),
    "place": ("file system", "what is missing, or that it can only be read"),
    "loopback": ("loopback", "the only address of the interface; _no loopback yet_: it is down"),
    "limit": (
        "limit",
        "`ulimit`: NOFILE is `-n` (open files), FSIZE `-f` (size of a file), AS `-v` (address space), NPROC `-u` (processes and"
        " threads of the user); _used up while holding_: other processes of the user reach the limit once credentials are held",
    ),
    "confinement": (
        "confinement",
        "Docker's seccomp: the system calls that Docker's default profile refuses; no timerfd and no sock_diag: neither timers"
        " that notice a changed clock nor the look-up of callers; user namespace: user 0 is an ordinary user outside",
    ),
    "streams": ("standard streams", "those that are closed at the start"),
    "build": ("build", "linked with the C library of the root"),
}

STS = "sts.environment.test"
LIFETIME = 6
# Exit codes that the documents give for `serve`.
DOCUMENTED = (64, 70, 71, 78)


def contradict(first, second):
    """Whether two values, each with its dimension, contradict each other as RULE says."""
    pair = {first, second}
    if ("place", "no /dev") in pair:
        return any(dimension == "streams" and value != "open streams" for dimension, value in pair)
    no_library = {("root", name) for name in ("empty root", "busybox")}
    if ("build", "dynamic") in pair:
        return bool(pair & (no_library | {("root", "Debian 11")}))
    if pair == {("place", "no /etc"), ("loopback", "only ::1")}:
        return True
    reads_hosts = any(dimension == "hosts" and value != "no nsswitch.conf" for dimension, value in pair)
    return reads_hosts and bool(pair & (no_library | {("place", "no /etc")}))


def rows(has_dynamic):
    """All rows of the matrix by RULE, always the same and in the same order."""
    dimensions = dict(DIMENSIONS)
    if not has_dynamic:
        dimensions["build"] = ["static"]
    result = []
    for root, hosts, dns in itertools.product(DIMENSIONS["root"], DIMENSIONS["hosts"], DIMENSIONS["dns"]):
        if not contradict(("root", root), ("hosts", hosts)):
            result.append({**ORDINARY, "root": root, "hosts": hosts, "dns": dns})
    result += pairwise(dimensions, result)
    for root, hosts in ("Debian 12", "files dns"), ("empty root", "no nsswitch.conf"):
        result += [{**ORDINARY, "root": root, "hosts": hosts, **values} for values in ALONE]
    return result


def pairwise(dimensions, done):
    """Rows with which each pair of values that do not contradict each other is in one row, if `done` does not have it."""
    pairs = {
        (first, second)
        for one, other in itertools.combinations(dimensions, 2)
        for first in [(one, value) for value in dimensions[one]]
        for second in [(other, value) for value in dimensions[other]]
        if not contradict(first, second)
    }

    def of(row):
        return set(itertools.combinations([(dimension, row[dimension]) for dimension in dimensions if dimension in row], 2))

    for row in done:
        pairs -= of(row)
    # The dimensions with most values first, because the others fit around them.
    order = sorted(dimensions, key=lambda dimension: -len(dimensions[dimension]))
    result, used = [], collections.Counter()
    while pairs:
        row = dict(min(pairs))
        for dimension in order:
            if dimension in row:
                continue
            possible = [
                value
                for value in dimensions[dimension]
                if not any(contradict((dimension, value), item) for item in row.items())
            ]
            # Of equal ones the value that has been used least.
            row[dimension] = max(
                possible, key=lambda value: (len(of({**row, dimension: value}) & pairs), -used[dimension, value])
            )
        pairs -= of(row)
        used.update(row.items())
        result.append({dimension: row[dimension] for dimension in dimensions})
    return result


# The environment of one row.

libc = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 1, 32, 4096, 16384


def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def mount(source, target, kind=None, flags=0):
    call("mount", source.encode(), target.encode(), kind and kind.encode(), flags, None)


def make_root(kept, row, files):
    """Builds the root of a row from one that is kept, which does not change, and returns its path."""
    root = tempfile.mkdtemp(prefix="environment-")
    mount("tmpfs", root, "tmpfs")
    os.chmod(root, 0o755)
    for entry in os.scandir(kept) if kept else []:
        target = f"{root}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.name in ("bin", "lib", "lib64", "sbin", "usr"):
            os.mkdir(target)
            mount(entry.path, target, flags=MS_BIND | MS_REC)
    place = row["place"]
    if place != "no /dev":
        os.mkdir(f"{root}/dev")
        for device in "null", "zero", "full", "random", "urandom":
            open(f"{root}/dev/{device}", "w").close()
            mount(f"/dev/{device}", f"{root}/dev/{device}", flags=MS_BIND)
    if place != "no /proc":
        os.mkdir(f"{root}/proc")
        mount("proc", f"{root}/proc", "proc")
    if "no /tmp" not in place:
        os.mkdir(f"{root}/tmp")
        os.chmod(f"{root}/tmp", 0o1777)
    if place != "no /etc":
        if kept and os.path.isdir(f"{kept}/etc"):
            shutil.copytree(f"{kept}/etc", f"{root}/etc", symlinks=True)
        else:
            os.mkdir(f"{root}/etc")
        server = "::1" if "only ::1" in row["loopback"] else "127.0.0.1"
        write(f"{root}/etc/resolv.conf", f"nameserver {server}\noptions timeout:1 attempts:2\n")
        write(f"{root}/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
        if row["hosts"] != "no nsswitch.conf":
            write(f"{root}/etc/nsswitch.conf", f"passwd: files\ngroup: files\nhosts: {row['hosts']}\n")
        elif os.path.exists(f"{root}/etc/nsswitch.conf"):
            os.remove(f"{root}/etc/nsswitch.conf")
    for name, path in files.items():
        open(f"{root}/{name}", "w").close()
        mount(path, f"{root}/{name}", flags=MS_BIND)
    if "read-only root" in place:
        mount("tmpfs", root, "tmpfs", MS_REMOUNT | MS_RDONLY)
    return root


def write(path, text):
    if os.path.islink(path):
        os.remove(path)
    with open(path, "w") as file:
        file.write(text)


def loopback(value):
    """Gives the network namespace its loopback."""
    ip("link", "set", "lo", "up")
    if value == "only 127.0.0.1":
        ip("-6", "address", "flush", "dev", "lo")
    else:
        # Where DNS that lies leads to.
        ip("address", "add", "fd00::99/128", "dev", "lo", "nodad")
    if "only ::1" in value:
        ip("-4", "address", "flush", "dev", "lo")


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def become(user):
    if user != 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def use_up_processes(user):
    """Starts so many processes of the user that its limit allows no other."""
    for _ in range(8):
        if os.fork() == 0:
            become(user)
            while True:
                signal.pause()


def launch(plan):
    """Becomes the daemon of a row. It runs in the process that will be the daemon."""
    root, row = plan["root"], plan["row"]
    user = os.getuid()
    if row["limit"].startswith("NPROC"):
        # Root has no limit. The user is of this row alone, because its processes are counted on the whole machine.
        user = plan["user"]
    if row["confinement"] == "user namespace":
        become(user)
        # Only a process that may be dumped owns its directory of /proc.
        call("prctl", 4, 1, 0, 0, 0)
        call("unshare", 0x10000000)
        for name, text in ("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {user} 1"):
            write(f"/proc/self/{name}", text)
    os.chroot(root)
    os.chdir("/")
    if row["confinement"] != "user namespace":
        become(user)
    if limit := LIMIT.match(row["limit"]):
        number = int(limit["number"]) << (20 if limit["unit"] else 0)
        resource.setrlimit(getattr(resource, f"RLIMIT_{limit['kind']}"), (number, number))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if row["streams"] in (f"no {name}", "no streams"):
            os.close(number)
    filter_system_calls(row["confinement"])
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execve("/ram-sidecar", ["ram-sidecar", "serve"], plan["environment"])


LIMIT = re.compile(r"(?P<kind>[A-Z]+) (?P<number>\d+)(?P<unit> MiB)?")

# What Docker's profile refuses to a container without capabilities, as numbers of x86_64: modules, mounts, clocks, swap,
# accounting, the kernel's keys, policies of memory, namespaces, handles of files, perf, bpf, userfaultfd and io_uring.
DOCKER_REFUSES = [
    *(134, 136, 139, 153, 155, 156, 161, *range(163, 181), 212, 227, 237, 238, 239, 246, 248, 249, 250, 256, 272, 279),
    *(298, 300, 303, 304, 305, 308, 310, 311, 312, 313, 320, 321, 323, *range(425, 434), 442, 443),
]
SOCKET, CLONE, CLONE3 = 41, 56, 435
AF_NETLINK, AF_ALG, AF_VSOCK, NETLINK_SOCK_DIAG = 16, 38, 40, 4
TIMERFD = (283, 286, 287)
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


class Filter:
    """A program of classic BPF on the number, the architecture and the arguments of a system call."""

    LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06

    def __init__(self):
        self.code = b""
        # Another architecture's numbers are not filtered, because the program makes no such call.
        self.load(4)
        self.instruction(self.EQUAL, 0xC000003E, 1, 0)
        self.instruction(self.RETURN, ALLOW)

    def instruction(self, code, value, yes=0, no=0):
        self.code += struct.pack("HBBI", code, yes, no, value)

    def load(self, offset):
        self.instruction(self.LOAD, offset)

    def refuse(self, number, error, *conditions):
        """Lets a call fail if every condition (instruction, argument, value) is met."""
        self.load(0)
        self.instruction(self.EQUAL, number, 0, 2 * len(conditions) + 1)
        for position, (code, argument, value) in enumerate(conditions):
            self.load(16 + 8 * argument)
            self.instruction(code, value, 0, 2 * (len(conditions) - position) - 1)
        self.instruction(self.RETURN, ERRNO | error)

    def install(self):
        self.instruction(self.RETURN, ALLOW)
        buffer = ctypes.create_string_buffer(self.code, len(self.code))
        program = struct.pack("HxxxxxxQ", len(self.code) // 8, ctypes.addressof(buffer))
        call("prctl", 38, 1, 0, 0, 0)
        call("prctl", 22, 2, ctypes.create_string_buffer(program, len(program)), 0, 0)


def filter_system_calls(confinement):
    eperm, enosys = 1, 38
    calls = Filter()
    if confinement == "Docker's seccomp":
        for number in DOCKER_REFUSES:
            calls.refuse(number, eperm)
        # New namespaces. The flags of clone3 cannot be seen, so it does not exist.
        calls.refuse(CLONE, eperm, (Filter.ANY_BIT, 0, 0x7E020000))
        calls.refuse(CLONE3, enosys)
        for family in AF_ALG, AF_VSOCK:
            calls.refuse(SOCKET, eperm, (Filter.EQUAL, 0, family))
    elif confinement == "no timerfd and no sock_diag":
        for number in TIMERFD:
            calls.refuse(number, eperm)
        calls.refuse(SOCKET, eperm, (Filter.EQUAL, 0, AF_NETLINK), (Filter.EQUAL, 2, NETLINK_SOCK_DIAG))
    else:
        return
    calls.install()


# What answers in a row.


class Dns:
    """Answers with the addresses of STS, or of a portal, late, not at all, or is not there."""

    def __init__(self, row):
        self.only = {"only ::1": "AAAA", "only 127.0.0.1": "A"}.get(row["loopback"].partition(" without")[0])
        self.addresses = [address for address, kind in (("127.0.0.1", "A"), ("::1", "AAAA")) if self.only in (kind, None)]
        self.state = None
        self.sockets = []

    def set(self, state):
        """Changes the state: up, slow, lying, silent, or down, which is when nothing listens."""
        if state != "down" and not self.sockets:
            for address in self.addresses:
                server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
                server.bind((address, 53))
                self.sockets.append(server)
                threading.Thread(target=self.serve, args=(server,), daemon=True).start()
        self.state = state

    def serve(self, server):
        while True:
            query, client = server.recvfrom(4096)
            if self.state == "silent":
                continue
            timer = threading.Timer(0.6 if self.state == "slow" else 0, self.answer, (server, query, client))
            timer.daemon = True
            timer.start()

    def answer(self, server, query, client):
        end = query.index(b"\0", 12) + 5
        labels, position = [], 12
        while size := query[position]:
            labels.append(query[position + 1 : position + 1 + size].decode())
            position += size + 1
        kind = {1: "A", 28: "AAAA"}.get(int.from_bytes(query[end - 4 : end - 2], "big"))
        address = None
        if self.state == "lying":
            address = {"A": "127.0.0.99", "AAAA": "fd00::99"}.get(kind)
        elif ".".join(labels).lower() == STS:
            address = {"A": "127.0.0.1", "AAAA": "::1"}.get(kind)
        if self.only not in (kind, None):
            address = None
        known = self.state == "lying" or ".".join(labels).lower() == STS
        header = query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, int(address is not None), 0, 0)
        record = b""
        if address is not None:
            data = socket.inet_pton(socket.AF_INET6 if kind == "AAAA" else socket.AF_INET, address)
            record = b"\xc0\x0c" + query[end - 4 : end] + struct.pack(">IH", 0, len(data)) + data
        server.sendto(header + query[12:end] + record, client)


class Tls(socketserver.ThreadingTCPServer):
    """Passes requests on to the sandbox, over TLS with a certificate."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address, certificate, sandbox):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.sandbox = sandbox
        super().__init__((address, 443), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client):
        """The daemon refuses the certificate of a portal, which is no error here."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One request a connection, so that each needs a look-up of the name."""

    def setup(self):
        self.request.settimeout(10)
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        connection = http.client.HTTPConnection(*self.server.sandbox, timeout=10)
        connection.request("POST", self.path, body, dict(self.headers))
        response = connection.getresponse()
        content = response.read()
        self.send_response_only(response.status)
        for name in "Content-Type", "Date":
            if value := response.getheader(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


# One row.


class Wrong(Exception):
    """What should not have happened."""


class Ended(Exception):
    """The daemon has ended."""


class Daemon:
    def __init__(self, plan, address):
        self.address = address
        self.log = tempfile.mktemp(prefix="strace-") if plan["trace"] else None
        self.text = []
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                null = os.open("/dev/null", os.O_RDONLY)
                os.dup2(null, 0)
                os.dup2(writer, 1)
                os.dup2(writer, 2)
                os.closerange(3, 64)
                if self.log:
                    # Detached, so that this process becomes the daemon and not strace.
                    trace = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-s", "200", "-e", "signal=none", "-o", self.log]
                    trace += ["-e", "trace=open,openat,execve,listen"]
                    os.execvp("strace", [*trace, sys.executable, "-S", __file__, "launch", json.dumps(plan)])
                launch(plan)
            except BaseException as error:
                os.write(2, f"the launcher failed: {error!r}\n".encode())
            os._exit(99)
        os.close(writer)
        self.status = None
        self.reader = threading.Thread(target=self.read, args=(reader,), daemon=True)
        self.reader.start()

    def read(self, reader):
        while chunk := os.read(reader, 65536):
            self.text.append(chunk.decode(errors="replace"))

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self.reader.join(2)
        return self.status

    def signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def output(self):
        return "".join(self.text)

    def ask(self):
        """(status, document) of one request, or Ended, or Wrong where it does not answer although it listened."""
        if self.poll() is not None:
            raise Ended
        connection = http.client.HTTPConnection(self.address, 7002, timeout=8)
        try:
            connection.request("GET", "/api/v1/credentials/0")
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except ConnectionRefusedError:
            return None, {}
        finally:
            connection.close()

    def until(self, what, seconds, condition):
        """Asks until the condition is true for status and document, and returns the document."""
        end = time.monotonic() + seconds
        status, document = None, {}
        while time.monotonic() < end:
            try:
                status, document = self.ask()
            except (OSError, http.client.HTTPException) as error:
                if self.poll() is not None:
                    raise Ended from error
                status, document = None, {"Message": repr(error)}
            if condition(status, document):
                return document
            time.sleep(0.05)
        last = f"{status} {document.get('Code', '')} {document.get('Message', '')}"
        raise Wrong(f"{what}: not within {seconds} s; the last answer is {last}")

    def ended(self):
        """Waits for the end, and returns the exit code and the last sentence."""
        end = time.monotonic() + 10
        while self.poll() is None:
            if time.monotonic() > end:
                raise Wrong("it does not end within 10 s")
            time.sleep(0.02)
        lines = [line for line in self.output().splitlines() if line.strip()]
        return self.status, lines[-1] if lines else ""

    def judge_end(self):
        """What an end at the start must be: a documented code and a sentence."""
        code, line = self.ended()
        if code < 0:
            raise Wrong(f"{signal.Signals(-code).name}: {line}")
        if code == 99 or code not in DOCUMENTED:
            raise Wrong(f"exit code {code}: {line}")
        if not re.search(r"\w+ \w+ \w+", line):
            raise Wrong(f"exit code {code} without a sentence")
        return code, line

    def calls(self):
        """What strace has seen since the start."""
        with open(self.log) as file:
            calls = file.read().partition('execve("/ram-sidecar"')[2]
        os.remove(self.log)
        if not calls:
            raise Wrong("strace saw no start")
        return calls


def follow_row(directory, plan):
    """Runs one row, and returns its outcome."""
    row = plan["row"]
    late = row["loopback"] == "no loopback yet"
    if not late:
        loopback(row["loopback"])
    address = "::1" if "only ::1" in row["loopback"] else "127.0.0.1"
    files = {"ram-sidecar": plan["binary"], "ca.pem": f"{directory}/ca.pem"}
    kept = {"empty root": None}.get(row["root"], f"{directory}/{row['root'].lower().replace(' ', '')}")
    if kept and not os.path.isdir(kept):
        kept = f"{directory}/debian12"
    plan["root"] = make_root(kept, row, files)
    environment = {
        "ALIBABA_CLOUD_STS_ENDPOINT": f"https://{STS}",
        "RAM_SIDECAR_CA_FILE": "/ca.pem",
    }
    if row["place"] not in ("read-only root", "no /tmp"):
        environment.update(RAM_SIDECAR_FILE="/tmp/credentials", RAM_SIDECAR_STATE="/tmp/state")
    if row["place"] != "no HOME":
        environment["HOME"] = "/"
    if row["loopback"] == "only ::1":
        environment.update(RAM_SIDECAR_LISTEN="[::1]:7002", RAM_SIDECAR_ADMIN_LISTEN="[::1]:7003")
    plan["environment"] = environment
    dns = Dns(row)
    before = {"DNS down before the start": "down", "DNS slow": "slow", "DNS lying": "lying"}.get(row["dns"], "up")

    if late:
        # The sandbox's AccessKey is not known yet. Any will do, because nothing can be reached.
        environment.update(ALIBABA_CLOUD_ACCESS_KEY_ID="LTAIabc", ALIBABA_CLOUD_ACCESS_KEY_SECRET="abc")
        environment["ALIBABA_CLOUD_ROLE_ARN"] = "acs:ram::1234567890123456:role/sandbox-role"
        early = Daemon({**plan, "trace": False}, address)
        time.sleep(1)
        if early.poll() is None:
            early.signal(signal.SIGTERM)
            before_loopback = "waits"
        else:
            before_loopback = "exit {}: {}".format(*early.judge_end())
        loopback("::1 and 127.0.0.1")
    environment.update(start_sts(directory, plan["sandbox"], address, dns))
    dns.set(before)
    daemon = Daemon(plan, address)
    try:
        try:
            outcome = follow(daemon, dns, plan)
        except Ended:
            if NO_NULL.items() <= row.items() and daemon.ended() == (-signal.SIGABRT, ""):
                return ABORTS
            code, line = daemon.judge_end()
            return f"exit {code}: {line}"
        if daemon.poll() is not None:
            raise Wrong("it ended on its own")
        daemon.signal(signal.SIGTERM)
        code, line = daemon.ended()
        if code != 0:
            raise Wrong(f"after SIGTERM: {code}: {line}")
    except Wrong as wrong:
        end = f" [{signal.Signals(-daemon.status).name}]" if (daemon.poll() or 0) < 0 else ""
        raise Wrong(f"{wrong}{end}\n{daemon.output()}") from wrong
    if "panicked" in daemon.output():
        raise Wrong(f"a panic: {daemon.output()}")
    if daemon.log:
        calls = daemon.calls()
        if row["build"] == "dynamic":
            calls = calls.partition("listen(")[2]
        if opened := re.search(r'"[^"]*\.so[.\d]*"', calls):
            raise Wrong(f"it opened {opened[0]} after the start")
    return f"{before_loopback}, then {outcome}" if late else outcome


def sentence(line):
    """The sentence of a line of the log, which is JSON unless it could not be configured."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    parts = [(": ", event.get("error")), ("; ", event.get("advice"))]
    return event.get("message", line) + "".join(mark + part for mark, part in parts if part)


def start_sts(directory, binary, address, dns):
    """Starts the sandbox, STS in front of it and the portal, and returns the variables of its identity."""
    host = f"[{address}]" if ":" in address else address
    arguments = [binary, "sandbox", "--listen", f"{host}:7005", "--fault", f"lifetime={LIFETIME}s"]
    sandbox = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    variables = dict(sandbox.stdout.readline().strip().split("=", 1) for _ in range(4))
    del variables["ALIBABA_CLOUD_STS_ENDPOINT"]
    for server in dns.addresses:
        Tls(server, f"{directory}/sts.pem", (address, 7005))
    for server, kind in ("127.0.0.99", "A"), ("fd00::99", "AAAA"):
        if dns.only in (kind, None):
            Tls(server, f"{directory}/portal.pem", (address, 7005))
    return variables


def follow(daemon, dns, plan):
    """Follows the daemon through the row's state of DNS. Returns what it did, or raises Wrong or Ended."""
    state = plan["row"]["dns"]
    if state in ("DNS down before the start", "DNS lying"):
        failed = daemon.until(
            "a diagnosis",
            12,
            lambda status, document: status in (200, 503) and document.get("Code") != "CredentialsPending",
        )
        if failed.get("Code") == "Success":
            raise Wrong("it got credentials")
        if not failed.get("Message"):
            raise Wrong("503 without a message")
        dns.set("up")
        daemon.signal(signal.SIGHUP)
    first = daemon.until("credentials", 12, lambda status, _: status == 200)
    if plan["row"]["limit"].endswith("used up while holding"):
        use_up_processes(plan["user"])
    renewed = daemon.until(
        "a renewal", LIFETIME + 3, lambda status, document: status == 200 and document["AccessKeyId"] != first["AccessKeyId"]
    )
    if state == "DNS down while holding":
        dns.set("silent")
        held_to_the_end(daemon, renewed)
        dns.set("up")
        daemon.signal(signal.SIGHUP)
        daemon.until("credentials again", 12, lambda status, _: status == 200)
    return EXPECTED[state]


def held_to_the_end(daemon, document):
    """Asks until the last credentials have expired: every answer before must be 200."""
    while True:
        status, answer = daemon.ask()
        now = time.time()
        if status == 200:
            document = answer
        ends = datetime.datetime.fromisoformat(document["Expiration"].replace("Z", "+00:00")).timestamp()
        if status == 200 and now > ends + 1:
            raise Wrong("it serves credentials that have expired")
        if status != 200:
            # The daemon stops a second early, and learns the clock of STS in whole seconds.
            if now < ends - 2:
                raise Wrong(f"it answers {status} {answer.get('Message', '')} {ends - now:.1f} s before the expiry")
            if status != 503 or not answer.get("Message"):
                raise Wrong(f"after the expiry it answers {status} {answer}")
            return
        time.sleep(0.1)


# The virtual machine, because no namespace shifts the clock that counts.

# The kernel takes no time before its own start, so 1970 begins some minutes later.
CLOCKS = {"1970": 600, "2106": 2**32 - 4}


def clock(directory, year):
    """Boots with this clock, in 2106 just before 32 bits overflow, and returns the outcome."""
    # Emulated, because not every machine that builds may use KVM.
    machine = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256", "-no-reboot", "-nodefaults"]
    machine += ["-display", "none", "-serial", "stdio"]
    machine += ["-kernel", f"{directory}/vmlinuz", "-initrd", f"{directory}/initrd"]
    machine += ["-append", f"console=ttyS0 quiet panic=-1 seconds={CLOCKS[year]}"]
    run = subprocess.run(machine, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    output = run.stdout.decode(errors="replace")
    if not (outcome := re.search(r"^outcome: (.*?)\r?$", output, re.M)):
        raise Wrong(f"the virtual machine gave no outcome: {output[-3000:]}{run.stderr.decode()}")
    if outcome[1] != "serves":
        raise Wrong(f"{outcome[1]}\n{output[-3000:]}")
    return outcome[1]


# The whole run.


def name_of(row):
    values = [value for dimension, value in row.items() if dimension == "root" or value != ORDINARY[dimension]]
    return ", ".join(values)


def expected(row):
    if NO_NULL.items() <= row.items():
        return ABORTS
    if any(values.items() <= row.items() for values in ALONE):
        return "serves, or ends with a documented code and a sentence"
    return EXPECTED[row["dns"]]


def run(command, seconds):
    """Runs a row in a process of its own, whose namespaces end with it, and returns its outcome."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        return f"FAILED: it does not end within {seconds} s: {output}"
    lines = output.splitlines()
    if process.returncode == 0 and lines:
        return lines[-1]
    return "FAILED: " + output.strip()


def matrix(directory, workers, static, dynamic, selected):
    """Runs every row whose name contains the selected text, and returns (name, expected, outcome, seconds) of each."""
    plans = []
    # First, because they take longest.
    if os.path.exists(f"{directory}/vmlinuz"):
        plans += [(f"virtual machine, clock of {year}", "serves", ["clock", directory, year]) for year in CLOCKS]
    for number, row in enumerate(rows(dynamic is not None)):
        plan = {"row": row, "binary": static if row["build"] == "static" else dynamic, "sandbox": static, "user": 200000 + number}
        # The launcher itself needs what these rows take away.
        plan["trace"] = all(row[dimension] == ORDINARY[dimension] for dimension in ("limit", "confinement", "streams"))
        plans.append((name_of(row), expected(row), ["row", directory, json.dumps(plan)]))
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]

    def one(plan):
        name, expectation, arguments = plan
        since = time.monotonic()
        outcome = run([*unshare, sys.executable, __file__, *arguments], 90)
        return name, expectation, outcome, time.monotonic() - since

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, [plan for plan in plans if selected in plan[0]]))


def met(expectation, outcome):
    if outcome.startswith("FAILED"):
        return False
    return outcome == expectation or "documented code" in expectation


def page(results):
    """The page of the book."""
    ordinary = [row for row in results if row[1] == row[2] and not row[1].startswith("SIG")]
    odd = [row for row in results if row not in ordinary]
    lines = [
        "<!-- Generated by .ci/environments --write. -->",
        "",
        "# Environments",
        "",
        f"Every change runs the program in {len(results)} environments: the static build of the image, and where a row says so the dynamic",
        "one. In each it looks up the name of STS, obtains credentials, renews them, serves them to their expiry, and stops with",
        f"exit code 0; the credentials live {LIFETIME} seconds. Where it ends at the start it says why in one sentence, with an exit code",
        "of [Commands](commands.md). A signal ends it in one environment only, before the program begins. No shared object is opened",
        "after the start; `strace` watches for it in the rows without a limit, a filter of system calls and closed streams.",
        "",
        "A row names what is not ordinary:",
        "",
        "| | ordinary | otherwise |",
        "| --- | --- | --- |",
        *(f"| {subject} | {ORDINARY[dimension]} | {text} |" for dimension, (subject, text) in MEANINGS.items()),
        "",
        "To run the rows whose name contains a text, as root:",
        "",
        "<!-- not run: it makes roots of Debian -->",
        "```sh",
        ".ci/environments --only 'DNS slow' STATIC_BINARY [DYNAMIC_BINARY]",
        "```",
        "",
        "## Where the daemon may end at the start",
        "",
        "| environment | what happens |",
        "| --- | --- |",
        *(f"| {name} | {outcome} |" for name, _, outcome, _ in odd),
        "",
        "## All others",
        "",
        "They are combined so:",
        "",
        RULE,
        "",
        "| environment | what happens, as expected |",
        "| --- | --- |",
        *(f"| {name} | {outcome} |" for name, _, outcome, _ in ordinary),
    ]
    return "\n".join(lines) + "\n"


def certificates(directory):
    """Certificates of STS and of a portal, each of which signs itself. The daemon trusts the first."""
    for name in "sts", "portal":
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
            + ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{STS}", "-addext", "basicConstraints=critical,CA:FALSE"]
            + ["-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.crt"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        with open(f"{directory}/{name}.pem", "w") as both:
            for part in "key", "crt":
                with open(f"{directory}/{name}.{part}") as file:
                    both.write(file.read())
    shutil.copy(f"{directory}/sts.crt", f"{directory}/ca.pem")


def main(command, directory, *arguments):
    if command == "launch":
        launch(json.loads(directory))
    elif command in ("row", "clock"):
        try:
            print(follow_row(directory, json.loads(arguments[0])) if command == "row" else clock(directory, arguments[0]))
        except Wrong as wrong:
            print(wrong)
            sys.stdout.flush()
            os._exit(1)
        sys.stdout.flush()
        # Without waiting for the threads and processes of the row.
        os._exit(0)
    elif command == "sts":
        certificates(directory)
        loopback(ORDINARY["loopback"])
        dns = Dns(ORDINARY)
        dns.set("up")
        variables = start_sts(directory, arguments[0], "127.0.0.1", dns)
        for variable in ("ALIBABA_CLOUD_STS_ENDPOINT", f"https://{STS}"), *variables.items():
            print("=".join(variable))
        sys.stdout.flush()
        threading.Event().wait()
    elif command == "run":
        workers, selected, mode, static, *dynamic = arguments
        certificates(directory)
        # For the rows, whose mounts end with their namespaces.
        scratch = tempfile.TemporaryDirectory(prefix="environments-")
        os.chmod(scratch.name, 0o755)
        os.environ["TMPDIR"] = scratch.name
        since = time.monotonic()
        results = matrix(directory, int(workers), static, dynamic[0] if dynamic else None, selected)
        failed = report(results)
        print(f"{len(results)} environments in {time.monotonic() - since:.0f} s, {failed} not as expected")
        if failed:
            sys.exit(1)
        if selected or not dynamic:
            print("not compared with the book, because not every row was run")
            return
        compare(page(results), mode == "write")


def report(results):
    """Prints the table, and what went wrong, and returns the number of rows that did."""
    wrong = [result for result in results if not met(*result[1:3])]
    for name, expectation, outcome, seconds in results:
        mark = "ok  " if met(expectation, outcome) else "FAIL"
        print(f"{mark} {seconds:5.1f} s  {name}: {expectation}: {'yes' if outcome == expectation else outcome.splitlines()[0]}")
    for name, _, outcome, _ in wrong:
        print(f"\nFAILED: {name}\n{outcome}")
    return len(wrong)


def compare(text, write_it):
    if write_it:
        with open(PAGE, "w") as file:
            file.write(text)
        return
    with open(PAGE) as file:
        if file.read() != text:
            print(f"FAILED: {PAGE} differs from this run; write it with `.ci/environments --write`, and review the difference")
            sys.exit(1)
    print(f"ok: {PAGE} lists what happened")


if __name__ == "__main__":
    main(*sys.argv[1:])
