# SPDX-License-Identifier: Apache-2.0
"""power_cut.py ROOT LOG: would a power cut at any moment have left a name that leads to something not on disk?

LOG is `strace -f -y -s 0` of a pull into the store ROOT. A small model of a file system that keeps nothing it was not
told to keep: data is on disk after fsync of its file, an entry after fsync of its directory, both after syncfs. What
began before a sync ended but after it began is not covered by it. Checked at each rename that commits:

    to layers/<id>   all that the layer holds is on disk
    to images/<id>   all that it holds, and the entries of layers/
    to names/<name>  the entries of images/
    at the end       the entries of images/ and names/

Prints what it saw; the first breach is an error."""
import os
import re
import sys

root = os.path.realpath(sys.argv[1])
data, entries = set(), set()  # files, (directory, name): changed and not on disk
syncing, begun = {}, {}
seen = {'layers': 0, 'images': 0, 'names': 0, 'fsync': 0, 'syncfs': 0, 'write': 0}


def inside(path, top):
    return path == top or path.startswith(top + '/')


def unsaved(top):
    return [p for p in data if inside(p, top)] + [f'{d}/{n}' for d, n in entries if inside(d, top)]


def need(what, left):
    assert not left, f'{what}, but not on disk yet: {sorted(left)[:5]}'


def of(directory):
    return [f'{d}/{n}' for d, n in entries if d == f'{root}/{directory}']


def moved(path, old, new):
    return new + path[len(old):] if inside(path, old) else path


def rename(old, new):
    global data, entries
    kind, _, name = new[len(root) + 1:].partition('/')
    if kind == 'layers':
        need(f'layer {name} is committed', unsaved(old))
    if kind == 'images':
        need(f'image {name} is committed', unsaved(old) + of('layers'))
    if kind == 'names' and not name.startswith('.'):
        need(f'{name} is named', of('images'))
    if kind in seen and not name.startswith('.'):
        seen[kind] += 1
    data = {moved(p, old, new) for p in data}
    entries = {(moved(d, old, new), n) for d, n in entries if f'{d}/{n}' != old}
    entries.add(os.path.split(new))


def paths(args):
    """Descriptor and name pairs, absolute: 3</a>, "b" """
    return [os.path.normpath(os.path.join(d, n)) for d, n in re.findall(r'(?:\d+|AT_FDCWD)<([^>]*)>, "([^"]*)"', args)]


def sync_begins(call, args):
    what = re.match(r'\d+<([^>]*)>', args)[1]
    if call == 'syncfs':
        return set(data), set(entries)
    return {p for p in data if p == what}, {(d, n) for d, n in entries if d == what}


def done(call, args, result, covered):
    if re.match(r'-1|\?', result):
        return
    if call in ('fsync', 'fdatasync', 'syncfs'):
        seen[call] += 1
        data.difference_update(covered[0])
        entries.difference_update(covered[1])
    elif call == 'openat' and 'O_CREAT' in args:
        made = re.match(r'\d+<([^>]*)>', result)[1]
        data.add(made)
        entries.add(os.path.split(made))
    elif call in ('write', 'pwrite64', 'ftruncate', 'fallocate', 'copy_file_range'):
        seen['write'] += 1
        data.update(p for p in re.findall(r'\d+<([^>]*)>', args) if inside(p, root))
    elif call in ('mkdirat', 'symlinkat', 'mknodat', 'linkat'):
        entries.add(os.path.split(paths(args)[-1]))
    elif call in ('renameat', 'renameat2'):
        rename(*paths(args))


with open(sys.argv[2], errors='surrogateescape') as log:
    for line in log:
        m = re.match(r'(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)', line)
        if not m:
            continue
        pid, call, rest = m[1], m[2], m[3]
        resumed = '<...' in line[:20]
        if not resumed and call in ('fsync', 'fdatasync', 'syncfs'):
            syncing[pid] = sync_begins(call, rest)
        if rest.endswith('<unfinished ...>'):
            begun[pid] = rest[:-len('<unfinished ...>')]
            continue
        args, _, result = ((begun.pop(pid, '') if resumed else '') + rest).rpartition(' = ')
        done(call, args, result.strip(), syncing.pop(pid, (set(), set())))
need('the pull has ended', of('images') + of('names'))
print(seen)
assert all(seen.values()), 'the log shows no whole pull'
