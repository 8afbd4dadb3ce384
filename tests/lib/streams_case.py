#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""streams_case.py CASE URL...: one conversation with crispd's streaming server, by the clients of streams.py. Ends with
status 0 when the case holds."""
import hashlib
import json
import os
import socket
import struct
import sys
import threading
import time
from urllib.parse import urlparse

from streams import Refused, Spdy, Tunnel, WebSocket, connect, now

CASE, URLS = sys.argv[1], sys.argv[2:]
V4 = "v4.channel.k8s.io"


def status(c, error):
    return json.loads(c.data(error))


def open_all(c, *kinds):
    return [c.open(streamtype=k) for k in ("error",) + kinds]


def refused(code, fn):
    try:
        fn()
    except Refused as e:
        assert (" %d " % code) in str(e).split("\r\n")[0], str(e)
        return str(e)
    raise AssertionError("not refused")


def exec_plain(url):
    c = Spdy(url, V4)
    assert c.headers["x-stream-protocol-version"] == V4
    error, out, err = open_all(c, "stdout", "stderr")
    c.wait(error, out, err)
    assert c.data(out) == b"out\n" and c.data(err) == b"err\n"
    s = status(c, error)
    assert s["status"] == "Failure" and s["reason"] == "NonZeroExitCode", s
    assert s["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}], s
    c.wait_closed()
    assert c.goaway
    refused(404, lambda: Spdy(url, V4))


def exec_versions(v4, v3, v1, old, bad):
    c = Spdy(v4, "v9.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io")
    assert c.headers["x-stream-protocol-version"] == V4
    error, out = open_all(c, "stdout")
    c.wait(error, out)
    assert c.data(error) == b'{"metadata":{},"status":"Success"}', c.data(error)
    c = Spdy(v3, "v3.channel.k8s.io")
    error, out = open_all(c, "stdout")
    c.wait(error, out)
    assert c.data(error) == b"" and c.data(out) == b"hi\n"
    c = Spdy(v1, "channel.k8s.io")
    error, out = open_all(c, "stdout")
    c.wait(error, out)
    assert c.data(out) == b"hi\n"
    c = Spdy(old)
    assert "x-stream-protocol-version" not in c.headers
    error, out = open_all(c, "stdout")
    c.wait(error, out)
    assert c.data(out) == b"hi\n"
    assert "v4.channel.k8s.io" in refused(403, lambda: Spdy(bad, "v9.channel.k8s.io"))


def exec_failure(url):
    c = Spdy(url, V4)
    error, out, err = open_all(c, "stdout", "stderr")
    c.wait(error)
    s = status(c, error)
    assert s["status"] == "Failure" and s["reason"] == "InternalError" and "nosuch" in s["message"], s


def copy(url, counts):
    size = 100 << 20
    block = os.urandom(1 << 20)
    c = Spdy(url, V4, counts=counts)
    if counts:
        c.settings()
    error, stdin, out = open_all(c, "stdin", "stdout")
    want = hashlib.sha256()

    def write():
        for _ in range(size >> 20):
            c.send(stdin, block)
        c.send(stdin, end=True)
    for _ in range(size >> 20):
        want.update(block)
    start = now()
    t = threading.Thread(target=write)
    t.start()
    c.wait(error, out)
    t.join()
    print("%.0f MB/s each way" % (size / 1e6 / (now() - start)))
    assert len(c.data(out)) == size
    assert hashlib.sha256(c.data(out)).digest() == want.digest()
    assert status(c, error)["status"] == "Success"


def exec_copy(url):
    copy(url, False)


def exec_copy_counts(url):
    copy(url, True)


def exec_count(url):
    """Half close: the command sees the end of its input, and answers after it."""
    c = Spdy(url, V4)
    error, stdin, out = open_all(c, "stdin", "stdout")
    c.send(stdin, b"x" * 100000)
    time.sleep(0.2)
    assert not c.streams[out].ended
    c.send(stdin, end=True)
    c.wait(error, out)
    assert c.data(out).strip() == b"100000"


def exec_tty(url):
    c = Spdy(url, V4)
    error, stdin, out, resize = open_all(c, "stdin", "stdout", "resize")
    c.send(resize, b'{"Width":91,"Height":37}\n{"Width":')
    c.send(stdin, b"stty size\n")
    c.expect(out, b"37 91")
    c.send(resize, b'77,"Height":21}\n')
    time.sleep(0.3)
    c.send(stdin, b"stty size; tty\n")
    c.expect(out, b"21 77")
    c.expect(out, b"/dev/pts/")
    # What the terminal makes of it: an interrupt, not a byte.
    c.send(stdin, b"cat\n")
    time.sleep(0.2)
    c.send(stdin, b"\x03")
    c.expect(out, b"^C")
    time.sleep(0.2)
    c.send(stdin, b"exit 5\n")
    c.wait(error, out)
    assert status(c, error)["details"]["causes"][0]["message"] == "5"


def exec_tty_eof(url):
    c = Spdy(url, V4)
    error, stdin, out = open_all(c, "stdin", "stdout")
    c.send(stdin, b"typed\n", end=True)
    c.wait(error, out)
    assert b"typed" in c.data(out) and status(c, error)["status"] == "Success"


def exec_open_stdin(url):
    """The session ends with the command though the client's stdin stays open."""
    start = now()
    c = Spdy(url, V4)
    error, stdin, out = open_all(c, "stdin", "stdout")
    c.wait(error, out, stdin)
    assert now() - start < 40 and status(c, error)["status"] == "Success"
    c.wait_closed()


