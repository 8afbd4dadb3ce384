"""turnstile_case.py CONTAINER TMP: `ctrrun exec` at a turnstile, without a daemon: what comes back for which message.
TMP is the container's /tmp."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

ctr, tmp = sys.argv[1:3]
limit = 60


class Keeper:
    def __init__(self):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(limit)
        self.process = subprocess.Popen(["ctrrun", "--turnstile=%d" % theirs.fileno(), "exec"], pass_fds=[theirs.fileno()])
        theirs.close()

    def send(self, *words):
        self.socket.send(b"".join(w.encode() + b"\0" for w in words))

    def run(self, name, *command, options=()):
        self.send(name, "req-" + name, "--collect", *options, ctr, *command)

    def answer(self):
        """(name, line, bytes)"""
        data, fds, _, _ = socket.recv_fds(self.socket, 1 << 16, 1)
        name, line, body = data.split(b"\0", 2)
        for fd in fds:
            with os.fdopen(fd, "rb") as f:
                f.seek(0)
                body = f.read()
        return name.decode(), json.loads(line), body

    def runs(self):
        return children(self.process.pid)


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]


def until(condition):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def only_run(k):
    until(lambda: len(k.runs()) == 1)  # the last one's process may not be gone yet
    return k.runs()[0]


def name_of(pid):
    with open("/proc/%d/comm" % pid) as f:
        return f.read().strip()


def seen(mark):
    """Processes with this word in their command line."""
    found = []
    for p in os.listdir("/proc"):
        try:
            with open("/proc/%s/cmdline" % p, "rb") as f:
                if p.isdigit() and mark.encode() in f.read().split(b"\0"):
                    found.append(int(p))
        except OSError:
            pass
    return found


def started(mark):
    """The command, and no longer the runtime or we ourselves."""
    return [p for p in seen(mark) if name_of(p) == "sleep"]


def test_answers(k):
    k.run("a", "sh", "-c", "cat /tmp/go; echo late; exit 3")  # a pipe nobody has written to
    k.run("b", "sh", "-c", "echo out; echo err >&2")
    name, line, body = k.answer()
    assert (name, body, line["code"], line["stdout"], line["stderr"]) == ("b", b"out\nerr\n", 0, 4, 4), (name, line, body)
    assert name_of(k.process.pid) == "turn:ctrrun", name_of(k.process.pid)
    until(lambda: [name_of(p) for p in k.runs()] == ["ctrrun"])  # a process of its own, and the other goes
    k.run("c", "sh", "-c", "echo go >/tmp/go")
    told = {name: (line, body) for name, line, body in (k.answer(), k.answer())}
    assert told["a"][1] == b"go\nlate\n" and told["a"][0]["code"] == 3 and told["c"][0]["code"] == 0, told
    until(lambda: not k.runs())


def test_large(k):
    k.run("large", "sh", "-c", "dd if=/dev/zero bs=1000000 count=20 2>/dev/null; echo x >&2")
    name, line, body = k.answer()
    assert line["stdout"] == 16 << 20 and line["stderr"] == 2 and len(body) == (16 << 20) + 2 and body[-2:] == b"x\n", line
    # 128 MiB are what all together may keep: of twelve with 16 MiB some keep less, and none more than it may.
    for i in range(12):
        k.run(str(i), "sh", "-c", "dd if=/dev/zero bs=1000000 count=17 2>/dev/null; echo >>/tmp/written; until [ -e /tmp/full ]; do sleep 0.2; done")
    until(lambda: len(k.runs()) == 12)
    until(lambda: os.path.exists(tmp + "/written") and os.path.getsize(tmp + "/written") == 12)
    k.run("go", "touch", "/tmp/full")
    lengths = [line["stdout"] for name, line, _ in (k.answer() for _ in range(13)) if name != "go"]
    # What is in the pipes by now may be read when others have let go.
    assert 64 << 20 < sum(lengths) <= (128 << 20) + 12 * (64 << 10) and max(lengths) <= 16 << 20, lengths
    k.run("after", "sh", "-c", "dd if=/dev/zero bs=1000000 count=17 2>/dev/null")
    assert k.answer()[1]["stdout"] == 16 << 20  # they have let go


def test_ends(k):
    k.run("limit", "sleep", "71001", options=("--timeout", "1"))
    name, line, _ = k.answer()
    assert (name, line["code"], line["exit"]) == ("limit", "TIMEOUT", 124) and not started("71001"), line
    k.run("unwanted", "sleep", "71002")
    until(lambda: started("71002"))
    k.send("unwanted")
    name, line, _ = k.answer()
    assert (name, line["code"], line["exit"]) == ("unwanted", "CANCELLED", 128 + signal.SIGTERM) and not started("71002"), line
    k.run("killed", "sleep", "71003")
    until(lambda: started("71003"))
    os.kill(only_run(k), signal.SIGKILL)
    assert k.answer() == ("killed", {"event": "ended", "exit": 128 + signal.SIGKILL}, b"")
    until(lambda: not started("71003"))  # the monitor has ended it
    k.run("stuck", "sleep", "71004")
    until(lambda: started("71004"))
    os.kill(only_run(k), signal.SIGSTOP)
    k.send("stuck")
    assert k.answer() == ("stuck", {"event": "ended", "exit": 128 + signal.SIGKILL}, b"")
    until(lambda: not started("71004"))
    k.send("nobody")  # whose end is not wanted any more has ended


def test_wrong(k):
    k.send("usage", "req", "--nosuch", ctr, "true")
    assert k.answer() == ("usage", {"event": "ended", "exit": 2}, b"")
    k.send("few", "req")
    assert k.answer() == ("few", {"event": "ended", "exit": 2}, b"")
    k.socket.send(b"no end")
    k.socket.send(b"x" * 30 + b"\0req\0")  # no name of a run is that long
    k.send("gone", "req", "--collect", "0" * 64, "true")
    name, line, _ = k.answer()
    assert (name, line["code"], line["exit"]) == ("gone", "NOT_FOUND", 125), line
    k.run("nothing", "/no/such")
    name, line, _ = k.answer()
    assert (name, line["code"], line["exit"]) == ("nothing", "FAILED", 127), line


def test_configuration(k):
    path = os.environ["CRISP_CONFIG"]
    with open(path) as f:
        good = f.read()
    try:
        with open(path, "w") as f:
            f.write('{ "rot": 1 }')
        k.run("bad", "true")
        name, line, _ = k.answer()
        assert name == "bad" and "rot: unknown key" in line["msg"] and line["exit"] == 6, line
        with open(path, "w") as f:
            f.write(json.dumps(dict(json.loads(good), exec_drain_timeout=1)))
        began = time.monotonic()
        k.run("drain", "sh", "-c", "setsid sleep 73005 & echo x")
        assert k.answer()[2] == b"x\n" and 0.9 < time.monotonic() - began < 20
    finally:
        with open(path, "w") as f:
            f.write(good)


def test_end_of_all(how):
    k = Keeper()
    k.run("last", "sleep", "71006")
    until(lambda: started("71006"))
    run = only_run(k)
    how(k)
    k.process.wait(limit)
    until(lambda: not started("71006") and not os.path.exists("/proc/%d" % run))


keeper = Keeper()
os.mkfifo(tmp + "/go")
for test in (test_answers, test_large, test_ends, test_wrong, test_configuration):
    test(keeper)
    print(test.__name__, flush=True)
keeper.socket.close()
assert keeper.process.wait(limit) == 0
test_end_of_all(lambda k: k.socket.close())
test_end_of_all(lambda k: k.process.kill())
