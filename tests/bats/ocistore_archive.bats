#!/usr/bin/env bats
# ocistore: verify, repair, save, load. What is damaged is named, comes again, and never leaves the store as if it were whole.
load ../lib/helpers

setup_file() {
  crisp_file_setup
  crisp_registry
  layout
  local n
  for n in a b none; do ocipull --root "$CRISP_TMP/good" --runroot "$CRISP_TMP/good/run" "oci:$CRISP_TMP/lay:r.io/$n:1"; done
}
teardown_file() { crisp_file_teardown; }

setup() {
  requires root skopeo umoci zstd setfattr
  STORE=$(mktemp -d "$CRISP_TMP/store.XXXXXX")
  PIDS=()
}
teardown() {
  local pid
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
  umount "$STORE/mnt" 2>/dev/null
  rm -rf "$STORE"
}

LIB=$BATS_TEST_DIRNAME/../lib
python_oci() { PYTHONPATH=$LIB PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$@"; }
# Images a and b share their first layer; none has no layer at all.
layout() {
  python_oci "$CRISP_TMP/lay" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
base = layer(entry('./', DIR), entry('etc/', DIR), entry('etc/passwd', data=b'root\n' * 100), entry('bin/', DIR, mode=0o751, uid=3, gid=4),
             entry('bin/big', data=bytes(range(256)) * 4000, mode=0o4755), entry('bin/hard', LINK, link='bin/big'),
             entry('bin/sym', SYM, link='../etc/passwd'), entry('dev', CHR, dev=(1, 3)), entry('pipe', FIFO),
             entry('attr', data=b'x', pax={'SCHILY.xattr.user.k': 'v'}), entry('twice', data=b'first' * 9),
             entry('twice', data=b'second'), entry('empty'), entry('new\nline\x1b[1m', data=b'n'))
up = layer(entry('etc/hosts', data=b'hosts'), entry('etc/.wh.passwd'), entry('opq/', DIR), entry('opq/.wh..wh..opq'),
           entry('opq/x', data=b'x'))
only = layer(entry('./', DIR), entry('z', data=b'z' * 70000))
o.name(o.image([base, up]), 'r.io/a:1')
o.name(o.image([base, only, base], how='zstd'), 'r.io/b:1')
o.name(o.image([]), 'r.io/none:1')
PY
}
store() { ocistore --root "$STORE" --runroot "$STORE/run" "$@"; }
pull() { ocipull --root "$STORE" --runroot "$STORE/run" "$@"; }
other() { ocistore --root "$STORE/other" --runroot "$STORE/other/run" "$@"; }
good() { cp -a "$CRISP_TMP/good/." "$STORE/"; }
layer_of() { jq -r ".layers[$2].id" "$STORE/images/$(basename "$(readlink "$STORE/names/r.io%2f$1:1")")/image.json"; } # NAME INDEX
# What of the store must be equal after a round trip: ids, names, layers, and all files with their metadata.
picture() { # STORE
  (cd "$1" && ls images layers names && find layers -path '*/diff*' -printf '%P|%y|%m|%U:%G|%s|%l|%T@|%n\n' |
    sed -E 's/\|1[6-9][0-9]{8}\.[0-9]+\|/|now|/' | sort &&
    find layers -path '*/diff/*' -type f -exec sha256sum {} + | sort -k2)
}
nothing_left() { [ -z "$(ls "$STORE/tmp")" ] && [ -z "$(find "$STORE" -name '.ocistore-save*')" ]; }

# Damage one thing in layer 0 of image a, with all times put back: verify must say exactly this line of it.
named() { # EXPECTED CMD...: CMD runs in diff/
  local want=$1 l
  shift
  rm -rf "${STORE:?}"/*
  good
  l=$(layer_of a 0)
  (cd "$STORE/layers/$l/diff" && "$@" && find . -exec touch -h -d @1000000000 {} +)
  run --separate-stderr store verify
  [ "$status" = 5 ] || { echo "status $status for: $*" && false; }
  [ "$output" = "layer $l: $want" ] || { echo "for $*: $output" && false; }
  [[ $stderr == *"1 fault in 1 layer and 0 image records"* ]]
}
flip() { printf X | dd of="$1" bs=1 seek=1000 conv=notrunc status=none; }
swap() { rm "$1" && "${@:2}"; }

@test "verify: a whole store is silent, layers that images share are read once" {
  good
  run --separate-stderr store verify
  [ "$status" = 0 ]
  [ -z "$output" ]
  [ -z "$stderr" ]
  store verify r.io/a:1 r.io/none:1
  run_err 3 store verify r.io/nothing:1
  rm "$STORE/layers/$(layer_of a 0)/diff/empty"
  run --separate-stderr store verify --json r.io/a:1 r.io/b:1
  [ "$(jq -sc 'map([.path, .problem])' <<<"$output")" = "$(jq -nc '[[".", $t], ["empty", "missing"]]' \
    --arg t "$(jq -sr '.[0].problem' <<<"$output")")" ]
}

@test "verify: the hardest layers, hard links below, sparse files, streams without an end" {
  python_oci "$STORE/nasty" <<'PY'
import sys
import nasty_layers as n
from oci_layout import *
o = Layout(sys.argv[1])
for k in 'replaced names metadata below ends aufs contents numbers'.split():
    o.name(o.image(getattr(n, k)()), f'r.io/{k}:1')
for s in ('old', '0.0', '0.1', '1.0'):
    o.name(o.image([n.sparse(s)]), f'r.io/sparse{s}:1')
PY
  ocistore --root "$STORE" --runroot "$STORE/run" load -i "$STORE/nasty" >"$STORE/loaded"
  [ "$(wc -l <"$STORE/loaded")" = 12 ]
  run --separate-stderr store verify
  [ "$status" = 0 ]
  [ -z "$output" ]
  [ -z "$stderr" ]
  # Their streams come again byte for byte, or the ids of the layers would be others.
  mapfile -t names < <(cut -d' ' -f2 "$STORE/loaded")
  store save "${names[@]}" | other load >"$STORE/again"
  cmp "$STORE/loaded" "$STORE/again"
  [ "$(ls "$STORE/layers")" = "$(ls "$STORE/other/layers")" ]
  other verify
}

@test "verify names each bad file: contents" {
  named 'bin/big: content differs' flip bin/big
  named 'twice: content differs' sh -c 'printf sECOND >twice'
  named 'etc/passwd: size is 10, not 500' truncate -s 10 etc/passwd
  named 'empty: size is 4, not 0' sh -c 'echo 123 >empty'
  named 'twice: missing' rm twice
  named 'bin/sym: missing' rm bin/sym
  named 'new\x0aline\x1b[1m: missing' find . -name 'new*' -delete
  named 'etc/extra: unexpected regular file' touch etc/extra
  named 'bin/more: unexpected directory' mkdir bin/more
}

@test "verify names each bad file: kinds, owners, modes, links, devices" {
  named 'twice: is a directory, not a regular file' swap twice mkdir twice
  named 'pipe: is a regular file, not a named pipe' swap pipe touch pipe
  named 'empty: is a symbolic link, not a regular file' swap empty ln -s x empty
  named 'twice: mode is 0600, not 0644' chmod 600 twice
  named 'etc: mode is 0700, not 0755' chmod 700 etc
  named 'bin: owner is 3:5, not 3:4' chown 3:5 bin
  named 'bin/sym: owner is 7:0, not 0:0' chown -h 7 bin/sym
  named "bin/sym: link is to 'x', not to '../etc/passwd'" swap bin/sym ln -s x bin/sym
  named 'dev: device is 1:5, not 1:3' swap dev mknod -m 644 dev c 1 5
  named 'bin/hard: is not the same file as bin/big' sh -c 'cp -a bin/hard x && mv x bin/hard'
  named '.: mode is 0711, not 0755' chmod 711 .
}

@test "verify names each bad file: extended attributes, times, marks of overlay" {
  named 'attr: extended attribute user.k differs' setfattr -n user.k -v w attr
  named 'attr: extended attribute user.k is missing' setfattr -x user.k attr
  named 'twice: unexpected extended attribute user.q' setfattr -n user.q -v w twice
  named 'twice: unexpected extended attribute security.capability' setcap cap_net_raw+ep twice
  named 'etc: hides what is below it, and should not' setfattr -n trusted.overlay.opaque -v y etc
  good
  touch -d @5.25 "$STORE/layers/$(layer_of a 0)/diff/twice"
  run --separate-stderr store verify
  [[ $output == *": twice: time is 5.250000000, not 1000000000.000000000" ]]
  good
  setfattr -x trusted.overlay.opaque "$STORE/layers/$(layer_of a 1)/diff/opq"
  run --separate-stderr store verify
  [[ $output == *"layer $(layer_of a 1): opq: should hide what is below it, and does not"* ]]
}

@test "verify: the recipe and the records of a layer" {
  local l
  good
  l=$(layer_of a 0)
  flip "$STORE/layers/$l/recipe"
  run --separate-stderr store verify
  [ "$status" = 5 ]
  [ "${#lines[@]}" = 1 ]
  [[ $output == "layer $l: recipe: recipe is damaged: "* ]]
  truncate -s 200 "$STORE/layers/$l/recipe"
  run --separate-stderr store verify
  [[ $output == "layer $l: recipe: recipe is damaged: cut short" ]]
  cp "$STORE/layers/$(layer_of b 1)/recipe" "$STORE/layers/$l/recipe"
  run --separate-stderr store verify r.io/a:1
  [[ $output == *"layer $l: recipe: it is of a layer with diff ID "* ]]
  truncate -s 0 "$STORE/layers/$l/recipe"
  run --separate-stderr store verify
  [ "$status" = 5 ]
  [[ $output == "layer $l: recipe: recipe is damaged: it is empty" ]]
  run_err 5 store save r.io/a:1 -o "$STORE/x"
  rm "$STORE/layers/$l/recipe"
  run --separate-stderr store verify
  [ "$status" = 5 ]
  [ "$output" = "layer $l: recipe: missing" ]
  # From before there were recipes: told, and no fault.
  jq 'del(.recipe)' "$STORE/layers/$l/layer.json" >"$STORE/j" && cp "$STORE/j" "$STORE/layers/$l/layer.json"
  run --separate-stderr store verify
  [ "$status" = 0 ]
  [ "$output" = "layer $l: cannot be verified: stored without a recipe" ]
  run_err 10 store save r.io/a:1 -o "$STORE/x"
  rm -r "$STORE/layers/$l"
  run --separate-stderr store verify
  [ "$status" = 5 ]
  [ "$output" = "layer $l: missing" ]
  good
  echo '{"version":1,"diff_id":"x","size":1}' >"$STORE/layers/$l/layer.json"
  run --separate-stderr store verify
  [ "$status" = 5 ]
  [ "$output" = "layer $l: layer.json: it is not what the recipe says" ]
}

@test "verify: what is removed meanwhile is no fault" {
  requires strace
  good
  ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e trace=pipe2 -e inject=pipe2:signal=STOP:when=1 \
    "$BUILD/bin/ocistore" --root "$STORE" --runroot "$STORE/run" verify >"$STORE/said" 2>&1 3>&- &
  local tracer=$! pid l
  PIDS+=("$tracer")
  stopped() { pid=$(pgrep -P "$tracer") && grep -q '^State:.[tT]' "/proc/$pid/status" && ls "$STORE"/tmp/read-*/wants.json; }
  # strace does not end before what it traces.
  wait_for 10 stopped || { kill -9 "$pid" && false; }
  l=$(layer_of a 1)
  store rm --wait r.io/a:1
  [ -d "$STORE/layers/$l" ]
  [[ $(store gc --dry-run) == *"keep layer $l: it is being read"* ]]
  kill -CONT "$pid"
  wait "$tracer"
  [ ! -s "$STORE/said" ]
  nothing_left
  store gc >/dev/null
  [ ! -e "$STORE/layers/$l" ]
}

