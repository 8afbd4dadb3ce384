#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# scripts/pod: pods by hand in a word each.
load ../lib/helpers
load ../lib/world

setup_file() {
  requires root crun
  crisp_file_setup
  crisp_cni
  crisp_registry
  make_image web
  ocipull "$REGISTRY/web:latest"
  # The bridge comes with the first pod and stays.
  podnet rm "$(pod_json first | podnet create -)"
}
teardown_file() { crisp_file_teardown; }
setup() {
  POD=$BATS_TEST_DIRNAME/../../scripts/pod
  world_saved
  pod_json hand | jq --arg g "${GROUPS_OF_FILE}hand" '.linux.cgroup_parent = $g' >"$BATS_TEST_TMPDIR/pod.json"
}

# container NAME CMD...: its file
container() { ctr_json "$1" "$REGISTRY/web:latest" "${@:2}" >"$BATS_TEST_TMPDIR/$1.json"; }

@test "up, ps, exec, logs, down: names and short ids, two containers, nothing left" {
  container serve httpd -f -h /
  container say sh -c 'echo said; sleep 1000'
  run -0 --separate-stderr "$POD" up "$BATS_TEST_TMPDIR"/{pod,serve,say}.json
  pod=$output
  [ "${#pod}" = 64 ]
  wait_for 10 curl -sf "http://$(podnet status "$pod" | jq -r .ip)/etc/passwd"
  run -0 "$POD" ps
  [[ $output == *"${pod:0:12}"*hand*ready* ]]
  [[ $output == *serve*running* ]]
  [[ $output == *say*running* ]]
  "$POD" ps --json | jq -e --arg p "$pod" '.[0].id == $p and ([.[0].containers[].name] | sort) == ["say", "serve"]'
  [ "$("$POD" exec serve hostname)" = hand ]
  run -7 "$POD" exec serve sh -c 'exit 7'
  wait_for 10 bash -c "[ \"\$('$POD' logs say)\" = said ]"
  run -0 "$POD" down -t 0 "${pod:0:8}"
  nothing_left
}

@test "what cannot be brought up is taken down again, with the tool's own words and status" {
  container good sleep 1000
  container bad no-such-command
  run --separate-stderr "$POD" up "$BATS_TEST_TMPDIR"/{pod,good,bad}.json
  [ "$status" != 0 ]
  [ -z "$output" ]
  [[ $stderr == *no-such-command* ]]
  nothing_left
  echo '{ "metadata": { "name": "c" } }' >"$BATS_TEST_TMPDIR/bad.json"
  run_err 6 "$POD" up "$BATS_TEST_TMPDIR"/{pod,bad}.json
  [[ $stderr == *"bad.json: names no image"* ]]
  run_err 3 "$POD" up "$BATS_TEST_TMPDIR"/{pod,none}.json
  [[ $stderr == *"none.json: cannot be read"* ]]
  # One file is taken for a manifest's.
  run_err 6 "$POD" up "$BATS_TEST_TMPDIR/pod.json"
  [[ $stderr == *"pod.json: not what podmanifest prints"* ]]
  # A podmanifest that failed prints nothing, and has said why.
  run_err 6 "$POD" up - </dev/null
  [[ $stderr == *"-: there is nothing in it" ]]
  run_err 2 "$POD" up --wait "$BATS_TEST_TMPDIR"/{pod,good}.json
  run_err 3 "$POD" down no-such-pod
  [[ $stderr == *"no-such-pod"* ]]
  # An image that is not there is pulled.
  container absent true
  ocistore rm "$REGISTRY/web:latest"
  run -0 --separate-stderr "$POD" up "$BATS_TEST_TMPDIR"/{pod,absent}.json
  "$POD" down "$output"
  run_err 2 "$POD" sideways
  [[ $stderr == *"usage: pod up"* ]]
  nothing_left
}

@test "a signal while it comes up leaves nothing" {
  container slow sleep 1000
  mkdir -p "$CRISP_TMP/tools"
  # Waits where the container would be started.
  printf '#!/bin/sh\nif [ "$1" = start ]; then : >"%s/waiting"; sleep 1000 & wait; fi\nexec "%s/bin/ctrrun" "$@"\n' "$CRISP_TMP" "$BUILD" >"$CRISP_TMP/tools/ctrrun"
  chmod +x "$CRISP_TMP/tools/ctrrun"
  PATH=$CRISP_TMP/tools:$PATH setsid "$POD" up "$BATS_TEST_TMPDIR"/{pod,slow}.json 3>&- &
  local script=$!
  wait_for 20 test -e "$CRISP_TMP/waiting"
  kill -TERM -- "-$script"
  run wait $script
  [ "$status" != 0 ]
  nothing_left
}
