#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""crispd_model.py [--kill CRISPD CONFIG] SOCKET SEED SECONDS: random concurrent calls on a few pods, from a seed, and
every answer is compared with the model of cri_model.py. The calls come in rounds; after each one everything under way
is waited for, and what there is must be what the model says. With --kill the daemon is started here and killed with
SIGKILL once a round, at a random moment; a call that it took along may or may not have had its effect. In the end all
is removed.

$IMAGE is in the store, $LOGS a directory, $GROUPS_OF_FILE the beginning of cgroup parents; $CLUSTER non-empty gives
half of the pods a network."""
import argparse
import faulthandler
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc

import cri
import cri_model
from cri_model import Op

WORKERS, PODS, CTRS, CALLS_A_ROUND = 8, 4, 2, 8
READS = ("list_pods", "list_ctrs", "status", "pod_status", "of_running", "of_live")
LOST = ("DEADLINE_EXCEEDED", "UNAVAILABLE", "CANCELLED")

parser = argparse.ArgumentParser()
parser.add_argument("--kill", nargs=2)
parser.add_argument("socket")
parser.add_argument("seed", type=int)
parser.add_argument("seconds", type=float)
args = parser.parse_args()

COMMANDS = {
    "long": ["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 1000 & wait; done"],
    "zero": ["true"],
    "seven": ["sh", "-c", "exit 7"],
}
STATES = {cri.pb.CONTAINER_CREATED: "created", cri.pb.CONTAINER_RUNNING: "running", cri.pb.CONTAINER_EXITED: "exited"}


def pod_name(slot):
    return "model-%d-%d" % (os.getpid(), slot)


def labels(slot, variant):
    return {"slot": pod_name(slot), "variant": str(variant)}


def pod_config(slot, variant):
    ns = {"pid": "CONTAINER"}
    if slot % 2 or not os.environ.get("CLUSTER"):
        ns["network"] = "NODE"
    return {"metadata": {"name": pod_name(slot), "namespace": "n", "uid": "u%d" % slot}, "labels": labels(slot, variant),
            "log_directory": "%s/%s" % (os.environ["LOGS"], pod_name(slot)),
            "linux": {"cgroup_parent": os.environ["GROUPS_OF_FILE"] + pod_name(slot), "security_context": {"namespace_options": ns}}}


def ctr_config(slot, name, variant, kind):
    return {"metadata": {"name": "c%d" % name}, "image": {"image": os.environ["IMAGE"]}, "command": COMMANDS[kind], "log_path": "c%d.log" % name,
            "labels": labels(slot, variant)}


def one_ctr(op, **more):
    return {"container_id": op.args["ctr"], **more}


# verb: (method, the request's fields, what of the answer counts)
def view(c, exit_code):
    return (STATES.get(c.state, c.state), exit_code if c.state == cri.pb.CONTAINER_EXITED else None)


REQUESTS = {
    "run_pod": (lambda o: ("RunPodSandbox", {"config": pod_config(o.slot, o.args["variant"])}), lambda r: r.pod_sandbox_id),
    "stop_pod": (lambda o: ("StopPodSandbox", {"pod_sandbox_id": o.args["pod"]}), None),
    "remove_pod": (lambda o: ("RemovePodSandbox", {"pod_sandbox_id": o.args["pod"]}), None),
    "pod_status": (lambda o: ("PodSandboxStatus", {"pod_sandbox_id": o.args["pod"]}), lambda r: r.status.state == cri.pb.SANDBOX_READY),
    "list_pods": (lambda o: ("ListPodSandbox", {"filter": {"label_selector": {"slot": pod_name(o.slot)}}}),
                  lambda r: [(None, p.id, p.state == cri.pb.SANDBOX_READY) for p in r.items]),
    "create": (lambda o: ("CreateContainer", {"pod_sandbox_id": o.args["pod"], "config": ctr_config(o.slot, *(o.args[k] for k in ("name", "variant", "kind")))}),
               lambda r: r.container_id),
    "start": (lambda o: ("StartContainer", one_ctr(o)), None),
    "stop": (lambda o: ("StopContainer", one_ctr(o)), None),
    "remove": (lambda o: ("RemoveContainer", one_ctr(o)), None),
    "status": (lambda o: ("ContainerStatus", one_ctr(o)), lambda r: view(r.status, r.status.exit_code)),
    "list_ctrs": (lambda o: ("ListContainers", {"filter": {"label_selector": {"slot": pod_name(o.slot)}}}),
                  lambda r: [(int(c.metadata.name[1:]), c.id, STATES.get(c.state, c.state)) for c in r.containers]),
    "of_running": (lambda o: ("ExecSync", one_ctr(o, cmd=["true"])) if o.args["how"] else ("ReopenContainerLog", one_ctr(o)), None),
    "of_live": (lambda o: ("UpdateContainerResources", one_ctr(o, linux={"cpu_shares": o.args["how"]})), None),
}


class Known:
    """What clients have been told of one slot; the last identifiers are the likely ones, old ones are asked for too."""

    def __init__(self):
        self.pods, self.ctrs = [], []

    @staticmethod
    def pick(rnd, ids):
        if not ids or rnd.random() < 0.02:
            return "%064x" % rnd.getrandbits(256)
        return ids[-1] if rnd.random() < 0.7 else rnd.choice(ids[-4:])


def choose(rnd, slot, known):
    k = known[slot]
    # Before there is anything to ask for, something is made.
    verb = rnd.choices(list(REQUESTS), [9, 2, 2, 5, 4, 14, 12, 5, 5, 10, 6, 5, 3])[0]
    if not k.pods:
        verb = "run_pod"
    elif not k.ctrs and rnd.random() < 0.7:
        verb = "create"
    if verb in ("run_pod",):
        return Op(slot, verb, variant=int(rnd.random() < 0.1))
    if verb in ("list_pods", "list_ctrs"):
        return Op(slot, verb)
    if verb in ("stop_pod", "remove_pod", "pod_status"):
        return Op(slot, verb, pod=k.pick(rnd, k.pods))
    if verb == "create":
        return Op(slot, verb, pod=k.pick(rnd, k.pods), name=rnd.randrange(CTRS), variant=int(rnd.random() < 0.1),
                  kind=rnd.choices(list(COMMANDS), [4, 1, 1])[0])
    how = {"of_running": rnd.randrange(2), "of_live": rnd.choice((512, 1024))}
    return Op(slot, verb, ctr=k.pick(rnd, k.ctrs), **({"how": how[verb]} if verb in how else {}))


def perform(client, op, timeout, history, known):
    (method, fields), value = REQUESTS[op.verb][0](op), REQUESTS[op.verb][1]
    history.append((True, op))
    try:
        answer = client.call(method, timeout=timeout, **fields)
        op.value, code = value(answer) if value else None, "OK"
    except grpc.RpcError as e:
        code, op.text = e.code().name, e.details()
    # Lost is a call whose effect nobody was told; what only reads has none, nor has what was never sent.
    op.code = None if code in LOST else code
    op.unsent = op.code is None and op.text.startswith("failed to connect")
    history.append((False, op))
    if code == "OK" and op.verb == "run_pod":
        known.pods.append(op.value)
    if code == "OK" and op.verb == "create":
        known.ctrs.append(op.value)


def worker(n, round_no, daemon, known, history, crashes):
    rnd = random.Random("%d.%d.%d" % (args.seed, round_no, n))
    client = cri.Client(args.socket, timeout=100)
    try:
        for _ in range(CALLS_A_ROUND):
            slot = rnd.randrange(PODS)
            op = choose(rnd, slot, known)
            timeout = rnd.choice((0.002, 0.02, 0.05)) if rnd.random() < 0.05 else None
            for _ in range(2 if rnd.random() < 0.05 else 1):
                perform(client, op, timeout, history, known[slot])
                if op.code is None and args.kill:
                    daemon.wait_for_it()
                op = Op(op.slot, op.verb, **op.args)  # A repeated request is a call of its own.
    except Exception as e:
        crashes.append(e)
    finally:
        client.close()


class Daemon:
    def __init__(self):
        self.process = self.over = None
        if args.kill:
            self.log = os.path.dirname(args.kill[1]) + "/model.log"
            self.start()

    def start(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([args.kill[0], "--config", args.kill[1]], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_for_it()

    def check_alive(self):
        """That none but us has ended it."""
        status = self.process.poll() if self.process else None
        if status not in (None, -signal.SIGKILL):
            with open(self.log, errors="replace") as log:
                raise cri_model.Wrong("crispd ended by itself (%d): %s" % (status, log.read()[-2000:]))

    def killing(self, rnd, history):
        """After so many answers of this round, whatever is under way then."""
        after = rnd.randrange(WORKERS * CALLS_A_ROUND * 2 * 2 // 3)
        while len(history) < after and not self.over.wait(0.001):
            pass
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.start()

    def round(self, round_no, history):
        if args.kill:
            self.over = threading.Event()
            self.thread = threading.Thread(target=self.killing, args=(random.Random("%d.%d" % (args.seed, round_no)), history))
            self.thread.start()

    def wait_for_it(self):
        end = time.time() + 20
        while time.time() < end:
            self.check_alive()
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(args.socket)
                    return
            except OSError:
                time.sleep(0.005)

    def settled(self):
        """Waits for what is under way: the daemon's jobs, and the tools that a killed one left."""
        if args.kill:
            self.over.set()
            self.thread.join()
        self.check_alive()
        end = time.time() + 60
        while time.time() < end:
            client = cri.Client(args.socket, timeout=10)
            try:
                if not json.loads(client.Status(verbose=True).info["jobs"]) and not (args.kill and tools_left(args.kill[1])):
                    return
            except grpc.RpcError as e:
                if e.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
            finally:
                client.close()
            time.sleep(0.02)
        raise cri_model.Wrong("calls are still under way after 60 s")


