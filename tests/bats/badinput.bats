#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Bad input, each kind twice: at the tool and at the socket. One clear error, the right exit status and gRPC code, and
# nothing left behind: the world is the same before and after.
load ../lib/helpers
load ../lib/crispd
GROUPS_OF_FILE=/crisp-test/bad-
load ../lib/world

setup_file() {
  requires root runc
  crisp_file_setup
  crisp_registry
  # A clock that hung tools run into soon, and that real ones never do.
  jq '.default_runtime = "runc" | .runtime_timeout = 4 | .network_timeout = 4' "$CRISP_CONFIG" >"$CRISP_CONFIG.new" &&
    mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"
  cat >"$CRISP_TMP/fake" <<'SH'
#!/bin/bash
for verb; do case $verb in create | start | kill | delete | exec) break ;; esac; done
how=$(cat "$(dirname "$0")/fake.$verb" 2>/dev/null)
[ -z "$how" ] || eval "$how"
exec runc "$@"
SH
  chmod +x "$CRISP_TMP/fake"
  echo "{ \"path\": \"$CRISP_TMP/fake\" }" >"$CRISP_TMP/etc/handlers.d/fake.json"
  make_image bb
  IMAGE=$(ocipull "$REGISTRY/bb")
  export IMAGE
  crispd_start
  # What it asks the runtimes at its start is no part of the world.
  wait_for 10 test -e "$RUNROOT/handlers/fake.json" -a -e "$RUNROOT/handlers/runc.json"
}
teardown_file() { crisp_file_teardown; }
setup() {
  NETD=$CRISP_TMP/etc/net.d
  world_saved
}
teardown() {
  local dir
  rm -f "$CRISP_TMP"/fake.* "$NETD/00-bad.conflist"
  for dir in "$ROOT"/containers/*/; do [ ! -d "$dir" ] || { ctrrun rm --force "$(basename "$dir")" && ocibundle rm "$(basename "$dir")"; }; done
  for dir in "$ROOT"/pods/*/; do [ ! -d "$dir" ] || podnet rm "$(basename "$dir")"; done
  # The pods' own groups go with them.
  [ -z "$(find /sys/fs/cgroup -type d -path '*/crisp-test/bad-*' -not -path '*/unified/*' 2>/dev/null)" ]
}

cri() { timeout 100 cricall --socket "$SOCK" "$@"; }

# at_tool STATUS TEXT CMD...: that exit status, nothing on stdout, one line on stderr with TEXT in it
at_tool() {
  local want=$1 text=$2
  shift 2
  run_err "$want" "$@"
  [[ $stderr == *"$text"* ]]
  # Mostly there is but one line.
  if [[ $stderr == *$'\n'* || $stderr =~ ^[a-z]*:\ (warning|info) ]]; then
    [ "$(grep -cv '^[a-z]*: \(warning\|info\)' <<<"$stderr")" = 1 ]
  fi
}
# at_socket CODE TEXT METHOD REQUEST: that gRPC code, one line with TEXT in it
at_socket() {
  local code=$1 text=$2
  shift 2
  run_err '!' cri "$@"
  [[ $stderr == *"$code: "*"$text"* ]]
  [[ $stderr != *$'\n'* ]]
}

run_pod() { # NAME [HANDLER]
  cri RunPodSandbox "{\"config\":$(pod_json "$1"),\"runtime_handler\":\"${2:-}\"}" | jq -r .pod_sandbox_id
}
create_request() { # POD NAME IMAGE CMD...
  local pod=$1
  shift
  printf '{"pod_sandbox_id":"%s","config":%s}' "$pod" "$(ctr_json "$@")"
}
create_ctr() { cri CreateContainer "$(create_request "$@")" | jq -r .container_id; }
remove_pod() { cri RemovePodSandbox "{\"pod_sandbox_id\":\"$1\"}"; }
ctr_status() { cri ContainerStatus "{\"container_id\":\"$1\"}" | jq -c .status; }
pull_request() { echo "{\"image\":{\"image\":\"$1\"}}"; }
NONE=0000000000000000000000000000000000000000000000000000000000000000

