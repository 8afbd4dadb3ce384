#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The model of cri_model.py against histories by hand: true ones hold, each with one lie in it does not."""
import cri_model
from cri_model import Op


def holds(events):
    """events: ("call", name, verb, args) and ("answer", name, code, value), in the order of time."""
    slot, ops = cri_model.Slot(2), {}
    for kind, name, what, more in events:
        if kind == "call":
            ops[name] = Op(0, what, **more)
    for kind, name, what, more in events:
        if kind == "answer":
            ops[name].code, ops[name].value = what, more
    try:
        for kind, name, _, _ in events:
            (slot.call if kind == "call" else slot.answer)(ops[name])
    except cri_model.Wrong:
        return False
    return True


def one(name, verb, args, code="OK", value=None):
    return [("call", name, verb, args), ("answer", name, code, value)]


def create(name, code="OK", value="ctr", **more):
    return one(name, "create", {"pod": "pod", "name": 0, "variant": 0, "kind": "long", **more}, code, value)


UP = one("run", "run_pod", {"variant": 0}, value="pod")
RUNNING = UP + create("create") + one("start", "start", {"ctr": "ctr"})
STOP_BEGINS, STOP_ENDS = [("call", "stop", "stop", {"ctr": "ctr"})], [("answer", "stop", "OK", None)]


def status(name, state, code=None):
    return one(name, "status", {"ctr": "ctr"}, "OK" if state else "NOT_FOUND", state and (state, code))


TRUE = [
    RUNNING + status("s", "running") + STOP_BEGINS + status("t", "running") + status("u", "exited", 9) + STOP_ENDS,
    UP + create("create") + create("again") + one("remove", "remove", {"ctr": "ctr"}) + create("new", value="other"),
    UP + one("other", "run_pod", {"variant": 1}, "ALREADY_EXISTS"),
    # What was lost may have been done.
    UP + [("call", "lost", "remove_pod", {"pod": "pod"}), ("answer", "lost", None, None)] + one("list", "list_pods", {}, value=[]),
    UP + [("call", "lost", "remove_pod", {"pod": "pod"}), ("answer", "lost", None, None)] + one("list", "list_pods", {}, value=[(None, "pod", True)]),
]
FALSE = [
    RUNNING + status("s", "created"),
    RUNNING + status("s", None),
    RUNNING + STOP_BEGINS + STOP_ENDS + status("s", "running"),
    RUNNING + STOP_BEGINS + STOP_ENDS + status("s", "exited", 5),
    # It does not come back to life, and its exit code does not change.
    RUNNING + STOP_BEGINS + status("s", "exited", 9) + status("t", "running") + STOP_ENDS,
    RUNNING + STOP_BEGINS + STOP_ENDS + status("s", "exited", 9) + status("t", "exited", 137),
    RUNNING + one("again", "start", {"ctr": "ctr"}),
    UP + create("create") + create("again", value="other"),
    UP + create("create") + create("unequal", variant=1),
    UP + one("again", "run_pod", {"variant": 0}, value="other"),
    UP + one("remove", "remove_pod", {"pod": "pod"}) + one("list", "list_pods", {}, value=[(None, "pod", True)]),
    RUNNING + one("remove", "remove_pod", {"pod": "pod"}) + one("list", "list_ctrs", {}, value=[(0, "ctr", "exited")]),
    UP + one("stop", "stop_pod", {"pod": "pod"}) + create("create"),
    RUNNING + one("exec", "of_running", {"ctr": "ctr"}, "INTERNAL"),
]
for i, h in enumerate(TRUE):
    assert holds(h), "true history %d is refused" % i
for i, h in enumerate(FALSE):
    assert not holds(h), "false history %d is allowed" % i
print("%d true, %d false" % (len(TRUE), len(FALSE)))
