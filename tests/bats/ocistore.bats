#!/usr/bin/env bats
# ocistore: what is in the store, and what may leave it. A container that runs is never broken.
load ../lib/helpers

setup_file() {
  crisp_file_setup
  layout
}
teardown_file() { crisp_file_teardown; }

setup() {
  requires root umoci
  STORE=$(mktemp -d "$CRISP_TMP/store.XXXXXX")
  PIDS=()
}
teardown() {
  local pid
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
  awk -v p="$STORE/" 'index($5, p) == 1 { print $5 }' /proc/self/mountinfo | xargs -r -n1 umount
  # A removal may still be at work behind the test.
  wait_for 10 rm -rf "$STORE"
}

# Images a and b share their first layer; c has one of its own.
layout() {
  PYTHONPATH=$BATS_TEST_DIRNAME/../lib PYTHONDONTWRITEBYTECODE=1 python3 - "$CRISP_TMP/lay" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
base = layer(entry('./', DIR), entry('base', data=b'b' * 3000))
a, b, c = (layer(entry(x, data=x.encode() * 1500)) for x in 'abc')
o.name(o.image([base, a]), 'r.io/a:1')
o.name(o.image([base, b]), 'r.io/b:1')
o.name(o.image([c]), 'r.io/c:1')
PY
}
store() { ocistore --root "$STORE" --runroot "$STORE/run" "$@"; }
pull() { ocipull --root "$STORE" --runroot "$STORE/run" "$@"; }
get() { # NAME...: pull from the layout
  local n
  for n; do pull "oci:$CRISP_TMP/lay:r.io/$n:1"; done
}
layers() { (cd "$STORE/layers" && ls -A | wc -l); }
images() { (cd "$STORE/images" && ls | wc -l); }
free_of() { ! grep -F " $STORE/" /proc/self/mountinfo; }
# kill_at CALL N ARGUMENT...: ocistore, killed at its Nth system call of that name; false when it was
kill_at() {
  local call=$1 n=$2
  shift 2
  ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" \
    "$BUILD/bin/ocistore" --root "$STORE" --runroot "$STORE/run" "$@" >/dev/null 2>&1 3>&-
}
# Everything that is listed is whole.
whole() {
  local id layer
  store ls --json | jq -r .id >"$STORE/ids"
  while read -r id; do
    store inspect "$id" >"$STORE/one"
    jq -er 'if .config.os == "linux" and (.layers | all(.present)) then .layers[].id else false end' "$STORE/one" >"$STORE/has" ||
      { cat "$STORE/one"; return 1; }
    while read -r layer; do [ -d "$STORE/layers/$layer/diff" ] || return 1; done <"$STORE/has"
  done <"$STORE/ids"
}
# The record of a container that uses an image, as ocibundle writes it.
container() { # HEXDIGIT IMAGE-ID
  CTR=$(printf "$1%.0s" {1..64})
  mkdir -p "$STORE/containers/$CTR"
  jq -nc --arg id "$CTR" --arg image "$2" '{version: 1, id: $id, image_id: $image, state: "running", complete: true}' \
    >"$STORE/containers/$CTR/state.json"
}

@test "ls: a table for people, one object a line for programs" {
  local a
  a=$(get a)
  pull --name r.io/a:other "oci:$CRISP_TMP/lay:r.io/a:1"
  get c
  run --separate-stderr store ls
  [ "$status" = 0 ]
  [ "${#lines[@]}" = 4 ]
  [[ ${lines[0]} =~ ^IMAGE\ +TAG/DIGEST\ +ID\ +SIZE$ ]]
  [[ ${lines[1]} =~ ^r.io/a\ +1\ +${a:7:12}\ +[0-9]+K$ ]]
  [[ ${lines[2]} =~ ^r.io/a\ +other\  ]]
  run --separate-stderr store ls --json
  [ "$(jq -sc '.[0] | keys' <<<"$output")" = '["created","id","pinned","repo_digests","repo_tags","size"]' ]
  [ "$(jq -sc '.[0].repo_tags' <<<"$output")" = '["r.io/a:1","r.io/a:other"]' ]
  [ "$(jq -sr '.[0].id' <<<"$output")" = "$a" ]
  [ "$(jq -sr '.[0].size > 4500 and (.[0].created > 1e18) and (.[0].pinned | not)' <<<"$output")" = true ]
}

