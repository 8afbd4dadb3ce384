#!/usr/bin/env bats
# ocipull against registries, mirrors and servers behind redirects that fail, lie, stall, or send for ever.
load ../lib/helpers
load ../lib/registry

setup_file() { registry_file_setup; }
teardown_file() { crisp_file_teardown; }
setup() { registry_setup; }
teardown() { registry_teardown; }

@test "tokens end in mid-pull: told by expires_in no request is refused, untold it is logged in again" {
  server expire:told
  pull -j 1 "$SERVER/three"
  [ "$(grep -c refused "$LOG")" = 1 ]
  [ "$(grep -c ^token "$LOG")" -ge 2 ]
  fresh
  server expire:untold
  pull -j 1 "$SERVER/three"
  [ "$(grep -c refused "$LOG")" -ge 2 ]
}

@test "mirrors that answer wrongly are passed over: digest, size, status, silence" {
  local mode
  setting pull_progress_timeout 1
  for mode in wrongblob wrongtext shortblob layerstatus:404 layerstatus:500 never huge errorbody; do
    server "$mode"
    registries m <<<"{\"host\":\"m.example\",\"url\":\"http://$REGISTRY\",\"mirrors\":[{\"url\":\"http://$SERVER\"}]}"
    echo "mirror: $mode"
    pull m.example/busy
    grep -q . "$LOG"
    fresh
  done
  server status
  for mode in 404 401 403 500 429; do
    registries m <<<"{\"host\":\"m.example\",\"url\":\"http://$REGISTRY\",\"mirrors\":[{\"url\":\"http://$SERVER/s$mode\"}]}"
    pull m.example/busy
    [ "$(grep -c "GET /v2/s$mode/" "$LOG")" -ge 1 ]
    fresh
  done
  # Without another source the reason is told.
  server wrongblob
  run_err 6 pull "$SERVER/busy"
  [[ $stderr == *"layer sha256:"*"digest mismatch"* ]]
  server shortblob
  run_err 6 pull "$SERVER/busy"
  [[ $stderr == *"size mismatch: expected "*" it has 60000"* ]]
  server wrongtext
  run_err 6 pull "$SERVER/busy@$(digest_of busy)"
  [[ $stderr == *"http://$SERVER: "*"mismatch"* ]]
  nothing_left
}

@test "redirects: another port gets no credentials, loops and other schemes end, strangers' challenges are not answered" {
  server port
  pull --auth-fd 9 "$SERVER/busy" 9<<<'{"username":"joe","password":"secret"}'
  grep -q 'second bare' "$LOG"
  run ! grep -q 'second authorized' "$LOG"
  server loop
  run_err 12 pull "$SERVER/busy"
  [[ $stderr == *"http://$SERVER: more than 5 redirects"* ]]
  [ "$(grep -c GET "$LOG")" = 6 ]
  server file
  run_err 12 pull "$SERVER/busy"
  [[ $stderr == *"redirects to 'file:///etc/passwd'"* ]]
  server bait
  run_err 7 pull --auth-fd 9 "$SERVER/busy" 9<<<'{"username":"joe","password":"secret"}'
  run ! grep -q bait "$LOG"
}

@test "Retry-After in seconds and as a date; 5xx is tried three times, 4xx once; what the registry says is told" {
  server retry:1
  pull "$SERVER/busy"
  # Twice one second for the manifest.
  awk '/asked at/ && n++ < 2 { t[n] = $3 } END { exit !(t[2] - t[1] >= 0.95 && t[2] - t[1] < 5) }' "$LOG"
  fresh
  server retry:date
  pull "$SERVER/busy"
  awk '/asked at/ && n++ < 2 { t[n] = $3 } END { exit !(t[2] - t[1] >= 0.8 && t[2] - t[1] < 6) }' "$LOG"
  server status
  run_err 12 pull "$SERVER/s502/busy"
  [[ $stderr == *"manifest of $SERVER/s502/busy:latest: http://$SERVER answers 502: as told to" ]]
  [ "$(grep -c GET "$LOG")" = 3 ]
  for pair in 404:3 403:7 401:7 400:1 451:1; do
    run_err "${pair#*:}" pull "$SERVER/s${pair%:*}/busy"
    [ "$(grep -c "GET /v2/s${pair%:*}" "$LOG")" = 1 ]
  done
  run_err 8 pull "$SERVER/s429/busy"
}

@test "a layer that broke off: servers without ranges, with other ranges, with other bytes" {
  local how
  for how in 416 other bare; do
    server "resume:$how"
    pull "$SERVER/busy"
    grep -q 'range [0-9]' "$LOG"
    grep -q 'range none' "$LOG"
    fresh
  done
  server resume:changed
  run_err 6 pull "$SERVER/busy"
  [[ $stderr == *"digest mismatch"* ]]
  nothing_left
}

@test "half of a layer from a mirror that lies and breaks off: all of it comes from the next" {
  server halflie
  registries m <<<"{\"host\":\"m.example\",\"url\":\"http://$REGISTRY\",\"mirrors\":[{\"url\":\"http://$SERVER\"}]}"
  pull m.example/busy
  grep -q 'half a lie' "$LOG"
}

@test "a layer that breaks off again and again, but brings much each time, comes in the end" {
  PYTHONPATH=$LIB python3 - "$STORE/oci" <<'PY'
import os, sys
from oci_layout import *
o = Layout(sys.argv[1])
o.name(o.image([layer(entry('f', data=os.urandom(1000000)))]), 'crumbs')
PY
  skopeo copy -q --dest-tls-verify=false "oci:$STORE/oci:crumbs" "docker://$REGISTRY/crumbs"
  server crumbs:70000
  pull "$SERVER/crumbs"
  [ "$(grep -c 'range bytes' "$LOG")" -gt 12 ]
}

@test "a stall is a rate below a threshold for a time; a slow transfer above it is none" {
  setting pull_progress_timeout 1
  setting pull_progress_rate 20000
  server trickle:500
  run_err 124 timeout 60 "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy"
  [[ $stderr == *"layer sha256:"*"stalled: less than 20000 bytes/s for 1 s" ]]
  nothing_left
  server trickle:20000
  pull "$SERVER/busy"
}

@test "servers that never end: headers, an error's body, a manifest of 100 MB, silence" {
  setting pull_progress_timeout 1
  server headers
  run_err 12 timeout 60 "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy"
  [[ $stderr == *"bytes of headers" ]]
  server errorbody
  run_err 3 timeout 60 "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy"
  server huge
  run_err 6 timeout 60 "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy"
  [[ $stderr == *"more than 4194304 bytes" ]]
  server never
  run_err 12 timeout 60 "$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run" "$SERVER/busy"
  [[ $stderr == *"stalled: no answer for 1 s" ]]
  nothing_left
}
