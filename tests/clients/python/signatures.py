"""Signs with the official SDK whatever it is given, a line of JSON each, and prints a signature a line.

A line with "parameters" is signed as RPC V1, one with "query" and "headers" as V3, both as a POST to the root.
"""

import hashlib
import json
import sys

from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest

EMPTY = hashlib.sha256(b"").hexdigest()


def signature(asked):
    if "parameters" in asked:
        return Utils.get_rpcsignature(asked["parameters"], "POST", asked["secret"])
    request = DaraRequest()
    request.method = "POST"
    request.pathname = "/"
    request.query = asked["query"]
    request.headers = asked["headers"]
    return Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", EMPTY, asked["id"], asked["secret"]
    )


for line in sys.stdin:
    print(signature(json.loads(line)))
