# SPDX-License-Identifier: Apache-2.0
"""The CRI's states as a model, and the check of a recorded history of concurrent calls against it.

A *slot* is a pod name with the container names in it: no call on one slot has an effect on another, so that each is
checked by itself. A history is a list of events ("call", op) and ("answer", op) in the order of time. It holds when
each call can be given moments between its beginning and its answer at which its effects happen, so that all answers
are true (linearizability; calls that take several steps, as the removal of a pod, may be seen half done). The check
keeps the set of all worlds that are possible after what has been seen, and fails when that set becomes empty.

A call whose answer never came (deadline, daemon killed) may still have its effects at any time until settle().

World: (pod, ctrs, ids, done). pod: None or (instance, ready, variant). ctrs: for each name None or (instance, state,
variant, kind, the exit codes that are possible). An instance is the number of the call that made the object; ids tells which identifier it
has, once somebody has been told. done: the calls under way whose effects are complete.
"""
from collections import namedtuple

World = namedtuple("World", "pod ctrs ids done")
NOTHING = World(None, (), frozenset(), frozenset())

OK, NOT_FOUND, EXISTS, BAD_STATE = "OK", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION"

# What a container's process does, and with what it may end: by itself, and by being stopped.
KINDS = {"long": ((), (9, 137, 143)), "zero": ((0,), (0, 137, 143)), "seven": ((7,), (7, 137, 143))}
NEVER_RAN = (0, 128, 137, 143)  # stopped before it was started


class Op:
    """One call: what was asked (verb, args), and in the end the answer: a code, and a value if that is OK."""
    count = 0

    def __init__(self, slot, verb, **args):
        Op.count += 1
        self.number, self.slot, self.verb, self.args = Op.count, slot, verb, args
        self.code = self.value = self.text = None

    def wish(self):
        return self.verb, tuple(sorted(self.args.items()))

    def __repr__(self):
        return "#%d %s%r -> %s %r" % (self.number, self.verb, self.args, self.code, self.text or self.value)


class Wrong(Exception):
    pass


def id_of(world, instance):
    return dict(world.ids).get(instance)


def bind(world, instance, identifier):
    """The world in which that instance has that identifier, or None."""
    ids = dict(world.ids)
    if instance in ids:
        return world if ids[instance] == identifier else None
    if identifier in ids.values():
        return None
    return world._replace(ids=world.ids | {(instance, identifier)})


def is_pod(world, identifier):
    return world.pod is not None and id_of(world, world.pod[0]) == identifier


def find_ctr(world, identifier):
    for i, c in enumerate(world.ctrs):
        if c is not None and id_of(world, c[0]) == identifier:
            return i
    return None


def with_ctr(world, i, ctr):
    ctrs = list(world.ctrs)
    ctrs[i] = ctr
    return world._replace(ctrs=tuple(ctrs))


def stopped(ctr):
    """The container as being stopped leaves it."""
    return exited(ctr, NEVER_RAN if ctr[1] == "created" else KINDS[ctr[3]][1])


def exited(ctr, codes):
    return ctr[:1] + ("exited",) + ctr[2:4] + (codes,)


def live(ctr):
    return ctr is not None and ctr[1] != "exited"


# Each verb: (world, op) to what may happen next because of the call: (world, answer or None while it goes on).
def run_pod(w, op):
    if w.pod is None:
        yield w._replace(pod=(op.number, True, op.args["variant"])), (OK, op.number)
    elif w.pod[1] and w.pod[2] == op.args["variant"]:
        yield w, (OK, w.pod[0])
    else:
        yield w, (EXISTS, None)


def stop_pod(w, op, gone=False):
    if not is_pod(w, op.args["pod"]):
        yield w, (OK, None)
        return
    for i, c in enumerate(w.ctrs):
        if live(c):
            yield with_ctr(w, i, stopped(c)), None
        elif c is not None and gone:
            yield with_ctr(w, i, None), None
    if w.pod[1]:
        yield w._replace(pod=(w.pod[0], False, w.pod[2])), None
    elif gone and not any(w.ctrs):
        yield w._replace(pod=None), (OK, None)
    elif not gone and not any(live(c) for c in w.ctrs):
        yield w, (OK, None)


def remove_pod(w, op):
    return stop_pod(w, op, True)


def create(w, op):
    if not is_pod(w, op.args["pod"]):
        yield w, (NOT_FOUND, None)
    elif not w.pod[1]:
        yield w, (BAD_STATE, None)
    else:
        i = op.args["name"]
        c = w.ctrs[i]
        if c is None:
            new = (op.number, "created", op.args["variant"], op.args["kind"], None)
            yield with_ctr(w, i, new), (OK, op.number)
        elif c[1] == "created" and c[2:4] == (op.args["variant"], op.args["kind"]):
            yield w, (OK, c[0])
        else:
            yield w, (EXISTS, None)


def start(w, op):
    i = find_ctr(w, op.args["ctr"])
    if i is None:
        yield w, (NOT_FOUND, None)
    elif w.ctrs[i][1] != "created":
        yield w, (BAD_STATE, None)
    else:
        c = w.ctrs[i]
        yield with_ctr(w, i, (c[0], "running") + c[2:]), (OK, None)


def stop(w, op):
    i = find_ctr(w, op.args["ctr"])
    if i is None or not live(w.ctrs[i]):
        yield w, (OK, None)
    else:
        yield with_ctr(w, i, stopped(w.ctrs[i])), (OK, None)


def remove(w, op):
    i = find_ctr(w, op.args["ctr"])
    if i is None:
        yield w, (OK, None)
    elif live(w.ctrs[i]):
        yield with_ctr(w, i, stopped(w.ctrs[i])), None
    else:
        yield with_ctr(w, i, None), (OK, None)


