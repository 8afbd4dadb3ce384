#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rpc_case.py SOCKET CASE [ARG...]: streams, events and statistics from a client that is not ours. Ends with status 0
when the case holds. `records ROOT N KIB` writes N pods of KIB kilobytes each below ROOT instead of calling anybody."""
import json
import os
import sys
import threading
import time

import grpc

import cri

SOCK, CASE, ARGS = sys.argv[1], sys.argv[2], sys.argv[3:]
client = cri.Client(SOCK)
IMAGE = os.environ.get("IMAGE", "")
CODE = grpc.StatusCode


def pod_config(name=CASE, **more):
    return {"metadata": {"name": name, "namespace": "default", "uid": "uid-" + name, "attempt": 1}, "hostname": "h",
            "log_directory": os.environ["CRISP_TMP"] + "/logs/" + name, "linux": {"cgroup_parent": "/crisp-test/" + name}, **more}


def ctr_config(*command, name="c", **more):
    return {"metadata": {"name": name}, "image": {"image": IMAGE}, "command": list(command), "log_path": name + ".log", **more}


def run_pod(name=CASE, **more):
    return client.RunPodSandbox(config=pod_config(name, **more), runtime_handler=os.environ.get("HANDLER", "")).pod_sandbox_id


def create_ctr(pod, *command, name="c", **more):
    return client.CreateContainer(pod_sandbox_id=pod, config=ctr_config(*command, name=name, **more)).container_id


def run_ctr(pod, *command, name="c", **more):
    ctr = create_ctr(pod, *command, name=name, **more)
    client.StartContainer(container_id=ctr)
    return ctr


def remove(pod):
    client.StopPodSandbox(pod_sandbox_id=pod)
    client.RemovePodSandbox(pod_sandbox_id=pod)


def stream(name, field, timeout=60, slow=0.0, **fields):
    """The messages of a Stream* call, each as (bytes, list)."""
    out = []
    for m in client.stream(name, timeout=timeout, **fields):
        out.append((m.ByteSize(), list(getattr(m, field))))
        time.sleep(slow)
    return out


def records():
    root, n, kib = ARGS[0], int(ARGS[1]), int(ARGS[2])
    for i in range(n):
        pod = "%064x" % (i + 1)
        path = "%s/pods/%s" % (root, pod)
        os.makedirs(path)
        config = {"metadata": {"name": "p%d" % i, "namespace": "n", "uid": "u%d" % i}, "labels": {"half": str(i % 2)},
                  "annotations": {"big": "x" * (kib << 10)}}
        state = {"version": 1, "id": pod, "state": "notready", "origin": "cri", "created_at": 1 + i, "complete": True}
        for file, what in ("pod.json", config), ("state.json", state):
            with open(path + "/" + file, "w") as f:
                json.dump(what, f)


def rss_kib(pid):
    with open("/proc/%s/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def long_list():
    """Each of N records once, in messages of at most 1 MiB, while the daemon does not hold the whole answer."""
    n, pid = int(ARGS[0]), ARGS[1]
    before = rss_kib(pid)
    call = client.stream("StreamPodSandboxes")
    seen, peak, sizes = [], 0, []
    for m in call:
        sizes.append(m.ByteSize())
        seen += [p.id for p in m.pod_sandboxes]
        if len(sizes) < 12:
            time.sleep(0.1)
        peak = max(peak, rss_kib(pid))
    print(len(sizes), "messages,", sum(sizes) >> 20, "MiB, daemon", before, "->", peak, "KiB")
    assert len(seen) == n and len(set(seen)) == n, (len(seen), len(set(seen)))
    assert len(sizes) > 12 and max(sizes) <= 1 << 20 and min(sizes) > 0
    if before > 100 << 10:
        print("memory is not judged: a sanitizer takes its own")
    else:
        assert peak - before < 8 << 10, peak - before
    half = [p for _, ps in stream("StreamPodSandboxes", "pod_sandboxes", filter={"label_selector": {"half": "1"}}) for p in ps]
    assert len(half) == n // 2 and all(p.labels["half"] == "1" for p in half)
    # One message is larger than the client takes in a unary answer.
    try:
        client.ListPodSandbox()
        raise AssertionError("the list is larger than an answer may be")
    except grpc.RpcError as e:
        assert e.code() == CODE.RESOURCE_EXHAUSTED, e
    # Given up in the middle: nothing happens.
    call = client.stream("StreamPodSandboxes")
    next(call)
    call.cancel()
    assert client.Version().version


def same_lists():
    """The streams say what the lists say."""
    pod = run_pod(labels={"a": "1"})
    ctrs = {run_ctr(pod, "sleep", "1000", name=n, labels={"n": n}) for n in ("x", "y")}
    pods = [p for _, ps in stream("StreamPodSandboxes", "pod_sandboxes") for p in ps]
    assert pods == list(client.ListPodSandbox().items) and pod in [p.id for p in pods]
    got = [k for _, ks in stream("StreamContainers", "containers") for k in ks]
    assert got == list(client.ListContainers().containers) and ctrs <= {k.id for k in got}
    got = [k for _, ks in stream("StreamContainers", "containers", filter={"label_selector": {"n": "x"}}) for k in ks]
    assert len(got) == 1 and got[0].labels["n"] == "x"
    images = [i for _, xs in stream("StreamImages", "images") for i in xs]
    assert images == list(client.ListImages().images) and images
    assert stream("StreamImages", "images", filter={"image": {"image": "none.example/x:1"}}) == []
    stats = [s for _, xs in stream("StreamContainerStats", "container_stats", filter={"pod_sandbox_id": pod}) for s in xs]
    assert {s.attributes.id for s in stats} == ctrs and all(s.memory.usage_bytes.value > 0 for s in stats)
    remove(pod)
    assert stream("StreamContainers", "containers", filter={"pod_sandbox_id": pod}) == []


def cgroup(kind, path, name):
    """A file of a cgroup of ours, of version 1 or 2."""
    for base in "/sys/fs/cgroup/" + kind, "/sys/fs/cgroup":
        file = "%s/%s/%s" % (base, path, name)
        if os.path.exists(file):
            with open(file) as f:
                return f.read()
    return ""


def pod_stats():
    """What the statistics say is what the container does."""
    pod = run_pod(labels={"a": "1"})
    busy = run_ctr(pod, "sh", "-c", "while :; do :; done", name="busy", linux={"resources": {"memory_limit_in_bytes": 64 << 20}})
    idle = run_ctr(pod, "sh", "-c", "sleep 1000 & sleep 1000 & wait", name="idle")
    # The start of a shell and its two children is no part of what is compared: on a loaded machine it is much.
    deadline = time.monotonic() + 60
    while (first := client.PodSandboxStats(pod_sandbox_id=pod).stats).linux.process.process_count.value < 4:
        assert time.monotonic() < deadline, first
        time.sleep(0.05)
    time.sleep(1.5)
    s = client.PodSandboxStats(pod_sandbox_id=pod).stats
    assert s.attributes.id == pod and s.attributes.metadata.name == CASE and s.attributes.labels["a"] == "1"
    l = s.linux
    used = l.cpu.usage_core_nano_seconds.value - first.linux.cpu.usage_core_nano_seconds.value
    wall = l.cpu.timestamp - first.linux.cpu.timestamp
    print("cpu", used / wall, l.cpu.usage_nano_cores.value / 1e9)
    assert used > 0.01 * wall and abs(used / wall - l.cpu.usage_nano_cores.value / 1e9) < 0.1
    ctrs = {c.attributes.id: c for c in l.containers}
    assert set(ctrs) == {busy, idle}
    rates = [ctrs[c].cpu.usage_nano_cores.value for c in (busy, idle)]
    assert rates[0] > 10 * rates[1], rates
    m = ctrs[busy].memory
    assert 0 < m.working_set_bytes.value <= m.usage_bytes.value < 64 << 20 and m.rss_bytes.value > 0 and m.page_faults.value > 0
    assert m.available_bytes.value == (64 << 20) - m.working_set_bytes.value
    assert not ctrs[idle].memory.HasField("available_bytes")
    assert ctrs[idle].HasField("swap") and ctrs[idle].swap.swap_usage_bytes.value == 0
    assert l.memory.usage_bytes.value >= m.usage_bytes.value and l.memory.working_set_bytes.value > 0
    assert l.process.process_count.value == 4, l.process
    # The network of the pod, by what is sent from it.
    eth = l.network.default_interface
    assert eth.name == "eth0" and not l.network.interfaces, l.network
    client.ExecSync(container_id=idle, cmd=["ping", "-c", "1", "-s", "5000", "-w", "1", ARGS[0]])
    after = client.PodSandboxStats(pod_sandbox_id=pod).stats.linux.network.default_interface
    assert after.tx_bytes.value >= eth.tx_bytes.value + 5000 and after.rx_bytes.value > eth.rx_bytes.value + 5000, (eth, after)
    got = [x for _, xs in stream("StreamPodSandboxStats", "pod_sandbox_stats", filter={"id": pod}) for x in xs]
    assert [x.attributes.id for x in got] == [pod] and len(got[0].linux.containers) == 2
    assert [x.attributes.id for x in client.ListPodSandboxStats(filter={"label_selector": {"a": "1"}}).stats] == [pod]
    assert not client.ListPodSandboxStats(filter={"label_selector": {"a": "2"}}).stats
    client.StopPodSandbox(pod_sandbox_id=pod)
    s = client.PodSandboxStats(pod_sandbox_id=pod).stats
    assert s.attributes.id == pod and not s.linux.HasField("cpu")
    assert not client.ListPodSandboxStats().stats
    remove(pod)
    try:
        client.PodSandboxStats(pod_sandbox_id=pod)
        raise AssertionError("it is gone")
    except grpc.RpcError as e:
        assert e.code() == CODE.NOT_FOUND


def writable_layer():
    """Its size comes from a walk that nobody waits for."""
    pod = run_pod()
    ctr = run_ctr(pod, "sh", "-c", "dd if=/dev/zero of=/tmp/big bs=1024 count=3000 2>/dev/null; ln /tmp/big /tmp/same; mkdir /d; sleep 1000")
    while client.ExecSync(container_id=ctr, cmd=["ls", "/d"]).exit_code != 0:
        time.sleep(0.05)
    end = time.time() + 10
    while True:
        w = client.ContainerStats(container_id=ctr).stats.writable_layer
        if w.HasField("used_bytes"):
            break
        assert time.time() < end
        time.sleep(0.05)
    print(w)
    assert 3000 << 10 <= w.used_bytes.value < 3300 << 10 and 4 <= w.inodes_used.value < 20
    assert w.fs_id.mountpoint and w.timestamp > 1e18
    time.sleep(0.3)
    again = client.ContainerStats(container_id=ctr).stats.writable_layer
    assert again.timestamp == w.timestamp, "walked again"
    remove(pod)


def metrics():
    """Every metric has its descriptor and as many labels; the values are what the kernel says."""
    descriptors = {d.name: d for d in client.ListMetricDescriptors().descriptors}
    assert len(descriptors) == 54 and all(d.help and len(d.label_keys) >= 6 for d in descriptors.values())
    pod = run_pod()
    ctr = run_ctr(pod, "sh", "-c", "head -c 1000000 /dev/zero >/tmp/f; sleep 1000 & exec nc -l -p 99",
                  linux={"resources": {"memory_limit_in_bytes": 32 << 20, "cpu_period": 50000, "cpu_quota": 25000, "cpu_shares": 512}})
    client.RunPodSandbox(config=pod_config(CASE + "-empty"))
    time.sleep(0.5)
    client.ListPodSandboxMetrics()  # asks for the layer's size
    time.sleep(1)
    all_pods = {m.pod_sandbox_id: m for m in client.ListPodSandboxMetrics().pod_metrics}
    assert len(all_pods) == 2
    m = all_pods[pod]
    assert [k.container_id for k in m.container_metrics] == [ctr]
    for one in list(m.metrics) + list(m.container_metrics[0].metrics):
        d = descriptors[one.name]
        assert len(one.label_values) == len(d.label_keys), one
        labels = dict(zip(d.label_keys, one.label_values))
        assert labels["pod"] == CASE and labels["namespace"] == "default", labels
    mine = {}
    for one in m.container_metrics[0].metrics:
        mine.setdefault(one.name, []).append(one)
        labels = dict(zip(descriptors[one.name].label_keys, one.label_values))
        assert labels["container"] == "c" and labels["name"] == ctr and ctr in labels["id"] and labels["image"] == IMAGE, labels

    def value(name):
        return mine["container_" + name][0].value.value

    assert value("spec_memory_limit_bytes") == 32 << 20 and value("spec_cpu_period") == 50000
    assert value("spec_cpu_quota") == 25000 and abs(value("spec_cpu_shares") - 512) <= 14
    assert value("processes") == 2 and value("threads") == 2 and value("sockets") == 1 and value("file_descriptors") >= 4
    assert 0 < value("memory_working_set_bytes") <= value("memory_usage_bytes") <= value("memory_max_usage_bytes")
    assert abs(value("start_time_seconds") - time.time()) < 60 and abs(value("last_seen") - time.time()) < 60
    assert 1000000 <= value("fs_usage_bytes") < 1300000 and value("fs_limit_bytes") > 1 << 20 and value("ulimits_soft") > 0
    assert len(mine["container_memory_failures_total"]) == 4
    net = [x for x in m.metrics if x.name == "container_network_receive_bytes_total"]
    assert len(net) == 1 and net[0].label_values[-1] == "eth0" and net[0].value.value > 0
    have = {x.name for x in m.metrics} | set(mine)
    print("without a value here:", sorted(set(descriptors) - have))
    assert len(have) >= 43
    counters = {x.name for x in m.container_metrics[0].metrics if x.metric_type == 0}
    assert counters == {x for x in mine if x.endswith(("_total", "failcnt")) and x != "container_fs_inodes_total"}, counters
    got = [x for _, xs in stream("StreamPodSandboxMetrics", "pod_sandbox_metrics") for x in xs]
    assert {x.pod_sandbox_id for x in got} == set(all_pods)
    for p in all_pods:
        remove(p)
    assert not client.ListPodSandboxMetrics().pod_metrics


def fails(code, call, *texts):
    try:
        call()
    except grpc.RpcError as e:
        print(e.code(), e.details())
        assert e.code() == code and all(t in e.details() for t in texts), e
        return
    raise AssertionError("no error")


def update():
    """In-place resize: the kernel has the limits, and the status tells them."""
    pod = run_pod()
    path = "crisp-test/" + CASE + "/"
    ctr = run_ctr(pod, "sleep", "1000", linux={"resources": {"memory_limit_in_bytes": 64 << 20, "cpu_shares": 512, "oom_score_adj": 500}})
    client.UpdateContainerResources(container_id=ctr, linux={
        "cpu_period": 50000, "cpu_quota": 20000, "memory_limit_in_bytes": 128 << 20, "memory_swap_limit_in_bytes": 128 << 20, "oom_score_adj": 900,
        "hugepage_limits": [{"page_size": "2MB", "limit": 0}, {"page_size": "1GB", "limit": 0}]})
    v1 = os.path.isdir("/sys/fs/cgroup/memory")
    if v1:
        assert cgroup("memory", path + ctr, "memory.limit_in_bytes").strip() == str(128 << 20)
        assert cgroup("cpu", path + ctr, "cpu.cfs_quota_us").strip() == "20000" and cgroup("cpu", path + ctr, "cpu.shares").strip() == "512"
    else:
        assert cgroup("", path + ctr, "memory.max").strip() == str(128 << 20) and cgroup("", path + ctr, "cpu.max").split() == ["20000", "50000"]
    r = client.ContainerStatus(container_id=ctr).status.resources.linux
    assert (r.cpu_period, r.cpu_quota, r.cpu_shares, r.memory_limit_in_bytes) == (50000, 20000, 512, 128 << 20) and r.oom_score_adj == 500, r
    # All or nothing: the second of these cannot be applied.
    fails(CODE.INTERNAL, lambda: client.UpdateContainerResources(container_id=ctr, linux={"cpu_quota": 30000, "cpuset_cpus": "900"}))
    r = client.ContainerStatus(container_id=ctr).status.resources.linux
    assert r.cpu_quota == 20000 and r.cpuset_cpus == "", r
    quota = cgroup("cpu", path + ctr, "cpu.cfs_quota_us") or cgroup("", path + ctr, "cpu.max").split()[0]
    assert quota.strip() == "20000", quota
    fails(CODE.INVALID_ARGUMENT, lambda: client.UpdateContainerResources(container_id=ctr, linux={"cpu_period": 1}))
    # Up and down, memory and swap together.
    for mib in 256, 96, 128:
        client.UpdateContainerResources(container_id=ctr, linux={"memory_limit_in_bytes": mib << 20, "memory_swap_limit_in_bytes": mib << 20})
        limit = cgroup("memory", path + ctr, "memory.limit_in_bytes") or cgroup("", path + ctr, "memory.max")
        assert limit.strip() == str(mib << 20), limit
    # No limit, as kubelets say it.
    client.UpdateContainerResources(container_id=ctr, linux={"cpu_quota": -1, "memory_limit_in_bytes": 9223372036854771712})
    quota = cgroup("cpu", path + ctr, "cpu.cfs_quota_us") or cgroup("", path + ctr, "cpu.max").split()[0]
    assert quota.strip() in ("-1", "max"), quota
    limit = cgroup("memory", path + ctr, "memory.limit_in_bytes") or cgroup("", path + ctr, "memory.max")
    assert limit.strip() == "max" or int(limit) > 1 << 60, limit
    assert not client.ContainerStats(container_id=ctr).stats.memory.HasField("available_bytes")
    assert client.ContainerStatus(container_id=ctr).status.resources.linux.cpu_quota == -1
    # Many at once on one container: each succeeds.
    calls = [client.future("UpdateContainerResources", container_id=ctr, linux={"cpu_shares": 100 + i % 3}) for i in range(8)]
    for call in calls:
        call.result()
    assert client.ContainerStatus(container_id=ctr).status.resources.linux.cpu_shares in (100, 101, 102)
    client.StopContainer(container_id=ctr, timeout=0)
    fails(CODE.FAILED_PRECONDITION, lambda: client.UpdateContainerResources(container_id=ctr, linux={"cpu_shares": 5}))
    fails(CODE.NOT_FOUND, lambda: client.UpdateContainerResources(container_id="f" * 64, linux={"cpu_shares": 5}))
    client.UpdatePodSandboxResources(pod_sandbox_id=pod, overhead={"memory_limit_in_bytes": 1 << 20}, resources={"cpu_quota": -1})
    client.UpdatePodSandboxResources(pod_sandbox_id=pod, resources={"cpu_shares": 7})
    info = json.loads(client.PodSandboxStatus(pod_sandbox_id=pod, verbose=True).info["info"])
    assert info["config"]["linux"]["resources"] == {"cpu_shares": 7} and info["config"]["linux"]["overhead"] == {"memory_limit_in_bytes": 1 << 20}, info
    fails(CODE.NOT_FOUND, lambda: client.UpdatePodSandboxResources(pod_sandbox_id="f" * 64))
    remove(pod)


class Listener(threading.Thread):
    """Collects (id, type) and the messages of GetContainerEvents."""

    def __init__(self, c=client):
        super().__init__(daemon=True)
        self.messages, self.error = [], None
        self.call = c.stream("GetContainerEvents", timeout=300)
        self.call.initial_metadata()  # it is heard
        self.start()

    def run(self):
        try:
            for m in self.call:
                self.messages.append(m)
        except grpc.RpcError as e:
            self.error = e

    def types(self, which):
        names = cri.pb.DESCRIPTOR.enum_types_by_name["ContainerEventType"].values_by_number
        return [names[m.container_event_type].name.split("_")[1] for m in self.messages if m.container_id == which]

    def wait(self, which, *types, seconds=20):
        end = time.time() + seconds
        while self.types(which) != list(types):
            assert time.time() < end, (which, self.types(which), types)
            time.sleep(0.01)


def life_events():
    l = Listener()
    pod = run_pod(annotations={"x": "y"})
    l.wait(pod, "CREATED", "STARTED")
    m = l.messages[-1]
    assert m.pod_sandbox_status.id == pod and m.pod_sandbox_status.state == 0 and m.pod_sandbox_status.annotations["x"] == "y"
    assert m.pod_sandbox_status.network.ip and m.created_at > 1e18
    ctr = create_ctr(pod, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")
    l.wait(ctr, "CREATED")
    assert [s.id for s in l.messages[-1].containers_statuses] == [ctr] and l.messages[-1].pod_sandbox_status.id == pod
    client.StartContainer(container_id=ctr)
    l.wait(ctr, "CREATED", "STARTED")
    assert l.messages[-1].containers_statuses[0].state == 1
    short = run_ctr(pod, "sh", "-c", "exit 7", name="short")
    l.wait(short, "CREATED", "STARTED", "STOPPED")
    status = {s.id: s for s in l.messages[-1].containers_statuses}
    assert status[short].exit_code == 7 and status[short].state == 2 and status[ctr].state == 1
    client.StopContainer(container_id=ctr, timeout=10)
    l.wait(ctr, "CREATED", "STARTED", "STOPPED")
    client.RemoveContainer(container_id=ctr)
    l.wait(ctr, "CREATED", "STARTED", "STOPPED", "DELETED")
    assert [s.id for s in l.messages[-1].containers_statuses] == [short]
    client.StopPodSandbox(pod_sandbox_id=pod)
    l.wait(pod, "CREATED", "STARTED", "STOPPED")
    client.RemovePodSandbox(pod_sandbox_id=pod)
    l.wait(short, "CREATED", "STARTED", "STOPPED", "DELETED")
    l.wait(pod, "CREATED", "STARTED", "STOPPED", "DELETED")
    assert l.messages[-1].container_id == pod and l.messages[-1].pod_sandbox_status.state == 1
    assert all(m.HasField("pod_sandbox_status") for m in l.messages)
    times = [m.created_at for m in l.messages]
    assert times == sorted(set(times))
    assert l.error is None
    l.call.cancel()


def running_pod_removed():
    """A pod with a running container goes at once: the end of each is told, the pod's last."""
    pod = run_pod()
    ctr = run_ctr(pod, "sleep", "1000")
    l = Listener()
    client.RemovePodSandbox(pod_sandbox_id=pod)
    l.wait(ctr, "STOPPED", "DELETED")
    l.wait(pod, "STOPPED", "DELETED")
    assert l.messages[-1].container_id == pod
    l.call.cancel()