@test "save: what is removed meanwhile is saved to its end" {
  good
  store save r.io/a:1 -o "$STORE/whole"
  mkfifo "$STORE/pipe"
  store save r.io/a:1 >"$STORE/pipe" 3>&- &
  local saver=$!
  PIDS+=("$saver")
  exec 7<"$STORE/pipe"
  # It has begun to write, and cannot end before somebody reads.
  dd bs=1 count=1 <&7 of="$STORE/got" status=none
  store rm --wait r.io/a:1
  cat <&7 >>"$STORE/got"
  exec 7<&-
  wait "$saver"
  cmp "$STORE/whole" "$STORE/got"
  nothing_left
}

@test "verify: the records of images, and names that lead nowhere" {
  local img
  good
  img=$(basename "$(readlink "$STORE/names/r.io%2fa:1")")
  printf ' ' >>"$STORE/images/$img/config.json"
  run --separate-stderr store verify r.io/a:1
  [ "$status" = 5 ]
  [ "$output" = "image sha256:$img: config.json: content differs" ]
  run_err 5 store save r.io/a:1 -o "$STORE/x"
  [[ $stderr == *"image sha256:$img: config.json: content differs"* ]]
  good
  printf ' ' >>"$STORE/images/$img/manifest.json"
  run --separate-stderr store verify r.io/a:1
  [ "$output" = "image sha256:$img: manifest.json: content differs" ]
  good
  echo '{' >"$STORE/images/$img/image.json"
  run --separate-stderr store verify
  [ "$status" = 5 ]
  [[ $output == "image sha256:$img: image.json: "* ]]
  good
  ln -s "../images/$(printf '0%.0s' {1..64})" "$STORE/names/r.io%2flost:1"
  ln -s /etc/passwd "$STORE/names/r.io%2fodd:1"
  run --separate-stderr store verify
  [ "$status" = 5 ]
  [ "$(sort <<<"$output" | xargs)" = 'name r.io%2fodd:1: it is no link to an image name r.io/lost:1: its image is missing' ]
}

