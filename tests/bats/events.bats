#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# GetContainerEvents with the real tools and runtime: every step is told, in order, to everyone who listens.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  jq '.default_runtime = "runc"' "$CRISP_CONFIG" >"$CRISP_CONFIG.new" && mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"
  IMAGE=$(pull_image bb)
  export IMAGE
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
  local id
  kill -0 "$CRISPD_PID"
  for id in $(cri ListPodSandbox | jq -r '.items[]?.id'); do cri RemovePodSandbox "{\"pod_sandbox_id\":\"$id\"}"; done
}

cri() { timeout 100 cricall --socket "$SOCK" "$@"; }
case_py() {
  run py rpc_case.py "$SOCK" "$@"
  echo "$output"
  [ "$status" = 0 ]
}

@test "every step of a pod and its containers is told" { case_py life_events; }
@test "the ends of what a pod's removal ends are told, the pod's last" { case_py running_pod_removed; }
@test "a container that cannot be started is created and stopped" { case_py start_error; }
@test "the end by another hand is told" { case_py killed; }
@test "many listen; one that does not read is dropped without harm" { case_py many_listeners; }

@test "cricall prints each event as it comes" {
  local pid pod
  "$BUILD/bin/cricall" --socket "$SOCK" GetContainerEvents >"$BATS_TEST_TMPDIR/events" 3>&- &
  pid=$!
  for _ in 1 2 3 4 5 6 7 8 9 10; do # until it is heard
    pod=$(cri RunPodSandbox "{\"config\":$(pod_json watched)}" | jq -r .pod_sandbox_id)
    cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
    wait_for 1 grep -q CONTAINER_DELETED_EVENT "$BATS_TEST_TMPDIR/events" && break
  done
  jq -r 'select(.container_id == "'"$pod"'") | .container_event_type // "CONTAINER_CREATED_EVENT"' "$BATS_TEST_TMPDIR/events" >"$BATS_TEST_TMPDIR/types"
  printf 'CONTAINER_%s_EVENT\n' CREATED STARTED STOPPED DELETED | diff - "$BATS_TEST_TMPDIR/types"
  kill $pid
  wait $pid
}

@test "what is made by hand is not told" {
  local pid pod ctr
  "$BUILD/bin/cricall" --socket "$SOCK" GetContainerEvents >"$BATS_TEST_TMPDIR/events" 3>&- &
  pid=$!
  pod=$(pod_json byhand | podnet create -)
  ctr=$(ctr_json c "$IMAGE" true | ocibundle create "$pod" -)
  ctrrun create "$ctr"
  ctrrun start "$ctr"
  ctrrun stop "$ctr"
  ctrrun rm "$ctr"
  ocibundle rm "$ctr"
  podnet rm "$pod"
  pod=$(cri RunPodSandbox "{\"config\":$(pod_json after)}" | jq -r .pod_sandbox_id)
  wait_for 10 grep -q "$pod" "$BATS_TEST_TMPDIR/events"
  [ "$(jq -r .container_id "$BATS_TEST_TMPDIR/events" | sort -u)" = "$pod" ]
  kill $pid
  wait $pid
}

@test "a stream ends with UNAVAILABLE when the daemon does" {
  case_py daemon_goes "$CRISPD_PID"
  tail --pid="$CRISPD_PID" -f /dev/null
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
}
