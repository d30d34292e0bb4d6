"""1,500 callers without the token of `container.token_file` ask at once, while one that has it asks too."""

import os
import re
import resource
import socket
import time

from common import Attacker, Daemon, directory, held, remove, request

CALLERS = 1500
CONTAINER = "127.0.0.1:7002"
PATH = "/api/v1/container/0"
SECONDS = 6


def flood():
    """Keeps 1,500 connections open, each with a request that has another token."""
    asked = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: wrong-%%d\r\n\r\n" % PATH.encode()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        connections = []
        for number in range(CALLERS):
            try:
                connections.append(socket.create_connection(("127.0.0.1", 7002), timeout=5))
            except OSError:
                break
        for number, connection in enumerate(connections):
            try:
                connection.sendall(asked % number)
            except OSError:
                pass
        for connection in connections:
            try:
                while connection.recv(4096):
                    pass
            except OSError:
                pass
            connection.close()


resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
place = directory()
token = os.path.join(place, "token")
with open(token, "w") as file:
    file.write("planted-token")
with Daemon("serve", "--sandbox", "--container", "--container-token-file", token) as daemon:
    daemon.uri()
    attacker = Attacker(4001, flood)
    answers, slowest, end = [], 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        started = time.monotonic()
        status, _, _ = request(CONTAINER, PATH, headers={"Authorization": "planted-token"})
        slowest = max(slowest, time.monotonic() - started)
        answers.append(status)
        time.sleep(0.02)
    attacker.wait()
    refused = len(answers) - answers.count(200)
    print(f"   {len(answers)} answers with the token, {refused} of them not 200, the slowest after {slowest:.2f} s")
    held(len(answers) > 10 and not refused, "callers without the token cause refusals for those who have it")
    held(slowest < 1, "callers without the token delay those who have it")
    blamed = [line for line in daemon.output if "does not respond" in line]
    held(not blamed, f"a flood is mistaken for a broken file system in {len(blamed)} lines")

    # A file that comes and goes is told of once a minute.
    for _ in range(100):
        os.rename(token, token + ".away")
        # A wrong token is compared with the file as it is now, not as it was a moment ago.
        gone, _, _ = request(CONTAINER, PATH, headers={"Authorization": "wrong"})
        os.rename(token + ".away", token)
        back, _, _ = request(CONTAINER, PATH, headers={"Authorization": "planted-token"})
        assert (gone, back) == (503, 200), (gone, back)
    lines = [line for line in daemon.output if re.search("token_file cannot be used", line)]
    held(len(lines) == 1, f"a file that comes and goes fills the log ({len(lines)} lines)")
remove(place)
