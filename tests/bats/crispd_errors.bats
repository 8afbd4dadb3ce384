#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What crispd says when something is wrong: with a request, with a tool, with a registry. Tools that fail in ways in
# which the real ones never do are small scripts in a directory of their own (tools_dir).
load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  crisp_registry
  jq '.default_runtime = "runc"' "$CRISP_CONFIG" >"$CRISP_CONFIG.new" && mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"
  make_image bb
  IMAGE=$(ocipull "oci:$CRISP_TMP/oci:bb")
  export IMAGE
  crispd_start
}
teardown_file() { crisp_file_teardown; }
setup() {
  requires root runc
  FAKE=
}

# A daemon of its own, whose tools are what the test puts into $FAKE over the real ones.
fake_daemon() {
  FAKE=$(mktemp -d "$CRISP_TMP/fake.XXXXXX")
  mkdir "$FAKE/tools"
  ln -s "$BUILD"/bin/* "$FAKE/tools/"
  jq --arg d "$FAKE" '.tools_dir = $d + "/tools" | .root = $d + "/root" | .runroot = $d + "/run"' "$CRISP_CONFIG" >"$FAKE/crisp.json"
  fake_start
}
fake_start() {
  env -u CRISP_CONFIG "$BUILD/bin/crispd" --config "$FAKE/crisp.json" --log-level debug >>"$FAKE/log" 2>&1 3>&- &
  FAKE_PID=$!
  SOCK=$FAKE/run/crisp.sock wait_for 10 crispd_ready
}
# tool NAME <<script: sh
tool() {
  rm -f "$FAKE/tools/$1"
  { echo '#!/bin/sh'; cat; } >"$FAKE/tools/$1"
  chmod +x "$FAKE/tools/$1"
}
fcri() { timeout 100 cricall --socket "$FAKE/run/crisp.sock" "$@"; }
fcase() { run_case "$FAKE/run/crisp.sock" "$@"; }
run_case() {
  run py crispd_case.py "$@"
  echo "$output"
  [ "$status" = 0 ]
}
teardown() {
  local id
  [ -n "$FAKE" ] || return 0
  kill "$FAKE_PID" 2>/dev/null && timeout 20 tail --pid="$FAKE_PID" -f /dev/null
  for id in "$FAKE"/root/pods/*; do
    [ ! -d "$id" ] || "$BUILD/bin/podnet" --config "$FAKE/crisp.json" rm "${id##*/}"
  done
}

cri() { timeout 100 cricall --socket "$SOCK" "$@"; }
NONE=0000000000000000000000000000000000000000000000000000000000000000

@test "unknown ids: stop and remove succeed, the rest is NOT_FOUND" {
  local rpc
  for rpc in StopPodSandbox RemovePodSandbox; do cri $rpc "{\"pod_sandbox_id\":\"$NONE\"}"; done
  for rpc in StopContainer RemoveContainer; do cri $rpc "{\"container_id\":\"$NONE\"}"; done
  cri RemoveImage '{"image":{"image":"no.such.host/none:1"}}'
  for rpc in StopPodSandbox RemovePodSandbox; do cri $rpc '{"pod_sandbox_id":"../../etc"}'; done
  run_err 3 cri PodSandboxStatus "{\"pod_sandbox_id\":\"$NONE\"}"
  for rpc in ContainerStatus StartContainer ContainerStats ReopenContainerLog; do
    run_err 3 cri $rpc "{\"container_id\":\"$NONE\"}"
    [[ $stderr == *"$NONE"* ]]
  done
  run_err 3 cri ExecSync "{\"container_id\":\"$NONE\",\"cmd\":[\"true\"]}"
  run_err 3 cri CreateContainer "{\"pod_sandbox_id\":\"$NONE\",\"config\":$(ctr_json c "$IMAGE" true)}"
  run_err 3 cri ContainerStatus '{"container_id":""}'
}