def exec_orphan(url):
    """A process that holds the pipes does not hold the session."""
    start = now()
    c = Spdy(url, V4)
    error, out = open_all(c, "stdout")
    c.wait(error, out)
    assert 1.5 < now() - start < 40 and c.data(out) == b"said\n"


def exec_late(url):
    """A client that opens its streams late misses nothing."""
    c = Spdy(url, V4)
    time.sleep(1)
    error, out, err = open_all(c, "stdout", "stderr")
    c.wait(error, out, err)
    assert c.data(out) == b"out\n" and c.data(err) == b"err\n"
    assert status(c, error)["details"]["causes"][0]["message"] == "7"


def exec_gone(url):
    c = Spdy(url, V4)
    error, out = open_all(c, "stdout")
    c.expect(out, b"here\n")
    c.close()


def exec_goodbye(url):
    """All streams broken off and a GOAWAY: that is a client that has gone, whatever the connection does."""
    c = Spdy(url, V4)
    ids = open_all(c, "stdout")
    c.expect(ids[1], b"here\n")
    for sid in ids:
        c.reset(sid)
    c.control(7, bytes(8))
    c.wait_closed()


def exec_killed(url):
    c = Spdy(url, V4)
    error, out, err = open_all(c, "stdout", "stderr")
    c.wait(error, out, err)
    assert c.data(out) == b"out\n" and c.data(err) == b"err\n"
    assert status(c, error)["details"]["causes"][0]["message"] == "137"


def exec_dropped(url):
    """ctrstream is killed: the connection ends, and that is all."""
    c = Spdy(url, V4)
    error, out = open_all(c, "stdout")
    c.wait_closed()
    assert c.data(out) == b"here\n" and c.data(error) == b""


def exec_slow(url, other):
    """Who does not read holds up nobody else, and loses nothing."""
    c = Spdy(url, V4)
    error, out = open_all(c, "stdout")
    c.pause()
    time.sleep(0.5)
    d = Spdy(other, V4)
    error2, out2 = open_all(d, "stdout")
    d.wait(error2, out2)
    time.sleep(1)
    c.pause(False)
    c.wait(error, out)
    assert len(c.data(out)) == 50 << 20, len(c.data(out))
    assert status(c, error)["status"] == "Success"


def exec_reset(url):
    """A stream that the client breaks off is not waited for."""
    c = Spdy(url, V4)
    error, out, err = open_all(c, "stdout", "stderr")
    c.reset(out)
    c.wait(error, err)
    assert c.data(err) == b"done\n" and status(c, error)["status"] == "Success"


def exec_ping(url):
    c = Spdy(url, V4)
    error, stdin, out = open_all(c, "stdin", "stdout")
    c.control(6, struct.pack(">I", 1))
    c.control(6, struct.pack(">I", 2))
    c.control(6, struct.pack(">I", 3))
    c.until(lambda: len(c.pongs) == 2)
    assert c.pongs == [struct.pack(">I", 1), struct.pack(">I", 3)]
    # Twice the same kind, an even number, an unknown kind: refused, and all goes on.
    for sid in (c.open(streamtype="stdout"), c.open(streamtype="data"), c.open(nothing="x")):
        assert c.streams[sid].reset
    c.syn({"streamtype": "stderr"}, sid=100)
    c.until(lambda: c.streams[100].reset)
    c.send(stdin, b"hello", end=True)
    c.wait(error, out)
    assert c.data(out) == b"hello"


