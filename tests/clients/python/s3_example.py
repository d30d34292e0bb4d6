"""Lists the objects of a bucket with boto3, then puts an object and gets it back, the way S3 clients use OSS.

Usage: s3_example.py ENDPOINT BUCKET, with AWS_CONTAINER_CREDENTIALS_FULL_URI and
AWS_REQUEST_CHECKSUM_CALCULATION=when_required in the environment. The bucket goes into the host name, so a server on
loopback has to be the proxy, named in HTTP_PROXY.
"""

import json
import sys

import boto3
from botocore.config import Config

KEY = "put/~x 中文.txt"
BODY = b"some content"


def main(endpoint, bucket_name):
    config = Config(s3={"addressing_style": "virtual"})
    client = boto3.client("s3", endpoint_url=endpoint, region_name="cn-hangzhou", config=config)
    # Two objects a page, so that the second request is signed with a continuation token.
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket_name, PaginationConfig={"PageSize": 2})
    names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    client.put_object(Bucket=bucket_name, Key=KEY, Body=BODY)
    got = client.get_object(Bucket=bucket_name, Key=KEY)["Body"].read()
    if got != BODY:
        raise SystemExit(f"{BODY} was put, {got} was got")
    print(json.dumps(names))


if __name__ == "__main__":
    main(*sys.argv[1:])
