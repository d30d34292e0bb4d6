"""Types at an interactive bash on a terminal, and prints what can be seen there, as one JSON value.

Usage: terminal.py SCENARIO DIRECTORY [WORD...], where the words stand before each command, for instance
`ram-sidecar exec --sandbox --`, or are none, to compare.
"""

import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import sys
import termios
import time

CHILD = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")]
SLEEPER = ["sh", "-c", "echo '<<ready>>'; exec sleep 60"]
TIMEOUT = 40


class Terminal:
    """A program on a terminal of its own, which it controls."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # Without bracketed paste, whose switches would stand among what is read.
            os.environ["TERM"] = "dumb"
            os.execvp(command[0], command)
        self.seen = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait_for(self, pattern):
        """Waits for what matches, forgets all up to its end, and returns its last group."""
        end = time.monotonic() + TIMEOUT
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise SystemExit(f"{pattern} is not seen, but: {self.seen!r}")
            try:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise SystemExit(f"{pattern} is not seen, and the end: {self.seen!r}") from None
        self.seen = self.seen[found.end() :]
        return found.group(found.re.groups)

    def answer(self, question=None):
        """Returns the answer of a child.py."""
        if question:
            self.type(question + "\n")
        # At the beginning of a line: what is typed is echoed behind a prompt.
        return self.wait_for(r"\n<<(.*?)>>")

    def signals(self):
        """Returns what a child.py received, once every signal in flight has arrived."""
        for _ in range(5):
            assert self.answer("fetch").startswith("STS."), "there are credentials"
        return json.loads(self.answer("signals"))

    def until_received(self, name):
        while name not in json.loads(self.answer("signals")):
            pass


class Shell(Terminal):
    """An interactive bash."""

    def __init__(self):
        super().__init__("bash", "--norc", "--noprofile", "-i")
        self.type("PS1='at your'' service '\n")
        self.prompted()

    def prompted(self):
        self.wait_for("at your service ")

    def code(self):
        self.type("echo the code is $?\n")
        code = self.wait_for(r"the code is (\d+)")
        self.prompted()
        return int(code)

    def start(self, *args):
        self.type(shlex.join(args) + "\n")
        self.answer()


def interrupt(_, prefix):
    shell = Shell()
    shell.start(*prefix, *CHILD)
    shell.type("\x03")
    shell.until_received("INT")
    received = shell.signals()
    shell.type("end 3\n")
    shell.prompted()
    return [received, shell.code()]


def resize(_, prefix):
    shell = Shell()
    shell.start(*prefix, *CHILD)
    fcntl.ioctl(shell.fd, termios.TIOCSWINSZ, struct.pack("4H", 50, 100, 0, 0))
    shell.until_received("WINCH")
    return shell.signals()


def killed_from_the_keyboard(_, prefix):
    """What a shell makes of a command that Ctrl-C and Ctrl-\\ kill."""
    shell, codes = Shell(), []
    for key in "\x03\x1c":
        shell.start(*prefix, *SLEEPER)
        shell.type(key)
        shell.prompted()
        codes.append(shell.code())
    return codes


def suspend(_, prefix):
    shell = Shell()
    shell.start(*prefix, *CHILD)
    for _ in range(2):
        shell.type("\x1a")
        shell.wait_for("Stopped")
        shell.prompted()
        shell.type("fg\n")
        shell.until_received("CONT")
        assert shell.answer("fetch").startswith("STS.")
    shell.type("end 4\n")
    shell.prompted()
    return shell.code()


def suspend_in_background(_, prefix):
    shell = Shell()
    shell.start(*prefix, *CHILD)
    shell.type("\x1a")
    shell.wait_for("Stopped")
    shell.prompted()
    shell.type("bg\n")
    # Its read from the terminal stops it.
    shell.prompted()
    shell.type("\n")
    shell.prompted()
    while True:
        shell.type("jobs; echo lis'ted'\n")
        if "Stopped" in shell.wait_for(r"\n((?s:.*?))listed\r"):
            break
    shell.type("fg\n")
    assert shell.answer("fetch").startswith("STS.")
    shell.type("end 5\n")
    shell.prompted()
    return shell.code()


def writes_in_background(_, prefix):
    """A terminal that stops any process that writes to it from the background."""
    shell = Shell()
    shell.type("stty tostop\n")
    shell.prompted()
    shell.type(shlex.join([*prefix, *CHILD]) + " &\n")
    while True:
        shell.type("jobs; echo lis'ted'\n")
        if "Stopped" in shell.wait_for(r"\n((?s:.*?))listed\r"):
            break
    shell.type("fg\n")
    shell.answer()
    assert shell.answer("fetch").startswith("STS.")
    shell.type("end 5\n")
    shell.wait_for(r"end 5\r\n")
    return shell.code()


def stops_itself(_, prefix):
    shell = Shell()
    shell.start(*prefix, *CHILD)
    shell.type("stop\n")
    shell.wait_for("Stopped")
    shell.prompted()
    shell.type("fg\n")
    answers = [shell.answer(), shell.answer("fetch")[:4]]
    shell.type("end 6\n")
    shell.prompted()
    return [*answers, shell.code()]


def keeps_running(_, prefix):
    """A child that ignores Ctrl-Z."""
    shell = Shell()
    shell.start(*prefix, *CHILD, "--ignore", "TSTP")
    shell.type("\x1a")
    shell.type("end 7\n")
    shell.prompted()
    return shell.code()


def pipeline(_, prefix):
    shell = Shell()
    # Of all the pipeline, only the child is to notice Ctrl-C.
    shell.type(f"{shlex.join([*prefix, *CHILD])} | (trap '' INT; cat)\n")
    shell.answer()
    shell.type("\x03")
    shell.until_received("INT")
    received = shell.signals()
    shell.type("\x1a")
    shell.wait_for("Stopped")
    shell.prompted()
    shell.type("fg\n")
    shell.until_received("CONT")
    assert shell.answer("fetch").startswith("STS.")
    shell.type("end 8\n")
    shell.prompted()
    return received


def inner_shell(_, prefix):
    shell = Shell()
    shell.type(shlex.join([*prefix, "env", "PS1=inner' 'shell ", "bash", "--norc", "--noprofile", "-i"]) + "\n")
    shell.wait_for("inner' 'shell $")
    shell.start(*CHILD)
    shell.type("\x03")
    shell.until_received("INT")
    received = shell.signals()
    shell.type("\x1a")
    shell.wait_for("Stopped")
    shell.wait_for("inner' 'shell $")
    shell.type("fg\n")
    shell.until_received("CONT")
    shell.type("end 2\n")
    shell.wait_for("inner' 'shell $")
    shell.type("exit 9\n")
    shell.prompted()
    return [received, shell.code()]


def loop(directory, prefix):
    """Ctrl-C leaves a script, if the command dies of it."""
    script = os.path.join(directory, "script")
    with open(script, "w") as file:
        print(f"for i in 1 2; do {shlex.join([*prefix, *SLEEPER])}; echo went on; done", file=file)
    shell = Shell()
    shell.start("bash", script)
    shell.type("\x03")
    outcome = shell.wait_for("(went on|at your service )")
    os.kill(shell.pid, signal.SIGKILL)
    return outcome


def hangup(directory, prefix):
    """The terminal is closed below the first process of its session."""
    marker = os.path.join(directory, "marker")
    script = f"trap 'echo HUP > {marker}; exit' HUP; echo; echo '<<ready>>'; while :; do sleep 0.1; done"
    terminal = Terminal(*prefix, "bash", "-c", script)
    terminal.answer()
    os.close(terminal.fd)
    end = time.monotonic() + 5
    while not os.path.exists(marker) and time.monotonic() < end:
        time.sleep(0.05)
    if os.path.exists(marker):
        return "hung up"
    os.killpg(terminal.pid, signal.SIGKILL)
    return "nothing"


if __name__ == "__main__":
    scenario, directory, *args = sys.argv[1:]
    print(json.dumps(globals()[scenario](directory, args)))
