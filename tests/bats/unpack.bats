#!/usr/bin/env bats
# Unpacking layers: what comes out equals what umoci makes of the same image, nothing hostile gets out or in, and the
# tar stream can be made again from what stands there.
load ../lib/helpers

setup_file() { crisp_file_setup; }
teardown_file() { crisp_file_teardown; }

setup() {
  requires root umoci zstd
  STORE=$(mktemp -d "$CRISP_TMP/store.XXXXXX")
  PIDS=()
}
teardown() {
  local pid
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
  umount "$STORE"/mnt "$STORE"/run/mounts/* 2>/dev/null
  rm -rf "$STORE"
}

LIB=$BATS_TEST_DIRNAME/../lib
pull() { ocipull --root "$STORE" --runroot "$STORE/run" "$@"; }
python_oci() { PYTHONPATH=$LIB PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$@"; }
image_json() { echo "$STORE/images/${1#sha256:}/image.json"; }
diff_of() { echo "$STORE/layers/$(jq -r ".layers[$2].id" "$(image_json "$1")")/diff"; } # ID INDEX
nothing_left() {
  only_seen is_empty "$STORE"/{tmp,images,layers} && is_empty "$STORE/names"
}
setting() { # KEY JSON
  jq --argjson v "$2" ".$1 = \$v" "$CRISP_CONFIG" >"$STORE/crisp.new"
  mv "$STORE/crisp.new" "$STORE/crisp.json"
  export CRISP_CONFIG=$STORE/crisp.json
}
# Where it can be: what a disk does meanwhile is neither to be waited for nor measured.
in_memory() { [ ! -d /dev/shm ] || { rm -rf "$STORE" && STORE=$(mktemp -d /dev/shm/crisp-test.XXXXXX); }; }
# Every layer's stream can be made again, and its record counts what is there.
whole() {
  local l
  /usr/bin/python3 "$LIB/recipe_check.py" "$STORE"/layers/* >"$STORE/recipes"
  for l in "$STORE"/layers/*; do
    [ "$(jq .inodes "$l/layer.json")" = "$(find "$l/diff" -mindepth 1 -printf '%i\n' | sort -u | wc -l)" ]
  done
}
# The tree of an image as a container has it. The root's own line is left out: umoci sets its time to 0 where no layer
# names it, and overlay shows what the topmost layer says of it, where umoci shows the last one that names it.
ours() { # ID
  local lower
  lower=$(jq -r --arg s "$STORE" '[.layers[].id] | reverse | map($s + "/layers/" + . + "/diff") | join(":")' "$(image_json "$1")")
  mkdir -p "$STORE"/{mnt,none}
  mount -t overlay overlay -o "ro,lowerdir=$lower:$STORE/none" "$STORE/mnt"
  /usr/bin/python3 "$LIB/tree_list.py" "$STORE/mnt" "$BEGAN" | tail -n +2
  umount "$STORE/mnt"
}
theirs() { # IMAGE: one line a file of what umoci unpacks
  umoci unpack --image "$1" "$STORE/umoci" >/dev/null
  /usr/bin/python3 "$LIB/tree_list.py" "$STORE/umoci/rootfs" "$BEGAN" | tail -n +2
  rm -rf "$STORE/umoci"
}
equal() { # IMAGE AT-LEAST
  local id
  BEGAN=$(($(date +%s) - 1))
  id=$(pull "oci:$1")
  ours "$id" >"$STORE/ours"
  theirs "$1" >"$STORE/theirs"
  diff "$STORE/theirs" "$STORE/ours"
  [ "$(wc -l <"$STORE/ours")" -ge "$2" ]
  whole
}
nasty() { # SET AT-LEAST
  python_oci "$STORE/oci" "$1" <<'PY'
import sys
import nasty_layers
from oci_layout import *
layers = getattr(nasty_layers, sys.argv[2])()
o = Layout(sys.argv[1])
o.name(o.image(layers, how=[['gzip', 'plain', 'members'][i % 3] for i in range(len(layers))]), 'v1')
PY
  equal "$STORE/oci:v1" "$2"
}

@test "equal to umoci: directories that become files and links and back, whiteouts, opaque directories" { nasty replaced 17; }
@test "equal to umoci: long names, names that are not UTF-8 or have newlines, \".\" and \"//\"" { nasty names 20; }
@test "equal to umoci: owners beyond 2^31, set-id bits, capabilities, attributes, nanoseconds, devices, links" { nasty metadata 25; }
@test "equal to umoci: hard links to a lower layer's files" { nasty below 6; }
@test "equal to umoci: AUFS's own names, whiteouts of what is not there and of what an opaque directory hides" { nasty aufs 3; }
@test "equal to umoci: a thousand files of every length, some replaced" {
  nasty contents 900
  # Whole files are told by name, not copied into the recipe; what was replaced is kept in it.
  read -r _ raw files kept <"$STORE/recipes"
  [ "$files" -gt 1000 ]
  [ "$kept" -gt 150 ]
  [ "$raw" -lt 1500000 ]
}

@test "equal to umoci: busybox and its links, as umoci makes it" {
  make_image busy
  equal "$CRISP_TMP/oci:busy" 200
}

@test "equal to umoci: whiteouts of what no layer below has show nothing, wherever they stand" {
  nasty ghosts 10
  [ "$(grep -c ghost "$STORE/ours")" = 0 ]
  # Read-only and writable alike; what the container makes in such a place is there.
  local lower id
  id=$(jq -r .id "$STORE"/images/*/image.json)
  lower=$(jq -r --arg s "$STORE" '[.layers[].id] | reverse | map($s + "/layers/" + . + "/diff") | join(":")' "$(image_json "$id")")
  mkdir "$STORE"/{up,work}
  mount -t overlay overlay -o "lowerdir=$lower,upperdir=$STORE/up,workdir=$STORE/work" "$STORE/mnt"
  mkdir "$STORE/mnt/pure/ghost1"
  [ "$(ls "$STORE/mnt/pure")" = "$(printf 'ghost1\nreal')" ]
  rm -r "$STORE/mnt/pure" "$STORE/mnt/opaque"
  umount "$STORE/mnt"
  # The record of a whiteout that is gone is a fault.
  ocistore --root "$STORE" --runroot "$STORE/run" verify
  rm "$STORE/layers/$(jq -r '.layers[1].id' "$(image_json "$id")")/diff/opaque/sub/ghost7"
  run -5 ocistore --root "$STORE" --runroot "$STORE/run" verify
  [[ $output == *opaque/sub/ghost7*missing* ]]
}

