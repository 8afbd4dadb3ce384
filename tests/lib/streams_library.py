#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""streams_library.py CASE URL [ARG...]: one conversation with crispd's streaming server by WebSocket libraries of Debian:
python3-websocket (blocking) and python3-websockets (asyncio). Ends with status 0 when the case holds."""
import asyncio
import base64
import hashlib
import json
import os
import struct
import sys
import threading
import time

import websocket
import websockets

CASE, URLS = sys.argv[1], [a.replace("http", "ws", 1) for a in sys.argv[2:]]
V4, V5, BASE64 = "v4.channel.k8s.io", "v5.channel.k8s.io", "v4.base64.channel.k8s.io"


def connect(url, *protocols):
    w = websocket.create_connection(url, timeout=60, subprotocols=list(protocols))
    assert w.getsubprotocol() == protocols[0].lower(), w.getsubprotocol()
    return w


def send(w, channel, data):
    w.send_binary(bytes([channel]) + data)


def messages(w):
    """Until the server closes the connection properly."""
    while True:
        opcode, data = w.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            assert struct.unpack(">H", data[:2])[0] == 1000, data
            return
        yield data[0], data[1:]


def collect(w):
    out = {}
    for channel, data in messages(w):
        out.setdefault(channel, bytearray()).extend(data)
    return out


def code(error):
    s = json.loads(bytes(error))
    return "0" if s["status"] == "Success" else s["details"]["causes"][0]["message"]


def plain(url):
    out = collect(connect(url, V5))
    assert out[1] == b"out\n" and out[2] == b"err\n" and code(out[3]) == "7", out


def copies(url):
    """100 MB through cat; the close channel ends its input."""
    w = connect(url, V5)
    block, blocks = os.urandom(1 << 20), 100
    want = hashlib.sha256(block * blocks).digest()

    def write():
        for _ in range(blocks):
            send(w, 0, block)
        w.send_binary(b"\xff\x00")
    t = threading.Thread(target=write)
    t.start()
    got, n, error = hashlib.sha256(), 0, b""
    for channel, data in messages(w):
        if channel == 1:
            got.update(data)
            n += len(data)
        elif channel == 3:
            error += data
    t.join()
    assert n == blocks << 20 and got.digest() == want, n
    assert code(error) == "0"


def tty(url):
    w = connect(url, V4)
    send(w, 4, b'{"Width":91,"Height":37}')
    time.sleep(0.3)
    send(w, 0, b"stty size; exit 5\n")
    out = collect(w)
    assert b"37 91" in out[1] and code(out[3]) == "5", out


def texts(url):
    """base64: text messages, the channel as a digit."""
    w = connect(url, BASE64)
    w.send("0" + base64.b64encode(b"hello\n").decode())
    while True:
        opcode, data = w.recv_data()
        assert opcode == websocket.ABNF.OPCODE_TEXT, opcode
        if data[:1] == b"1" and base64.b64decode(data[1:]) == b"hello\n":
            break
    w.close()


def ping(url):
    w = connect(url, V5)
    w.ping(b"are you there")
    while w.recv_data_frame(control_frame=True)[0] != websocket.ABNF.OPCODE_PONG:
        pass
    w.send_binary(b"\xff\x00")
    assert code(collect(w)[3]) == "0"


async def _pair(url, n):
    data = os.urandom(50000 + n)
    async with websockets.connect(url, subprotocols=[V4], max_size=None) as w:
        await w.send(b"\0" + data)
        got = bytearray()
        while len(got) < len(data) + 2:
            m = await w.recv()
            if m[0] == 0:
                got += m[1:]
            else:
                assert m[0] == 1 and len(m) == 3, m
        assert got[2:] == data


def forward(*urls):
    """Each URL is a connection to one port, an echo server; all at once."""
    async def all_of_them():
        await asyncio.gather(*(_pair(url, n) for n, url in enumerate(urls)))
    asyncio.run(asyncio.wait_for(all_of_them(), 60))


globals()[CASE](*URLS)
