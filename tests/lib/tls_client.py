# SPDX-License-Identifier: Apache-2.0
"""The client's side of a TLS connection, as a plain socket for streams.py.

CRISP_TEST_TLS names a directory with ca.pem, client.pem and client.key; CRISP_TEST_TLS_CLIENT=no: without a certificate."""
import os
import select
import socket
import ssl
import threading


def context():
    where = os.environ["CRISP_TEST_TLS"]
    c = ssl.create_default_context(cafile=where + "/ca.pem")
    if os.environ.get("CRISP_TEST_TLS_CLIENT") != "no":
        c.load_cert_chain(where + "/client.pem", where + "/client.key")
    c.set_alpn_protocols(["h2", "http/1.1"])
    if os.environ.get("CRISP_TEST_TLS_MAX"):
        c.maximum_version = ssl.TLSVersion[os.environ["CRISP_TEST_TLS_MAX"]]
    return c


def _pump(tls, local):
    """One thread for both ways: an SSL object is not for two."""
    to_local = to_tls = b""
    try:
        while True:
            if not to_local:
                try:
                    to_local = tls.recv(65536)
                    if not to_local:
                        return
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
            if to_tls:
                try:
                    to_tls = to_tls[tls.send(to_tls):]
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
            readable, writable, _ = select.select(([] if to_local else [tls]) + ([] if to_tls else [local]),
                                                  ([local] if to_local else []) + ([tls] if to_tls else []), [], 60)
            if local in readable:
                to_tls = local.recv(65536)
                if not to_tls:
                    return
            if local in writable:
                to_local = to_local[local.send(to_local):]
    except OSError:
        pass
    finally:
        tls.close()
        local.close()


def connect(host, port, limit):
    s = socket.create_connection((host, port), timeout=limit)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context().wrap_socket(s, server_hostname=host)
    assert tls.selected_alpn_protocol() == "http/1.1"
    ours, theirs = socket.socketpair()
    tls.setblocking(False)
    theirs.setblocking(False)
    threading.Thread(target=_pump, args=(tls, theirs), daemon=True).start()
    ours.settimeout(limit)
    return ours