@test "the same layer becomes the same tree each time" {
  in_memory
  python_oci "$STORE/oci" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
names = [f'{i * 7919 % 300:03}' * 5 for i in range(300)]
o.name(o.image([layer(entry('low', DIR), entry('d', DIR)),
                layer(entry('d', DIR), entry('d/.wh..wh..opq'), entry('d/e', DIR), *[entry(f'd/e/.wh.{n}') for n in names],
                      *[entry(f'd/.wh.{n}') for n in names], entry('d/e/f', data=b'f'))]), 'v1')
PY
  local i id
  for i in {1..12}; do
    id=$(pull "oci:$STORE/oci:v1")
    find "$(diff_of "$id" 1)" -mindepth 1 -printf '%P %y %m %s\n' | sort >"$STORE/tree.$i"
    getfattr -Rhd -m - --absolute-names "$(diff_of "$id" 1)" | sed 's/^# file: .*diff//' >>"$STORE/tree.$i"
    cmp "$STORE/tree.1" "$STORE/tree.$i"
    rm -rf "$STORE"/{images,names,layers}
  done
  [ "$(grep -c ' c ' "$STORE/tree.1")" = 600 ]
}

@test "the root's owner and mode are those of the topmost layer that names it" {
  python_oci "$STORE/oci" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
named = layer(entry('./', DIR, mode=0o2711, uid=7, gid=8, mtime=1234567890, pax={'SCHILY.xattr.user.k': 'v'}), entry('f', data=b'f'))
plain, other = layer(entry('g', data=b'g')), layer(entry('./', DIR, mode=0o750), entry('h', data=b'h'))
default = layer(entry('./', DIR), entry('i', data=b'i'))
for name, layers in (('below', [named, plain]), ('top', [named, plain, other]), ('middle', [named, other, plain]), ('default', [default, plain]),
                     ('none', [plain])):
    o.name(o.image(layers), name)
PY
  local tag want id dir
  while read -r tag want; do
    id=$(pull "oci:$STORE/oci:$tag")
    dir=$(ocistore --root "$STORE" --runroot "$STORE/run" mount "$id")
    [ "$(stat -c '%a %u:%g' "$dir")" = "$want" ]
    [ "$tag" != below ] || [ "$(stat -c %Y "$dir"),$(getfattr --absolute-names --only-values -n user.k "$dir")" = 1234567890,v ]
    umoci unpack --image "$STORE/oci:$tag" "$STORE/umoci" >/dev/null
    [ "$(stat -c '%a %u:%g' "$STORE/umoci/rootfs")" = "$want" ]
    rm -rf "$STORE/umoci"
    ocistore --root "$STORE" --runroot "$STORE/run" umount "$dir"
    # Only where it is needed; and the layers are shared.
    case $tag in below | middle) [ -d "$STORE/images/${id#sha256:}/root" ] ;; *) [ ! -e "$STORE/images/${id#sha256:}/root" ] ;; esac
  done <<'CASES'
