#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Streaming by clients that know nothing of us: Debian's WebSocket libraries and docker's spdystream (which kubectl and the
# kubelet are built with); and the time limits.
load ../lib/helpers
load ../lib/crispd
load ../lib/streams

setup_file() {
  streams_setup_file
  SPDY=$CRISP_TMP/spdy-client
  export SPDY
  if command -v go >/dev/null && [ -d /usr/share/gocode/src/github.com/docker/spdystream ]; then
    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$CRISP_TMP/gocache GOFLAGS='' \
      go build -o "$SPDY" "$STREAMS_LIB/spdystream/main.go"
  fi
}
teardown_file() { streams_teardown_file; }
setup() { streams_setup; }
teardown() { streams_teardown; }

library() {
  /usr/bin/python3 -c 'import websocket, websockets' 2>/dev/null || skip "needs python3-websocket and python3-websockets"
  run timeout 150 /usr/bin/python3 "$STREAMS_LIB/streams_library.py" "$@"
  echo "$output"
  [ "$status" = 0 ]
}
spdy() {
  [ -x "$SPDY" ] || skip "needs golang-go and golang-github-docker-spdystream-dev"
  run timeout 150 "$SPDY" "$@"
  echo "$output"
  [ "$status" = 0 ]
}

@test "WebSocket libraries: exec, exit codes, a terminal, pings, base64" {
  library plain "$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')"
  library tty "$(exec_url iot sh)"
  library ping "$(exec_url io cat)"
  library texts "$(exec_url io cat)"
}

@test "WebSocket libraries: 100 MB there and back" {
  library copies "$(exec_url io cat)"
}

@test "WebSocket libraries: port-forward" {
  echo_server 127.0.0.1 7009
  urls=()
  for _ in $(seq 10); do urls+=("$(forward_url "$POD" 7009)"); done
  library forward "${urls[@]}"
}

@test "spdystream: exec, exit codes, a terminal" {
  spdy plain "$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')"
  spdy tty "$(exec_url iot sh)"
}

@test "spdystream: 100 MB there and back" {
  spdy copies "$(exec_url io cat)"
}

@test "spdystream: 200 forwarded connections at once" {
  echo_server 127.0.0.1 7010
  spdy forward "$(forward_url "$POD")" 7010 200
}

@test "time limits: streams that are not opened, sessions that are idle" {
  streams_config '.stream_creation_timeout = 1 | .stream_idle_timeout = 2'
  streams_restart
  case_py not_opened "$(exec_url o sleep 4741)"
  wait_for 10 eval '! pgrep -f "^sleep 4741"'
  echo_server 127.0.0.1 7011
  case_py not_paired "$(forward_url "$POD")" 7011
  case_py idle "$(exec_url io cat)"
  case_py idle_forward "$(forward_url "$POD")" 7011
  # What is at work is not idle.
  case_py not_idle "$(exec_url o sh -c 'for i in 1 2 3 4 5 6 7; do echo $i; sleep 0.6; done')"
  streams_config '.stream_creation_timeout = 30 | .stream_idle_timeout = 0'
  streams_restart
  run ctrstream --config "$CRISP_CONFIG" --version
  [ "$status" = 0 ]
}

@test "time limits: the kernel asks a silent peer whether it is there" {
  timeout 60 python3 "$STREAMS_LIB/streams_case.py" exec_hold "$(exec_url io cat)" "$BATS_TEST_TMPDIR/flag" 3>&- &
  client=$!
  wait_for 20 test -e "$BATS_TEST_TMPDIR/flag"
  pid=$(sessions | awk '/ctrstream/ { print $1 }')
  ss -Htnop state established | grep "pid=$pid," | grep -E 'timer:\(keepalive,[0-3]?[0-9](\.[0-9]+)?(sec|ms)'
  rm "$BATS_TEST_TMPDIR/flag"
  wait "$client"
}

@test "exec: 1000 at once by the unary call do not starve a list" {
  /usr/bin/python3 -c 'import grpc, grpc_tools' 2>/dev/null || skip "needs python3-grpc-tools"
  run timeout 150 /usr/bin/python3 "$STREAMS_LIB/execs_at_once.py" "$RUNROOT/crisp.sock" "$CTR" 1000
  echo "$output"
  [ "$status" = 0 ]
  wait_for 20 eval '! pgrep -f "^sh -c : </gate"'
}
