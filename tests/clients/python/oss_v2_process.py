"""Lists the objects of a bucket with alibabacloud_oss_v2, which gets its credentials from a command.

Usage: oss_v2_process.py ENDPOINT BUCKET COMMAND, where a shell runs the command.
"""

import json
import subprocess
import sys

import alibabacloud_oss_v2 as oss


def main(endpoint, bucket_name, command):
    # This SDK has no provider that runs a process, only this wrapper, which it calls for each request.
    def credentials():
        output = subprocess.run(command, shell=True, check=True, stdout=subprocess.PIPE, timeout=15).stdout
        answer = json.loads(output)
        return oss.credentials.Credentials(answer["AccessKeyId"], answer["AccessKeySecret"], answer["SecurityToken"])

    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.CredentialsProviderFunc(credentials)
    config.endpoint = endpoint
    config.region = "cn-hangzhou"
    config.use_path_style = True
    # Two objects a page, so that the second request is signed with a continuation token.
    paginator = oss.Client(config).list_objects_v2_paginator(limit=2)
    pages = paginator.iter_page(oss.ListObjectsV2Request(bucket=bucket_name))
    print(json.dumps([entry.key for page in pages for entry in page.contents or []]))


if __name__ == "__main__":
    main(*sys.argv[1:])
