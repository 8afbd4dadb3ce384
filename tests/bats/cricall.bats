#!/usr/bin/env bats
# cricall against servers that are not ours: grpcio's, and one that breaks every rule.

setup_file() {
  load ../lib/helpers
  python3 -c 'import grpc, grpc_tools' || skip "needs python3-grpcio and python3-grpc-tools"
  SERVER_DIR=$(mktemp -d "${TMPDIR:-/tmp}/crisp-cricall.XXXXXX")
  export SERVER_DIR CONTAINER_RUNTIME_ENDPOINT="unix://$SERVER_DIR/s"
  python3 "$BATS_TEST_DIRNAME/../lib/cri_server.py" "$SERVER_DIR/s" "$SERVER_DIR/log" >/dev/null 2>&1 3>&- &
  echo $! >"$SERVER_DIR/pid"
  wait_for 20 cricall Version
}
teardown_file() {
  [ -n "${SERVER_DIR:-}" ] || return 0
  kill "$(cat "$SERVER_DIR/pid")"
  rm -rf "$SERVER_DIR"
}
setup() { load ../lib/helpers; }
teardown() { if [ -n "${BAD_PID:-}" ]; then kill "$BAD_PID"; fi; }

# bad MODE: start the server that misbehaves; its socket is $BAD
bad() {
  BAD=$BATS_TEST_TMPDIR/bad.$1
  python3 "$BATS_TEST_DIRNAME/../lib/bad_http2.py" "$BAD" "$1" >/dev/null 2>&1 3>&- &
  BAD_PID=$!
  wait_for 10 test -S "$BAD"
}
# bad_is MODE STATUS TEXT: a call to such a server fails so
bad_is() {
  bad "$1"
  run_err "$2" timeout 10 cricall --socket "$BAD" Version
  [[ $stderr == "cricall: error: Version: $3" ]]
  kill "$BAD_PID"
  BAD_PID=
}

@test "a unary call: the answer is one line of JSON" {
  run --separate-stderr cricall Version
  [ "$status" = 0 ]
  [ -z "$stderr" ]
  [ "$output" = '{"version":"0.1.0","runtime_name":"not-ours","runtime_version":"1.2.3","runtime_api_version":"v1"}' ]
}

@test "the request comes from a file, from stdin or from the command line" {
  local want='{"exit_code":3}' request='{"containerId": "abc", "cmd": ["len"]}'
  echo "$request" >"$BATS_TEST_TMPDIR/r.json"
  [ "$(cricall ExecSync "$BATS_TEST_TMPDIR/r.json")" = "$want" ]
  [ "$(cricall ExecSync - <<<"$request")" = "$want" ]
  [ "$(cricall ExecSync <(echo "$request"))" = "$want" ]
  [ "$(cricall ExecSync "$request")" = "$want" ]
  [ "$(cricall /runtime.v1.RuntimeService/ExecSync "$request")" = "$want" ]
}

@test "a mistake in the request is exit 6 and names file and path; nothing is sent" {
  echo '{"cmd": ["x"], "timeout": "soon"}' >"$BATS_TEST_TMPDIR/r.json"
  run_err 6 cricall --socket /nowhere ExecSync "$BATS_TEST_TMPDIR/r.json"
  [[ $stderr == *"ExecSync: $BATS_TEST_TMPDIR/r.json: timeout: expected integer, found string" ]]
  run_err 6 cricall ExecSync '{"command": []}'
  [[ $stderr == *"request: command: unknown key" ]]
}

@test "a failure has the code's name and the decoded message, on one line" {
  run_err 3 cricall ContainerStatus '{"container_id": "a"}'
  [ "$stderr" = "cricall: error: ContainerStatus: NOT_FOUND: no container 'a'" ]
  run_err 12 cricall Status
  [ "$stderr" = 'cricall: error: Status: UNKNOWN: RegistryUnavailable: 100% of régistries are down\u000asecond line' ]
}

@test "each status code has its exit status" {
  local n=0 want
  for want in 11 1 6 124 3 4 7 9 5 8 6 10 1 8 1 7; do
    n=$((n + 1))
    run_err $want cricall ContainerStatus "{\"container_id\": \"code:$n:why\"}"
    [[ $stderr == *": why" ]]
  done
  run_err 10 cricall ImageFsInfo
  [[ $stderr == *"ImageFsInfo: UNIMPLEMENTED: "* ]]
}

@test "with CRISP_LOG=json the error has its code" {
  CRISP_LOG=json run_err 3 cricall ContainerStatus
  [ "$(jq -r .code <<<"$stderr")" = NOT_FOUND ]
}

