#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""crispd_case.py SOCKET CASE [ARG...]: what needs calls at the same time, deadlines or cancellation, from a client that
is not ours. Ends with status 0 when the case holds. Pods and containers are named after the case."""
import os
import sys
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


def run_pod(name=CASE):
    return client.RunPodSandbox(config=pod_config(name)).pod_sandbox_id


def run_ctr(pod, *command, name="c", **more):
    ctr = client.CreateContainer(pod_sandbox_id=pod, config=ctr_config(*command, name=name, **more)).container_id
    client.StartContainer(container_id=ctr)
    return ctr


def remove(pod):
    client.StopPodSandbox(pod_sandbox_id=pod)
    client.RemovePodSandbox(pod_sandbox_id=pod)


def fails(code, call, *texts):
    try:
        call()
    except grpc.RpcError as e:
        print(e.code(), e.details())
        assert e.code() == code, "%s instead of %s: %s" % (e.code(), code, e.details())
        for t in texts:
            assert t in e.details(), e.details()
        return e
    raise AssertionError("no error")


def wait(seconds, what):
    end = time.time() + seconds
    while not what():
        assert time.time() < end, "did not happen within %s s" % seconds
        time.sleep(0.02)


def running(*words):
    """Processes whose command line is exactly this."""
    want = b"\0".join(w.encode() for w in words) + b"\0"
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                if f.read() == want:
                    found.append(int(pid))
        except OSError:
            pass
    return found


def later(name, request):
    """For requests with a field that is called timeout."""
    path = "/runtime.v1.RuntimeService/" + name
    answer = getattr(cri.pb, name + "Response")
    return client.channel.unary_unary(path, lambda m: m.SerializeToString(), answer.FromString).future(request, timeout=100)


def stop(ctr, grace):
    return later("StopContainer", cri.pb.StopContainerRequest(container_id=ctr, timeout=grace))


def status(ctr):
    return client.ContainerStatus(container_id=ctr).status


# Two equal creations at the same time make one; an unequal one is told which id is in the way.
def same_pod():
    calls = [client.future("RunPodSandbox", config=pod_config()) for _ in range(5)]
    ids = {c.result().pod_sandbox_id for c in calls}
    assert len(ids) == 1, ids
    pod = ids.pop()
    assert run_pod() == pod
    fails(CODE.ALREADY_EXISTS, lambda: client.RunPodSandbox(config=pod_config(labels={"other": "1"})), pod)
    fails(CODE.ALREADY_EXISTS, lambda: client.RunPodSandbox(config=pod_config(), runtime_handler="crun"), pod)
    client.StopPodSandbox(pod_sandbox_id=pod)
    fails(CODE.ALREADY_EXISTS, run_pod, pod)
    remove(pod)
    again = run_pod()
    assert again != pod
    remove(again)


def same_ctr():
    pod = run_pod()
    calls = [client.future("CreateContainer", pod_sandbox_id=pod, config=ctr_config("sleep", "1000")) for _ in range(5)]
    ids = {c.result().container_id for c in calls}
    assert len(ids) == 1, ids
    ctr = ids.pop()
    assert len(client.ListContainers().containers) >= 1
    fails(CODE.ALREADY_EXISTS, lambda: client.CreateContainer(pod_sandbox_id=pod, config=ctr_config("sleep", "7")), ctr)
    client.StartContainer(container_id=ctr)
    # Running is not what a repeated creation expects.
    fails(CODE.ALREADY_EXISTS, lambda: client.CreateContainer(pod_sandbox_id=pod, config=ctr_config("sleep", "1000")), ctr)
    remove(pod)


# The client's deadline is not the job's: the retry gets what the first call began.
def outlives_deadline():
    e = fails(CODE.DEADLINE_EXCEEDED, lambda: client.call("RunPodSandbox", timeout=0.4, config=pod_config()))
    assert e is not None
    start = time.time()
    pod = run_pod()
    assert time.time() - start < 60
    remove(pod)


# Twice: for a pod (a plugin takes its time) and for a container (the runtime does).
def gave_up():
    def slow(call):
        fails(CODE.DEADLINE_EXCEEDED, lambda: call(0.4))
        cancelled = call(None, now=False)
        time.sleep(0.2)
        cancelled.cancel()
        return call(100)

    def create(name, **fields):
        def call(timeout, now=True):
            f = client.future(name, timeout=timeout, **fields)
            return f.result() if now else f
        return call

    handler, root = ARGS
    pod = slow(create("RunPodSandbox", config=pod_config(), runtime_handler=handler)).pod_sandbox_id
    assert os.listdir(root + "/pods").count(pod) == 1 and [p.id for p in client.ListPodSandbox().items] == [pod]
    ctr = slow(create("CreateContainer", pod_sandbox_id=pod, config=ctr_config("sleep", "1000"))).container_id
    assert os.listdir(root + "/containers") == [ctr]
    client.StartContainer(container_id=ctr)
    remove(pod)


# A pod is stopped, and one is removed, while a container of it is in the making: none is left running, none is left.
def pod_goes_meanwhile():
    handler, slow = ARGS
    # Not sharing their processes: those would end with the pod.
    own = {"cgroup_parent": "/crisp-test/bad-meanwhile", "security_context": {"namespace_options": {"pid": "CONTAINER"}}}
    pods = [client.RunPodSandbox(config=pod_config("meanwhile-%d" % i, linux=own), runtime_handler=handler).pod_sandbox_id
            for i in range(2)]
    open(slow, "w").write("sleep 1.5")
    made = [client.future("CreateContainer", pod_sandbox_id=p, config=ctr_config("sleep", "1000")) for p in pods]
    time.sleep(0.5)
    client.StopPodSandbox(pod_sandbox_id=pods[0])
    ctr = made[0].result().container_id
    assert status(ctr).state == cri.pb.CONTAINER_EXITED, status(ctr)
    open(slow, "w").write("sleep 1.5")
    client.RemovePodSandbox(pod_sandbox_id=pods[1])
    gone = made[1].result().container_id
    fails(CODE.NOT_FOUND, lambda: status(gone))
    assert [p.id for p in client.ListPodSandbox().items] == [pods[0]]
    remove(pods[0])


# Bytes that are no message, to every method there is.
def malformed():
    for name, (path, request, _) in sorted(cri._methods.items()):
        for data in (b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05abc"):
            call = client.channel.unary_unary(path, lambda b: b, lambda b: b)
            try:
                call(data, timeout=20)
            except grpc.RpcError as e:
                if e.code() == CODE.UNIMPLEMENTED:
                    continue
                assert e.code() == CODE.INVALID_ARGUMENT and name in e.details(), (name, data, e.code(), e.details())
                continue
            raise AssertionError("%s took %r" % (name, data))


def many_pods():
    n = 10
    calls = [client.future("RunPodSandbox", config=pod_config("%s-%d" % (CASE, i))) for i in range(n)]
    pods = {c.result().pod_sandbox_id for c in calls}
    assert len(pods) == n
    ips = {client.PodSandboxStatus(pod_sandbox_id=p).status.network.ip for p in pods}
    assert len(ips) == n and "" not in ips
    for c in [client.future("RemovePodSandbox", pod_sandbox_id=p) for p in pods]:
        c.result()
    assert not [p for p in client.ListPodSandbox().items if p.id in pods]


# Sixteen tools at once; a removal that comes last goes before the creations that still wait.
def bounded():
    first = client.RunPodSandbox(config=pod_config("bounded-first")).pod_sandbox_id
    open(ARGS[0] + "/slow", "w").close()
    creations = [client.future("RunPodSandbox", config=pod_config("bounded-%d" % i)) for i in range(20)]
    wait(10, lambda: len(os.listdir(ARGS[0] + "/now")) >= 16)
    removal = client.future("RemovePodSandbox", pod_sandbox_id=first)
    removal.result()
    assert not all(c.done() for c in creations)
    pods = [c.result().pod_sandbox_id for c in creations]
    most = max(int(n) for n in open(ARGS[0] + "/most").read().split())
    assert most == 16, most
    os.unlink(ARGS[0] + "/slow")
    for c in [client.future("RemovePodSandbox", pod_sandbox_id=p) for p in pods]:
        c.result()


# A tool that hangs holds up its own object and nothing else.
def hung():
    open(ARGS[0] + "/hang", "w").close()
    stuck = client.future("RunPodSandbox", config=pod_config("hung-one"))
    wait(10, lambda: os.path.exists(ARGS[0] + "/hanging"))
    os.unlink(ARGS[0] + "/hang")
    start = time.time()
    pod = client.RunPodSandbox(config=pod_config("hung-two")).pod_sandbox_id
    assert [p.id for p in client.ListPodSandbox().items] == [pod]
    client.PodSandboxStatus(pod_sandbox_id=pod)
    remove(pod)
    assert time.time() - start < 10 and not stuck.done()
    os.kill(int(open(ARGS[0] + "/hanging").read()), 9)
    fails(CODE.INTERNAL, stuck.result, "killed by signal 9")


def exec_basics():
    pod = run_pod()
    ctr = run_ctr(pod, "sleep", "1000")
    r = client.ExecSync(container_id=ctr, cmd=["sh", "-c", "printf out; printf err >&2; exit 5"])
    assert (r.stdout, r.stderr, r.exit_code) == (b"out", b"err", 5), r
    # 124 to 128 are the command's own when it says so.
    for code in (0, 1, 124, 125, 126, 127, 255):
        assert client.ExecSync(container_id=ctr, cmd=["sh", "-c", "exit %d" % code], timeout=20).exit_code == code
    many = [client.future("ExecSync", container_id=ctr, cmd=["sh", "-c", "echo %d; exit %d" % (i, i)]) for i in range(12)]
    assert [(c.result().stdout, c.result().exit_code) for c in many] == [(b"%d\n" % i, i) for i in range(12)]
    fails(CODE.INVALID_ARGUMENT, lambda: client.ExecSync(container_id=ctr))
    remove(pod)


def exec_timeout():
    pod = run_pod()
    ctr = run_ctr(pod, "sleep", "1000")
    request = cri.pb.ExecSyncRequest(container_id=ctr, cmd=["sleep", "98761"], timeout=1)
    start = time.time()
    fails(CODE.DEADLINE_EXCEEDED, lambda: later("ExecSync", request).result(), "within 1 s")
    assert 0.9 < time.time() - start < 60
    assert not running("sleep", "98761")
    assert status(ctr).state == cri.pb.CONTAINER_RUNNING
    remove(pod)


# A process in the background that keeps the pipes does not keep the call.
def exec_grandchild():
    pod = run_pod()
    ctr = run_ctr(pod, "sleep", "1000")
    start = time.time()
    r = client.ExecSync(container_id=ctr, cmd=["sh", "-c", "sleep 60 & echo done; exit 3"], timeout=30)
    assert (r.stdout, r.exit_code) == (b"done\n", 3)
    assert time.time() - start < 10, time.time() - start
    remove(pod)


def exec_large():
    pod = run_pod()
    ctr = run_ctr(pod, "sleep", "1000")
    r = client.ExecSync(container_id=ctr, cmd=["sh", "-c", "head -c 20000000 /dev/zero; echo end >&2"])
    assert r.exit_code == 0
    assert 15 << 20 < len(r.stdout) <= 16 << 20, len(r.stdout)
    assert len(r.stdout) + len(r.stderr) < 16 << 20  # the client's limit for a message
    remove(pod)


def exec_cancel():
    pod = run_pod()
    ctr = run_ctr(pod, "sleep", "1000")
    call = client.future("ExecSync", container_id=ctr, cmd=["sleep", "98762"])
    wait(10, lambda: running("sleep", "98762"))
    call.cancel()
    wait(10, lambda: not running("sleep", "98762"))
    assert status(ctr).state == cri.pb.CONTAINER_RUNNING
    remove(pod)


STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]


def wait_ready(pod_name, ctr_name="c"):
    log = "%s/logs/%s/%s.log" % (os.environ["CRISP_TMP"], pod_name, ctr_name)
    wait(10, lambda: os.path.exists(log) and "ready" in open(log).read())


# A second stop with a shorter grace runs beside the first, and wins.
def shorter_stop():
    pod = run_pod()
    ctr = run_ctr(pod, *STUBBORN)
    wait_ready(CASE)
    start = time.time()
    slow = stop(ctr, 60)
    time.sleep(0.5)
    assert not slow.done()
    stop(ctr, 1).result()
    slow.result()
    assert time.time() - start < 50
    s = status(ctr)
    assert (s.state, s.exit_code) == (cri.pb.CONTAINER_EXITED, 137), s
    remove(pod)


# Removal does not wait for a stop with a long grace.
def remove_beside_stop():
    pod = run_pod()
    ctr = run_ctr(pod, *STUBBORN)
    wait_ready(CASE)
    slow = stop(ctr, 60)
    time.sleep(0.3)
    start = time.time()
    client.RemoveContainer(container_id=ctr)
    assert time.time() - start < 50
    slow.result()
    fails(CODE.NOT_FOUND, lambda: status(ctr))
    remove(pod)


def pull_deadline():
    fails(CODE.DEADLINE_EXCEEDED, lambda: client.call("PullImage", timeout=0.001, image={"image": ARGS[0]}))


# Equal pulls share one transfer; the image is there under one id however it is named.
def pull_together():
    calls = [client.future("PullImage", image={"image": ARGS[0]}) for _ in range(4)]
    ids = {c.result().image_ref for c in calls}
    assert len(ids) == 1 and ids.pop().startswith("sha256:")


# The last client gives up: the transfer ends.
def pull_cancel():
    call = client.future("PullImage", image={"image": ARGS[0]})
    wait(10, lambda: os.path.exists(ARGS[1]))
    pid = int(open(ARGS[1]).read())
    call.cancel()
    wait(10, lambda: not os.path.exists("/proc/%d" % pid))


def remove_together():
    calls = [client.future("RemoveImage", image={"image": a}) for a in ARGS * 3]
    for c in calls:
        c.result()
    assert not client.ImageStatus(image={"image": ARGS[0]}).HasField("image")


def image_forms():
    first = client.ImageStatus(image={"image": ARGS[0]}).image
    assert first.id and first.size > 0
    forms = [first.id, first.id[7:], first.id[7:19], *first.repo_tags, *first.repo_digests, *ARGS]
    for f in forms:
        assert client.ImageStatus(image={"image": f}).image == first, f
        assert [i for i in client.ListImages(filter={"image": {"image": f}}).images] == [first], f
    assert first in client.ListImages().images
    assert client.PullImage(image={"image": ARGS[0]}).image_ref == first.id
    info = client.ImageStatus(image={"image": ARGS[0]}, verbose=True).info["info"]
    assert '"imageSpec"' in info
    assert not client.ImageStatus(image={"image": "no.such.host/none:1"}).HasField("image")
    assert not client.ListImages(filter={"image": {"image": "no.such.host/none:1"}}).images


globals()[CASE]()
