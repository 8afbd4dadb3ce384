#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""echo_server.py HOST PORT: says "ready", then sends every connection back what it gets, until killed."""
import socket
import socketserver
import sys


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while True:
            data = self.request.recv(65536)
            if not data:
                break
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 512
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET


with Server((sys.argv[1], int(sys.argv[2])), Echo) as server:
    print("ready", flush=True)
    server.serve_forever()
