"""execs_at_once.py SOCKET CONTAINER N: N commands by ExecSync at once, on one connection as the kubelet's are, of which none can end
before the gate is open; meanwhile lists must be answered, however long that takes. Those that still wait for their turn are
withdrawn then; the answers of the others are right."""
import json
import os
import sys

import cri

LISTS, ANSWERS = 30, 100
socket, ctr, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = cri.Client(socket)
pid = json.loads(client.ContainerStatus(container_id=ctr, verbose=True).info["info"])["pid"]
gate = "/proc/%d/root/gate" % pid
os.mkfifo(gate)
calls = [client.future("ExecSync", container_id=ctr, cmd=["sh", "-c", ": </gate; echo %d; exit %d" % (i, i % 3)], timeout=100) for i in range(n)]
for _ in range(LISTS):
    assert client.ListContainers().containers
assert not any(c.done() for c in calls), [c.result() for c in calls if c.done()]
print("%d lists while all of %d were under way" % (LISTS, n))
# More than crispd runs at a time: so none of them has begun (a runtime killed at its start may leave a mount behind).
for c in calls[ANSWERS:]:
    c.cancel()
opened = os.open(gate, os.O_RDWR)
meanwhile = 0
while not all(c.done() for c in calls[:ANSWERS]):
    assert client.ListContainers().containers
    meanwhile += 1
print("%d lists while commands began and ended" % meanwhile)
for i, c in enumerate(calls[:ANSWERS]):
    r = c.result()
    assert (r.stdout, r.exit_code) == (b"%d\n" % i, i % 3), (i, r)
r = client.ExecSync(container_id=ctr, cmd=["echo", "last"], timeout=60)
assert r.stdout == b"last\n", r
os.close(opened)
os.unlink(gate)
