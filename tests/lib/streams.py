# SPDX-License-Identifier: Apache-2.0
"""Streaming clients that are not ours: SPDY/3.1 and WebSocket by hand, on plain sockets.

    c = Spdy(url, "v4.channel.k8s.io")        # counts=True: one that does flow control
    out = c.open(streamtype="stdout")         # waits for the reply
    c.send(stdin, b"...", end=True); c.wait(out); c.data(out)
    w = WebSocket(url, "v5.channel.k8s.io"); w.send(0, b"..."); w.wait(); w.data(1)
"""
import base64
import hashlib
import os
import socket
import struct
import threading
import time
import zlib
from urllib.parse import urlparse

import tls_client

# Of the SPDY/3 draft: likely words with their length in front, then likely text.
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
    "allow authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin ")
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritativ"
    "e Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 I"
    "nternal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec"
    " 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xm"
    "l,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset="
    "iso-8859-1,utf-,*,enq=0.")
DICTIONARY = b"".join(struct.pack(">I", len(w)) + w.encode() for w in (w.replace("_", " ") for w in _WORDS.split())) + _TEXT.encode()
assert len(DICTIONARY) == 1423

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
LIMIT = 60


class Refused(Exception):
    pass


def connect(url, headers, method="POST"):
    """The socket after the upgrade, the response's headers, and what came behind them."""
    u = urlparse(url)
    if u.scheme == "https":
        s = tls_client.connect(u.hostname, u.port, LIMIT)
    else:
        s = socket.create_connection((u.hostname, u.port), timeout=LIMIT)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n" % (method, u.path, u.netloc)
    s.sendall((head + "".join("%s: %s\r\n" % h for h in headers) + "\r\n").encode())
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(4096)
        if not more:
            raise Refused(data.decode())
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    if " 101 " not in lines[0]:
        while True:
            more = s.recv(4096)
            if not more:
                break
            rest += more
        raise Refused(head.decode() + "\n" + rest.decode())
    return s, dict(line.lower().split(": ", 1) for line in lines[1:]), rest


class Stream:
    def __init__(self):
        self.data = bytearray()
        self.replied = self.ended = self.reset = False


class Conn:
    """A reader thread and a condition for whoever waits for what it reads."""

    def __init__(self):
        self.cond = threading.Condition()
        self.closed = False
        self.paused = False

    def start(self):
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            self.read()
        except OSError:
            pass
        with self.cond:
            self.closed = True
            self.cond.notify_all()

    def until(self, what, limit=LIMIT):
        with self.cond:
            if not self.cond.wait_for(what, limit):
                raise TimeoutError("waited %s s" % limit)

    def pause(self, on=True):
        with self.cond:
            self.paused = on
            self.cond.notify_all()

    def turn(self):
        with self.cond:
            self.cond.wait_for(lambda: not self.paused)

    def wait_closed(self, limit=LIMIT):
        self.until(lambda: self.closed, limit)


