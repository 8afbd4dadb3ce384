# SPDX-License-Identifier: Apache-2.0
"""A server in front of a real registry that does what a real one never does on demand.

usage: registry_fake.py PORTFILE MODE UPSTREAM
Writes its port to PORTFILE. Modes: token (bearer authentication), redirect (blobs come from a second
server), cut (a blob breaks off once), stuck (always at the same place), norange (breaks off once, knows no
ranges), flaky (503, then 429, then right), stall, endless (a manifest), liar (its digest header), count.
"""
import base64
import http.server
import os
import re
import sys
import threading
import time
import urllib.parse
import urllib.request

PORTFILE, MODE, UPSTREAM = sys.argv[1:4]
seen = {}


def log(*words):
    print(*words, flush=True)


class Second(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        log('second', 'authorized' if self.headers.get('Authorization') else 'bare')
        pass_on(self)


def upstream(handler):
    path = handler.path.split('?')[0]
    req = urllib.request.Request(f'http://{UPSTREAM}{path}')
    if handler.headers.get('Accept'):
        req.add_header('Accept', handler.headers['Accept'])
    try:
        with urllib.request.urlopen(req) as r:
            return r.status, dict(r.headers), r.read()
    except urllib.error.HTTPError as e:
        return e.code, dict(e.headers), e.read()


def pass_on(handler, extra=None, keep=None, ranges=True):
    """keep: how many bytes to send of what is announced."""
    status, headers, body = upstream(handler)
    asked = re.match(r'bytes=(\d+)-', handler.headers.get('Range', ''))
    if asked:
        log('range', handler.headers['Range'])
    if asked and ranges and status == 200:
        status, body = 206, body[int(asked[1]):]
    handler.send_response(status)
    for k in ('Content-Type', 'Docker-Content-Digest'):
        if k in headers:
            handler.send_header(k, (extra or {}).get(k, headers[k]))
    handler.send_header('Content-Length', str(len(body)))
    handler.end_headers()
    handler.wfile.write(body if keep is None else body[:keep])
    if keep is not None:
        handler.close_connection = True


class First(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def answer(self, status, headers, body=b''):
        log('answer', status, self.path)
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def token(self):
        auth = self.headers.get('Authorization', '')
        if self.path.startswith('/token'):
            q = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            who = base64.b64decode(auth[6:]).decode() if auth.startswith('Basic ') else 'anonymous'
            log(f"token scope={q['scope'][0]} service={q['service'][0]} {who}")
            if who in ('anonymous', 'joe:secret'):
                return self.answer(200, {'Content-Type': 'application/json'}, b'{"token":"good"}')
            return self.answer(401, {})
        if auth == 'Bearer good':
            # A token that expires: the first blob is refused once.
            if '/blobs/' in self.path and not seen.setdefault('expired', False):
                seen['expired'] = True
            else:
                return pass_on(self)
        host = self.headers['Host']
        return self.answer(401, {'WWW-Authenticate': f'Bearer realm="http://{host}/token",service="fake",scope="repository:busy:pull"'})

    def do_POST(self):
        body = urllib.parse.parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
        log('oauth2 refresh_token=' + body['refresh_token'][0], body['grant_type'][0], body['scope'][0])
        self.answer(200, {'Content-Type': 'application/json'}, b'{"access_token":"good"}')

    def do_GET(self):
        blob = '/blobs/' in self.path
        n = seen[self.path] = seen.get(self.path, 0) + 1
        log('GET', self.path)
        if MODE == 'token':
            return self.token()
        if MODE == 'redirect':
            if not self.headers.get('Authorization'):
                return self.answer(401, {'WWW-Authenticate': 'Basic realm="x"'})
            log('first authorized')
            if blob:
                return self.answer(307, {'Location': f'http://localhost:{second.server_port}{self.path}'})
        if MODE == 'endless' and '/manifests/' in self.path:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b' ' * 65536)
            except OSError:
                return None
        if MODE == 'liar' and '/manifests/' in self.path:
            return pass_on(self, {'Docker-Content-Digest': 'sha256:' + '0' * 64})
        if MODE == 'flaky' and n <= 2:
            return self.answer(503 if n == 1 else 429, {'Retry-After': '0'})
        size = len(upstream(self)[2]) if blob else 0
        # The configuration is small; only the layer is tampered with.
        if size > 100000:
            if MODE in ('cut', 'norange') and n <= 2:
                return pass_on(self, keep=size // 3, ranges=MODE == 'cut')
            if MODE == 'stuck':
                return pass_on(self, keep=0 if self.headers.get('Range') else 50000)
            if MODE == 'stall':
                status, headers, body = upstream(self)
                self.send_response(status)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body[:50000])
                self.wfile.flush()
                log('stalling')
                time.sleep(60)
                return None
            if MODE == 'count':
                time.sleep(0.5)
        return pass_on(self, ranges=MODE != 'norange')


def serve(cls):
    s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), cls)
    s.daemon_threads = True
    threading.Thread(target=s.serve_forever, daemon=True).start()
    return s


second = serve(Second)
first = serve(First)
with open(PORTFILE + '.new', 'w') as f:
    f.write(str(first.server_port))
os.rename(PORTFILE + '.new', PORTFILE)
threading.Event().wait()
