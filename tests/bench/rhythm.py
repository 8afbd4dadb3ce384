"""rhythm.py SOCKET IMAGE DAEMON-PID ROOT CONTAINERS LIVE DAY: what a kubelet does all day, by a gRPC client that is not
ours; prints what it measured beside the targets. Called by tests/bench/rhythm. Exit status 1 when one is missed."""
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import cri  # noqa: E402

SOCKET, IMAGE, DAEMON, ROOT = sys.argv[1:5]
CONTAINERS, LIVE, DAY = int(sys.argv[5]), float(sys.argv[6]), float(sys.argv[7])
CTRS_A_POD, RELISTS_A_DAY, STATS_A_DAY, PODS_A_DAY = 4, 86400, 8640, 1000
NS = {"pid": 1, "network": 2}
LOGS = os.path.join(ROOT, "logs")
missed, failures = [], []
client = cri.Client(SOCKET)


def pod_config(name):
    return {"metadata": {"name": name, "uid": name, "namespace": "rhythm"}, "log_directory": os.path.join(LOGS, name),
            "linux": {"cgroup_parent": "/crisp-bench", "security_context": {"namespace_options": NS}}}


def ctr_config(name):
    return {"metadata": {"name": name}, "image": {"image": IMAGE}, "log_path": name + ".log",
            "command": ["sh", "-c", "while echo a line; do sleep 5; done"], "linux": {"security_context": {"namespace_options": NS}}}


def bring_up(c, name, ctrs):
    pod = c.RunPodSandbox(config=pod_config(name)).pod_sandbox_id
    ids = []
    for i in range(ctrs):
        ids.append(c.CreateContainer(pod_sandbox_id=pod, config=ctr_config("c%d" % i)).container_id)
        c.StartContainer(container_id=ids[-1])
    return pod, ids


class Every:
    """Calls `what` so often until `over`, first after `after` seconds, in a thread of its own with a client of its own;
    keeps how long each took."""

    def __init__(self, over, seconds, what, after=0.0):
        self.took, self.over, self.seconds, self.what, self.after = [], over, seconds, what, after
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        own = cri.Client(SOCKET)
        due = time.perf_counter() + self.after
        i = 0
        while not self.over.wait(max(0, due - time.perf_counter())):
            due += self.seconds
            start = time.perf_counter()
            try:
                self.what(own, i)
            except Exception as e:
                failures.append(repr(e))
            self.took.append((time.perf_counter() - start) * 1e3)
            i += 1
        own.close()


def cpu_seconds():
    with open("/proc/%s/stat" % DAEMON) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kb():
    with open("/proc/%s/status" % DAEMON) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def descriptors():
    return len(os.listdir("/proc/%s/fd" % DAEMON))


def journals():
    return max(os.path.getsize(os.path.join(ROOT, "pods", p, "journal")) for p in pods)


def relist(c, _):
    c.raw("ListPodSandbox")
    c.raw("ListContainers")


def stats(c, _):
    c.raw("ListContainerStats")
    c.raw("ImageFsInfo")


def row(what, have, target, good=None):
    if good is False:
        missed.append(what)
    print("%-58s %14s %14s %8s" % (what, have, target, "" if good is None else "met" if good else "MISSED"), flush=True)


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(len(values) * p))]


def probe(c, i):
    assert c.ExecSync(container_id=all_ctrs[i % len(all_ctrs)][1], cmd=["true"]).exit_code == 0


def rotate(c, i):
    name, ctr = all_ctrs[i % len(all_ctrs)]
    path = os.path.join(LOGS, name)
    os.rename(path, path + ".1")
    c.ReopenContainerLog(container_id=ctr)
    assert os.path.exists(path)


def subscribe(over):
    call = client.stream("GetContainerEvents", timeout=100000)

    def run():
        try:
            for event in call:
                seen.append(event.container_event_type)
        except Exception as e:
            if not over.is_set():
                failures.append(repr(e))
    thread = threading.Thread(target=run)
    thread.start()
    return call, thread


