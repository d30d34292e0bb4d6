"""Lists the objects of a bucket with obstore, the `object_store` of Rust that polars and delta-rs use too.

Usage: obstore_example.py ENDPOINT BUCKET, with the variables of a container in the environment. The bucket goes into the
host name, so a server on loopback has to be the proxy, named in HTTP_PROXY.
"""

import json
import sys

from obstore.store import S3Store


def main(endpoint, bucket_name):
    store = S3Store(
        bucket_name,
        endpoint=endpoint.replace("://", f"://{bucket_name}."),
        region="cn-hangzhou",
        virtual_hosted_style_request=True,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    print(json.dumps([entry["path"] for page in store.list() for entry in page]))


if __name__ == "__main__":
    main(*sys.argv[1:])
