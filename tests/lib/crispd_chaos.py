#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""crispd_chaos.py CRISPD CONFIG SOCKET SECONDS: starts the daemon and kills it with SIGKILL every few hundred
milliseconds while pods with a container come and go. Each call is repeated as the kubelet would; all of them have to
succeed in the end, and nothing may be listed afterwards. $IMAGE is in the store."""
import atexit
import os
import random
import signal
import subprocess
import sys
import threading
import time

import grpc

import cri

CRISPD, CONFIG, SOCK, SECONDS = sys.argv[1:5]
BASE = os.path.dirname(CONFIG)
log = open(BASE + "/chaos.log", "ab")
bad, done, stop = [], [], threading.Event()


def start():
    return subprocess.Popen([CRISPD, "--config", CONFIG], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def killer():
    global daemon
    while not stop.wait(random.uniform(0.15, 0.9)):
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        daemon = start()


def retry(name, end, **fields):
    while True:
        client = cri.Client(SOCK, timeout=20)
        try:
            return client.call(name, **fields)
        except grpc.RpcError as e:
            # What the kubelet repeats: everything but an answer that says why not.
            if e.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
                raise
            if time.time() > end:
                raise
            time.sleep(0.05)
        finally:
            client.close()


def life(name):
    end = time.time() + 60
    pod = retry("RunPodSandbox", end, config={"metadata": {"name": name, "namespace": "n", "uid": name}, "hostname": "h",
                                              "log_directory": BASE + "/logs/" + name, "linux": {"cgroup_parent": "/crisp-test/" + name}}).pod_sandbox_id
    ctr = retry("CreateContainer", end, pod_sandbox_id=pod, config={"metadata": {"name": "c"}, "image": {"image": os.environ["IMAGE"]},
                                                                    "command": ["sleep", "1000"], "log_path": "c.log"}).container_id
    try:
        retry("StartContainer", end, container_id=ctr)
    except grpc.RpcError as e:
        # The answer to a start that succeeded was lost; the repeated one is refused.
        if e.code() != grpc.StatusCode.FAILED_PRECONDITION:
            raise
    status = retry("ContainerStatus", end, container_id=ctr).status
    assert status.state == cri.pb.CONTAINER_RUNNING, status
    retry("StopPodSandbox", end, pod_sandbox_id=pod)
    retry("RemovePodSandbox", end, pod_sandbox_id=pod)


def worker(n):
    i = 0
    while not stop.is_set():
        i += 1
        try:
            life("chaos-%d-%d" % (n, i))
            done.append(i)
        except Exception as e:
            bad.append("%d-%d: %r" % (n, i, e))


daemon = start()
atexit.register(lambda: daemon.kill())
threads = [threading.Thread(target=killer)] + [threading.Thread(target=worker, args=(n,)) for n in range(3)]
for t in threads:
    t.start()
time.sleep(float(SECONDS))
stop.set()
for t in threads:
    t.join()
print("%d pods, %d failed" % (len(done), len(bad)))
print("\n".join(bad[:5]))
pods, ctrs = retry("ListPodSandbox", time.time() + 10).items, retry("ListContainers", time.time() + 10).containers
daemon.terminate()
daemon.wait()
assert not bad and len(done) > 2 and not pods and not ctrs, (pods, ctrs)
