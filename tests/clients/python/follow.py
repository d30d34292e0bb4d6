"""Fetches credentials through ways that alibabacloud_credentials offers, once for each `fetch` line on standard input.

Usage: follow.py WAY..., where a way is credentials_uri (with ALIBABA_CLOUD_CREDENTIALS_URI in the environment), default
or ecs_ram_role, each also with _async behind its name. The provider objects are made once and reused, so the answers show
whether they follow a rotation.
"""

import asyncio
import json
import os
import sys

from alibabacloud_credentials.client import Client
from alibabacloud_credentials.models import Config

CLIENTS = {
    "credentials_uri": lambda: Client(
        Config(type="credentials_uri", credentials_uri=os.environ["ALIBABA_CLOUD_CREDENTIALS_URI"])
    ),
    "default": Client,
    # Takes the role's name from ALIBABA_CLOUD_ECS_METADATA, or else asks the metadata service for it.
    "ecs_ram_role": lambda: Client(Config(type="ecs_ram_role")),
}


def main(*names):
    loop = asyncio.new_event_loop()

    def way(name):
        # The asynchronous providers are objects of their own: a shared one would answer from the other's cache.
        client = CLIENTS[name.removesuffix("_async")]()
        if name.endswith("_async"):
            return lambda: loop.run_until_complete(client.get_credential_async())
        return client.get_credential

    ways = {name: way(name) for name in names}

    for line in sys.stdin:
        if line.strip() == "fetch":
            print(json.dumps({name: answer(fetch) for name, fetch in ways.items()}), flush=True)
    loop.close()


def answer(fetch):
    try:
        credential = fetch()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "AccessKeyId": credential.get_access_key_id(),
        "AccessKeySecret": credential.get_access_key_secret(),
        "SecurityToken": credential.get_security_token(),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
