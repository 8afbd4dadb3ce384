# SPDX-License-Identifier: Apache-2.0
"""Limits, statistics and ends of containers on cgroup v2, with both drivers and both runtimes."""
import itertools
import json
import os
import signal
import time

from harness import Skip, V2, World, cri, fails, groups_of, grpc, procs_below, read, run, test, unit, wait_for, write

MIB = 1 << 20
DIAGONALS = itertools.cycle(([("cgroupfs", "crun"), ("systemd", "runc")], [("cgroupfs", "runc"), ("systemd", "crun")]))


def cases():
    """Both drivers and both runtimes, in pairs that change from test to test; all four with GUEST_ALL=1."""
    return sum((next(DIAGONALS) for _ in range(2 if os.environ.get("GUEST_ALL") else 1)), [])


worlds = {}


def needs(*controllers):
    missing = set(controllers) - set(read(V2 + "/cgroup.controllers").split())
    if missing:
        raise Skip("this kernel has no %s" % ", ".join(sorted(missing)))


def setup():
    for driver in "cgroupfs", "systemd":
        w = worlds[driver] = World(driver, cgroup_manager=driver)
        w.start()


def teardown():
    for driver, w in worlds.items():
        w.remove_all()
        w.stop()
    run("systemctl", "stop", "kubepods.slice", check=False)
    left = run("systemctl", "list-units", "--all", "--plain", "--no-legend", "crisp*", "podinit*", "kubepods*", "libpod*", "runc*")
    assert not left.strip(), left
    left = [g for g in groups_of("crisp") + groups_of("podinit") + groups_of("kubepods")]
    assert not left, left


def parent_of(driver, name):
    if driver == "systemd":
        return "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%s.slice" % name
    return "/kubepods/burstable/pod%s" % name


def numbers(group, *files):
    return [read("%s/%s" % (group, f)) for f in files]


@test("what is asked for is in the kernel's files, and in the status", *cases())
def resources(driver, runtime):
    w = worlds[driver]
    parent = parent_of(driver, "res" + runtime)
    pod = w.pod(runtime, parent)
    c = w.ctr(pod, "sleep", "1000", resources={
        "memory_limit_in_bytes": 64 * MIB, "memory_swap_limit_in_bytes": 96 * MIB, "cpu_shares": 512,
        "cpu_quota": 20000, "cpu_period": 50000, "hugepage_limits": [{"page_size": "2MB", "limit": 0}],
        "unified": {"memory.high": str(48 * MIB), "memory.low": str(MIB), "pids.max": "77"}})
    g = w.group(c)
    assert g == V2 + parent + "/" + ("crisp-%s.scope" % c if driver == "systemd" else c), g
    inner = w.inner(c)
    got = numbers(inner, "memory.max", "memory.swap.max", "cpu.max", "memory.high", "memory.low", "pids.max")
    assert got == [str(64 * MIB), str(32 * MIB), "20000 50000", str(48 * MIB), str(MIB), "77"], got
    assert read(g + "/cpu.weight") == str(1 + (512 - 2) * 9999 // 262142), read(g + "/cpu.weight")
    r = w.status(c).resources.linux
    assert (r.memory_limit_in_bytes, r.memory_swap_limit_in_bytes, r.cpu_shares, r.cpu_quota, r.cpu_period) == \
        (64 * MIB, 96 * MIB, 512, 20000, 50000), r
    assert dict(r.unified) == {"memory.high": str(48 * MIB), "memory.low": str(MIB), "pids.max": "77"}, r
    # Inside: its own cgroup namespace, whose root it sees read-only.
    code, out, err = w.exec(c, "sh", "-c", "cat /proc/self/cgroup; cat /sys/fs/cgroup/memory.max; echo 1 >/sys/fs/cgroup/pids.max")
    assert code != 0 and "Read-only" in err, (code, out, err)
    assert out.splitlines()[0].startswith("0::/") and c not in out.splitlines()[0], out
    for ns in "cgroup", "pid", "mnt", "ipc":
        assert os.readlink("/proc/self/ns/" + ns) != os.readlink("/proc/%d/ns/%s" % (w.pid(c), ns)), ns
    if driver == "systemd":
        p = unit("crisp-%s.scope" % c, "Slice", "ActiveState", "Delegate")
        assert p == {"Slice": os.path.basename(parent), "ActiveState": "active", "Delegate": "yes"}, p
        # systemd writes its own idea of the limits again.
        run("systemctl", "daemon-reload")
        assert numbers(inner, "memory.max", "memory.swap.max", "cpu.max") == got[:3]
    w.remove(pod)
    assert not groups_of(c)


@test("limits that this kernel has not are refused, and zeros are harmless", *cases())
def refused(driver, runtime):
    w = worlds[driver]
    pod = w.pod(runtime, parent_of(driver, "ref" + runtime))
    controllers = read(V2 + "/cgroup.controllers").split()
    if "hugetlb" not in controllers:
        said = fails(grpc.StatusCode.UNIMPLEMENTED, lambda: w.create(pod, "true", resources={
            "hugepage_limits": [{"page_size": "2MB", "limit": 4 * MIB}]}))
        assert "hugetlb" in said, said
    c = w.ctr(pod, "sleep", "1000")
    if "hugetlb" not in controllers:
        fails(grpc.StatusCode.UNIMPLEMENTED, lambda: w.client.UpdateContainerResources(container_id=c, linux={
            "hugepage_limits": [{"page_size": "2MB", "limit": 4 * MIB}]}))
    fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: w.create(pod, "true", resources={"unified": {"../x.y": "1"}}))
    w.client.UpdateContainerResources(container_id=c, linux={"hugepage_limits": [{"page_size": "2MB", "limit": 0}], "cpu_shares": 300})
    w.remove(pod)