@test "requests that make no sense are INVALID_ARGUMENT" {
  run_err 6 cri RunPodSandbox '{}'
  run_err 6 cri RunPodSandbox '{"config":{"metadata":{"namespace":"n"}}}'
  run_err 6 cri RunPodSandbox "{\"config\":$(pod_json bad),\"runtime_handler\":\"nosuch\"}"
  [[ $stderr == *nosuch* ]]
  run_err 6 cri PullImage '{}'
  run_err 6 cri PullImage '{"image":{"image":"UPPER/Case"}}'
  run_err 6 cri ImageStatus '{}'
  run_err 6 cri RemoveImage '{}'
  [ -z "$(ls "$ROOT/pods")" ]
}

@test "wrong states are FAILED_PRECONDITION" {
  pod=$(cri RunPodSandbox "{\"config\":$(pod_json states)}" | jq -r .pod_sandbox_id)
  ctr=$(cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" sleep 1000)}" | jq -r .container_id)
  run_err 6 cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":{\"image\":{\"image\":\"$IMAGE\"}}}"
  run_err 3 cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json d no.such.host/none:1 sleep 1000)}"
  run_err 5 cri ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"true\"]}"
  run_err 5 cri ReopenContainerLog "{\"container_id\":\"$ctr\"}"
  cri StartContainer "{\"container_id\":\"$ctr\"}"
  run_err 5 cri StartContainer "{\"container_id\":\"$ctr\"}"
  cri StopContainer "{\"container_id\":\"$ctr\"}"
  run_err 5 cri StartContainer "{\"container_id\":\"$ctr\"}"
  run_err 5 cri ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"true\"]}"
  cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  run_err 5 cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json e "$IMAGE" sleep 1000)}"
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  # The failed creation left nothing.
  [ -z "$(ls "$ROOT/containers")" ]
}

# fake_error KIND EXIT TEXT: podnet fails that way, and TEXT is in what the client sees
fake_error() {
  tool podnet <<EOF
echo '{"time":"t","level":"warning","prog":"podnet","msg":"on the way"}' >&2
echo '{"time":"t","level":"error","prog":"podnet","code":"$1","msg":"it was $1"}' >&2
exit $2
EOF
  run --separate-stderr fcri RunPodSandbox "{\"config\":$(pod_json x)}"
  echo "$1: $status $stderr"
  [ "$status" != 0 ] && [[ $stderr == *"$3"* ]]
}
@test "a tool's exit status and message become the call's" {
  fake_daemon
  fake_error FAILED 1 "INTERNAL: it was FAILED"
  fake_error NOT_FOUND 3 "NOT_FOUND: it was NOT_FOUND"
  fake_error EXISTS 4 "ALREADY_EXISTS: it was EXISTS"
  fake_error BAD_STATE 5 "FAILED_PRECONDITION: it was BAD_STATE"
  fake_error BAD_INPUT 6 "INVALID_ARGUMENT: it was BAD_INPUT"
  fake_error DENIED 7 "PERMISSION_DENIED: it was DENIED"
  fake_error UNAVAILABLE 8 "UNAVAILABLE: it was UNAVAILABLE"
  fake_error EXHAUSTED 9 "RESOURCE_EXHAUSTED: it was EXHAUSTED"
  fake_error UNSUPPORTED 10 "UNIMPLEMENTED: it was UNSUPPORTED"
  fake_error RRO 14 "UNKNOWN: RROUnsupported: it was RRO"
  fake_error IMAGE_VOLUME 15 "UNKNOWN: ImageVolumeMountFailed: it was IMAGE_VOLUME"
  fake_error TIMEOUT 124 "DEADLINE_EXCEEDED: it was TIMEOUT"
  grep -q 'podnet: on the way' "$FAKE/log"
  grep -q 'RunPodSandbox pod .*podnet exit=124 .*it was TIMEOUT' "$FAKE/log"
}