class Spdy(Conn):
    def __init__(self, url, *protocols, counts=False, transport=None):
        super().__init__()
        self.counts = counts
        self.lock = threading.Lock()
        self.pack = zlib.compressobj(zdict=DICTIONARY)
        self.unpack = zlib.decompressobj(zdict=DICTIONARY)
        self.streams, self.next, self.goaway, self.pongs = {}, 1, False, []
        self.window, self.windows = 65536, {}
        if transport:
            self.sock, self.headers, self.rest = transport, {}, b""
        else:
            names = [("Upgrade", "SPDY/3.1")] + [("X-Stream-Protocol-Version", p) for p in protocols]
            self.sock, self.headers, self.rest = connect(url, names)
        self.start()

    def _more(self, n):
        while len(self.rest) < n:
            self.turn()
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("closed")
            self.rest += more
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def raw(self, data):
        with self.lock:
            self.sock.sendall(data)

    def control(self, kind, payload, flags=0):
        self.raw(struct.pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload)

    def read(self):
        while True:
            first, second = struct.unpack(">II", self._more(8))
            flags, length = second >> 24, second & 0xffffff
            payload = self._more(length)
            with self.cond:
                if first & 0x80000000:
                    self._control(first & 0xffff, flags, payload)
                else:
                    self._data(first, flags, payload)
                self.cond.notify_all()

    def _data(self, sid, flags, payload):
        s = self.streams[sid]
        assert s.replied and not s.ended
        s.data += payload
        s.ended = bool(flags & 1)
        if self.counts:
            self.taken = getattr(self, "taken", 0) + len(payload)
            s.got = getattr(s, "got", 0) + len(payload)
            # What it was allowed: 64 KiB and what has been given back.
            s.allowed = getattr(s, "allowed", 65536)
            assert s.got <= s.allowed, (s.got, s.allowed)
            if payload:
                s.allowed += len(payload)
                self.control(WINDOW_UPDATE, struct.pack(">II", sid, len(payload)))
                self.control(WINDOW_UPDATE, struct.pack(">II", 0, len(payload)))

    def _control(self, kind, flags, payload):
        if kind in (SYN_REPLY, RST_STREAM):
            s = self.streams[struct.unpack(">I", payload[:4])[0]]
            if kind == SYN_REPLY:
                assert self.unpack.decompress(payload[4:]) == bytes(4)
                s.replied = True
            else:
                s.reset = s.ended = True
        elif kind == GOAWAY:
            self.goaway = True
        elif kind == PING:
            self.pongs.append(payload)
        elif kind == WINDOW_UPDATE:
            sid, delta = struct.unpack(">II", payload)
            if sid:
                self.windows[sid] = self.windows.get(sid, 65536) + delta
            else:
                self.window += delta

    def settings(self):
        self.control(SETTINGS, struct.pack(">III", 1, 7, 65536))

    def syn(self, headers, flags=0, sid=None):
        if sid is None:
            sid, self.next = self.next, self.next + 2
        self.streams[sid] = Stream()
        block = struct.pack(">I", len(headers))
        for k, v in headers.items():
            block += struct.pack(">I", len(k)) + k.encode() + struct.pack(">I", len(v)) + v.encode()
        packed = self.pack.compress(block) + self.pack.flush(zlib.Z_SYNC_FLUSH)
        self.control(SYN_STREAM, struct.pack(">IIH", sid, 0, 0) + packed, flags)
        return sid

    def open(self, wait=True, **headers):
        sid = self.syn(headers)
        if wait:
            self.until(lambda: self.streams[sid].replied or self.streams[sid].reset or self.closed)
        return sid

    def send(self, sid, data=b"", end=False):
        view = memoryview(data)
        while True:
            n = min(len(view), 32768)
            if self.counts and n:
                self.until(lambda: self.windows.get(sid, 65536) > 0 and self.window > 0)
                with self.cond:
                    n = min(n, self.windows.get(sid, 65536), self.window)
                    self.windows[sid] = self.windows.get(sid, 65536) - n
                    self.window -= n
            last = n == len(view)
            self.raw(struct.pack(">II", sid, (end and last) << 24 | n) + view[:n])
            view = view[n:]
            if last:
                return

    def reset(self, sid):
        self.control(RST_STREAM, struct.pack(">II", sid, 5))

    def wait(self, *sids, limit=LIMIT):
        self.until(lambda: all(self.streams[s].ended for s in sids) or self.closed, limit)

    def data(self, sid):
        with self.cond:
            return bytes(self.streams[sid].data)

    def expect(self, sid, text, limit=20):
        self.until(lambda: text in self.streams[sid].data, limit)

    def close(self):
        self.sock.close()


class WebSocket(Conn):
    def __init__(self, url, *protocols):
        super().__init__()
        key = base64.b64encode(os.urandom(16)).decode()
        names = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)]
        if protocols:
            names.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
        self.sock, self.headers, self.rest = connect(url, names, "GET")
        want = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert self.headers["sec-websocket-accept"] == base64.b64encode(want).decode().lower()
        self.messages, self.code, self.pongs, self.lock = [], None, [], threading.Lock()
        self.base64 = "base64" in self.headers.get("sec-websocket-protocol", "")
        self.start()

    _more = Spdy._more

    def frame(self, opcode, payload, fin=True):
        mask = os.urandom(4)
        n = len(payload)
        head = bytes([(0x80 if fin else 0) | opcode])
        head += bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536 else b"\xff" + struct.pack(">Q", n)
        key = (mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(n, "big")
        with self.lock:
            self.sock.sendall(head + mask + masked)

    def read(self):
        while True:
            a, b = self._more(2)
            assert not b & 0x80
            n = b if b < 126 else struct.unpack(">H", self._more(2))[0] if b == 126 else struct.unpack(">Q", self._more(8))[0]
            payload = self._more(n)
            with self.cond:
                if a & 15 == 8:
                    self.code = struct.unpack(">H", payload[:2])[0]
                    self.cond.notify_all()
                    return
                if a & 15 == 10:
                    self.pongs.append(payload)
                else:
                    assert a == (0x81 if self.base64 else 0x82), a
                    if self.base64:
                        payload = bytes([payload[0] - 48]) + base64.b64decode(payload[1:], validate=True)
                    self.messages.append(payload)
                self.cond.notify_all()

    def send(self, channel, data):
        if self.base64:
            self.frame(1, b"%d" % channel + base64.b64encode(data))
        else:
            self.frame(2, bytes([channel]) + data)

    def close_channel(self, channel):
        self.frame(2, bytes([255, channel]))

    def data(self, channel):
        with self.cond:
            return b"".join(m[1:] for m in self.messages if m[0] == channel)

    def expect(self, channel, text, limit=20):
        self.until(lambda: text in b"".join(m[1:] for m in self.messages if m[0] == channel), limit)

    def wait(self, limit=LIMIT):
        self.until(lambda: self.closed, limit)

    def close(self):
        self.sock.close()


class Tunnel:
    """A socket whose bytes are the binary messages of a WebSocket."""

    def __init__(self, ws):
        self.ws, self.at = ws, 0

    def sendall(self, data):
        self.ws.frame(2, bytes(data))

    def recv(self, n):
        self.ws.until(lambda: self.at < len(self.ws.messages) or self.ws.closed)
        if self.at == len(self.ws.messages):
            return b""
        self.at += 1
        return self.ws.messages[self.at - 1]

    def close(self):
        self.ws.close()


def now():
    return time.monotonic()