below 2711 7:8
top 750 0:0
middle 750 0:0
default 755 0:0
none 755 0:0
CASES
  [ "$(find "$STORE/layers" -mindepth 1 -maxdepth 1 | wc -l)" = 4 ]
}

@test "a lower layer's file that becomes a link's copy keeps its holes" {
  python_oci "$STORE/oci" <<'PY'
import sys
import nasty_layers
from oci_layout import *
o = Layout(sys.argv[1])
o.name(o.image([nasty_layers.sparse('old'), layer(entry('l/hole', LINK, link='hole'), entry('l/holes', LINK, link='holes'), entry('l/tail', LINK, link='tail'))]), 'v1')
PY
  local id low up f
  id=$(pull "oci:$STORE/oci:v1")
  low=$(diff_of "$id" 0) up=$(diff_of "$id" 1)
  for f in hole holes tail; do
    cmp "$low/$f" "$up/l/$f"
    [ "$(stat -c '%s %Y %a' "$low/$f")" = "$(stat -c '%s %Y %a' "$up/$f")" ]
    [ "$up/$f" -ef "$up/l/$f" ]
  done
  [ "$(stat -c %b "$up/hole")" = 0 ]
  [ "$(stat -c %b "$up/holes")" -lt 6000 ]
  whole
}

@test "many hostile entries: time grows with their number, memory does not" {
  in_memory
  python_oci "$STORE/oci" <<'PY'
import sys
import nasty_layers as n
from oci_layout import *
o = Layout(sys.argv[1])
kinds = {'opaque': lambda i: n.header(b'd%d/.wh..wh..opq' % i), 'hiding': lambda i: n.header(b'd%d/.wh.x' % i),
         'links': lambda i: n.header(b'f') if i == 0 else n.header(b'l%d' % i, kind=b'1', link=b'f'), 'same': lambda i: n.header(b'same'),
         'chain': lambda i: n.header(b's%d' % i, kind=b'2', link=b's%d' % (i + 1)) if i < 30 else n.header(b's30/', kind=b'5') if i == 30 else
         n.header(b's%d/f%d' % (i % 2, i))}
for kind, one in kinds.items():
    for count in (1500, 12000):
        o.name(o.image([b''.join(map(one, range(count))) + n.END], how='fast'), f'{kind}-{count}')
PY
  local kind few many
  cpu() { # TAG: centiseconds
    /usr/bin/python3 "$LIB/peak.py" "$STORE/peak" env TIMEFORMAT='%U %S' bash -c 'time "$@" >/dev/null' _ \
      ocipull --root "$STORE" --runroot "$STORE/run" "oci:$STORE/oci:$1" 2>&1 | tail -1 | tr -d . | awk '{ print $1 + $2 }'
  }
  for kind in opaque hiding links same chain; do
    few=$(cpu "$kind-1500")
    many=$(cpu "$kind-12000")
    # Eight times as many; what is quadratic would take 64 times as long.
    [ "$many" -lt $((24 * (few + 2))) ] || { echo "$kind: $few $many" && false; }
    [ "$(cat "$STORE/peak")" -lt 60000 ]
  done
}