def tools_left(config):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid, "rb") as f:
                waits = f.read().startswith((b"gate:", b"turn:"))  # for what is probably next, up to ten minutes
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if not waits and os.path.basename(words[0]) in (b"podnet", b"ocibundle", b"ctrrun") and config.encode() in words:
            return True
    return False


def check(history, slots):
    for begins, op in history:
        slot = slots[op.slot]
        if not begins:
            slot.answer(op)
        elif op.code is None and (op.unsent or op.verb in READS):
            op.slot = PODS  # Of no consequence.
        else:
            slot.call(op)


def ask_all(slots):
    client = cri.Client(args.socket, timeout=100)
    history = []
    for n in range(PODS):
        for verb in ("list_pods", "list_ctrs"):
            perform(client, Op(n, verb), None, history, None)
    client.close()
    check(history, slots)


def remove_all(slots):
    client = cri.Client(args.socket, timeout=100)
    history = []
    for n in range(PODS):
        for pod in client.ListPodSandbox(filter={"label_selector": {"slot": pod_name(n)}}).items:
            perform(client, Op(n, "remove_pod", pod=pod.id), None, history, None)
    client.close()
    check(history, slots)
    ask_all(slots)
    assert all(w.pod is None and not any(w.ctrs) for s in slots[:PODS] for w in s.worlds), "something is left"


