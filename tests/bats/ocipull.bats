#!/usr/bin/env bats
# ocipull: every way for an image to get into the store, and every way for that to fail.
load ../lib/helpers

setup_file() {
  crisp_file_setup
  crisp_registry
  make_image busy
  features
}
teardown_file() { crisp_file_teardown; }

setup() {
  requires root skopeo umoci
  # Each test has a store of its own.
  STORE=$(mktemp -d "$CRISP_TMP/store.XXXXXX")
  PIDS=()
}
teardown() {
  local pid
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
  umount "$STORE/mnt" "$STORE/small" 2>/dev/null
  rm -rf "$STORE"
}

pull() { ocipull --root "$STORE" --runroot "$STORE/run" "$@"; }
store() { ocistore --root "$STORE" --runroot "$STORE/run" "$@"; }
image_dir() { echo "$STORE/images/${1#sha256:}"; }
names() { (cd "$STORE/names" && ls); }
# Nothing unfinished, and no image: what a failed pull leaves.
nothing_left() {
  only_seen is_empty "$STORE"/{tmp,images} && is_empty "$STORE/names"
}
python_oci() { PYTHONPATH=$BATS_TEST_DIRNAME/../lib PYTHONDONTWRITEBYTECODE=1 python3 - "$@"; }
# A registry's configuration for this test alone: $REGS/NAME.json from stdin; pull uses it.
registries() {
  export REGS=$STORE/registries.d
  mkdir -p "$REGS"
  setting registries_dir "\"$REGS\""
  cat >"$REGS/$1.json"
}
setting() { # KEY JSON
  jq --argjson v "$2" ".$1 = \$v" "$CRISP_CONFIG" >"$STORE/crisp.new"
  mv "$STORE/crisp.new" "$STORE/crisp.json"
  export CRISP_CONFIG=$STORE/crisp.json
}
# Start tests/lib's scripted server; sets SERVER=127.0.0.1:PORT
server() { # MODE UPSTREAM
  rm -f "$STORE/port"
  PYTHONDONTWRITEBYTECODE=1 python3 "$BATS_TEST_DIRNAME/../lib/registry_fake.py" "$STORE/port" "$@" \
    >"$STORE/server.log" 2>&1 3>&- &
  PIDS+=($!)
  wait_for 10 test -s "$STORE/port"
  SERVER=127.0.0.1:$(cat "$STORE/port")
}
# What a directory holds, in a form that can be compared. Times that are not from the image are "now".
listing() {
  (cd "$1" && find . -mindepth 1 -printf '%P|%y|%m|%U:%G|%l|%T@|' \( -type f -printf '%s\n' -o -printf '\n' \) |
    sed -E 's/\|1[6-9][0-9]{8}\.[0-9]+\|/|now|/' | sort
    find . -type f -exec sha256sum {} + | sort -k2
    find . \( -type c -o -type b \) -exec stat -c '%n %t:%T' {} + | sort
    getfattr -h -R -d -m '^(user|security)' . 2>/dev/null)
}
mount_image() { # ID: at $STORE/mnt
  local lower
  lower=$(jq -r --arg s "$STORE" '[.layers[].id] | reverse | map($s + "/layers/" + . + "/diff") | join(":")' \
    "$(image_dir "$1")/image.json")
  mkdir -p "$STORE"/{up,work,mnt}
  mount -t overlay overlay -o "lowerdir=$lower,upperdir=$STORE/up,workdir=$STORE/work" "$STORE/mnt"
}

# An image with one of everything.
features() {
  python_oci "$CRISP_TMP/feat" <<'PY'
import sys
from oci_layout import *
cap = b'\1\0\0\2\0\4' + bytes(14)
one = layer(
    entry('./', DIR), entry('etc', DIR, mode=0o750, uid=3, gid=4, mtime=1100000000), entry('etc/passwd', data=b'root\n'),
    entry('etc/conf.d', DIR, mode=0o700, uid=7), entry('etc/conf.d/a', data=b'a'), entry('etc/conf.d/b', data=b'b'),
    entry('opt', DIR), entry('opt/old', data=b'old'), entry('opt/sub', DIR), entry('opt/sub/x', data=b'x'),
    entry('gone', data=b'gone'), entry('dir2', DIR, mode=0o1777), entry('dir2/f', data=b'f'),
    entry('late/child', data=b'c'), entry('late', DIR, mode=0o711, uid=9, mtime=1200000000),
    entry('bin', DIR), entry('bin/su', data=b'S' * 10000, mode=0o4755, gid=5), entry('bin/hard', LINK, link='bin/su'),
    entry('bin/soft', SYM, link='../etc/passwd', uid=12), entry('bin/away', SYM, link='/nowhere'),
    entry('dev', DIR), entry('dev/null', CHR, mode=0o666, dev=(1, 3)), entry('dev/sda', BLK, mode=0o660, dev=(8, 0), gid=6),
    entry('dev/fifo', FIFO, mode=0o600),
    entry('bin/ping', data=b'ping', mode=0o755, uid=11, pax={'SCHILY.xattr.security.capability': cap.decode('utf-8', 'surrogateescape'),
                                                    'SCHILY.xattr.user.note': 'bar'}),
    entry('caf\u00e9', data=b'utf8'), entry('long', DIR), entry('long/' + 'l' * 150, DIR), entry('long/' + 'l' * 150 + '/' + 'm' * 180, data=b'long'),
    entry('raw-\udcff\udcfe', data=b'raw'), entry('usr', DIR), entry('usr/lib', DIR),
    entry('lib', SYM, link='usr/lib'), entry('lib/through', data=b'through'), entry('empty', mode=0o600),
    entry('twice', data=b'first'), entry('twice', data=b'second'), entry('sticky', DIR, mode=0o3775, gid=50))
two = layer(
    entry('.wh.gone'), entry('etc/conf.d/.wh..wh..opq'), entry('etc/conf.d/c', data=b'c'),
    entry('opt/.wh.sub'), entry('opt/sub', DIR), entry('opt/sub/y', data=b'y'),
    entry('dir2', data=b'now a file'), entry('etc/passwd', data=b'root2\n'), entry('bin/hard', data=b'replaced'))
three = layer(entry('gone', data=b'back'), entry('dir2', DIR, mode=0o755), entry('dir2/again', data=b'1'), entry('opt/.wh.old'))
o = Layout(sys.argv[1])
o.name(o.image([one, two, three], how=['members', 'plain', 'gzip']), 'all')
o.name(o.image([one, two, three], how='zstd'), 'zstd')
PY
}

