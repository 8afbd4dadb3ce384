#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""grpc_check.py SOCKET CASE: one behaviour of crispd's transport, seen by a gRPC client that is not ours.
Messages are raw bytes, so that nothing has to be generated. Ends with status 0 when the case holds."""
import concurrent.futures
import sys
import time

import grpc

UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def channel(options=()):
    # A pool of its own, else all channels of the process share one connection.
    own = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel("unix:" + SOCKET, options=UNLIMITED + own + list(options))


def method(ch, name, service="RuntimeService"):
    return ch.unary_unary(f"/runtime.v1.{service}/{name}")


def code_of(call, request=b"", **how):
    try:
        call(request, timeout=20, **how)
    except grpc.RpcError as e:
        print(e.code(), e.details())
        return e.code(), e.details()
    return grpc.StatusCode.OK, ""


def expect(got, code, *texts):
    assert got[0] == code, f"{got[0]} instead of {code}: {got[1]}"
    for t in texts:
        assert t in got[1], f"'{t}' is not in '{got[1]}'"


def field(number, data):
    """A length-delimited protobuf field."""
    head, n = bytes([number << 3 | 2]), len(data)
    while n > 0x7F:
        head += bytes([n & 0x7F | 0x80])
        n >>= 7
    return head + bytes([n]) + data


def case_version():
    answer = method(channel(), "Version")(b"", timeout=10)
    for text in (field(1, b"0.1.0"), field(2, b"crisp"), field(4, b"v1")):
        assert text in answer, answer


def case_unknown():
    ch = channel()
    for name, service in (("Nope", "RuntimeService"), ("Version", "Nope"), ("version", "RuntimeService")):
        expect(code_of(method(ch, name, service)), grpc.StatusCode.UNIMPLEMENTED, f"/runtime.v1.{service}/{name}")
    expect(code_of(ch.unary_unary("/")), grpc.StatusCode.UNIMPLEMENTED)
    case_version()


def case_undecodable():
    v = method(channel(), "Version")
    expect(code_of(v, b"\xff\xff\xff"), grpc.StatusCode.INVALID_ARGUMENT, "Version")
    expect(code_of(v, field(1, b"\xc0\xaf")), grpc.StatusCode.INVALID_ARGUMENT, "Version", "version", "UTF-8")
    expect(code_of(v, field(1, b"ok")), grpc.StatusCode.OK)
    # A field that we do not know yet.
    expect(code_of(v, field(15, b"later")), grpc.StatusCode.OK)


def case_compressed():
    v = method(channel(), "Version")
    got = code_of(v, field(1, b"a" * 4096), compression=grpc.Compression.Gzip)
    expect(got, grpc.StatusCode.UNIMPLEMENTED, "gzip")


def case_large():
    """16 MiB is the limit: just below it passes, above it the client is told, and the connection lives on."""
    v = method(channel(), "Version")
    expect(code_of(v, field(1, b"a" * ((16 << 20) - 100))), grpc.StatusCode.OK)
    for size in (16 << 20, 40 << 20):
        expect(code_of(v, field(1, b"a" * size)), grpc.StatusCode.RESOURCE_EXHAUSTED, "Version", "larger")
    expect(code_of(v), grpc.StatusCode.OK)


def case_concurrent():
    """1000 calls at once on one connection, every answer the right one."""
    v = method(channel(), "Version")
    futures = [v.future(field(1, b"x" * (i % 50) * 100), timeout=60) for i in range(1000)]
    assert len({f.result() for f in futures}) == 1


def case_connections():
    """200 connections, each answered while all are open."""
    channels = [channel() for _ in range(200)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(lambda ch: method(ch, "Version")(b"", timeout=60), channels))
    assert len(answers) == 1
    for ch in channels:
        ch.close()


def case_cancel():
    ch = channel()
    v = method(ch, "Version")
    for _ in range(500):
        v.future(b"").cancel()
    expect(code_of(v), grpc.StatusCode.OK)


def case_deadline():
    """A deadline that has passed before the call comes."""
    v = method(channel(), "Version")
    try:
        v(b"", timeout=0.000001)
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e.code()
    expect(code_of(v), grpc.StatusCode.OK)


def case_keepalive():
    """A client that pings all the time is answered."""
    ch = channel([("grpc.keepalive_time_ms", 100), ("grpc.keepalive_timeout_ms", 1000),
                  ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0)])
    v = method(ch, "Version")
    for _ in range(10):
        v(b"", timeout=5)
        time.sleep(0.15)


def case_status():
    answer = method(channel(), "Status")(b"", timeout=10)
    assert field(1, b"RuntimeReady") in answer and field(1, b"NetworkReady") in answer
    assert b"network_dir" not in answer
    sys.stdout.buffer.write(answer)
    assert b'"network_dir"' in method(channel(), "Status")(b"\x08\x01", timeout=10)


def case_runtime_config():
    sys.stdout.buffer.write(method(channel(), "RuntimeConfig")(b"", timeout=10))
    assert method(channel(), "UpdateRuntimeConfig")(field(1, field(1, field(1, b"10.0.0.0/24"))), timeout=10) == b""


def case_restart():
    """Calls that wait for the daemon to come back: it went, and another is there."""
    ch = channel([("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100)])
    v = method(ch, "Version")
    v(b"", timeout=10)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(5):
        # The first may still be sent into the connection that has just died.
        if code_of(v, wait_for_ready=True)[0] == grpc.StatusCode.OK:
            return
    raise AssertionError("never back")


def case_speed():
    v = method(channel(), "Version")
    v(b"")
    start = time.perf_counter()
    for _ in range(2000):
        v(b"")
    print(f"{(time.perf_counter() - start) / 2000 * 1e6:.0f} us a call")


SOCKET = sys.argv[1]
globals()["case_" + sys.argv[2]]()
