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
  rm -rf "$STORE"
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
  store rm r.io/a:1
  [ "$(layers)" = 3 ]
  store rm "$c"
  [ "$(layers)" = 0 ]
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

@test "rm: by any name all names and the image go; shared layers stay until the last" {
  get a b
  pull --name r.io/a:other "oci:$CRISP_TMP/lay:r.io/a:1"
  [ "$(layers)" = 3 ]
  run --separate-stderr store rm r.io/a:other
  [ "$status" = 0 ] && [ -z "$output" ] && [ -z "$stderr" ]
  run_err 3 store inspect r.io/a:1
  [ "$(layers)" = 2 ]
  cat "$STORE"/layers/*/diff/base >/dev/null
  store rm "$(store inspect r.io/b:1 | jq -r .id)"
  [ "$(layers)$(images)" = 00 ]
  [ -z "$(ls -A "$STORE/names")$(ls "$STORE/tmp")" ]
}

@test "rm: unknown images are success, several at once, the first failure is told and the others go" {
  store rm r.io/none sha256:"$(printf '0%.0s' {1..64})"
  get a c
  run_err 6 store rm r.io/a:1 'Bad Ref' r.io/c:1
  [ "$(images)" = 0 ]
}

@test "rm: many at the same time all succeed" {
  get a b c
  local i pids=()
  for i in 1 2 3 4 5 6; do
    store rm r.io/a:1 r.io/b:1 r.io/c:1 >"$STORE/out.$i" 2>&1 3>&- &
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
  store rm "$a" r.io/c:1
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
  store rm "$a"
  [ "$(get a)" = "$a" ]
  [ "$(layers)" = 2 ]
  store rm "$a"
  [ "$(layers)" = 2 ]
  rm -rf "$STORE/containers"/*
  get b
  store rm r.io/b:1
  [ "$(layers)" = 0 ]
}

@test "a container whose record cannot be read keeps all layers" {
  get a c
  container b sha256:x
  echo '{' >"$STORE/containers/$CTR/state.json"
  store rm r.io/a:1
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
  flock --version >/dev/null
  python3 - "$STORE/images/.lock" "$STORE/ready" <<'PY' 3>&- &
import fcntl, struct, sys, time
f = open(sys.argv[1], 'r+')
fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))
open(sys.argv[2], 'w').close()
time.sleep(1.5)
PY
  PIDS+=($!)
  wait_for 5 test -e "$STORE/ready"
  local start
  start=$(date +%s%N)
  store rm r.io/a:1
  [ $((($(date +%s%N) - start) / 1000000)) -ge 800 ]
  [ "$(images)" = 0 ]
}

@test "pinned images: told, refused, and removed only by force" {
  get a c
  jq '.pinned_images = ["r.io/a:*"]' "$CRISP_CONFIG" >"$STORE/crisp.json"
  export CRISP_CONFIG=$STORE/crisp.json
  [ "$(store ls --json | jq -sc 'map(.pinned)')" = '[true,false]' ]
  run_err 5 store rm r.io/a:1
  [[ $stderr == *pinned* ]]
  run_err 5 store rm "$(store inspect r.io/a:1 | jq -r .id)"
  store rm --force r.io/a:1
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
  [ -d "$STORE/layers/$layer" ] && [ -d "$STORE/tmp/pull-0123" ]
  run --separate-stderr store gc --json
  [ "$(jq -s 'map(select(.removed)) | length' <<<"$output")" = 5 ]
  [ ! -e "$STORE/layers/$layer" ]
  # What is not of a kind that we know and has no lock is let alone.
  [ "$(ls "$STORE/tmp")" = foreign ]
  [ "$(store ls --json | wc -l)" = 2 ]
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
    timeout -s KILL "0.00$i" "$BUILD/bin/ocistore" --root "$STORE" --runroot "$STORE/run" rm r.io/a:1 r.io/b:1 || true
    store ls --json | jq -r .id | while read -r id; do store inspect "$id" | jq -e .config; done
    store rm r.io/a:1 r.io/b:1
    store gc >/dev/null
    [ "$(images)$(layers)" = 00 ]
    [ -z "$(ls -A "$STORE/names")$(ls "$STORE/tmp")" ]
  done
}
