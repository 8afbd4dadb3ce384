"""execs_at_once.py SOCKET CONTAINER N: N commands by ExecSync at once, on one connection as the kubelet's are; meanwhile lists
must be answered. All answers that came are right; those that are not there by then are withdrawn, and their commands with
them."""
import sys
import time

import cri

socket, ctr, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = cri.Client(socket)
client.raw("ListContainers")
calls = [client.future("ExecSync", container_id=ctr, cmd=["sh", "-c", "sleep 0.3; echo %d; exit %d" % (i, i % 3)], timeout=60) for i in range(n)]
took = []
while len(took) < 10 or not any(c.done() for c in calls):
    start = time.monotonic()
    assert client.ListContainers().containers
    took.append(time.monotonic() - start)
    time.sleep(0.05)
waiting = sum(not c.done() for c in calls)
print("%d of %d under way, %d lists in %.0f ms at the most" % (waiting, n, len(took), 1000 * max(took)))
assert waiting > n / 2, "they were not at once"
assert max(took) < 2, took
for c in calls[100:]:
    c.cancel()
for i, c in enumerate(calls):
    if not c.cancelled():
        r = c.result()
        assert (r.stdout, r.exit_code) == (b"%d\n" % i, i % 3), (i, r)
r = client.ExecSync(container_id=ctr, cmd=["echo", "last"], timeout=60)
assert r.stdout == b"last\n", r
