# SPDX-License-Identifier: Apache-2.0
"""A token server for docker-registry's "token" authentication: JSON web tokens, signed by openssl.

usage: token_server.py PORTFILE KEY CERTIFICATE ISSUER SECONDS
GET with basic authentication (joe:secret; anybody else gets 401), POST with the refresh token "refresh-me".
Logs what was asked for. Tokens are valid for SECONDS.
"""
import base64
import http.server
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
import uuid

PORTFILE, KEY, CERT, ISSUER, SECONDS = sys.argv[1:6]


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def token(service, scope):
    kind, name, actions = scope.split(':', 2)
    with open(CERT, encoding='ascii') as f:
        x5c = ''.join(re.findall(r'^[A-Za-z0-9+/=]+$', f.read(), re.M))
    now = int(time.time())
    claims = {'iss': ISSUER, 'sub': 'joe', 'aud': service, 'exp': now + int(SECONDS), 'nbf': now - 5, 'iat': now,
              'jti': str(uuid.uuid4()), 'access': [{'type': kind, 'name': name, 'actions': actions.split(',')}]}
    text = b64(json.dumps({'typ': 'JWT', 'alg': 'RS256', 'x5c': [x5c]}).encode()) + '.' + b64(json.dumps(claims).encode())
    sign = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', KEY], input=text.encode(), stdout=subprocess.PIPE, check=True)
    return text + '.' + b64(sign.stdout)


def log(*words):
    # One write a line: what print() writes piece by piece, two threads' lines would share.
    os.write(1, (' '.join(map(str, words)) + '\n').encode())


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, what):
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        q = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        auth = self.headers.get('Authorization', '')
        who = base64.b64decode(auth[6:]).decode() if auth.startswith('Basic ') else 'anonymous'
        log('GET', q['scope'][0], q['service'][0], who)
        if who != 'joe:secret':
            return self.answer(401, {})
        return self.answer(200, {'token': token(q['service'][0], q['scope'][0]), 'expires_in': int(SECONDS)})

    def do_POST(self):
        q = urllib.parse.parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
        log('POST', q['scope'][0], q['grant_type'][0], q['client_id'][0])
        if q['refresh_token'][0] != 'refresh-me':
            return self.answer(401, {})
        return self.answer(200, {'access_token': token(q['service'][0], q['scope'][0]), 'expires_in': int(SECONDS)})


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
with open(PORTFILE + '.new', 'w', encoding='ascii') as out:
    out.write(str(server.server_port))
os.rename(PORTFILE + '.new', PORTFILE)
server.serve_forever()
