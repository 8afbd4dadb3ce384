#!/usr/bin/env bats
# ocipull's engine: formats, layers side by side, low space, cancelling, progress, pulls of what is there.
load ../lib/helpers
load ../lib/crispd
load ../lib/pull

setup_file() {
  crisp_file_setup
  LAY=$CRISP_TMP/lay
  export LAY
  python_oci "$LAY" <<'PY'
import os, sys
from oci_layout import *
o = Layout(sys.argv[1])
L = {n: layer(entry(n, DIR), entry(n + '/f', data=os.urandom(60000))) for n in 'abcde'}
empty = layer()
for name in ('abc', 'abd', 'a', 'aeaa'):
    o.name(o.image([L[n] for n in name]), name)
o.name(o.image([L['a'], empty, L['b'], empty, empty]), 'empties')
o.name(o.image([layer(entry('zeros', data=bytes(150 << 20)))]), 'zeros')
o.name(o.image([layer(*[entry('n%d' % i) for i in range(3000)])]), 'inodes')
o.name(o.image([layer(entry('fat', data=os.urandom(4 << 20)))]), 'fat')
PY
}
teardown_file() { crisp_file_teardown; }
setup() {
  requires root
  pull_setup
}
teardown() { pull_teardown; }

# TAG STATUS WORDS on each line of stdin
refused() { # LAYOUT
  local tag code want
  while read -r tag code want; do
    run_err "$code" pull "oci:$1:$tag"
    [[ $stderr == *"$want"* ]]
    [ "$(wc -l <<<"$stderr")" = 1 ]
    nothing_left
  done
}

