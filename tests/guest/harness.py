# SPDX-License-Identifier: Apache-2.0
"""The tests of the guest: test_*.py beside this file, or those named on the command line, as TAP.

A test is a function that @test("what holds") marks; it asserts. Each module has a setup() and a teardown(), in which
what is left behind is a failure, too. World is a crispd with a kubelet's manners around it."""
import glob
import importlib
import json
import os
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import cri  # noqa: E402
import grpc  # noqa: E402,F401
import oci_layout as oci  # noqa: E402

BIN = os.environ["BUILD"] + "/bin/"
V2 = "/sys/fs/cgroup"
TESTS = []


class Skip(Exception):
    pass


def test(what, *arguments):
    """Once for each of the arguments (a tuple), which are part of the test's name."""
    def mark(f):
        for a in arguments or [()]:
            TESTS.append((what + (" (%s)" % ", ".join(a) if a else ""), f, a))
        return f
    return mark


def log(*words):
    print(*words, file=sys.stderr, flush=True)


def run(*argv, check=True, **more):
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **more)
    if check and r.returncode != 0:
        raise AssertionError("%s: status %d: %s%s" % (" ".join(argv), r.returncode, r.stdout, r.stderr))
    return r.stdout


def read(path, absent=None):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return absent


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def wait_for(what, seconds=10):
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        assert time.monotonic() < end, "waited %d s in vain" % seconds
        time.sleep(0.02)


def fails(code, f):
    try:
        f()
    except grpc.RpcError as e:
        assert e.code() == code, (e.code(), e.details())
        return e.details()
    raise AssertionError("did not fail")


def groups_of(word):
    """The cgroups with the word in their name."""
    return sorted(p for p, _, _ in os.walk(V2) if word in os.path.basename(p))


def procs_below(directory):
    return [int(n) for p, _, files in os.walk(directory) for n in read(p + "/cgroup.procs", "").split()]