@test "save and load again: the same ids, names, layers and files, by each form; equal inputs give equal bytes" {
  local form
  good
  for form in docker-archive oci-archive; do
    store save --format $form r.io/a:1 r.io/b:1 r.io/none:1 -o "$STORE/$form"
    store save --format $form r.io/a:1 r.io/b:1 r.io/none:1 | cmp - "$STORE/$form"
    rm -rf "$STORE/other"
    run --separate-stderr other load -i "$STORE/$form"
    [ "$status" = 0 ]
    [ -z "$stderr" ]
    [ "${lines[0]}" = "sha256:$(basename "$(readlink "$STORE/names/r.io%2fa:1")") r.io/a:1" ]
    [ "${#lines[@]}" = 3 ]
    [ "$(picture "$STORE/other")" = "$(picture "$STORE")" ]
    other verify
  done
  for form in gzip gzip:9 zstd zstd:10 ''; do
    store save --format oci ${form:+--compress "$form"} r.io/a:1 r.io/b:1 -o "$STORE/dir"
    store save --format oci-archive ${form:+--compress "$form"} r.io/a:1 r.io/b:1 | tar -x -C "$(mktemp -d "$STORE/x.XXX")"
    diff -r "$STORE/dir" "$STORE"/x.*
    rm -rf "$STORE/other"
    other load --json -i "$STORE/dir" | jq -sc 'map(.names)' | grep -Fx '[["r.io/a:1"],["r.io/b:1"]]'
    other verify
    rm -rf "$STORE/dir" "$STORE"/x.*
  done
  nothing_left
}

