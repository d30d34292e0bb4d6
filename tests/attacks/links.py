"""A user who owns the directory of a file replaces it by a link, plants files, and looks for temporary ones.
A file of the settings is a device or a pipe without end.

The daemon is root's, and gives its file to that user, or writes into a directory where everybody may.
"""

import glob
import json
import os
import resource
import signal
import subprocess
import time

from common import BINARY, Attacker, Daemon, credentials, directory, fail, held, remove

USER, OTHER = 4001, 4002
FORMATS = ("json", "env", "ossfs")
SECRET = "nobody else may change this\n"


class Sts:
    """The embedded STS, which outlives the daemons that it grants credentials to."""

    def __init__(self):
        self.process = Daemon("sandbox", "--listen", "127.0.0.1:0")
        self.process.line("^ALIBABA_CLOUD_ROLE_ARN=")
        self.process.line("^ALIBABA_CLOUD_STS_ENDPOINT=")
        self.process.line("^ALIBABA_CLOUD_ACCESS_KEY_SECRET=")
        lines = [line.split("=", 1) for line in self.process.output if line.startswith("ALIBABA_CLOUD_")]
        self.environment = dict(lines)


def start(*files, state=None):
    arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"]
    for file in files:
        arguments += ["--file", file]
    if state:
        arguments += ["--state", state]
    return Daemon(*arguments, environment=sts.environment)


def temporary(*directories):
    return [path for one in directories for path in glob.glob(f"{one}/.*.ram-sidecar-*")]


def is_complete(path):
    """Whether it is a whole directory of ossfs, which may have readers for a minute."""
    return os.path.exists(f"{path}/Expiration") and not os.path.islink(path)


def below(path):
    """Every path below a directory, with its owner and content."""
    found = {}
    for parent, directories, files in os.walk(path):
        for name in directories + files:
            at = os.path.join(parent, name)
            content = open(at, "rb").read() if os.path.isfile(at) and not os.path.islink(at) else None
            found[at] = (os.lstat(at).st_uid, content)
    return found


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def home_of(user, base):
    home = f"{base}/home"
    os.makedirs(f"{home}/.alibabacloud")
    for path in (home, f"{home}/.alibabacloud"):
        os.chown(path, user, user)
    return home


def roots(base):
    """A directory of root's, with a document of root's under every name that the daemon writes."""
    path = f"{base}/roots"
    os.mkdir(path, 0o755)
    for name in ("existing", "state"):
        with open(f"{path}/{name}", "w", opener=lambda at, flags: os.open(at, flags, 0o600)) as file:
            file.write(SECRET)
    return path


def swap(home, target, seconds):
    """As the user: replaces the directory by a link and back, until the time is over."""
    path, aside, link = f"{home}/.alibabacloud", f"{home}/aside", f"{home}/link"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.rename(path, aside)
        os.symlink(target, link)
        os.rename(link, path)
        time.sleep(0.0005)
        os.unlink(path)
        os.rename(aside, path)
        time.sleep(0.0005)


def link_that_stays():
    base = directory()
    home, target = home_of(USER, base), roots(base)
    files = [f"{home}/.alibabacloud/{form},format={form},uid={USER}" for form in FORMATS]
    with start(*files, state=f"{home}/.alibabacloud/state") as daemon:
        uri = daemon.uri()
        written = lambda: all(os.path.exists(f"{home}/.alibabacloud/{form}") for form in FORMATS)
        held(until(written), "control: the files are written without an attack")
        before = below(target)

        def replace():
            os.rename(f"{home}/.alibabacloud", f"{home}/aside")
            os.symlink(target, f"{home}/.alibabacloud")

        Attacker(USER, replace).wait()
        daemon.process.send_signal(signal.SIGHUP)
        changed = until(lambda: below(target) != before, 4)
        held(not changed, "a directory that becomes a link to root's is not written through")
        held(credentials(uri), "credentials are served meanwhile")
        for part in ("is a symbolic link that another user may have placed", f"belongs to user {USER}"):
            daemon.line(part)
        held(True, "the link is told, with its owner")

        def put_back():
            os.unlink(f"{home}/.alibabacloud")
            os.mkdir(f"{home}/.alibabacloud")

        Attacker(USER, put_back).wait()
        held(until(written, 15), "a directory that is made again is written again")
        daemon.line("was replaced")
        held(True, "a replaced directory is told")
    remove(base)