def exec_garbage(*urls):
    """Who does not speak the protocol loses the connection, and the command ends."""
    for url, junk in zip(urls, (b"\x00\x00\x00\x00\x00\x00\x00\x05hello", b"\x80\x03\x00\x01\x00\xff\xff\xff" + b"x" * 70000,
                                b"\x80\x03\x00\x01\x00\x00\x00\x20" + b"\x00" * 32)):
        c = Spdy(url, V4)
        c.raw(junk)
        c.wait_closed()


def exec_hold(url, flag):
    """Talks with `cat` until the file `flag` is gone, in lines of its own."""
    c = Spdy(url, V4)
    error, stdin, out = open_all(c, "stdin", "stdout")
    c.send(stdin, b"first\n")
    c.expect(out, b"first\n")
    open(flag, "w").close()
    while os.path.exists(flag):
        time.sleep(0.05)
    c.send(stdin, b"second\n")
    c.expect(out, b"second\n")
    c.send(stdin, end=True)
    c.wait(error, out)
    assert status(c, error)["status"] == "Success"


def hold_all(run, attach, forward, port, flag):
    """An exec of `cat`, an attach to an echo of lines and a forwarded connection: all three go on when `flag` is gone."""
    c, d, f = Spdy(run, V4), Spdy(attach, V4), Spdy(forward, "portforward.k8s.io")
    error, stdin, out = open_all(c, "stdin", "stdout")
    aerror, ain, aout = open_all(d, "stdin", "stdout")
    ferror, data = forward_pair(f, port, 1, b"first\n", end=False)

    def talk(word):
        c.send(stdin, word)
        d.send(ain, word)
        c.expect(out, word)
        d.expect(aout, b"got " + word)
        f.expect(data, word)
    talk(b"first\n")
    open(flag, "w").close()
    while os.path.exists(flag):
        time.sleep(0.05)
    f.send(data, b"second\n")
    talk(b"second\n")
    # New connections are made within the old session.
    e2, s2 = forward_pair(f, port, 2, b"another")
    f.wait(e2, s2)
    assert f.data(s2) == b"another" and f.data(e2) == b""
    f.send(data, end=True)
    f.wait(ferror, data)
    c.send(stdin, end=True)
    c.wait(error, out)
    assert status(c, error)["status"] == "Success"
    d.close()


def heads(url):
    u = urlparse(url)
    base = "http://%s" % u.netloc

    def ask(data):
        s = socket.create_connection((u.hostname, u.port), timeout=20)
        s.sendall(data)
        answer = b""
        while True:
            try:
                more = s.recv(4096)
            except ConnectionResetError:
                break
            if not more:
                break
            answer += more
        return answer.split(b"\r\n")[0].decode()
    assert " 404 " in ask(b"GET /exec/%s HTTP/1.1\r\n\r\n" % (b"0" * 32))
    assert " 404 " in ask(b"GET /exec/../../etc HTTP/1.1\r\n\r\n")
    assert " 404 " in ask(b"DELETE %s HTTP/1.1\r\n\r\n" % u.path.encode())
    assert " 404 " in ask(b"GET %s HTTP/1.1\r\n\r\n" % u.path.replace("exec", "attach").encode())
    assert " 404 " in ask(b"GET %s0 HTTP/1.1\r\n\r\n" % u.path.encode())
    assert " 431 " in ask(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3000)
    assert " 404 " in ask(b"\x00\xff\r\n\r\n")
    refused(404, lambda: connect(base + "/", []))
    # None of them has used it up; this does, though it asks for no upgrade.
    assert " 400 " in ask(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % u.path.encode())
    refused(404, lambda: Spdy(url, V4))


def attach_two(a, b):
    """Both see the output from then on; what either sends is read by the container, which stays when both are gone."""
    c, d = Spdy(a, V4), Spdy(b, V4)
    ce, ci, co = open_all(c, "stdin", "stdout")
    de, di, do = open_all(d, "stdin", "stdout")
    time.sleep(0.3)
    c.send(ci, b"one\n")
    c.expect(co, b"got one\n")
    d.expect(do, b"got one\n")
    d.send(di, b"two\n")
    c.expect(co, b"got two\n")
    c.send(ci, end=True)
    c.close()
    time.sleep(0.2)
    d.send(di, b"three\n")
    d.expect(do, b"got three\n")
    d.close()


