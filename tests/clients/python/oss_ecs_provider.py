"""Lists the objects of a bucket with oss2 and its own provider for ECS, which asks a URL for the credentials.

Usage: oss_ecs_provider.py ENDPOINT BUCKET v1|v4 AUTH_URL
"""

import json
import sys

import oss2
from oss2.credentials import EcsRamRoleCredentialsProvider


def main(endpoint, bucket_name, signature_version, auth_url):
    auth_class = {"v1": oss2.ProviderAuth, "v4": oss2.ProviderAuthV4}[signature_version]
    auth = auth_class(EcsRamRoleCredentialsProvider(auth_url))
    bucket = oss2.Bucket(auth, endpoint, bucket_name, is_path_style=True, region="cn-hangzhou")
    # Two objects a page, so that the second request is signed with a continuation token.
    print(json.dumps([entry.key for entry in oss2.ObjectIteratorV2(bucket, max_keys=2)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
