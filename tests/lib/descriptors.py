#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""descriptors.py SOCKET PID: more connections than the daemon has descriptors. It must not burn the processor while
they wait, and must answer once there is room."""
import os
import socket
import subprocess
import sys
import time


def cpu_seconds():
    with open(f"/proc/{sys.argv[2]}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


clients = []
for _ in range(60):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    clients.append(s)
before = cpu_seconds()
time.sleep(2)
spent = cpu_seconds() - before
print(f"{spent} s of CPU in 2 s")
assert spent < 0.2
for s in clients:
    s.close()
check = os.path.join(os.path.dirname(os.path.abspath(__file__)), "grpc_check.py")
subprocess.run([sys.executable, check, sys.argv[1], "version"], check=True)
