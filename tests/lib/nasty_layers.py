# SPDX-License-Identifier: Apache-2.0
"""Layers that are legal and hard to unpack right, and layers that no one should accept. Each is a list of tar streams, the
bottom first."""
import gzip
import os
import random
import struct
import subprocess
import tempfile

from oci_layout import BLK, CHR, DIR, FIFO, LINK, SYM, entry, layer

# Kernel's form of a file's capabilities, version 2: cap_net_raw+ep.
CAP = struct.pack('<5I', 0x02000001, 1 << 13, 0, 0, 0)


def xattr(**kv):
    return {'SCHILY.xattr.' + k.replace('__', '.'): v.decode('utf-8', 'surrogateescape') if isinstance(v, bytes) else v
            for k, v in kv.items()}


def header(name, size=0, kind=b'0', mode=0o644, link=b'', number=None):
    """One ustar header, made by hand: what tarfile would not write."""
    def octal(value, width):
        return b'%0*o\0' % (width - 1, value)

    def base256(value, width):
        return bytes([0x80]) + value.to_bytes(width - 1, 'big')
    n = number or octal
    h = bytearray(512)
    h[0:len(name)] = name
    h[100:108], h[108:116], h[116:124] = octal(mode, 8), n(0, 8), n(0, 8)
    h[124:136], h[136:148], h[156:157] = (base256 if number else octal)(size, 12), octal(1000000000, 12), kind
    h[157:157 + len(link)] = link
    h[257:265] = b'ustar\00000'
    h[148:156] = b' ' * 8
    h[148:156] = b'%06o\0 ' % sum(h)
    return bytes(h)


def base256(value, width):
    return bytes([0x80]) + value.to_bytes(width - 1, 'big')


def padded(data):
    return data + bytes(-len(data) % 512)


END = bytes(1024)


def replaced():
    """A directory becomes a file, a link, and a directory again, in one layer and from layer to layer."""
    return [
        layer(entry('a', DIR), entry('a/low', data=b'low'), entry('b', DIR), entry('b/low', data=b'low'), entry('c', DIR),
              entry('c/low', data=b'low'), entry('d', data=b'file'), entry('e', SYM, link='a'), entry('f', DIR),
              entry('f/g', DIR), entry('f/g/low', data=b'low'), entry('h', DIR, mode=0o700, uid=5), entry('h/low', data=b'1' * 5000),
              entry('gone', data=b'gone'), entry('keep', DIR), entry('keep/x', data=b'x'), entry('keep/y', data=b'y')),
        layer(entry('a', data=b'file now'), entry('b', data=b'for a moment'), entry('b', DIR), entry('b/new', data=b'new'),
              entry('c', SYM, link='keep'), entry('d', DIR), entry('d/new', data=b'new'), entry('e', DIR), entry('e/new', data=b'new'),
              entry('f', DIR), entry('f/.wh.g'), entry('f/g', DIR), entry('f/g/new', data=b'new'), entry('t', DIR),
              entry('t/in', data=b't' * 9000), entry('t/deep', DIR), entry('t/deep/er', data=b'er' * 4000), entry('t', data=b'file'),
              entry('.wh.gone'), entry('.wh.never'), entry('keep/.wh..wh..opq'), entry('keep/z', data=b'z')),
        layer(entry('a', DIR), entry('a/again', data=b'again'), entry('h', DIR), entry('h/.wh.low'), entry('t', SYM, link='h'),
              entry('gone', DIR, mode=0o711), entry('keep', DIR, mtime=1111111111), entry('d', data=b'file again'),
              entry('d', SYM, link='a'), entry('c', DIR), entry('c/again', data=b'c')),
    ]


