#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""h2_raw.py SOCKET CASE: what no client library would send to crispd. Frames are made by hand; header fields are
sent as literals, and those that come back are not decoded. Status 0 when the case holds."""
import select
import socket
import struct
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
ACK = END_STREAM = 1
END_HEADERS = 4


class Closed(Exception):
    pass


def frame(kind, flags=0, stream=0, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def literal(name, value):
    out = b"\0"
    for s in (name, value):
        s = s.encode()
        assert len(s) < 127
        out += bytes([len(s)]) + s
    return out


def request_headers(path="/runtime.v1.RuntimeService/Version", more=()):
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
              ("content-type", "application/grpc"), ("te", "trailers"), *more]
    return b"".join(literal(n, v) for n, v in fields)


def message(body=b""):
    return b"\0" + struct.pack(">I", len(body)) + body


class Client:
    def __init__(self, greet=True):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)
        self.sock.settimeout(10)
        self.buffer = b""
        if greet:
            self.send(PREFACE + frame(SETTINGS))

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Closed from e

    def read(self, n):
        while len(self.buffer) < n:
            try:
                more = self.sock.recv(65536)
            except ConnectionError as e:
                raise Closed from e
            if not more:
                raise Closed
            self.buffer += more
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def frame(self):
        head = self.read(9)
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        stream = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
        return kind, flags, stream, self.read(size)

    def until(self, kind, stream=None):
        """The next frame of this kind, skipping others."""
        while True:
            f = self.frame()
            if f[0] == kind and stream in (None, f[2]):
                return f

    def answer(self, stream):
        """All of a stream's answer: the data, and whether it ended well (not by RST)."""
        data = b""
        while True:
            kind, flags, _, body = self.frame_of(stream)
            if kind == RST:
                return data, False
            if kind == DATA:
                data += body
            if flags & END_STREAM:
                return data, True

    def frame_of(self, stream):
        while True:
            f = self.frame()
            if f[2] == stream:
                return f

    def call(self, stream):
        self.send(frame(HEADERS, END_HEADERS, stream, request_headers()) + frame(DATA, END_STREAM, stream, message()))
        data, well = self.answer(stream)
        assert well and b"crisp" in data, data

    def is_closed(self):
        try:
            while True:
                self.frame()
        except Closed:
            return True
        except socket.timeout:
            return False


def alive():
    Client().call(1)


def case_call():
    c = Client()
    for stream in range(1, 21, 2):
        c.call(stream)


def case_http1():
    c = Client(greet=False)
    c.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert c.is_closed()
    alive()


def case_garbage():
    for n in (1, 10, 1000, 100000):
        c = Client(greet=False)
        try:
            c.send(bytes((i * 7 + 13) % 256 for i in range(n)))
        except Closed:
            pass
        if n >= len(PREFACE):
            assert c.is_closed()
    c = Client()
    try:
        c.send(b"\xff" * 100000)
    except Closed:
        pass
    assert c.is_closed()
    alive()


def case_truncated():
    """Clients that stop in the middle of something, and stay or go."""
    whole = PREFACE + frame(SETTINGS) + frame(HEADERS, END_HEADERS, 1, request_headers()) + frame(DATA, 0, 1, message())
    stay = []
    for n in range(0, len(whole), 3):
        c = Client(greet=False)
        c.send(whole[:n])
        if n % 2:
            stay.append(c)
        else:
            c.sock.close()
    alive()


def case_half_closed():
    """A client that ends its side gets no answer: it is gone."""
    c = Client()
    c.sock.shutdown(socket.SHUT_WR)
    assert c.is_closed()
    alive()


def case_bytewise():
    c = Client(greet=False)
    for b in PREFACE + frame(SETTINGS) + frame(HEADERS, END_HEADERS, 1, request_headers()):
        c.send(bytes([b]))
    for b in frame(DATA, 0, 1, message(b"\x0a\x03abc")[:4]) + frame(DATA, END_STREAM, 1, message(b"\x0a\x03abc")[4:]):
        c.send(bytes([b]))
    data, well = c.answer(1)
    assert well and b"crisp" in data


def refused(body, flags=END_STREAM, headers=None):
    """A call that is answered by a status alone."""
    c = Client()
    c.send(frame(HEADERS, END_HEADERS, 1, headers or request_headers()) + frame(DATA, flags, 1, body))
    data, well = c.answer(1)
    assert data == b"" and well, data
    return c


def case_bad_messages():
    refused(b"")
    refused(b"\0\0")
    refused(message(b"abcd")[:-1])
    refused(message() + message())
    refused(b"\2" + message()[1:])
    refused(b"\1" + message()[1:])
    # More than the limit announced, nothing of it sent: refused at once, and the stream is reset without an error.
    c = refused(b"\0\xff\xff\xff\xff", flags=0)
    assert c.until(RST, 1)[3] == b"\0\0\0\0"
    c.call(3)


