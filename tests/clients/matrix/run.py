"""Runs a program of clients.toml: its setup once, and its request once for each line on standard input.

Usage: run.py python PACKAGE REQUEST SETUP..., or
       run.py shell VERSION REQUEST, where VERSION prints the version.

Prints the version of the client, and then what each request printed, as JSON.
"""

import contextlib
import importlib.metadata
import io
import json
import os
import subprocess
import sys


def python(package, request, *setup):
    variables = {}
    for part in setup:
        exec(part, variables)

    def printed():
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(request, variables)
        return output.getvalue()

    return importlib.metadata.version(package), printed


def shell(version, request):
    def run(script):
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr + done.stdout)
        return done.stdout

    return run(version).strip(), lambda: run(request)


def main(language, *arguments):
    # Some clients print to standard output, which is for the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    version, request = {"python": python, "shell": shell}[language](*arguments)
    print(json.dumps({"version": version}), file=answers, flush=True)
    for _ in sys.stdin:
        try:
            outcome = {"printed": request()}
        # A panic of Rust is not an Exception.
        except BaseException as error:
            outcome = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(outcome), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