def start_error():
    pod = run_pod()
    l = Listener()
    ctr = create_ctr(pod, "no-such-command")
    l.wait(ctr, "CREATED")
    try:
        client.StartContainer(container_id=ctr)
        raise AssertionError("it started")
    except grpc.RpcError:
        pass
    l.wait(ctr, "CREATED", "STOPPED")
    l.call.cancel()
    remove(pod)


def killed():
    """The container's process dies by another hand."""
    pod = run_pod()
    ctr = run_ctr(pod, "sleep", "1000")
    l = Listener()
    info = json.loads(client.ContainerStatus(container_id=ctr, verbose=True).info["info"])
    os.kill(info["pid"], 9)
    l.wait(ctr, "STOPPED", seconds=5)
    assert l.messages[-1].containers_statuses[0].exit_code == 137
    l.call.cancel()
    remove(pod)


def many_listeners():
    """40 that read, 10 that went, one that does not read: it is dropped, the others get everything."""
    lazy_client = cri.Client(SOCK, options=[("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65535)])
    lazy = lazy_client.stream("GetContainerEvents", timeout=300)
    lazy.initial_metadata()
    good = [Listener() for _ in range(40)]
    for _ in range(10):
        gone = Listener()
        gone.call.cancel()
    pod = run_pod(annotations={"big": "x" * 200_000})
    ctrs = [run_ctr(pod, "true", name="c%d" % i) for i in range(8)]
    for l in good:
        for ctr in ctrs:
            l.wait(ctr, "CREATED", "STARTED", "STOPPED")
    remove(pod)
    for l in good:
        l.wait(pod, "CREATED", "STARTED", "STOPPED", "DELETED")
        assert l.error is None
        assert [m.SerializeToString() for m in l.messages] == [m.SerializeToString() for m in good[0].messages]
    got = 0
    try:
        for _ in lazy:
            got += 1
        raise AssertionError("it ended well")
    except grpc.RpcError as e:
        print(got, "messages, then", e.code(), e.details())
        assert e.code() == CODE.RESOURCE_EXHAUSTED and got < 20, (got, e)
    for l in good:
        l.call.cancel()


def daemon_goes():
    l = Listener()
    os.kill(int(ARGS[0]), 15)
    l.join(10)
    assert l.error is not None and l.error.code() == CODE.UNAVAILABLE, l.error


def ctr_is(ctr, state):
    end = time.monotonic() + 30
    while True:
        status = client.ContainerStatus(container_id=ctr).status
        if cri.pb.ContainerState.Name(status.state) == "CONTAINER_" + state:
            return status
        assert time.monotonic() < end, status
        time.sleep(0.05)


def used(pod, ctr):
    """Of a container: processor and memory, when it has been measured."""
    s = {c.attributes.id: c for c in client.PodSandboxStats(pod_sandbox_id=pod).stats.linux.containers}[ctr]
    return s.cpu.usage_core_nano_seconds.value, s.memory.usage_bytes.value


def handler_begins():
    """A pod of a handler, with what a kubelet does to it; `handler_goes_on` is for the daemon that comes next."""
    pod = run_pod()
    loop = "echo up; while :; do sleep 0.05; done"
    heeds = run_ctr(pod, "sh", "-c", "trap 'echo bye; exit 33' TERM; " + loop, name="heeds", linux={"resources": {"memory_limit_in_bytes": 64 << 20}})
    run_ctr(pod, "sh", "-c", "trap '' TERM; " + loop, name="deaf")
    r = client.ExecSync(container_id=heeds, cmd=["sh", "-c", "echo out; echo err >&2; exit 5"])
    assert (r.exit_code, r.stdout, r.stderr) == (5, b"out\n", b"err\n"), r
    cpu, memory = used(pod, heeds)
    assert cpu > 0 and 0 < memory < 64 << 20, (cpu, memory)
    short = run_ctr(pod, "sh", "-c", "exit 7", name="short")
    assert ctr_is(short, "EXITED").exit_code == 7
    client.RemoveContainer(container_id=short)


def handler_goes_on():
    pod = client.ListPodSandbox().items[0].id
    heeds, deaf = (next(c.id for c in client.ListContainers().containers if c.metadata.name == n) for n in ("heeds", "deaf"))
    ctr_is(heeds, "RUNNING")
    cpu, memory = used(pod, heeds)
    r = client.ExecSync(container_id=heeds, cmd=["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; exit 6"])
    assert r.exit_code == 6 and used(pod, heeds)[0] > cpu, r
    client.UpdateContainerResources(container_id=heeds, linux={"memory_limit_in_bytes": 96 << 20})
    assert client.ContainerStatus(container_id=heeds).status.resources.linux.memory_limit_in_bytes == 96 << 20
    client.StopContainer(container_id=heeds, timeout_=60)
    status = ctr_is(heeds, "EXITED")
    assert status.exit_code == 33, status
    client.StopContainer(container_id=deaf, timeout_=1)
    status = ctr_is(deaf, "EXITED")
    assert status.exit_code == 137, status
    remove(pod)
    assert not client.ListPodSandbox().items and not client.ListContainers().containers


if __name__ == "__main__":
    globals()[CASE]()
