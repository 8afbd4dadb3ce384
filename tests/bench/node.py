"""node.py ROUNDS COUNTS CONTAINERS NAME=SOCKET=IMAGE=PID=MONITOR...: a node's pods through CRI sockets, by turns, with a client that is
nobody's of them; prints one JSON object, {NAME: {what: median}}. Times in ms from the first call until all run.
node.py fill CONTAINERS RUNTIME: has so many run. node.py ready RUNTIME COMMAND...: starts the daemon, prints the ms until it
answers with a list, and its pid; then removes all.
Called by tests/bench/node."""
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import cri  # noqa: E402

POD, NODE = 0, 2
CTRS_A_POD, READS = 4, 40


def security(network):
    return {"security_context": {"namespace_options": {"pid": 1, "network": network}}}


def processes(name):
    """The pids of that name, as far as the kernel keeps it."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid) as f:
                if f.read().strip() == name[:15]:
                    found.add(pid)
        except OSError:
            pass
    return found


def kilobytes(pid, *fields):
    with open("/proc/%s/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) for line in f if line.split(":")[0] in fields)


class Runtime:
    def __init__(self, text):
        _, socket, self.image, self.pid, self.monitor = text.split("=")
        self.client = cri.Client(socket)
        self.took, self.serial = {}, 0

    def request(self, network):
        self.serial += 1
        name = "node-%d" % self.serial
        return {"metadata": {"name": name, "uid": name, "namespace": "bench", "attempt": 0}, "log_directory": "/tmp",
                "linux": dict(security(network), cgroup_parent="/crisp-bench")}

    def up(self, config, ctrs=1):
        pod = self.client.RunPodSandbox(config=config).pod_sandbox_id
        for i in range(ctrs):
            ctr = self.client.CreateContainer(pod_sandbox_id=pod, sandbox_config=config, config={
                "metadata": {"name": "c%d" % i}, "image": {"image": self.image}, "command": ["sleep", "10000"],
                "linux": security(config["linux"]["security_context"]["namespace_options"]["network"])}).container_id
            self.client.StartContainer(container_id=ctr)
        return pod

    def down(self, pods):
        """As a kubelet does it; no sleep listens to SIGTERM."""
        for ctr in self.client.ListContainers().containers:
            if ctr.pod_sandbox_id in pods:
                self.client.StopContainer(container_id=ctr.id, timeout=0)
        for pod in pods:
            self.client.StopPodSandbox(pod_sandbox_id=pod)
            self.client.RemovePodSandbox(pod_sandbox_id=pod)

    def note(self, what, value):
        self.took.setdefault(what, []).append(value)

    def pods(self, count, network, what):
        configs = [self.request(network) for _ in range(count)]
        start = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            pods = list(pool.map(self.up, configs))
        self.note(what, (time.perf_counter() - start) * 1e3)
        self.down(pods)

    def fill(self, ctrs):
        return [self.up(self.request(NODE), CTRS_A_POD) for _ in range(ctrs // CTRS_A_POD)]

    def reads(self, ctrs):
        before = processes(self.monitor)
        pods = self.fill(ctrs)
        time.sleep(2)  # until what was started has settled
        for name in ("ListContainers", "ListPodSandbox", "ListContainerStats", "ListPodSandboxStats"):
            request, took = self.client.request(name), []
            for _ in range(READS):
                start = time.perf_counter()
                self.client.send(name, request)
                took.append((time.perf_counter() - start) * 1e3)
            self.note("%s with %d containers, ms" % (name, ctrs), statistics.median(took))
        if self.pid:
            self.note("daemon resident, kB", kilobytes(self.pid, "Rss"))
        monitors = processes(self.monitor) - before
        private = sum(kilobytes(p, "Private_Clean", "Private_Dirty") for p in monitors)
        self.note("monitors' private memory a pod of %d, kB" % CTRS_A_POD, private / len(pods))
        self.down(pods)


def compare(rounds, counts, ctrs, runtimes):
    for n in range(rounds + 1):
        for r in runtimes.values():
            if n == 1:
                r.took = {}  # the first round warms up
            for count in counts if n else counts[:1]:
                r.pods(count, POD, "%d pods with a network, ms" % count)
                r.pods(count, NODE, "%d pods on the host's, ms" % count)
    for r in runtimes.values():
        r.reads(ctrs)
    print(json.dumps({name: {k: round(statistics.median(v), 2) for k, v in r.took.items()} for name, r in runtimes.items()}))


def ready(runtime, command):
    start = time.perf_counter()
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            pods = [p.id for p in runtime.client.ListPodSandbox(timeout=5).items]
            break
        except cri.grpc.RpcError:
            runtime.client = cri.Client(sys.argv[2].split("=")[1])
    print("%.0f %d" % ((time.perf_counter() - start) * 1e3, daemon.pid))
    runtime.down(pods)


if sys.argv[1] == "fill":
    Runtime(sys.argv[3]).fill(int(sys.argv[2]))
elif sys.argv[1] == "ready":
    ready(Runtime(sys.argv[2]), sys.argv[3:])
else:
    compare(int(sys.argv[1]), [int(c) for c in sys.argv[2].split()], int(sys.argv[3]),
            {a.split("=")[0]: Runtime(a) for a in sys.argv[4:]})
