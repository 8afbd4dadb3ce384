#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Exec, attach and port-forward through the socket, by clients that are not ours (tests/lib/streams.py).
load ../lib/helpers
load ../lib/crispd
load ../lib/streams

setup_file() {
  streams_setup_file
  silent_begin 'GET /exec'
}
teardown_file() { streams_teardown_file; }
setup() { streams_setup; }
teardown() { streams_teardown; }

@test "exec: output, errors, exit code; a token is good once" {
  url=$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')
  [[ $url =~ ^http://127\.0\.0\.1:[0-9]+/exec/[0-9a-f]{32}$ ]]
  case_py exec_plain "$url"
  case_py exec_late "$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')"
  case_py exec_failure "$(exec_url oe nosuch)"
}

@test "exec: all versions of the protocol" {
  case_py exec_versions "$(exec_url o true)" "$(exec_url o echo hi)" "$(exec_url o echo hi)" "$(exec_url o echo hi)" "$(exec_url o echo hi)"
}

@test "exec: 100 MB there and back, with and without flow control" {
  case_py exec_copy "$(exec_url io cat)"
  case_py exec_copy_counts "$(exec_url io cat)"
}

@test "exec: half close, and a command that ends while stdin is open" {
  case_py exec_count "$(exec_url io wc -c)"
  case_py exec_open_stdin "$(exec_url io true)"
  case_py exec_open_stdin "$(exec_url iot true)"
}

@test "exec: a terminal, its size and its characters" {
  case_py exec_tty "$(exec_url iot sh)"
  case_py exec_tty_eof "$(exec_url iot cat)"
}

@test "exec: what holds the pipes does not hold the session" {
  case_py exec_orphan "$(exec_url o sh -c 'sleep 60 & echo said')"
  in_ctr pkill -x sleep || true
}

@test "exec: a client that goes away ends the command" {
  case_py exec_gone "$(exec_url o sh -c 'echo here; exec sleep 4711')"
  wait_for 10 eval '! pgrep -f "^sleep 4711"'
  # Without output there is nothing that could fail to be written.
  case_py exec_gone "$(exec_url o sh -c 'echo here; trap "" HUP PIPE; sleep 4712')"
  wait_for 10 eval '! pgrep -f "^sleep 4712"'
  case_py exec_goodbye "$(exec_url o sh -c 'echo here; exec sleep 4716')"
  wait_for 10 eval '! pgrep -f "^sleep 4716"'
}

@test "exec: when the container or ctrstream is killed" {
  ctr=$(run_ctr "$POD" killed . sleep 1000)
  (
    for _ in $(seq 100); do ! pgrep -f "^sleep 4714" >/dev/null || break; sleep 0.1; done
    ctrrun kill "$ctr" KILL
  ) 3>&- &
  url=$(cri Exec "$(request oe "$ctr" | jq -c '.cmd = ["sh", "-c", "echo out; echo err >&2; exec sleep 4714"]')" | jq -r .url)
  case_py exec_killed "$url"
  wait $!
  timeout 30 python3 "$BATS_TEST_DIRNAME/../lib/streams_case.py" exec_dropped "$(exec_url o sh -c 'echo here; exec sleep 4715')" 3>&- &
  wait_for 10 pgrep -f "^sleep 4715"
  kill -9 "$(sessions | grep 4715 | cut -d' ' -f1)"
  wait $!
  wait_for 10 eval '! pgrep -f "^sleep 4715"'
}

@test "exec: who does not read holds up nobody, and loses nothing" {
  case_py exec_slow "$(exec_url o sh -c 'dd if=/dev/zero bs=1048576 count=50 2>/dev/null')" "$(exec_url o echo quick)"
  case_py exec_reset "$(exec_url oe sh -c 'dd if=/dev/zero bs=1048576 count=5 2>/dev/null; echo done >&2')"
}

@test "exec: pings, refused streams, clients that speak something else" {
  case_py exec_ping "$(exec_url io cat)"
  case_py exec_garbage "$(exec_url o sleep 4713)" "$(exec_url o sleep 4713)" "$(exec_url o sleep 4713)"
  wait_for 10 eval '! pgrep -f "^sleep 4713"'
}

@test "the listener: heads, wrong tokens, clients that say nothing" {
  case_py heads "$(exec_url o true)"
  silent_was ' 408 '
}

@test "exec, attach, port-forward: sessions outlive the daemon" {
  echo_server 127.0.0.1 7012
  ctr=$(run_ctr "$POD" outlives '.stdin=true' sh -c 'while read -r x; do echo "got $x"; done')
  timeout 60 python3 "$BATS_TEST_DIRNAME/../lib/streams_case.py" hold_all "$(exec_url io cat)" "$(attach_url io "$ctr")" "$(forward_url "$POD")" \
    7012 "$BATS_TEST_TMPDIR/flag" 3>&- &
  client=$!
  wait_for 20 test -e "$BATS_TEST_TMPDIR/flag"
  kill -9 "$CRISPD_PID" && timeout 10 tail --pid="$CRISPD_PID" -f /dev/null
  rm "$BATS_TEST_TMPDIR/flag"
  wait "$client"
  streams_start
  # The tokens went with it.
  case_py exec_plain "$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')"
}

@test "requests that are refused" {
  run_err 6 cri Exec "$(request '' "$CTR" | jq -c '.cmd=["true"]')"
  run_err 6 cri Exec "$(request oet "$CTR" | jq -c '.cmd=["true"]')"
  run_err 6 cri Exec "$(request o "$CTR")"
  run_err 3 cri Exec '{"container_id":"nosuch","cmd":["true"],"stdout":true}'
  run_err 6 cri Attach "$(request ot "$CTR")"
  run_err 6 cri Attach "$(request '' "$CTR")"
  run_err 3 cri PortForward '{"pod_sandbox_id":"nosuch"}'
  run_err 6 cri PortForward "{\"pod_sandbox_id\":\"$POD\",\"port\":[70000]}"
  ctr=$(run_ctr "$POD" ended . true)
  wait_for 10 test -e "$ROOT/containers/$ctr/exit.json"
  run_err 5 cri Exec "$(request o "$ctr" | jq -c '.cmd=["true"]')"
  run_err 5 cri Attach "$(request o "$ctr")"
}

@test "attach: two clients, input from both, the container stays" {
  ctr=$(run_ctr "$POD" two '.stdin=true' sh -c 'while read -r x; do echo "got $x"; done')
  case_py attach_two "$(attach_url io "$ctr")" "$(attach_url io "$ctr")"
  [ "$(ctrrun state "$ctr" | jq -r .status)" = running ]
  grep -q 'stdout F got three' "$CRISP_TMP/logs/main/two.log"
}

@test "attach: stdin_once, all of the last output" {
  ctr=$(run_ctr "$POD" once '.stdin=true | .stdin_once=true' sh -c 'wc -c; echo end >&2')
  case_py attach_once "$(attach_url ioe "$ctr")"
  wait_for 10 test -e "$ROOT/containers/$ctr/exit.json"
}

@test "attach: a terminal" {
  ctr=$(run_ctr "$POD" term '.stdin=true | .tty=true' sh)
  run_err 6 cri Attach "$(request o "$ctr")"
  case_py attach_tty "$(attach_url iot "$ctr")"
}

@test "attach: a slow client is dropped; log and container do not wait" {
  ctr=$(run_ctr "$POD" slow '.stdin=true' sh -c 'read -r x; yes 0123456789012345678901234567890123456789 | head -n 975609; echo over; sleep 1000')
  case_py attach_slow "$(attach_url io "$ctr")"
  wait_for 20 grep -q 'F over' "$CRISP_TMP/logs/main/slow.log"
  [ "$(grep -c ' F 0123456789012345678901234567890123456789$' "$CRISP_TMP/logs/main/slow.log")" = 975609 ]
}

@test "port-forward: 200 connections, refused ports, breaks, bulk beside talk" {
  echo_server 127.0.0.1 7007
  case_py forward_many "$(forward_url "$POD")" 7007
  case_py forward_refused "$(forward_url "$POD")" 7007 7999
  case_py forward_bulk "$(forward_url "$POD")" 7007
}

@test "port-forward: ::1, without privileges" {
  echo_server ::1 7066
  case_py forward_many "$(forward_url "$POD")" 7066 5
  url=$(forward_url "$POD")
  python3 -c 'import sys, time; sys.path.insert(0, sys.argv[1]); import streams; c = streams.Spdy(sys.argv[2], "portforward.k8s.io"); open(sys.argv[3], "w"); time.sleep(5)' \
    "$BATS_TEST_DIRNAME/../lib" "$url" "$BATS_TEST_TMPDIR/up" 3>&- &
  wait_for 5 test -e "$BATS_TEST_TMPDIR/up"
  pid=$(sessions | head -1 | cut -d' ' -f1)
  [ "$(awk '/^Uid:/ { print $2, $3, $4 }' "/proc/$pid/status")" = "65534 65534 65534" ]
  [ "$(awk '/^CapEff:|^CapPrm:/ { s = s $2 } END { print s }' "/proc/$pid/status")" = 00000000000000000000000000000000 ]
  [ "$(readlink "/proc/$pid/ns/net")" = "$(in_ctr readlink /proc/self/ns/net)" ]
}

@test "port-forward: a session ends with its pod" {
  pod=$(run_pod short)
  timeout 30 python3 "$BATS_TEST_DIRNAME/../lib/streams_case.py" forward_ends "$(forward_url "$pod")" "$BATS_TEST_TMPDIR/flag" 3>&- &
  wait_for 10 test -e "$BATS_TEST_TMPDIR/flag"
  cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  wait $!
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
}

@test "port-forward: a pod on the host's network" {
  pod=$(run_pod host '.linux.security_context.namespace_options.network = "NODE" | del(.hostname)')
  port=$(free_port)
  echo_server 127.0.0.1 "$port" env
  case_py forward_many "$(forward_url "$pod")" "$port" 4
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
}

@test "WebSocket: v5, v4 and base64, clients that break the protocol" {
  case_py ws_exec "$(exec_url io cat)"
  case_py ws_v4 "$(exec_url iot sh)" "$(exec_url iot sh)"
  case_py ws_garbage "$(exec_url io cat)" "$(exec_url io cat)" "$(exec_url io cat)"
}

@test "WebSocket: port-forward, tunnelled and in channels" {
  echo_server 127.0.0.1 7008
  case_py ws_forward "$(forward_url "$POD")" "$(forward_url "$POD" 7008)" 7008
}

@test "a daemon that cannot listen for streams serves everything else" {
  crispd_stop
  jq '.stream_address = "192.0.2.77"' "$CRISP_CONFIG" >"$CRISP_CONFIG.bad"
  streams_start --config "$CRISP_CONFIG.bad"
  run cri Exec "$(request o "$CTR" | jq -c '.cmd=["true"]')"
  echo "$output"
  [[ $status != 0 && $output == *"no streaming"*192.0.2.77* ]]
  cri ListContainers | jq -e '.containers | length > 0'
  streams_restart
  run py streams_tokens.py "$SOCK" "$CTR"
  echo "$output"
  [ "$status" = 0 ]
  streams_restart
  case_py exec_plain "$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')"
}
