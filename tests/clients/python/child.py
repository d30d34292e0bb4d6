"""Stands for a job: counts the signals that it receives, and answers questions, a line on standard input each.

Usage: child.py [--ignore NAME]..., where NAME is that of a signal without SIG. The questions are `signals` (JSON: how
often each arrived), `fetch` (the AccessKeyId that ALIBABA_CLOUD_CREDENTIALS_URI serves), `environment` (JSON), `stop`
(stops itself as programs do that draw on the whole terminal, with SIGTSTP to itself alone) and `end CODE`.
"""

import collections
import json
import os
import signal
import sys
import urllib.request

# Faults, what cannot be caught, and what other processes cause.
LEFT_ALONE = {"KILL", "STOP", "CHLD", "ILL", "FPE", "SEGV", "BUS", "TSTP", "TTIN", "TTOU"}


def main(*arguments):
    received = collections.Counter()
    for number in range(1, 32):
        try:
            name = signal.Signals(number).name.removeprefix("SIG")
        except ValueError:
            continue
        if name in arguments:
            signal.signal(number, signal.SIG_IGN)
        elif name not in LEFT_ALONE:
            signal.signal(number, lambda number, _: received.update([signal.Signals(number).name.removeprefix("SIG")]))
    say(f"ready {os.getpid()}")
    while line := sys.stdin.readline():
        question, *rest = line.split() or [""]
        if question == "signals":
            say(json.dumps(received))
        elif question == "fetch":
            say(fetched())
        elif question == "environment":
            say(json.dumps(dict(os.environ)))
        elif question == "stop":
            os.kill(os.getpid(), signal.SIGTSTP)
            say("continued")
        elif question == "end":
            sys.exit(int(rest[0]))


def fetched():
    if "ALIBABA_CLOUD_CREDENTIALS_URI" not in os.environ:
        return "STS.Nobody"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(os.environ["ALIBABA_CLOUD_CREDENTIALS_URI"], timeout=15) as answer:
        return json.load(answer)["AccessKeyId"]


def say(text):
    # One write, whole: on a terminal, what is typed is echoed in between. The marks tell the two apart.
    os.write(1, f"<<{text}>>\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
