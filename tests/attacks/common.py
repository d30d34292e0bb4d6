"""What the attack scripts share: the program, its processes, attackers of another user, and the verdict.

Each script is run by `tests/attacks/run`, as root, in a network namespace that has loopback only.
"""

import encodings.idna  # noqa: F401  Loaded for the first connection, when an attacker may not read it any more.
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

BINARY = os.environ["RAM_SIDECAR_BINARY"]



def clean_environment():
    """The environment without whatever could configure the daemon."""
    return {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}


class Daemon:
    """A process of the program. Its output is collected, and searched by `line`."""

    def __init__(self, *arguments, environment=None, user=None, binary=BINARY, directory=None):
        self.output = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [binary, *map(str, arguments)],
            env={**clean_environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.output.append(line.rstrip("\n"))
                self._changed.notify_all()

    def line(self, pattern, seconds=10):
        """Waits for a line that matches, and returns the match. Fails with all output after `seconds`."""
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self.output:
                    if match := re.search(pattern, line):
                        return match
                if not self._changed.wait(max(0, end - time.monotonic())) and time.monotonic() >= end:
                    fail(f"no line matches {pattern!r} within {seconds} s:\n" + "\n".join(self.output))

    def uri(self):
        """The URI that the daemon printed, which is when credentials can be requested."""
        return self.line(r"^ALIBABA_CLOUD_CREDENTIALS_URI=(\S+)").group(1)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            fail("the daemon did not stop within 10 s of SIGTERM")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


class Attacker:
    """A process of another user that runs `function(*arguments)` until it is stopped, or returns."""

    def __init__(self, user, function, *arguments):
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                function(*arguments)
                os._exit(0)
            except BaseException as error:  # The fork must never return into the script.
                print(f"the attacker failed: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)

    def wait(self):
        """Waits for its end, which must be a success."""
        if os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) != 0:
            fail("the attacker itself failed: see above")

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def directory():
    """A new directory of root's that every user may enter. The caller removes it with `remove`."""
    path = tempfile.mkdtemp(prefix="ram-sidecar-attack-")
    os.chmod(path, 0o755)
    return path


def remove(path):
    shutil.rmtree(path, ignore_errors=True)


def request(address, path, method="GET", headers=None, timeout=10):
    """One request on a connection of its own: (status, headers, body)."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def credentials(uri):
    """The document at a URI, or None if it is not served."""
    address, path = re.fullmatch(r"http://([^/]+)(/.*)", uri).groups()
    status, _, body = request(address, path)
    return json.loads(body) if status == 200 else None


def held(condition, attack):
    """Notes one attack: it did not succeed, or the script fails with its name."""
    if not condition:
        fail(attack)
    print(f"held: {attack}", flush=True)


def fail(reason):
    print(f"NOT HELD: {reason}", file=sys.stderr, flush=True)
    sys.exit(1)
