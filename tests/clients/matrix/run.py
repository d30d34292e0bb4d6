"""Runs a client of clients.toml: its setup once, and its request once for each line on standard input.

Usage: run.py python PACKAGE SETUP REQUEST, where REQUEST is an expression, or
       run.py shell VERSION SETUP REQUEST, where all are scripts, and REQUEST prints names, a line each.

Prints the version of the client, and then each outcome, as JSON.
"""

import importlib.metadata
import json
import os
import subprocess
import sys


def python(package, setup, request):
    variables = {}
    exec(setup, variables)
    return importlib.metadata.version(package), lambda: eval(request, variables)


def shell(version, setup, request):
    def run(script):
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr + done.stdout)
        return done.stdout

    def requested():
        output = run(request)
        return json.loads(output) if output.startswith("{") else output.splitlines()

    run(setup)
    return run(version).strip(), requested


def main(language, *arguments):
    # Some clients print to standard output, which is for the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    version, request = {"python": python, "shell": shell}[language](*arguments)
    print(json.dumps({"version": version}), file=answers, flush=True)
    for _ in sys.stdin:
        try:
            outcome = {"value": request()}
        # A panic of Rust is not an Exception.
        except BaseException as error:
            outcome = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(outcome), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
