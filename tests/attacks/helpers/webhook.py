"""The webhook with a certificate of its own, and requests to it like the API server's."""

import contextlib
import encodings.idna  # An attacker of another user may not be able to import it later.
import http.client
import json
import os
import socket
import ssl
import subprocess

import common

NAME = "ram-sidecar-webhook.ram-sidecar.svc"
TLS = ssl.create_default_context()


def certificate(directory, *names):
    """Issues a certificate that signs itself: (its file, its key's file)."""
    certificate, key = (os.path.join(directory, name) for name in ("tls.crt", "tls.key"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-keyout", key, "-out", certificate, "-subj", f"/CN={NAME}"]
        + ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=" + ",".join([f"DNS:{NAME}", *names])],
        check=True,
        capture_output=True,
    )
    return certificate, key


@contextlib.contextmanager
def serve(directory, *arguments, names=()):
    """Runs the webhook: (its process, its address)."""
    files = certificate(directory, *names)
    TLS.load_verify_locations(files[0])
    arguments = ["--listen", "127.0.0.1:0", "--tls-cert", files[0], "--tls-key", files[1], *arguments]
    provider = "acs:ram::1234567890123456:oidc-provider/cluster"
    with common.Daemon("webhook", "--oidc-provider-arn", provider, "--role", "job", *arguments) as daemon:
        port = daemon.line(r"Listening for reviews.*127\.0\.0\.1:(\d+)").group(1)
        yield daemon, ("127.0.0.1", int(port))


def review(size=0, annotations=None, **spec):
    """A review of a pod, padded to about `size` bytes."""
    pod = {
        "metadata": {"name": "job", "annotations": {**(annotations or {}), "padding": "x" * size}},
        "spec": {"containers": [{"name": "job", "image": "job"}], **spec},
    }
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    request = {"uid": "1", "kind": kind, "operation": "CREATE", "namespace": "team", "object": pod}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review).encode()


def connect(address, timeout=10):
    return TLS.wrap_socket(socket.create_connection(address, timeout), server_hostname=NAME)


def head(length):
    """The head of a request whose body has this length."""
    return (
        f"POST /inject?timeout=10s HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def post(address, body, timeout=10):
    """Requests a review, and returns the response."""
    with connect(address, timeout) as stream:
        stream.sendall(head(len(body)) + body)
        response = http.client.HTTPResponse(stream)
        response.begin()
        text = response.read()
        if response.status != 200:
            raise OSError(f"{response.status}: {text.decode()}")
        return json.loads(text)["response"]
