#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""All that can be seen of a directory tree, one line a file, so that two trees can be compared:

    tree_list.py DIR [NEWER]   times later than NEWER (seconds; the test's begin) are shown as "now"
"""
import hashlib
import os
import stat
import sys

root = os.fsencode(sys.argv[1])
newer = float(sys.argv[2]) if len(sys.argv) > 2 else float('inf')
groups = {}


def line(path, st):
    kind = stat.S_IFMT(st.st_mode)
    rel = os.path.relpath(path, root)
    out = [repr(rel)[2:-1], oct(st.st_mode), f'{st.st_uid}:{st.st_gid}']
    if kind == stat.S_IFREG:
        h = hashlib.sha256()
        with open(path, 'rb') as f:
            while chunk := f.read(1 << 20):
                h.update(chunk)
        out += [str(st.st_size), h.hexdigest()[:24]]
    elif kind == stat.S_IFLNK:
        out.append(repr(os.readlink(path)))
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        out.append(f'{os.major(st.st_rdev)},{os.minor(st.st_rdev)}')
    if kind != stat.S_IFDIR and st.st_nlink > 1:
        out.append('same:' + repr(groups.setdefault((st.st_dev, st.st_ino), rel)))
    out.append('now' if st.st_mtime > newer else str(st.st_mtime_ns))
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        # The security module's own labels are not the archive's.
        if name != 'security.selinux' and not name.startswith('trusted.overlay.'):
            out.append(f'{name}={os.getxattr(path, name, follow_symlinks=False)!r}')
    return ' '.join(out)


def walk(path):
    st = os.lstat(path)
    print(line(path, st))
    if stat.S_ISDIR(st.st_mode):
        for name in sorted(os.listdir(path)):
            walk(os.path.join(path, name))


sys.setrecursionlimit(10000)
walk(root)
