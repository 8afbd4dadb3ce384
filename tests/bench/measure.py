"""measure.py SOCKET IMAGE N CONTAINERS DAEMON-PID RUNROOT: measures crispd over its socket with a gRPC client that
is not ours; prints one JSON object. Called by tests/bench/run."""
import concurrent.futures
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import cri  # noqa: E402

socket, image, n, containers, daemon, runroot = sys.argv[1:7]
n, containers = int(n), int(containers)
client = cri.Client(socket)
NS = {"pid": 1}


def pod_config(name):
    return {"metadata": {"name": name, "uid": name, "namespace": "bench", "attempt": 0},
            "linux": {"cgroup_parent": "/crisp-bench", "security_context": {"namespace_options": NS}}}


def ctr_config(name):
    return {"metadata": {"name": name}, "image": {"image": image}, "command": ["/bin/sleep", "600"],
            "linux": {"security_context": {"namespace_options": NS}}}


def timed(f, times):
    took = []
    for i in range(times):
        start = time.perf_counter()
        f(i)
        took.append((time.perf_counter() - start) * 1e3)
    return round(statistics.median(took), 3)


config = pod_config("bench")
pod = client.RunPodSandbox(config=config).pod_sandbox_id


def start(name):
    ctr = client.CreateContainer(pod_sandbox_id=pod, config=ctr_config(name), sandbox_config=config).container_id
    client.StartContainer(container_id=ctr)
    return ctr


up = []


def cycle(i):
    begin = time.perf_counter()
    ctr = start("c%d" % i)
    up.append((time.perf_counter() - begin) * 1e3)
    client.StopContainer(container_id=ctr, timeout=0)
    client.RemoveContainer(container_id=ctr)


def pod_cycle(i):
    p = client.RunPodSandbox(config=pod_config("p%d" % i)).pod_sandbox_id
    client.StopPodSandbox(pod_sandbox_id=p)
    client.RemovePodSandbox(pod_sandbox_id=p)


cycle(-1)
out = {"cycle_ms": timed(cycle, n), "pod_ms": timed(pod_cycle, max(3, n // 4))}
out["start_ms"] = round(statistics.median(up[1:]), 3)


def all_at(many, prefix):
    """So many at a time until all run: seconds."""
    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(many) as pool:
        made = list(pool.map(lambda i: start("%s%d" % (prefix, i)), range(containers)))
    return time.perf_counter() - begin, made


# In turns with the removal of the same, each as the other finds the machine.
out["parallel_s"], ids = all_at(containers, "q")
for i in ids:
    client.StopContainer(container_id=i, timeout=0)
    client.RemoveContainer(container_id=i)
out["serial_s"], ids = all_at(1, "m")
assert len(client.ListContainers().containers) == containers
out["list_ms"] = timed(lambda i: client.raw("ListContainers"), 500)
out["status_ms"] = timed(lambda i: client.raw("ContainerStatus", container_id=ids[0]), 500)
out["exec_ms"] = timed(lambda i: client.ExecSync(container_id=ids[0], cmd=["true"], timeout=10), n)
with open("/proc/%s/status" % daemon) as f:
    out["rss_kb"] = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def private_kb(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) for line in f if line.startswith(("Private_Clean", "Private_Dirty")))


monitors = []
for entry in os.listdir("/proc"):
    if entry.isdigit():
        try:
            with open("/proc/%s/cmdline" % entry, "rb") as f:
                line = f.read()
        except OSError:
            continue
        if b"ctrmon" in line.split(b"\0")[0] and any(i.encode() in line for i in ids):
            monitors.append(private_kb(int(entry)))
assert len(monitors) == containers, "found %d monitors" % len(monitors)
out["monitor_kb"] = max(monitors)
client.RemovePodSandbox(pod_sandbox_id=pod)
print(json.dumps(out))