@test "a tag of a real registry: id, record, names, layer" {
  run --separate-stderr pull "$REGISTRY/busy"
  [ "$status" = 0 ]
  [ -z "$stderr" ]
  [[ $output =~ ^sha256:[0-9a-f]{64}$ ]]
  [ "sha256:$(sha256sum <"$(image_dir "$output")/config.json" | cut -d' ' -f1)" = "$output" ]
  [ "$(skopeo inspect --tls-verify=false --config --raw "docker://$REGISTRY/busy" | sha256sum | cut -d' ' -f1)" = "${output#sha256:}" ]
  local digest
  digest=$(skopeo inspect --tls-verify=false "docker://$REGISTRY/busy" | jq -r .Digest)
  [ "$(store inspect "$REGISTRY/busy" | jq -r '.repo_digests[]')" = "$REGISTRY/busy@$digest" ]
  [ "$(store inspect "$REGISTRY/busy" | jq -r '.repo_tags[]')" = "$REGISTRY/busy:latest" ]
  cmp "$STORE"/layers/*/diff/bin/busybox /bin/busybox
  only_seen is_empty "$STORE/tmp"
  [ "$(stat -c %a "$STORE/images" "$STORE"/layers/*/diff | xargs)" = "700 755" ]
}

@test "by digest, and by tag and digest: the digest decides and names it" {
  local digest id
  digest=$(skopeo inspect --tls-verify=false "docker://$REGISTRY/busy" | jq -r .Digest)
  id=$(pull "$REGISTRY/busy@$digest")
  [ "$(names)" = "${REGISTRY}%2fbusy@$digest" ]
  [ "$(pull "$REGISTRY/busy:nonexistent@$digest")" = "$id" ]
  [ "$(names)" = "${REGISTRY}%2fbusy@$digest" ]
  run_err 3 pull "$REGISTRY/busy@sha256:$(printf '0%.0s' {1..64})"
}

@test "what is unpacked equals what umoci unpacks, by overlay" {
  local id
  id=$(pull "oci:$CRISP_TMP/feat:all")
  umoci unpack --image "$CRISP_TMP/feat:all" "$STORE/umoci" >/dev/null
  mount_image "$id"
  listing "$STORE/mnt" >"$STORE/ours"
  listing "$STORE/umoci/rootfs" >"$STORE/theirs"
  umount "$STORE/mnt"
  diff "$STORE/ours" "$STORE/theirs"
  [ "$(wc -l <"$STORE/ours")" -gt 50 ]
}

@test "whiteouts, opaque directories, owners and modes as overlay wants them" {
  local id low mid
  id=$(pull "oci:$CRISP_TMP/feat:all")
  low=$STORE/layers/$(jq -r '.layers[0].id' "$(image_dir "$id")/image.json")/diff
  mid=$STORE/layers/$(jq -r '.layers[1].id' "$(image_dir "$id")/image.json")/diff
  [ "$(stat -c '%F %t:%T' "$mid/gone")" = "character special file 0:0" ]
  [ "$(getfattr --only-values -n trusted.overlay.opaque "$mid/etc/conf.d")" = y ]
  [ "$(getfattr --only-values -n trusted.overlay.opaque "$mid/opt/sub")" = y ]
  # Directories that the second layer does not name keep the first one's owner, mode and time.
  [ "$(stat -c '%a %u:%g %Y' "$mid/etc")" = "750 3:4 1100000000" ]
  [ "$(stat -c '%a %u' "$mid/etc/conf.d")" = "700 7" ]
  [ "$(stat -c '%a %h' "$low/bin/su")" = "4755 2" ]
  getcap "$low/bin/ping" | grep -q 'cap_'
  [ "$(cat "$low/twice")" = second ]
  [ "$(jq -r .implied "$low/../layer.json" "$mid/../layer.json" | xargs)" = "false true" ]
}