@test("an update is all or nothing, and holds when the daemon is started again", *cases())
def update(driver, runtime):
    w = worlds[driver]
    pod = w.pod(runtime, parent_of(driver, "upd" + runtime))
    c = w.ctr(pod, "sleep", "1000", resources={"memory_limit_in_bytes": 64 * MIB, "memory_swap_limit_in_bytes": 64 * MIB, "cpu_shares": 512})
    g, weight = w.inner(c), w.group(c) + "/cpu.weight"
    assert numbers(g, "memory.max", "memory.swap.max", "cpu.max") == [str(64 * MIB), "0", "max 100000"]
    w.client.UpdateContainerResources(container_id=c, linux={
        "cpu_period": 50000, "cpu_quota": 20000, "memory_limit_in_bytes": 128 * MIB, "memory_swap_limit_in_bytes": 192 * MIB})
    want = [str(128 * MIB), str(64 * MIB), "20000 50000"]
    files = ("memory.max", "memory.swap.max", "cpu.max")
    assert read(weight) == str(1 + (512 - 2) * 9999 // 262142), read(weight)
    assert numbers(g, *files) == want, numbers(g, *files)
    # The last of these cannot be applied.
    fails(grpc.StatusCode.INTERNAL, lambda: w.client.UpdateContainerResources(container_id=c, linux={
        "cpu_quota": 30000, "memory_limit_in_bytes": 150 * MIB, "memory_swap_limit_in_bytes": 150 * MIB, "unified": {"memory.nosuch": "1"}}))
    assert numbers(g, *files) == want, numbers(g, *files)

    def told():
        r = w.status(c).resources.linux
        return (r.memory_limit_in_bytes, r.memory_swap_limit_in_bytes, r.cpu_quota, r.cpu_period, r.cpu_shares, dict(r.unified))
    assert told() == (128 * MIB, 192 * MIB, 20000, 50000, 512, {}), told()
    w.stop()
    w.start()
    assert told() == (128 * MIB, 192 * MIB, 20000, 50000, 512, {}), told()
    if driver == "systemd":
        run("systemctl", "daemon-reload")
    assert numbers(g, *files) == want, numbers(g, *files)
    w.client.UpdateContainerResources(container_id=c, linux={"unified": {"memory.high": str(100 * MIB)}})
    assert read(g + "/memory.high") == str(100 * MIB)
    w.client.UpdateContainerResources(container_id=c, linux={"unified": {"pids.max": "99"}})
    assert told()[5] == {"memory.high": str(100 * MIB), "pids.max": "99"}, told()
    assert numbers(g, "memory.high", "pids.max") == [str(100 * MIB), "99"]
    assert numbers(g, *files) == want, numbers(g, *files)
    # No limit, as kubelets say it.
    w.client.UpdateContainerResources(container_id=c, linux={"cpu_quota": -1, "memory_limit_in_bytes": -1, "memory_swap_limit_in_bytes": -1})
    got = numbers(g, *files)
    assert got[:2] == ["max", "max"] and got[2].startswith("max "), got
    # What was not limited at all is not limited after a failure.
    c = w.ctr(pod, "sleep", "1000")
    g, outer = w.inner(c), w.group(c)

    def limits():
        return numbers(g, "memory.max", "memory.high", "cpu.max", "pids.max") + numbers(outer, "memory.max", "cpu.max", "cpu.weight")
    before = limits()
    fails(grpc.StatusCode.INTERNAL, lambda: w.client.UpdateContainerResources(container_id=c, linux={
        "cpu_shares": 5000, "cpu_quota": 20000, "memory_limit_in_bytes": 64 * MIB,
        "unified": {"memory.high": str(48 * MIB), "pids.max": "77", "memory.nosuch": "1"}}))
    assert limits() == before, (before, limits())
    assert told()[2:] == (0, 0, 0, {}), told()
    w.remove(pod)


@test("cpusets: the kernel's, told, changed, and all or nothing", *cases())
def cpusets(driver, runtime):
    needs("cpuset")
    w = worlds[driver]
    pod = w.pod(runtime, parent_of(driver, "set" + runtime))
    c = w.ctr(pod, "sleep", "1000", resources={"cpuset_cpus": "1", "cpuset_mems": "0", "cpu_shares": 512})
    g, outer = w.inner(c), w.group(c)

    def holds(cpus):
        assert numbers(g, "cpuset.cpus.effective", "cpuset.mems.effective") == [cpus, "0"], numbers(g, "cpuset.cpus.effective")
        seen = w.exec(c, "sh", "-c", "cat /proc/self/status")[1]
        assert "Cpus_allowed_list:\t%s\n" % cpus in seen and "Mems_allowed_list:\t0\n" in seen, seen
        r = w.status(c).resources.linux
        assert (r.cpuset_cpus, r.cpuset_mems) == (cpus, "0"), r
    holds("1")
    weight = read(outer + "/cpu.weight")
    w.client.UpdateContainerResources(container_id=c, linux={"cpuset_cpus": "0"})
    holds("0")
    # As static policies of CPUs do it, beside other limits; and what cannot be is refused whole.
    w.client.UpdateContainerResources(container_id=c, linux={"cpuset_cpus": "0-1", "cpu_quota": 20000, "cpu_period": 50000})
    holds("0-1")
    for bad in {"cpuset_cpus": "1", "unified": {"memory.nosuch": "1"}}, {"cpu_shares": 5000, "cpuset_mems": "900"}:
        fails(grpc.StatusCode.INTERNAL, lambda: w.client.UpdateContainerResources(container_id=c, linux=bad))
        holds("0-1")
        assert (read(g + "/cpu.max"), read(outer + "/cpu.weight")) == ("20000 50000", weight)
    if driver == "systemd":
        run("systemctl", "daemon-reload")
        holds("0-1")
    # Without any at first: what was not limited is not limited after a failure.
    c = w.ctr(pod, "sleep", "1000")
    g, outer = w.inner(c), w.group(c)
    before = numbers(outer, "cpuset.cpus.effective", "cpu.weight", "hugetlb.2MB.max")
    fails(grpc.StatusCode.INTERNAL, lambda: w.client.UpdateContainerResources(container_id=c, linux={
        "cpuset_cpus": "1", "cpu_shares": 5000, "unified": {"memory.nosuch": "1"}}))
    assert numbers(outer, "cpuset.cpus.effective", "cpu.weight", "hugetlb.2MB.max") == before, (before, numbers(outer, "cpuset.cpus.effective"))
    assert read(g + "/cpuset.cpus.effective") == before[0]
    w.remove(pod)


@test("huge pages: as many as are asked for, and none is none", *cases())
def hugepages(driver, runtime):
    needs("hugetlb")
    w = worlds[driver]
    pod = w.pod(runtime, parent_of(driver, "huge" + runtime))
    pages = w.dir + "/pages"
    os.makedirs(pages, exist_ok=True)
    run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", pages)
    try:
        mounts = [{"container_path": "/pages", "host_path": pages}]
        # No kernel has pages of 3 MB.
        zeros = [{"page_size": "1GB", "limit": 0}, {"page_size": "3MB", "limit": 0}]
        c = w.ctr(pod, "sleep", "1000", mounts=mounts, resources={"hugepage_limits": [{"page_size": "2MB", "limit": 4 * MIB}] + zeros})

        def takes(mib):
            code, _, err = w.exec(c, "sh", "-c", "fallocate -l %dm /pages/f && exec true" % mib)
            write(pages + "/f", "")
            return code == 0, err
        assert numbers(w.inner(c), "hugetlb.2MB.max", "hugetlb.1GB.max") == [str(4 * MIB), "0"]
        assert takes(4)[0] and not takes(6)[0]
        told = {h.page_size: h.limit for h in w.status(c).resources.linux.hugepage_limits}
        assert told["2MB"] == 4 * MIB, told
        w.client.UpdateContainerResources(container_id=c, linux={"hugepage_limits": [{"page_size": "2MB", "limit": 6 * MIB}]})
        assert takes(6)[0] and not takes(8)[0]
        w.client.UpdateContainerResources(container_id=c, linux={"hugepage_limits": [{"page_size": "2MB", "limit": 0}]})
        assert not takes(2)[0]
        said = fails(grpc.StatusCode.UNIMPLEMENTED, lambda: w.create(pod, "true", resources={
            "hugepage_limits": [{"page_size": "3MB", "limit": 3 * MIB}]}))
        assert "3MB" in said, said
        # What kubelets send for a container that asks for none.
        c = w.ctr(pod, "sleep", "1000", mounts=mounts, resources={"hugepage_limits": [{"page_size": "2MB", "limit": 0}]})
        assert not takes(2)[0]
    finally:
        w.remove(pod)
        run("umount", pages)


@test("memory that is not there: OOMKilled, 137, also when the group is gone at once", *cases())
def oom(driver, runtime):
    w = worlds[driver]
    pod = w.pod(runtime, parent_of(driver, "oom" + runtime))
    limits = {"memory_limit_in_bytes": 16 * MIB, "memory_swap_limit_in_bytes": 16 * MIB}
    for command in ["tail", "/dev/zero"], ["sh", "-c", "tail /dev/zero; exit 3"]:
        c = w.ctr(pod, *command, resources=limits)
        s = w.wait_exit(c)
        assert s.reason == "OOMKilled", s
        assert s.exit_code == (137 if command[0] == "tail" else 3), s
    # What is killed otherwise is not.
    c = w.ctr(pod, "sleep", "1000", resources=limits)
    os.kill(w.pid(c), signal.SIGKILL)
    s = w.wait_exit(c)
    assert (s.reason, s.exit_code) == ("Error", 137), s
    w.remove(pod)


@test("a stop ends in cgroup.kill: what ignores signals and what hides in groups below", *cases())
def stop(driver, runtime):
    w = worlds[driver]
    # The host's processes, so that the end of the first does not end the rest.
    pod = w.pod(runtime, parent_of(driver, "stop" + runtime), pid="NODE")
    c = w.ctr(pod, "sh", "-c", "trap '' TERM; (trap '' TERM; while :; do sleep 1000; done) & while :; do sleep 1000; done", pid="NODE")
    g = w.group(c)
    procs = wait_for(lambda: (lambda p: p if len(p) >= 4 else None)(procs_below(g)))
    began = time.monotonic()
    w.stop_ctr(c, 1)
    assert time.monotonic() - began >= 0.9
    s = w.status(c)
    assert (s.exit_code, s.reason) == (137, "Error"), s
    wait_for(lambda: not any(os.path.exists("/proc/%d" % p) for p in procs))
    # A frozen one, too.
    c = w.ctr(pod, "sh", "-c", "while :; do sleep 1000; done", pid="NODE")
    g = w.group(c)
    procs = procs_below(g)
    write(g + "/cgroup.freeze", "1")
    w.stop_ctr(c, 0)
    assert w.status(c).exit_code == 137
    wait_for(lambda: not any(os.path.exists("/proc/%d" % p) for p in procs))
    w.remove(pod)


@test("exec is in the container's group, and its time is up for it alone", *cases())
def execs(driver, runtime):
    w = worlds[driver]
    pod = w.pod(runtime, parent_of(driver, "exec" + runtime))
    c = w.ctr(pod, "sleep", "1000", resources={"memory_limit_in_bytes": 64 * MIB})
    g = w.group(c)
    code, out, _ = w.exec(c, "sh", "-c", "cat /proc/self/cgroup")
    assert code == 0 and out.startswith("0::/"), out
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: w.exec(c, "sh", "-c", "sleep 998 & sleep 999", seconds=1))
    wait_for(lambda: procs_below(g) == [w.pid(c)])
    assert w.status(c).state == cri.pb.CONTAINER_RUNNING
    w.remove(pod)


