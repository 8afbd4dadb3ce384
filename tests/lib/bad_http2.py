"""A server that misbehaves, for the tests of CRI clients. Plain sockets: every byte is deliberate.

    bad_http2.py SOCKET MODE
"""
import os
import socket
import struct
import sys
import time


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(fields, end=False):
    block = b""
    for name, value in fields:
        # HPACK literals without indexing and without Huffman coding; lengths below 127 only.
        block += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return frame(1, 5 if end else 4, 1, block)


def data(payload, end=False):
    return frame(0, 1 if end else 0, 1, payload)


SETTINGS = frame(4, 0, 0) + frame(4, 1, 0)
HEAD = headers([(":status", "200"), ("content-type", "application/grpc")])
OK = headers([("grpc-status", "0")], end=True)
VERSION = b"\0\0\0\0\7\x0a\5" + b"0.1.0"  # a VersionResponse with its version

ANSWERS = {
    "http1": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "close": b"",
    "garbage": bytes(range(256)) * 64,
    "reset": SETTINGS + frame(3, 0, 1, struct.pack(">I", 7)),
    "goaway": SETTINGS + frame(7, 0, 0, struct.pack(">II", 0, 0)),
    "html": SETTINGS + headers([(":status", "200"), ("content-type", "text/html")]) + data(b"<html>", end=True),
    "404": SETTINGS + headers([(":status", "404"), ("content-type", "text/plain")], end=True),
    "cut": SETTINGS + HEAD + data(VERSION[:-1]) + OK,
    "huge": SETTINGS + HEAD + data(b"\0\xff\xff\xff\xff" + b"x" * 100),
    "compressed": SETTINGS + HEAD + data(b"\1" + VERSION[1:]) + OK,
    "two": SETTINGS + HEAD + data(VERSION + VERSION) + OK,
    "none": SETTINGS + HEAD + OK,
    "nostatus": SETTINGS + HEAD + data(VERSION, end=True),
    "notproto": SETTINGS + HEAD + data(b"\0\0\0\0\2\xff\xff") + OK,
    "notutf8": SETTINGS + HEAD + data(b"\0\0\0\0\3\x0a\1\xff") + OK,
    "badcode": SETTINGS + headers([(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "4x"),
                                   ("grpc-message", "%zz%41%")], end=True),
    "code42": SETTINGS + headers([(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "42")],
                                 end=True),
    "drip": SETTINGS + HEAD + data(VERSION) + OK,
    "good": SETTINGS + HEAD + data(VERSION) + OK,
}


def read_request(s):
    """Up to the end of the request's body: an answer that comes earlier would be to a call that is not there yet."""
    seen, at = b"", 24  # the connection preface
    while True:
        more = s.recv(65536)
        if not more:
            return
        seen += more
        while at + 9 <= len(seen):
            size = int.from_bytes(seen[at:at + 3], "big")
            if at + 9 + size > len(seen):
                break
            if seen[at + 3] == 0 and seen[at + 4] & 1:
                return
            at += 9 + size


def main():
    path, mode = sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(8)
    os.rename(path + ".new", path)
    while True:
        s, _ = listener.accept()
        try:
            if mode == "hang":
                time.sleep(60)
            read_request(s)
            if mode == "drip":
                for i in range(len(ANSWERS[mode])):
                    s.sendall(ANSWERS[mode][i:i + 1])
                    time.sleep(0.001)
            else:
                s.sendall(ANSWERS[mode])
            if mode in ("huge", "cut", "two", "compressed"):
                s.settimeout(5)
                while s.recv(65536):
                    pass
        except OSError:
            pass
        s.close()


if __name__ == "__main__":
    main()