@test "a layer that names its directories is shared; one that does not stands under its chain ID" {
  pull "oci:$CRISP_TMP/feat:all" >"$STORE/id"
  local rec
  rec=$(image_dir "$(cat "$STORE/id")")/image.json
  [ "$(jq -r '.layers[0] | .diff_id == "sha256:" + .id' "$rec")" = true ]
  [ "$(jq -r '.layers[1] | .diff_id == "sha256:" + .id' "$rec")" = false ]
  local want
  want=$(printf 'sha256:%s %s' "$(jq -r '.layers[0].id' "$rec")" "$(jq -r '.layers[1].diff_id' "$rec")" | sha256sum | cut -d' ' -f1)
  [ "$(jq -r '.layers[1].id' "$rec")" = "$want" ]
  # The same layers, compressed otherwise: nothing is unpacked again.
  run --separate-stderr pull --progress json "oci:$CRISP_TMP/feat:zstd"
  [ "$(jq -r .state <<<"$stderr" | sort | uniq -c | xargs)" = "3 present" ]
}

@test "zstd layers" {
  local id
  id=$(pull "oci:$CRISP_TMP/feat:zstd")
  mount_image "$id"
  cat "$STORE/mnt/gone" "$STORE/mnt/etc/passwd" >"$STORE/text"
  umount "$STORE/mnt"
  [ "$(cat "$STORE/text")" = "backroot2" ]
}

@test "names that try to leave the root stay inside of it" {
  python_oci "$STORE/evil" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
o.name(o.image([layer(
    entry('../../up', data=b'1'), entry('/abs', data=b'2'), entry('a/../../b', data=b'3'),
    entry('out', SYM, link='/etc'), entry('out/planted', data=b'4'), entry('up2', SYM, link='../../..'), entry('up2/planted', data=b'5'),
    entry('chain', SYM, link='chain2'), entry('chain2', SYM, link='/tmp/deep'), entry('chain/x', data=b'6'))]), 'v1')
PY
  local id diff
  id=$(pull "oci:$STORE/evil")
  diff=$(echo "$STORE"/layers/*/diff)
  [ "$(cat "$diff/up" "$diff/abs" "$diff/b" "$diff/etc/planted" "$diff/planted" "$diff/tmp/deep/x")" = 123456 ]
  [ ! -e /etc/planted ]
  [ ! -e /planted ]
  [ ! -e /tmp/deep ]
}

@test "attributes that would change what overlay shows are not taken from a layer" {
  python_oci "$STORE/evil" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
o.name(o.image([layer(entry('d', DIR, pax={'SCHILY.xattr.trusted.overlay.redirect': '/etc', 'SCHILY.xattr.trusted.overlay.opaque': 'y',
                                            'SCHILY.xattr.user.overlay.opaque': 'y', 'SCHILY.xattr.user.ok': '1'}))]), 'v1')
PY
  pull "oci:$STORE/evil"
  [ "$(getfattr -d -m - --absolute-names "$STORE"/layers/*/diff/d | grep -c =)" = 1 ]
}

