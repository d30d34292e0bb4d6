#!/usr/bin/env python3
"""Writes config/order.ld, a linker script that puts the functions which a sidecar calls first in the program.

    python3 benches/order.py

On a page fault the kernel maps up to sixteen pages around the page, as far as they are in the page cache. Where functions
that are called stand among those that are not, nearly the whole program is resident. This compiles the static program
below target/order, runs it under valgrind, and writes which functions were called, without the parts of their names that
another version of a crate or of the compiler changes. A function that the file does not name costs memory and nothing else.
There is no need to write it again before `benches/footprint.py` exceeds a budget. A few lines differ from run to run,
because some functions are called only where a thread waits for another.

Needs Linux on x86-64, Rust with its own linker (lld), iproute2, valgrind, the `openssl` command, and root or user
namespaces. The program runs in a network namespace of its own. Takes some five minutes to compile, and then ten seconds.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# Keeps compiled modules out of this directory.
sys.dont_write_bytecode = True

from footprint import Stub, get, port_of  # noqa: E402
from measuring import Daemon, Unmeasurable, free_port  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "target/order"
TRIPLE = "x86_64-unknown-linux-gnu"
PROGRAM = TARGET / TRIPLE / "release/ram-sidecar"
# Relative, so that a copy of the directory is not compiled again.
MAP = Path("target/order/sections.map")
CALLED = TARGET / "called"
OUTPUT = ROOT / "config/order.ld"

# A pattern of many functions takes one line instead of many, and covers functions that are written later, but also some that
# are not called. It is used where those have at most so many bytes for each line that it saves.
BYTES_FOR_A_LINE = 1000

HEAD = """\
/* Puts the functions that a sidecar needs before all others, so that fewer pages of the program are resident: first those
   of every one, then those of its other dialects and files. What is not named here follows in the compiler's order.

   Written by benches/order.py, which says how and why. The Dockerfile passes it to the linker. */

