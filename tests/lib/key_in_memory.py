#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""key_in_memory.py PID KEY.pem: status 0 when the private key is nowhere in the memory of the process (root)."""
import re
import subprocess
import sys

pid, key = sys.argv[1:]
text = subprocess.run(["openssl", "pkey", "-in", key, "-noout", "-text"], check=True, stdout=subprocess.PIPE).stdout.decode()
secrets = []
for name in ("priv", "privateExponent", "prime1", "prime2"):
    found = re.search(r"^%s:((?:\s+[0-9a-f:]+)+)$" % name, text, re.M)
    if found:
        number = bytes.fromhex(re.sub(r"[\s:]", "", found[1])).lstrip(b"\0")
        # As the file has it, and as numbers are kept.
        secrets += [number[:24], number[::-1][:24]]
assert secrets, text
lines = open(key).read().split("\n")
secrets += [line.encode() for line in lines if len(line) > 40 and "-----" not in line]
found = total = 0
with open("/proc/%s/maps" % pid) as maps, open("/proc/%s/mem" % pid, "rb", 0) as mem:
    for line in maps:
        first, last = (int(x, 16) for x in line.split()[0].split("-"))
        if "r" not in line.split()[1] or "[v" in line:
            continue
        mem.seek(first)
        try:
            data = mem.read(last - first)
        except OSError:
            continue
        total += len(data)
        for s in secrets:
            if s in data:
                found += 1
                print("in", line.strip(), "at", hex(first + data.index(s)), "secret", secrets.index(s))
assert total > 1 << 20, total
sys.exit(1 if found else 0)
