#!/usr/bin/env bats
# ExecSync by the socket, where what a command leaves behind could hold the call.

setup_file() {
  load ../lib/helpers
  load ../lib/bundle
  crisp_file_setup
  bundle_setup
  jq '.exec_drain_timeout = 3' "$CRISP_CONFIG" >"$CRISP_TMP/c" && mv "$CRISP_TMP/c" "$CRISP_CONFIG"
  load ../lib/crispd
}
teardown_file() {
  load ../lib/helpers
  load ../lib/bundle
  bundle_gone
  crisp_file_teardown
}
setup() {
  load ../lib/helpers
  load ../lib/bundle
  load ../lib/crispd
  requires root crun
}

exec_sync() { jq -nc --arg id "$CTR" --argjson t "${T:-0}" '{ container_id: $id, cmd: $ARGS.positional, timeout: $t }' --args -- "$@" | cricall --socket "$SOCK" ExecSync -; }

@test "ExecSync: the configured drain limit, 16 MiB a stream, exact codes, nothing outlives a timeout" {
  B_STATE='.origin = "cri"' bundle crun sleep 1000 >/dev/null
  echo '{ "metadata": { "name": "x" } }' >"$ROOT/containers/$CTR/container.json"
  ctrrun create "$CTR" && ctrrun start "$CTR"
  crispd_start
  local start=$EPOCHREALTIME
  exec_sync sh -c 'setsid sleep 3333 & echo started' | jq -e '.stdout == "started\n"'
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { exit !(b - a >= 2.9 && b - a < 60) }'
  local code
  for code in 0 1 125 255; do exec_sync sh -c "exit $code" | jq -e --argjson c "$code" '(.exit_code // 0) == $c'; done
  exec_sync sh -c 'dd if=/dev/zero bs=1000000 count=20 2>/dev/null | tr "\0" x; exit 3' >"$BATS_TEST_TMPDIR/reply"
  jq -e '.exit_code == 3 and (.stdout | length | . > 16700000 and . <= 16777216)' "$BATS_TEST_TMPDIR/reply"
  T=1 run exec_sync sh -c 'sleep 0.2; (setsid sh -c "sleep 3334 & sleep 0.1" &) ; sleep 3334'
  [ "$status" = 124 ]
  none_runs '^sleep 3334'
  crispd_stop
  ctrrun rm --force "$CTR"
}
