"""sandbox.py N PARALLEL CONFLIST NAME=SOCKET...: times RunPodSandbox through CRI sockets, by turns, with a gRPC client that is
nobody's of them; prints one JSON object, medians in milliseconds. Called by tests/bench/podnet.

pod       a pod with a network of its own     host      one on the host's network
busy      another of these at once, without a pause before it
remove    StopPodSandbox and RemovePodSandbox of the first
parallel  PARALLEL pods at once, until the last is there
nothing   Version: what a call takes that does nothing

"plugins" is what the plugins of CONFLIST take alone, in the namespace "plain" that is there."""
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import cri  # noqa: E402

n, parallel = int(sys.argv[1]), int(sys.argv[2])
clients = {name: cri.Client(socket) for name, socket in (a.split("=", 1) for a in sys.argv[4:])}
with open(sys.argv[3]) as f:
    conflist = json.load(f)



def config(name, network):
    return {"metadata": {"name": name, "uid": name, "namespace": "bench", "attempt": 0}, "log_directory": "/tmp",
            "linux": {"cgroup_parent": "/crisp-bench",
                      "security_context": {"namespace_options": {"pid": 1, "network": network}}}}


def remove(client, pod):
    client.StopPodSandbox(pod_sandbox_id=pod)
    client.RemovePodSandbox(pod_sandbox_id=pod)


def timed(took, f):
    start = time.perf_counter()
    result = f()
    took.append((time.perf_counter() - start) * 1e3)
    return result


def run(client, took, pod):
    request = client.request("RunPodSandbox", config=pod)
    return cri.pb.RunPodSandboxResponse.FromString(timed(took, lambda: client.send("RunPodSandbox", request))).pod_sandbox_id


def plugins(command):
    """The whole chain, each with what the one before it gave; its own time in ms."""
    sum_ms, prev = 0, None
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND": command, "CNI_CONTAINERID": "plain", "CNI_NETNS": "/run/netns/plain",
           "CNI_IFNAME": "eth0", "CNI_PATH": "/usr/lib/cni"}
    for p in conflist["plugins"]:
        conf = {**p, "name": conflist["name"], "cniVersion": conflist["cniVersion"], **({"prevResult": prev} if prev else {})}
        text = json.dumps(conf).encode()
        start = time.perf_counter()
        done = subprocess.run(["/usr/lib/cni/" + p["type"]], input=text, env=env, stdout=subprocess.PIPE, close_fds=False, check=True)
        sum_ms += (time.perf_counter() - start) * 1e3
        prev = json.loads(done.stdout) if done.stdout else prev
    return sum_ms


alone = []
made = {name: [] for name in clients}
took = {name: {"pod": [], "host": [], "busy": [], "nothing": [], "remove": [], "parallel": []} for name in clients}
for i in range(n + 1):  # nothing is removed between two, which would be paid for by the next
    for name, client in clients.items():
        t = took[name] if i else {k: [] for k in took[name]}  # the first round warms up
        time.sleep(0.02)
        timed(t["nothing"], lambda c=client: c.send("Version", c.request("Version")))
        for kind, pause in ("host", 0.02), ("busy", 0):
            time.sleep(pause)  # of a kubelet that does other things between two pods, or of one in a hurry
            made[name].append(run(client, t[kind], config("%s-%d" % (kind, i), 2)))
for name, client in clients.items():
    for pod in made[name]:
        remove(client, pod)
for i in range(n + 1):
    ms = plugins("ADD")
    plugins("DEL")
    alone += [ms] if i else []
    for name, client in clients.items():
        t = took[name] if i else {k: [] for k in took[name]}
        pod = run(client, t["pod"], config("one", 0))
        timed(t["remove"], lambda c=client, p=pod: remove(c, p))
for name, client in clients.items():
    def together(c=client):
        asked = [c.future("RunPodSandbox", config=config("many-%d" % i, 0)) for i in range(parallel)]
        return [a.result().pod_sandbox_id for a in asked]
    pods = timed(took[name]["parallel"], together) if parallel else []
    for pod in pods:
        remove(client, pod)
print(json.dumps({"plugins": round(statistics.median(alone), 2), **{name: {k: round(statistics.median(v), 2) for k, v in t.items() if v} for name, t in took.items()}}))