@test "a tool that dies, says nothing, says garbage or is not there" {
  fake_daemon
  tool podnet <<<'kill -9 $$'
  run_err 1 fcri RunPodSandbox "{\"config\":$(pod_json x)}"
  [[ $stderr == *"podnet was killed by signal 9"* ]]
  tool podnet <<<'exit 5'
  run_err 5 fcri RunPodSandbox "{\"config\":$(pod_json x)}"
  [[ $stderr == *"podnet failed with exit status 5"* ]]
  tool podnet <<<'head -c 300000 /dev/urandom >&2; head -c 3000000 /dev/zero; exit 1'
  run_err 1 fcri RunPodSandbox "{\"config\":$(pod_json x)}"
  rm "$FAKE/tools/podnet"
  run --separate-stderr fcri RunPodSandbox "{\"config\":$(pod_json x)}"
  [ "$status" != 0 ]
  [[ $stderr == *"exec $FAKE/tools/podnet"* ]]
  kill -0 "$FAKE_PID"
  [ "$(fcri ListPodSandbox | jq -c .items)" = null ]
}

@test "a creation outlives the client's deadline, and the retry gets it" {
  fake_daemon
  tool podnet <<EOF
case \$* in *create*) echo x >>$FAKE/creations; sleep 1.5 ;; esac
exec $BUILD/bin/podnet "\$@"
EOF
  fcase outlives_deadline
  [ "$(wc -l <"$FAKE/creations")" = 1 ]
}

@test "SIGTERM while a tool works: it finishes, and what it made is there" {
  fake_daemon
  tool podnet <<EOF
case \$* in *create*) : >$FAKE/begun; sleep 7; echo still here >&2 || exit 1 ;; esac
exec $BUILD/bin/podnet "\$@"
EOF
  fcri RunPodSandbox "{\"config\":$(pod_json term)}" >/dev/null 2>&1 3>&- &
  wait_for 5 test -e "$FAKE/begun"
  kill "$FAKE_PID"
  timeout 20 tail --pid="$FAKE_PID" -f /dev/null
  fake_start
  is_there() { fcri ListPodSandbox | jq -e '.items | length == 1'; }
  # It outlived the daemon that would have noticed its end, and tells the new one.
  wait_for 10 is_there
  id=$(ls "$FAKE/root/pods")
  [ "$(fcri RunPodSandbox "{\"config\":$(pod_json term)}" | jq -r .pod_sandbox_id)" = "$id" ]
}

@test "sixteen tools at once, removals before creations" {
  fake_daemon
  mkdir "$FAKE/now"
  tool podnet <<EOF
case \$* in *create*)
  : >$FAKE/now/\$\$
  ls $FAKE/now | wc -l >>$FAKE/most
  [ ! -e $FAKE/slow ] || sleep 1.5
  rm $FAKE/now/\$\$ ;;
esac
exec $BUILD/bin/podnet "\$@"
EOF
  fcase bounded "$FAKE"
}

@test "Status names what is stuck, and a pull that is under way" {
  local pod
  fake_daemon
  # It begins with jobs of its own.
  idle() { fcri Status '{"verbose":true}' | jq -e '(.status.conditions | map(select(.type == "CrispHasNoStuckSteps")) | .[0].status == true) and .info.jobs == "[]"'; }
  wait_for 20 idle
  tool podnet <<<"case \$* in *create*) exec sleep 1000 ;; esac; exec $BUILD/bin/podnet \"\$@\""
  tool ocipull <<<'exec sleep 1000'
  fcri RunPodSandbox "{\"config\":$(pod_json stuck)}" 3>&- &
  pod=$!
  fcri PullImage '{"image":{"image":"registry.example/x:1"}}' 3>&- &
  wait_for 5 sh -c "timeout 5 cricall --socket $FAKE/run/crisp.sock Status '{\"verbose\":true}' | jq -e '.info.jobs | fromjson | map(.tool) | sort == [\"ocipull\",\"podnet\"]'"
  fcri Status '{"verbose":true}' | jq -e '.info.jobs | fromjson | any(.what == "pull registry.example/x:1") and all(.stuck | not)'
  fcri Status '{"verbose":true}' | jq -e --arg k "$(uname -r)" '(.info.versions | fromjson | .kernel == $k and .crisp != "") and (.info.config | fromjson | has("root"))'
  fcri Status | jq -e '.status.conditions[2].status == true'
  sleep 30
  is_stuck() { fcri Status | jq -e '.status.conditions | any(.type == "CrispHasNoStuckSteps" and (.status | not))'; }
  wait_for 20 is_stuck
  fcri Status | tee "$FAKE/status" | jq -e '.status.conditions | map(select(.type == "CrispHasNoStuckSteps"))[0] | (.status | not) and .reason == "StepsAreStuck"'
  grep -E '1 stuck; the first: podnet of pod [0-9a-f]{64} for ([3-9][0-9]|[0-9]{3}) s \(RunPodSandbox\)' "$FAKE/status"
  # Neither is a reason for the kubelet to call the node unready.
  jq -e '.status.conditions[0].status and .status.conditions[1].status' "$FAKE/status"
  pkill -P "$FAKE_PID" sleep
  if wait $pod; then false; fi
  fcri Status | jq -e '.status.conditions[2].status == true'
}

