#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""activation.py DIR CRISPD ARG...: start the daemon as systemd does, with a listening socket as descriptor 3 and a
socket for notifications; a client that connected before it was there is answered, and the file is left alone."""
import os
import socket
import subprocess
import sys

directory, argv = sys.argv[1], sys.argv[2:]
listening = socket.socket(socket.AF_UNIX)
listening.bind(directory + "/handed.sock")
listening.listen(5)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(directory + "/notify")
notify.settimeout(10)

pid = os.fork()
if pid == 0:
    os.dup2(listening.fileno(), 3, inheritable=True)
    env = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", NOTIFY_SOCKET=directory + "/notify")
    os.execve(argv[0], argv, env)
listening.close()
assert notify.recv(400).startswith(b"READY=1\nSTATUS=serving ")
check = os.path.join(os.path.dirname(os.path.abspath(__file__)), "grpc_check.py")
subprocess.run([sys.executable, check, directory + "/handed.sock", "version"], check=True)
assert not os.path.exists(directory + "/run/crisp.sock")
os.kill(pid, 15)
assert notify.recv(400).startswith(b"STOPPING=1\n")
assert os.waitpid(pid, 0)[1] == 0
assert os.path.exists(directory + "/handed.sock")