@test "ls of an empty store, and beside a damaged image" {
  [ "$(store ls --json)" = "" ]
  [ "$(store ls | wc -l)" = 1 ]
  get a c
  local c
  c=$(store inspect r.io/c:1 | jq -r .id)
  echo garbage >"$STORE/images/${c#sha256:}/image.json"
  run --separate-stderr store ls --json
  [ "$status" = 0 ]
  [ "$(jq -r '.repo_tags[]' <<<"$output")" = r.io/a:1 ]
  [[ $stderr == *"${c#sha256:}"* ]]
  # It can be removed, and as long as it is there it keeps all layers.
  store rm --wait r.io/a:1
  [ "$(layers)" = 3 ]
  store rm --wait "$c"
  [ "$(layers)" = 0 ]
}

@test "ls: patterns, ids only, ids in full, images without a tag" {
  local a
  a=$(get a)
  get b c
  store tag "$a" short r.io/deep/er:2
  [ "$(store ls -q short)" = "$a" ]
  [ "$(store ls -q docker.io/library/short:latest)" = "$a" ]
  [ "$(store ls -q 'r.io/[bc]:*' | wc -l)" = 2 ]
  [ "$(store ls -q r.io/deep/er)" = "$a" ]
  [ "$(store ls -q "${a:7:8}")" = "$a" ]
  [ -z "$(store ls -q r.io/none)" ]
  [[ $(store ls --no-trunc short) == *"${a:7}"* ]]
  [ -z "$(store ls -q --dangling)" ]
  store untag r.io/b:1
  [ "$(store ls --json --dangling | jq -c .repo_tags)" = '[]' ]
  [[ $(store ls --dangling) == *"<none>"* ]]
}

@test "tag and untag: more names, a name moves, the image stays" {
  local a c
  a=$(get a)
  c=$(get c)
  store tag r.io/a:1 x r.io/x:2
  [ "$(store inspect "$a" | jq -c .repo_tags)" = '["docker.io/library/x:latest","r.io/a:1","r.io/x:2"]' ]
  store tag "${c:7:12}" x
  [ "$(store inspect x | jq -r .id)" = "$c" ]
  [ "$(store inspect "$a" | jq -c .repo_tags)" = '["r.io/a:1","r.io/x:2"]' ]
  store untag r.io/a:1 r.io/x:2
  [ "$(store inspect "$a" | jq -c .repo_tags)" = '[]' ]
  run_err 3 store untag r.io/a:1
  run_err 6 store untag "$a"
  run_err 3 store tag r.io/none y
  run_err 6 store tag "$a" 'Bad Name'
  run_err 6 store tag "$a" "x@$a"
  run_err 2 store tag "$a"
  [[ $(store --dry-run tag "$a" z) == "would name $a docker.io/library/z:latest" ]]
  run_err 3 store inspect z
}

@test "pin and unpin: by name it follows the name, by id it stays; shown with the source" {
  local a c
  a=$(get a)
  c=$(get c)
  store pin r.io/a:1
  store pin r.io/a:1 "$c"
  [ "$(store pin | sort)" = "$(printf '%.12s pin: %s\n' "${a:7}" r.io/a:1 "${c:7}" "$c" | sort)" ]
  [ "$(store pin --json | jq -rs 'map(.pinned_by) | sort | join(" ")')" = "pin: r.io/a:1 pin: $c" ]
  [ "$(store inspect "$c" | jq -c '[.pinned, .pinned_by]')" = "[true,[\"pin: $c\"]]" ]
  run_err 5 store rm r.io/a:1
  [[ $stderr == *"pinned (pin: r.io/a:1)"* ]]
  run_err 5 store rm r.io/c:1
  run_err 5 store untag r.io/a:1
  store tag "$c" r.io/a:1
  store rm --wait "$a"
  run_err 3 store inspect "$a"
  run_err 5 store unpin "$c"
  [[ $stderr == *"still pinned (pin: r.io/a:1)"* ]]
  run_err 5 store rm "$c"
  store unpin r.io/a:1 r.io/a:1
  store rm --wait "$c"
  [ -z "$(ls "$STORE/pins")" ]
  [ "$(images)" = 0 ]
  run_err 3 store pin r.io/none
  run_err 3 store unpin r.io/none
}

@test "unpin of what the configuration pins says so; a pin of what is gone goes with gc" {
  get a c >/dev/null
  jq '.pinned_images = ["r.io/a:*"]' "$CRISP_CONFIG" >"$STORE/crisp.json"
  export CRISP_CONFIG=$STORE/crisp.json
  [[ $(store pin) == *" pinned_images: r.io/a:*" ]]
  run_err 5 store unpin r.io/a:1
  [[ $stderr == *"still pinned (pinned_images: r.io/a:*)"* ]]
  store pin r.io/c:1
  store rm --force --wait r.io/c:1
  [ -z "$(ls "$STORE/pins")" ]
  touch "$STORE/pins/r.io%2fgone:1" "$STORE/pins/$(printf '7%.0s' {1..64})"
  [ "$(store gc --dry-run | grep -c '^would remove pin .*: what it pins is gone')" = 2 ]
  store gc >/dev/null
  [ -z "$(ls "$STORE/pins")" ]
}

