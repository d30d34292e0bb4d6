"""Signs each line of JSON on standard input with the official SDK, and prints one signature per line.

A line with "parameters" is signed as RPC V1, one with "query" and "headers" as V3, both as a POST to the root.
"""

import hashlib
import json
import sys

from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest

EMPTY = hashlib.sha256(b"").hexdigest()


def signature(fields):
    if "parameters" in fields:
        return Utils.get_rpcsignature(fields["parameters"], "POST", fields["secret"])
    request = DaraRequest()
    request.method = "POST"
    request.pathname = "/"
    request.query = fields["query"]
    request.headers = fields["headers"]
    return Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", EMPTY, fields["id"], fields["secret"]
    )


for line in sys.stdin:
    print(signature(json.loads(line)))
