"""stream_rates.py SPDY-CLIENT EXECS MB ROUNDS NAME=SOCKET=IMAGE... -- COMMAND...: streaming through CRI sockets, by turns; prints one
JSON object, {NAME: {sync, stream: ms, stdin, stdout, forward: MB/s}, bare: {exec: ms}}. COMMAND is the bare runtime's exec, to
which the id of the first one's container and `true` are added. Called by tests/bench/stream."""
import atexit
import json
import os
import socket as net
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import cri  # noqa: E402
import streams  # noqa: E402

spdy, mb = sys.argv[1], sys.argv[3]
execs, rounds = int(sys.argv[2]), int(sys.argv[4])
split = sys.argv.index("--")
bare = sys.argv[split + 1:]
with net.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
security = {"security_context": {"namespace_options": {"network": "NODE", "pid": "CONTAINER"}}}


class Runtime:
    def __init__(self, socket, image):
        self.client = client = cri.Client(socket)
        config = {"metadata": {"name": "stream", "uid": "stream", "namespace": "bench", "attempt": 0},
                  "linux": dict(security, cgroup_parent="/crisp-bench")}
        self.pod = client.RunPodSandbox(config=config).pod_sandbox_id
        # Also when one fails on the way.
        atexit.register(lambda: (client.StopPodSandbox(pod_sandbox_id=self.pod), client.RemovePodSandbox(pod_sandbox_id=self.pod)))
        self.main = client.CreateContainer(pod_sandbox_id=self.pod, sandbox_config=config, config={
            "metadata": {"name": "main"}, "image": {"image": image}, "command": ["sleep", "10000"], "linux": security}).container_id
        client.StartContainer(container_id=self.main)

    def exec_url(self, *cmd, **kinds):
        return self.client.Exec(container_id=self.main, cmd=list(cmd), **kinds).url

    def sync(self):
        self.client.ExecSync(container_id=self.main, cmd=["true"], timeout=20)

    def stream(self):
        """As kubectl does it: ask for the URL, connect, open the streams, wait for the status."""
        c = streams.Spdy(self.exec_url("true", stdout=True), "v4.channel.k8s.io")
        error, out = c.open(streamtype="error", wait=False), c.open(streamtype="stdout", wait=False)
        c.wait(error, out)
        assert json.loads(c.data(error))["status"] == "Success"
        c.close()

    # Throughput, as arguments for the client. The shell stays beside cat and dd: containerd closes stdin when nobody in the
    # container holds stdout any more, and `cat >/dev/null` alone, which the shell becomes, holds none.
    def stdin(self):
        return "sink", self.exec_url("sh", "-c", "cat >/dev/null; exit $?", stdin=True, stdout=True), mb

    def stdout(self):  # (busybox's head goes byte by byte)
        return "source", self.exec_url("sh", "-c", "dd if=/dev/zero bs=1048576 count=%s 2>/dev/null; exit $?" % mb, stdout=True)

    def forward(self):
        return "echo", self.client.PortForward(pod_sandbox_id=self.pod, port=[port]).url, str(port), mb


def rate(args):
    return float(subprocess.run([spdy, *args], check=True, stdout=subprocess.PIPE).stdout)


runtimes = {name: Runtime(socket, image) for name, socket, image in (a.split("=", 2) for a in sys.argv[5:split])}
first = next(iter(runtimes.values()))
server = subprocess.Popen([spdy, "serve", str(port)], stdout=subprocess.PIPE)
atexit.register(server.kill)
assert server.stdout.readline() == b"ready\n"
runs = {(name, k): getattr(r, k) for name, r in runtimes.items() for k in ("sync", "stream")}
runs["bare", "exec"] = lambda: subprocess.run([*bare, first.main, "true"], check=True)
took = {k: [] for k in runs}
for i in range(execs + 3):
    for k, run in runs.items():
        start = time.perf_counter()
        run()
        if i >= 3:
            took[k].append((time.perf_counter() - start) * 1e3)
out = {name: {} for name in [*runtimes, "bare"]}
for (name, k), v in took.items():
    out[name][k] = round(statistics.median(v), 2)
for k in ("stdin", "stdout", "forward"):
    for _ in range(rounds):
        for name, r in runtimes.items():
            out[name][k] = max(out[name].get(k, 0), rate(getattr(r, k)()))
print(json.dumps(out))