@test "damaged layers: each with one clear error, and nothing left" {
  python_oci "$STORE/bad" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
good = layer(entry('f', data=b'x' * 100000))
def put(name, raw, how='plain', **k):
    o.name(o.image([raw], how=how, **k), name)
put('diffid', good, diff_ids=['sha256:' + '1' * 64])
put('cut', good[:5000])
put('text', b'this is no tar archive ' * 100)
put('filedir', layer(entry('f', data=b'1'), entry('f/g', data=b'2')))
put('nolink', layer(entry('f', LINK, link='missing')))
put('loop', layer(entry('l', SYM, link='l'), entry('l/x', data=b'1')))
put('owner', layer(entry('x', uid=2 ** 40)))
put('whiteout', layer(entry('a/.wh...')))
d = o.blob(gzip.compress(good)[:-5000] if len(gzip.compress(good)) > 6000 else gzip.compress(good)[:-20], LAYER + '+gzip')
c = o.blob({'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(good).hexdigest()]}}, CONFIG)
o.name(o.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': c, 'layers': [d]}, MANIFEST), 'gzcut')
PY
  local tag want
  while read -r tag want; do
    run_err 6 pull "oci:$STORE/bad:$tag"
    [[ $stderr == *"layer sha256:"* && $stderr == *"$want"* ]]
    [ "$(wc -l <<<"$stderr")" = 1 ]
    nothing_left
    [ -z "$(ls "$STORE/layers")" ]
  done <<'CASES'
diffid expected sha256:1111
cut f: the archive ends in the middle of a file
text damaged tar archive
filedir is not a directory
nolink no file in the layer
loop too many symbolic links
owner bad owner
whiteout bad whiteout
gzcut ends too early
CASES
}

@test "a blob that is corrupt in the registry's storage" {
  make_image rot
  local digest blob
  digest=$(skopeo inspect --tls-verify=false "docker://$REGISTRY/rot" | jq -r '.Layers[0]')
  blob=$CRISP_TMP/registry/docker/registry/v2/blobs/sha256/${digest:7:2}/${digest#sha256:}/data
  cp "$blob" "$STORE/saved"
  printf 'XXXX' | dd of="$blob" bs=1 seek=5000 conv=notrunc status=none
  run_err 6 pull "$REGISTRY/rot"
  cp "$STORE/saved" "$blob"
  [[ $stderr == *"digest mismatch: expected $digest, got sha256:"* ]]
  nothing_left
  [ -z "$(ls "$STORE/layers")" ]
  # Truncated: the size is told.
  truncate -s 5000 "$blob"
  run_err 6 pull "$REGISTRY/rot"
  cp "$STORE/saved" "$blob"
  [[ $stderr == *"size mismatch"*"5000"* ]]
  pull "$REGISTRY/rot"
}

@test "manifests that are not what they should be" {
  python_oci "$STORE/bad" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
l = layer(entry('f', data=b'x'))
ld = o.blob(l, LAYER)
c = o.blob({'rootfs': {'type': 'layers', 'diff_ids': []}}, CONFIG)
def put(name, **m):
    o.name(o.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': c, 'layers': [ld], **m}, m.get('mediaType', MANIFEST)), name)
put('count')
put('artifact', config={**c, 'mediaType': 'application/vnd.example+json'})
put('layertype', layers=[{**ld, 'mediaType': 'application/x-squashfs'}])
put('mediatype', mediaType='application/vnd.example.manifest')
put('many', layers=[ld] * 501)
put('digest', layers=[{**ld, 'digest': 'sha256:../../../etc/passwd'}])
put('negative', layers=[{**ld, 'size': -1}])
put('nolayers', layers=None)
put('bigconfig', config={**c, 'size': 9 << 20})
put('wrongsize', config={**c, 'size': 5})
o.name(o.blob(b'{', MANIFEST), 'json')
o.name(o.blob(b'{"a":1,"a":2}', MANIFEST), 'duplicate')
o.name(o.blob({'schemaVersion': 1, 'fsLayers': []}, MANIFEST), 'schema1')
d = o.index((o.image([l]), {'os': 'plan9', 'architecture': 'mips'}))
o.name(d, 'platform')
for i in range(5):
    d = o.index((d, None))
o.name(d, 'nested')
PY
  local tag code want
  while read -r tag code want; do
    run_err "$code" pull "oci:$STORE/bad:$tag"
    [[ $stderr == *"$want"* ]]
    nothing_left
  done <<'CASES'
count 6 0 diff_ids, but the manifest has 1 layers
artifact 10 application/vnd.example+json
layertype 10 application/x-squashfs
mediatype 10 application/vnd.example.manifest
many 6 501 layers
digest 6 layers[0]
negative 6 size is negative
nolayers 6 layers
bigconfig 6 config
wrongsize 6 size mismatch: expected 5 bytes
json 6 manifest:1
duplicate 6 duplicate
schema1 10 schema 1
platform 3 plan9/mips
nested 6 nested
CASES
}

@test "an index: this platform, another by --platform, variants, nested, names by the index's digest" {
  python_oci "$STORE/multi" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
def im(text, arch): return o.image([layer(entry('who', data=text.encode()))], arch=arch)
P = lambda a, v=None: {'os': 'linux', 'architecture': a, **({'variant': v} if v else {})}
inner = o.index((im('v8', 'arm64'), P('arm64', 'v8')))
o.name(o.index((im('att', 'unknown'), {'os': 'unknown', 'architecture': 'unknown'}), (im('v3', 'amd64'), P('amd64', 'v3')), (im('amd', 'amd64'), P('amd64')),
               (im('v5', 'arm'), P('arm', 'v5')), (im('v6', 'arm'), P('arm', 'v6')), (im('v8arm', 'arm'), P('arm', 'v8')), (im('v8', 'arm64'), P('arm64', 'v8'))), 'v1')
o.name(o.index((im('amd', 'amd64'), P('amd64')), (inner, P('arm64'))), 'nested')
PY
  skopeo copy -q --all --dest-tls-verify=false "oci:$STORE/multi:v1" "docker://$REGISTRY/multi:v1"
  who() { cat "$STORE/layers/$(jq -r '.layers[0].id' "$(image_dir "$1")/image.json")/diff/who"; }
  local digest
  digest=$(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/multi:v1" | sha256sum | cut -d' ' -f1)
  [ "$(who "$(pull --platform linux/amd64 "$REGISTRY/multi:v1")")" = amd ]
  names | grep -qx "${REGISTRY}%2fmulti@sha256:$digest"
  [ "$(who "$(pull --platform linux/arm/v7 "$REGISTRY/multi:v1")")" = v6 ]
  [ "$(who "$(pull --platform linux/arm64 "$REGISTRY/multi:v1")")" = v8 ]
  [ "$(who "$(pull --platform linux/aarch64/v8 "oci:$STORE/multi:nested")")" = v8 ]
  run_err 3 pull --platform linux/s390x "$REGISTRY/multi:v1"
  [[ $stderr == *"linux/s390x"*"linux/amd64"* ]]
  run_err 2 pull --platform linux "$REGISTRY/multi:v1"
}

@test "Docker's schema 2 and archives: oci-archive, docker-archive, gzipped, names" {
  skopeo copy -q --dest-tls-verify=false -f v2s2 "oci:$CRISP_TMP/oci:busy" "docker://$REGISTRY/docker2:v1"
  local id
  id=$(pull "$REGISTRY/docker2:v1")
  skopeo copy -q "oci:$CRISP_TMP/oci:busy" "oci-archive:$STORE/a.tar:r.io/x/y:7"
  skopeo copy -q "oci:$CRISP_TMP/oci:busy" "docker-archive:$STORE/d.tar:some/name:8"
  gzip -k "$STORE/a.tar" "$STORE/d.tar"
  pull "oci-archive:$STORE/a.tar"
  pull "oci-archive:$STORE/a.tar.gz:r.io/x/y:7"
  pull "docker-archive:$STORE/d.tar"
  pull "docker-archive:$STORE/d.tar.gz:some/name:8"
  pull "oci:$CRISP_TMP/oci:busy"
  pull --name given.io/name:9 "oci:$CRISP_TMP/oci:busy"
  [ "$(ls "$STORE/layers" | wc -l)" = 1 ]
  local n
  for n in r.io/x/y:7 docker.io/some/name:8 localhost/oci:busy given.io/name:9; do store inspect "$n" | jq -e .config.rootfs; done
  only_seen is_empty "$STORE/tmp"
  run_err 3 pull "docker-archive:$STORE/d.tar:other/name:8"
  run_err 3 pull "oci-archive:$STORE/a.tar:nope"
  run_err 3 pull "oci:$STORE/missing:tag"
  run_err 6 pull "oci-archive:$CRISP_CONFIG"
  run_err 6 pull --name 'Bad Name' "oci:$CRISP_TMP/oci:busy"
  only_seen is_empty "$STORE/tmp"
}

@test "unknown repository and tag: NotFound; bad references: refused before any request" {
  run_err 3 pull "$REGISTRY/nosuch"
  [[ $stderr == *"$REGISTRY/nosuch:latest"* ]]
  run_err 3 pull "$REGISTRY/busy:nosuch"
  run_err 6 pull "$REGISTRY/Busy"
  run_err 6 pull "busy:bad tag"
  nothing_left
}

@test "a registry that cannot be reached" {
  registries dead <<<"{\"host\":\"dead.example\",\"url\":\"http://127.0.0.1:1\"}"
  run_err 12 pull dead.example/x
  [[ $stderr == *"127.0.0.1:1"* ]]
  nothing_left
}

@test "mirrors: in order, a dead one is passed over, the name keeps its spelling" {
  registries hub <<<"{\"host\":\"docker.io\",\"mirrors\":[{\"url\":\"http://127.0.0.1:1\"},{\"url\":\"http://$REGISTRY/\"}]}"
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:busy" "docker://$REGISTRY/library/busybox:1"
  pull busybox:1
  names | grep -qx 'docker.io%2flibrary%2fbusybox:1'
  [ "$(names | grep -c "$REGISTRY")" = 0 ]
}

@test "mirrors: a prefix in the url, \"*\" for hosts without a file, url for the host itself" {
  registries any <<<"{\"host\":\"*\",\"mirrors\":[{\"url\":\"http://$REGISTRY/proxy\"}]}"
  registries own <<<"{\"host\":\"own.example:5\",\"url\":\"http://$REGISTRY\"}"
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:busy" "docker://$REGISTRY/proxy/a/b:1"
  pull anything.example/a/b:1
  pull own.example:5/busy
  names | grep -qx 'anything.example%2fa%2fb:1'
  names | grep -qx 'own.example:5%2fbusy:latest'
}

@test "mirrors: 'not found' of a mirror counts when the host itself cannot be reached" {
  registries h <<<"{\"host\":\"h.example\",\"url\":\"http://127.0.0.1:1\",\"mirrors\":[{\"url\":\"http://$REGISTRY\"}]}"
  run_err 3 pull h.example/nosuch:1
}

@test "bad registry files: the file and the key are named" {
  registries bad <<<'{"host":"x.io","mirror":[]}'
  run_err 6 pull x.io/a
  [[ $stderr == *"bad.json: mirror: unknown key"* ]]
  registries bad <<<'{"host":"x.io","mirrors":[{"url":5}]}'
  run_err 6 pull x.io/a
  registries bad <<<'{"host":"x.io","url":"ftp://x/"}'
  run_err 6 pull x.io/a
  [[ $stderr == *"bad url"* ]]
}

@test "TLS: the system's authorities refuse, ca and insecure allow" {
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$STORE/key" -out "$STORE/crt" -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1 2>/dev/null
  local port
  port=$(free_port)
  cat >"$STORE/tls.yml" <<YML
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $CRISP_TMP/registry } }
http: { addr: "127.0.0.1:$port", tls: { certificate: $STORE/crt, key: $STORE/key } }
YML
  docker-registry serve "$STORE/tls.yml" >/dev/null 2>&1 3>&- &
  PIDS+=($!)
  wait_for 10 curl -ksf "https://127.0.0.1:$port/v2/"
  registries none <<<'{"host":"none"}'
  run_err 12 pull "127.0.0.1:$port/busy"
  registries tls <<<"{\"host\":\"127.0.0.1:$port\",\"ca\":\"$STORE/crt\"}"
  pull "127.0.0.1:$port/busy"
  registries tls <<<"{\"host\":\"127.0.0.1:$port\",\"insecure\":true}"
  pull "127.0.0.1:$port/busy"
}

basic_registry() {
  local port
  port=$(free_port)
  # bcrypt of "secret", so that no tool to make it is needed.
  python3 -c 'import crypt; print("joe:" + crypt.crypt("secret", "$2y$05$abcdefghijklmnopqrstuu"))' >"$STORE/htpasswd" 2>/dev/null
  cat >"$STORE/basic.yml" <<YML
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $CRISP_TMP/registry } }
http: { addr: "127.0.0.1:$port" }
auth: { htpasswd: { realm: basic, path: $STORE/htpasswd } }
YML
  docker-registry serve "$STORE/basic.yml" >/dev/null 2>&1 3>&- &
  PIDS+=($!)
  BASIC=127.0.0.1:$port
  wait_for 10 curl -s "http://$BASIC/v2/"
  registries basic <<<"{\"host\":\"$BASIC\",\"url\":\"http://$BASIC\"}"
}

@test "basic authentication: --auth-fd in both spellings, auth_file, and what is refused" {
  basic_registry
  run_err 7 pull "$BASIC/busy"
  [[ $stderr == *"wants credentials"* ]]
  pull --auth-fd 9 "$BASIC/busy" 9<<<'{"username":"joe","password":"secret"}'
  pull --auth-fd 9 "$BASIC/busy" 9<<<"{\"auth\":\"$(printf joe:secret | base64)\",\"serverAddress\":\"http://$BASIC/v2/\"}"
  run_err 7 pull --auth-fd 9 "$BASIC/busy" 9<<<'{"username":"joe","password":"wrong"}'
  [[ $stderr != *wrong* ]]
  # For another server: not sent.
  run_err 7 pull --auth-fd 9 "$BASIC/busy" 9<<<'{"username":"joe","password":"secret","server_address":"other.example"}'
  [[ $stderr == *"wants credentials"* ]]
  run_err 6 pull --auth-fd 9 "$BASIC/busy" 9<<<'{"auth":"%%%"}'
  run_err 6 pull --auth-fd 9 "$BASIC/busy" 9<<<'not json'
  printf '{"auths":{"other":{"auth":"eDp5"},"%s":{"auth":"%s"}}}' "$BASIC" "$(printf joe:secret | base64)" >"$STORE/auth.json"
  setting auth_file "\"$STORE/auth.json\""
  pull "$BASIC/busy"
  # A file that names a part of the registry only counts for that part.
  printf '{"auths":{"%s/else":{"auth":"%s"}}}' "$BASIC" "$(printf joe:secret | base64)" >"$STORE/auth.json"
  run_err 7 pull "$BASIC/busy"
}

@test "bearer tokens: anonymous, with a password, refresh and registry tokens; a token that expires" {
  server token "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  pull "$SERVER/busy"
  grep -q 'token scope=repository:busy:pull service=fake anonymous' "$STORE/server.log"
  rm -rf "$STORE/layers" "$STORE/images"
  pull --auth-fd 9 "$SERVER/busy" 9<<<'{"username":"joe","password":"secret"}'
  grep -q 'token scope=repository:busy:pull service=fake joe:secret' "$STORE/server.log"
  pull --auth-fd 9 "$SERVER/busy" 9<<<'{"identity_token":"refresh-me"}'
  grep -q 'oauth2 refresh_token=refresh-me' "$STORE/server.log"
  pull --auth-fd 9 "$SERVER/busy" 9<<<'{"registry_token":"good"}'
  run_err 7 pull --auth-fd 9 "$SERVER/busy" 9<<<'{"registry_token":"stale"}'
  run_err 7 pull --auth-fd 9 "$SERVER/busy" 9<<<'{"username":"joe","password":"nope"}'
}

@test "credentials do not follow a redirect to another host" {
  server redirect "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  pull --auth-fd 9 "$SERVER/busy" 9<<<'{"username":"joe","password":"secret"}'
  grep -q 'first authorized' "$STORE/server.log"
  grep -q 'second bare' "$STORE/server.log"
  [ "$(grep -c 'second authorized' "$STORE/server.log")" = 0 ]
}

@test "a transfer that breaks off goes on where it stopped; one that never gets further fails" {
  server cut "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  pull "$SERVER/busy"
  grep -q 'range bytes=' "$STORE/server.log"
  server stuck "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  rm -rf "$STORE"/{layers,images,names}
  run_err 12 pull "$SERVER/busy"
  [[ $stderr == *"layer sha256:"*"bytes"* ]]
  nothing_left
}

@test "a server that ignores ranges sends the whole again" {
  server norange "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  pull "$SERVER/busy"
}

@test "answers of 5xx and 429 are tried again" {
  server flaky "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  pull "$SERVER/busy"
  [ "$(grep -c ' 503 ' "$STORE/server.log")" -ge 1 ]
  [ "$(grep -c ' 429 ' "$STORE/server.log")" -ge 1 ]
}

@test "a transfer that stalls ends by the clock" {
  server stall "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  setting pull_progress_timeout 1
  run_err 124 timeout 30 "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy"
  [[ $stderr == *"layer sha256:"* ]]
  nothing_left
}

@test "a manifest without end, and one whose digest header lies" {
  server endless "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  run_err 6 pull "$SERVER/busy"
  [[ $stderr == *"more than 4194304 bytes"* ]]
  server liar "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  run_err 6 pull "$SERVER/busy"
  [[ $stderr == *"digest mismatch"* ]]
  nothing_left
}

@test "SIGTERM ends it at once and leaves nothing" {
  server stall "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy" >"$STORE/out" 2>"$STORE/err" 3>&- &
  local pid=$! status=0
  wait_for 10 grep -q stalling "$STORE/server.log"
  kill -TERM $pid
  local start=$SECONDS
  wait $pid || status=$?
  [ $status = 11 ]
  [ $((SECONDS - start)) -le 40 ]
  grep -q 'cancelled by Terminated' "$STORE/err"
  nothing_left
}

@test "kill -9 in the middle: the next pull works and leaves nothing" {
  server stall "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\",\"mirrors\":[]}"
  "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy" >"$STORE/out" 2>"$STORE/err" 3>&- &
  local pid=$!
  wait_for 10 grep -q stalling "$STORE/server.log"
  local children
  children=$(cat /proc/$pid/task/*/children)
  [ -n "$children" ]
  kill -9 $pid
  wait $pid || true
  [ -n "$(ls "$STORE/tmp")" ]
  local c
  for c in $children; do wait_for 5 bash -c "! kill -0 $c"; done
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$REGISTRY\"}"
  pull "$SERVER/busy"
  only_seen is_empty "$STORE/tmp"
  cmp "$STORE"/layers/*/diff/bin/busybox /bin/busybox
}

@test "kill -9 at any moment: what is there is whole, and the next pull and gc leave nothing else" {
  local ms id
  for ms in 4 8 12 16 20 24 28 32 36 40 50 60; do
    timeout -s KILL "$(printf 0.%03d "$ms")" "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "oci:$CRISP_TMP/feat:all" >/dev/null 2>&1 || true
    for id in $(store ls --json | jq -r .id); do
      store inspect "$id" | jq -er '.record.layers[].id' | while read -r l; do test -s "$STORE/layers/$l/layer.json"; done
    done
    for id in "$STORE"/layers/*; do [ ! -e "$id" ] || [ -s "$id/layer.json" ]; done
    [ $((ms % 8)) != 0 ] || rm -rf "$STORE"/{images,names,layers}/*
  done
  pull "oci:$CRISP_TMP/feat:all"
  store gc >/dev/null
  only_seen is_empty "$STORE/tmp"
  [ "$(ls "$STORE/layers" | wc -l)" = 3 ]
}

@test "who waits for another's layer takes over when the other is killed" {
  server stall "$REGISTRY"
  registries t <<<"{\"host\":\"one.example\",\"url\":\"http://$SERVER\"}"
  registries u <<<"{\"host\":\"two.example\",\"url\":\"http://$REGISTRY\"}"
  "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" one.example/busy >/dev/null 2>&1 3>&- &
  local pid=$! second
  PIDS+=("$pid")
  wait_for 10 grep -q stalling "$STORE/server.log"
  pull --progress json two.example/busy >"$STORE/out" 2>"$STORE/err" 3>&- &
  second=$!
  wait_for 10 grep -q waiting "$STORE/err"
  [ ! -s "$STORE/out" ]
  kill -9 $pid
  wait $second
  grep -q '^sha256:' "$STORE/out"
  grep -q '"state":"done"' "$STORE/err"
  ocistore --root "$STORE" --runroot "$STORE/run" gc >/dev/null
  only_seen is_empty "$STORE/tmp"
}

@test "the unpacking child is confined while it works" {
  server stall "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy" >/dev/null 2>&1 3>&- &
  local pid=$! child
  PIDS+=("$pid")
  wait_for 10 grep -q stalling "$STORE/server.log"
  child=$(cat /proc/$pid/task/*/children | xargs)
  wait_for 5 grep -q 'Seccomp:.2' "/proc/$child/status"
  grep -q 'NoNewPrivs:.1' "/proc/$child/status"
  # chown dac_override fowner fsetid mknod setfcap
  grep -q 'CapEff:.000000008800001b' "/proc/$child/status"
  grep -q 'CapBnd:.000000008800001b' "/proc/$child/status"
  [[ $(readlink "/proc/$child/root") == "$STORE/tmp/layer-"*/new/diff ]]
  [ "$(readlink "/proc/$child/ns/net")" != "$(readlink /proc/self/ns/net)" ]
  [ "$(tr '\0' '\n' <"/proc/$child/environ" | wc -l)" = 1 ]
}

@test "several pulls of one image at once: each layer is fetched once" {
  server count "$REGISTRY"
  registries t <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
  local i pids=()
  for i in 1 2 3 4 5; do
    pull "$SERVER/busy" >"$STORE/out.$i" 2>"$STORE/err.$i" 3>&- &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i"; done
  [ "$(cat "$STORE"/out.* | sort -u | wc -l)" = 1 ]
  local layer
  layer=$(jq -r '.layers[0].digest' "$(image_dir "$(cat "$STORE/out.1")")/image.json")
  [ "$(grep -c "GET .*/blobs/$layer" "$STORE/server.log")" = 1 ]
  only_seen is_empty "$STORE/tmp"
}

@test "an image with the same layer twice, and one without layers" {
  python_oci "$STORE/twice" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
e = layer()
a = layer(entry('a', data=b'1'))
o.name(o.image([a, e, a, e]), 'twice')
o.name(o.image([]), 'none')
i = layer(entry('d/x', data=b'1'))
o.name(o.image([a, i, i]), 'implied')
PY
  pull "oci:$STORE/twice:twice"
  pull "oci:$STORE/twice:implied"
  pull "oci:$STORE/twice:none"
  [ "$(store ls --json | jq -s length)" = 3 ]
}

@test "a layer whose root is opaque hides all that is below, and may be reused" {
  python_oci "$STORE/opq" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
low, top = layer(entry('./', DIR), entry('hidden', data=b'1')), layer(entry('.wh..wh..opq'), entry('shown', data=b'2'))
o.name(o.image([low, top]), 'v1')
o.name(o.image([layer(entry('other', data=b'3')), top]), 'v2')
PY
  local tag id low
  for tag in v1 v2; do
    id=$(pull "oci:$STORE/opq:$tag")
    [ "$(jq -c '[.layers[].opaque]' "$(image_dir "$id")/image.json")" = '[false,true]' ]
  done
}

@test "sparse files, a checksum that is wrong, bytes behind the end" {
  mkdir "$STORE/sp"
  truncate -s 20M "$STORE/sp/f"
  printf end | dd of="$STORE/sp/f" bs=1M seek=5 conv=notrunc status=none
  tar -C "$STORE/sp" --sparse --format=gnu -cf "$STORE/gnu.tar" f
  tar -C "$STORE/sp" --sparse --format=pax -cf "$STORE/pax.tar" f
  python_oci "$STORE/lay" "$STORE/gnu.tar" "$STORE/pax.tar" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
for f in sys.argv[2:]:
    o.name(o.image([open(f, 'rb').read()]), os.path.basename(f)[:3])
raw = layer(entry('f', data=b'hello' * 1000))
c = o.blob({'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(raw).hexdigest()]}}, CONFIG)
z = bytearray(gzip.compress(raw))
z[-6] ^= 1
for name, blob in (('crc', bytes(z)), ('more', gzip.compress(raw) + b'garbage')):
    o.name(o.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': c, 'layers': [o.blob(blob, LAYER + '+gzip')]}, MANIFEST), name)
PY
  local tag id f
  for tag in gnu pax; do
    id=$(pull "oci:$STORE/lay:$tag")
    f=$STORE/layers/$(jq -r '.layers[0].id' "$(image_dir "$id")/image.json")/diff/f
    cmp "$f" "$STORE/sp/f"
    [ "$(du -k "$f" | cut -f1)" -lt 1000 ]
  done
  run_err 6 pull "oci:$STORE/lay:crc"
  run_err 6 pull "oci:$STORE/lay:more"
}

@test "a tag that moves: the old image loses it and keeps its digest" {
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:busy" "docker://$REGISTRY/moving:1"
  local old new
  old=$(pull "$REGISTRY/moving:1")
  umoci config --image "$CRISP_TMP/oci:busy" --tag moved --config.cmd /bin/other >/dev/null
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:moved" "docker://$REGISTRY/moving:1"
  new=$(pull "$REGISTRY/moving:1")
  [ "$old" != "$new" ]
  [ "$(store inspect "$REGISTRY/moving:1" | jq -r .id)" = "$new" ]
  [ "$(store inspect "$old" | jq -r '.repo_tags | length')" = 0 ]
  [ "$(store inspect "$old" | jq -r '.repo_digests | length')" = 1 ]
}

@test "progress: JSON a line on stderr, the id alone on stdout; a bad mode is refused" {
  run --separate-stderr pull --progress json -j 1 "$REGISTRY/busy"
  [[ $output =~ ^sha256:[0-9a-f]{64}$ ]]
  [ "$(jq -r 'select(.state == "done") | .bytes == .size' <<<"$stderr")" = true ]
  run_err 2 pull --progress loud "$REGISTRY/busy"
  run_err 2 pull -j 0x "$REGISTRY/busy"
  run_err 2 pull -j 99 "$REGISTRY/busy"
  run_err 2 pull
}

@test "a disk that is full: one error, nothing left" {
  mkdir "$STORE/small"
  mount -t tmpfs -o size=1m tmpfs "$STORE/small"
  run --separate-stderr ocipull --root "$STORE/small/root" --runroot "$STORE/run" "$REGISTRY/busy"
  echo "$status $stderr"
  [ "$status" = 9 ]
  [[ $stderr == *"not enough space"* ]]
  [ -z "$(ls "$STORE/small/root/tmp")$(ls "$STORE/small/root/layers")$(ls "$STORE/small/root/images")" ]
}
