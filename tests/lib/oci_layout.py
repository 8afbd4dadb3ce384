# SPDX-License-Identifier: Apache-2.0
"""Images of any shape, written as OCI layouts, for tests: layers are tar streams made entry by entry."""
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile

DIR, FILE, LINK, SYM = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
CHR, BLK, FIFO = tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE
LAYER = 'application/vnd.oci.image.layer.v1.tar'
MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
INDEX = 'application/vnd.oci.image.index.v1+json'
CONFIG = 'application/vnd.oci.image.config.v1+json'


def layer(*entries, fmt=tarfile.PAX_FORMAT):
    """entries: (name, type, dict of mode uid gid link data mtime dev pax)"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=fmt, errors='surrogateescape') as tar:
        for name, kind, o in entries:
            ti = tarfile.TarInfo(name)
            data = o.get('data', b'')
            ti.type, ti.size, ti.linkname = kind, len(data), o.get('link', '')
            ti.mode = o.get('mode', 0o755 if kind == DIR else 0o644)
            ti.uid, ti.gid = o.get('uid', 0), o.get('gid', 0)
            ti.mtime = o.get('mtime', 1000000000)
            ti.devmajor, ti.devminor = o.get('dev', (0, 0))
            ti.pax_headers = dict(o.get('pax', {}))
            tar.addfile(ti, io.BytesIO(data))
    return out.getvalue()


def entry(name, kind=FILE, **o):
    return name, kind, o


def compress(raw, how):
    if how == 'plain':
        return raw, LAYER
    if how == 'zstd':
        z = subprocess.run(['zstd', '-q', '-c'], input=raw, stdout=subprocess.PIPE, check=True).stdout
        return z, LAYER + '+zstd'
    if how == 'members':
        half = len(raw) // 2
        return gzip.compress(raw[:half], mtime=0) + gzip.compress(raw[half:], mtime=0), LAYER + '+gzip'
    # Without the time: the same layer of two images is one blob, also when a second ends between them.
    return gzip.compress(raw, 1 if how == 'fast' else 9, mtime=0), LAYER + '+gzip'


class Layout:
    def __init__(self, path):
        self.path, self.entries = path, []
        os.makedirs(path + '/blobs/sha256', exist_ok=True)
        with open(path + '/oci-layout', 'w') as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')
        if os.path.exists(path + '/index.json'):
            with open(path + '/index.json') as f:
                self.entries = json.load(f)['manifests']

    def blob(self, data, media_type):
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        digest = hashlib.sha256(data).hexdigest()
        with open(f'{self.path}/blobs/sha256/{digest}', 'wb') as f:
            f.write(data)
        return {'mediaType': media_type, 'digest': 'sha256:' + digest, 'size': len(data)}

    def name(self, descriptor, ref):
        self.entries.append({**descriptor, 'annotations': {'org.opencontainers.image.ref.name': ref}})
        with open(self.path + '/index.json', 'w') as f:
            json.dump({'schemaVersion': 2, 'manifests': self.entries}, f)

    def image(self, layers, how='gzip', arch='amd64', diff_ids=None, variant=None, **manifest):
        """layers: tar streams; how: one way to compress, or a list; returns the manifest's descriptor"""
        hows = how if isinstance(how, list) else [how] * len(layers)
        descs = [self.blob(*compress(raw, h)) for raw, h in zip(layers, hows)]
        ids = diff_ids or ['sha256:' + hashlib.sha256(raw).hexdigest() for raw in layers]
        config = self.blob({'architecture': arch, 'os': 'linux', 'config': {},
                            'rootfs': {'type': 'layers', 'diff_ids': ids}}, CONFIG)
        m = {'schemaVersion': 2, 'mediaType': MANIFEST, 'config': config, 'layers': descs, **manifest}
        return self.blob(m, MANIFEST)

    def index(self, *pairs):
        """pairs: (descriptor, platform or None)"""
        ms = [{**d, 'platform': p} if p else d for d, p in pairs]
        return self.blob({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': ms}, INDEX)