@test "a tool that hangs holds up nothing else" {
  fake_daemon
  tool podnet <<EOF
case \$* in *create*) [ ! -e $FAKE/hang ] || { echo \$\$ >$FAKE/h && mv $FAKE/h $FAKE/hanging; exec sleep 1000; } ;; esac
exec $BUILD/bin/podnet "\$@"
EOF
  fcase hung "$FAKE"
}

@test "a tool that does not end is ended by its own clock, with all it started" {
  fake_daemon
  kill "$FAKE_PID" && timeout 20 tail --pid="$FAKE_PID" -f /dev/null
  jq '.runtime_timeout = 5' "$FAKE/crisp.json" >"$FAKE/new" && mv "$FAKE/new" "$FAKE/crisp.json"
  fake_start
  ocipull --config "$FAKE/crisp.json" "oci:$CRISP_TMP/oci:bb"
  pod=$(fcri RunPodSandbox "{\"config\":$(pod_json clock)}" | jq -r .pod_sandbox_id)
  ctr=$(fcri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" sleep 1000)}" | jq -r .container_id)
  tool ctrrun <<'EOF'
sleep 98764
EOF
  run_err 124 fcri StartContainer "{\"container_id\":\"$ctr\"}"
  [[ $stderr == *"ctrrun: no end within 25 s"* ]]
  run ! pgrep -f 'sleep 98764'
  grep -q "ctrrun .*start $ctr .*exit=124 .*error=" "$FAKE/root/pods/$pod/journal"
  ln -sf "$BUILD/bin/ctrrun" "$FAKE/tools/ctrrun"
  fcri StartContainer "{\"container_id\":\"$ctr\"}"
  fcri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
}

@test "a failed CreateContainer takes its bundle back" {
  fake_daemon
  "$BUILD/bin/ocipull" --config "$FAKE/crisp.json" "oci:$CRISP_TMP/oci:bb"
  tool ctrrun <<'EOF'
case $* in *create*) echo '{"code":"UNAVAILABLE","msg":"no monitor"}' >&2; exit 8 ;; esac
exit 0
EOF
  pod=$(fcri RunPodSandbox "{\"config\":$(pod_json undo)}" | jq -r .pod_sandbox_id)
  run_err 8 fcri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" true)}"
  [[ $stderr == *"no monitor"* ]]
  [ -z "$(ls "$FAKE/root/containers")" ]
  [ "$(fcri ListContainers | jq -c .containers)" = null ]
  fcri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
}

@test "a container whose creation stopped half way is replaced by the retry" {
  fake_daemon
  "$BUILD/bin/ocipull" --config "$FAKE/crisp.json" "oci:$CRISP_TMP/oci:bb"
  pod=$(fcri RunPodSandbox "{\"config\":$(pod_json half)}" | jq -r .pod_sandbox_id)
  tool ctrrun <<<"kill -9 $FAKE_PID"
  run fcri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" sleep 1000)}"
  [ "$status" != 0 ]
  half=$(ls "$FAKE/root/containers")
  ln -sf "$BUILD/bin/ctrrun" "$FAKE/tools/ctrrun"
  fake_start
  [ "$(fcri ListContainers | jq -c .containers)" = null ]
  new=$(fcri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" sleep 1000)}" | jq -r .container_id)
  [ "$new" != "$half" ]
  [ "$(ls "$FAKE/root/containers")" = "$new" ]
  fcri StartContainer "{\"container_id\":\"$new\"}"
  fcri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
}

