"""Floods of the webhook: clients that say nothing, or stop in the middle, keep no review waiting."""

import os
import re
import resource
import select
import socket
import threading
import time

import common
from helpers import webhook

STALLED = 20
SILENT = 10_000
USER = 4001


def stall(address, head):
    """Declares a large body, sends a piece of it, and waits; again whenever the webhook has had enough of it."""
    while True:
        try:
            with webhook.connect(address) as stream:
                stream.sendall(head)
                stream.settimeout(60)
                stream.recv(1)
        except OSError:
            time.sleep(0.05)


def stalled(address):
    """Three kinds of clients that stop: right above what needs no budget, in the middle, and before the last byte."""
    body = webhook.review(size=3_000_000)
    for index in range(STALLED):
        sent = (33 * 1024, 1_500_000, len(body) - 1)[index % 3]
        threading.Thread(target=stall, args=(address, webhook.head(len(body)) + body[:sent])).start()
    threading.Event().wait()


def silent(address):
    """Keeps `SILENT` connections open that send nothing, and opens another for each that is closed."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (SILENT + 500, SILENT + 500))
    crowd, poll = {}, select.epoll()
    while True:
        while len(crowd) < SILENT:
            stream = socket.socket()
            stream.setblocking(False)
            stream.connect_ex(address)
            crowd[stream.fileno()] = stream
            poll.register(stream, select.EPOLLIN | select.EPOLLHUP)
        for descriptor, _ in poll.poll():
            crowd.pop(descriptor).close()


def reviews(address, beside):
    """Reviews as the API server sends them are answered in time, large or not."""
    slowest = 0
    for size in (3_000_000, 1_000, 3_000_000, 1_000, 3_000_000):
        began = time.monotonic()
        try:
            response = webhook.post(address, webhook.review(size=size), timeout=10)
            outcome = "patched" if response.get("patch") else str(response)[:200]
        except OSError as error:
            outcome = repr(error)
        took = time.monotonic() - began
        slowest = max(slowest, took)
        common.held(outcome == "patched" and took < 2, f"a review of {size} bytes beside {beside}: {outcome} in {took:.2f} s")
    return slowest


def memory(daemon):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) // 1024


directory = common.directory()
with webhook.serve(directory) as (daemon, address):
    slow = common.Attacker(USER, stalled, address)
    time.sleep(1)
    reviews(address, f"{STALLED} stalled clients")
    # Only root may raise a low limit of open files.
    crowd = common.Attacker(os.getuid(), silent, address)
    time.sleep(2)
    reviews(address, f"{STALLED} stalled and {SILENT} silent clients")
    slow.stop()
    reviews(address, f"{SILENT} silent clients")
    crowd.stop()
    common.held(memory(daemon) < 96, f"less than 96 MiB of memory: {memory(daemon)} MiB")
common.remove(directory)
