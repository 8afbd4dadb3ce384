#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The ImageService on the socket: what names an image, what stays of names, sizes, pins and users, and that it follows
# what is done by hand.
load ../lib/helpers
load ../lib/crispd
fast_jq

setup_file() {
  crisp_file_setup
  jq '.default_runtime = "runc" | .pinned_images = ["r.io/pinned:*"]' "$CRISP_CONFIG" >"$CRISP_CONFIG.new" && mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"
  crisp_registry
  images
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
}
teardown_file() {
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
  crisp_file_teardown
}
setup() {
  requires root runc
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
}
teardown() {
  ocistore ls -q | xargs -r ocistore rm --force --wait
}

# Images in a layout: a and b share their first layer; one has annotations; others a user of each kind.
images() {
  PYTHONPATH=$BATS_TEST_DIRNAME/../lib PYTHONDONTWRITEBYTECODE=1 python3 - "$CRISP_TMP/lay" <<'PY'
import sys
from oci_layout import *
class L(Layout):
    def user(self, raw, user):
        config = self.blob({'architecture': 'amd64', 'os': 'linux', 'config': {'User': user, 'Env': ['A=1']},
                            'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(raw).hexdigest()]}}, CONFIG)
        return self.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': config, 'layers': [self.blob(raw, LAYER)]}, MANIFEST)
o = L(sys.argv[1])
base = layer(entry('./', DIR), entry('base', data=b'b' * 3000))
a, b, c = (layer(entry('./', DIR), entry(x, data=x.encode() * 1500)) for x in 'abc')
o.name(o.image([base, a]), 'r.io/a:1')
o.name(o.image([base, b]), 'r.io/b:1')
o.name(o.image([c]), 'r.io/pinned:1')
o.name(o.image([base, c], annotations={'org.example.a': 'x', 'z': ''}), 'r.io/noted:1')
for n, user in enumerate(('1002', 'www-data', '1003:1004', 'www-data:1004', '', '0')):
    o.name(o.user(layer(entry('./', DIR), entry('u%d' % n, data=b'u')), user), 'r.io/user%d:1' % n)
PY
}
cri() { timeout 100 cricall --socket "$SOCK" "$@"; }
spec() { jq -nc --arg i "$1" '{image: {image: $i}}'; }
image() { cri ImageStatus "$(spec "$1")" | jq -c "${2:-.image}"; }
remove() { cri RemoveImage "$(spec "$1")"; }
get() { # NAME...: by hand
  local n
  for n; do ocipull "oci:$CRISP_TMP/lay:r.io/$n:1"; done
}
push() { skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/lay:r.io/$1:1" "docker://$REGISTRY/$2"; }
pull() { cri PullImage "$(spec "$1")" | jq -r .image_ref; }
tags() { cri ListImages | jq -c '[.images[]?.repo_tags[]?] | sort'; }

@test "every kind of reference gives the same answer, in Status, List and Stream" {
  push a x/a:v1
  local id digest ref first
  id=$(pull "$REGISTRY/x/a:v1")
  ocistore tag "$id" short
  first=$(image "$id")
  digest=$(jq -r '.repo_digests[0]' <<<"$first")
  [[ $digest == $REGISTRY/x/a@sha256:* ]]
  [ "$(jq -c .repo_tags <<<"$first")" = "[\"$REGISTRY/x/a:v1\",\"docker.io/library/short:latest\"]" ]
  for ref in "$id" "${id#sha256:}" "${id:7:12}" "${id:0:20}" short short:latest docker.io/short library/short \
    "$REGISTRY/x/a:v1" "$digest" "$REGISTRY/x/a:v1@${digest#*@}" "$REGISTRY/x/a:other@${digest#*@}"; do
    [ "$(image "$ref")" = "$first" ]
    [ "$(cri ListImages "{\"filter\":$(spec "$ref")}" | jq -c '.images[]')" = "$first" ]
    [ "$(cri StreamImages "{\"filter\":$(spec "$ref")}" | jq -c '.images[]')" = "$first" ]
  done
  # Neither what the caller says beside it, nor for which handler, changes the answer.
  [ "$(cri ImageStatus "{\"image\":{\"image\":\"$id\",\"user_specified_image\":\"short\",\"runtime_handler\":\"runc\",\"annotations\":{\"a\":\"b\"}}}" | jq -c .image)" = "$first" ]
  for ref in none "$REGISTRY/x/a:v2" "${id:7:3}" "$(printf '0%.0s' {1..64})" "$REGISTRY/x/a@$id" 'Not A Ref'; do
    [ "$(image "$ref" .)" = '{}' ]
    [ "$(cri ListImages "{\"filter\":$(spec "$ref")}" | jq -c '.images')" = null ]
  done
}

@test "user, annotations, size, verbose: as the image's own files say" {
  get user0 user1 user2 user3 user4 user5 noted >/dev/null
  [ "$(for n in 0 1 2 3 4 5; do image "r.io/user$n:1"; done | jq -rs 'map((if .uid then .uid.value // 0 else "-" end | tostring) + "/" + (.username // "")) | join(" ")')" = \
    "1002/ -/www-data 1003/ -/www-data 0/ 0/" ]
  image r.io/noted:1 '.image.spec.annotations' | jq -e '. == {"org.example.a": "x", "z": ""}'
  image r.io/user0:1 '.image.spec' | jq -e 'has("annotations") | not'
  cri ImageStatus "$(jq -nc '{image: {image: "r.io/user0:1"}, verbose: true}')" | jq -r .info.info >"$CRISP_TMP/info"
  jq -e '.imageSpec.config.User == "1002" and .imageSpec.config.Env == ["A=1"] and .containers == [] and .pinnedBy == []' "$CRISP_TMP/info"
  [ "$(image r.io/noted:1 '.image.size | tonumber')" = "$(ocistore inspect r.io/noted:1 | jq .size)" ]
}

@test "retag by hand, re-pull of a moved tag: the old image loses the tag and keeps its digest name" {
  push a x/m:1
  local old new
  old=$(pull "$REGISTRY/x/m:1")
  push b x/m:1
  new=$(pull "$REGISTRY/x/m:1")
  [ "$old" != "$new" ]
  [ "$(image "$REGISTRY/x/m:1" .image.id)" = "\"$new\"" ]
  [ "$(image "$old" '.image | [.repo_tags, (.repo_digests | length)]')" = '[null,1]' ]
  [ "$(image "$(image "$old" '.image.repo_digests[0]' | jq -r .)" .image.id)" = "\"$old\"" ]
  ocistore tag "$old" "$REGISTRY/x/m:1"
  [ "$(image "$REGISTRY/x/m:1" .image.id)" = "\"$old\"" ]
  [ "$(image "$new" '.image.repo_tags')" = null ]
  ocistore untag "$REGISTRY/x/m:1"
  [ "$(tags)" = '[]' ]
  [ "$(cri ListImages | jq '.images | length')" = 2 ]
}

@test "RemoveImage: by any reference all names of the image go, at once; absent is success" {
  local ref id
  for ref in r.io/a:1 other "by id" "by short id"; do
    id=$(get a)
    get b >/dev/null
    ocistore tag "$id" other third.io/x:7
    [[ $ref == "by id" ]] && ref=$id
    [[ $ref == "by short id" ]] && ref=${id:7:12}
    [ "$(remove "$ref")" = '{}' ]
    [ "$(image "$id" .)$(image other .)$(image third.io/x:7 .)" = '{}{}{}' ]
    [ "$(tags)" = '["r.io/b:1"]' ]
    [ "$(remove "$ref")" = '{}' ]
    # The shared layer is there.
    [ "$(get a)" = "$id" ]
    cat "$ROOT"/layers/*/diff/base | wc -c | grep -q 3000
  done
}

@test "many removals of one image and of images that share layers, with pulls of them under way" {
  push a x/a:v1
  push b x/b:v1
  local i id pids=()
  for i in 1 2 3; do
    id=$(pull "$REGISTRY/x/a:v1")
    pull "$REGISTRY/x/b:v1"
    pids=()
    for _ in 1 2 3; do
      remove "$REGISTRY/x/a:v1" 3>&- & pids+=($!)
      remove "$id" 3>&- & pids+=($!)
      remove "$REGISTRY/x/b:v1" 3>&- & pids+=($!)
      pull "$REGISTRY/x/a:v1" 3>&- & pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    # Whatever remains is whole.
    for id in $(ocistore ls -q); do ocistore inspect "$id" | jq -e '.layers | all(.present)'; done
  done
  remove "$REGISTRY/x/a:v1"
  [ "$(tags)" = '[]' ]
}

@test "an image in use: gone from the lists, its container goes on; its layers go with the container" {
  local image pod ctr
  image=$(pull_image bb)
  pod=$(cri RunPodSandbox "{\"config\":$(pod_json used | jq -c .)}" | jq -r .pod_sandbox_id)
  ctr=$(cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$image" sleep 100)}" | jq -r .container_id)
  cri StartContainer "{\"container_id\":\"$ctr\"}"
  cri ImageStatus "$(jq -nc --arg i "$image" '{image: {image: $i}, verbose: true}')" | jq -r .info.info | jq -e --arg c "$ctr" '.containers == [$c]'
  run_err 5 ocistore rm "$image"
  remove "$image"
  [ "$(image "$image" .)" = '{}' ]
  cri ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"/bin/busybox\",\"true\"]}" | jq -e '(.exit_code // 0) == 0'
  [ "$(cri ContainerStatus "{\"container_id\":\"$ctr\"}" | jq -r .status.image_id)" = "$image" ]
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  ocistore gc >/dev/null
  [ -z "$(ls "$ROOT/layers")" ]
}

@test "pinned images: by the configuration's glob and by hand; refused by RemoveImage" {
  local p a
  p=$(get pinned)
  a=$(get a)
  [ "$(image "$p" .image.pinned)$(image "$a" .image.pinned)" = truenull ]
  ocistore pin r.io/a:1
  [ "$(image "$a" .image.pinned)" = true ]
  run_err 5 remove "$a"
  [[ $stderr == *"FAILED_PRECONDITION"*"pin: r.io/a:1"* ]]
  run_err 5 remove "$p"
  [[ $stderr == *"pinned_images: r.io/pinned:*"* ]]
  ocistore unpin r.io/a:1
  [ "$(image "$a" .image.pinned)" = null ]
  remove "$a"
  [ "$(image "$a" .)" = '{}' ]
}

@test "ImageFsInfo: bytes and inodes of layers, each once, from their records; nothing is walked" {
  get a b >/dev/null
  local layer
  for layer in "$ROOT"/layers/*; do
    jq -c '.usage = 1000000 | .inodes = 10' "$layer/layer.json" >"$CRISP_TMP/l" && cp "$CRISP_TMP/l" "$layer/layer.json"
  done
  ocistore rm --force --wait r.io/b:1 && get b # its records are read anew
  kill "$CRISPD_PID" && timeout 20 tail --pid="$CRISPD_PID" -f /dev/null
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
  cri ImageFsInfo >"$CRISP_TMP/fs"
  cat "$CRISP_TMP/fs"
  jq -e --arg r "$ROOT" '.image_filesystems[0] | .fs_id.mountpoint == $r + "/layers" and (.used_bytes.value | tonumber) >= 2000000
    and (.used_bytes.value | tonumber) < 3000001 and (.inodes_used.value | tonumber) >= 20' "$CRISP_TMP/fs"
  # The kubelet takes it for two file systems when the inodes differ.
  jq -e '.container_filesystems[0].inodes_used == .image_filesystems[0].inodes_used' "$CRISP_TMP/fs"
}

@test "what is done by hand shows at once, also when no event comes, and after the daemon was killed" {
  local a b
  a=$(get a)
  [ "$(tags)" = '["r.io/a:1"]' ]
  # Nobody tells: as another machine's tool, or one that was killed, would leave it.
  ln -s "../images/${a#sha256:}" "$ROOT/names/r.io%2fsilent:1"
  [ "$(tags)" = '["r.io/a:1","r.io/silent:1"]' ]
  rm "$ROOT/names/r.io%2fsilent:1"
  [ "$(tags)" = '["r.io/a:1"]' ]
  mkdir -p "$ROOT/pins" && touch "$ROOT/pins/r.io%2fa:1"
  [ "$(image "$a" .image.pinned)" = true ]
  rm "$ROOT/pins/r.io%2fa:1"
  kill -9 "$CRISPD_PID"
  timeout 20 tail --pid="$CRISPD_PID" -f /dev/null
  b=$(get b)
  ocistore tag "$b" while/away
  ocistore rm "$a"
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
  [ "$(tags)" = '["docker.io/while/away:latest","r.io/b:1"]' ]
  [ "$(image "$a" .)" = '{}' ]
}

@test "the daemon is killed in the middle of a removal: it is done, or can be done again" {
  local a i
  for i in 1 2 3; do
    a=$(get a)
    remove "$a" >/dev/null 2>&1 3>&- &
    kill -9 "$CRISPD_PID"
    timeout 20 tail --pid="$CRISPD_PID" -f /dev/null
    wait $! || true
    crispd_start
    echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
    remove "$a"
    [ "$(image "$a" .)" = '{}' ]
  done
}

@test "a damaged image does not hide the others; it can be removed" {
  local a
  a=$(get a)
  get b >/dev/null
  kill "$CRISPD_PID" && timeout 20 tail --pid="$CRISPD_PID" -f /dev/null
  echo garbage >"$ROOT/images/${a#sha256:}/image.json"
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
  [ "$(cri ListImages | jq '.images | length')" = 1 ]
  ocistore rm --wait "$a"
  [ ! -e "$ROOT/images/${a#sha256:}" ]
}

@test "a pull for a handler that nobody knows is refused, for a known one it is the same image" {
  push a x/h:1
  run_err 6 cri PullImage "{\"image\":{\"image\":\"$REGISTRY/x/h:1\",\"runtime_handler\":\"nosuch\"}}"
  [[ $stderr == *nosuch* ]]
  local id
  id=$(cri PullImage "{\"image\":{\"image\":\"$REGISTRY/x/h:1\",\"runtime_handler\":\"runc\"}}" | jq -r .image_ref)
  [ "$(pull "$REGISTRY/x/h:1")" = "$id" ]
}
