"""A service account's annotations must not choose code, capabilities, Secrets or identities for the pods of others."""

import base64
import http.server
import json
import os
import ssl
import threading

import common
from helpers import webhook

account = {}


class ApiServer(http.server.BaseHTTPRequestHandler):
    """The API server, of which the webhook reads service accounts."""

    def do_GET(self):
        body = json.dumps({"kind": "ServiceAccount", "metadata": {"annotations": account}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def outcome(response):
    """The patch as text, or the message of a denied pod."""
    if response["allowed"]:
        return base64.b64decode(response.get("patch", "")).decode(), None
    return None, response["status"]["message"]


HOSTILE = {
    "image": "evil.example/image:1",
    "metadata": "true",
    "metrics": "true",
    "readiness": "true",
    "identity": "ecs_ram_role",
    "secret": "keys-of-others",
    "oidc-provider-arn": "acs:ram::6666666666666666:oidc-provider/evil",
    "classic": "true",
}
HARMLESS = {"role": "other", "duration": "30m", "skip-containers": "init", "only-containers": "job"}

directory = common.directory()
issued = os.path.join(directory, "api")
os.mkdir(issued)
certificate, key = webhook.certificate(issued, "IP:127.0.0.1")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
token = os.path.join(directory, "token")
with open(token, "w", encoding="ascii") as file:
    file.write("token")
arguments = ["--read-service-accounts", "--kubernetes-url", f"https://127.0.0.1:{server.server_port}"]
arguments += ["--kubernetes-token-file", token, "--kubernetes-ca-file", certificate]

with webhook.serve(directory, *arguments) as (_, address):
    for name, value in HARMLESS.items():
        account = {f"ram-sidecar/{name}": value}
        patch, message = outcome(webhook.post(address, webhook.review()))
        common.held(patch is not None, f"an account's {name} is accepted: {message}")
    for name, value in HOSTILE.items():
        account = {f"ram-sidecar/{name}": value}
        patch, message = outcome(webhook.post(address, webhook.review()))
        common.held(
            patch is None and f"the service account's annotation ram-sidecar/{name}" in message,
            f"an account's {name} is denied with its name: {message}",
        )
        patch, message = outcome(webhook.post(address, webhook.review(annotations=account)))
        common.held(patch is None, f"an account's {name} is denied beside the pod's own")
    account = {}
    for name, value in HOSTILE.items():
        patch, message = outcome(webhook.post(address, webhook.review(annotations={f"ram-sidecar/{name}": value})))
        common.held(patch is not None, f"a pod's own {name} is accepted: {message}")

account = {}
with webhook.serve(directory, *arguments, "--image-prefix", "registry.example") as (_, address):
    for image, accepted in (("registry.example/a:1", True), ("registry.example.evil/a:1", False), ("evil/registry.example/a", False)):
        patch, message = outcome(webhook.post(address, webhook.review(annotations={"ram-sidecar/image": image})))
        common.held((patch is not None) == accepted, f"--image-prefix and a pod's {image}: {message}")
common.remove(directory)
