#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Lists as streams, statistics and metrics, changed limits; with the real tools and runtime.
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

@test "the Stream lists say what the lists say" { case_py same_lists; }

@test "a list of 20 MiB comes in messages of at most 1 MiB, each pod once, and is not held in memory" {
  local pid
  py rpc_case.py - records "$CRISP_TMP/long" 5000 4
  "$BUILD/bin/crispd" --root "$CRISP_TMP/long" --runroot "$CRISP_TMP/longrun" >"$CRISP_TMP/long.log" 2>&1 3>&- &
  pid=$!
  SOCK=$CRISP_TMP/longrun/crisp.sock
  wait_for 100 crispd_ready || { cat "$CRISP_TMP/long.log"; false; }
  run py rpc_case.py "$SOCK" long_list 5000 $pid
  echo "$output"
  kill $pid
  wait $pid
  [ "$status" = 0 ]
  SOCK=$RUNROOT/crisp.sock
}

@test "a pod's statistics are what its containers do" { case_py pod_stats "$SUBNET.1"; }
@test "the size of a writable layer, walked once a while and by nobody who waits" { case_py writable_layer; }

@test "ocibundle du tells what du tells" {
  local pod ctr
  pod=$(pod_json du | podnet create -)
  ctr=$(ctr_json c "$IMAGE" true | ocibundle create "$pod" -)
  dd if=/dev/zero of="$ROOT/containers/$ctr/upper/f" bs=4096 count=10 2>/dev/null
  mkdir "$ROOT/containers/$ctr/upper/dir"
  ln "$ROOT/containers/$ctr/upper/f" "$ROOT/containers/$ctr/upper/dir/g"
  ln -s /usr "$ROOT/containers/$ctr/upper/dir/usr"
  ocibundle du --json "${ctr:0:10}" | jq -e --argjson b "$(du -s --block-size=1 "$ROOT/containers/$ctr/upper" | cut -f1)" \
    --argjson n "$(find "$ROOT/containers/$ctr/upper" -printf '%i\n' | sort -u | wc -l)" --arg id "$ctr" '. == [{id:$id,bytes:$b,inodes:$n}]'
  [ "$(ocibundle du --format '{id}' "$ctr")" = "$ctr" ]
  ocibundle du | grep -E "^ID +NAME +SIZE +INODES$"
  ocibundle du --json | jq -e --arg id "$ctr" 'any(.id == $id)'
  run_err 3 ocibundle du nosuch
  ocibundle rm "$ctr"
  podnet rm "$pod"
}

@test "metrics: names, labels and values" { case_py metrics; }

@test "limits are changed in place, all or nothing, and told (runc)" { case_py update; }
@test "limits are changed in place, all or nothing, and told (crun)" {
  requires crun
  HANDLER=crun case_py update
}

@test "ctrrun update by hand, and what it does not take" {
  local pod ctr
  pod=$(pod_json up | podnet create --handler runc -)
  ctr=$(ctr_json c "$IMAGE" sleep 1000 | ocibundle create "$pod" -)
  run_err 5 ctrrun update "$ctr" - <<<'{"cpu_shares":5}'
  ctrrun create "$ctr"
  ctrrun update "$ctr" - <<<'{"cpuShares":"600","memory_limit_in_bytes":67108864}'
  jq -e '.cpu_shares == 600 and .memory_limit_in_bytes == 67108864' "$ROOT/containers/$ctr/resources.json"
  grep -F "update $ctr" "$ROOT/pods/$pod/journal"
  run_err 6 ctrrun update "$ctr" - <<<'{"cpu_sharse":5}'
  [[ $stderr == *"unknown field 'cpu_sharse'"* ]]
  run_err 6 ctrrun update "$ctr" - <<<'{"cpu_shares":"x"}'
  run_err 6 ctrrun update "$ctr" - <<<'[1]'
  run_err 3 ctrrun update nosuch - <<<'{}'
  run_err 6 podnet update "$pod" - <<<'{"resources":{"cpu":1}}'
  podnet update "$pod" - <<<'{"resources":{"cpu_shares":9}}'
  jq -e '.resources.cpu_shares == 9' "$ROOT/pods/$pod/resources.json"
  ctrrun rm --force "$ctr"
  [ ! -e "$ROOT/containers/$ctr/resources.json" ]
  ocibundle rm "$ctr"
  podnet rm "$pod"
}