@test "equal to umoci: an image of Debian's files, more than 20,000 of them in six layers" {
  requires tar setcap
  # What the packages of this machine have installed, but for large files; a small machine's twice.
  in_memory
  local i format list=$STORE/list
  mkdir -p "$STORE/extra/opt/bin" "$STORE/tars"
  cp /bin/true "$STORE/extra/opt/bin/raw"
  setcap cap_net_raw+ep "$STORE/extra/opt/bin/raw"
  chmod 4755 "$STORE/extra/opt"
  (cd / && find usr etc/alternatives -xdev \( -type f -size -16k -o -type l -o -type d \) ! -path 'usr/local/*' | sort | head -22000) >"$list"
  split -n l/5 -d "$list" "$list."
  for i in 0 1 2 3 4; do
    format='pax'
    [ $((i % 2)) = 0 ] || format=gnu
    tar -C / --no-recursion --numeric-owner --format=$format --verbatim-files-from -T "$list.0$i" -cf "$STORE/tars/$i"
    [ "$(wc -l <"$list")" -gt 20500 ] ||
      tar -C / --no-recursion --numeric-owner --format=$format --transform 's,^,again/,' --verbatim-files-from -T "$list.0$i" -rf "$STORE/tars/$i"
  done
  tar -C "$STORE/extra" --xattrs --xattrs-include='*' --numeric-owner -cf "$STORE/tars/5" opt
  python_oci "$STORE/oci" "$STORE/tars" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
layers = [open(f'{sys.argv[2]}/{i}', 'rb').read() for i in range(6)]
o.name(o.image(layers, how='fast'), 'v1')
PY
  rm -rf "$STORE/tars"
  equal "$STORE/oci:v1" 20000
  grep -q 'opt/bin/raw .*security.capability=' "$STORE/ours"
}

@test "sparse files in all of GNU tar's forms: content, holes, and the stream again" {
  python_oci "$STORE/oci" "$STORE" <<'PY'
import sys
import nasty_layers
from oci_layout import *
o = Layout(sys.argv[1])
for style in ('old', '0.0', '0.1', '1.0'):
    raw = nasty_layers.sparse(style)
    open(f'{sys.argv[2]}/{style}.tar', 'wb').write(raw)
    o.name(o.image([raw]), style)
PY
  local style id dir
  for style in old 0.0 0.1 1.0; do
    id=$(pull "oci:$STORE/oci:$style")
    dir=$(diff_of "$id" 0)
    mkdir "$STORE/tar"
    tar -C "$STORE/tar" -xpf "$STORE/$style.tar"
    diff -r "$STORE/tar" "$dir"
    [ "$(stat -c '%n %s %Y %a' "$dir"/* | sed 's,.*/,,')" = "$(stat -c '%n %s %Y %a' "$STORE/tar"/* | sed 's,.*/,,')" ]
    [ "$(stat -c %b "$dir/hole")" = 0 ]
    [ "$(du -k "$dir/holes" | cut -f1)" -lt 3000 ]
    rm -rf "$STORE/tar"
  done
  whole
}