def swapping():
    base = directory()
    home, target = home_of(USER, base), roots(base)
    # The name of a file of root's, and one that is not there.
    names = ("existing", "new")
    files = [f"{home}/.alibabacloud/{name},uid={USER}" for name in names]
    files.append(f"{home}/.alibabacloud/linked,format=ossfs,uid={USER}")
    before = below(target)
    with start(*files, state=f"{home}/.alibabacloud/state") as daemon:
        uri = daemon.uri()
        attacker = Attacker(USER, swap, home, target, 8)
        renewed = set()
        end = time.monotonic() + 8
        while time.monotonic() < end:
            daemon.process.send_signal(signal.SIGHUP)
            renewed.add(credentials(uri)["AccessKeyId"])
            time.sleep(0.02)
        attacker.wait()
        held(len(renewed) > 5, "control: credentials are renewed while the directory is swapped")
    held(below(target) == before, "root's files are as before after a loop of swaps")
    left = temporary(target, f"{home}/.alibabacloud")
    held(all(is_complete(path) for path in left), "no temporary file is left")
    remove(base)


def planted():
    for form in FORMATS:
        base = directory()
        os.chmod(base, 0o1777)
        path = f"{base}/credentials"
        with start(f"{path},format={form}") as daemon:
            daemon.uri()
            held(until(lambda: os.path.lexists(path)), f"control: {form} is written")

        def plant():
            # The same document, but made by the other user.
            if form == "ossfs":
                os.makedirs(f"{base}/.credentials.ram-sidecar-0123456789abcdef")
                os.symlink(".credentials.ram-sidecar-0123456789abcdef", path)
            else:
                with open(path, "wb") as file:
                    file.write(content)

        content = b"" if form == "ossfs" else open(path, "rb").read()
        os.unlink(path)
        Attacker(OTHER, plant).wait()
        with start(f"{path},format={form}") as daemon:
            try:
                code = daemon.process.wait(10)
            except Exception:
                fail(f"a planted document is accepted ({form})")
            held(code == 71, f"a planted document ends the start ({form})")
            daemon.line(f"it exists and belongs to user {OTHER}")
        held(os.lstat(path).st_uid == OTHER, f"and stays ({form})")
        remove(base)


def killed():
    base = directory()
    os.chmod(base, 0o1777)
    path = f"{base}/credentials"
    for number in range(12):
        daemon = start(path, f"{base}/linked,format=ossfs", state=f"{base}/state")
        daemon.uri()
        for _ in range(number % 4):
            daemon.process.send_signal(signal.SIGHUP)
        time.sleep(number * 0.003)
        daemon.process.kill()
        daemon.process.wait()
    # What a process leaves that was killed between two system calls; and what another user made under such a name.
    left = f"{base}/.credentials.ram-sidecar-0123456789abcdef"
    with open(left, "w", opener=lambda at, flags: os.open(at, flags, 0o600)) as file:
        json.dump({"AccessKeySecret": "a secret"}, file)
    foreign = f"{base}/.credentials.ram-sidecar-fedcba9876543210"
    Attacker(OTHER, lambda: open(foreign, "w").close()).wait()
    with start(path, f"{base}/linked,format=ossfs", state=f"{base}/state") as daemon:
        daemon.uri()
        is_kept = lambda path: path == foreign or is_complete(path)
        clean = lambda: os.path.exists(path) and all(is_kept(path) for path in temporary(base))
        held(until(clean, 5) and os.path.exists(foreign), "temporary files of killed processes are removed at the start, and no foreign file")
    remove(base)


def endless():
    base = directory()
    pipe = f"{base}/pipe"
    os.mkfifo(pipe)

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    for path in ("/dev/zero", pipe):
        for flag in ("--config", "--ca-file", "--policy-file"):
            arguments = [BINARY, "check", flag, path]
            attack = f"{flag} {path.removeprefix(base)} is refused without reading it"
            try:
                done = subprocess.run(arguments, env={}, capture_output=True, text=True, timeout=5, preexec_fn=limited)
            except subprocess.TimeoutExpired:
                fail(attack)
            held("it is not a regular file" in done.stdout + done.stderr, attack)
    remove(base)


sts = Sts()
link_that_stays()
swapping()
planted()
killed()
endless()