@test "mount: read-only, without devices and set-user-id; several layers and one; seen by rm and gc" {
  local a c dir
  a=$(get a)
  c=$(get c)
  dir=$(store mount r.io/a:1)
  [ "$dir" = "$STORE/run/mounts/${a:7}" ]
  [ "$(cat "$dir/base" | wc -c)$(cat "$dir/a" | wc -c)" = 30001500 ]
  run ! touch "$dir/new"
  mkdir "$STORE/at"
  [ "$(store mount "${c:7:12}" "$STORE/at/../at")" = "$STORE/at" ]
  [ "$(wc -c <"$STORE/at/c")" = 1500 ]
  run ! touch "$STORE/at/new"
  [ "$(awk -v p="$STORE/" 'index($5, p) == 1 && $6 ~ /^ro,nosuid,nodev/' /proc/self/mountinfo | wc -l)" = 2 ]
  # Again is the same; another image at the same place is refused.
  [ "$(store mount "$a")" = "$dir" ]
  run_err 4 store mount r.io/a:1 "$STORE/at"
  run_err 3 store mount r.io/a:1 "$STORE/none"
  run_err 3 store mount r.io/none
  [ "$(store mount --json | jq -sc 'map(.id) | sort')" = "$(jq -nc '$ARGS.positional | sort' --args "$a" "$c")" ]
  [ "$(store inspect "$a" | jq -r '.used_by[]')" = "mount $dir" ]
  run_err 5 store rm r.io/c:1
  [[ $stderr == *"in use by mount $STORE/at" ]]
  store rm --wait --force r.io/c:1 r.io/a:1
  [ "$(store gc --json | jq -sc 'map(select(.removed)) | length')" = 0 ]
  [ "$(wc -c <"$STORE/at/c")$(wc -c <"$dir/a")" = 15001500 ]
  store umount "$STORE/at" "$dir"
  free_of && [ -z "$(ls -A "$STORE/run/mounts")" ]
  store gc >/dev/null
  [ "$(layers)" = 0 ]
  store umount "$STORE/at" r.io/a:1 # again: nothing to do
}

@test "umount: by image all its mounts; busy ones only with --lazy" {
  get a >/dev/null
  mkdir "$STORE/x" "$STORE/y"
  store mount r.io/a:1 && store mount r.io/a:1 "$STORE/x" && store mount r.io/a:1 "$STORE/y"
  [ "$(store umount --dry-run r.io/a:1 | wc -l)" = 3 ]
  exec 7<"$STORE/y/a"
  run_err 5 store umount "$STORE/y"
  [[ $stderr == *"its files are in use"* ]]
  store umount --lazy r.io/a:1
  exec 7<&-
  free_of && [ -z "$(store mount)" ] && [ -z "$(ls -A "$STORE/run/mounts")" ]
}

@test "umount: an image that was removed meanwhile, by its id" {
  local a
  a=$(get a)
  store mount r.io/a:1
  store rm --in-use --wait r.io/a:1
  [ "$(layers)" = 2 ]
  store umount "$a"
  free_of
  store gc >/dev/null
  [ "$(layers)" = 0 ]
}