def attach_once(url):
    """stdin_once: the end of the client's input is the container's; all of its output comes, then the end."""
    c = Spdy(url, V4)
    error, stdin, out, err = open_all(c, "stdin", "stdout", "stderr")
    c.send(stdin, b"x" * 300000, end=True)
    c.wait(error, out, err)
    assert c.data(out) == b"300000\n", c.data(out)
    assert c.data(err) == b"end\n"
    assert status(c, error)["status"] == "Success"


def attach_tty(url):
    c = Spdy(url, V4)
    error, stdin, out, resize = open_all(c, "stdin", "stdout", "resize")
    c.send(resize, b'{"Width":66,"Height":44}')
    time.sleep(0.3)
    c.send(stdin, b"stty size\n")
    c.expect(out, b"44 66")
    c.send(stdin, b"exit\n")
    c.wait(error, out)
    assert status(c, error)["status"] == "Success"


def attach_slow(url):
    """Dropped: the container did not wait for us."""
    c = Spdy(url, V4)
    error, stdin, out = open_all(c, "stdin", "stdout")
    time.sleep(0.3)
    c.send(stdin, b"go\n")
    c.pause()
    time.sleep(3)
    c.pause(False)
    c.wait(error, out)
    assert "too slow" in status(c, error)["message"], status(c, error)


def forward_pair(c, port, request, data=b"", end=True):
    error = c.open(streamtype="error", port=str(port), requestID=str(request))
    c.send(error, end=True)
    stream = c.open(streamtype="data", port=str(port), requestID=str(request))
    if data or end:
        c.send(stream, data, end=end)
    return error, stream


def forward_many(url, port, n="200"):
    """n connections at once on one session, each with its own bytes there and back."""
    c = Spdy(url, "portforward.k8s.io")
    pairs = []
    for i in range(int(n)):
        text = (b"%d " % i) * (1000 + i)
        pairs.append((text, forward_pair(c, port, i, text)))
    c.wait(*[sid for _, p in pairs for sid in p])
    for text, (error, stream) in pairs:
        assert c.data(error) == b"", c.data(error)
        assert c.data(stream) == text
    c.close()


def forward_refused(url, port, closed):
    """A port where nobody listens costs its own pair, with a reason; the others go on."""
    c = Spdy(url, "portforward.k8s.io")
    error, stream = forward_pair(c, port, 1, b"before", end=False)
    c.expect(stream, b"before")
    e2, s2 = forward_pair(c, closed, 2)
    c.wait(e2, s2)
    assert b"refused" in c.data(e2) and closed.encode() in c.data(e2), c.data(e2)
    # One of the client's: nothing is left of it.
    e3, s3 = forward_pair(c, port, 3, b"x", end=False)
    c.reset(s3)
    c.wait(e3)
    assert c.data(e3) == b""
    # A pair of two ports is none.
    c.open(streamtype="error", port=port, requestID="4")
    sid = c.open(streamtype="data", port=closed, requestID="4")
    assert c.streams[sid].reset
    assert c.streams[c.open(streamtype="data", port="0", requestID="5")].reset
    c.send(stream, b" after", end=True)
    c.wait(error, stream)
    assert c.data(stream) == b"before after"


def forward_ends(url, flag):
    c = Spdy(url, "portforward.k8s.io")
    open(flag, "w").close()
    c.wait_closed()


def forward_bulk(url, port):
    """One stream at full speed while another answers, and one that is not read at all."""
    c = Spdy(url, "portforward.k8s.io", counts=True)
    c.settings()
    block = os.urandom(1 << 20)
    error, stream = forward_pair(c, port, 1, end=False)

    def write():
        for _ in range(64):
            c.send(stream, block)
        c.send(stream, end=True)
    t = threading.Thread(target=write)
    start = now()
    t.start()
    worst = 0
    for i in range(20):
        began = now()
        e, s = forward_pair(c, port, 100 + i, b"ping")
        c.wait(e, s)
        assert c.data(s) == b"ping"
        worst = max(worst, now() - began)
    t.join()
    c.wait(error, stream)
    assert c.data(stream) == block * 64
    print("%.0f MB/s each way, slowest small connection beside it %.0f ms" % (64 * 1.048576 / (now() - start), worst * 1000))


