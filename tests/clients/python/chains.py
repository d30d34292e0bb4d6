"""Says which AccessKey the clients of this directory find by themselves, in one environment after the other.

Each line on standard input is a JSON object of variables, and is answered with the AccessKey ID for each client, null where it
finds none. Every environment has a process of its own, because the clients read variables when they are imported; what they
have in common is imported once.
"""

import gc
import json
import os
import sys

import alibabacloud_credentials.client  # noqa: F401
import boto3
import botocore.session  # noqa: F401
import oss2.credentials
from alibabacloud_oss_v2.credentials import EnvironmentVariableCredentialsProvider
from odps import ODPS

# It reads variables when it is imported, which every child does anew. What it imports itself stays.
for name in [name for name in sys.modules if name.partition(".")[0] == "alibabacloud_credentials"]:
    del sys.modules[name]


def python():
    from alibabacloud_credentials.client import Client

    client = Client()
    first = client.get_credential().get_access_key_id()
    again = client.get_credential().get_access_key_id()
    assert first == again, (first, again)
    return first


def oss2_variables():
    return oss2.credentials.EnvironmentVariableCredentialsProvider().get_credentials().get_access_key_id()


def oss_v2_variables():
    return EnvironmentVariableCredentialsProvider().get_credentials().access_key_id


def pyodps():
    account = ODPS(project="p", endpoint="http://127.0.0.1:1/api").account
    account.reload()
    return getattr(account, "access_id", None) or getattr(account, "token", None)


def aws():
    return boto3.Session().get_credentials().get_frozen_credentials().access_key


CLIENTS = {
    "python": python,
    "oss2": oss2_variables,
    "oss-v2": oss_v2_variables,
    "pyodps": pyodps,
    "boto3": aws,
}


def answer(client):
    try:
        return client()
    except Exception as error:
        print(f"{client.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
        return None


def main():
    # What is imported is not collected again in every child.
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.environ.clear()
            os.environ.update(json.loads(line))
            print(json.dumps({name: answer(client) for name, client in CLIENTS.items()}), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
