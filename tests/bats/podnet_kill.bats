#!/usr/bin/env bats
# podnet killed at any point, rebooted, its records damaged: nothing outlives its pod.
# shellcheck disable=SC2016

setup_file() {
  load ../lib/helpers
  crisp_file_setup
}
teardown_file() {
  load ../lib/helpers
  crisp_file_teardown
}
setup() {
  load ../lib/helpers
  load ../lib/podnet
  requires root netns
}
teardown() { podnet_teardown; }

@test "after a reboot the first creation frees every lease and rule before its own ADD" {
  port=$(free_port)
  for i in 1 2 3; do make "old-$i" ".port_mappings = [{ container_port: 80, host_port: $((port + i)) }] | .linux.security_context.namespace_options.pid = \"POD\"" >"$CRISP_TMP/old.$i"; done
  # One whose configuration is not there any more, and one that was being made.
  dead=$(new_id)
  mkdir "$ROOT/pods/$dead"
  last=$(podnet status old-3 | jq -r .ip)
  simulate_reboot
  [ "$(find "$CRISP_TMP/ipam" -name "$SUBNET.*" | wc -l)" = 3 ]
  # A network of three addresses, all of them taken: without the cleanup there is none for it.
  jq --arg s "$SUBNET.2" --arg e "$last" '.plugins[0].ipam.ranges[0][0] += { rangeStart: $s, rangeEnd: $e }' "$CRISP_TMP/etc/net.d/10-test.conflist" >"$CRISP_TMP/small.conflist"
  other_net small
  cp "$CRISP_TMP/small.conflist" "$NETD/1.conflist"
  run -0 --separate-stderr make new ".port_mappings = [{ container_port: 80, host_port: $((port + 1)) }]"
  new=$output
  [[ $stderr == *"first creation after a boot: stop pod $(cat "$CRISP_TMP/old.1"): the host was rebooted"* ]]
  [ "$(find "$CRISP_TMP/ipam" -name "$SUBNET.*" | wc -l)" = 1 ]
  for i in 1 2 3; do
    podnet rm "$(cat "$CRISP_TMP/old.$i")"
    nothing_left "$(cat "$CRISP_TMP/old.$i")"
  done
  [ ! -e "$ROOT/pods/$dead" ]
  # Once a boot.
  run -0 --separate-stderr make second
  [ -z "$stderr" ]
  podnet rm "$new"
  nothing_left "$new"
}

@test "after a reboot the pod is not ready, and stop detaches without a namespace" {
  fake_net boot old
  fake old <<<"[ \$CNI_COMMAND = DEL ] || echo '$OK_RESULT'"
  id=$(make rebooted)
  # What a reboot does: the mounts and the run directory are gone, the boot id is another.
  umount -l "/run/netns/crisp-$id" "$RUNROOT/pods/$id/ns/ipc" "$RUNROOT/pods/$id/ns/uts" "$RUNROOT/pods/$id/shm"
  rm -r "/run/netns/crisp-$id" "$RUNROOT/pods/$id"
  jq -c '.boot_id = "00000000-0000-0000-0000-000000000000"' "$ROOT/pods/$id/state.json" >"$CRISP_TMP/s" && cp "$CRISP_TMP/s" "$ROOT/pods/$id/state.json"
  [ "$(podnet status "$id" | jq -r '.state, .reason' | paste -sd' ')" = "notready the host was rebooted" ]
  run -0 podnet gc
  [[ $output == "stop pod $id: the host was rebooted" ]]
  tail -1 "$CRISP_TMP/calls" | grep -qF 'DEL old ns=[]'
  [ "$(jq -r '.state, .reason' "$ROOT/pods/$id/state.json" | paste -sd' ')" = "notready the host was rebooted" ]
  podnet rm "$id"
  nothing_left "$id"
}

@test "damaged records: shown, stoppable, removable" {
  a=$(make broken1)
  echo '{ "version": 1, ' >"$ROOT/pods/$a/state.json"
  b=$(make broken2)
  rm "$ROOT/pods/$b/state.json"
  c=$(make broken3)
  echo '{ "version": 99 }' >"$ROOT/pods/$c/state.json"
  echo garbage >"$ROOT/pods/$c/network.json"
  run_err 5 podnet status "$a"
  [[ $stderr == *"pod $a is damaged"* ]]
  [ "$(podnet ls --json | jq -r '.[].state' | sort -u)" = damaged ]
  podnet stop "$a"
  # The group that a runtime makes for the first container goes all the same.
  mkdir -p /sys/fs/cgroup/pids/crisp-test/broken1 2>/dev/null || true
  for id in $a $b $c; do
    podnet rm "$id"
    nothing_left "$id"
  done
  [ ! -e /sys/fs/cgroup/pids/crisp-test/broken1 ]
}