pods, all_ctrs, seen = [], [], []
for n in range(CONTAINERS // CTRS_A_POD):
    name = "p%d" % n
    pod, ids = bring_up(client, name, CTRS_A_POD)
    pods.append(pod)
    all_ctrs += [("%s/c%d.log" % (name, i), ctr) for i, ctr in enumerate(ids)]

def live(seconds, phases):
    """As it is: one kubelet, in real time, for so long. A probe of each second begins at each of the phases. Returns how long
    the relists took, crispd's share of a core in percent, and how many probes there were."""
    over = threading.Event()
    cpu, began = cpu_seconds(), time.time()
    lister = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "relist.py"), SOCKET, "1"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    others = [Every(over, 10, stats), Every(over, 1, rotate), Every(over, 5, lambda c, i: c.Status())]
    probes = [Every(over, 1, lambda c, i, k=k: probe(c, len(phases) * i + k), after) for k, after in enumerate(phases)]
    time.sleep(seconds)
    share = 100 * (cpu_seconds() - cpu) / (time.time() - began)
    over.set()
    lists = json.loads(lister.communicate()[0])
    for e in [*others, *probes]:
        e.thread.join()
    return lists, share, sum(len(p.took) for p in probes)


done = threading.Event()
events, reader = subscribe(done)
# A kubelet has a clock for each probe, which begins with its container or, after a restart, at a random moment.
dice = random.Random(1)
lists, share, n_probes = live(LIVE, [dice.random() for _ in range(20)])
p99 = percentile(lists, 0.99)
row("relist with %d containers, ms: median, 99th percentile" % CONTAINERS, "%.2f, %.2f" % (statistics.median(lists), p99), "< 10", p99 < 10)
row("crispd's share of a core, %", "%.2f" % share, "< 2", share < 2)
row("exec probes a second", "%.1f" % (n_probes / LIVE), "20")
# What is no kubelet's: all its probes four at a time.
lists, share, _ = live(LIVE, [0.2 * (k // 4) for k in range(20)])
row("the same, four probes at a time", "%.2f, %.2f" % (statistics.median(lists), percentile(lists, 0.99)), "")
row("crispd's share then, %", "%.2f" % share, "")

# A day: what a kubelet does by the clock, as much faster; pods that come and go beside it.
over = threading.Event()
came = [0]


def churn(c, i):
    pod, _ = bring_up(c, "day-%d" % i, 1)
    c.StopPodSandbox(pod_sandbox_id=pod)
    c.RemovePodSandbox(pod_sandbox_id=pod)
    came[0] += 1


samples = []
work = [Every(over, DAY / RELISTS_A_DAY, relist), Every(over, DAY / STATS_A_DAY, stats), Every(over, DAY / PODS_A_DAY, churn),
        Every(over, 0.05, probe), Every(over, 0.2, rotate)]
for _ in range(20):
    time.sleep(DAY / 20)
    samples.append((resident_kb(), descriptors(), journals()))
over.set()
for e in work:
    e.thread.join()
done.set()
events.cancel()
reader.join()
# The first tenth warms up: allocator, caches.
early, late = samples[2:7], samples[-5:]
rss, fds = [statistics.median(s[0] for s in part) for part in (early, late)], [max(s[1] for s in part) for part in (early, late)]
row("a day in %d s: relists, statistics, probes" % DAY, "%d, %d, %d" % tuple(len(work[i].took) for i in (0, 1, 3)), "")
row("pods that came and went", came[0], "")
row("events told", len(seen), "> 0", len(seen) > 0)
row("crispd resident, kB: early, late", "%d, %d" % tuple(rss), "+ 5 %", rss[1] <= rss[0] * 1.05 + 64)
row("descriptors: early, late", "%d, %d" % tuple(fds), "+ 8", fds[1] <= fds[0] + 8)
row("the largest journal, bytes", samples[-1][2], "<= 1 MiB", samples[-1][2] <= (1 << 20) + (64 << 10))
row("calls that failed", len(failures), "0", not failures)
print("\n".join(failures[:5]))
for pod in pods:
    client.RemovePodSandbox(pod_sandbox_id=pod)
assert not client.ListContainers().containers
sys.exit(1 if missed else 0)
