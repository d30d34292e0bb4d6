"""Tries to list a bucket and to read objects of it with oss2, and prints what came of each.

Usage: oss_reach.py ENDPOINT v1|v4 BUCKET KEY...
"""

import json
import sys

import oss2
from alibabacloud_credentials.provider import DefaultCredentialsProvider
from oss_example import CredentialProviderWrapper


def main(endpoint, signature_version, bucket_name, *keys):
    auth_class = {"v1": oss2.ProviderAuth, "v4": oss2.ProviderAuthV4}[signature_version]
    auth = auth_class(CredentialProviderWrapper(DefaultCredentialsProvider()))
    bucket = oss2.Bucket(auth, endpoint, bucket_name, is_path_style=True, region="cn-hangzhou")
    reach = {
        "list": tried(lambda: [entry.key for entry in oss2.ObjectIteratorV2(bucket)]),
        "read": {key: tried(lambda: bucket.get_object(key).read().decode()) for key in keys},
    }
    print(json.dumps(reach))


def tried(attempt):
    try:
        return attempt()
    except oss2.exceptions.ServerError as error:
        return {"status": error.status, "code": error.code, "message": error.message}


if __name__ == "__main__":
    main(*sys.argv[1:])
