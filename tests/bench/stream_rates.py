"""stream_rates.py SOCKET IMAGE SPDY-CLIENT EXECS MB [COMMAND...]: streaming through any CRI runtime's socket; prints one JSON
object. COMMAND is the bare runtime's exec, to which the container's id and `true` are added; it takes turns with the
socket. Called by tests/bench/stream."""
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

socket, image, spdy, execs, mb = sys.argv[1:6]
bare, execs = sys.argv[6:], int(execs)
client = cri.Client(socket)
with net.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
security = {"security_context": {"namespace_options": {"network": "NODE", "pid": "CONTAINER"}}}
config = {"metadata": {"name": "stream", "uid": "stream", "namespace": "bench", "attempt": 0}, "linux": dict(security, cgroup_parent="/crisp-bench")}
pod = client.RunPodSandbox(config=config).pod_sandbox_id
# Also when a peer fails on the way.
atexit.register(lambda: (client.StopPodSandbox(pod_sandbox_id=pod), client.RemovePodSandbox(pod_sandbox_id=pod)))


def container(name, *command):
    i = client.CreateContainer(pod_sandbox_id=pod, sandbox_config=config, config={
        "metadata": {"name": name}, "image": {"image": image}, "command": list(command), "linux": security}).container_id
    client.StartContainer(container_id=i)
    return i


def exec_url(*cmd, **kinds):
    return client.Exec(container_id=main, cmd=list(cmd), **kinds).url


def streamed():
    """As kubectl does it: ask for the URL, connect, open the streams, wait for the status."""
    c = streams.Spdy(exec_url("true", stdout=True), "v4.channel.k8s.io")
    error, out = c.open(streamtype="error", wait=False), c.open(streamtype="stdout", wait=False)
    c.wait(error, out)
    assert json.loads(c.data(error))["status"] == "Success"
    c.close()


def rate(args):
    return max(float(subprocess.run([spdy, *args()], check=True, stdout=subprocess.PIPE).stdout) for _ in range(3))


main = container("main", "sleep", "10000")
server = subprocess.Popen([spdy, "serve", str(port)], stdout=subprocess.PIPE)
atexit.register(server.kill)
assert server.stdout.readline() == b"ready\n"
runs = {"sync_ms": lambda: client.ExecSync(container_id=main, cmd=["true"], timeout=20), "stream_ms": streamed}
if bare:
    runs["bare_ms"] = lambda: subprocess.run([*bare, main, "true"], check=True)
took = {k: [] for k in runs}
for i in range(execs + 3):
    for k, run in runs.items():
        start = time.perf_counter()
        run()
        if i >= 3:
            took[k].append((time.perf_counter() - start) * 1e3)
out = {k: round(statistics.median(v), 2) for k, v in took.items()}
out["stdin"] = rate(lambda: ("sink", exec_url("sh", "-c", "cat >/dev/null", stdin=True, stdout=True), mb))
# (busybox's head goes byte by byte)
out["stdout"] = rate(lambda: ("source", exec_url("sh", "-c", "dd if=/dev/zero bs=1048576 count=%s 2>/dev/null" % mb, stdout=True)))
out["forward"] = rate(lambda: ("echo", client.PortForward(pod_sandbox_id=pod, port=[port]).url, str(port), mb))
print(json.dumps(out))
