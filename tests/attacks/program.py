"""A user plants a program in the working directory of a daemon of root's, which looks for one that prints credentials."""

import json
import os
import re

from common import Attacker, Daemon, directory, held, remove

USER = 4001
NAME = "print-credentials"
KEY = "planted-secret-path-7c1f09"
CREDENTIALS = {
    "AccessKeyId": "STS.Planted",
    "AccessKeySecret": "planted",
    "SecurityToken": "planted",
    "Expiration": "2999-01-01T00:00:00Z",
}


def write_program(path, body):
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\n{body}\necho '{json.dumps(CREDENTIALS)}'\n")
    os.chmod(path, 0o755)


def plant(place, marker):
    os.mkdir(f"{place}/bin")
    for name in (NAME, f"bin/{NAME}"):
        write_program(f"{place}/{name}", f"id -u > {marker}")


scratch = directory()
place, marker, profiles = f"{scratch}/place", f"{scratch}/marker", f"{scratch}/config.json"
os.mkdir(place)
os.chown(place, USER, USER)
Attacker(USER, plant, place, marker).wait()
system = os.environ["PATH"]

for word, path in [
    (f"./{NAME}", system),
    (f"bin/{NAME}", system),
    (NAME, f".:{system}"),
    (NAME, f":{system}"),
    (NAME, f"{system}:"),
    (NAME, f"bin:{system}"),
    (NAME, ""),
]:
    with open(profiles, "w") as file:
        profile = {"name": "job", "mode": "External", "process_command": word}
        json.dump({"current": "job", "profiles": [profile]}, file)
    for way, settings, told in [
        ("identity.command", {"RAM_SIDECAR_COMMAND": json.dumps([word])}, "RAM_SIDECAR_COMMAND: its program is "),
        ("a profile", {"RAM_SIDECAR_IDENTITY": "profile", "ALIBABA_CLOUD_CONFIG_FILE": profiles}, "whose program is "),
    ]:
        with Daemon("serve", environment={"PATH": path, **settings}, directory=place) as daemon:
            # Either the refusal, or the credentials of the planted program.
            line = daemon.line(f"{re.escape(told)}.*|^ALIBABA_CLOUD_CREDENTIALS_URI=").group()
        held(
            told in line and not os.path.exists(marker),
            f"root runs a planted program: {word!r} of {way} with PATH={path.replace(system, '…')!r}: {line}",
        )

# What the right program gets.
helper, seen = f"{scratch}/helper", f"{scratch}/seen"
write_program(helper, f"env > {seen}")
environment = {"RAM_SIDECAR_COMMAND": json.dumps([helper]), "RAM_SIDECAR_KEY": KEY, "KEPT": "kept"}
with Daemon("serve", environment=environment) as daemon:
    held(daemon.uri().endswith(KEY), "the daemon has another path than the configured one")
with open(seen) as file:
    inherited = file.read()
held("KEPT=kept" in inherited, "the program lacks a variable of its own")
held(KEY not in inherited and "RAM_SIDECAR_" not in inherited, "the program inherits the secret path")

remove(scratch)
