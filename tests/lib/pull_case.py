# SPDX-License-Identifier: Apache-2.0
"""pull_case.py SOCKET REF LOG ROOT: two equal pulls from a registry that holds the layers back. Status tells of the
one transfer; the first client's leaving does not end it, the last one's does, at once and without leftovers."""
import json
import os
import sys
import time

import grpc

import cri

SOCK, REF, LOG, ROOT = sys.argv[1:5]
client = cri.Client(SOCK)


def wait(seconds, what):
    end = time.time() + seconds
    while not what():
        assert time.time() < end, "did not happen within %s s" % seconds
        time.sleep(0.02)


def pulls():
    return json.loads(client.Status(verbose=True).info["pulls"])


assert pulls() == []
first = client.future("PullImage", image={"image": REF})
second = client.future("PullImage", image={"image": REF})
wait(60, lambda: open(LOG).read().count("held") == 3)
wait(60, lambda: len(pulls()) == 1 and [x["state"] for x in pulls()[0]["layers"]] == ["loading"] * 3)
told = pulls()[0]
assert told["reference"].endswith(REF), told
wait(60, lambda: all(0 < x["bytes"] < x["size"] for x in pulls()[0]["layers"]))
first.cancel()
# The other one still waits: an answer to a later call shows that the cancel has been seen.
assert len(pulls()) == 1 and os.path.exists("/proc/%d" % told["pid"])
start = time.time()
second.cancel()
wait(30, lambda: not os.path.exists("/proc/%d" % told["pid"]))
print("ended after %.0f ms" % (1000 * (time.time() - start)))
assert time.time() - start < 30
wait(30, lambda: os.listdir(ROOT + "/tmp") in ([], [".lock"]))
# A deadline does the same.
third = client.future("PullImage", timeout=3, image={"image": REF})
wait(2, lambda: len(pulls()) == 1)
pid = pulls()[0]["pid"]
try:
    third.result()
    raise AssertionError("no error")
except grpc.RpcError as e:
    assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e
wait(30, lambda: not os.path.exists("/proc/%d" % pid))
wait(30, lambda: os.listdir(ROOT + "/tmp") in ([], [".lock"]))
assert pulls() == []