@test "a removal that stopped half way is a removal: a new container of that name begins anew" {
  fake_daemon
  "$BUILD/bin/ocipull" --config "$FAKE/crisp.json" "oci:$CRISP_TMP/oci:bb"
  pod=$(fcri RunPodSandbox "{\"config\":$(pod_json halfgone)}" | jq -r .pod_sandbox_id)
  local request
  request="{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" sh -c 'ls /used; touch /used; sleep 1000')}"
  old=$(fcri CreateContainer "$request" | jq -r .container_id)
  fcri StartContainer "{\"container_id\":\"$old\"}"
  wait_for 10 test -e "$FAKE/root/containers/$old/upper/used"
  tool ocibundle <<<"kill -9 $FAKE_PID"
  run fcri RemoveContainer "{\"container_id\":\"$old\"}"
  [ "$status" != 0 ]
  [ -d "$FAKE/root/containers/$old" ]
  ln -sf "$BUILD/bin/ocibundle" "$FAKE/tools/ocibundle"
  fake_start
  [ "$(fcri ListContainers | jq -c .containers)" = null ]
  run_err 3 fcri ContainerStatus "{\"container_id\":\"$old\"}"
  run_err 3 fcri StartContainer "{\"container_id\":\"$old\"}"
  new=$(fcri CreateContainer "$request" | jq -r .container_id)
  [ "$new" != "$old" ]
  [ "$(ls "$FAKE/root/containers")" = "$new" ]
  [ ! -e "$FAKE/root/containers/$new/upper/used" ]
  fcri StartContainer "{\"container_id\":\"$new\"}"
  fcri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
}

@test "kill -9 of crispd again and again: every retry succeeds, nothing is left" {
  fake_daemon
  kill "$FAKE_PID" && timeout 20 tail --pid="$FAKE_PID" -f /dev/null
  ocipull --config "$FAKE/crisp.json" "oci:$CRISP_TMP/oci:bb"
  run py crispd_chaos.py "$BUILD/bin/crispd" "$FAKE/crisp.json" "$FAKE/run/crisp.sock" 10
  echo "$output"
  [ "$status" = 0 ]
  local dir
  for dir in root/pods root/containers root/reserved run/pods run/containers; do
    [ -z "$(ls "$FAKE/$dir")" ]
  done
  run ! grep -F " $FAKE/" /proc/self/mountinfo
}

@test "images: one id however named, equal pulls are one, all names go at once" {
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:bb" "docker://$REGISTRY/other:1"
  run_case "$SOCK" pull_together "$REGISTRY/bb:latest"
  [ "$(grep -c 'PullImage pull .*/bb:latest .*: ocipull exit=0' "$CRISPD_LOG")" = 1 ]
  cri PullImage "{\"image\":{\"image\":\"$REGISTRY/other:1\"}}"
  run_case "$SOCK" image_forms "$REGISTRY/bb" "$REGISTRY/bb:latest" "$REGISTRY/other:1"
  cri ImageFsInfo | jq -e --arg m "$ROOT/layers" '.image_filesystems[0] | .fs_id.mountpoint == $m and .timestamp != null
    and (.used_bytes.value | tonumber) > 1000000 and (.inodes_used.value | tonumber) > 0'
  run_case "$SOCK" remove_together "$REGISTRY/bb:latest" "$REGISTRY/other:1"
  [ "$(cri ListImages | jq -c '[.images[]?.repo_tags[]?]')" = '[]' ]
  ocipull "oci:$CRISP_TMP/oci:bb" # for the other tests; and seen at once
  cri ImageStatus "{\"image\":{\"image\":\"$IMAGE\"}}" | jq -e --arg i "$IMAGE" '.image.id == $i'
}

