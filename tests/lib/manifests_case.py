# SPDX-License-Identifier: Apache-2.0
"""manifests_case.py SOCKET CODE=DOCUMENT...: the documents of podmanifest, sent by a client as a kubelet would: a pod,
its init containers in order, its sidecars when they are ready, then the others. CODE is that of the init container that
fails, or the largest of the main containers', which all end; "runs" is a pod whose containers go on."""
import base64
import concurrent.futures
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cri  # noqa: E402

client = cri.Client(sys.argv[1])


def wait_for(what, f):
    end = time.monotonic() + 100
    while not f():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def exit_code(ctr):
    """None while it runs."""
    s = client.ContainerStatus(container_id=ctr).status
    return s.exit_code if s.state == cri.pb.CONTAINER_EXITED else None


def with_address(doc, pod):
    """The pod's own address, which nobody knew before."""
    mark = doc.get("pod_ip", {}).get("mark")
    if not mark:
        return doc["containers"]
    ip = client.PodSandboxStatus(pod_sandbox_id=pod).status.network.ip
    for path in doc["pod_ip"].get("files", []):
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(text.replace(mark, ip))
    return json.loads(json.dumps(doc["containers"]).replace(mark, ip))


def request(c):
    """As a client has it: bytes are base64 there, and who runs is the image's user where nobody else is asked for."""
    config = c["config"]
    for env in config.get("envs", []):
        if isinstance(env.get("value"), str):
            env["value"] = base64.b64encode(env["value"].encode()).decode()
    if c["take_image_user"]:
        image = client.ImageStatus(image=config["image"]).image
        who = {"run_as_username": image.username} if image.username else {"run_as_user": {"value": image.uid.value}}
        config["linux"]["security_context"].update(who)
    return config


def begin(pod, doc, c):
    """The container, and the exit code of one that is waited for."""
    ctr = client.CreateContainer(pod_sandbox_id=pod, config=request(c), sandbox_config=doc["pod"]).container_id
    client.StartContainer(container_id=ctr)
    if c["role"] == "init":
        wait_for(c["name"], lambda: exit_code(ctr) is not None)
        return ctr, exit_code(ctr)
    if c["role"] == "sidecar" and "startup" in c["probes"]:
        probe = c["probes"]["startup"]["command"]
        wait_for(c["name"], lambda: client.ExecSync(container_id=ctr, cmd=probe).exit_code == 0)
    return ctr, 0


def ends(pod, doc, go_on):
    main = []
    for c in with_address(doc, pod):
        ctr, code = begin(pod, doc, c)
        if code:
            return code
        if c["role"] == "main":
            main.append(ctr)
    if go_on:
        return "runs" if {exit_code(c) for c in main} == {None} else "ended"
    wait_for(doc["pod"]["metadata"]["name"], lambda: all(exit_code(c) is not None for c in main))
    return max(map(exit_code, main))


def run(want, path):
    with open(path) as f:
        doc = json.load(f)
    pod = client.RunPodSandbox(config=doc["pod"]).pod_sandbox_id
    try:
        got = ends(pod, doc, want == "runs")
        assert str(got) == want, got
    finally:
        client.StopPodSandbox(pod_sandbox_id=pod)
        client.RemovePodSandbox(pod_sandbox_id=pod)


def main():
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = {pool.submit(run, *arg.split("=", 1)): arg for arg in sys.argv[2:]}
        for r in concurrent.futures.as_completed(runs):
            if r.exception():
                bad = 1
                print(runs[r], repr(r.exception()))
    return bad


sys.exit(main())
