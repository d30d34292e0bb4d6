"""Gets credentials with botocore, once for each `fetch` line on standard input.

Usage: aws_process.py WAY, which names the answer; AWS_CONFIG_FILE says where credentials come from.
"""

import json
import sys

import botocore.session


def main(way):
    credentials = botocore.session.get_session().get_credentials()
    for line in sys.stdin:
        if line.strip() != "fetch":
            continue
        frozen = credentials.get_frozen_credentials()
        triple = {
            "AccessKeyId": frozen.access_key,
            "AccessKeySecret": frozen.secret_key,
            "SecurityToken": frozen.token,
        }
        print(json.dumps({way: triple}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