@test "bytes: text as a string, anything else as base64" {
  [ "$(cricall ExecSync '{"cmd": ["bytes", "3"]}')" = '{"stdout":"xxx"}' ]
  [ "$(cricall ExecSync '{"cmd": ["all"]}' | jq -r .stdout.base64 | base64 -d | od -An -tu1 | xargs)" = "$(seq -s ' ' 0 255)" ]
}

@test "16 MiB in the answer and in the request, more only with --max-message" {
  local size=$(((16 << 20) - 64))
  [ "$(cricall ExecSync "{\"cmd\": [\"bytes\", \"$size\"]}" | jq '.stdout | length')" = $size ]
  run_err 9 cricall ExecSync '{"cmd": ["bytes", "16777217"]}'
  [[ $stderr == *"RESOURCE_EXHAUSTED: a message of "*" is larger than 16777216" ]]
  [ "$(cricall --max-message 20000000 ExecSync '{"cmd": ["bytes", "16777217"]}' | jq '.stdout | length')" = 16777217 ]
  request() { printf '{"cmd": ["len"], "container_id": "' && head -c "$1" /dev/zero | tr '\0' x && echo '"}'; }
  [ "$(request $size | cricall ExecSync -)" = "{\"exit_code\":$size}" ]
  request 16777217 >"$BATS_TEST_TMPDIR/big.json"
  run_err 9 cricall ExecSync "$BATS_TEST_TMPDIR/big.json"
  [ "$(cricall --max-message 20000000 ExecSync "$BATS_TEST_TMPDIR/big.json")" = '{"exit_code":16777217}' ]
}

@test "--timeout is told to the server and kept" {
  [ "$(cricall ExecSync '{"cmd": ["left"]}')" = '{"exit_code":-1}' ]
  local left
  left=$(cricall --timeout 30 ExecSync '{"cmd": ["left"]}' | jq .exit_code)
  [ "$left" -gt 20000 ]
  [ "$left" -le 30000 ]
  run_err 124 timeout 4 cricall --timeout 0.2 ExecSync '{"cmd": ["sleep", "5"]}'
  [[ $stderr == *"ExecSync: DEADLINE_EXCEEDED: "* ]]
  run_err 124 timeout 4 cricall --timeout 0 Version
}

@test "the request's headers" {
  local h
  h=$(cricall ExecSync '{"cmd": ["metadata"]}' | jq -r .stdout)
  [[ $h == *"user-agent: cricall/"* ]]
}

@test "a stream: one message a line, to the end" {
  run --separate-stderr cricall StreamContainers '{"filter": {"id": "1000"}}'
  [ "$status" = 0 ]
  [ "${#lines[@]}" = 1000 ]
  [ "${lines[999]}" = '{"containers":[{"id":"c999","state":"CONTAINER_RUNNING"}]}' ]
  run --separate-stderr cricall StreamContainers '{"filter": {"id": "0"}}'
  [ "$status" = 0 ]
  [ -z "$output" ]
}

@test "a stream that fails half-way: what came is printed, the exit status tells" {
  run --separate-stderr cricall StreamContainers '{"filter": {"id": "fail"}}'
  [ "$status" = 8 ]
  [ "${#lines[@]}" = 2 ]
  [[ $stderr == *"UNAVAILABLE: gone half-way" ]]
}

@test "each message of a stream is flushed at once" {
  cricall StreamContainers '{"filter": {"id": "slow"}}' >"$BATS_TEST_TMPDIR/out" 3>&- &
  local pid=$!
  wait_for 3 grep -q c0 "$BATS_TEST_TMPDIR/out"
  kill -INT $pid || kill $pid
  wait $pid
}

@test "an interrupt ends a stream cleanly and the server learns of it" {
  : >"$SERVER_DIR/log"
  cricall GetContainerEvents >"$BATS_TEST_TMPDIR/out" 3>&- &
  local pid=$!
  wait_for 5 grep -q '"c3"' "$BATS_TEST_TMPDIR/out"
  kill -TERM $pid
  wait $pid
  wait_for 5 grep -q "cancelled GetContainerEvents" "$SERVER_DIR/log"
  jq -e '.container_event_type == "CONTAINER_STARTED_EVENT"' "$BATS_TEST_TMPDIR/out" >/dev/null
  [ "$(head -1 "$BATS_TEST_TMPDIR/out" | jq -r .created_at)" = 1700000000000000001 ]
}

@test "an interrupted unary call is exit 11" {
  cricall ExecSync '{"cmd": ["sleep", "3"]}' >/dev/null 2>"$BATS_TEST_TMPDIR/err" 3>&- &
  local pid=$! r=0
  # It is asked, so that the signal does not meet a program that only begins.
  wait_for 10 grep -q sleeping "$SERVER_DIR/log"
  kill -TERM $pid
  wait $pid || r=$?
  [ $r = 11 ] && grep -q "CANCELLED: interrupted" "$BATS_TEST_TMPDIR/err"
}

@test "a reader that goes away ends a stream" {
  [ "$(timeout 5 cricall GetContainerEvents | head -2 | wc -l)" = 2 ]
  timeout 4 cricall StreamContainers '{"filter": {"id": "slow"}}' | head -1 >/dev/null
}

@test "a full disk is an error" {
  run bash -c "timeout 5 cricall GetContainerEvents >/dev/full"
  [ "$status" = 9 ]
  [[ $output == *"write to standard output: No space left on device" ]]
  run bash -c "cricall Version >/dev/full"
  [ "$status" != 0 ]
}

@test "no server: exit 8, not 3" {
  run_err 8 cricall --socket "$BATS_TEST_TMPDIR/none" Version
  [[ $stderr == *"connect $BATS_TEST_TMPDIR/none: No such file or directory" ]]
  run_err 10 cricall --socket tcp://127.0.0.1:1 Version
  run_err 2 cricall --socket unix:// Version
}

@test "a socket whose path is too long for an address" {
  local dir
  dir=$BATS_TEST_TMPDIR/$(printf "d%.0s" {1..120})
  mkdir "$dir"
  ln -s "$SERVER_DIR/s" "$dir/s"
  cricall -s "unix:$dir/s" Version
  run_err 8 cricall -s "$dir/none" Version
}

@test "servers that misbehave" {
  bad_is http1 8 "UNAVAILABLE: nobody behind the socket speaks HTTP/2"
  bad_is close 8 "UNAVAILABLE: nobody behind the socket speaks HTTP/2"
  bad_is garbage 8 "UNAVAILABLE: nobody behind the socket speaks HTTP/2"
  bad_is reset 8 "UNAVAILABLE: the server ended the call without a status: REFUSED_STREAM"
  bad_is goaway 8 "UNAVAILABLE: the server ended the call without a status: REFUSED_STREAM"
  bad_is html 1 "UNKNOWN: not a gRPC answer: HTTP status 200"
  bad_is 404 10 "UNIMPLEMENTED: not a gRPC answer: HTTP status 404"
  bad_is cut 1 "INTERNAL: the answer is cut short"
  bad_is huge 9 "RESOURCE_EXHAUSTED: a message of 4294967295 bytes is larger than 16777216"
  bad_is compressed 1 "INTERNAL: a compressed message, which was not offered"
  bad_is two 1 "INTERNAL: more than one message in the answer"
  bad_is none 1 "INTERNAL: no message in the answer"
  bad_is nostatus 1 "INTERNAL: the server ended the call without a status: NO_ERROR"
  bad_is notproto 1 "INTERNAL: the answer is not a VersionResponse"
  bad_is notutf8 6 "VersionResponse: version: not UTF-8"
  bad_is badcode 1 "UNKNOWN: %zzA%"
  bad_is code42 1 "code 42: the server gives no reason"
}

@test "a server that hangs before its first byte" {
  bad hang
  run_err 124 timeout 5 cricall --timeout 0.3 --socket "$BAD" Version
}

@test "an answer that comes byte by byte" {
  bad drip
  [ "$(cricall --socket "$BAD" Version)" = '{"version":"0.1.0"}' ]
}

@test "--list names all calls and marks the streams" {
  [ "$(cricall --list | wc -l)" = 43 ]
  [ "$(cricall --list | grep -c ' stream$')" = 7 ]
}

@test "--describe: every request can be edited and is accepted" {
  local m
  while read -r m _; do
    cricall --describe "$m" >"$BATS_TEST_TMPDIR/$m.json"
    run_err 8 cricall --socket /nowhere "$m" "$BATS_TEST_TMPDIR/$m.json"
  done < <(cricall --list)
  jq -e '.config.linux.security_context.capabilities.add_capabilities == []' "$BATS_TEST_TMPDIR/CreateContainer.json"
}

@test "usage errors" {
  run_err 2 cricall
  run_err 2 cricall NoSuchMethod
  run_err 2 cricall --list Version
  run_err 2 cricall --max-message 0 Version
  run_err 2 cricall Version a b
}
