"""Calls STS with its official SDK, signed in each of the two ways that the SDK knows, and prints what came of it.

Usage: sts_sdk.py ENDPOINT ROLE_ARN NEXT_ROLE_ARN OIDC_PROVIDER_ARN, with the RAM user's AccessKey and an OIDC token in
the environment.
"""

import json
import os
import sys

from alibabacloud_sts20150401 import models
from alibabacloud_sts20150401.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config

# Characters that percent-encoding goes wrong with.
POLICY = json.dumps(
    {
        "Version": "1",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"},
            {"Effect": "Allow", "Action": "oss:*", "Resource": "acs:oss:*:*:b/~x y/*+(1)!'中文"},
        ],
    },
    ensure_ascii=False,
)


def main(endpoint, role_arn, next_role_arn, provider_arn):
    key = {
        "access_key_id": os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        "access_key_secret": os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
    }
    oidc_token = os.environ["OIDC_TOKEN"]

    def calls(**algorithm):
        def client(**credentials):
            return Client(Config(protocol="HTTP", endpoint=endpoint, **algorithm, **credentials))

        def assume_role(client, arn):
            request = models.AssumeRoleRequest(
                role_arn=arn, role_session_name="sdk", duration_seconds=900, policy=POLICY
            )
            return client.assume_role(request).body

        def assume_role_with_oidc():
            request = models.AssumeRoleWithOIDCRequest(
                role_arn=role_arn,
                role_session_name="sdk-oidc",
                oidcprovider_arn=provider_arn,
                oidctoken=oidc_token,
            )
            return client().assume_role_with_oidc(request).body

        user = client(**key)
        first = assume_role(user, role_arn)
        session = client(
            access_key_id=first.credentials.access_key_id,
            access_key_secret=first.credentials.access_key_secret,
            security_token=first.credentials.security_token,
        )
        impostor = client(**key | {"access_key_secret": "wrong"})
        return {
            "assume_role": first.to_map(),
            "user": user.get_caller_identity().body.to_map(),
            "session": session.get_caller_identity().body.to_map(),
            "next_role": assume_role(session, next_role_arn).to_map(),
            "oidc": assume_role_with_oidc().to_map(),
            "impostor": [
                refusal(lambda: assume_role(impostor, role_arn)),
                refusal(impostor.get_caller_identity),
            ],
        }

    print(json.dumps({"policy": POLICY, "v3": calls(), "v1": calls(signature_algorithm="v2")}))


def refusal(call):
    try:
        call()
    except AlibabaCloudException as error:
        return {"status": error.status_code, "code": error.code, "message": error.message}
    raise SystemExit("a wrong secret was accepted")


if __name__ == "__main__":
    main(*sys.argv[1:])
