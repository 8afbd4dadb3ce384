#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The CRI socket: HTTP/2 and gRPC as two clients see them, one that is a library and not ours, and one that makes
# frames by hand and breaks the rules; how the daemon comes, goes and comes back.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  crispd_start
}
teardown_file() { crisp_file_teardown; }

setup() { requires root; }

# Every case leaves a daemon behind that is the same process and answers.
grpc_case() {
  run py grpc_check.py "$SOCK" "$1"
  echo "$output"
  [ "$status" = 0 ]
  kill -0 "$CRISPD_PID"
}
raw_case() {
  run py h2_raw.py "$SOCK" "$1"
  echo "$output"
  [ "$status" = 0 ]
  kill -0 "$CRISPD_PID"
}

# A second daemon for tests that end it: its own directories.
own_daemon() {
  local socket
  OWN=$(mktemp -d "$CRISP_TMP/own.XXXXXX")
  "$BUILD/bin/crispd" --root "$OWN/root" --runroot "$OWN/run" --log-level debug "$@" >>"$OWN/log" 2>&1 3>&- &
  OWN_PID=$!
  socket=$OWN/run/crisp.sock
  [ "${1:-}" != --listen ] || socket=${2#unix://}
  wait_for 10 test -S "$socket"
}
own_end() { # STATUS: of the own daemon
  local status=0
  wait "$OWN_PID" || status=$?
  cat "$OWN/log"
  [ "$status" = "$1" ]
}
teardown() {
  if [ -n "${OWN_PID:-}" ] && kill -9 "$OWN_PID" 2>/dev/null; then wait "$OWN_PID" 2>/dev/null || true; fi
}

@test "Version" { grpc_case version; }
@test "Status: two conditions, and the configuration when verbose" { grpc_case status; }
@test "RuntimeConfig names the cgroup driver, UpdateRuntimeConfig is taken" { grpc_case runtime_config; }
@test "unknown methods are UNIMPLEMENTED" { grpc_case unknown; }
@test "a request that does not decode, or is not UTF-8, is INVALID_ARGUMENT" { grpc_case undecodable; }
@test "a compressed request is UNIMPLEMENTED" { grpc_case compressed; }
@test "requests up to 16 MiB, larger ones RESOURCE_EXHAUSTED" { grpc_case large; }
@test "1000 calls at once on one connection" { grpc_case concurrent; }
@test "200 connections" { grpc_case connections; }
@test "cancelled calls" { grpc_case cancel; }
@test "a deadline that has passed" { grpc_case deadline; }
@test "keepalive pings" { grpc_case keepalive; }

@test "frames by hand: calls in a row" { raw_case call; }
@test "one byte at a time" { raw_case bytewise; }
@test "an HTTP/1.1 request" { raw_case http1; }
@test "garbage" { raw_case garbage; }
@test "connections cut short at every place" { raw_case truncated; }
@test "a client that ends its side" { raw_case half_closed; }
@test "messages that are missing, short, doubled or badly framed" { raw_case bad_messages; }
@test "too many headers" { raw_case header_limits; }
@test "a ping flood" { raw_case ping_flood; }
@test "a reset flood" { raw_case rapid_reset; }
@test "more streams than allowed" { raw_case too_many_streams; }
@test "flow control: an answer in slices of three bytes" { raw_case window; }
@test "clients that leave before the answer" { raw_case gone; }
@test "a client that never reads" { raw_case never_reads; }

@test "what is not gRPC gets an HTTP status" {
  requires curl
  local url=http://localhost/runtime.v1.RuntimeService/Version
  local curl=(curl -s -o /dev/null -w '%{http_code}' --http2-prior-knowledge --unix-socket "$SOCK" -m 10)
  run "${curl[@]}" $url
  [ "$output" = 405 ]
  run "${curl[@]}" -d x $url
  [ "$output" = 415 ]
  run "${curl[@]}" -d x -H 'content-type: application/grpcx' $url
  [ "$output" = 415 ]
  run "${curl[@]}" -d x -H 'content-type: application/grpc+proto' $url
  [ "$output" = 200 ]
}

@test "NetworkReady follows network_dir" {
  local dir=$CRISP_TMP/etc/net.d
  ready() { py cri_status.py "$SOCK" NetworkReady; }
  run ready
  echo "$output"
  [ "$output" = true ]
  mv "$dir" "$dir.away"
  run ready
  [[ $output == "false NetworkPluginNotReady no network configuration in $dir" ]]
  mkdir "$dir"
  echo '{ "cniVersion": "1.0.0", "name": "x", "plugins": [] }' >"$dir/1.conflist"
  run ready
  [[ $output == "false NetworkPluginNotReady "*"1.conflist: plugins: the list is empty" ]]
  rm -r "$dir"
  mv "$dir.away" "$dir"
  [ "$(ready)" = true ]
}

@test "RuntimeReady needs the default runtime" {
  echo '{ "default_runtime": "nosuch" }' >"$CRISP_TMP/nosuch.json"
  own_daemon --config "$CRISP_TMP/nosuch.json"
  run py cri_status.py "$OWN/run/crisp.sock" RuntimeReady
  echo "$output"
  [[ $output == "false RuntimeNotReady default runtime: unknown runtime handler 'nosuch'"* ]]
}

@test "Status names features, and handlers with the default under the empty name" {
  echo '{ "path": "/bin/true" }' >"$CRISP_TMP/etc/handlers.d/odd.json"
  [ "$(py cri_status.py "$SOCK" features)" = "supplemental_groups_policy user_namespaces_host_network mount_options" ]
  run py cri_status.py "$SOCK" handlers
  rm "$CRISP_TMP/etc/handlers.d/odd.json"
  echo "$output"
  [[ $output == "''"* && $output == *"'odd'"* ]]
}

@test "the socket: mode 0660, gone after the end" {
  own_daemon
  [ "$(stat -c %a "$OWN/run/crisp.sock")" = 660 ]
  kill "$OWN_PID"
  own_end 0
  [ ! -e "$OWN/run/crisp.sock" ]
}

@test "a second daemon on the same directories is refused, the first goes on" {
  run_err 8 crispd
  [[ $stderr == *"another crispd runs on $RUNROOT" ]]
  grpc_case version
}

@test "a daemon killed with SIGKILL while it starts a tool: the next one waits until that has begun, and starts" {
  requires strace
  local tracer
  own_daemon
  # Held before execve, the child of the killed daemon has all its descriptors still, the lock among them.
  strace -f -qq -e trace=execve -e inject=execve:delay_enter=1500000 -p "$OWN_PID" -o "$OWN/trace" 3>&- &
  tracer=$!
  wait_for 10 grep -q "^TracerPid:.*[1-9]" "/proc/$OWN_PID/status"
  cricall --socket "$OWN/run/crisp.sock" --timeout 5 PullImage '{"image": {"image": "localhost:1/none:1"}}' 3>&- &
  wait_for 10 pgrep -P "$OWN_PID"
  kill -9 "$OWN_PID"
  wait "$OWN_PID" || [ $? = 137 ]
  "$BUILD/bin/crispd" --root "$OWN/root" --runroot "$OWN/run" >>"$OWN/log" 2>&1 3>&- &
  OWN_PID=$!
  wait_for 10 cricall --socket "$OWN/run/crisp.sock" Version
  kill "$OWN_PID"
  own_end 0
  wait "$tracer" || :
}

@test "a second daemon on the same socket is refused" {
  run_err 8 crispd --root "$CRISP_TMP/r2" --runroot "$CRISP_TMP/run2" --listen "$SOCK"
  [[ $stderr == *"socket $SOCK: another program listens on it" ]]
  grpc_case version
}

@test "--listen: a file that is no socket stays, a bad path is told" {
  local dirs=(--root "$CRISP_TMP/r2" --runroot "$CRISP_TMP/run2")
  echo precious >"$CRISP_TMP/file"
  run_err 4 crispd "${dirs[@]}" --listen "$CRISP_TMP/file"
  [ "$(cat "$CRISP_TMP/file")" = precious ]
  run_err 6 crispd "${dirs[@]}" --listen relative.sock
  run_err 3 crispd "${dirs[@]}" --listen "$CRISP_TMP/no/such/dir.sock"
  run_err 6 crispd "${dirs[@]}" --listen "/$(printf 'x%.0s' {1..120})"
  [[ $stderr == *"longer than 107 bytes" ]]
  # As long as a client can still reach it.
  local long
  long=$CRISP_TMP/$(printf 'y%.0s' {1..200})
  long=unix://${long:0:107}
  own_daemon --listen "$long"
  py grpc_check.py "${long#unix://}" version
}

@test "kill -9, and a new daemon at once: the stale socket is replaced, clients reconnect" {
  own_daemon
  coproc CLIENT { py grpc_check.py "$OWN/run/crisp.sock" restart 3>&-; }
  local client=$CLIENT_PID out=${CLIENT[0]} in=${CLIENT[1]}
  read -r -t 20 word <&"$out"
  [ "$word" = ready ]
  kill -9 "$OWN_PID"
  wait "$OWN_PID" || true
  [ -S "$OWN/run/crisp.sock" ]
  "$BUILD/bin/crispd" --root "$OWN/root" --runroot "$OWN/run" >>"$OWN/log" 2>&1 3>&- &
  OWN_PID=$!
  echo >&"$in"
  wait "$client"
}

@test "SIGTERM: GOAWAY, the call under way is answered, exit 0" {
  own_daemon
  coproc CLIENT { py h2_raw.py "$OWN/run/crisp.sock" goaway 3>&-; }
  local client=$CLIENT_PID out=${CLIENT[0]}
  read -r -t 20 word <&"$out"
  [ "$word" = ready ]
  kill "$OWN_PID"
  wait "$client"
  own_end 0
}

@test "SIGTERM with a call that never ends: exit 0 after the grace" {
  own_daemon
  coproc CLIENT { py h2_raw.py "$OWN/run/crisp.sock" hang 3>&-; }
  local client=$CLIENT_PID out=${CLIENT[0]} start
  read -r -t 60 word <&"$out"
  [ "$word" = ready ]
  start=$SECONDS
  kill -INT "$OWN_PID"
  own_end 0
  [ $((SECONDS - start)) -ge 4 ]
  [ $((SECONDS - start)) -le 40 ]
  wait "$client"
}

@test "systemd: a socket handed over, READY and STOPPING told" {
  OWN=$(mktemp -d "$CRISP_TMP/own.XXXXXX")
  run py activation.py "$OWN" "$BUILD/bin/crispd" --root "$OWN/root" --runroot "$OWN/run"
  echo "$output"
  [ "$status" = 0 ]
}

@test "out of descriptors: no spinning, served again when there are some" {
  own_daemon_limited() { (ulimit -n 24; exec "$BUILD/bin/crispd" --root "$OWN/root" --runroot "$OWN/run") >>"$OWN/log" 2>&1 3>&- & }
  OWN=$(mktemp -d "$CRISP_TMP/own.XXXXXX")
  own_daemon_limited
  OWN_PID=$!
  wait_for 10 test -S "$OWN/run/crisp.sock"
  run py descriptors.py "$OWN/run/crisp.sock" "$OWN_PID"
  echo "$output"
  [ "$status" = 0 ]
}

@test "SIGHUP reads the configuration again: what can change does, the rest waits, an impossible one changes nothing" {
  OWN=$(mktemp -d "$CRISP_TMP/own.XXXXXX")
  echo '{ "log_level": "error" }' >"$OWN/crisp.json"
  env -u CRISP_LOG_LEVEL "$BUILD/bin/crispd" --config "$OWN/crisp.json" --root "$OWN/root" --runroot "$OWN/run" >"$OWN/log" 2>&1 3>&- &
  OWN_PID=$!
  wait_for 10 test -S "$OWN/run/crisp.sock"
  py grpc_check.py "$OWN/run/crisp.sock" version
  [ ! -s "$OWN/log" ]
  echo '{ "log_level": "debug" }' >"$OWN/crisp.json"
  kill -HUP "$OWN_PID"
  wait_for 5 grep -q 'reload: log_level: "debug"' "$OWN/log"
  py grpc_check.py "$OWN/run/crisp.sock" version
  grep -q 'debug: req [0-9]*: Version: code 0' "$OWN/log"
  # All at once: what has a listener, a watch or an index of its own, what is looked up, and what waits for a start.
  id=$(printf '%064d' 7)
  mkdir -p "$OWN/root/pods/$id" "$OWN/net"
  jq -n --arg id "$id" '{ version: 1, id: $id, state: "notready", origin: "hand", created_at: 1, complete: true }' >"$OWN/root/pods/$id/state.json"
  echo '{ "metadata": { "name": "by-hand", "uid": "1", "namespace": "d" } }' >"$OWN/root/pods/$id/pod.json"
  echo '{ "cniVersion": "0.4.0", "name": "fresh", "plugins": [{ "type": "loopback" }] }' >"$OWN/net/1.conflist"
  pods() { cricall --socket "$OWN/run/crisp.sock" ListPodSandbox | jq -r '.items[]?.id'; }
  driver() { cricall --socket "$OWN/run/crisp.sock" RuntimeConfig | jq -r '.linux.cgroup_driver // "SYSTEMD"'; } # 0
  [ -z "$(pods)" ]
  [ "$(driver)" = CGROUPFS ]
  metrics=$(free_port)
  jq -n --arg o "$OWN" --arg m "$metrics" '{ log_level: "info", adopt_hand_made: true, metrics_port: $m, stream_address: "127.0.0.2",
    network_dir: ($o + "/net"), cgroup_manager: "systemd", root: "/nowhere", listen: "/nowhere.sock" }' >"$OWN/crisp.json"
  kill -HUP "$OWN_PID"
  wait_for 5 grep -q 'reload: 6 changed, 2 wait for the next start' "$OWN/log"
  grep -qx '.*warning: reload: root: counts when crispd is started again' "$OWN/log"
  grep -qx '.*warning: reload: listen: counts when crispd is started again' "$OWN/log"
  grep -qx '.*info: reload: cgroup_manager: "systemd"' "$OWN/log"
  [ "$(pods)" = "$id" ]
  curl -sf "http://127.0.0.1:$metrics/metrics" | grep -q '^process_open_fds '
  grep -q 'streaming on http://127.0.0.2:' "$OWN/log"
  [ "$(driver)" = SYSTEMD ]
  wait_for 5 grep -q "network: ready: network 'fresh'" "$OWN/log"
  # Tools go on where the daemon is, though the file names another place.
  [ "$(cricall --socket "$OWN/run/crisp.sock" RemovePodSandbox "{\"pod_sandbox_id\": \"$id\"}")" = '{}' ]
  [ ! -e "$OWN/root/pods/$id" ]
  [ ! -e /nowhere ]
  echo '{ "log_level": "loud", "metrics_port": "" }' >"$OWN/crisp.json"
  kill -HUP "$OWN_PID"
  wait_for 5 grep -q "reload: nothing changes: log_level: 'loud' is not" "$OWN/log"
  curl -sf "http://127.0.0.1:$metrics/metrics" >"$OWN/page"
}

@test "a call is logged: at info when it changes something, else at debug" {
  grpc_case version
  grep -qE 'debug: req [0-9]+: Version: code 0, [0-9.]+ ms' "$CRISPD_LOG"
  grep -qE 'debug: connection [0-9]+: from process [0-9]+, user 0' "$CRISPD_LOG"
  grpc_case runtime_config
  grep -qE 'info: req [0-9]+: UpdateRuntimeConfig: code 0' "$CRISPD_LOG"
}

@test "idle connections and past large requests leave the daemon small" {
  own_daemon
  py grpc_check.py "$OWN/run/crisp.sock" large >/dev/null
  py grpc_check.py "$OWN/run/crisp.sock" connections
  local kb
  kb=$(awk '/^VmRSS/ { print $2 }' "/proc/$OWN_PID/status")
  echo "$kb kB"
  [ -n "${ASAN_OPTIONS:-}" ] || grep -q __asan_init "$BUILD/bin/crispd" || [ "$kb" -lt 16384 ]
}

@test "the daemon that was there at first still is, without a sanitizer's or an internal error" {
  crispd_stop
  run grep -E 'ERROR: |runtime error:|Sanitizer|more was promised' "$CRISPD_LOG"
  [ "$status" = 1 ]
}