@test "mounts of an earlier boot, taken away by hand, or of a namespace that is gone, hold nothing" {
  local a record
  a=$(get a)
  mkdir "$STORE/x"
  store mount r.io/a:1 "$STORE/x"
  umount "$STORE/x"
  [ "$(store gc | grep -c "^remove mount $STORE/x: it is not mounted any more")" = 1 ]
  # In a namespace of its own, as long as a process is in it.
  unshare -m --propagation private "$BUILD/bin/ocistore" --root "$STORE" --runroot "$STORE/run" mount r.io/a:1 "$STORE/x"
  free_of
  store rm --wait r.io/a:1
  [ "$(layers)" = 0 ]
  get a >/dev/null
  mkfifo "$STORE/go"
  unshare -m --propagation private bash -c '"$0" --root "$1" --runroot "$1/run" mount r.io/a:1 "$1/x" >"$1/done"; read <"$1/go"' \
    "$BUILD/bin/ocistore" "$STORE" 3>&- &
  PIDS+=($!)
  wait_for 10 test -s "$STORE/done"
  run_err 5 store rm r.io/a:1
  run_err 5 store umount "$STORE/x"
  [[ $stderr == *"another mount namespace"* ]]
  echo >"$STORE/go"
  wait "${PIDS[0]}"
  PIDS=()
  store mount r.io/a:1 "$STORE/x"
  record=$(echo "$STORE"/run/mounts/*.json)
  jq -c '.boot_id = "00000000-0000-0000-0000-000000000000"' "$record" >"$STORE/r" && cp "$STORE/r" "$record"
  store rm --wait r.io/a:1
  [ "$(layers)" = 0 ]
  # One that cannot be read may be of any image.
  get a >/dev/null
  echo '{' >"$record"
  store rm --wait r.io/a:1
  [ "$(layers)" = 2 ]
}

@test "df: shared and unique, what could go, containers as last measured; the same as JSON" {
  local a b layer
  a=$(get a)
  b=$(get b)
  get c >/dev/null
  for layer in "$STORE"/layers/*; do
    jq -c '.usage = 4096 * 3 | .inodes = 3' "$layer/layer.json" >"$STORE/l" && cp "$STORE/l" "$layer/layer.json"
  done
  store pin r.io/b:1
  container c "$a"
  mkdir -p "$STORE/run/containers/$CTR"
  echo '{"bytes":5000,"inodes":7,"at":1}' >"$STORE/run/containers/$CTR/du.json"
  store df --json >"$STORE/df"
  jq -e --arg a "$a" '.images[] | select(.id == $a) | .disk_bytes == 24576 and .shared_bytes == 12288 and .unique_bytes == 12288
    and .inodes == 6 and .used_by == 1' "$STORE/df"
  jq -e '.layers == {count: 4, bytes: 49152, inodes: 12} and .reclaimable == {count: 1, bytes: 12288, inodes: 3}' "$STORE/df"
  jq -e '.containers == {count: 1, bytes: 5000, inodes: 7, unmeasured: 0}' "$STORE/df"
  jq -e '.filesystem | .free_bytes > 0 and .bytes > .free_bytes and .free_inodes > 0' "$STORE/df"
  store df | grep -E "^r.io/b:1 +${b:7:12} +25K +12K +12K +6 +0 pinned$"
  store rm --wait --in-use "$a"
  mkdir -p "$STORE/tmp/layer-$(printf 'f%.0s' {1..64})/new"
  store df --json | jq -e '.removed_images == 1 and .reclaimable.count == 1 and .tmp.unmeasured >= 1'
  # No tree is looked into.
  requires strace
  ASAN_OPTIONS=detect_leaks=0 strace -f -qq -e trace=openat,open -o "$STORE/trace" "$BUILD/bin/ocistore" --root "$STORE" --runroot "$STORE/run" df >/dev/null 3>&-
  run ! grep -E '/diff|upper' "$STORE/trace"
}

@test "df: the images in the order of ls" {
  get c a b >/dev/null
  [ "$(store df --json | jq -c '.images | map(.repo_tags[0])')" = '["r.io/a:1","r.io/b:1","r.io/c:1"]' ]
  [ "$(store df | sed -n '2,4p' | cut -d' ' -f1 | xargs)" = 'r.io/a:1 r.io/b:1 r.io/c:1' ]
}

@test "inspect: by name, id and prefix; unknown and ambiguous ones" {
  local a
  a=$(get a)
  [ "$(store inspect r.io/a:1 | jq -r '.id, .config.os, (.record.layers | length)' | xargs)" = "$a linux 2" ]
  [ "$(store inspect "${a:7:10}" | jq -r .id)" = "$a" ]
  [ "$(store inspect "${a:0:20}" | jq -r .id)" = "$a" ]
  run_err 3 store inspect r.io/none
  run_err 3 store inspect 0000aaaabbbb
  run_err 6 store inspect 'Not A Ref'
  run_err 2 store inspect
}

@test "rm: by a name that name goes, with the last one the image; by id all; shared layers stay until the last" {
  local a
  a=$(get a)
  get b
  pull --name r.io/a:other "oci:$CRISP_TMP/lay:r.io/a:1"
  [ "$(layers)" = 3 ]
  run --separate-stderr store rm --wait r.io/a:other
  [ "$status" = 0 ]
  [ -z "$output" ]
  [ -z "$stderr" ]
  [ "$(store inspect r.io/a:1 | jq -c '[.id, .repo_tags]')" = "[\"$a\",[\"r.io/a:1\"]]" ]
  [ "$(store --dry-run rm r.io/a:1)" = "would remove image $a" ]
  store rm --wait r.io/a:1
  run_err 3 store inspect "$a"
  [ "$(layers)" = 2 ]
  cat "$STORE"/layers/*/diff/base >/dev/null
  store tag r.io/b:1 r.io/b:2 other/name
  store rm --wait "$(store inspect r.io/b:1 | jq -r .id)"
  [ "$(layers)$(images)" = 00 ]
  [ -z "$(ls -A "$STORE/names")$(ls "$STORE/tmp")" ]
}

@test "rm of a repository's last tag takes its digest names, another repository's names keep the image" {
  local a digest
  a=$(get a)
  digest=$(store inspect "$a" | jq -r .manifest_digest)
  ln -s "../images/${a#sha256:}" "$STORE/names/r.io%2fa@$digest"
  [ "$(store ls --digests | grep -c "^r.io/a ")" = 2 ]
  [ "$(store inspect "r.io/a@$digest" | jq -r .id)" = "$a" ]
  [ "$(store inspect "r.io/a:whatever@$digest" | jq -r .id)" = "$a" ]
  store tag "$a" r.io/other:1
  store rm --wait r.io/a:1
  [ "$(store inspect "$a" | jq -c '.repo_tags + .repo_digests')" = '["r.io/other:1"]' ]
  ln -s "../images/${a#sha256:}" "$STORE/names/r.io%2fother@$digest"
  store rm --wait r.io/other:1
  [ "$(images)" = 0 ]
}

@test "rm answers before the bytes are gone; they go behind it" {
  local a start i
  a=$(get a)
  # Many files: going through them takes longer than the answer.
  for i in 1 2 3 4; do
    mkdir -p "$STORE/layers/$(printf "$i%.0s" {1..64})/diff"
    (cd "$STORE/layers/$(printf "$i%.0s" {1..64})/diff" && seq 5000 | xargs touch)
  done
  store rm r.io/a:1
  [ "$(find "$STORE" -type f | wc -l)" -gt 500 ]
  [ -z "$(store ls --json)" ]
  wait_for 20 test "$(layers)" = 0
  gone() { [ -z "$(ls "$STORE/layers")$(ls "$STORE/tmp")" ] && [ "$(ls -A "$STORE/images")" = .lock ]; }
  wait_for 20 gone
}

@test "who removes behind the answer is of low priority, has let go of our descriptors, and may be killed" {
  get a >/dev/null
  mkdir -p "$STORE/layers/$(printf 'd%.0s' {1..64})/diff"
  (cd "$STORE/layers/$(printf 'd%.0s' {1..64})/diff" && seq 30000 | xargs touch)
  # Not one that only the pipe's other end would end.
  store rm r.io/a:1 | cat
  remover() { pgrep -f -- "ocistore --root $STORE "; }
  # Held there, or it may be done before it has been looked at.
  nice_one() { pid=$(remover) && [ "$(ps -o ni= -p "$pid" | tr -d ' ')" = 19 ] && kill -STOP "$pid"; }
  local pid
  wait_for 10 nice_one
  [ "$(ps -o sid= -p "$pid" | tr -d ' ')" = "$pid" ]
  [ "$(readlink "/proc/$pid/fd/1")" = /dev/null ]
  kill -9 "$pid"
  [ -n "$(ls "$STORE/tmp")" ]
  # The next one, whatever it is asked for, finishes.
  store rm --wait no.such/image
  [ -z "$(ls "$STORE/layers")$(ls "$STORE/tmp")" ]
}

@test "rm: unknown images are success, several at once, the first failure is told and the others go" {
  store rm --wait r.io/none sha256:"$(printf '0%.0s' {1..64})"
  get a c
  run_err 6 store rm --wait r.io/a:1 'Bad Ref' r.io/c:1
  [ "$(images)" = 0 ]
}

@test "rm: several operands see what those before them removed" {
  get a b >/dev/null
  store tag r.io/a:1 r.io/a:2 r.io/x:1
  store pin r.io/a:2
  local id
  id=$(store inspect r.io/a:1 | jq -r .id)
  run_err 5 store rm r.io/a:1 r.io/a:2 r.io/x:1
  [ "$(store ls --json "$id" | jq -c .repo_tags)" = '["r.io/a:2"]' ]
  store unpin r.io/a:2
  store tag r.io/a:2 r.io/a:1
  # The last name takes the image with it; then there is nothing left to do.
  store rm --wait r.io/a:2 r.io/a:1 "$id" r.io/a:1
  [ "$(store ls --json | jq -c .repo_tags)" = '["r.io/b:1"]' ]
  [ "$(layers)" = 2 ]
}

@test "rm: many at the same time all succeed" {
  get a b c
  local i pids=()
  for i in 1 2 3 4 5 6; do
    store rm --wait r.io/a:1 r.io/b:1 r.io/c:1 >"$STORE/out.$i" 2>&1 3>&- &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i" || { cat "$STORE"/out.*; false; }; done
  [ "$(images)$(layers)" = 00 ]
  [ -z "$(ls "$STORE/tmp")" ]
}

@test "rm: a container keeps its layers; they go once it is gone" {
  local a
  a=$(get a)
  get c
  container a "$a"
  run_err 5 store rm --wait "$a"
  [[ $stderr == *"in use by container $CTR"* ]]
  store rm --wait --in-use "$a" r.io/c:1
  run_err 3 store inspect "$a"
  [ -z "$(store ls --json)" ]
  [ "$(layers)" = 2 ]
  run store gc
  [ "$(grep -c "^keep layer .*: container $CTR uses it" <<<"$output")" = 2 ]
  rm -rf "$STORE/containers/$CTR"
  store gc
  [ "$(layers)" = 0 ]
  [ "$(ls -A "$STORE/images")" = .lock ]
}

@test "rm, pull again, rm again while a container uses the image" {
  local a
  a=$(get a)
  container a "$a"
  store rm --wait --in-use "$a"
  [ "$(get a)" = "$a" ]
  [ "$(layers)" = 2 ]
  store rm --wait --force "$a"
  [ "$(layers)" = 2 ]
  rm -rf "$STORE/containers"/*
  get b
  store rm --wait r.io/b:1
  [ "$(layers)" = 0 ]
}

@test "a container whose record cannot be read keeps all layers" {
  get a c
  container b sha256:x
  echo '{' >"$STORE/containers/$CTR/state.json"
  store rm --wait r.io/a:1
  [ "$(layers)" = 3 ]
  run store gc --dry-run
  [[ $output == *"record of container $CTR cannot be read"* ]]
  # One that has no record yet uses nothing.
  rm "$STORE/containers/$CTR/state.json"
  store gc
  [ "$(layers)" = 1 ]
}

@test "rm waits for who holds the store's lock" {
  get a
  python3 - "$STORE/images/.lock" "$STORE/ready" <<'PY' 3>&- &
import fcntl, os, struct, sys, time
f = open(sys.argv[1], 'r+')
fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))
open(sys.argv[2], 'w').close()
while os.path.exists(sys.argv[2]):
    time.sleep(0.02)
PY
  PIDS+=($!)
  wait_for 5 test -e "$STORE/ready"
  ocistore --root "$STORE" --runroot "$STORE/run" rm --wait r.io/a:1 3>&- &
  local remover=$!
  PIDS+=("$remover")
  nap 0.8
  # However long that took: it is still waiting, and nothing is removed.
  kill -0 "$remover"
  [ "$(images)" = 1 ]
  rm "$STORE/ready"
  wait "$remover"
  [ "$(images)" = 0 ]
}

@test "pinned images: told, refused, and removed only by force" {
  get a c
  jq '.pinned_images = ["r.io/a:*"]' "$CRISP_CONFIG" >"$STORE/crisp.json"
  export CRISP_CONFIG=$STORE/crisp.json
  [ "$(store ls --json | jq -sc 'map(.pinned)')" = '[true,false]' ]
  run_err 5 store rm --wait r.io/a:1
  [[ $stderr == *pinned* ]]
  run_err 5 store rm --wait "$(store inspect r.io/a:1 | jq -r .id)"
  store rm --wait --force r.io/a:1
  [ "$(images)" = 1 ]
}

@test "gc: says what goes and why, --dry-run removes nothing, leftovers of the dead go" {
  get a b
  local layer
  layer=$(printf 'e%.0s' {1..64})
  mkdir -p "$STORE/layers/$layer/diff/x" "$STORE/tmp/pull-0123/image" "$STORE/tmp/layer-$layer/new" "$STORE/tmp/foreign"
  touch "$STORE/tmp/pull-0123/lock"
  ln -s ../images/nothing "$STORE/names/r.io%2fdangling:1"
  ln -s ../images/nothing "$STORE/names/.0123"
  run --separate-stderr store gc --dry-run
  [ "$status" = 0 ]
  [ "$(grep -c '^would remove' <<<"$output")" = 5 ]
  [[ $output == *"would remove layer $layer: nothing needs it"* ]]
  [ "$(grep -c '^keep layer .*: image sha256:.* has it' <<<"$output")" = 3 ]
  [ -d "$STORE/layers/$layer" ]
  [ -d "$STORE/tmp/pull-0123" ]
  run --separate-stderr store gc --json
  [ "$(jq -s 'map(select(.removed)) | length' <<<"$output")" = 5 ]
  [ ! -e "$STORE/layers/$layer" ]
  # What is not of a kind that we know and has no lock is let alone.
  [ "$(ls "$STORE/tmp")" = foreign ]
  [ "$(store ls --json | wc -l)" = 2 ]
}

@test "gc: odd entries in names/, pins/ and tmp/ stop nothing, and reach no terminal as they are" {
  get a >/dev/null
  mkdir -p "$STORE/names/.dir" "$STORE/pins" "$STORE/tmp/load-0123" "$STORE/tmp/read-0123"
  touch "$STORE/pins/x" "$STORE/names/file" "$STORE/tmp/pull-file"
  ln -s /etc "$STORE/tmp/trash-0123"
  ln -s ../images/nothing "$STORE/names/$(printf 'x\033[1m\377')"
  ln -s ../images/nothing "$STORE/names/$(printf '%0200d' 0)"
  run --separate-stderr store gc --dry-run --json
  [ "$status" = 0 ]
  [ "$(jq -sc 'map(select(.removed).what) | sort' <<<"$output")" = \
    "$(jq -nc --arg z "name $(printf '%0200d' 0)" '[$z, "name x\\x1b[1m\\xff", "pin x", "tmp/load-0123", "tmp/read-0123"] | sort')" ]
  run --separate-stderr store gc
  [ "$status" = 0 ]
  [[ $output == *'remove name x\x1b[1m\xff: its image is gone'* ]]
  [[ $output == *'keep name .dir: it is no link to an image, and none of ours'* ]]
  [[ $output == *'keep tmp/trash-0123: it is none of ours'* ]]
  [ "$(paste -sd" " <(ls -A "$STORE/names"))" = '.dir file r.io%2fa:1' ]
  [ -z "$(ls "$STORE/pins")" ]
  [ "$(paste -sd" " <(ls "$STORE/tmp"))" = 'pull-file trash-0123' ]
  run --separate-stderr store verify --json
  [ "$status" = 5 ]
  [ "$(jq -r .name <<<"$output")" = file ]
}

@test "gc: who reads its report slowly holds up nobody" {
  get a >/dev/null
  local i
  # More than a pipe takes.
  for i in $(seq 1000); do printf 'layers/%064x ' "$i"; done | (cd "$STORE" && xargs mkdir)
  mkfifo "$STORE/report"
  store gc >"$STORE/report" 3>&- &
  PIDS+=($!)
  exec 7<"$STORE/report"
  collected() { [ "$(layers)" = 2 ]; }
  wait_for 20 collected
  store tag r.io/a:1 r.io/a:2
  [ "$(wc -l <&7)" -ge 1000 ]
  exec 7<&-
}

@test "gc beside a pull that is under way: what it counts on stays" {
  crisp_registry
  PIDS+=("$REGISTRY_PID")
  make_image busy
  PYTHONDONTWRITEBYTECODE=1 python3 "$BATS_TEST_DIRNAME/../lib/registry_fake.py" "$STORE/port" stall "$REGISTRY" \
    >"$STORE/server.log" 2>&1 3>&- &
  PIDS+=($!)
  wait_for 10 test -s "$STORE/port"
  local server pid
  server=127.0.0.1:$(cat "$STORE/port")
  mkdir "$STORE/regs"
  jq --arg d "$STORE/regs" '.registries_dir = $d' "$CRISP_CONFIG" >"$STORE/crisp.json"
  export CRISP_CONFIG=$STORE/crisp.json
  echo "{\"host\":\"$server\",\"url\":\"http://$server\"}" >"$STORE/regs/x.json"
  "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$server/busy" >/dev/null 2>&1 3>&- &
  pid=$!
  PIDS+=("$pid")
  wait_for 10 grep -q stalling "$STORE/server.log"
  # As if another pull had just brought the layer.
  local diff
  diff=$(basename "$STORE"/tmp/layer-*)
  mkdir -p "$STORE/layers/${diff#layer-}/diff"
  run --separate-stderr store gc
  [ "$status" = 0 ]
  [[ $output == *"keep layer ${diff#layer-}: a pull under way counts on it"* ]]
  [[ $output == *"keep tmp/$diff: a process works in it"* ]]
  [ -d "$STORE/layers/${diff#layer-}" ]
}

@test "kill -9 in the middle of a removal: the next one finishes" {
  local i
  for i in 1 2 3 4 5 6 7 8; do
    get a b >/dev/null
    timeout -s KILL "0.00$i" "$BUILD/bin/ocistore" --root "$STORE" --runroot "$STORE/run" rm --wait r.io/a:1 r.io/b:1 || true
    store ls --json | jq -r .id | while read -r id; do store inspect "$id" | jq -e .config; done
    store rm --wait r.io/a:1 r.io/b:1
    store gc >/dev/null
    [ "$(images)$(layers)" = 00 ]
    [ -z "$(ls -A "$STORE/names")$(ls "$STORE/tmp")" ]
  done
}

# killed_at "CALLS" "NUMBERS" VERB...: VERB killed there, the store is whole, and VERB done again succeeds. What undoes
# VERB, and what shows that it was done, are the functions undo and shows.
killed_at() {
  local call n calls=$1 numbers=$2
  shift 2
  for call in $calls; do
    for n in $numbers; do
      undo
      if kill_at "$call" "$n" "$@"; then break; fi # there are fewer than n of them
      KILLED=$((KILLED + 1))
      whole
      store "$@" >/dev/null
      shows || { echo "not so: $* after $call $n"; return 1; }
    done
  done
}

@test "kill -9 of a removal or collection at each system call that changes something" {
  requires strace
  KILLED=0
  get b c >/dev/null
  undo() { [ -n "$(store ls -q r.io/a:1)" ] || get a >/dev/null; }
  shows() { [ -z "$(store ls -q r.io/a:1)" ] && whole; }
  killed_at "mkdirat renameat,renameat2 unlinkat fcntl fsync" "1 2 5" rm --wait r.io/a:1
  killed_at "renameat2 clone" 1 rm r.io/a:1
  undo() { mkdir -p "$STORE/layers/$(printf '1%.0s' {1..64})/diff" "$STORE/tmp/pull-1/image"; ln -sfn ../images/x "$STORE/names/.x"; }
  shows() { [ "$(layers)$(ls "$STORE/names" | wc -l)$(ls "$STORE/tmp")" = 32 ] && whole; }
  killed_at "mkdirat renameat unlinkat fsync" "1 2" gc
  echo "killed $KILLED"
  [ "$KILLED" -ge 18 ]
  store rm --wait r.io/b:1 r.io/c:1
  [ "$(images)$(layers)$(ls -A "$STORE/names")$(ls "$STORE/tmp")" = 00 ]
}

@test "kill -9 of tag, pin, unpin, mount and umount at each system call that changes something" {
  requires strace
  KILLED=0
  get a b >/dev/null
  mkdir "$STORE/at"
  undo() { store tag r.io/a:1 x:1; }
  shows() { [ "$(store ls -q x:1)" = "$(store ls -q r.io/b:1)" ]; }
  killed_at "symlinkat renameat fsync" 1 tag r.io/b:1 x:1 y:1
  undo() { store unpin r.io/b:1; }
  shows() { store inspect r.io/b:1 | jq -e .pinned >/dev/null; }
  killed_at "fsync fcntl" 1 pin r.io/b:1
  undo() { store pin r.io/b:1; }
  shows() { store inspect r.io/b:1 | jq -e '.pinned | not' >/dev/null; }
  killed_at "fsync unlinkat" 1 unpin r.io/b:1
  undo() { store umount r.io/b:1; }
  shows() { [ -s "$STORE/at/b" ] && [ "$(store mount | wc -l)" = 1 ] && [ "$(grep -cF " $STORE/at " /proc/self/mountinfo)" = 1 ]; }
  killed_at "renameat move_mount mount_setattr fsmount" 1 mount r.io/b:1 "$STORE/at"
  shows() { [ -s "$STORE/run/mounts/$(store ls -q r.io/b:1 | cut -c8-)/b" ]; }
  killed_at "renameat mkdirat move_mount" "1 2" mount r.io/b:1
  undo() { store mount r.io/b:1 >/dev/null; }
  shows() { free_of && [ -z "$(store mount)" ] && [ -z "$(ls -A "$STORE/run/mounts")" ]; }
  killed_at "umount2 unlinkat" "1 2" umount r.io/b:1
  echo "killed $KILLED"
  [ "$KILLED" -ge 12 ]
  # A mount that was recorded and never made holds nothing.
  kill_at fsmount 1 mount r.io/b:1 || true
  store rm --wait --force r.io/b:1 r.io/a:1 x:1 y:1
  [ "$(images)$(layers)" = 00 ]
}