@test "skopeo and umoci read what is saved" {
  good
  store save r.io/a:1 r.io/b:1 -o "$STORE/docker.tar"
  store save --format oci-archive --compress gzip r.io/a:1 r.io/b:1 -o "$STORE/oci.tar"
  store save --format oci --compress gzip r.io/a:1 r.io/b:1 -o "$STORE/dir"
  store save --format oci r.io/a:1 -o "$STORE/plain"
  local ids n
  ids=$(store inspect r.io/b:1 | jq -r .id)
  skopeo copy -q "docker-archive:$STORE/docker.tar:r.io/b:1" "oci:$STORE/lay:d"
  skopeo copy -q "oci-archive:$STORE/oci.tar:r.io/b:1" "oci:$STORE/lay:o"
  skopeo copy -q "oci:$STORE/dir:r.io/b:1" "oci:$STORE/lay:p"
  [ "$(skopeo inspect --raw "docker-archive:$STORE/docker.tar:r.io/b:1" | jq -r .config.digest)" = "$ids" ]
  [ "$(skopeo inspect --raw "oci:$STORE/lay:o" | jq -r .config.digest)" = "$ids" ]
  for n in d o p; do
    umoci unpack --image "$STORE/lay:$n" "$STORE/un.$n" >/dev/null
    cmp "$STORE/un.$n/rootfs/bin/big" "$STORE/layers/$(layer_of a 0)/diff/bin/big"
  done
  [ "$(umoci ls --layout "$STORE/dir" | xargs)" = 'r.io/a:1 r.io/b:1' ]
  umoci unpack --image "$STORE/plain:r.io/a:1" "$STORE/un" >/dev/null
  [ "$(cat "$STORE/un/rootfs/etc/hosts")" = hosts ]
  [ ! -e "$STORE/un/rootfs/etc/passwd" ]
  # As docker save has it: what the old readers look for is there.
  [ "$(tar -xOf "$STORE/docker.tar" repositories | jq -c 'map_values(keys)')" = '{"r.io/a":["1"],"r.io/b":["1"]}' ]
  [ "$(tar -xOf "$STORE/docker.tar" manifest.json | jq -c 'map(.RepoTags)')" = '[["r.io/a:1"],["r.io/b:1"]]' ]
  [ "$(tar -tf "$STORE/docker.tar" | sort | uniq -d)" = "" ]
}

