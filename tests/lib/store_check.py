# SPDX-License-Identifier: Apache-2.0
"""store_check.py ROOT REFERENCE: is every image of the store ROOT there whole? Asked by each line on stdin, and answered by
"whole" or what is not.

Each image has its three files, its id is the digest of its configuration, each of its layers and each layer that
stands in layers/ equals the one of the same id in the store REFERENCE (names, kinds, modes, owners, contents, overlay's
marks); each name points at an image. What is not there is no fault."""
import hashlib
import json
import os
import stat
import sys
import traceback

root, ref = sys.argv[1:3]


def tree(top):
    out = {}
    for d, dirs, files in os.walk(top):
        for n in dirs + files + ['.']:
            p = os.path.join(d, n)
            s = os.lstat(p)
            body = os.readlink(p) if stat.S_ISLNK(s.st_mode) else ''
            if stat.S_ISREG(s.st_mode):
                with open(p, 'rb') as f:
                    body = hashlib.sha256(f.read()).hexdigest()
            marks = sorted(os.listxattr(p, follow_symlinks=False))
            size = s.st_size if not stat.S_ISDIR(s.st_mode) else 0
            out[os.path.relpath(p, top)] = s.st_mode, s.st_uid, s.st_gid, s.st_rdev, size, body, marks
    return out


def names(directory):
    return os.listdir(f'{root}/{directory}') if os.path.isdir(f'{root}/{directory}') else []


def check():
    for layer in names('layers'):
        here, there = f'{root}/layers/{layer}', f'{ref}/layers/{layer}'
        with open(here + '/layer.json') as a, open(there + '/layer.json') as b:
            assert json.load(a)['diff_id'] == json.load(b)['diff_id'], layer
        assert tree(here + '/diff') == tree(there + '/diff'), f'layer {layer} differs'
    for image in names('images'):
        if image.startswith('.'):
            continue
        d = f'{root}/images/{image}'
        with open(d + '/config.json', 'rb') as f:
            assert hashlib.sha256(f.read()).hexdigest() == image
        with open(d + '/image.json') as f:
            record = json.load(f)
        with open(d + '/manifest.json', 'rb') as f:
            assert 'sha256:' + hashlib.sha256(f.read()).hexdigest() == record['manifest_digest']
        for layer in record['layers']:
            assert os.path.isdir(f"{root}/layers/{layer['id']}/diff"), f"{image} lacks {layer['id']}"
    for name in names('names'):
        assert name.startswith('.') or os.path.isdir(f'{root}/names/{name}/'), f'{name} dangles'


for _ in sys.stdin:
    try:
        check()
        print('whole', flush=True)
    except Exception:
        print(repr(traceback.format_exc()), flush=True)
