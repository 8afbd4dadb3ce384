# SPDX-License-Identifier: Apache-2.0
"""A small registry over one OCI layout that can be slow, for tests of what a pull does meanwhile.

usage: pull_registry.py PORTFILE LAYOUT GATE
Serves every name; a tag is looked up in index.json. Each request is a line on stdout: "GET PATH"; and when a
layer has gone out in part "held DIGEST". While the file GATE exists, of each blob of more than 10000 bytes only half goes out, the
rest once it is gone. "most N" is told when more layers than ever before are under way.
"""
import http.server
import json
import os
import sys
import threading
import time

PORTFILE, LAYOUT, GATE = sys.argv[1:4]
lock = threading.Lock()
under_way, most = 0, 0


def log(*words):
    # One write a line: what print() writes piece by piece, two threads' lines would share.
    os.write(1, (' '.join(map(str, words)) + '\n').encode())


def count(n):
    global under_way, most
    with lock:
        under_way += n
        if under_way > most:
            most = under_way
            log('most', most)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def blob(self, digest, media_type):
        try:
            with open(f'{LAYOUT}/blobs/sha256/{digest[7:]}', 'rb') as f:
                body = f.read()
        except OSError:
            self.send_response(404)
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header('Content-Type', media_type)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if len(body) <= 10000 or '/blobs/' not in self.path:
            self.wfile.write(body)
            return
        count(1)
        try:
            half = len(body) // 2
            self.wfile.write(body[:half])
            if os.path.exists(GATE):
                log('held', digest)
            while os.path.exists(GATE):
                time.sleep(0.01)
            self.wfile.write(body[half:])
        except OSError:
            pass
        count(-1)

    def do_GET(self):
        log('GET', self.path)
        last = self.path.split('/')[-1]
        if '/blobs/' in self.path or last.startswith('sha256:'):
            return self.blob(last, 'application/octet-stream')
        with open(LAYOUT + '/index.json') as f:
            for d in json.load(f)['manifests']:
                if d.get('annotations', {}).get('org.opencontainers.image.ref.name') == last:
                    return self.blob(d['digest'], d['mediaType'] + '; charset=utf-8')
        return self.blob('sha256:none', '')


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
server.daemon_threads = True
with open(PORTFILE + '.new', 'w') as f:
    f.write(str(server.server_port))
os.rename(PORTFILE + '.new', PORTFILE)
server.serve_forever()