def unit(name, *properties):
    lines = run("systemctl", "show", name, *("-p" + p for p in properties)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def busybox_layer():
    with open("/bin/busybox", "rb") as f:
        program = f.read()
    names = "sh sleep cat echo tail dd true false readlink kill ps id env ls head mount sync trap test fallocate".split()
    return oci.layer(*(oci.entry(d, oci.DIR) for d in ("bin", "etc", "proc", "sys", "dev", "tmp")),
                     oci.entry("bin/busybox", data=program, mode=0o755),
                     *(oci.entry("bin/" + n, oci.SYM, link="busybox") for n in names))


class World:
    """Directories of its own, an image, and clients; `start` runs crispd on them, as a child of ours."""

    def __init__(self, name, **settings):
        self.dir = "/var/lib/crisp/" + name  # memory: an overlay cannot have an overlay as its upper directory
        self.number = 0
        self.daemon = self.client = None
        self.config = dict(root=self.dir + "/root", runroot="/run/crisp-" + name, network_dir=self.dir + "/net.d",
                           handlers_dir=self.dir + "/handlers.d", log_level="debug", **settings)
        self.file = self.dir + "/crisp.json"
        self.socket = self.config["runroot"] + "/crisp.sock"
        self.env = dict(os.environ, CRISP_CONFIG=self.file, PATH=BIN + ":" + os.environ["PATH"])
        write(self.file, json.dumps(self.config))
        write(self.dir + "/net.d/10-test.conflist", json.dumps({
            "cniVersion": "0.4.0", "name": "test-" + name, "plugins": [
                {"type": "bridge", "bridge": "cb" + name[:8], "isGateway": True,
                 "ipam": {"type": "host-local", "dataDir": self.dir + "/ipam", "ranges": [[{"subnet": "10.99.0.0/24"}]]}}]}))
        layout = oci.Layout(self.dir + "/oci")
        layout.name(layout.image([busybox_layer()], "plain"), "bb")
        self.image = self.tool("ocipull", "--name", "test.local/bb:1", "oci:%s/oci:bb" % self.dir).strip()

    def tool(self, name, *args, check=True):
        return run(BIN + name, *args, env=self.env, check=check)

    def start(self):
        with open(self.dir + "/crispd.log", "a") as out:
            self.daemon = subprocess.Popen([BIN + "crispd"], env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.connect()

    def connect(self):
        def answers():
            try:
                self.client = cri.Client(self.socket)
                return self.client.Version(timeout=5)
            except grpc.RpcError:
                return None
        wait_for(answers, 20)

    def stop(self):
        self.daemon.terminate()
        assert self.daemon.wait(20) == 0
        self.daemon = None

    def pod(self, runtime, parent, pid="CONTAINER", network="NODE", **linux):
        """(its id, its config)"""
        self.number += 1
        name = "p%d" % self.number
        config = {"metadata": {"name": name, "namespace": "default", "uid": "uid-" + name, "attempt": 1},
                  "log_directory": self.dir + "/logs/" + name,
                  "linux": {"cgroup_parent": parent, "security_context": {
                      "namespace_options": {"network": network, "pid": pid, "ipc": "POD"}}, **linux}}
        return self.client.RunPodSandbox(config=config, runtime_handler=runtime).pod_sandbox_id, config

    def create(self, pod, *command, name=None, resources=None, pid="CONTAINER", **more):
        self.number += 1
        name = name or "c%d" % self.number
        linux = {"security_context": {"namespace_options": {"network": pod[1]["linux"]["security_context"]["namespace_options"]["network"],
                                                            "pid": pid, "ipc": "POD"}}}
        if resources:
            linux["resources"] = resources
        return self.client.CreateContainer(pod_sandbox_id=pod[0], sandbox_config=pod[1], config={
            "metadata": {"name": name, "attempt": 0}, "image": {"image": self.image}, "command": list(command),
            "log_path": name + ".log", "linux": linux, **more}).container_id

    def ctr(self, pod, *command, **more):
        c = self.create(pod, *command, **more)
        self.client.StartContainer(container_id=c)
        return c

    def status(self, ctr):
        return self.client.ContainerStatus(container_id=ctr).status

    def wait_exit(self, ctr, seconds=20):
        return wait_for(lambda: (lambda s: s if s.state == cri.pb.CONTAINER_EXITED else None)(self.status(ctr)), seconds)

    def ask(self, method, request):
        """For requests with a field `timeout`, which is the call's own in the client."""
        path, _, answer = cri._methods[method]
        return self.client.channel.unary_unary(path, lambda m: m.SerializeToString(), answer.FromString)(request, timeout=60)

    def exec(self, ctr, *cmd, seconds=20):
        r = self.ask("ExecSync", cri.pb.ExecSyncRequest(container_id=ctr, cmd=list(cmd), timeout=seconds))
        return r.exit_code, r.stdout.decode(), r.stderr.decode()

    def stop_ctr(self, ctr, seconds):
        self.ask("StopContainer", cri.pb.StopContainerRequest(container_id=ctr, timeout=seconds))

    def pid(self, ctr):
        return json.loads(self.client.ContainerStatus(container_id=ctr, verbose=True).info["info"])["pid"]

    def inner(self, ctr):
        """The cgroup of a container's first process."""
        return V2 + read("/proc/%d/cgroup" % self.pid(ctr)).split("::")[1]

    def group(self, ctr):
        """The cgroup that is named by the container; crun and systemd have one more below."""
        at = self.inner(ctr)
        while ctr not in os.path.basename(at):
            at = os.path.dirname(at)
        return at

    def log(self, pod, name):
        return read("%s/%s.log" % (pod[1]["log_directory"], name), "")

    def remove(self, pod):
        self.client.StopPodSandbox(pod_sandbox_id=pod[0])
        self.client.RemovePodSandbox(pod_sandbox_id=pod[0])

    def remove_all(self):
        for p in self.client.ListPodSandbox().items:
            self.client.StopPodSandbox(pod_sandbox_id=p.id)
            self.client.RemovePodSandbox(pod_sandbox_id=p.id)


def main(names):
    modules = [importlib.import_module("test_" + n) for n in
               names or sorted(os.path.basename(f)[5:-3] for f in glob.glob(HERE + "/test_*.py"))]
    only = os.environ.get("GUEST_ONLY", "")
    chosen = [t for t in TESTS if only in t[0]]
    print("1..%d" % (len(chosen) + len(modules)), flush=True)
    n = 0
    for m in modules:
        def step(what, f, args):
            nonlocal n
            n += 1
            began = time.monotonic()
            log("==== %s" % what)
            try:
                f(*args)
                verdict, tail = "ok", ""
            except Skip as e:
                verdict, tail = "ok", " # skip %s" % e
            except BaseException:  # whatever it is, the others go on
                verdict, tail = "not ok", ""
                traceback.print_exc()
            print("%s %d guest: %s%s" % (verdict, n, what, tail), flush=True)
            log("==== %s, %.1f s" % (verdict, time.monotonic() - began))

        def all_of(m=m):
            m.setup()
            for what, f, args in chosen:
                if f.__module__ == m.__name__:
                    step(what, f, args)
        left = sum(t[1].__module__ == m.__name__ for t in chosen)
        try:
            all_of()
            step("%s: nothing is left behind" % m.__name__[5:], m.teardown, ())
        except BaseException:
            traceback.print_exc()
            while n < left + 1:
                step("%s: is set up" % m.__name__[5:], lambda: 1 / 0, ())


if __name__ == "__main__":
    # One module, however it is imported.
    sys.modules["harness"] = sys.modules["__main__"]
    main(sys.argv[1:])