@test "old and binary headers, global ones, archives that end early or late, frames and members" {
  python_oci "$STORE/oci" <<'PY'
import sys
import nasty_layers as n
from oci_layout import *
o = Layout(sys.argv[1])
def blobs(name, *pairs):
    ids = ['sha256:' + hashlib.sha256(raw).hexdigest() for raw, _ in pairs]
    c = o.blob({'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': ids}}, CONFIG)
    o.name(o.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': c, 'layers': [o.blob(z, LAYER) for _, z in pairs]}, MANIFEST), name)
o.name(o.image(n.numbers()), 'numbers')
o.name(o.image(n.ends(), how='plain'), 'ends')
raw = n.contents()[0]
blobs('frames', (raw, n.zstd_frames(raw)), (n.ends()[0], n.gzip_members(n.ends()[0])), (b'', n.zstd(b'')))
PY
  local dir id
  id=$(pull "oci:$STORE/oci:numbers")
  dir=$(diff_of "$id" 0)
  [ "$(stat -c '%u:%g %s' "$dir/base256")" = "70000:70000 3" ]
  [ "$(cat "$dir/base256" "$dir/contiguous")" = abcco ]
  [ -f "$dir/oldstyle" ]
  [ -d "$dir/olddir" ]
  id=$(pull "oci:$STORE/oci:ends")
  [ "$(cat "$(diff_of "$id" 0)/g" "$(diff_of "$id" 1)/h" "$(diff_of "$id" 4)/i")" = ghiii ]
  pull "oci:$STORE/oci:frames"
  whole
}

