"""relist.py SOCKET SECONDS: ListPodSandbox and ListContainers so often, until standard input ends; prints the milliseconds
of each relist as JSON. Called by rhythm.py: a process of its own, ahead of others in line for a processor, measures what
the daemon takes and not how long the clock waits for its turn between a kubelet's other threads."""
import json
import os
import select
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import cri  # noqa: E402

os.setpriority(os.PRIO_PROCESS, 0, -15)
client, seconds, took = cri.Client(sys.argv[1]), float(sys.argv[2]), []
requests = [(name, client.request(name)) for name in ("ListPodSandbox", "ListContainers")]
due = time.perf_counter()
while not select.select([sys.stdin], [], [], max(0, due - time.perf_counter()))[0]:
    due += seconds
    start = time.perf_counter()
    for name, request in requests:
        client.send(name, request)
    took.append((time.perf_counter() - start) * 1e3)
print(json.dumps(took))