@test "an image called oci is a registry's, not a directory" {
  echo "{\"host\":\"docker.io\",\"mirrors\":[{\"url\":\"http://$REGISTRY\"}]}" >"$CRISP_TMP/etc/registries.d/hub.json"
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:bb" "docker://$REGISTRY/library/oci:bb"
  cri PullImage '{"image":{"image":"oci:bb"}}' | jq -e --arg i "$IMAGE" '.image_ref == $i'
  cri ImageStatus '{"image":{"image":"oci:bb"}}' | jq -e '.image.repo_tags | index("docker.io/library/oci:bb")'
  rm "$CRISP_TMP/etc/registries.d/hub.json"
}

@test "a pull with a deadline of a millisecond is DEADLINE_EXCEEDED" {
  run_case "$SOCK" pull_deadline "$REGISTRY/bb:latest"
}

@test "the last client of a pull gives up: the transfer ends" {
  fake_daemon
  tool ocipull <<EOF
echo \$\$ >$FAKE/pid.new && mv $FAKE/pid.new $FAKE/pid
exec sleep 100
EOF
  fcase pull_cancel some.host/image:1 "$FAKE/pid"
}

@test "a registry that does not answer: code Unknown, the kubelet's word first" {
  run --separate-stderr cri PullImage '{"image":{"image":"127.0.0.1:1/none:1"}}'
  echo "$stderr"
  [ "$status" != 0 ]
  [[ $stderr == *"UNKNOWN: RegistryUnavailable: "* ]]
}

@test "credentials reach the tool by descriptor and nothing else" {
  fake_daemon
  tool ocipull <<EOF
cat /proc/\$\$/cmdline /proc/\$\$/environ >$FAKE/seen
while [ "\$1" != --auth-fd ]; do shift; done
cat /dev/fd/\$2 >$FAKE/auth
echo $IMAGE
EOF
  fcri PullImage '{"image":{"image":"some.host/image:1"},"auth":{"username":"u","password":"hunter2"}}' | jq -e --arg i "$IMAGE" '.image_ref == $i'
  jq -e '. == {username:"u",password:"hunter2"}' "$FAKE/auth"
  # Nor does anything get into the log against which passwords can be tried.
  run ! grep -F "$(sha256sum <"$FAKE/auth" | cut -c1-16)" "$FAKE/log"
  rm "$FAKE/auth"
  run ! grep -rl hunter2 "$FAKE"
}

@test "a pull from a registry that wants a password" {
  local port host registry
  port=$(free_port) host=127.0.0.1:$port
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:bb" "docker://$REGISTRY/private:1"
  python3 -W ignore -c 'import crypt; print("joe:" + crypt.crypt("hunter2", "$2y$05$abcdefghijklmnopqrstuu"))' >"$CRISP_TMP/htpasswd"
  cat >"$CRISP_TMP/basic.yml" <<EOF
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $CRISP_TMP/registry } }
http: { addr: "$host" }
auth: { htpasswd: { realm: basic, path: $CRISP_TMP/htpasswd } }
EOF
  docker-registry serve "$CRISP_TMP/basic.yml" >/dev/null 2>&1 3>&- &
  registry=$!
  wait_for 10 curl -s "http://$host/v2/"
  echo "{\"host\":\"$host\",\"mirrors\":[{\"url\":\"http://$host\"}]}" >"$CRISP_TMP/etc/registries.d/basic.json"
  run_err 7 cri PullImage "{\"image\":{\"image\":\"$host/private:1\"}}"
  run_err 7 cri PullImage "{\"image\":{\"image\":\"$host/private:1\"},\"auth\":{\"username\":\"joe\",\"password\":\"wrong\"}}"
  cri PullImage "{\"image\":{\"image\":\"$host/private:1\"},\"auth\":{\"username\":\"joe\",\"password\":\"hunter2\"}}" | jq -e .image_ref
  cri RemoveImage "{\"image\":{\"image\":\"$host/private:1\"}}"
  run ! grep -rl hunter2 "$ROOT" "$RUNROOT" "$CRISPD_LOG"
  kill "$registry"
  ocipull "oci:$CRISP_TMP/oci:bb"
}
