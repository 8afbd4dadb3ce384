#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Make a layer's tar stream again from its recipe (libcommon/recipe.h), independently of our own reader:

    recipe_check.py LAYER-DIRECTORY...   prints "<hex> <R bytes> <F records> <K records>" for each; fails on any difference
"""
import hashlib
import json
import os
import struct
import subprocess
import sys
import zlib


def records(text):
    at = 0
    while at < len(text):
        kind, at = text[at:at + 1], at + 1
        if kind == b'R':
            n, = struct.unpack_from('<I', text, at)
            yield 'R', text[at + 4:at + 4 + n]
            at += 4 + n
        elif kind == b'F':
            size, crc, n = struct.unpack_from('<QIH', text, at)
            yield 'F', size, crc, text[at + 14:at + 14 + n]
            at += 14 + n
        elif kind == b'K':
            index, n = struct.unpack_from('<II', text, at)
            yield 'K', index, text[at + 8:at + 8 + n]
            at += 8 + n
        elif kind == b'E':
            size, = struct.unpack_from('<Q', text, at)
            yield 'E', size, text[at + 8:at + 40]
            at += 40
            assert at == len(text), 'something behind the end'
        else:
            raise AssertionError(f'unknown record {kind!r}')


def check(layer):
    text = subprocess.run(['zstd', '-dcq', layer + '/recipe'], stdout=subprocess.PIPE, check=True).stdout
    rows = list(records(text))
    assert rows[-1][0] == 'E', 'no end'
    kept, seen = {}, 0
    for row in rows:
        if row[0] == 'K':
            assert row[1] < seen, 'K before its F'
            kept[row[1]] = kept.get(row[1], b'') + row[2]
        seen += row[0] == 'F'
    sha, total, index, raw = hashlib.sha256(), 0, 0, 0
    for row in rows:
        data = row[1] if row[0] == 'R' else b''
        raw += len(data)
        if row[0] == 'F':
            _, size, crc, path = row
            data = kept.get(index)
            if data is None:
                full = layer.encode() + b'/diff/' + path
                assert not os.path.islink(full) and os.path.isfile(full), path
                with open(full, 'rb') as f:
                    data = f.read()
            assert len(data) == size and zlib.crc32(data) == crc, path
            index += 1
        sha.update(data)
        total += len(data)
    with open(layer + '/layer.json') as f:
        record = json.load(f)
    assert (rows[-1][1], rows[-1][2]) == (total, sha.digest()), 'the end says otherwise'
    assert record['diff_id'] == 'sha256:' + sha.hexdigest(), 'not the stream that was'
    assert record['size'] == total, 'size'
    return sha.hexdigest(), raw, index, len(kept)


for name in sys.argv[1:]:
    print(*check(name))
