#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""net_echo.py serve tcp|udp|sctp PORT: says "ready", then answers each message with "<message> from <client's address>".
net_echo.py ask tcp|udp|sctp HOST PORT MESSAGE: prints the answer, within two seconds, or fails."""
import socket
import sys

KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}


def serve(kind, port):
    s = socket.socket(socket.AF_INET6, *KINDS[kind])
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port))
    if kind != "udp":
        s.listen(16)
    print("ready", flush=True)
    while True:
        if kind == "udp":
            data, peer = s.recvfrom(2048)
            s.sendto(data + b" from " + peer[0].replace("::ffff:", "").encode(), peer)
            continue
        c, peer = s.accept()
        with c:
            c.settimeout(2)
            c.sendall(c.recv(2048) + b" from " + peer[0].replace("::ffff:", "").encode())


def ask(kind, host, port, message):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, *KINDS[kind])
    s.settimeout(2)
    s.connect((host, port))
    s.sendall(message.encode())
    print(s.recv(2048).decode())


if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]))
ask(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