@test "what is no image says what it is" {
  python_oci "$STORE/x" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
l = o.blob(layer(entry('f', data=b'x')), LAYER)
c = o.blob({'rootfs': {'type': 'layers', 'diff_ids': [l['digest']]}}, CONFIG)
EMPTY = 'application/vnd.oci.empty.v1+json'
def put(name, **m):
    o.name(o.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': c, 'layers': [l], **m}, MANIFEST), name)
put('helm', config={**c, 'mediaType': 'application/vnd.cncf.helm.config.v1+json'})
put('oras', artifactType='application/vnd.example.sbom', config={**c, 'mediaType': EMPTY})
put('secret', layers=[{**l, 'mediaType': LAYER + '+gzip+encrypted'}])
put('squash', layers=[{**l, 'mediaType': 'application/x-squashfs'}])
o.name(o.blob({'mediaType': 'application/vnd.oci.artifact.manifest.v1+json', 'artifactType': 'a/b', 'blobs': []},
              'application/vnd.oci.artifact.manifest.v1+json'), 'old')
put('both', manifests=[])
good = o.image([layer(entry('f', data=b'x'))])
o.name(o.index(({**good, 'artifactType': 'a/b'}, None), (good, {'os': 'unknown', 'architecture': 'unknown'}),
               ({**good, 'mediaType': 'application/vnd.in-toto+json'}, None)), 'onlyatt')
PY
  refused "$STORE/x" <<'CASES'
helm 10 an artifact of type 'application/vnd.cncf.helm.config.v1+json', not a container image
oras 10 an artifact of type 'application/vnd.example.sbom', not a container image
old 10 an artifact of type 'a/b', not a container image
secret 10 layers[0]: the layer is encrypted
squash 10 application/x-squashfs
both 6 both an index and an image
onlyatt 3 no image for linux/
CASES
}

@test "JSON bombs, numbers that lie, an index that names itself" {
  python_oci "$STORE/x" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
l = o.blob(layer(entry('f', data=b'x')), LAYER)
c = o.blob({'rootfs': {'type': 'layers', 'diff_ids': [l['digest']]}}, CONFIG)
def put(name, **m):
    o.name(o.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': c, 'layers': [l], **m}, MANIFEST), name)
o.name(o.blob(b'[' * 1000000, MANIFEST), 'deep')
o.name(o.blob(b'{"a":' * 100000, MANIFEST), 'deeper')
o.name(o.blob(b'{"size":1' + b'0' * 5000 + b'}', MANIFEST), 'digits')
o.name(o.blob(b'{"mediaType":"a","mediaType":"b"}', MANIFEST), 'twice')
o.name(o.blob(b' ' * (5 << 20), MANIFEST), 'long')
put('big', layers=[{**l, 'size': 2 ** 53}])
put('huge', layers=[{**l, 'size': 2 ** 63}])
put('float', layers=[{**l, 'size': 1e3}])
put('text', layers=[{**l, 'size': '9'}])
put('less', layers=[{**l, 'size': l['size'] - 1}])
put('more', layers=[{**l, 'size': l['size'] + 1}])
put('sums', layers=[{**l, 'size': 2 ** 50, 'mediaType': LAYER + '+gzip'}] * 500)
conf = o.blob(b'{"rootfs":' + b'[' * 100000, CONFIG)
put('confdeep', config=conf)
put('conftype', config=o.blob({'rootfs': {'diff_ids': {'0': l['digest']}}}, CONFIG))
put('confhex', config=o.blob({'rootfs': {'diff_ids': ['sha256:' + 'g' * 64]}}, CONFIG))
self = 'sha256:' + 'c' * 64
loop = json.dumps({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': [{'mediaType': INDEX, 'digest': self, 'size': 1}]})
open(f'{o.path}/blobs/sha256/' + 'c' * 64, 'w').write(loop)
o.name({'mediaType': INDEX, 'digest': self, 'size': len(loop)}, 'cycle')
d = o.image([layer(entry('f', data=b'x'))])
for i in range(4):
    d = o.index((d, None))
o.name(d, 'nested4')
PY
  refused "$STORE/x" <<'CASES'
deep 6 maximum parsing depth
deeper 6 maximum parsing depth
digits 6 too big integer
twice 6 duplicate
long 9 more than 4194304 bytes
big 6 layers[0]: a size of 9007199254740992 bytes cannot be
huge 6 too big integer
float 6 layers[0]
text 6 layers[0]
less 6 size mismatch
more 6 size mismatch
sums 6 1 diff_ids, but the manifest has 500
confdeep 6 config
conftype 6 diff_ids
confhex 6 diff_ids[0]
cycle 6 digest mismatch
nested4 6 nested
CASES
}

@test "a configuration is kept as it is, every field and every spelling of the user" {
  python_oci "$STORE/x" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
raw = layer(entry('f', data=b'x'))
l = o.blob(raw, LAYER)
for n, user in enumerate(('', 'name', '1000', '1000:1000', 'name:group', '0:staff')):
    conf = b'{ "architecture":"amd64", "os" : "linux", "config":{"User":%s,"StopSignal":"SIGRTMIN+3","Volumes":{"/v":{}},' \
        b'"Labels":{"a":"\\u00e9"},"ArgsEscaped":true,"Healthcheck":{"Test":["NONE"],"Interval":1e9},"OnBuild":[],"Unknown":[1.50]},' \
        b'"x-more":null, "rootfs":{"type":"layers","diff_ids":["%s"]} }\n' % (json.dumps(user).encode(), l['digest'].encode())
    c = o.blob(conf, CONFIG)
    o.name(o.blob({'schemaVersion': 2, 'config': c, 'layers': [l]}, MANIFEST), 'u%d' % n)
PY
  local n id digest
  for n in 0 1 2 3 4 5; do
    id=$(pull "oci:$STORE/x:u$n")
    cmp "$(image_dir "$id")/config.json" "$STORE/x/blobs/sha256/${id#sha256:}"
    digest=$(jq -r .manifest_digest "$(image_dir "$id")/image.json")
    cmp "$(image_dir "$id")/manifest.json" "$STORE/x/blobs/sha256/${digest#sha256:}"
  done
  [ "$(find "$STORE/images" -mindepth 1 -maxdepth 1 -name '[0-9a-f]*' | wc -l)" = 6 ]
  [ "$(ls "$STORE/layers" | wc -l)" = 1 ]
}

@test "an index: entries that are no images are passed over, its type may carry parameters" {
  python_oci "$STORE/x" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
im = lambda t: o.image([layer(entry('who', data=t))])
P = {'os': 'linux', 'architecture': os.uname().machine.replace('x86_64', 'amd64').replace('aarch64', 'arm64')}
o.name(o.index(({**im(b'sig'), 'artifactType': 'a/b', 'platform': P}, None), ({**im(b'other'), 'mediaType': 'application/x'}, P), (im(b'right'), P)), 'v1')
PY
  serve "$STORE/x"
  pull "$SERVER/some/name:v1"
  [ "$(cat "$STORE"/layers/*/diff/who)" = right ]
}

@test "docker save: several images in an archive, old and new style" {
  python_oci "$STORE" <<'PY'
import sys
from oci_layout import *
def save(path, files):
    with tarfile.open(path, 'w') as t:
        for name, data in files:
            ti = tarfile.TarInfo(name)
            ti.size = len(data)
            t.addfile(ti, io.BytesIO(data))
def conf(raw):
    return json.dumps({'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(raw).hexdigest()]}}).encode()
one, two = layer(entry('one', data=b'1')), layer(entry('two', data=b'2'))
m = [{'Config': 'one.json', 'RepoTags': ['one:v1', 'r.io/uno:1'], 'Layers': ['x/layer.tar']}, {'Config': 'two.json', 'RepoTags': None, 'Layers': ['y/layer.tar']}]
save(sys.argv[1] + '/old.tar', [('one.json', conf(one)), ('x/layer.tar', one), ('two.json', conf(two)), ('y/layer.tar', two), ('manifest.json', json.dumps(m).encode())])
o = Layout(sys.argv[1] + '/new')
d = o.image([one])
c = json.load(open(f"{o.path}/blobs/sha256/{d['digest'][7:]}"))
o.entries = [{**d, 'annotations': {'io.containerd.image.name': 'docker.io/library/one:v2', 'org.opencontainers.image.ref.name': 'v2'}}]
json.dump({'schemaVersion': 2, 'manifests': o.entries}, open(o.path + '/index.json', 'w'))
blob = lambda x: 'blobs/sha256/' + x['digest'][7:]
json.dump([{'Config': blob(c['config']), 'RepoTags': ['one:v2'], 'Layers': [blob(l) for l in c['layers']]}], open(o.path + '/manifest.json', 'w'))
with tarfile.open(sys.argv[1] + '/new.tar', 'w') as t:
    t.add(o.path, '.')
PY
  run_err 6 pull "docker-archive:$STORE/old.tar"
  [[ $stderr == *"which of its 2 images is meant?"* ]]
  local id
  id=$(pull "docker-archive:$STORE/old.tar:r.io/uno:1")
  [ "$(cd "$STORE/names" && echo *)" = "docker.io%2flibrary%2fone:v1 r.io%2funo:1" ]
  [ "$(pull "docker-archive:$STORE/new.tar")" = "$(pull "oci-archive:$STORE/new.tar")" ]
  [ -L "$STORE/names/docker.io%2flibrary%2fone:v2" ]
  empty_tmp
}

@test "the same layer often in one image is fetched once; empty layers; no history" {
  serve "$LAY"
  local id
  id=$(pull -j 8 "$SERVER/x:aeaa")
  [ "$(jq '.layers | length' "$(image_dir "$id")/image.json")" = 4 ]
  [ "$(ls "$STORE/layers" | wc -l)" = 2 ]
  [ "$(blobs_asked)" = 3 ]
  id=$(pull "$SERVER/x:empties")
  [ "$(jq '.layers | length' "$(image_dir "$id")/image.json")" = 5 ]
  [ "$(blobs_asked)" = 6 ] # config, b, and the empty one once
}

@test "pulls in several processes share the layers of different images" {
  serve "$LAY"
  touch "$GATE"
  local tag pids=() p
  for tag in abc abd a abc; do
    "${PULL[@]}" "$SERVER/x:$tag" >/dev/null 3>&- &
    pids+=($!)
  done
  wait_for 10 sh -c "[ \$(grep -c held '$LOG') -ge 4 ]"
  [ "$(store pulls --json | jq -s 'length')" = 4 ]
  rm "$GATE"
  for p in "${pids[@]}"; do wait "$p"; done
  # a b c d once each; the configurations as often as they are asked for.
  [ "$(grep held "$LOG" | sort | uniq -d | wc -l)" = 0 ]
  local digest
  for digest in $(jq -r '.layers[].digest' "$STORE"/images/*/image.json | sort -u); do
    [ "$(grep -c "GET .*/blobs/$digest" "$LOG")" = 1 ] || { echo "$digest" && cat "$LOG" && false; }
  done
  empty_tmp
}

@test "a layer that has to wait for its turn is left to whoever comes to it first" {
  serve "$LAY"
  touch "$GATE"
  "${PULL[@]}" -j 1 "$SERVER/x:abc" >/dev/null 3>&- &
  local first=$! second
  PIDS+=("$first")
  wait_for 10 sh -c "[ \$(grep -c held '$LOG') = 1 ]"
  "${PULL[@]}" -j 2 "$SERVER/x:abd" >/dev/null 3>&- &
  second=$!
  PIDS+=("$second")
  # a is the first one's; b and d come without waiting for it.
  wait_for 10 sh -c "[ \$(grep -c held '$LOG') = 3 ]"
  rm "$GATE"
  wait $first
  wait $second
  [ "$(grep held "$LOG" | sort | uniq -d | wc -l)" = 0 ]
  empty_tmp
}

@test "who fails to wait for another's layer leaves it alone" {
  requires strace
  serve "$LAY"
  touch "$GATE"
  "${PULL[@]}" "$SERVER/x:a" >/dev/null 3>&- &
  local first=$!
  PIDS+=("$first")
  wait_for 10 grep -q held "$LOG"
  run_err 9 strace -qq -o "$STORE/trace" -e trace=pidfd_open -e inject=pidfd_open:error=EMFILE "${PULL[@]}" "$SERVER/x:a"
  [[ $stderr == *"Too many open files"* ]]
  [ -d "$(echo "$STORE"/tmp/layer-*/new/diff)" ]
  rm "$GATE"
  wait $first
  empty_tmp
}

@test "-j bounds how many layers come at once" {
  serve "$LAY"
  touch "$GATE"
  "${PULL[@]}" -j 2 "$SERVER/x:abc" >/dev/null 3>&- &
  local p=$!
  wait_for 10 sh -c "[ \$(grep -c held '$LOG') = 2 ]"
  wait_for 5 sh -c "ocistore --root '$STORE' pulls --json | jq -e '([.layers[].state] | sort) == [\"loading\",\"loading\",\"new\"]'"
  rm "$GATE"
  wait $p
  [ "$(grep most "$LOG" | tail -1)" = "most 2" ]
}

@test "what was complete is kept: after a failure only the rest is fetched" {
  cp -r "$LAY" "$STORE/lay"
  serve "$STORE/lay"
  local manifest bad
  manifest=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "abc").digest' "$LAY/index.json")
  bad=$(jq -r '.layers[2].digest' "$LAY/blobs/sha256/${manifest#sha256:}")
  mv "$STORE/lay/blobs/sha256/${bad#sha256:}" "$STORE/saved"
  run_err 3 pull -j 1 "$SERVER/x:abc"
  nothing_left
  [ "$(ls "$STORE/layers" | wc -l)" = 2 ]
  mv "$STORE/saved" "$STORE/lay/blobs/sha256/${bad#sha256:}"
  : >"$LOG"
  pull "$SERVER/x:abc"
  [ "$(grep -c /blobs/ "$LOG")" = 2 ] # the configuration and one layer
  grep -q "blobs/$bad" "$LOG"
}

@test "a pull of what is there asks for the manifest and nothing else, and writes nothing" {
  requires strace
  serve "$LAY"
  local id
  id=$(pull "$SERVER/x:abc")
  : >"$LOG"
  strace -f -qq -o "$STORE/calls" -e trace=fsync,syncfs,fork,vfork,clone,clone3 "${PULL[@]}" "$SERVER/x:abc" >"$STORE/out" 3>&-
  [ "$(cat "$STORE/out")" = "$id" ]
  [ "$(cat "$LOG")" = "GET /v2/x/manifests/abc" ]
  [ -z "$(grep -v CLONE_THREAD "$STORE/calls" | grep '(')" ]
  # A name that is missing, or points elsewhere, is put right.
  rm "$STORE"/names/*:abc
  [ "$(pull "$SERVER/x:abc")" = "$id" ]
  [ "$(readlink "$STORE"/names/*:abc)" = "../images/${id#sha256:}" ]
  # By digest the registry is asked, too: whether the caller may have the image is its answer.
  : >"$LOG"
  pull "$(basename "$(ls -d "$STORE"/names/*@*)" | sed 's|%2f|/|')"
  [ "$(wc -l <"$LOG")" = 1 ]
}

small_store() { # OPTIONS: a file system of its own at $STORE/small
  mkdir "$STORE/small"
  mount -t tmpfs -o "$1" tmpfs "$STORE/small"
  PULL=("$BUILD/bin/ocipull" --root "$STORE/small/root" --runroot "$STORE/run")
}
small_is_empty() { [ -z "$(cd "$STORE/small/root" && ls tmp images layers && ls -A names)" ] || [ -z "$(find "$STORE"/small/root/{tmp,images,layers,names} -mindepth 1 ! -name '.*')" ]; }

@test "low space: refused before a layer comes, with what is needed and what is free" {
  serve "$LAY"
  small_store size=40m
  setting min_free_bytes 33554432
  run_err 9 pull "$SERVER/x:fat"
  [[ $stderr =~ "not enough space in $STORE/small/root: "[0-9.]+" MB needed ("[0-9.]+" MB for layers, 33.6 MB stay free), "[0-9.]+" MB free" ]]
  [ "$(blobs_asked)" = 1 ]
  small_is_empty
  setting min_free_bytes 1000000
  pull "$SERVER/x:fat"
}

@test "low space: noticed while a layer turns out larger than it seemed" {
  small_store size=100m
  setting min_free_bytes 67108864
  run_err 9 pull "oci:$LAY:zeros"
  [[ $stderr == *"not enough space"*"67.1 MB stay free"* ]]
  small_is_empty
}

@test "low space: noticed while an archive is unpacked" {
  skopeo copy -q "oci:$LAY:zeros" "docker-archive:$STORE/zeros.tar:zeros:1"
  small_store size=100m
  setting min_free_bytes 67108864
  run_err 9 pull "docker-archive:$STORE/zeros.tar"
  [[ $stderr == *"not enough space"*"67.1 MB stay free"* ]]
  small_is_empty
}

@test "an archive may come through a fifo; a signal ends the wait for it" {
  skopeo copy -q "oci:$LAY:a" "oci-archive:$STORE/a.tar:a"
  mkfifo "$STORE/fifo"
  "${PULL[@]}" "oci-archive:$STORE/fifo" >/dev/null 3>&- &
  local pid=$!
  PIDS+=("$pid")
  wait_for 10 sh -c "ls '$STORE/tmp' | grep -q ^pull-"
  cancel_it "$pid"
  "${PULL[@]}" "oci-archive:$STORE/fifo" >/dev/null 3>&- &
  pid=$!
  cat "$STORE/a.tar" >"$STORE/fifo"
  wait "$pid"
  empty_tmp
}

@test "low space: inodes" {
  small_store size=100m,nr_inodes=2000
  setting min_free_bytes 0
  run_err 9 pull "oci:$LAY:inodes"
  small_is_empty
  setting min_free_inodes 1990
  run_err 9 pull "oci:$LAY:a"
  [[ $stderr == *"not enough inodes in"*"1990 stay free"* ]]
}

@test "a disk that is really full in mid-pull leaves nothing" {
  small_store size=20m
  setting min_free_bytes 0
  run_err 9 pull "oci:$LAY:zeros"
  [[ $stderr == *"No space left"* || $stderr == *"not enough space"* ]]
  small_is_empty
  pull "oci:$LAY:abc"
}

# cancel_it PID: how long its end takes; fails unless it ends as cancelled
cancel_it() {
  local start status=0
  start=$(now_ms)
  kill -"${2:-TERM}" "$1"
  wait "$1" || status=$?
  echo "status $status after $(($(now_ms) - start)) ms"
  [ $status = 11 ] && [ $(($(now_ms) - start)) -lt 20000 ]
}

@test "SIGINT and SIGTERM end it at once: transferring, waiting for another's layer, unpacking" {
  serve "$LAY"
  touch "$GATE"
  local first second
  "${PULL[@]}" "$SERVER/x:abc" >/dev/null 2>&1 3>&- &
  first=$!
  wait_for 10 sh -c "[ \$(grep -c held '$LOG') = 3 ]"
  "${PULL[@]}" "$SERVER/x:abc" >/dev/null 2>&1 3>&- &
  second=$!
  wait_for 10 sh -c "ocistore --root '$STORE' pulls --json | grep -q waiting"
  cancel_it $second TERM
  [ "$(ls "$STORE/tmp" | wc -l)" = 4 ] # the first one's
  cancel_it $first TERM
  wait_for 5 empty_tmp
  nothing_left
  "${PULL[@]}" "oci:$LAY:zeros" >/dev/null 2>&1 3>&- &
  first=$!
  wait_for 10 sh -c "[ -s '$STORE'/tmp/layer-*/new/diff/zeros ]"
  cancel_it $first HUP
  wait_for 5 empty_tmp
  nothing_left
}

@test "a signal ends the wait for the store's lock" {
  /usr/bin/python3 - "$STORE" <<'PY' 3>&- &
import fcntl, os, struct, sys, time
os.makedirs(sys.argv[1] + '/images', mode=0o700, exist_ok=True)
fd = os.open(sys.argv[1] + '/images/.lock', os.O_RDWR | os.O_CREAT, 0o600)
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))
open(sys.argv[1] + '/locked', 'w').close()
time.sleep(60)
PY
  PIDS+=($!)
  wait_for 10 test -e "$STORE/locked"
  "${PULL[@]}" "oci:$LAY:abc" >/dev/null 2>"$STORE/err" 3>&- &
  local pid=$!
  wait_for 10 sh -c "ls '$STORE'/tmp/pull-*/wants.json"
  cancel_it $pid
  grep -q cancelled "$STORE/err"
  wait_for 5 empty_tmp
}

@test "SIGSTOPped children do not hold up a cancel" {
  "${PULL[@]}" "oci:$LAY:zeros" >/dev/null 2>&1 3>&- &
  local pid=$! child
  wait_for 10 sh -c "[ -s '$STORE'/tmp/layer-*/new/diff/zeros ]"
  child=$(cat /proc/$pid/task/*/children | xargs -n1 | head -1)
  kill -STOP "$child"
  cancel_it $pid
  wait_for 5 empty_tmp
}

@test "pulls and Status tell of what is under way; the last client's leaving ends it" {
  serve "$LAY"
  touch "$GATE"
  PULL=("$BUILD/bin/ocipull")
  crispd_start
  py pull_case.py "$SOCK" "$SERVER/x:abc" "$LOG" "$ROOT"
  crispd_stop
  [ -z "$(ls "$ROOT/tmp")" ]
}

@test "progress: JSON, a line for each change, and the file" {
  serve "$LAY"
  touch "$GATE"
  "${PULL[@]}" --progress json -j 2 "$SERVER/x:abc" >"$STORE/out" 2>"$STORE/err" 3>&- &
  local pid=$!
  wait_for 10 sh -c "[ \$(grep -c held '$LOG') = 2 ]"
  wait_for 10 sh -c "ocistore --root '$STORE' pulls --json | jq -e '[.layers[] | select(.bytes > 0 and .bytes < .size)] | length == 2'"
  store pulls --json >"$STORE/pulls"
  [ "$(jq -r '.reference, .pid, (.pull | startswith("pull-"))' "$STORE/pulls" | xargs)" = "$SERVER/x:abc $pid true" ]
  [ "$(store pulls | tail -1 | awk '{print $1, $2, $4, $5, $6}')" = "$SERVER/x:abc $pid 0 of 3" ]
  rm "$GATE"
  wait $pid
  jq -se 'all(.event == "progress") and ([.[] | select(.state == "done") | .bytes == .size] == [true, true, true])' "$STORE/err"
  [ "$(store pulls --json)" = "" ]
  run --separate-stderr pull --progress json "$SERVER/x:abc"
  [ "$(jq -r .state <<<"$stderr" | sort | uniq -c | xargs)" = "3 present" ]
}

on_terminal() { /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/pull_pty.py" "$@" 3>&-; }

@test "progress: bars on a terminal, never wider than it, one line when it is small" {
  serve "$LAY"
  touch "$GATE"
  on_terminal 100 24 --gate "$GATE" "${PULL[@]}" "$SERVER/x:abc" >"$STORE/screen"
  cat "$STORE/screen"
  grep -q '^3 of 3 layers, 0.2 of 0.2 MB' "$STORE/screen"
  grep -q '^sha256:' "$STORE/screen"
  [ "$(awk '/^max/ {print $2}' "$STORE/screen")" -lt 100 ]
  [ "$(awk '/^rows/ {print $2}' "$STORE/screen")" = 4 ]
  run ! grep -q '\[=' "$STORE/screen"
  rm -rf "$STORE"/{images,layers,names}
  touch "$GATE"
  on_terminal 30 24 --gate "$GATE" "${PULL[@]}" "$SERVER/x:abc" >"$STORE/screen"
  cat "$STORE/screen"
  [ "$(awk '/^max/ {print $2}' "$STORE/screen")" = 71 ] # the id; no picture is wider than 29
  [ "$(awk '/^rows/ {print $2}' "$STORE/screen")" = 0 ]
  grep -qx '.\{29\}' "$STORE/screen"
  rm -rf "$STORE"/{images,layers,names}
  touch "$GATE"
  on_terminal 100 24 --resize 40 10 --gate "$GATE" "${PULL[@]}" "$SERVER/x:abc" >"$STORE/screen"
  grep -q '^3 of 3 layers' "$STORE/screen"
  run_err 2 pull --progress loud "$SERVER/x:abc"
}