@test "limits: bytes, entries, ratio, directories without an entry; each names what was too much" {
  setting unpack_max_bytes 3000000000
  setting unpack_max_entries 5000
  python_oci "$STORE/oci" <<'PY'
import sys
import nasty_layers as n
from oci_layout import *
o = Layout(sys.argv[1])
def blob(name, z):
    c = o.blob({'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + '0' * 64]}}, CONFIG)
    o.name(o.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': c, 'layers': [o.blob(z, LAYER)]}, MANIFEST), name)
zeros = lambda size: subprocess.Popen(['head', '-c', str(size), '/dev/zero'], stdout=subprocess.PIPE).stdout
head = n.header(b'zeros', 10 << 30, number=lambda v, w: n.base256(v, w))
bomb = subprocess.run(['zstd', '-qc'], stdin=zeros(512 << 20), stdout=subprocess.PIPE, check=True).stdout
blob('ratio', n.zstd(head) + bomb * 20)
blob('members', gzip.compress(head) + gzip.compress(bytes(64 << 20)) * 160)
blob('window', subprocess.run(['zstd', '-qc', '--long=31', '--ultra', '-1'], stdin=zeros(4 << 20), stdout=subprocess.PIPE, check=True).stdout)
blob('entries', n.zstd(n.header(b'same') * 6000 + n.END))
blob('implied', n.zstd(b''.join(n.header(b'%d/' % i + b'a/' * 45 + b'f') for i in range(300)) + n.END))
blob('deep', n.zstd(layer(entry('d/' * 2000 + 'f'))))
blob('opaque', n.zstd(layer(*[entry(f'{i}/' + 'x' * 250 + '/.wh..wh..opq') for i in range(2400)])))
blob('pax', n.zstd(n.header(b'x', 1 << 30, kind=b'x')) + bomb)
blob('sparse', n.zstd(n.pax(b'x', GNU__sparse__realsize=b'9' * 18, GNU__sparse__major=b'1', GNU__sparse__minor=b'0', GNU__sparse__name=b'huge')
                      + n.header(b'huge', 512) + n.padded(b'1\n0\n1\n') + n.END))
PY
  local tag want
  while read -r tag want; do
    run_err 6 /usr/bin/python3 "$LIB/peak.py" "$STORE/peak" ocipull --root "$STORE" --runroot "$STORE/run" "oci:$STORE/oci:$tag"
    [[ $stderr == *"layer sha256:"* && $stderr == *"$want"* ]]
    nothing_left
    # Nobody took more than 100 MB for it.
    [ "$(cat "$STORE/peak")" -lt 100000 ]
  done <<'CASES'
ratio unpack_max_ratio
members unpack_max_ratio
window Frame requires too much memory
entries unpack_max_entries
implied unpack_max_entries
deep too deep
pax damaged tar archive
CASES
  setting unpack_max_bytes 1000000
  setting unpack_max_ratio 0
  run_err 6 pull "oci:$STORE/oci:ratio"
  [[ $stderr == *"zeros"*"more than 1000000 bytes (unpack_max_bytes)"* ]]
  nothing_left
  # Many opaque directories are bounded by their names, not by crashing.
  setting unpack_max_entries 100000
  run pull "oci:$STORE/oci:sparse"
  [ "$status" != 0 ]
  nothing_left
}

@test "names, links and devices that reach out of the layer stay in it or are refused" {
  python_oci "$STORE/oci" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
def put(name, *entries): o.name(o.image([layer(*entries)]), name)
put('stay', entry('../../../up', data=b'1'), entry('/abs', data=b'2'), entry('a', SYM, link='/'), entry('a/rooted', data=b'3'),
    entry('b', SYM, link='../../../../../../etc'), entry('b/planted', data=b'4'), entry('c', DIR), entry('c', SYM, link='/tmp'),
    entry('c/crisp-planted', data=b'5'), entry('d', LINK, link='../../../up'), entry('e', LINK, link='/abs'), entry('f', SYM, link='/etc/shadow'),
    entry('f', data=b'6'), entry('g', SYM, link='/proc/self/root'), entry('g/proc-out', data=b'7'),
    entry('h', CHR, dev=(1, 1)), entry('h', data=b'8'), entry('i', FIFO), entry('i', data=b'9'))
put('proc', entry('l', LINK, link='/proc/1/root/etc/shadow'))
put('dirlink', entry('d', DIR), entry('l', LINK, link='d'))
put('gonelink', entry('.wh.d'), entry('l', LINK, link='d'))
put('rootfile', entry('.', data=b'x'))
put('through', entry('f', data=b'x'), entry('f/../../g/h', data=b'x'), entry('f/g', data=b'x'))
put('device', entry('h', CHR, dev=(1, 1)), entry('h/x', data=b'x'))
PY
  local id d tag want
  id=$(pull "oci:$STORE/oci:stay")
  d=$(diff_of "$id" 0)
  [ "$(cat "$d/up" "$d/abs" "$d/rooted" "$d/etc/planted" "$d/tmp/crisp-planted" "$d/f" "$d/proc/self/root/proc-out" "$d/h" "$d/i")" = 123456789 ]
  [ "$d/d" -ef "$d/up" ]
  [ "$d/e" -ef "$d/abs" ]
  [ ! -L "$d/f" ]
  [ ! -e /up ]
  [ ! -e /abs ]
  [ ! -e /rooted ]
  [ ! -e /etc/planted ]
  [ ! -e /tmp/crisp-planted ]
  [ ! -e /proc-out ]
  whole
  rm -rf "$STORE"/{images,names,layers}
  while read -r tag want; do
    run_err 6 pull "oci:$STORE/oci:$tag"
    [[ $stderr == *"layer sha256:"*"$want"* ]]
    nothing_left
  done <<'CASES'
proc proc/1/root/etc/shadow: hard link to 'proc/1/root/etc/shadow', which is no file in the layer or below
dirlink l: hard link to 'd', which is a directory
gonelink l: hard link to 'd', which is removed
rootfile root is not a directory
through 'f' in '' is not a directory
device 'h' in '' is not a directory
CASES
}

@test "truncated and altered layers of every kind: an error, nothing left" {
  # The blobs have the digests that the manifest says: only the unpacking child can see the damage.
  in_memory
  python_oci "$STORE/oci" <<'PY'
import random
import sys
import nasty_layers as n
from oci_layout import *
rnd = random.Random(20)
o = Layout(sys.argv[1])
raw = n.metadata()[0] + bytes(512)
raw = layer(*[entry(f'd{i}/f', data=rnd.randbytes(rnd.randrange(1500))) for i in range(40)], entry('cap', data=b'c', pax=n.xattr(security__capability=n.CAP)))
c = o.blob({'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(raw).hexdigest()]}}, CONFIG)
def put(name, z):
    o.name(o.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': c, 'layers': [o.blob(bytes(z), LAYER)]}, MANIFEST), name)
# zstd without its checksum: the archive's and the diff ID's checks are alone.
for kind, z in (('plain', raw), ('gzip', gzip.compress(raw, mtime=0)), ('zstd', n.zstd(raw, '--no-check'))):
    for i in range(6):
        put(f'{kind}-cut{i}', z[:rnd.randrange(len(z))])
        damaged = bytearray(z)
        # Behind the header of gzip, whose time and name do not matter.
        damaged[rnd.randrange(10, len(z))] ^= 1 << rnd.randrange(8)
        put(f'{kind}-flip{i}', damaged)
PY
  local tag
  for tag in $(jq -r '.manifests[].annotations[]' "$STORE/oci/index.json"); do
    run_err 6 pull "oci:$STORE/oci:$tag"
    [[ $stderr == *"layer sha256:"* ]]
    [[ $stderr != *$'\n'* ]]
    nothing_left
  done
}

# Start tests/lib's scripted server; sets SERVER=127.0.0.1:PORT
server() { # MODE UPSTREAM
  PYTHONDONTWRITEBYTECODE=1 python3 "$LIB/registry_fake.py" "$STORE/port" "$@" >"$STORE/server.log" 2>&1 3>&- &
  PIDS+=($!)
  wait_for 10 test -s "$STORE/port"
  SERVER=127.0.0.1:$(cat "$STORE/port")
}

@test "the child at work holds nothing of the outside" {
  crisp_registry
  PIDS+=("$REGISTRY_PID")
  make_image busy
  server stall "$REGISTRY"
  echo "{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}" >"$CRISP_TMP/etc/registries.d/slow.json"
  # A directory is open here that it must not get.
  "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy" >/dev/null 2>&1 3>&- 8</etc &
  local parent=$! pid fd new
  PIDS+=("$parent")
  wait_for 10 grep -q stalling "$STORE/server.log"
  pid=$(cat /proc/$parent/task/*/children | xargs)
  wait_for 5 grep -q 'Seccomp:.2' "/proc/$pid/status"
  grep -q 'NoNewPrivs:.1' "/proc/$pid/status"
  # chown dac_override fowner fsetid mknod setfcap
  for fd in CapPrm:.000000008800001b CapEff:.000000008800001b CapBnd:.000000008800001b CapAmb:.0000000000000000; do
    grep -q "$fd" "/proc/$pid/status"
  done
  new=$(echo "$STORE"/tmp/layer-*/new)
  [ "$(readlink "/proc/$pid/root")" = "$new/diff" ]
  [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]
  # Nothing but lo, and no route.
  [ "$(tail -n +3 "/proc/$pid/net/dev" | grep -cv ' lo:')" = 0 ]
  [ "$(wc -l <"/proc/$pid/net/route")" -le 1 ]
  for fd in /proc/"$pid"/fd/*; do
    case $(readlink "$fd") in
    pipe:* | /dev/null | "$new/recipe" | "$new/diff" | "$new/diff/"*) ;;
    *) readlink "$fd" && false ;;
    esac
  done
  [ "$(find /proc/"$pid"/fd -lname 'pipe:*' | wc -l)" = 2 ]
  grep -q 'Max core file size *0 ' "/proc/$pid/limits"
}