def names():
    long = 'n' * 200
    raw = layer(entry('./', DIR, mode=0o711, uid=1, mtime=1234567890), entry('./dot', data=b'dot'), entry('//twice//slashed', data=b's'),
                entry('long', DIR), entry(f'long/{long}', DIR), entry(f'long/{long}/{long}', data=b'long'),
                entry('longlink', SYM, link='x/' * 500), entry('new\nline', data=b'n'), entry('tab\there', DIR), entry('quote"\'\\', data=b'q'),
                entry('sp ace', data=b's'), entry('caf\u00e9', data=b'c'), entry('\U0001f980', DIR), entry('.whatever', data=b'no whiteout'),
                entry('-rf', data=b'-'), entry('*', data=b'*'), entry('x' * 255, data=b'255'), entry('zero', DIR, mode=0),
                entry('zero/in', data=b'in', mode=0))
    gnu = layer(entry('gnu', DIR), entry('gnu/' + 'g' * 240, data=b'gnu'), entry('gnu/link', SYM, link='y/' * 300),
                entry('gnu/hard', LINK, link='gnu/' + 'g' * 240), entry('gnu/raw-\udcff\udcfe', data=b'raw'), fmt=1)
    return [raw, gnu]


def metadata():
    return [layer(
        entry('late/child/deep', data=b'c'), entry('late', DIR, mode=0o711, uid=9, mtime=1200000000.123456789),
        entry('ns', data=b'ns', mtime=1400000000.987654321), entry('nsdir', DIR, mtime=1400000000.5), entry('nslink', SYM, link='ns', mtime=1400000000.25),
        entry('old', data=b'before 1970', mtime=-5), entry('big', data=b'ids', uid=3000000, gid=4000000000), entry('suid', data=b's', mode=0o6755, uid=1, gid=2),
        entry('sticky', DIR, mode=0o3777), entry('cap', data=b'cap', mode=0o755, uid=7, pax=xattr(security__capability=CAP)),
        entry('attrs', data=b'a', pax=xattr(user__one='1', user__bin=b'\xff\xfe\n=')),
        entry('attrdir', DIR, pax=xattr(user__dir='d')), entry('dev', DIR), entry('dev/null', CHR, mode=0o666, dev=(1, 3)),
        entry('dev/loop', BLK, mode=0o660, dev=(7, 300), gid=6), entry('dev/pipe', FIFO, mode=0o622, uid=3),
        entry('l1', data=b'linked', mode=0o4711, uid=8), entry('l2', LINK, link='l1'), entry('sub', DIR), entry('sub/l3', LINK, link='./l2'),
        entry('s1', SYM, link='l1', uid=11, gid=12), entry('twice', data=b'1', mode=0o600), entry('twice', data=b'22', uid=4),
        entry('dup', DIR, mode=0o700), entry('dup', DIR, mode=0o750, gid=3, mtime=1300000000), entry('empty'))]


def below():
    """Hard links to the files of a lower layer, also by another such link."""
    return [layer(entry('d', DIR, mode=0o750, uid=3), entry('d/low', data=b'low' * 3000, mode=0o4755, uid=6, pax=xattr(user__k='v')),
                  entry('other', data=b'other')),
            layer(entry('up', DIR), entry('up/one', LINK, link='d/low'), entry('up/two', LINK, link='up/one'), entry('three', LINK, link='other'))]


def ends():
    """Streams that stop early or go on behind their end, and no archive at all."""
    one = layer(entry('f', data=b'f' * 700), entry('g', data=b'g'))
    body = one.rstrip(b'\0')
    return [body, layer(entry('h', data=b'h')) + b'behind the end' * 100, b'', END, layer(entry('i', data=b'i' * 3)).rstrip(b'\0') + bytes(600)]


def aufs():
    """AUFS's own names say nothing about the tree."""
    return [layer(entry('d', DIR), entry('d/f', data=b'f'), entry('.wh..wh.aufs', mode=0o444), entry('.wh..wh.orph', DIR, mode=0o700),
                  entry('.wh..wh.plnk', DIR, mode=0o700), entry('e', data=b'e')),
            layer(entry('d', DIR), entry('d/.wh.f'), entry('d/.wh.absent'), entry('d/sub', DIR), entry('d/sub/.wh..wh..opq'),
                  entry('d/sub/in', data=b'in'), entry('d/sub/.wh.out'))]


