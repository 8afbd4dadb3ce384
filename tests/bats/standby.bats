#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Tools that crispd starts before they are wanted: they wait and touch nothing, are taken by the step they are for and
# by no other, and go with the daemon.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  IMAGE=$(pull_image bb)
  export IMAGE
}
teardown_file() { crisp_file_teardown; }
setup() {
  requires root crun strace
  crispd_start
}
teardown() {
  local id
  [ ! -e "$BATS_TEST_TMPDIR/good.json" ] || cp "$BATS_TEST_TMPDIR/good.json" "$CRISP_CONFIG"
  rm -rf "${CRISP_CONFIG%/*}/conf.d"
  # The second daemon of a test that failed.
  if [ -n "${own:-}" ] && kill "$own" 2>/dev/null; then wait "$own" || true; fi
  for id in $(cri ListPodSandbox | jq -r '.items[]?.id'); do cri RemovePodSandbox "{\"pod_sandbox_id\":\"$id\"}"; done
  crispd_stop
}

cri() { timeout 100 cricall --socket "$SOCK" "$@"; }
run_pod() { cri RunPodSandbox "{\"config\":$(pod_json "$1" | jq -c "${2:-.}")}" | jq -r .pod_sandbox_id; }
create_ctr() { # POD NAME
  cri CreateContainer "{\"pod_sandbox_id\":\"$1\",\"config\":$(ctr_json "$2" "$IMAGE" sleep 60)}" | jq -r .container_id
}
# The process of the tool that waits, children of the daemon alone; fails when none does, or more than one.
waiting() { # TOOL [DAEMON]
  local pids
  pids=$(pgrep -P "${2:-$CRISPD_PID}" -x "gate:$1" | tr '\n' ' ')
  [[ $pids =~ ^[0-9]+\ $ ]] && printf '%s\n' "${pids% }"
}
awaited() { wait_for 10 waiting "$@" && waiting "$@"; } # TOOL [DAEMON]: the same, once it is there
none_waits() { run -1 pgrep -P "$CRISPD_PID" -x "gate:.*"; }
words() { tr '\0' ' ' <"/proc/$1/cmdline"; }
id_of() { words "$1" | grep -oE -- '--id [0-9a-f]{64}' | cut -d' ' -f2; }

@test "each step of a pod is taken by the process that waits for it" {
  none_waits
  pod=$(run_pod first)
  next=$(awaited podnet)
  first=$(awaited ocibundle)
  [[ $(words "$first") == *" --origin cri $pod - " ]]
  # What waits has made nothing: no pod, no container, no directory.
  [ "$(ls "$ROOT/pods")" = "$pod" ]
  [ -z "$(ls "$ROOT/containers")" ]
  id=$(id_of "$first")
  ctr=$(create_ctr "$pod" one)
  [ "$ctr" = "$id" ]
  start=$(awaited ctrrun)
  [[ $(words "$start") == *" start $ctr " ]]
  ctrrun ls --json | jq -e --arg c "$ctr" '.[] | select(.id == $c).status == "created"'
  strace -o "$BATS_TEST_TMPDIR/trace" -p "$start" 2>"$BATS_TEST_TMPDIR/strace" 3>&- &
  wait_for 10 grep -q attached "$BATS_TEST_TMPDIR/strace"
  cri StartContainer "{\"container_id\":\"$ctr\"}"
  wait $!
  grep -q 'state.json' "$BATS_TEST_TMPDIR/trace" # it was that process which worked
  grep -q 'exited with 0' "$BATS_TEST_TMPDIR/trace"
  ctrrun ls --json | jq -e --arg c "$ctr" '.[] | select(.id == $c).status == "running"'
  id=$(id_of "$next")
  [ "$(run_pod second)" = "$id" ]
  third=$(awaited podnet)
  [ "$third" != "$next" ]
}

@test "a pod of another handler does not take it, and the one after is waited for" {
  run_pod plain
  kept=$(awaited podnet)
  pod=$(cri RunPodSandbox "{\"runtime_handler\":\"crun\",\"config\":$(pod_json other)}" | jq -r .pod_sandbox_id)
  [ "$pod" != "$(id_of "$kept")" ]
  kill -0 "$kept"
}

@test "many at once: each has an id of its own" {
  run_pod first
  awaited podnet
  for i in {1..24}; do run_pod "many-$i" '.linux.security_context.namespace_options.network = 2' >"$BATS_TEST_TMPDIR/pod-$i" & pids[i]=$!; done
  for i in {1..24}; do wait "${pids[i]}"; done
  cat "$BATS_TEST_TMPDIR"/pod-* | grep -cE '^[0-9a-f]{64}$' | grep -x 24
  [ "$(cat "$BATS_TEST_TMPDIR"/pod-* | sort -u | wc -l)" = 24 ]
  pod=$(cat "$BATS_TEST_TMPDIR/pod-1")
  for i in {1..24}; do create_ctr "$pod" "c$i" >"$BATS_TEST_TMPDIR/ctr-$i" & pids[i]=$!; done
  for i in {1..24}; do wait "${pids[i]}"; done
  [ "$(cat "$BATS_TEST_TMPDIR"/ctr-* | grep -E '^[0-9a-f]{64}$' | sort -u | wc -l)" = 24 ]
  [ "$(pgrep -P "$CRISPD_PID" -c "gate:.*")" -le 16 ]
}