def of_running(w, op):
    i = find_ctr(w, op.args["ctr"])
    if i is None:
        yield w, (NOT_FOUND, None)
    elif w.ctrs[i][1] == "running":
        yield w, (OK, None)
        # It may end under the call.
        yield w, (BAD_STATE, None)
    else:
        yield w, (BAD_STATE, None)


def of_live(w, op):
    i = find_ctr(w, op.args["ctr"])
    if i is None:
        yield w, (NOT_FOUND, None)
    else:
        yield w, (OK if live(w.ctrs[i]) else BAD_STATE, None)


def pod_status(w, op):
    yield w, (OK, w.pod[1]) if is_pod(w, op.args["pod"]) else (NOT_FOUND, None)


def status(w, op):
    i = find_ctr(w, op.args["ctr"])
    if i is None:
        yield w, (NOT_FOUND, None)
        return
    state, code = op.value or (None, None)
    c = w.ctrs[i]
    if state == c[1] == "exited" and code in c[4]:
        yield with_ctr(w, i, exited(c, (code,))), (OK, op.value)
    elif state == c[1] != "exited":
        yield w, (OK, op.value)


def listed(w, op, here):
    """Both lists: what is there is what was seen, triples of name, identifier and view."""
    if op.code is not None and len(here) == len(op.value):
        for name, instance, view in here:
            match = [identifier for n, identifier, seen in op.value if (n, seen) == (name, view)]
            w = bind(w, instance, match[0]) if w is not None and len(match) == 1 else None
        if w is not None:
            yield w, (OK, op.value)


def list_pods(w, op):
    return listed(w, op, [] if w.pod is None else [(None, w.pod[0], w.pod[1])])


def list_ctrs(w, op):
    return listed(w, op, [(i, c[0], c[1]) for i, c in enumerate(w.ctrs) if c is not None])


VERBS = {f.__name__: f for f in (run_pod, stop_pod, remove_pod, create, start, stop, remove, of_running, of_live, pod_status,
                                 status, list_pods, list_ctrs)}


def tidy(w):
    """Without the identifiers of what is gone: nobody can ask for it with success again."""
    here = {w.pod and w.pod[0]} | {c and c[0] for c in w.ctrs}
    return w._replace(ids=frozenset(b for b in w.ids if b[0] in here))


class Slot:
    def __init__(self, n_ctrs):
        self.worlds = {NOTHING._replace(ctrs=(None,) * n_ctrs)}
        self.pending = {}
        self.history = []

    def told(self, w, op, answer):
        """The world in which the call has this answer, which is the one that it got in the end; else None."""
        code, value = answer
        if op.code is None:
            return w
        if code != op.code:
            return None
        if code == OK and op.verb in ("run_pod", "create"):
            return bind(w, value, op.value)
        return w if code != OK or op.verb != "pod_status" or value == op.value else None

    def moves(self, w):
        """Everything that may happen next, by itself or by a call under way."""
        for i, c in enumerate(w.ctrs):
            if c is not None and c[1] == "running":
                if KINDS[c[3]][0]:
                    yield with_ctr(w, i, exited(c, KINDS[c[3]][0]))
        lost = set()
        for op in self.pending.values():
            if op.number in w.done:
                continue
            # Of equal calls that nobody was told of, the earliest may as well be the one that had its effect.
            if op.code is None:
                if op.wish() in lost:
                    continue
                lost.add(op.wish())
            for after, answer in VERBS[op.verb](w, op):
                changed = after is not w
                if op.code is None and not changed:
                    continue  # Whether a lost call did nothing already or will do nothing is all the same.
                if answer is not None:
                    after = self.told(after, op, answer)
                    if after is None:
                        continue
                    after = after._replace(done=w.done | {op.number} | self.sharers(w, op, answer, changed))
                yield after
            # Two unequal wishes for one name at the same time: the later one is told of the other.
            if op.verb in ("run_pod", "create") and op.code == EXISTS and self.contended(op):
                yield w._replace(done=w.done | {op.number})

    def sharers(self, w, op, answer, changed):
        """Equal starts at the same time are one, and get one answer."""
        if op.verb != "start" or answer[0] != OK or not changed:
            return frozenset()
        return frozenset(o.number for o in self.pending.values()
                         if o.verb == "start" and o.args == op.args and o.code in (OK, None) and o.number not in w.done)

    def contended(self, op):
        return any(o.verb == op.verb and o.args.get("name") == op.args.get("name") and o is not op for o in self.pending.values())

    def spread(self):
        self.worlds = {tidy(w) for w in self.worlds}
        todo = list(self.worlds)
        while todo:
            for after in self.moves(todo.pop()):
                after = tidy(after)
                if after not in self.worlds:
                    self.worlds.add(after)
                    todo.append(after)
            if len(self.worlds) > 200000:
                self.fail("too many worlds to tell which")

    def call(self, op):
        self.history.append(("call  ", op))
        self.pending[op.number] = op
        self.spread()

    def answer(self, op):
        self.history.append(("answer", op))
        if op.code is None:  # Nobody knows; it stays under way.
            return
        self.worlds = {w._replace(done=w.done - {op.number}) for w in self.worlds if op.number in w.done}
        del self.pending[op.number]
        if not self.worlds:
            self.fail("no order of effects explains %r" % op)

    def settle(self):
        """Nothing is under way any more: what was lost has had its effects or never will."""
        self.pending.clear()
        self.worlds = {w._replace(done=frozenset()) for w in self.worlds}
        self.history.append(("settle", None))

    def fail(self, why):
        raise Wrong("%s\n%s" % (why, "\n".join("%s %r" % e for e in self.history[-40:])))
