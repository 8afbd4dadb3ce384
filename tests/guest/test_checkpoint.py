# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on pure cgroup v2: captured and brought back where CRIU can on this kernel; refused, with what CRIU lacks and
nothing left frozen or half written, where it cannot."""
import os
import subprocess

from harness import World, cri, fails, groups_of, grpc, run, test, wait_for, write

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"
worlds = []


def setup():
    w = World("ckpt", cgroup_manager="systemd")
    worlds.append(w)
    w.start()


def teardown():
    worlds[0].remove_all()
    worlds[0].stop()
    run("systemctl", "stop", "kubepods.slice", check=False)
    assert not groups_of("crisp") + groups_of("kubepods"), groups_of("crisp")


def parent(name):
    return "/kubepods.slice/kubepods-pod%s.slice" % name


def counts(w, pod, name):
    """It runs on."""
    def last():
        return len(w.log(pod, name).splitlines())
    was = last()
    wait_for(lambda: last() > was)


def able():
    try:
        return subprocess.run(["criu", "check"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@test("checkpoints of a container and of a pod: captured and brought back, or refused with the reason and undone")
def checkpoint():
    w = worlds[0]
    pod = w.pod("runc", parent("one"))
    names = ["web", "db"]
    ctrs = [w.ctr(pod, "sh", "-c", COUNT, name=n) for n in names]
    config = {n: {"metadata": {"name": n}, "image": {"image": w.image}, "command": ["sh", "-c", COUNT], "log_path": n + ".log",
                  "linux": {"security_context": {"namespace_options": pod[1]["linux"]["security_context"]["namespace_options"]}}}
              for n in names}
    out, archive = w.dir + "/out", w.dir + "/one.tar"
    os.mkdir(out)
    new = {**pod[1], "metadata": {**pod[1]["metadata"], "name": "again", "uid": "uid-again"}, "log_directory": w.dir + "/logs/again",
           "linux": {**pod[1]["linux"], "cgroup_parent": parent("two")}}

    def one():
        w.ask("CheckpointContainer", cri.pb.CheckpointContainerRequest(container_id=ctrs[0], location=archive, timeout=30))

    def all_of_them():
        w.client.CheckpointPod(pod_sandbox_id=pod[0], output_path=out, container_ids=ctrs)

    def again():
        return w.client.RestorePod(checkpoint_path=out, runtime_handler="runc", config=new, container_configs=list(config.values()))
    if able():
        one()
        assert os.path.getsize(archive) > 0
        all_of_them()
        restored = again()
        fresh = (restored.pod_sandbox_id, new)
        for r in restored.restored_containers:
            assert w.status(r.container_id).state == cri.pb.CONTAINER_CREATED
            w.client.StartContainer(container_id=r.container_id)
            counts(w, fresh, r.name)
        w.remove(fresh)
    else:
        for call in one, all_of_them:
            reason = fails(grpc.StatusCode.UNIMPLEMENTED, call)
            assert "criu" in reason.lower(), reason
        assert not os.path.exists(archive) and os.listdir(out) == []
        # What another machine has captured is no more use here.
        write(out + "/pod.json", "{}")
        fails(grpc.StatusCode.UNIMPLEMENTED, again)
        assert [p.id for p in w.client.ListPodSandbox().items] == [pod[0]]
    for c, n in zip(ctrs, names):
        assert w.status(c).state == cri.pb.CONTAINER_RUNNING
        counts(w, pod, n)
    w.remove(pod)