@test "save: a name goes alone, an id with all of them" {
  good
  store tag r.io/a:1 r.io/a:2 other.io/x:y
  tags() { store save "$@" | tar -xO manifest.json | jq -c '[.[].RepoTags[]]'; }
  [ "$(tags r.io/a:2)" = '["r.io/a:2"]' ]
  [ "$(tags r.io/a:2 r.io/a:1)" = '["r.io/a:1","r.io/a:2"]' ]
  [ "$(tags "$(store inspect r.io/a:1 | jq -r .id)")" = '["other.io/x:y","r.io/a:1","r.io/a:2"]' ]
  store save --format oci-archive "$(store inspect r.io/a:1 | jq -r .id)" | other load |
    cut -d' ' -f2 | xargs | grep -Fx 'other.io/x:y r.io/a:1 r.io/a:2'
}

@test "save: bad layers, bad targets and terminals are refused and leave nothing" {
  good
  store save r.io/a:1 -o "$STORE/file"
  store save r.io/a:1 -o "$STORE/file" # replaced
  mkdir -p "$STORE/dir/full" "$STORE/empty"
  run_err 4 store save --format oci r.io/a:1 -o "$STORE/dir"
  run_err 4 store save r.io/a:1 -o "$STORE/dir"
  store save --format oci r.io/a:1 -o "$STORE/empty"
  run_err 2 store save --format oci r.io/a:1
  run_err 2 store save --format rar r.io/a:1 -o "$STORE/x"
  run_err 2 store save --compress gzip r.io/a:1 -o "$STORE/x"
  run_err 2 store save --format oci --compress gzip:10 r.io/a:1 -o "$STORE/x"
  run_err 2 store save --format oci --compress lzma r.io/a:1 -o "$STORE/x"
  run_err 3 store save r.io/a:1 r.io/nothing:1 -o "$STORE/x"
  run_err 3 store save r.io/a:1 -o "$STORE/no/x"
  run /usr/bin/python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' \
    "$BUILD/bin/ocistore" --root "$STORE" --runroot "$STORE/run" save r.io/a:1
  [ "$status" = 2 ]
  [[ $output == *"not written to a terminal"* ]]
  flip "$STORE/layers/$(layer_of a 0)/diff/bin/big"
  touch -d @1000000000 "$STORE/layers/$(layer_of a 0)/diff/bin/big"
  local form
  for form in docker-archive oci-archive oci; do
    run_err 5 store save --format "$form" r.io/a:1 -o "$STORE/x"
    [[ $stderr == *"layer $(layer_of a 0): bin/big: content differs"* ]]
    [ ! -e "$STORE/x" ]
  done
  run_err 5 store save --format oci --compress zstd r.io/a:1 -o "$STORE/x"
  nothing_left
}

@test "save: what a killed one has left goes with the next; what another works on, and what is not ours, stays" {
  requires strace
  good
  mkdir "$STORE/out"
  ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e trace=renameat -e inject=renameat:signal=KILL:when=1..9999 \
    "$BUILD/bin/ocistore" --root "$STORE" --runroot "$STORE/run" save --format oci r.io/a:1 -o "$STORE/out/x" 2>/dev/null 3>&- || :
  [ -n "$(ls -d "$STORE"/out/.ocistore-save-*)" ]
  [ ! -e "$STORE/out/x" ]
  mkdir "$STORE/out/.ocistore-save-0123456789abcdef" "$STORE/out/.ocistore-save-0000456789abcdef"
  chown 1000 "$STORE/out/.ocistore-save-0000456789abcdef"
  touch "$STORE/out/.ocistore-save-mine" "$STORE/out/.ocistore-save-1123456789abcdef"
  exec 8<"$STORE/out/.ocistore-save-0123456789abcdef"
  flock 8
  store save r.io/a:1 -o "$STORE/out/file"
  [ "$(paste -sd" " <(ls -A "$STORE/out"))" = '.ocistore-save-0000456789abcdef .ocistore-save-0123456789abcdef .ocistore-save-mine file' ]
  exec 8<&-
  store save --format oci r.io/a:1 -o "$STORE/out/x"
  [ "$(paste -sd" " <(ls -A "$STORE/out"))" = '.ocistore-save-0000456789abcdef .ocistore-save-mine file x' ]
}

