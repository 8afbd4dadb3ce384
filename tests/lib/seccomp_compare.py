#!/usr/bin/python3
"""Two seccomp profiles, call by call, and the document that lists in what they differ.

    seccomp_compare.py THEIRS.json DOCUMENT.md <PROFILES

PROFILES: a line of JSON for each capability (and one for none): {"cap": "" or "CAP_X", "seccomp": {...}}, ours.
THEIRS is in the form of Docker and podman, with conditions. The rows of the document's tables are
`calls | capability or - | theirs | ours | why`, with several calls in one cell. Prints what is missing in the
document and what it has too much; status 1 when there is anything."""
import json
import sys

ARCHES = {"amd64", "x86", "x32", "arm64", "arm"}
ERRNO = {1: "EPERM", 22: "EINVAL", 38: "ENOSYS"}


def applies(rule, caps):
    """The conditions that depend on the architecture hold where any of ours satisfies them."""
    inc, exc = rule.get("includes") or {}, rule.get("excludes") or {}
    if not set(inc.get("caps") or []) <= caps or set(exc.get("caps") or []) & caps:
        return False
    return not inc.get("arches") or bool(ARCHES & set(inc["arches"]))


def verdicts(profile, caps):
    """name -> (word, the rules' arguments): what the kernel does first, ENOSYS and the like last."""
    found = {}
    for rule in profile["syscalls"]:
        if not applies(rule, caps):
            continue
        if rule["action"] == "SCMP_ACT_ALLOW":
            word = "by argument" if rule.get("args") else "allowed"
        else:
            word = ERRNO[rule.get("errnoRet", profile.get("defaultErrnoRet", 1))]
        for arg in rule.get("args") or []:
            if arg["op"] != "SCMP_CMP_MASKED_EQ":
                arg.pop("valueTwo", None)  # means nothing
        args = json.dumps(rule.get("args") or [], sort_keys=True)
        for name in rule.get("names") or [rule["name"]]:
            found.setdefault(name, []).append((word, args))
    out = {}
    for name, rules in found.items():
        words = {w for w, _ in rules}
        word = next((w for w in ("allowed", "by argument") if w in words), sorted(words)[0])
        out[name] = (word, sorted(a for w, a in rules) if word == "by argument" else [])
    return out


def differences(theirs, profiles):
    rows, plain = set(), None
    for line in profiles:
        cap, caps = line["cap"], {line["cap"]} - {""}
        left, right = verdicts(theirs, caps), verdicts(line["seccomp"], caps)
        now = {}
        for name in set(left) | set(right):
            a = left.get(name, ("ENOSYS", []))
            b = right.get(name, ("ENOSYS", []))
            # Which number refuses a call that both refuse makes no difference to what can be reached.
            refused = a[0] in ERRNO.values() and b[0] in ERRNO.values()
            now[name] = None if a == b or refused else (a[0], b[0])
        if plain is None:
            plain = now
        for name, pair in now.items():
            if pair and (not cap or plain.get(name) != pair):
                rows.add((name, cap or "-", *pair))
            elif not pair and cap and plain.get(name):
                rows.add((name, cap, "same", "same"))
    return rows


def documented(path):
    rows, wrong = set(), []
    for line in open(path, encoding="utf-8"):
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 5 or cells[0] in ("calls", "") or set(cells[0]) <= {"-", ":"}:
            continue
        if len(cells[4]) < 20:
            wrong.append(f"no reason: {line.strip()}")
        for name in cells[0].replace("`", "").split():
            for cap in cells[1].split():
                row = (name, cap, cells[2], cells[3])
                if row in rows:
                    wrong.append(f"twice: {' | '.join(row)}")
                rows.add(row)
    return rows, wrong


def main():
    theirs = json.load(open(sys.argv[1], encoding="utf-8"))
    real = differences(theirs, [json.loads(line) for line in sys.stdin])
    # Where a capability makes the two equal is not told.
    real = {r for r in real if r[2] != "same"}
    told, wrong = documented(sys.argv[2])
    for row in sorted(real - told):
        wrong.append(f"not documented: {' | '.join(row)}")
    for row in sorted(told - real):
        wrong.append(f"no such difference: {' | '.join(row)}")
    print("\n".join(wrong) or f"{len(real)} differences, all documented")
    return bool(wrong)


sys.exit(main())