def ws_exec(url):
    w = WebSocket(url, "v5.channel.k8s.io", V4)
    assert w.headers["sec-websocket-protocol"] == "v5.channel.k8s.io"
    w.frame(9, b"are you there")
    w.until(lambda: w.pongs == [b"are you there"])
    # One message in three frames, with a ping between them.
    w.frame(2, b"\x00hel", fin=False)
    w.frame(9, b"")
    w.frame(0, b"lo ", fin=False)
    w.frame(0, b"world\n")
    w.send(0, b"x" * 200000)
    w.close_channel(0)
    w.wait()
    assert w.code == 1000
    assert w.data(1) == b"hello world\n" + b"x" * 200000
    assert json.loads(w.data(3))["status"] == "Success"


def ws_v4(binary, text):
    for url, protocol in ((binary, V4), (text, "v4.base64.channel.k8s.io")):
        w = WebSocket(url, protocol)
        w.send(4, b'{"Width":91,"Height":37}')
        w.send(0, b"stty size\n")
        w.expect(1, b"37 91")
        w.send(0, b"exit 3\n")
        w.wait()
        assert json.loads(w.data(3))["details"]["causes"][0]["message"] == "3"


def ws_garbage(unmasked, reserved, base64):
    w = WebSocket(unmasked, V4)
    w.sock.sendall(b"\x82\x05\x00abcd")
    w.wait(10)
    w = WebSocket(reserved, V4)
    w.frame(2 | 0x40, b"\x00abcd")
    w.wait(10)
    w = WebSocket(base64, "v4.base64.channel.k8s.io")
    w.frame(1, b"0not base64")
    w.wait(10)


def ws_forward(tunnel, channels, port):
    w = WebSocket(tunnel, "SPDY/3.1+portforward.k8s.io")
    c = Spdy(None, transport=Tunnel(w))
    pairs = [forward_pair(c, port, i, (b"%d " % i) * 5000) for i in range(20)]
    c.wait(*[sid for p in pairs for sid in p])
    for i, (error, stream) in enumerate(pairs):
        assert c.data(error) == b"" and c.data(stream) == (b"%d " % i) * 5000
    c.close()
    w = WebSocket(channels, V4)
    number = struct.pack("<H", int(port))
    w.until(lambda: len(w.messages) >= 2)
    assert w.data(0) == number and w.data(1) == number
    w.send(0, b"through")
    w.expect(0, number + b"through")
    w.close()


def not_opened(url):
    """A client that does not open its streams in time (1 s) is told so where it can be, and the command ends."""
    start = now()
    c = Spdy(url, V4)
    error = c.open(streamtype="error")
    c.wait_closed()
    assert 0.8 < now() - start < 25, now() - start
    assert "has not opened its streams within 1 s" in status(c, error)["message"], c.data(error)


def not_paired(url, port):
    """Half a pair costs that pair alone."""
    c = Spdy(url, "portforward.k8s.io")
    lonely = c.open(streamtype="error", port=port, requestID="1")
    error, stream = forward_pair(c, port, 2, b"hello", end=False)
    c.expect(stream, b"hello")
    c.wait(lonely)
    assert b"was not opened" in c.data(lonely), c.data(lonely)
    c.send(stream, b" again", end=True)
    c.wait(error, stream)
    assert c.data(stream) == b"hello again"
    c.close()


def idle(url):
    """2 s without a byte end it; until then it is there."""
    c = Spdy(url, V4)
    error, stdin, out = open_all(c, "stdin", "stdout")
    for _ in range(8):
        time.sleep(0.5)
        c.send(stdin, b"x")
        assert not c.closed
    start = now()
    c.wait_closed()
    assert 1.5 < now() - start < 50, now() - start


def idle_forward(url, port):
    c = Spdy(url, "portforward.k8s.io")
    error, stream = forward_pair(c, port, 1, b"hello", end=False)
    c.expect(stream, b"hello")
    start = now()
    c.wait_closed()
    assert 1.5 < now() - start < 50, now() - start


def not_idle(url):
    c = Spdy(url, V4)
    error, out = open_all(c, "stdout")
    c.wait(error, out)
    assert c.data(out) == b"1\n2\n3\n4\n5\n6\n7\n", c.data(out)
    assert status(c, error)["status"] == "Success"


globals()[CASE](*URLS)