SECTIONS
{
  .text.first :
  {
"""
TAIL = """\
  }
}
INSERT BEFORE .text;
"""
# The crate has other functions in a program that runs under valgrind.
RUSTIX = ["*(.text._ZN*6rustix*)", "*(.text._R*_6rustix*)"]

# How the namespace is made, and the name server of the program in it set.
NAMESPACE = (
    'ip link set lo up && echo nameserver 127.0.0.1 >"$1" && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
)
STS_NAME = "sts.order.test"
# Free in the namespace.
METADATA_PORT = 80


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--called", action="store_true", help=argparse.SUPPRESS)
    try:
        if parser.parse_args().called:
            write_called()
        else:
            write_order()
    except Unmeasurable as error:
        sys.exit(f"CANNOT MEASURE: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


def write_order():
    for tool in ["cargo", "ip", "openssl", "unshare", "valgrind"]:
        if not shutil.which(tool):
            raise Unmeasurable(f"the command {tool} is missing")
    run("unshare", "-rnm", "true")
    compile_program()
    with tempfile.NamedTemporaryFile("w") as resolver:
        run("unshare", "-rnm", "sh", "-c", NAMESPACE, "sh", resolver.name, sys.executable, __file__, "--called")
    every, other = (set(part.split()) for part in CALLED.read_text().split("\n\n"))
    sections = list(sections_of(ROOT / MAP))
    if all(every.isdisjoint(section.functions) for section in sections):
        raise Unmeasurable(f"{MAP} has no section of a function that is called: was the program linked by lld?")
    lines, left = patterns(sections, every)
    lines += patterns(left, other)[0]
    OUTPUT.write_text(HEAD + "".join(f"    {line}\n" for line in RUSTIX + lines) + TAIL)
    print(f"{OUTPUT}: {len(RUSTIX + lines)} patterns")


def compile_program():
    """Statically, as the Dockerfile does, but in the order of the compiler, with symbols, and with a list of the sections."""
    flags = f"-C target-feature=+crt-static --cfg=rustix_use_libc -C link-arg=-Wl,-Map={MAP}"
    TARGET.mkdir(parents=True, exist_ok=True)
    run(
        "cargo", "build", "--release", "--locked", "--target", TRIPLE, "--target-dir", TARGET,
        RUSTFLAGS=flags, CARGO_PROFILE_RELEASE_STRIP="none",
    )


# Which functions are called.


def write_called():
    """Writes the functions of every sidecar, an empty line, and those of the others."""
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="order-")))
        stack.enter_context(NameServer())
        stub = stack.enter_context(Stub(scratch, STS_NAME))
        with_key = stub.settings()
        (scratch / "token").write_text("a.b.c")
        with_token = {
            "flags": ["--ca-file", str(scratch / "ca.pem"), "--sts-endpoint", f"https://{STS_NAME}:{stub.port}"],
            "env": {
                "ALIBABA_CLOUD_ROLE_ARN": with_key["env"]["ALIBABA_CLOUD_ROLE_ARN"],
                "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1234567890123456:oidc-provider/order",
                "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(scratch / "token"),
            },
        }
        every = called(scratch, with_key, common) | called(scratch, with_token, common)
        # What any STS does now and then.
        stub.server.failures += [400, 503, None]
        every |= called(scratch, with_key, common)
        other = called(scratch, with_everything(scratch, with_key), others)
    CALLED.write_text("\n".join(sorted(every)) + "\n\n" + "\n".join(sorted(other)))


def with_everything(scratch, settings):
    (scratch / "container").write_text("order")
    more = ["--metadata-listen", f"127.0.0.1:{METADATA_PORT}", "--state", str(scratch / "state")]
    more += ["--container", "--container-token-file", str(scratch / "container")]
    for form in ["json", "env", "ini", "aws"]:
        more += ["--file", f"{scratch / form},format={form}"]
    return {**settings, "flags": settings["flags"] + more}


def called(scratch, settings, requests):
    """Returns the functions that a daemon calls until it has served these requests and has ended."""
    counts = scratch / "counts"
    counts.unlink(missing_ok=True)
    valgrind = [shutil.which("valgrind"), "--tool=callgrind", f"--callgrind-out-file={counts}"]
    valgrind += ["--compress-strings=no", "--demangle=no"]
    admin_port = free_port()
    with Daemon(PROGRAM, scratch, admin_port=admin_port, within=valgrind, patience=120, **settings) as daemon:
        requests(port_of(daemon.uri()), admin_port)
    # A function that calls itself has its depth after the name.
    return set(re.findall(r"^fn=(.+?)(?:'\d+)?$", counts.read_text(), re.M))


def common(port, admin_port):
    for _ in range(3):
        expect(200, port, "/api/v1/credentials/0")
    for path in ["/", "/live", "/metrics"]:
        expect(200, admin_port, path)
    # It is ready once the files are written.
    deadline = time.monotonic() + 10
    while get("127.0.0.1", admin_port, "/ready")[0] == 503 and time.monotonic() < deadline:
        time.sleep(0.05)
    expect(200, admin_port, "/ready")


def others(port, admin_port):
    common(port, admin_port)
    expect(404, port, "/api/v1/credentials/1")
    expect(405, port, "/api/v1/credentials/0", "DELETE")
    expect(200, port, "/api/v1/container/0", "GET", {"Authorization": "order"})
    expect(401, port, "/api/v1/container/0")
    roles = "/latest/meta-data/ram/security-credentials/"
    expect(200, METADATA_PORT, roles)
    token = expect(200, METADATA_PORT, "/latest/api/token", "PUT", {"X-aliyun-ecs-metadata-token-ttl-seconds": "60"})
    role = expect(200, METADATA_PORT, roles, "GET", {"X-aliyun-ecs-metadata-token": token.decode()})
    expect(200, METADATA_PORT, roles + role.decode())


def expect(status, port, *request):
    actual, body = get("127.0.0.1", port, *request)
    if actual != status:
        raise Unmeasurable(f"{request} was answered with {actual}, not {status}: {body.decode()}")
    return body


class NameServer:
    """Has one address for every name, and no IPv6."""

    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.answer, daemon=True).start()

    def answer(self):
        with contextlib.suppress(OSError):
            while True:
                query, client = self.socket.recvfrom(512)
                end = query.index(0, 12) + 5
                question, is_a = query[12:end], query[end - 4 : end - 2] == b"\0\1"
                head = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + bytes(4)
                address = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
                self.socket.sendto(head + question + (address if is_a else b""), client)

    def __exit__(self, *_):
        self.socket.close()


# Where they are in the program, and what names them.


class Node:
    """Sections whose names begin alike, by what follows."""

    def __init__(self):
        self.parts = {}
        self.called = self.other = 0

    def add(self, parts, size, is_called):
        if is_called:
            self.called += size
        else:
            self.other += size
        if parts:
            self.parts.setdefault(parts[0], Node()).add(parts[1:], size, is_called)

    def fewest(self, before=()):
        """Returns prefixes of all that is called, and what they cost: lines, and what is not called, in lines."""
        if not self.called:
            return 0, []
        cost, prefixes = 0, []
        for part, node in self.parts.items():
            theirs, more = node.fewest((*before, part))
            cost, prefixes = cost + theirs, prefixes + more
        own = 1 + self.other / BYTES_FOR_A_LINE
        if before and (not prefixes or own <= cost):
            return own, [before]
        return cost, prefixes


def patterns(sections, functions):
    """Returns patterns of the sections that have one of the functions, and the sections that they leave."""
    tree = Node()
    for section in sections:
        tree.add(section.parts, section.size, not functions.isdisjoint(section.functions))
    _, prefixes = tree.fewest()
    taken = set(prefixes)
    left = [s for s in sections if not any(s.parts[:n] in taken for n in range(len(s.parts) + 1))]
    return sorted(map(pattern, prefixes)), left


class Section:
    """A section of code in a compiled file: a function of Rust, or the functions of a file of C."""

    def __init__(self, file, name, size):
        self.size = size
        self.functions = set()
        prefix, symbol = re.match(r"(\.text(?:\.unlikely)?)\.?(.*)", name).groups()
        archive, _, member = Path(file).name.removesuffix(")").partition("(")
        if symbol.startswith(("_ZN", "_R")):
            self.functions.add(symbol)
            self.parts = (f"{prefix}.", *path_of(symbol))
        elif member:
            # Names of files have numbers that come from their contents, the compiler or the version of the C library.
            numberless = [re.sub(r"(^|-)([0-9a-f]{16}|2\.\d+)(?=[-.])", r"\1*", part) for part in (archive, member)]
            self.parts = (f"*{numberless[0]}:", numberless[1])
        else:
            self.parts = (name,) if symbol else (f"*{archive}",)


def path_of(symbol):
    """Returns the parts of a mangled name, from the crate to the function, without those that come from a compiler."""
    if symbol.startswith("_R"):
        # The second version of mangling has kinds before the crate, and may refer to what it has named.
        _, rest = re.split(r"Cs[0-9A-Za-z]+_", symbol, maxsplit=1)
        parts = ["_R*Cs*_"]
        while length := re.match(r"\d+", rest):
            end = length.end() + int(length[0])
            parts, rest = [*parts, rest[:end]], rest[end:]
        return (*parts, re.sub(r"Cs[0-9A-Za-z]+_|B[0-9A-Za-z]*_|\.\d+$", "*", rest))
    parts, at = ["_ZN"], 3
    while length := re.match(r"\d+", symbol[at:]):
        at += length.end() + int(length[0])
        name = symbol[at - int(length[0]) : at]
        if re.fullmatch(r"h[0-9a-f]{16}", name):
            break
        # Where it has the path of a type in it, its length depends on all of that.
        first, *more = re.findall(r".+?\.\.|.+$", name)
        parts += ["*" + first if more or name.startswith("_$") else length[0] + name, *more]
    return (*parts, "17h")


def pattern(parts):
    """Returns the pattern of the linker for sections that begin with these parts."""
    if parts[0].startswith(".text"):
        return f"*({''.join(parts)}*)"
    return f"{''.join(parts)}(.text .text.*)"


def sections_of(map_file):
    """Yields the sections of code in a map of the linker: rows of files, and indented below them, of symbols."""
    row = re.compile(r" *[0-9a-f]+ +[0-9a-f]+ +([0-9a-f]+) +\d+ ( +)(.*)")
    section = None
    for line in map_file.read_text().splitlines():
        if not (parts := row.fullmatch(line)):
            continue
        size, indent, what = int(parts[1], 16), len(parts[2]), parts[3]
        if indent >= 15:
            if section:
                section.functions.add(what)
            continue
        if section:
            yield section
        file = re.fullmatch(r"(.*):\((\.text.*)\)", what)
        section = Section(file[1], file[2], size) if file else None
    if section:
        yield section


def run(*command, **variables):
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT, env={**os.environ, **variables})


if __name__ == "__main__":
    main()
