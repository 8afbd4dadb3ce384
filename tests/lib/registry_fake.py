# SPDX-License-Identifier: Apache-2.0
"""A server in front of a real registry that does what a real one never does on demand.

usage: registry_fake.py PORTFILE MODE[:ARGUMENT] UPSTREAM
Writes its port to PORTFILE, and its second server's to PORTFILE.second. Modes: token (bearer authentication), redirect (blobs come from a second
server), cut (a blob breaks off once), stuck (always at the same place), norange (breaks off once, knows no
ranges), flaky (503, then 429, then right), stall, endless (a manifest), liar (its digest header), count; and
each mode_NAME below, whose comment says what it does.
"""
import base64
import email.utils
import http.server
import json
import os
import re
import sys
import threading
import time
import urllib.parse
import urllib.request

PORTFILE, MODE, UPSTREAM = sys.argv[1:4]
MODE, _, ARG = MODE.partition(':')
seen = {}


def log(*words):
    # One write a line: what print() writes piece by piece, two threads' lines would share.
    os.write(1, (' '.join(map(str, words)) + '\n').encode())


def send(handler, status, body, headers=None):
    handler.send_response(status)
    for k, v in (headers or {}).items():
        handler.send_header(k, v)
    handler.send_header('Content-Length', str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class Second(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        log('second', 'authorized' if self.headers.get('Authorization') else 'bare')
        if self.path.startswith('/elsewhere/'):
            with open(f'{UPSTREAM}/blobs/sha256/{self.path[11:]}', 'rb') as f:
                return send(self, 200, f.read())
        return pass_on(self)


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
    cut = asked and ranges and status == 200
    if cut:
        total, at = len(body), int(asked[1])
        status, body = 206, body[at:]
    handler.send_response(status)
    if cut:
        handler.send_header('Content-Range', f'bytes {at}-{total - 1}/{total}')
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
            if who in ('anonymous', 'joe:secret', '<token>:refresh-me'):
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
        if MODE == 'nopost':
            return self.answer(404, {})
        log('oauth2 refresh_token=' + body['refresh_token'][0], body['grant_type'][0], body['scope'][0])
        self.answer(200, {'Content-Type': 'application/json'}, b'{"access_token":"good"}')

    def is_layer(self):
        return '/blobs/' in self.path and len(upstream(self)[2]) > 100000

    def forever(self, chunk, seconds=0.0):
        try:
            while True:
                self.wfile.write(chunk)
                time.sleep(seconds)
        except OSError:
            self.close_connection = True

    # Every answer has that status, or without one that of the path's /sNNN/.
    def mode_status(self, n):
        status = ARG or re.search(r'/s(\d{3})/', self.path)[1]
        return self.answer(int(status), {}, json.dumps({'errors': [{'code': 'X', 'message': 'as told\nto'}]}).encode())

    # Knows manifests and configurations, answers for layers with that status.
    def mode_layerstatus(self, n):
        return self.answer(int(ARG), {}) if self.is_layer() else pass_on(self)

    # Layers of the right length with other bytes.
    def mode_wrongblob(self, n):
        if not self.is_layer():
            return pass_on(self)
        body = upstream(self)[2]
        return send(self, 200, body[:5000] + bytes(b ^ 1 for b in body[5000:]))

    # The same for manifests and configurations, with no header that would tell.
    def mode_wrongtext(self, n):
        status, headers, body = upstream(self)
        if '/manifests/sha256:' not in self.path and ('/blobs/' not in self.path or self.is_layer()):
            return pass_on(self)
        return send(self, status, body[:-1] + b' }', {'Content-Type': headers['Content-Type']})

    # Layers that are too short, and say so.
    def mode_shortblob(self, n):
        return send(self, 200, upstream(self)[2][:60000]) if self.is_layer() else pass_on(self)

    # Takes the request and says nothing.
    def mode_never(self, n):
        threading.Event().wait()

    # A manifest: 503 twice, with that Retry-After; "date" is a moment from now.
    def mode_retry(self, n):
        if n > 2 or '/manifests/' not in self.path:
            return pass_on(self)
        log('asked at', time.monotonic())
        after = email.utils.formatdate(time.time() + 2, usegmt=True) if ARG == 'date' else ARG
        return self.answer(503, {'Retry-After': after})

    # A layer breaks off, then: no ranges (416), another range than asked for, other bytes, or no headers of ranges.
    def mode_resume(self, n):
        if not self.is_layer():
            return pass_on(self)
        body = upstream(self)[2]
        asked = re.match(r'bytes=(\d+)-', self.headers.get('Range', ''))
        if n == 1:
            return pass_on(self, keep=len(body) // 2)
        log('range', asked[1] if asked else 'none')
        if not asked:
            return send(self, 200, body)
        at = int(asked[1])
        if ARG == '416':
            return self.answer(416, {})
        if ARG == 'other':
            return send(self, 206, body[at - 7:], {'Content-Range': f'bytes {at - 7}-{len(body) - 1}/{len(body)}'})
        if ARG == 'bare':
            return send(self, 206, body[at:])
        return send(self, 206, bytes(len(body) - at), {'Content-Range': f'bytes {at}-{len(body) - 1}/{len(body)}'})

    # A layer: its first half, damaged, and then no more.
    def mode_halflie(self, n):
        if not self.is_layer():
            return pass_on(self)
        if n > 1:
            return self.answer(404, {})
        log('half a lie')
        body = upstream(self)[2]
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] + bytes(b ^ 1 for b in body[1000:len(body) // 2]))
        self.close_connection = True

    # A layer: so many bytes, and the connection ends.
    def mode_crumbs(self, n):
        return pass_on(self, keep=int(ARG)) if self.is_layer() else pass_on(self)

    # A layer comes at so many bytes each tenth of a second.
    def mode_trickle(self, n):
        if not self.is_layer():
            return pass_on(self)
        body = upstream(self)[2]
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.close_connection = True
        try:
            for at in range(0, len(body), int(ARG)):
                self.wfile.write(body[at:at + int(ARG)])
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            log('gone')

    # Headers, or the body of an error, without end; or a manifest of 100 MB.
    def mode_headers(self, n):
        self.wfile.write(b'HTTP/1.1 200 OK\r\n')
        self.forever(b'X-Filler: ' + b'x' * 1000 + b'\r\n')

    def mode_errorbody(self, n):
        self.wfile.write(b'HTTP/1.1 404 Not Found\r\n\r\n')
        self.forever(b'x' * 65536)

    def mode_huge(self, n):
        self.send_response(200)
        self.send_header('Content-Type', 'application/vnd.oci.image.manifest.v1+json')
        self.send_header('Content-Length', '100000000')
        self.end_headers()
        self.forever(b' ' * 65536)

    # Redirects: to itself for ever, to another port of the same host, to what is no URL of the web.
    def mode_loop(self, n):
        return self.answer(302, {'Location': self.path})

    def mode_port(self, n):
        if not self.headers.get('Authorization'):
            return self.answer(401, {'WWW-Authenticate': 'Basic realm="x"'})
        log('authorized as', base64.b64decode(self.headers['Authorization'][6:]).decode())
        if '/blobs/' not in self.path:
            return pass_on(self)
        return self.answer(307, {'Location': f'http://127.0.0.1:{second.server_port}{self.path}'})

    def mode_file(self, n):
        return self.answer(302, {'Location': 'file:///etc/passwd'})

    # Redirects to a second server that wants a login: nobody may answer it with the registry's credentials.
    def mode_bait(self, n):
        if self.path.startswith('/bait'):
            log('bait taken', self.headers.get('Authorization'))
            return self.answer(200, {}, b'{"token":"x"}')
        host = self.headers['Host']
        if self.path.startswith('/v2/') and host.startswith('127.'):
            return self.answer(307, {'Location': f'http://localhost:{first.server_port}{self.path}'})
        return self.answer(401, {'WWW-Authenticate': f'Bearer realm="http://127.0.0.1:{first.server_port}/bait"'})

    # Several challenges: in one header, or in several.
    def mode_challenges(self, n):
        if self.path.startswith('/token') or self.headers.get('Authorization') == 'Bearer good':
            return self.token()
        bearer = f'Bearer realm="http://{self.headers["Host"]}/token",service="fake, \\"quoted\\"",scope="repository:busy:pull"'
        self.send_response(401)
        if ARG == 'one':
            self.send_header('WWW-Authenticate', 'Negotiate, Basic realm="a, b", ' + bearer)
        else:
            for c in ('Basic realm="a"', bearer, 'Digest realm="x", nonce="y"'):
                self.send_header('WWW-Authenticate', c)
        self.send_header('Content-Length', '0')
        return self.end_headers()

    # Tokens live for two seconds, and a layer takes one.
    def mode_expire(self, n):
        now = time.monotonic()
        if self.path.startswith('/token'):
            name = f'T{len(seen)}'
            seen[name] = now
            log('token')
            return self.answer(200, {}, json.dumps({'token': name, 'expires_in': 2 if ARG == 'told' else 600}).encode())
        name = self.headers.get('Authorization', '')[7:]
        if name in seen and now < seen[name] + 1.9:
            if self.is_layer():
                time.sleep(0.9)
            return pass_on(self)
        log('refused', name or 'bare')
        return self.answer(401, {'WWW-Authenticate': f'Bearer realm="http://{self.headers["Host"]}/token",service="fake"'})

    # A token server without POST.
    def mode_nopost(self, n):
        return self.token()

    # UPSTREAM is an OCI layout; layers are known to the second server only.
    def mode_elsewhere(self, n):
        with open(UPSTREAM + '/index.json') as f:
            top = json.load(f)['manifests'][0]
        kind, what = self.path.split('?')[0].split('/')[-2:]
        name = top['digest'] if kind == 'manifests' else what
        with open(f'{UPSTREAM}/blobs/sha256/{name[7:]}', 'rb') as f:
            body = f.read()
        if kind == 'blobs' and body[:1] != b'{':
            return self.answer(404, {})
        return send(self, 200, body, {'Content-Type': top['mediaType'] if kind == 'manifests' else 'application/json'})

    def do_GET(self):
        blob = '/blobs/' in self.path
        n = seen[self.path] = seen.get(self.path, 0) + 1
        log('GET', self.path)
        mode = getattr(self, 'mode_' + MODE, None)
        if mode:
            return mode(n)
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
with open(PORTFILE + '.second', 'w') as f:
    f.write(str(second.server_port))
with open(PORTFILE + '.new', 'w') as f:
    f.write(str(first.server_port))
os.rename(PORTFILE + '.new', PORTFILE)
threading.Event().wait()