@test "unknown image" {
  local pod
  pod=$(run_pod bad-image)
  at_tool 3 "$REGISTRY/nosuch:latest" ocipull "$REGISTRY/nosuch"
  at_tool 3 "$REGISTRY/bb:nosuch" ocipull "$REGISTRY/bb:nosuch"
  at_tool 3 "no.such.host/none:1" ocibundle create "$pod" - <<<"$(ctr_json c no.such.host/none:1 true)"
  at_tool 3 "no.such.host/none" ocistore inspect no.such.host/none:1
  at_socket NOT_FOUND "$REGISTRY/nosuch:latest" PullImage "$(pull_request "$REGISTRY/nosuch")"
  at_socket NOT_FOUND "no.such.host/none:1" CreateContainer "$(create_request "$pod" c no.such.host/none:1 true)"
  # What the kubelet asks before it pulls is no error.
  [ "$(cri ImageStatus "$(pull_request no.such.host/none:1)")" = '{}' ]
  remove_pod "$pod"
  nothing_left
}

# spoil NAME CMD...: an image in the registry whose layer CMD changes on the registry's disk ($blob)
spoil() {
  local name=$1 digest
  shift
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:bb" "docker://$REGISTRY/$name:1"
  digest=$(skopeo inspect --tls-verify=false "docker://$REGISTRY/$name:1" | jq -r '.Layers[0]')
  blob=$CRISP_TMP/registry/docker/registry/v2/blobs/sha256/${digest:7:2}/${digest#sha256:}/data
  cp "$blob" "$BATS_TEST_TMPDIR/good"
  "$@"
}
# The bytes of a removed image go behind the answer.
all_removed() { [ -z "$(find "$ROOT/tmp" -name 'trash-*')" ]; }
spoilt_pull() { # NAME TEXT; neither has the layer, so that it is asked for
  cri RemoveImage "$(pull_request "$IMAGE")"
  wait_for 10 all_removed
  world_saved
  at_tool 6 "$2" ocipull "$REGISTRY/$1:1"
  at_socket INVALID_ARGUMENT "$2" PullImage "$(pull_request "$REGISTRY/$1:1")"
  [ "$(cri ImageStatus "$(pull_request "$REGISTRY/$1:1")")" = '{}' ]
  nothing_left
  cp "$BATS_TEST_TMPDIR/good" "$blob"
  cri PullImage "$(pull_request "$REGISTRY/bb")"
}

@test "digest mismatch" {
  overwrite() { printf XXXX | dd of="$blob" bs=1 seek=5000 conv=notrunc status=none; }
  spoil rot overwrite
  spoilt_pull rot "digest mismatch: expected sha256:"
}

@test "truncated layer" {
  cut_off() { truncate -s 5000 "$blob"; }
  spoil short cut_off
  spoilt_pull short "size mismatch: expected"
}

@test "a layer whose digest is right and whose gzip stream is cut" {
  PYTHONPATH=$BATS_TEST_DIRNAME/../lib PYTHONDONTWRITEBYTECODE=1 python3 - "$CRISP_TMP/cut" <<'PY'
import os, sys
from oci_layout import *
o = Layout(sys.argv[1])
raw = layer(entry('f', data=os.urandom(100000)))
d = o.blob(gzip.compress(raw)[:-5000], LAYER + '+gzip')
c = o.blob({'architecture': 'amd64', 'os': 'linux', 'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(raw).hexdigest()]}}, CONFIG)
o.name(o.blob({'schemaVersion': 2, 'mediaType': MANIFEST, 'config': c, 'layers': [d]}, MANIFEST), 'v1')
PY
  skopeo copy -q --preserve-digests --dest-tls-verify=false "oci:$CRISP_TMP/cut:v1" "docker://$REGISTRY/cut:1"
  at_tool 6 "ends too early" ocipull "$REGISTRY/cut:1"
  at_socket INVALID_ARGUMENT "ends too early" PullImage "$(pull_request "$REGISTRY/cut:1")"
  nothing_left
}

@test "malformed JSON" {
  local pod
  pod=$(run_pod bad-json)
  world_saved
  local text json
  while IFS='|' read -r text json; do
    at_tool 6 "$text" podnet create - <<<"$json"
    at_tool 6 "$text" ocibundle create "$pod" - <<<"$json"
  done <<'CASES'
standard input:|{
standard input:1:|garbage
expected object|[]
metadata.name: expected string|{"metadata":{"name":7}}
metadata.nosuch|{"metadata":{"nosuch":1}}
duplicate|{"metadata":{},"metadata":{}}
metadata.attempt|{"metadata":{"name":"x","attempt":4294967296}}
metadata.attempt|{"metadata":{"name":"x","attempt":-1}}
CASES
  # A client's mistake does not reach the socket.
  at_tool 6 "RunPodSandbox" cri RunPodSandbox '{"config":{"metadata":{"name":7}}}'
  nothing_left
  remove_pod "$pod"
}

@test "malformed protobuf: every method says so, and its name" {
  run py crispd_case.py "$SOCK" malformed
  echo "$output"
  [ "$status" = 0 ]
  nothing_left
}

@test "unknown handler" {
  at_tool 6 "unknown runtime handler 'nosuch'" podnet create --handler nosuch - <<<"$(pod_json bad-handler)"
  at_tool 6 "unknown runtime handler" podnet create --handler ../../etc/passwd - <<<"$(pod_json bad-handler)"
  at_socket INVALID_ARGUMENT "unknown runtime handler 'nosuch'" RunPodSandbox "{\"config\":$(pod_json bad-handler),\"runtime_handler\":\"nosuch\"}"
  at_socket INVALID_ARGUMENT "unknown runtime handler" RunPodSandbox "{\"config\":$(pod_json bad-handler),\"runtime_handler\":\"../../etc/passwd\"}"
  nothing_left
}

# bad_plugin SCRIPT: the first network is a chain of the real bridge and this plugin
bad_plugin() {
  { echo '#!/bin/bash'; cat; } >"$CRISP_TMP/plugins/bad"
  chmod +x "$CRISP_TMP/plugins/bad"
  jq '.name += "-bad" | .plugins |= [.[0], { type: "bad" }]' "$NETD/10-test.conflist" >"$NETD/00-bad.conflist"
}

@test "a CNI plugin that fails: what the plugins before it made is undone" {
  bad_plugin <<'SH'
[ "$CNI_COMMAND" = ADD ] || exit 0
echo '{ "cniVersion": "0.4.0", "code": 101, "msg": "no route", "details": "to the moon" }'
exit 1
SH
  at_tool 1 "plugin 'bad' ADD: no route: to the moon (code 101)" podnet create - <<<"$(pod_json bad-cni)"
  nothing_left
  at_socket INTERNAL "plugin 'bad' ADD: no route: to the moon (code 101)" RunPodSandbox "{\"config\":$(pod_json bad-cni)}"
  nothing_left
  rm "$NETD/00-bad.conflist" "$CRISP_TMP/plugins/bad"
  remove_pod "$(run_pod bad-cni)"
}

@test "a CNI plugin that hangs: it ends by the clock, with what it started" {
  bad_plugin <<'SH'
[ "$CNI_COMMAND" = ADD ] || exit 0
trap '' TERM
sleep 98760 & sleep 98760
SH
  at_tool 124 "no exit within 4000 ms" podnet create - <<<"$(pod_json bad-cni)"
  run ! pgrep -f 'sleep 98760'
  nothing_left
  at_socket DEADLINE_EXCEEDED "no exit within 4000 ms" RunPodSandbox "{\"config\":$(pod_json bad-cni)}"
  run ! pgrep -f 'sleep 98760'
  nothing_left
  rm "$NETD/00-bad.conflist" "$CRISP_TMP/plugins/bad"
}

# By hand: a container of the pod, prepared; its id is in $CTR
prepare() { CTR=$(ctr_json "$2" "$IMAGE" "${@:3}" | ocibundle create "$1" -); }

@test "a runtime that fails" {
  local pod ctr
  pod=$(run_pod bad-runtime fake)
  world_saved
  prepare "$pod" hand sleep 1000
  echo 'echo "the runtime has no mood" >&2; exit 1' >"$CRISP_TMP/fake.create"
  at_tool 1 "create $CTR: the runtime has no mood" ctrrun create "$CTR"
  [ "$(ctrrun state "$CTR" | jq -r .status)" = prepared ]
  ocibundle rm "$CTR"
  nothing_left
  # The CRI's client hears of it by StartContainer, and by the container's status.
  ctr=$(create_ctr "$pod" refused "$IMAGE" sleep 1000)
  at_socket INTERNAL "the runtime has no mood" StartContainer "{\"container_id\":\"$ctr\"}"
  ctr_status "$ctr" | jq -e '.state == "CONTAINER_EXITED" and .reason == "StartError" and .exit_code == 128 and .message == "the runtime has no mood"'
  cri RemoveContainer "{\"container_id\":\"$ctr\"}"
  nothing_left
  rm "$CRISP_TMP/fake.create"
  echo 'echo "cannot start today" >&2; exit 1' >"$CRISP_TMP/fake.start"
  prepare "$pod" hand sleep 1000
  ctrrun create "$CTR"
  at_tool 1 "start $CTR: cannot start today" ctrrun start "$CTR"
  ctrrun state "$CTR" | jq -e '.status == "exited" and .exit.exit_code == 128 and .exit.reason == "StartError" and .exit.message == "cannot start today"'
  ctrrun rm "$CTR" && ocibundle rm "$CTR"
  ctr=$(create_ctr "$pod" nostart "$IMAGE" sleep 1000)
  at_socket INTERNAL "cannot start today" StartContainer "{\"container_id\":\"$ctr\"}"
  ctr_status "$ctr" | jq -e '.state == "CONTAINER_EXITED" and .reason == "StartError" and .exit_code == 128 and .message == "cannot start today"'
  cri RemoveContainer "{\"container_id\":\"$ctr\"}"
  nothing_left
  remove_pod "$pod"
}

@test "a runtime that hangs" {
  local pod ctr
  pod=$(run_pod bad-hang fake)
  world_saved
  echo 'trap "" TERM; sleep 98759 & sleep 98759' | tee "$CRISP_TMP/fake.create" >"$CRISP_TMP/fake.start"
  prepare "$pod" hand sleep 1000
  at_tool 124 "did not end within 4 s" ctrrun create "$CTR"
  ocibundle rm "$CTR"
  at_socket DEADLINE_EXCEEDED "did not end within 4 s" CreateContainer "$(create_request "$pod" hung "$IMAGE" sleep 1000)"
  run ! pgrep -f 'sleep 98759'
  nothing_left
  rm "$CRISP_TMP/fake.create"
  ctr=$(create_ctr "$pod" hung "$IMAGE" sleep 1000)
  at_socket DEADLINE_EXCEEDED "no exit within 4000 ms" StartContainer "{\"container_id\":\"$ctr\"}"
  ctr_status "$ctr" | jq -e '.state == "CONTAINER_EXITED" and .reason == "StartError" and .exit_code == 128'
  run ! pgrep -f 'sleep 98759'
  cri RemoveContainer "{\"container_id\":\"$ctr\"}"
  nothing_left
  remove_pod "$pod"
}

@test "a container command that does not exist: StartError, its message, 128" {
  local pod ctr command
  pod=$(run_pod bad-command)
  world_saved
  for command in /no/such/program no-such-program /etc/passwd /etc; do
    prepare "$pod" hand "$command"
    at_tool 1 "$command" ctrrun create "$CTR"
    ctrrun create --defer-errors "$CTR"
    at_tool 1 "$command" ctrrun start "$CTR"
    ctrrun state "$CTR" | jq -e --arg c "$command" '.exit | .exit_code == 128 and .reason == "StartError" and (.message | contains($c))'
    ctrrun rm "$CTR" && ocibundle rm "$CTR"
    ctr=$(create_ctr "$pod" none "$IMAGE" "$command")
    at_socket INTERNAL "$command" StartContainer "{\"container_id\":\"$ctr\"}"
    ctr_status "$ctr" | jq -e --arg c "$command" '.state == "CONTAINER_EXITED" and .reason == "StartError" and .exit_code == 128
      and (.message | contains($c)) and .finished_at > 0'
    at_socket FAILED_PRECONDITION "$ctr" StartContainer "{\"container_id\":\"$ctr\"}"
    cri StopContainer "{\"container_id\":\"$ctr\"}"
    cri RemoveContainer "{\"container_id\":\"$ctr\"}"
    nothing_left
  done
  remove_pod "$pod"
}

@test "a name clash names who has it" {
  local pod ctr
  pod=$(run_pod bad-clash)
  ctr=$(create_ctr "$pod" c "$IMAGE" sleep 1000)
  world_saved
  at_tool 4 "$pod" podnet create - <<<"$(pod_json bad-clash)"
  at_tool 4 "$ctr" ocibundle create "$pod" - <<<"$(ctr_json c "$IMAGE" sleep 1000)"
  at_socket ALREADY_EXISTS "$pod" RunPodSandbox "{\"config\":$(pod_json bad-clash | jq -c '.labels = { other: "1" }')}"
  at_socket ALREADY_EXISTS "$ctr" CreateContainer "$(create_request "$pod" c "$IMAGE" sleep 7)"
  nothing_left
  # The same configuration again is no clash but a repetition.
  [ "$(run_pod bad-clash)" = "$pod" ]
  [ "$(create_ctr "$pod" c "$IMAGE" sleep 1000)" = "$ctr" ]
  nothing_left
  remove_pod "$pod"
}

@test "unknown ids: stop and remove succeed, the rest is not found" {
  local rpc
  podnet stop "$NONE" && podnet rm "$NONE" && ctrrun stop "$NONE" && ctrrun rm "$NONE" && ocibundle rm "$NONE" && ocistore rm "sha256:$NONE"
  at_tool 3 "$NONE" podnet status "$NONE"
  at_tool 3 "$NONE" ocibundle show "$NONE"
  at_tool 3 "$NONE" ocibundle create "$NONE" - <<<"$(ctr_json c "$IMAGE" true)"
  for verb in create start state reopen; do at_tool 3 "$NONE" ctrrun $verb "$NONE"; done
  at_tool 3 "$NONE" ctrrun kill "$NONE" TERM
  at_tool 125 "$NONE" ctrrun exec "$NONE" true
  for rpc in StopPodSandbox RemovePodSandbox; do [ "$(cri $rpc "{\"pod_sandbox_id\":\"$NONE\"}")" = '{}' ]; done
  for rpc in StopContainer RemoveContainer; do [ "$(cri $rpc "{\"container_id\":\"$NONE\"}")" = '{}' ]; done
  [ "$(cri RemoveImage "$(pull_request "sha256:$NONE")")" = '{}' ]
  at_socket NOT_FOUND "$NONE" PodSandboxStatus "{\"pod_sandbox_id\":\"$NONE\"}"
  at_socket NOT_FOUND "$NONE" CreateContainer "$(create_request "$NONE" c "$IMAGE" true)"
  at_socket NOT_FOUND "$NONE" ExecSync "{\"container_id\":\"$NONE\",\"cmd\":[\"true\"]}"
  for rpc in ContainerStatus StartContainer ReopenContainerLog ContainerStats; do
    at_socket NOT_FOUND "$NONE" $rpc "{\"container_id\":\"$NONE\"}"
  done
  nothing_left
}

@test "wrong state" {
  local pod ctr
  pod=$(run_pod bad-state)
  prepare "$pod" hand sleep 1000
  at_tool 5 "is prepared, not created" ctrrun start "$CTR"
  at_tool 125 "is prepared, not running" ctrrun exec "$CTR" true
  at_tool 5 "is prepared, not running" ctrrun kill "$CTR" TERM
  ctrrun create "$CTR"
  at_tool 5 "is created, not prepared" ctrrun create "$CTR"
  at_tool 5 "is created: stop it first" ocibundle rm "$CTR"
  ctrrun start "$CTR"
  at_tool 5 "is running, not created" ctrrun start "$CTR"
  at_tool 5 "is running" ctrrun rm "$CTR"
  at_tool 5 "is running: stop it first" ocibundle rm "$CTR"
  at_tool 5 "container $CTR is still there" podnet rm "$pod"
  ctrrun stop --timeout 0 "$CTR"
  at_tool 5 "is exited, not created" ctrrun start "$CTR"
  ctrrun rm "$CTR" && ocibundle rm "$CTR"
  ctr=$(create_ctr "$pod" c "$IMAGE" sleep 1000)
  at_socket FAILED_PRECONDITION "is not running" ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"true\"]}"
  at_socket FAILED_PRECONDITION "is not running" ReopenContainerLog "{\"container_id\":\"$ctr\"}"
  cri StartContainer "{\"container_id\":\"$ctr\"}"
  at_socket FAILED_PRECONDITION "it is running" StartContainer "{\"container_id\":\"$ctr\"}"
  cri StopContainer "{\"container_id\":\"$ctr\"}"
  at_socket FAILED_PRECONDITION "it is exited" StartContainer "{\"container_id\":\"$ctr\"}"
  cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  at_tool 5 "is not ready" ocibundle create "$pod" - <<<"$(ctr_json d "$IMAGE" true)"
  at_socket FAILED_PRECONDITION "is not ready" CreateContainer "$(create_request "$pod" d "$IMAGE" true)"
  remove_pod "$pod"
  nothing_left
}

@test "an oversize message" {
  local pod big=$BATS_TEST_TMPDIR/big.json
  pod_json bad-big | jq -c '.annotations = { big: ("x" * 17000000) }' >"$big"
  # More than the records' readers take, so that none is made.
  at_tool 9 "more than 16777216" podnet create "$big"
  ctr_json c "$IMAGE" true | jq -c '.annotations = { big: ("x" * 17000000) }' >"$big.ctr"
  pod=$(run_pod bad-big)
  at_tool 9 "more than 16777216" ocibundle create "$pod" "$big.ctr"
  # It fits into a message, and is larger as JSON.
  jq -c --arg p "$pod" '.annotations = { big: ("\u0001" * 4000000) } | { pod_sandbox_id: $p, config: . }' <<<"$(ctr_json c "$IMAGE" true)" >"$big.escaped"
  at_socket RESOURCE_EXHAUSTED "more than 16777216" CreateContainer "$big.escaped"
  remove_pod "$pod"
  jq -c '{ config: . }' "$big" >"$big.request"
  at_socket RESOURCE_EXHAUSTED "larger than 16777216" RunPodSandbox "$big.request" ||
    at_socket RESOURCE_EXHAUSTED "larger than 16777216" --max-message 67108864 RunPodSandbox "$big.request"
  nothing_left
}

@test "HTTP/2 garbage: the daemon serves on, and keeps no descriptor" {
  local case fds
  # What waits for its step would end some time: a reload ends it now.
  kill -HUP "$CRISPD_PID"
  childless() { ! pgrep -P "$CRISPD_PID" >/dev/null; }
  wait_for 15 grep -q 'reload: ' "$CRISPD_LOG"
  wait_for 15 childless
  fds=$(ls "/proc/$CRISPD_PID/fd" | wc -l)
  for case in http1 garbage truncated bad_messages; do
    run py h2_raw.py "$SOCK" $case
    echo "$output"
    [ "$status" = 0 ]
    cri Version
  done
  same_fds() { [ "$(ls "/proc/$CRISPD_PID/fd" | wc -l)" = "$fds" ]; }
  wait_for 15 same_fds
  nothing_left
}

@test "a creation whose client gave up: the retry returns the same object" {
  bad_plugin <<'SH'
[ "$CNI_COMMAND" = ADD ] && sleep 1.5
jq .prevResult
SH
  echo 'sleep 1.5' >"$CRISP_TMP/fake.create"
  run py crispd_case.py "$SOCK" gave_up fake "$ROOT"
  echo "$output"
  [ "$status" = 0 ]
  rm "$NETD/00-bad.conflist" "$CRISP_TMP/plugins/bad"
  nothing_left
}

@test "a pod that goes while a container of it is in the making takes it along" {
  run py crispd_case.py "$SOCK" pod_goes_meanwhile fake "$CRISP_TMP/fake.create"
  echo "$output"
  [ "$status" = 0 ]
  nothing_left
}

@test "two equal creations at once make one, of many clients" {
  local i pod
  for i in 1 2 3 4 5; do run_pod bad-twice >"$BATS_TEST_TMPDIR/pod.$i" 3>&- & done
  wait
  [ "$(sort -u "$BATS_TEST_TMPDIR"/pod.* | wc -l)" = 1 ]
  pod=$(cat "$BATS_TEST_TMPDIR/pod.1")
  [ "$(ls "$ROOT/pods")" = "$pod" ]
  for i in 1 2 3 4 5; do create_ctr "$pod" c "$IMAGE" sleep 1000 >"$BATS_TEST_TMPDIR/ctr.$i" 3>&- & done
  wait
  [ "$(sort -u "$BATS_TEST_TMPDIR"/ctr.* | wc -l)" = 1 ]
  [ "$(ls "$ROOT/containers")" = "$(cat "$BATS_TEST_TMPDIR/ctr.1")" ]
  remove_pod "$pod"
  nothing_left
}
