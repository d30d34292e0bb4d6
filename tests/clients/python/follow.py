"""Fetches credentials through every way alibabacloud_credentials offers, once for each `fetch` line on standard input.

The provider objects are made once and kept, so the answers show whether they follow a rotation.
"""

import asyncio
import json
import os
import sys

from alibabacloud_credentials.client import Client
from alibabacloud_credentials.models import Config


def main():
    uri = os.environ["ALIBABA_CLOUD_CREDENTIALS_URI"]
    loop = asyncio.new_event_loop()

    def configured():
        return Client(Config(type="credentials_uri", credentials_uri=uri))

    # The asynchronous providers are objects of their own: a shared one would answer from the other's cache.
    by_uri, by_uri_async = configured(), configured()
    by_default, by_default_async = Client(), Client()
    ways = {
        "credentials_uri": by_uri.get_credential,
        "credentials_uri_async": lambda: loop.run_until_complete(by_uri_async.get_credential_async()),
        "default": by_default.get_credential,
        "default_async": lambda: loop.run_until_complete(by_default_async.get_credential_async()),
    }

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
    main()