def ghosts():
    """Removals of what is nowhere: in a directory of one layer only, of several, in an opaque one, in the root."""
    return [layer(entry('merged', DIR), entry('merged/low', data=b'l'), entry('opaque', DIR), entry('opaque/low', data=b'l')),
            layer(entry('pure', DIR), entry('pure/.wh.ghost1'), entry('pure/real', data=b'r'), entry('pure/deep', DIR), entry('pure/deep/.wh.ghost2'),
                  entry('merged', DIR), entry('merged/.wh.ghost3'), entry('.wh.ghost4'), entry('opaque', DIR),
                  entry('opaque/.wh..wh..opq'), entry('opaque/.wh.ghost6'), entry('opaque/sub', DIR), entry('opaque/sub/.wh.ghost7'),
                  entry('opaque/sub/in', data=b'i'), entry('again', DIR), entry('again/.wh.ghost8'), entry('again/keep', data=b'k')),
            layer(entry('top', DIR), entry('top/.wh.ghost9'), entry('again', DIR), entry('again/.wh.ghost8'), entry('pure/.wh.deep'))]


def pax(kind, **keys):
    body = b''
    for k, v in keys.items():
        text = b' ' + k.replace('__', '.').encode() + b'=' + v + b'\n'
        n = len(text) + 1
        while len(b'%d' % n) + len(text) != n:
            n = len(b'%d' % n) + len(text)
        body += b'%d' % n + text
    return header(b'pax', len(body), kind=kind) + padded(body)


def contents():
    """Files around the sizes of blocks, many of them, so that every way of lying across buffers occurs."""
    sizes = [1, 511, 512, 513, 1023, 1024, 1025, 4096, 65535, 65536, 65537, 262143, 262144, 262145, 524287, 524288, 524289, 1500000]
    rnd = random.Random(7)
    files = [entry(f'f{i}', data=rnd.randbytes(n)) for i, n in enumerate(sizes + [rnd.randrange(3000) for _ in range(900)])]
    # The same again: each replaces one, whose content the recipe has to keep.
    return [layer(entry('big', data=rnd.randbytes(3000000)), *files, *files[::5], entry('big', data=b'small'))]


def numbers():
    return [pax(b'g', comment=b'global') + padded(header(b'base256', 3, number=lambda v, w: base256(70000, w)) + b'abc') + header(b'oldstyle', 0, kind=b'\0')
            + header(b'contiguous', 2, kind=b'7') + padded(b'co') + header(b'olddir/', 0, kind=b'\0', mode=0o755) + END]


def sparse(style):
    """A file with holes, by GNU tar in each of its ways."""
    how = {'old': ['--format=gnu'], '0.0': ['--format=posix', '--sparse-version=0.0'], '0.1': ['--format=posix', '--sparse-version=0.1'],
           '1.0': ['--format=posix', '--sparse-version=1.0']}[style]
    with tempfile.TemporaryDirectory() as d:
        with open(d + '/holes', 'wb') as f:
            for i in range(40):
                f.seek(i * 200000)
                f.write(b'%d' % i * 3000)
            f.truncate(9000000)
        with open(d + '/hole', 'wb') as f:
            f.truncate(5000000)
        with open(d + '/tail', 'wb') as f:
            f.seek(1000000)
            f.write(b'tail')
        # It begins like a file without holes, for longer than any reader's block.
        with open(d + '/begun', 'wb') as f:
            f.write(b'begun' * 200000)
            f.seek(5000000)
            f.write(b'end')
        with open(d + '/plain', 'wb') as f:
            f.write(b'plain' * 5000)
        for n in os.listdir(d):
            os.utime(d + '/' + n, (1e9, 1e9))
        return subprocess.run(['tar', '-cS', *how, '--sort=name', '--numeric-owner', '-C', d, 'begun', 'hole', 'holes', 'plain', 'tail'],
                              stdout=subprocess.PIPE, check=True).stdout


def zstd(raw, *args):
    return subprocess.run(['zstd', '-qc', *args], input=raw, stdout=subprocess.PIPE, check=True).stdout


def zstd_frames(raw):
    """Several frames, skippable ones before, between and behind, one of them empty."""
    third = len(raw) // 3
    skip = struct.pack('<II', 0x184D2A53, 5) + b'skip!'
    return skip + zstd(raw[:third]) + skip + zstd(b'') + zstd(raw[third:], '-9') + struct.pack('<II', 0x184D2A5F, 0)


def gzip_members(raw):
    third = len(raw) // 3
    return gzip.compress(raw[:third]) + gzip.compress(b'') + gzip.compress(raw[third:], 1)
