#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Streaming over TLS: by the clients of streams.py, by openssl and by curl.
load ../lib/helpers
load ../lib/crispd
load ../lib/streams

# sign NAME CA SUBJECT [EXTENSION]: a key and a certificate
sign() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "$3" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -days 2 -out "$1.pem" -extfile <(printf '%s\n' "${4:-}") 2>/dev/null
}
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" -days 2 -out "$1.pem" 2>/dev/null
}
setup_file() {
  CRISP_TEST_TLS=$(mktemp -d "${TMPDIR:-/tmp}/crisp-tls.XXXXXX")
  export CRISP_TEST_TLS
  cd "$CRISP_TEST_TLS"
  authority ca
  authority other
  sign server ca /CN=node "subjectAltName=IP:127.0.0.1"
  sign client ca /CN=kubelet
  sign stranger other /CN=stranger
  chmod 600 ./*.key
  cd - >/dev/null
  streams_setup_file '.stream_enable_tls = true | .stream_tls_cert = $ENV.CRISP_TEST_TLS + "/server.pem"
    | .stream_tls_key = $ENV.CRISP_TEST_TLS + "/server.key" | .stream_tls_ca = $ENV.CRISP_TEST_TLS + "/ca.pem"'
  silent_begin
}
teardown_file() {
  streams_teardown_file
  rm -rf "$CRISP_TEST_TLS"
}
setup() { streams_setup; }
teardown() { streams_teardown; }

hold_session() { # URL: until the file flag is gone; sets CLIENT and the two processes
  timeout 60 python3 "$STREAMS_LIB/streams_case.py" exec_hold "$1" "$BATS_TEST_TMPDIR/flag" 3>&- &
  CLIENT=$!
  wait_for 20 test -e "$BATS_TEST_TMPDIR/flag"
  TLS=$(sessions | awk '/ctrtls/ { print $1 }') STREAM=$(sessions | awk '/ctrstream/ { print $1 }')
}
end_session() { rm "$BATS_TEST_TMPDIR/flag" && wait "$CLIENT"; }
# handshake OPTION...: by openssl, against the listener; prints what was agreed or why not
handshake() { openssl s_client -connect "$(listener)" -CAfile "$CRISP_TEST_TLS/ca.pem" "$@" </dev/null 2>&1; }

@test "TLS: exec with both protocols, 100 MB there and back, a terminal" {
  url=$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')
  [[ $url == https://127.0.0.1:* ]]
  case_py exec_plain "$url"
  case_py exec_copy "$(exec_url io cat)"
  case_py exec_count "$(exec_url io wc -c)"
  case_py exec_tty "$(exec_url iot sh)"
  case_py ws_exec "$(exec_url io cat)"
  CRISP_TEST_TLS_MAX=TLSv1_2 case_py exec_plain "$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')"
}

@test "TLS: who does not read, who goes away, who breaks the protocol" {
  case_py exec_slow "$(exec_url o sh -c 'dd if=/dev/zero bs=1048576 count=50 2>/dev/null')" "$(exec_url o echo quick)"
  case_py exec_gone "$(exec_url o sh -c 'echo here; exec sleep 4731')"
  wait_for 10 eval '! pgrep -f "^sleep 4731"'
  case_py exec_garbage "$(exec_url o sleep 4732)" "$(exec_url o sleep 4732)" "$(exec_url o sleep 4732)"
  wait_for 10 eval '! pgrep -f "^sleep 4732"'
}

@test "TLS: attach and port-forward" {
  ctr=$(run_ctr "$POD" two '.stdin=true' sh -c 'while read -r x; do echo "got $x"; done')
  case_py attach_two "$(attach_url io "$ctr")" "$(attach_url io "$ctr")"
  echo_server 127.0.0.1 7007
  case_py forward_many "$(forward_url "$POD")" 7007
  case_py forward_bulk "$(forward_url "$POD")" 7007
}

@test "TLS: only with a certificate of the CA, only 1.2 and later" {
  cert() { echo "-cert $CRISP_TEST_TLS/$1.pem -key $CRISP_TEST_TLS/$1.key"; }
  # shellcheck disable=SC2046
  handshake $(cert client) -tls1_3 | grep -q 'Verify return code: 0'
  # shellcheck disable=SC2046
  handshake $(cert client) -tls1_2 | grep -q 'Verify return code: 0'
  # shellcheck disable=SC2046
  run handshake $(cert client) -tls1_1 -cipher DEFAULT:@SECLEVEL=0
  [[ $output == *"Cipher is (NONE)"* || $output == *alert*version* ]]
  run handshake -tls1_2
  [[ $output == *"alert"* ]]
  # shellcheck disable=SC2046
  run handshake $(cert stranger) -tls1_2
  [[ $output == *"unknown ca"* ]]
  # Nothing of it has reached the daemon, and the token of a request is still good.
  url=$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')
  run curl -s --cacert "$CRISP_TEST_TLS/ca.pem" "$url"
  [ "$status" != 0 ]
  CRISP_TEST_TLS_CLIENT=no run timeout 20 python3 "$STREAMS_LIB/streams_case.py" exec_plain "$url"
  [ "$status" != 0 ]
  # Not TLS at all.
  run curl -s "http://${url#https://}"
  [ "$status" != 0 ]
  case_py exec_plain "$url"
  # Plain HTTP inside: the daemon's own answers come through.
  run curl -s --cacert "$CRISP_TEST_TLS/ca.pem" --cert "$CRISP_TEST_TLS/client.pem" --key "$CRISP_TEST_TLS/client.key" "$url"
  [ "$output" = "no such request, or it has expired" ]
}

@test "TLS: the process that speaks it has neither rights nor, after the handshake, the key" {
  hold_session "$(exec_url io cat)"
  [ "$(awk '/^Uid:/ { print $2, $3, $4 }' "/proc/$TLS/status")" = "65534 65534 65534" ]
  [ "$(awk '/^CapEff:|^CapPrm:/ { s = s $2 } END { print s }' "/proc/$TLS/status")" = 00000000000000000000000000000000 ]
  [ "$(awk '/^NoNewPrivs:/ { print $2 }' "/proc/$TLS/status")" = 1 ]
  grep -q 'Max open files  *0  *0 ' "/proc/$TLS/limits"
  find "/proc/$TLS/fd" -printf '%l\n' >"$BATS_TEST_TMPDIR/open"
  [ -s "$BATS_TEST_TMPDIR/open" ]
  run grep server "$BATS_TEST_TMPDIR/open"
  [ "$status" = 1 ]
  python3 "$STREAMS_LIB/key_in_memory.py" "$TLS" "$CRISP_TEST_TLS/server.key"
  python3 "$STREAMS_LIB/key_in_memory.py" "$STREAM" "$CRISP_TEST_TLS/server.key"
  python3 "$STREAMS_LIB/key_in_memory.py" "$CRISPD_PID" "$CRISP_TEST_TLS/server.key"
  # The search finds a key where there is one.
  python3 -c 'import sys, time; key = open(sys.argv[1]).read(); print("read", flush=True); time.sleep(30)' "$CRISP_TEST_TLS/server.key" \
    >"$BATS_TEST_TMPDIR/reader" 3>&- &
  SERVERS+=($!)
  wait_for 10 grep -q read "$BATS_TEST_TMPDIR/reader"
  run ! python3 "$STREAMS_LIB/key_in_memory.py" "${SERVERS[0]}" "$CRISP_TEST_TLS/server.key"
  end_session
}

@test "TLS: a dead peer is asked for, a dead half ends the other" {
  hold_session "$(exec_url io cat)"
  # The kernel asks within half a minute.
  ss -Htnop state established | grep "pid=$TLS," | grep -E 'timer:\(keepalive,[0-3]?[0-9](\.[0-9]+)?(sec|ms)'
  kill -9 "$TLS"
  run ! wait "$CLIENT"
  wait_for 10 no_sessions
  rm "$BATS_TEST_TMPDIR/flag"
  hold_session "$(exec_url io cat)"
  kill -9 "$STREAM"
  run ! wait "$CLIENT"
  wait_for 10 no_sessions
}

@test "TLS: who connects and says nothing is dropped" { silent_was '^$'; }

@test "TLS: a session outlives the daemon; a certificate that is renewed is used at once" {
  hold_session "$(exec_url io cat)"
  kill -9 "$CRISPD_PID" && timeout 10 tail --pid="$CRISPD_PID" -f /dev/null
  end_session
  streams_start
  before=$(handshake -cert "$CRISP_TEST_TLS/client.pem" -key "$CRISP_TEST_TLS/client.key" | openssl x509 -noout -serial)
  (cd "$CRISP_TEST_TLS" && sign new ca /CN=node "subjectAltName=IP:127.0.0.1" && mv new.key server.key && mv new.pem server.pem)
  after=$(handshake -cert "$CRISP_TEST_TLS/client.pem" -key "$CRISP_TEST_TLS/client.key" | openssl x509 -noout -serial)
  [[ $before == serial=* && $after == serial=* && $before != "$after" ]]
  case_py exec_plain "$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')"
}

@test "TLS: a configuration that cannot be used says so; nothing is served without TLS instead" {
  stop_with() { # FILTER: the reason that Exec gives with this configuration
    jq "$1" "$CRISP_CONFIG" >"$CRISP_CONFIG.bad"
    streams_restart --config "$CRISP_CONFIG.bad"
    run cri Exec "$(request o "$CTR" | jq -c '.cmd=["true"]')"
    echo "$output"
    [ "$status" != 0 ]
  }
  stop_with '.stream_tls_key = ""' && [[ $output == *"no streaming"*stream_tls_key* ]]
  stop_with '.stream_tls_cert = "/nonexistent.pem"' && [[ $output == *"no streaming"*/nonexistent.pem* ]]
  stop_with '.stream_tls_key = $ENV.CRISP_TEST_TLS + "/client.key"' && [[ $output == *"no streaming"*client.key* ]]
  stop_with '.stream_tls_ca = $ENV.CRISP_TEST_TLS + "/client.key"' && [[ $output == *"no streaming"*client.key* ]]
  openssl pkey -in "$CRISP_TEST_TLS/client.key" -aes128 -passout pass:x -out "$CRISP_TEST_TLS/locked.key"
  stop_with '.stream_tls_key = $ENV.CRISP_TEST_TLS + "/locked.key"' && [[ $output == *"no streaming"*locked.key* ]]
  # Without a CA no certificate is asked for.
  jq 'del(.stream_tls_ca)' "$CRISP_CONFIG" >"$CRISP_CONFIG.bad"
  streams_restart --config "$CRISP_CONFIG.bad"
  CRISP_TEST_TLS_CLIENT=no case_py exec_plain "$(exec_url oe sh -c 'echo out; echo err >&2; exit 7')"
  streams_restart
  run_err 2 ctrtls --config "$CRISP_CONFIG" serve --fd 0 --plain-fd 0
}
