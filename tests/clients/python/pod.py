"""The job of a pod: it asks for credentials and reads their file five times a second, and says whose they are.

Every line of its output is `ask NUMBER kept=… fresh=… file=…`, with the AccessKey ID of what was got, or the error: from the
default chain of alibabacloud_credentials, kept from the start and made anew, and from the file. At SIGTERM it waits for a
while, as a job that writes its last checkpoint does, and asks once more, `last NUMBER …`.
"""

import itertools
import json
import signal
import threading

from alibabacloud_credentials.client import Client

FILE = "/mnt/.alibabacloud/credentials"


def main():
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    kept = Client()
    for number in itertools.count(1):
        say("ask", number, kept)
        if stop.wait(0.2):
            break
    threading.Event().wait(3)
    say("last", number + 1, kept)


def say(what, number, kept):
    got = {
        "kept": got_from(lambda: kept.get_credential().get_access_key_id()),
        "fresh": got_from(lambda: Client().get_credential().get_access_key_id()),
        "file": got_from(read),
    }
    print(what, number, *(f"{way}={value}" for way, value in got.items()), flush=True)


def read():
    with open(FILE) as file:
        return json.load(file)["AccessKeyId"]


def got_from(way):
    try:
        return way()
    except Exception as error:
        return type(error).__name__


main()