def total(group, what, kind="some"):
    line = next(x for x in read("%s/%s.pressure" % (group, what)).splitlines() if x.startswith(kind))
    return int(line.split("total=")[1])


def pressures(group, messages):
    """PSI is told where the kernel has it, and is what it says."""
    for what, m in zip(("cpu", "memory", "io"), messages):
        assert m.HasField("psi") == os.path.exists("%s/%s.pressure" % (group, what)), (what, m)
        if m.HasField("psi"):
            assert m.psi.Some.Total <= 1000 * total(group, what), (what, m.psi, total(group, what))
            assert m.psi.Full.Total <= m.psi.Some.Total, m.psi


@test("a pod's group is the kubelet's; statistics are what it says", *cases())
def stats(driver, runtime):
    w = worlds[driver]
    parent = parent_of(driver, "stat" + runtime)
    made = V2 + parent
    if driver == "systemd":
        run("busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
            "StartTransientUnit", "ssa(sv)a(sa(sv))", os.path.basename(parent), "replace", "2", "MemoryMax", "t", str(256 * MIB),
            "TasksMax", "t", "500", "0")
        wait_for(lambda: read(made + "/memory.max") == str(256 * MIB))
    else:
        os.makedirs(made, exist_ok=True)
        for d in V2, V2 + "/kubepods", V2 + "/kubepods/burstable":
            write(d + "/cgroup.subtree_control", "+cpu +memory +pids +io")
        write(made + "/memory.max", str(256 * MIB))
    pod = w.pod(runtime, parent, overhead={"memory_limit_in_bytes": 8 * MIB},
                resources={"memory_limit_in_bytes": 248 * MIB, "cpu_shares": 200})
    c = w.ctr(pod, "sh", "-c", "dd if=/dev/zero of=/dev/shm/f bs=1M count=20 2>/dev/null; i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; echo done; sleep 1000",
              name="work", resources={"memory_limit_in_bytes": 64 * MIB, "memory_swap_limit_in_bytes": 80 * MIB, "cpu_shares": 512})
    g = w.inner(c)
    assert g.startswith(made + "/"), g
    wait_for(lambda: "done" in w.log(pod, "work"), 30)
    s = w.client.ContainerStats(container_id=c).stats
    current = int(read(g + "/memory.current"))
    used = 1000 * int(read(g + "/cpu.stat").split("usage_usec ")[1].split()[0])
    assert 20 * MIB < s.memory.usage_bytes.value < 64 * MIB and abs(s.memory.usage_bytes.value - current) < 4 * MIB, (s, current)
    assert 0 < s.cpu.usage_core_nano_seconds.value <= used, (s, used)
    assert s.memory.available_bytes.value == 64 * MIB - s.memory.working_set_bytes.value
    assert s.memory.page_faults.value > 0 and s.memory.rss_bytes.value > 0
    assert s.swap.swap_available_bytes.value == 16 * MIB and s.swap.swap_usage_bytes.value == 0, s.swap
    pressures(g, (s.cpu, s.memory, s.io))
    p = w.client.PodSandboxStats(pod_sandbox_id=pod[0]).stats.linux
    assert p.memory.usage_bytes.value >= s.memory.usage_bytes.value and p.cpu.usage_core_nano_seconds.value >= s.cpu.usage_core_nano_seconds.value, p
    assert p.process.process_count.value == len(procs_below(made)) and len(p.containers) == 1, p
    assert p.memory.available_bytes.value == 256 * MIB - p.memory.working_set_bytes.value, p
    pressures(made, (p.cpu, p.memory, p.io))
    names = {m.name: m.value.value for pm in w.client.ListPodSandboxMetrics().pod_metrics for cm in pm.container_metrics
             for m in cm.metrics if cm.container_id == c}
    assert names["container_spec_memory_limit_bytes"] == 64 * MIB and names["container_memory_usage_bytes"] > 20 * MIB, names
    assert names["container_processes"] == 1 and 490 <= names["container_spec_cpu_shares"] <= 512, names
    for what in "cpu", "memory", "io":
        waiting = names.get("container_pressure_%s_waiting_seconds_total" % what)
        assert (waiting is not None) == os.path.exists(g + "/%s.pressure" % what), names
        assert waiting is None or 0 <= waiting <= total(g, what) / 1e6, (waiting, total(g, what))
    # What a pod may have is the kubelet's to set; that it was told is kept.
    w.client.UpdatePodSandboxResources(pod_sandbox_id=pod[0], resources={"memory_limit_in_bytes": 300 * MIB})
    info = json.loads(w.client.PodSandboxStatus(pod_sandbox_id=pod[0], verbose=True).info["info"])
    assert int(info["config"]["linux"]["resources"]["memory_limit_in_bytes"]) == 300 * MIB, info["config"]["linux"]
    assert int(info["config"]["linux"]["overhead"]["memory_limit_in_bytes"]) == 8 * MIB, info["config"]["linux"]
    assert read(made + "/memory.max") == str(256 * MIB)
    w.remove(pod)
    # A group that was there before the pod stays; its maker removes it.
    assert os.path.isdir(made) and not groups_of(c)
    if driver == "systemd":
        run("systemctl", "stop", os.path.basename(parent))
    else:
        for d in made, V2 + "/kubepods/burstable", V2 + "/kubepods":
            os.rmdir(d)


