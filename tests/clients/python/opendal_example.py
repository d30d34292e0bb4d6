"""Lists the objects of a bucket with opendal, which finds its credentials by the environment.

Usage: opendal_example.py ENDPOINT BUCKET
"""

import json
import sys

import opendal


def main(endpoint, bucket_name):
    # Its signer knows the address of the metadata service as ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT.
    operator = opendal.Operator("oss", bucket=bucket_name, endpoint=endpoint, addressing_style="path")
    print(json.dumps([entry.path for entry in operator.scan("/")]))


if __name__ == "__main__":
    main(*sys.argv[1:])
