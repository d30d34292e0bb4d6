"""A neighbour stops the daemon, and binds its port before it is started again, to hand out other credentials."""

import http.client
import socket
import subprocess
import time

from common import BINARY, Attacker, Daemon, clean_environment, credentials, held, request

NEIGHBOUR = 4001
ADMIN = "127.0.0.1:7003"
PORT = 7002


def is_taken(address, family):
    """Whether a listener on this address can be bound, with every option that shares an address."""
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind((address, PORT))
            listener.listen()
        except OSError:
            return False
    return True


def attack():
    """Ends with an error if it got the port."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for headers in ({}, {"Host": "localhost"}, {"Content-Length": "0"}):
            try:
                request(ADMIN, "/stop", "POST", headers, timeout=2)
            except (OSError, http.client.HTTPException):
                pass
        for address, family in [
            ("127.0.0.1", socket.AF_INET),
            ("0.0.0.0", socket.AF_INET),
            ("::1", socket.AF_INET6),
            ("::", socket.AF_INET6),
        ]:
            assert not is_taken(address, family), f"{address}:{PORT} is the neighbour's"


def stop(user, *arguments):
    return subprocess.run(
        [BINARY, "stop", *arguments], env=clean_environment(), user=user, group=user, extra_groups=[],
        capture_output=True, text=True, timeout=10,
    )


with Daemon("serve", "--sandbox") as daemon:
    uri = daemon.uri()
    attacker = Attacker(NEIGHBOUR, attack)
    attacker.wait()
    held(daemon.process.poll() is None and credentials(uri), "a neighbour stops the daemon and binds its port")
    refused = stop(NEIGHBOUR)
    held(
        refused.returncode == 69 and "admin.stop" in refused.stderr,
        f"`ram-sidecar stop` of a neighbour is refused and names admin.stop: {refused.stderr!r}",
    )

# A port that the neighbour already has is never shared.
with Daemon("serve", "--sandbox", "--admin-listen", "off") as daemon:
    daemon.uri()
    second = Daemon("serve", "--sandbox", "--admin-listen", "off", user=NEIGHBOUR)
    held(second.process.wait(10) == 71, "a neighbour's daemon listens beside the first")

# Its own user and root may stop it, and everyone where the settings say so.
for user, arguments, stopper in [
    (NEIGHBOUR, [], NEIGHBOUR),
    (NEIGHBOUR, [], 0),
    (0, ["--admin-stop", "anyone"], NEIGHBOUR),
]:
    daemon = Daemon("serve", "--sandbox", *arguments, user=user)
    daemon.uri()
    stopped = stop(stopper)
    held(
        stopped.returncode == 0 and daemon.process.wait(10) == 0,
        f"user {stopper} stops a daemon of user {user} with {arguments}: {stopped.stderr!r}",
    )