@test("the init of shared processes is in its pod's group, and goes with it", *cases())
def podinit(driver, runtime):
    w = worlds[driver]
    parent = parent_of(driver, "init" + runtime)
    pod = w.pod(runtime, parent, pid="POD")
    c = w.ctr(pod, "sleep", "1000", pid="POD")
    code, out, err = w.exec(c, "sh", "-c", "cat /proc/1/cmdline")
    assert "podinit" in out, (out, err)
    init = json.loads(read("%s/pods/%s/init.json" % (w.config["runroot"], pod[0])))["pid"]

    def path():
        return read("/proc/%d/cgroup" % init).split("::")[1]
    wait_for(lambda: path().startswith(parent + "/"))
    path = path()
    assert sorted(procs_below(V2 + parent)) == sorted([init, w.pid(c)])
    w.client.StopPodSandbox(pod_sandbox_id=pod[0])
    wait_for(lambda: not os.path.exists(V2 + path))
    w.remove(pod)
    assert not groups_of(pod[0]) and not groups_of(c)
    if driver == "systemd":
        # A unit is collected when systemd comes to it.
        wait_for(lambda: pod[0] not in run("systemctl", "list-units", "--all", "--plain", "--no-legend"))


@test("without a parent, and by hand: a group of ours that goes with the pod", *cases())
def no_parent(driver, runtime):
    w = worlds[driver]
    pod = w.pod(runtime, "")
    c = w.ctr(pod, "sleep", "1000")
    g = w.group(c)
    assert g == V2 + ("/crisp.slice/crisp-%s.scope" % c if driver == "systemd" else "/crisp/%s/%s" % (pod[0], c)), g
    w.remove(pod)
    assert not groups_of(c)
