"""restart.py ROOT RUNROOT POD CONTAINER COUNT N CRISPD [OTHER]: COUNT running containers as records, made from those of one;
how long crispd reads them, when it answers and what processor time it took, medians of N starts, OTHER by turns with it. Called by tests/bench/restart."""
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

ROOT, RUN, POD, CTR = sys.argv[1:5]
COUNT, N = int(sys.argv[5]), int(sys.argv[6])
DAEMONS = sys.argv[7:]
CTRS_A_POD = 4
SOCKET, LOG = os.path.join(RUN, "crisp.sock"), os.path.join(ROOT, "crispd.log")


def start_time(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rsplit(")", 1)[1].split()[19])


def monitor(path):
    """A process that holds the lock, as ctrmon does, until we end."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    os.close(fd)
    return pid


def copy(kind, source, **changes):
    """Another object with the records of one; returns its id."""
    new = secrets.token_hex(32)
    to = os.path.join(ROOT, kind, new)
    os.makedirs(to)
    for name in os.listdir(os.path.join(ROOT, kind, source)):
        old = os.path.join(ROOT, kind, source, name)
        if name.endswith(".json"):
            shutil.copy(old, to)
    os.makedirs(os.path.join(RUN, kind, new))
    with open(os.path.join(to, "state.json")) as f:
        record = json.load(f)
    record.update(changes, id=new)
    if kind == "containers":
        record["monitor"] = monitor(os.path.join(RUN, kind, new, "monitor.lock"))
        record["monitor_start"] = start_time(record["monitor"])
        monitors.append(record["monitor"])
    with open(os.path.join(to, "state.json"), "w") as f:
        json.dump(record, f)
    copies.append((kind, new))
    return new


def first_in_line():
    """Before whatever else this machine has to do; not what it starts itself."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        pass


def started(daemon):
    """Milliseconds from the start until the socket takes a client, and what reading took by its own word."""
    with open(LOG, "w") as log:
        begin = time.perf_counter()
        p = subprocess.Popen([daemon], stderr=log, preexec_fn=first_in_line)
    s = socket.socket(socket.AF_UNIX)
    while s.connect_ex(SOCKET) != 0:
        time.sleep(0.001)
    ready = (time.perf_counter() - begin) * 1e3
    s.close()
    with open(LOG) as log:
        said = re.search(r"(\d+) pods and (\d+) containers read in ([\d.]+) ms", log.read())
    p.send_signal(signal.SIGTERM)
    used = os.wait4(p.pid, 0)[2]
    p.returncode = 0
    assert int(said[2]) == COUNT + 1, said[0]
    return float(said[3]), ready, (used.ru_utime + used.ru_stime) * 1e3, used.ru_utime * 1e3


copies, monitors = [], []
try:
    for i in range(COUNT):
        if i % CTRS_A_POD == 0:
            pod = copy("pods", POD, sandbox=False)
        copy("containers", CTR, pod_id=pod)
    took = {d: [] for d in DAEMONS}
    for i in range(N + 1):
        for daemon in DAEMONS:
            t = started(daemon)
            if i:  # the first round warms up
                took[daemon].append(t)
finally:
    for pid in monitors:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for kind, name in copies:
        shutil.rmtree(os.path.join(ROOT, kind, name))
        shutil.rmtree(os.path.join(RUN, kind, name))
read, ready, used, user = ({d: statistics.median(t[k] for t in took[d]) for d in DAEMONS} for k in range(4))
ours, other = DAEMONS[0], DAEMONS[1] if len(DAEMONS) > 1 else None
for what, ms, target in (("%d containers read, ms" % COUNT, read, 50), ("from the start until it takes clients, ms", ready, None),
                         ("processor time of the daemon, ms", used, None), ("its own part", user, None)):
    print("%-45s %8.1f   other %8s   ratio %5s   %s" % (
        what, ms[ours], "%.1f" % ms[other] if other else "-", "%.2f" % (ms[ours] / ms[other]) if other else "-",
        "" if target is None else "< %d %s" % (target, "met" if ms[ours] < target else "MISSED")))
sys.exit(0 if read[ours] < 50 else 1)
