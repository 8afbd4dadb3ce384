# SPDX-License-Identifier: Apache-2.0
"""A small HTTP proxy: GET of absolute URLs and CONNECT; logs both.

usage: proxy.py PORTFILE [HOST=ADDRESS:PORT...]
A HOST (with :PORT) that is given goes to that address, so that names need no resolver.
"""
import http.server
import os
import select
import socket
import sys
import urllib.parse

PORTFILE = sys.argv[1]
hosts = dict(pair.split('=') for pair in sys.argv[2:])


def connect(netloc):
    host, _, port = hosts.get(netloc, netloc).rpartition(':')
    return socket.create_connection((host, int(port)))


def pump(a, b):
    while True:
        for s in select.select([a, b], [], [])[0]:
            data = s.recv(65536)
            if not data:
                return
            (b if s is a else a).sendall(data)


def log(*words):
    # One write a line: what print() writes piece by piece, two threads' lines would share.
    os.write(1, (' '.join(map(str, words)) + '\n').encode())


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_CONNECT(self):
        log('CONNECT', self.path)
        with connect(self.path) as out:
            self.wfile.write(b'HTTP/1.1 200 Connected\r\nX-Of-The-Proxy: 1\r\n\r\n')
            pump(self.connection, out)
        self.close_connection = True

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        log('GET', self.path)
        with connect(url.netloc) as out:
            query = '?' + url.query if url.query else ''
            head = [f'GET {url.path}{query} HTTP/1.0']
            head += [f'{k}: {v}' for k, v in self.headers.items() if not k.lower().startswith(('proxy-', 'connection'))]
            out.sendall(('\r\n'.join(head) + '\r\n\r\n').encode())
            while True:
                data = out.recv(65536)
                if not data:
                    break
                self.wfile.write(data)
        self.close_connection = True


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
server.daemon_threads = True
with open(PORTFILE + '.new', 'w', encoding='ascii') as f:
    f.write(str(server.server_port))
os.rename(PORTFILE + '.new', PORTFILE)
server.serve_forever()