@test "load: from standard input, compressed or not, and what skopeo writes" {
  good
  store save r.io/a:1 r.io/b:1 -o "$STORE/d"
  local n=0 how
  for how in cat gzip 'zstd -qc'; do
    rm -rf "$STORE/other"
    $how <"$STORE/d" | other load | cut -d' ' -f2 | xargs | grep -Fx 'r.io/a:1 r.io/b:1'
    [ -z "$(ls "$STORE/other/tmp")" ]
  done
  skopeo copy -q "oci:$CRISP_TMP/lay:r.io/a:1" "docker-archive:$STORE/skopeo.tar:r.io/s:2"
  skopeo copy -q "oci:$CRISP_TMP/lay:r.io/a:1" "oci-archive:$STORE/named.tar:tag"
  rm -rf "$STORE/other"
  # skopeo makes a Docker configuration of an OCI one: another id, the same layers.
  other load -i "$STORE/skopeo.tar" | grep ' r.io/s:2$'
  diff <(ls "$STORE/other/layers") <({ layer_of a 0 && layer_of a 1; } | sort)
  [ "$(other load -i "$STORE/named.tar" | head -1)" = "$(store inspect r.io/a:1 | jq -r .id) localhost/named:tag" ]
  # Without any name: by id.
  store untag r.io/a:1 2>/dev/null || true
  rm -rf "$STORE/other"
  mkdir "$STORE/members"
  tar -C "$STORE/members" -xf "$STORE/d"
  tar -xOf "$STORE/d" manifest.json | jq -c 'map(.RepoTags = null)' >"$STORE/members/manifest.json"
  tar -C "$STORE/members" -cf "$STORE/d" .
  run --separate-stderr other load -i "$STORE/d"
  [ "$status" = 0 ]
  [ "${#lines[@]}" = 2 ]
  [ "${#lines[0]}" = 71 ]
  other verify
}

