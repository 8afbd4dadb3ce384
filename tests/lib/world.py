# SPDX-License-Identifier: Apache-2.0
"""world.py ROOT RUNROOT TMP SUBNET BRIDGE GROUPS [FILE SECONDS]: what world.bash compares, a line each: the objects of the
state directories, addresses, mounts below TMP, groups whose path has GROUPS in it, ports of the bridge, processes. With
FILE: waits until it is what FILE says, or prints the difference. Without modules that take longer to load than this runs."""
import os
import sys
import time

root, runroot, tmp, subnet, bridge, groups = sys.argv[1:7]
OURS = "docker-registry", "bats", "world.py"  # not a pod's


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def names(directory):
    return [f"{directory}/{n}" for n in sorted(os.listdir(directory)) if not n.startswith(".")] if os.path.isdir(directory) else []


def listed(directory):
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def world():
    lines = []
    for kind in "pods", "containers", "reserved", "tmp", "images", "names", "layers", "debts":
        lines += names(f"{root}/{kind}")
    for directory in [f"{runroot}/pods", f"{runroot}/containers", *(f"{runroot}/runtimes/{n}" for n in listed(f"{runroot}/runtimes"))]:
        lines += names(directory)
    lines += sorted(p for p, _, files in os.walk(f"{tmp}/ipam") for p in (f"{p}/{f}" for f in files if f.startswith(subnet + ".")))
    lines += sorted(m.split()[4] for m in read("/proc/self/mountinfo").split("\n") if tmp in m.split()[4])
    for top, below, _ in os.walk("/sys/fs/cgroup"):
        below[:] = sorted(d for d in below if d != "unified")
        if groups in top and "/" in top.split(groups, 1)[1]:
            lines.append(top)
    lines.append("ports of the bridge: %d" % len(listed(f"/sys/class/net/{bridge}/brif")))
    processes = [p for p in os.listdir("/proc") if p.isdigit()]
    commands = (read(f"/proc/{p}/cmdline") for p in processes)
    lines += sorted(c for c in commands if tmp in c and not any(o in c for o in OURS))
    lines += sorted({line for p in processes for line in read(f"/proc/{p}/cgroup").split("\n") if groups in line})
    return "\n".join(lines) + "\n"


def wait_until(path, seconds):
    with open(path, errors="replace") as f:
        before = f.read()
    end = time.monotonic() + seconds
    while (now := world()) != before:
        if time.monotonic() > end:
            import difflib
            sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), now.splitlines(True), "before", "now"))
            return 1
        time.sleep(0.1)
    return 0


if len(sys.argv) > 7:
    sys.exit(wait_until(sys.argv[7], float(sys.argv[8])))
sys.stdout.write(world())