@test "gc: an interrupted creation and a run directory without a record go, pods and foreign namespaces stay" {
  keep=$(make keeper)
  dead=$(new_id)
  mkdir "$ROOT/pods/$dead"
  orphan=$(make orphan)
  podnet stop orphan
  ip netns add "crisp-$orphan"
  foreign=/run/netns/crisp-$(new_id)
  ip netns add "${foreign##*/}"
  rm -r "${ROOT:?}/pods/$orphan"
  run -0 podnet gc --dry-run
  [ -d "$ROOT/pods/$dead" ]
  [ -e "/run/netns/crisp-$orphan" ]
  ip=$(podnet status keeper | jq -r .ip)
  for line in "keep pod $keep: ready" "remove pod $dead: its creation was interrupted" "remove leftover $orphan: its pod has no record" \
    "remove claim $orphan: the object it names does not exist" "keep namespace crisp-$keep: its pod is ready" \
    "remove namespace crisp-$orphan: its pod has no record" "keep namespace ${foreign##*/}: no pod of this root has that id" \
    "keep lease $ip of ${keep:0:13}: its pod is ready"; do
    grep -qxF "$line" <<<"$output" || { echo "missing: $line"; false; }
  done
  run -0 podnet gc --json
  [ "$(jq -r '.[] | .action + " " + .kind + " " + .id' <<<"$output" | sort)" = "$(printf '%s\n' "keep pod $keep" "remove leftover $orphan" "remove claim $orphan" "remove pod $dead" | sort)" ]
  nothing_left "$dead"
  [ ! -e "/run/netns/crisp-$orphan" ]
  [ ! -e "$RUNROOT/pods/$orphan" ]
  [ -e "$foreign" ]
  ip netns del "${foreign##*/}"
  [ "$(podnet status keeper | jq -r .state)" = ready ]
}

@test "kill -9 at any point of a creation: the retry succeeds and nothing leaks" {
  port=$(free_port)
  pod_json victim | jq ".port_mappings = [{ container_port: 80, host_port: $port }] | .linux.security_context.namespace_options.pid = \"POD\"" >"$CRISP_TMP/victim.json"
  killed=0
  # Most of it is the plugins' work: each tenth is another point in it, however slow the machine is.
  local ms=0
  took ms podnet create "$CRISP_TMP/victim.json"
  podnet rm victim
  for tenths in 1 3 5 6 8; do
    first=$(new_id)
    podnet create --id "$first" "$CRISP_TMP/victim.json" >/dev/null 2>&1 3>&- &
    pid=$!
    sleep "$(part $tenths "$ms")"
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null || true
    second=$(new_id)
    if podnet create --id "$second" "$CRISP_TMP/victim.json" 2>"$CRISP_TMP/err"; then
      podnet rm "$second"
      nothing_left "$first" "$second"
    else
      # It was finished before it was killed.
      grep -q "exists already: $first" "$CRISP_TMP/err"
      [ "$(podnet status "$first" | jq -r .state)" = ready ]
      podnet rm "$first"
      nothing_left "$first"
    fi
  done
  [ $killed -ge 3 ]
  [ "$(find "$CRISP_TMP/ipam/$NET_NAME" -name "$SUBNET.*")" = "" ]
  [ -z "$(ip -o link show master "$BRIDGE")" ]
  [ -z "$(ls "$ROOT/reserved")" ]
}

@test "kill -9 in the middle of stop and of rm: the repetition finishes" {
  make dying >"$CRISP_TMP/dying"
  local ms=0
  took ms podnet stop dying
  podnet rm dying
  for verb in stop rm; do
    for tenths in 2 5 8; do
      id=$(make dying '.linux.security_context.namespace_options.pid = "POD"')
      podnet $verb dying 3>&- &
      pid=$!
      sleep "$(part $tenths "$ms")"
      kill -9 $pid 2>/dev/null || true
      wait $pid 2>/dev/null || true
      podnet stop "$id"
      podnet rm "$id"
      podnet gc >/dev/null
      nothing_left "$id"
    done
  done
}