@test "load: hostile and broken archives give one clear error and leave nothing" {
  python_oci "$STORE" <<'PY'
import hashlib, io, json, os, sys, tarfile
os.chdir(sys.argv[1])
conf = json.dumps({'os': 'linux', 'architecture': 'amd64', 'rootfs': {'type': 'layers', 'diff_ids': []}}).encode()
def make(name, members):
    with tarfile.open(name + '.bad', 'w') as t:
        for path, data in members:
            ti = tarfile.TarInfo(path)
            if isinstance(data, tuple):
                ti.type, ti.linkname = data
                t.addfile(ti)
            else:
                ti.size = len(data)
                t.addfile(ti, io.BytesIO(data))
def docker(**kv):
    return json.dumps([{'Config': 'c.json', 'RepoTags': ['r.io/h:1'], 'Layers': [], **kv}]).encode()
layered = json.dumps({'os': 'linux', 'rootfs': {'diff_ids': ['sha256:' + '0' * 64]}}).encode()
make('config-outside', [('manifest.json', docker(Config='../../../../../../etc/hostname'))])
make('config-link', [('c.json', (tarfile.SYMTYPE, '/etc/hostname')), ('manifest.json', docker())])
make('manifest-link', [('manifest.json', (tarfile.SYMTYPE, '/etc/passwd'))])
make('manifest-pipe', [('manifest.json', (tarfile.FIFOTYPE, ''))])
make('missing-config', [('manifest.json', docker())])
make('missing-layer', [('c.json', layered), ('manifest.json', docker(Layers=['l.tar']))])
make('wrong-diff', [('c.json', layered), ('l.tar', b'\0' * 10240), ('manifest.json', docker(Layers=['l.tar']))])
make('layer-dev', [('c.json', layered), ('l.tar', (tarfile.SYMTYPE, '/dev/zero')), ('manifest.json', docker(Layers=['l.tar']))])
make('count', [('c.json', conf), ('l.tar', b'\0' * 10240), ('manifest.json', docker(Layers=['l.tar']))])
make('empty-list', [('manifest.json', b'[]')])
make('no-json', [('manifest.json', b'{{{')])
make('nothing', [('readme', b'hello')])
digest = hashlib.sha256(conf).hexdigest()
index = lambda d, n: json.dumps({'schemaVersion': 2, 'manifests': [{'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'digest': 'sha256:' + d, 'size': n}]}).encode()
make('oci-missing', [('oci-layout', b'{}'), ('index.json', index('0' * 64, 5))])
make('oci-wrong', [('oci-layout', b'{}'), ('index.json', index('0' * 64, 5)), ('blobs/sha256/' + '0' * 64, b'other')])
make('outside', [('../../../../outside', b'x'), ('manifest.json', docker()), ('c.json', b'{}')])
open('cut.bad', 'wb').write(open('count.bad', 'rb').read()[:700])
open('noise.bad', 'wb').write(os.urandom(5000))
PY
  local f
  for f in "$STORE"/*.bad; do
    echo "$f"
    run --separate-stderr timeout 20 "$BUILD/bin/ocistore" --root "$STORE/other" --runroot "$STORE/other/run" load -i "$f"
    echo "$status: $stderr"
    [ "$status" != 0 ]
    [ "$status" != 124 ]
    [ "$status" -lt 128 ]
    [ -z "$output" ]
    [ "$(wc -l <<<"$stderr")" = 1 ]
    [[ $stderr == *"$f: "* ]]
    [ -z "$(ls "$STORE/other/tmp")$(ls "$STORE/other/layers")$(ls "$STORE/other/images")$(ls -A "$STORE/other/names")" ]
  done
  [ ! -e "$STORE/outside" ]
  [ ! -e "$STORE/other/outside" ]
  run_err 3 other load -i "$STORE/none"
  : >"$STORE/empty"
  run --separate-stderr other load -i "$STORE/empty"
  [ "$status" = 6 ]
  # The words of the program that pulls, not its line of JSON.
  mkdir "$STORE/odd"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$STORE/odd/oci-layout"
  echo '{"schemaVersion":2,"manifests":[{"digest":"sha256:0","size":1}]}' >"$STORE/odd/index.json"
  CRISP_LOG=json run --separate-stderr store load -i "$STORE/odd"
  [ "$status" != 0 ] && jq -e '.msg | test("[{}]") | not' <<<"$stderr"
}

@test "load: bombs and full disks end it" {
  good
  store save r.io/b:1 -o "$STORE/d"
  setting() { jq "$1" "$CRISP_CONFIG" >"$STORE/crisp.json" && export CRISP_CONFIG=$STORE/crisp.json; }
  local before=$CRISP_CONFIG
  setting '.unpack_max_bytes = 100000'
  run_err 6 other load -i "$STORE/d"
  [[ $stderr == *unpack_max_bytes* ]]
  CRISP_CONFIG=$before setting '.min_free_bytes = 1000000000000000'
  run_err 9 other load -i "$STORE/d"
  mkfifo "$STORE/pipe"
  cat "$STORE/d" >"$STORE/pipe" 2>/dev/null &
  PIDS+=($!)
  run_err 9 other load -i "$STORE/pipe"
  [[ $stderr == *"min_free_bytes"* ]]
  [ -z "$(ls "$STORE/other/tmp")$(ls "$STORE/other/images")" ]
}

# Image NAME, in the registry too, and pulled from there.
from_registry() {
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/lay:r.io/$1:1" "docker://$REGISTRY/$1:1"
  pull "$REGISTRY/$1:1"
}
image_json() { echo "$STORE/images/$(basename "$(readlink "$STORE/names/$REGISTRY%2f$1:1")")/image.json"; }

@test "repair: only what is bad is fetched, and is whole again; nothing to do is success" {
  local before l
  from_registry a
  from_registry b
  [ -z "$(store repair)" ]
  before=$(picture "$STORE")
  l=$(jq -r '.layers[0].id' "$(image_json a)")
  touch "$STORE/layers/$l/marker" "$STORE/layers/$(jq -r '.layers[1].id' "$(image_json a)")/marker"
  flip "$STORE/layers/$l/diff/bin/big"
  rm -r "$STORE/layers/$l/diff/etc"
  run --separate-stderr store repair --dry-run
  [ "$status" = 0 ]
  [[ $output == "would repair layer $l from $REGISTRY/"[ab]"@sha256:"* ]]
  [ -e "$STORE/layers/$l/marker" ]
  run --separate-stderr store repair
  [ "$status" = 0 ]
  [ "${#lines[@]}" = 1 ]
  [[ $output == "repaired layer $l from $REGISTRY/"[ab]"@sha256:"* ]]
  store verify
  [ "$(picture "$STORE")" = "$before" ]
  [ ! -e "$STORE/layers/$l/marker" ]
  [ -e "$STORE/layers/$(jq -r '.layers[1].id' "$(image_json a)")/marker" ] # the good one was let alone
  # The whole layer, its record, its recipe.
  for f in recipe layer.json; do
    rm "$STORE/layers/$l/$f"
    truncate -s 40 "$STORE/layers/$l/$f"
    store repair "$REGISTRY/a:1"
    store verify
  done
  rm -r "$STORE/layers/$l"
  store repair
  [ "$(picture "$STORE")" = "$before" ]
  [ "$(ls -A "$STORE/layers" | wc -l)" = "$(ls "$STORE/layers" | wc -l)" ]
  nothing_left
}

@test "repair: the records of an image" {
  from_registry a
  local f
  for f in config.json manifest.json image.json; do
    echo '{' >"$(dirname "$(image_json a)")/$f"
    run --separate-stderr store repair
    [ "$status" = 0 ]
    [[ $output == "repaired image sha256:"* ]]
    store verify
  done
}

@test "repair: who uses the bad layer keeps it, and it goes with him" {
  local l id ctr
  from_registry a
  id=$(store inspect "$REGISTRY/a:1" | jq -r .id)
  l=$(jq -r '.layers[0].id' "$(image_json a)")
  ctr=$(printf 'c%.0s' {1..64})
  mkdir -p "$STORE/containers/$ctr" "$STORE/mnt"
  jq -nc --arg id "$ctr" --arg image "$id" '{version: 1, id: $id, image_id: $image, state: "running", complete: true}' \
    >"$STORE/containers/$ctr/state.json"
  rm "$STORE/layers/$l/diff/twice"
  echo more >"$STORE/layers/$l/diff/more"
  mount -t overlay overlay -o "ro,lowerdir=$STORE/layers/$(jq -r '.layers[1].id' "$(image_json a)")/diff:$STORE/layers/$l/diff" "$STORE/mnt"
  store repair
  store verify
  # What was not yet looked at through the mount is there all the same.
  [ "$(stat -c %s "$STORE/mnt/bin/big")" = 1024000 ] && cat "$STORE/mnt/more" && [ ! -e "$STORE/mnt/twice" ]
  [ "$(find "$STORE/layers" -maxdepth 1 -name ".$l-*" | wc -l)" = 1 ]
  store gc | grep "^keep layer .$l-.*: it was replaced, and may be used: container $ctr"
  umount "$STORE/mnt"
  rm -r "$STORE/containers/$ctr"
  store gc | grep "^remove layer .$l-.*: it was replaced"
  [ "$(ls -A "$STORE/layers" | wc -l)" = 2 ]
  store verify
}

@test "repair: killed at any moment, the next one finishes" {
  local l i
  from_registry a
  l=$(jq -r '.layers[0].id' "$(image_json a)")
  for i in 01 03 05 07 09 11; do
    rm -f "$STORE/layers/$l/diff/twice"
    timeout -s KILL "0.$i" "$BUILD/bin/ocistore" --root "$STORE" --runroot "$STORE/run" repair >/dev/null 2>&1 || true
    [ -d "$STORE/layers/$l/diff" ] # never gone
    store repair >/dev/null
    store verify
    store gc >/dev/null
    [ "$(ls -A "$STORE/layers")" = "$(ls "$STORE/layers")" ]
    [ -z "$(ls "$STORE/tmp")" ]
  done
}

@test "the child that reads a layer's headers can do nothing but read and answer" {
  mkfifo "$STORE/in"
  "$BUILD/bin/ocistore" --list-tar <"$STORE/in" >"$STORE/out" 3>&- &
  local pid=$!
  PIDS+=("$pid")
  exec 9>"$STORE/in"
  wait_for 5 grep -q '^Seccomp:.*2' "/proc/$pid/status"
  grep -q '^CapEff:.*0000000000000000' "/proc/$pid/status"
  grep -q '^NoNewPrivs:.*1' "/proc/$pid/status"
  [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]
  exec 9>&-
  wait "$pid"
}

@test "repair: what cannot be had is told and let alone" {
  good
  local l
  l=$(layer_of a 0)
  flip "$STORE/layers/$l/diff/bin/big"
  # Names of no registry that answers.
  jq -n '{host: "r.io", mirrors: [{url: "http://127.0.0.1:1"}]}' >"$CRISP_TMP/etc/registries.d/r.io.json"
  run --separate-stderr store repair r.io/a:1
  [ "$status" = 12 ]
  [ -z "$output" ]
  [[ $stderr == *"image sha256:"*" cannot be repaired: "* ]]
  cmp -s "$STORE/layers/$l/diff/bin/big" "$CRISP_TMP/good/layers/$l/diff/bin/big" && false
  [ "$(ls -A "$STORE/layers")" = "$(ls -A "$CRISP_TMP/good/layers")" ]
  rm "$STORE"/names/*
  run --separate-stderr store repair
  [ "$status" = 3 ]
  [[ $stderr == *"cannot be repaired: it has no name in a registry"* ]]
  [ -e "$STORE/layers/$l/diff/bin/big" ]
}

@test "gc and rm: the recipe goes with its layer" {
  good
  store rm r.io/a:1 r.io/b:1 r.io/none:1
  wait_for 10 sh -c "[ -z \"\$(ls -A '$STORE/layers')\" ]"
}
