#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""streams_tokens.py SOCKET CONTAINER: requests for a stream that nobody comes for are bounded, and all different."""
import sys

import grpc

import cri

client = cri.Client(sys.argv[1])
urls = set()
try:
    while len(urls) <= 1000:
        urls.add(client.call("Exec", container_id=sys.argv[2], cmd=["true"], stdout=True).url)
except grpc.RpcError as e:
    assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, e
assert len(urls) == 1000, len(urls)