@test "a pod that could not be made leaves nobody behind for its handler" {
  run_err 6 cri RunPodSandbox "{\"runtime_handler\":\"nosuch\",\"config\":$(pod_json bad)}"
  none_waits
}

@test "a tool that knows no gate refuses the word" {
  run -2 ctrmon --gate=9 --version
  run -2 podnet --gate=1 --version
  run -2 podnet --gate= --version
  # nobody holds the other end: not wanted
  [ -z "$(podnet --gate=9 network 9</dev/null)" ]
  [ "$(echo 7 | podnet --gate=9 network 9<&0)" = "$(podnet network)" ]
}

@test "a configuration that is another by the time it is wanted is read again" {
  run_pod before
  pid=$(awaited podnet)
  id=$(id_of "$pid")
  cp "$CRISP_CONFIG" "$BATS_TEST_TMPDIR/good.json"
  jq '.default_sysctls = { "net.ipv4.ip_unprivileged_port_start": "79" }' "$BATS_TEST_TMPDIR/good.json" >"$CRISP_CONFIG"
  [ "$(run_pod after)" = "$id" ]
  [ "$(podnet exec "$id" -- cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" = 79 ]
  pid=$(awaited podnet)
  echo '{ "rot": 1 }' >"$CRISP_CONFIG"
  run_err 6 cri RunPodSandbox "{\"config\":$(pod_json bad)}"
  [[ $stderr == *"rot: unknown key"* ]]
  # one that begins with it is not told from one that finds it later
  mkdir "${CRISP_CONFIG%/*}/conf.d"
  cp "$BATS_TEST_TMPDIR/good.json" "$CRISP_CONFIG"
  run_pod again
  pid=$(awaited podnet)
  id=$(id_of "$pid")
  echo '{ "default_sysctls": { "net.ipv4.ip_unprivileged_port_start": "78" } }' >"${CRISP_CONFIG%/*}/conf.d/9.json"
  [ "$(run_pod last)" = "$id" ]
  [ "$(podnet exec "$id" -- cat /proc/sys/net/ipv4/ip_unprivileged_port_start)" = 78 ]
}

@test "one that was killed is not missed, nor a zombie" {
  run_pod before
  victim=$(awaited podnet)
  id=$(id_of "$victim")
  kill -9 "$victim"
  wait_for 10 test ! -e "/proc/$victim"
  [ "$(run_pod after)" != "$id" ]
  awaited podnet
}

@test "an installed program is not the one that was replaced; a script in its place is not started before its time" {
  bin=$BATS_TEST_TMPDIR/bin
  mkdir "$bin"
  cp "$BUILD"/bin/* "$bin"
  OWN=$BATS_TEST_TMPDIR/own
  jq --arg b "$bin" '. + { tools_dir: $b }' "$CRISP_CONFIG" >"$BATS_TEST_TMPDIR/c.json"
  "$bin/crispd" --config "$BATS_TEST_TMPDIR/c.json" --root "$OWN/root" --runroot "$OWN/run" 3>&- 2>"$BATS_TEST_TMPDIR/log" &
  own=$!
  sock=$OWN/run/crisp.sock
  wait_for 10 timeout 20 cricall --socket "$sock" Version
  host() { cricall --socket "$sock" RunPodSandbox "{\"config\":$(pod_json "$1" | jq -c '.linux.security_context.namespace_options.network = 2')}" | jq -r .pod_sandbox_id; }
  host a
  old=$(awaited podnet "$own")
  cp "$BUILD/bin/podnet" "$bin/new" && mv "$bin/new" "$bin/podnet"
  kill -STOP "$old" # it would never do it
  [ "$(host b)" != "" ]
  wait_for 10 test ! -e "/proc/$old"
  awaited podnet "$own"
  printf '#!/bin/sh\necho "$@" >>%s\nexec %s "$@"\n' "$bin/ran" "$BUILD/bin/podnet" >"$bin/script"
  chmod +x "$bin/script" && mv "$bin/script" "$bin/podnet"
  host c
  host d
  [ "$(wc -l <"$bin/ran")" = 2 ]
  run -1 pgrep -P "$own" -x gate:podnet
  for id in $(cricall --socket "$sock" ListPodSandbox | jq -r '.items[].id'); do cricall --socket "$sock" RemovePodSandbox "{\"pod_sandbox_id\":\"$id\"}"; done
  kill "$own"
  wait "$own"
}

@test "kill -9 of the daemon: what waits ends, and nothing was done; so does it at a reload and at the end" {
  pod=$(run_pod gone)
  ctr=$(create_ctr "$pod" one)
  all="$(awaited podnet) $(awaited ctrrun)"
  kill -HUP "$CRISPD_PID"
  wait_for 10 none_waits
  for pid in $all; do wait_for 10 test ! -e "/proc/$pid"; done
  another=$(create_ctr "$pod" two)
  pid=$(awaited ctrrun)
  kill -9 "$CRISPD_PID"
  timeout 10 tail --pid="$pid" -f /dev/null
  ctrrun ls --json | jq -e --arg a "$ctr" --arg b "$another" '[.[] | select(.id == $a or .id == $b).status] == ["created", "created"]'
  crispd_start
  run_pod last
  pid=$(awaited podnet)
  crispd_stop
  wait_for 10 test ! -e "/proc/$pid"
  crispd_start
}

@test "one that nobody takes is ended after ten seconds; the next pod's stays" {
  pod=$(run_pod idle)
  pid=$(awaited ocibundle)
  timeout 20 tail --pid="$pid" -f /dev/null
  waiting podnet
}
