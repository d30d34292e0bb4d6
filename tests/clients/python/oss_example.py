"""Lists the objects of a bucket with oss2, the way the documentation of PAI shows it.

Usage: oss_example.py ENDPOINT BUCKET v1|v4
"""

import json
import sys

import oss2
from alibabacloud_credentials.provider import DefaultCredentialsProvider
from oss2.credentials import Credentials, CredentialsProvider


class CredentialProviderWrapper(CredentialsProvider):
    """Lets oss2 ask a provider of alibabacloud_credentials, once for each request."""

    def __init__(self, provider):
        self.provider = provider

    def get_credentials(self):
        credentials = self.provider.get_credentials()
        return Credentials(
            credentials.get_access_key_id(),
            credentials.get_access_key_secret(),
            credentials.get_security_token(),
        )


def main(endpoint, bucket_name, signature_version):
    auth_class = {"v1": oss2.ProviderAuth, "v4": oss2.ProviderAuthV4}[signature_version]
    auth = auth_class(CredentialProviderWrapper(DefaultCredentialsProvider()))
    # The path style is for endpoints that are an address; the region takes part in a V4 signature only.
    bucket = oss2.Bucket(auth, endpoint, bucket_name, is_path_style=True, region="cn-hangzhou")
    # Two objects a page, so that the second request is signed with a continuation token.
    names = [entry.key for entry in oss2.ObjectIteratorV2(bucket, max_keys=2)]
    names_by_v1_listing = [entry.key for entry in oss2.ObjectIterator(bucket, max_keys=2)]
    if names != names_by_v1_listing:
        raise SystemExit(f"ListObjectsV2 gave {names}, ListObjects {names_by_v1_listing}")
    print(json.dumps(names))


if __name__ == "__main__":
    main(*sys.argv[1:])