def main():
    faulthandler.dump_traceback_later(115, exit=True)  # says what it waits for, before its time is over
    daemon = Daemon()
    slots = [cri_model.Slot(CTRS) for _ in range(PODS + 1)]
    known, end, calls, rounds = [Known() for _ in range(PODS)], time.time() + args.seconds, 0, 0
    codes = {}
    try:
        while time.time() < end:
            history, crashes = [], []
            daemon.round(rounds, history)
            threads = [threading.Thread(target=worker, args=(n, rounds, daemon, known, history, crashes)) for n in range(WORKERS)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            daemon.settled()
            if crashes:
                raise crashes[0]
            check(history, slots)
            for s in slots:
                s.settle()
            ask_all(slots)
            rounds += 1
            calls += len(history) // 2
            for begins, op in history:
                if not begins:
                    codes[op.code or "lost"] = codes.get(op.code or "lost", 0) + 1
        remove_all(slots)
    except cri_model.Wrong as e:
        sys.exit("seed %d, round %d: %s" % (args.seed, rounds, e))
    finally:
        if daemon.process:
            daemon.process.terminate()
            daemon.process.wait()
    print("%d calls in %d rounds: %s" % (calls, rounds, ", ".join("%s %d" % c for c in sorted(codes.items()))))


main()
