#!/usr/bin/env bats
# What the CRI says of the network, and what crispd cleans up at its start.
# shellcheck disable=SC2016
load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  crispd_start
}
teardown_file() {
  # A test may have put another daemon into the place of the first.
  if [ -e "$CRISP_TMP/crispd.pid" ]; then
    CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
    crispd_stop
    CRISPD_PID=
  fi
  crisp_file_teardown
}
setup() {
  load ../lib/podnet
  requires root netns
  DIR=$CRISP_TMP/etc/net.d
  export CONTAINER_RUNTIME_ENDPOINT=unix://$SOCK
}

ready() { py cri_status.py "$SOCK" NetworkReady; }
told() { tail -n +"$MARK" "$CRISPD_LOG" | grep -F "network: $1"; }
mark() { MARK=$(($(wc -l <"$CRISPD_LOG") + 1)); }

@test "the log tells at once that the network came or went, and why" {
  mark
  mv "$DIR" "$DIR.away"
  wait_for 5 told "not ready: no network configuration in $DIR"
  [ "$(ready)" = "false NetworkPluginNotReady no network configuration in $DIR" ]
  mark
  mkdir "$DIR"
  echo '{ broken' >"$DIR/1.conflist"
  wait_for 5 told "not ready: network configuration: "
  mark
  echo '{ "cniVersion": "1.0.0", "name": "x", "plugins": [{ "type": "late" }] }' >"$DIR/1.conflist"
  wait_for 5 told "not ready: network 'x': plugin 'late': not found in $CRISP_TMP/plugins, "
  [[ "$(ready)" == "false NetworkPluginNotReady network 'x': plugin 'late': not found in "* ]]
  mark
  printf '#!/bin/sh\n' >"$CRISP_TMP/plugins/late"
  wait_for 5 told "not ready: network 'x': plugin 'late': $CRISP_TMP/plugins/late is not executable"
  mark
  chmod +x "$CRISP_TMP/plugins/late"
  wait_for 5 told "ready: network 'x' of $DIR/1.conflist"
  [ "$(ready)" = true ]
  rm -r "$DIR" "$CRISP_TMP/plugins/late"
  mv "$DIR.away" "$DIR"
  wait_for 5 told "ready: network '$NET_NAME'"
}

@test "plugins of CNI 1.1 are asked for their STATUS, and what they say is NetworkReady" {
  fake asked <<<'[ "$CNI_COMMAND" != STATUS ] || [ ! -e '"$CRISP_TMP/sick"' ] || { echo "{\"code\":50,\"msg\":\"no daemon\"}"; exit 1; }'
  touch "$CRISP_TMP/sick"
  mark
  echo '{ "cniVersion": "1.1.0", "name": "asked", "plugins": [{ "type": "asked" }] }' >"$DIR/1.conflist"
  wait_for 5 told "not ready: network 'asked': plugin 'asked' STATUS: no daemon (code 50)"
  [ "$(ready)" = "false NetworkPluginNotReady network 'asked': plugin 'asked' STATUS: no daemon (code 50)" ]
  rm "$CRISP_TMP/sick"
  # Nothing in a directory has changed: whoever asks makes us ask.
  wait_for 10 eval '[ "$(ready)" = true ]'
  rm "$DIR/1.conflist" "$CRISP_TMP/plugins/asked"
}

@test "what a plugin says of its failure, in JSON or on stderr, is what the kubelet is told" {
  echo '{ "cniVersion": "1.0.0", "name": "failing", "plugins": [{ "type": "failing" }] }' >"$DIR/1.conflist"
  fake failing <<<'[ "$CNI_COMMAND" = ADD ] || exit 0; echo "{\"code\":101,\"msg\":\"no route\",\"details\":\"to the moon\"}"; exit 1'
  pod_json told | jq '{ config: . }' >"$CRISP_TMP/told.json"
  run ! cricall RunPodSandbox "$CRISP_TMP/told.json"
  [[ $output == *"network 'failing': plugin 'failing' ADD: no route: to the moon (code 101)"* ]]
  fake failing <<<'[ "$CNI_COMMAND" = ADD ] || exit 0; echo "daemon is not running" >&2; exit 1'
  run ! cricall RunPodSandbox "$CRISP_TMP/told.json"
  [[ $output == *"network 'failing': plugin 'failing' ADD: daemon is not running"* ]]
  rm "$DIR/1.conflist" "$CRISP_TMP/plugins/failing"
  [ "$(podnet ls --json)" = "[]" ]
}

@test "UpdateRuntimeConfig tells podnet the node's range; nonsense is refused" {
  cricall UpdateRuntimeConfig - <<<'{ "runtime_config": { "network_config": { "pod_cidr": "10.1.0.0/16,fd00::/48" } } }'
  [ "$(jq -c .cidrs "$ROOT/podcidr.json")" = '["10.1.0.0/16","fd00::/48"]' ]
  run ! cricall UpdateRuntimeConfig - <<<'{ "runtime_config": { "network_config": { "pod_cidr": "--help" } } }'
  [[ $output == *"pod CIDR: '--help' is no address range"* ]]
  cricall UpdateRuntimeConfig - <<<'{ "runtime_config": { "network_config": {} } }'
  [ "$(jq -c .cidrs "$ROOT/podcidr.json")" = '["10.1.0.0/16","fd00::/48"]' ]
}

@test "after a reboot crispd detaches every old pod by itself, and their leases are free" {
  for i in 1 2 3; do make "old-$i" >"$CRISP_TMP/old.$i"; done
  [ "$(find "$CRISP_TMP/ipam" -name "$SUBNET.*" | wc -l)" = 3 ]
  crispd_stop
  simulate_reboot
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
  wait_for 10 eval '[ "$(find "$CRISP_TMP/ipam" -name "$SUBNET.*" | wc -l)" = 0 ]'
  wait_for 5 eval 'cricall ListPodSandbox - <<<"{}" >/dev/null'
  for i in 1 2 3; do
    [ "$(podnet status "old-$i" | jq -r '.state, .reason' | paste -sd' ')" = "notready the host was rebooted" ]
    podnet rm "old-$i"
    nothing_left "$(cat "$CRISP_TMP/old.$i")"
  done
}
