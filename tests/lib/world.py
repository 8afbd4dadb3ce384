# SPDX-License-Identifier: Apache-2.0
"""world.py ROOT RUNROOT TMP SUBNET BRIDGE GROUPS: what world.bash compares, a line each: the objects of the state
directories, addresses, mounts below TMP, groups whose path has GROUPS in it, ports of the bridge, processes."""
import glob
import os
import re
import sys

root, runroot, tmp, subnet, bridge, groups = sys.argv[1:7]
OURS = re.compile("docker-registry|bats|world.py")  # not a pod's


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def names(directory):
    return [f"{directory}/{n}" for n in sorted(os.listdir(directory)) if not n.startswith(".")] if os.path.isdir(directory) else []


lines = []
for kind in "pods", "containers", "reserved", "tmp", "images", "names", "layers", "debts":
    lines += names(f"{root}/{kind}")
for directory in [f"{runroot}/pods", f"{runroot}/containers", *sorted(glob.glob(f"{runroot}/runtimes/*"))]:
    lines += names(directory)
lines += sorted(p for p, _, files in os.walk(f"{tmp}/ipam") for p in (f"{p}/{f}" for f in files if f.startswith(subnet + ".")))
lines += sorted(m.split()[4] for m in read("/proc/self/mountinfo").split("\n") if tmp in m.split()[4])
for top, below, _ in os.walk("/sys/fs/cgroup"):
    below[:] = sorted(d for d in below if d != "unified")
    if groups in top and "/" in top.split(groups, 1)[1]:
        lines.append(top)
lines.append("ports of the bridge: %d" % len(glob.glob(f"/sys/class/net/{bridge}/brif/*")))
commands = (read(f"/proc/{p}/cmdline") for p in os.listdir("/proc") if p.isdigit())
lines += sorted(c for c in commands if tmp in c and not OURS.search(c))
lines += sorted({line for p in glob.glob("/proc/[0-9]*/cgroup") for line in read(p).split("\n") if groups in line})
print("\n".join(lines))
