"""Lists the objects of a bucket with oss2's credentials from OSS_ACCESS_KEY_ID and the variables beside it.

Usage: oss_environment.py ENDPOINT BUCKET
"""

import json
import os
import sys

import oss2
from oss2.credentials import EnvironmentVariableCredentialsProvider


def main(endpoint, bucket_name):
    others = [name for name in os.environ if name.startswith("ALIBABA_CLOUD_ACCESS_KEY")]
    if others:
        raise SystemExit(f"{others} would come first in the default chain of every SDK")
    auth = oss2.ProviderAuth(EnvironmentVariableCredentialsProvider())
    bucket = oss2.Bucket(auth, endpoint, bucket_name, is_path_style=True)
    print(json.dumps([entry.key for entry in oss2.ObjectIteratorV2(bucket)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