def case_header_limits():
    """More headers than we take: the stream or the connection ends, the daemon does not."""
    c = Client()
    block = request_headers(more=[("x-%d" % i, "y" * 100) for i in range(100)])
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block[:16000]))
    assert c.is_closed() or True
    c = Client()
    c.send(frame(HEADERS, 0, 1, request_headers()))
    try:
        for _ in range(5000):
            c.send(frame(CONTINUATION, 0, 1, literal("a", "b" * 100) * 100))
    except Closed:
        pass
    assert c.is_closed()
    alive()


def case_ping_flood():
    """A client that pings and never reads is cut off; one that reads is answered."""
    c = Client()
    c.send(frame(PING, 0, 0, b"12345678"))
    assert c.until(PING)[1:] == (ACK, 0, b"12345678")
    c.sock.settimeout(5)
    try:
        for _ in range(200):
            c.send(frame(PING, 0, 0, b"12345678") * 1000)
        raise AssertionError("200000 pings were taken")
    except (Closed, socket.timeout):
        pass
    alive()


def case_rapid_reset():
    c = Client()
    try:
        for i in range(20000):
            s = 2 * i + 1
            c.send(frame(HEADERS, END_HEADERS, s, request_headers()) + frame(RST, 0, s, b"\0\0\0\x08"))
            if select.select([c.sock], [], [], 0)[0]:
                c.sock.recv(65536)
        raise AssertionError("20000 resets were taken")
    except (Closed, ConnectionError):
        pass
    alive()


def case_too_many_streams():
    """More calls under way than SETTINGS_MAX_CONCURRENT_STREAMS: those above are refused, or the connection ends."""
    c = Client()
    try:
        c.until(SETTINGS)
        c.send(frame(SETTINGS, ACK))
        for i in range(2100):
            c.send(frame(HEADERS, END_HEADERS, 2 * i + 1, request_headers()))
        while True:
            f = c.frame()
            if f[0] in (RST, GOAWAY):
                break
    except Closed:
        pass
    alive()


def case_window():
    """Our window is closed: the answer waits for it, and comes in the slices that we allow."""
    c = Client(greet=False)
    c.send(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    c.send(frame(HEADERS, END_HEADERS, 1, request_headers()) + frame(DATA, END_STREAM, 1, message()))
    assert c.frame_of(1)[0] == HEADERS
    c.sock.settimeout(0.3)
    try:
        c.frame_of(1)
        raise AssertionError("data was sent into a closed window")
    except socket.timeout:
        pass
    c.sock.settimeout(10)
    data = b""
    while len(data) < 5 or len(data) < 5 + int.from_bytes(data[1:5], "big"):
        c.send(frame(WINDOW, 0, 1, struct.pack(">I", 3)))
        kind, _, _, body = c.frame_of(1)
        assert kind == DATA and len(body) <= 3
        data += body
    assert c.frame_of(1)[:2] == (HEADERS, END_HEADERS | END_STREAM)


def case_gone():
    """Clients that leave before the answer."""
    for _ in range(300):
        c = Client()
        c.send(frame(HEADERS, END_HEADERS, 1, request_headers()) + frame(DATA, END_STREAM, 1, message()))
        c.sock.close()
    alive()


def case_never_reads():
    """A client that calls and calls and never reads: it is not read any more either, others are served."""
    c = Client()
    c.sock.setblocking(False)
    sent, stream, stuck = 0, 1, 0
    pending = b""
    while stuck < 20 and sent < 100 << 20:
        if not pending:
            pending = frame(HEADERS, END_HEADERS, stream, request_headers()) + frame(DATA, END_STREAM, stream, message())
            stream += 2
        try:
            n = c.sock.send(pending)
            pending, sent, stuck = pending[n:], sent + n, 0
        except BlockingIOError:
            time.sleep(0.05)
            stuck += 1
        except OSError:
            break
    assert sent < 20 << 20, sent
    alive()


def case_goaway():
    """Prints "ready"; then the daemon is told to end: GOAWAY comes, a call under way is answered, the end is clean."""
    c = Client()
    c.call(1)
    c.send(frame(HEADERS, END_HEADERS, 3, request_headers()))
    c.send(frame(PING, 0, 0, b"12345678"))
    c.until(PING)
    print("ready", flush=True)
    goaway = c.until(GOAWAY)
    assert struct.unpack(">II", goaway[3][:8]) == (3, 0), goaway
    c.send(frame(DATA, END_STREAM, 3, message()))
    data, well = c.answer(3)
    assert well and b"crisp" in data
    assert c.is_closed()


def case_hang():
    """A call that never becomes complete."""
    c = Client()
    c.send(frame(HEADERS, END_HEADERS, 1, request_headers()))
    c.send(frame(PING, 0, 0, b"12345678"))
    c.until(PING)
    print("ready", flush=True)
    assert c.is_closed()


SOCKET = sys.argv[1]
globals()["case_" + sys.argv[2]]()
