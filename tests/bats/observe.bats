#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What an admin sees of a running crispd: Prometheus' page, ctrevents.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  jq '.metrics_port = "0"' "$CRISP_CONFIG" >"$CRISP_CONFIG.new" && mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"
  IMAGE=$(pull_image bb)
  export IMAGE
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
}
teardown_file() {
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
  crisp_file_teardown
}
setup() {
  requires root crun
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
}
teardown() {
  local id
  for id in $(podnet ls --json | jq -r '.[].id'); do
    cricall --socket "$SOCK" RemovePodSandbox "{\"pod_sandbox_id\":\"$id\"}" || true
  done
}

cri() { timeout 100 cricall --socket "$SOCK" "$@"; }
page() { curl -sS --noproxy '*' --max-time 10 "$(grep -o 'http://[0-9.:]*/metrics' "$CRISPD_LOG" | tail -1)"; }
value() { page | awk -v name="$1" '$1 == name {print $2; found = 1} END {exit !found}'; }

# Follow the events into the file $EVENTS until the test ends.
follow() {
  EVENTS=$BATS_TEST_TMPDIR/events
  ctrevents --json --timeout 60 "$@" >"$EVENTS" 2>"$EVENTS.err" 3>&- &
  FOLLOWER=$!
  wait_for 10 grep -q listening "$EVENTS.err"
}
unfollow() {
  kill "$FOLLOWER"
  wait "$FOLLOWER"
}
has_event() { jq -es --arg e "$1" --arg id "$2" 'any(.event == $e and .id == $id)' "$EVENTS" >/dev/null; }

@test "the metrics page counts calls by name and code, and their time in histograms that add up" {
  local before after
  cri Version
  before=$(value 'crisp_requests_total{rpc="Version",code="OK"}')
  cri Version
  run cri ContainerStatus '{"container_id":"00"}'
  [ "$status" != 0 ]
  after=$(value 'crisp_requests_total{rpc="Version",code="OK"}')
  [ "$after" = $((before + 1)) ]
  [ "$(value 'crisp_requests_total{rpc="ContainerStatus",code="NOT_FOUND"}')" = 1 ]
  [ "$(value 'crisp_request_duration_seconds_count{rpc="Version"}')" = "$after" ]
  [ "$(value 'crisp_request_duration_seconds_bucket{rpc="Version",le="+Inf"}')" = "$after" ]
  # Buckets are cumulative.
  page | awk '/^crisp_request_duration_seconds_bucket{rpc="Version"/ { if ($2 < last) exit 1; last = $2; n++ } END { exit n != 17 }'
}

@test "the metrics page tells of tools, pods, containers, monitors and the daemon itself" {
  local pod
  pod=$(cri RunPodSandbox "{\"config\":$(pod_json metrics)}" | jq -r .pod_sandbox_id)
  [ "$(value 'crisp_pods{state="ready"}')" = 1 ]
  [ "$(value 'crisp_step_duration_seconds_count{tool="podnet"}')" -ge 1 ]
  [ "$(value 'crisp_steps_failed_total{tool="podnet"}')" = 0 ]
  ctr=$(cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" sleep 100)}" | jq -r .container_id)
  cri StartContainer "{\"container_id\":\"$ctr\"}"
  [ "$(value 'crisp_containers{state="running"}')" = 1 ]
  [ "$(value crisp_monitors)" = 1 ]
  [ "$(value crisp_images)" = 1 ]
  [ "$(value crisp_stuck_steps)" = 0 ]
  [ "$(value process_open_fds)" -gt 5 ]
  [ "$(value process_resident_memory_bytes)" -gt 1000000 ]
  # Every sample has its type said before it, once.
  page | awk '/^# TYPE/ { if (seen[$3]++) exit 1; next } /^#/ { next }
    { name = $1; sub(/\{.*/, "", name); base = name; sub(/_(bucket|sum|count)$/, "", base)
      if (!(name in seen) && !(base in seen)) { print name; exit 1 } }'
}

@test "the metrics page refuses what is no request for it" {
  local url
  url=$(grep -o 'http://[0-9.:]*/metrics' "$CRISPD_LOG" | tail -1)
  [ "$(curl -s --noproxy '*' -o /dev/null -w '%{http_code}' "${url%metrics}x")" = 404 ]
  [ "$(curl -s --noproxy '*' -o /dev/null -w '%{http_code}' -X POST "$url")" = 405 ]
  [ "$(curl -s --noproxy '*' -o /dev/null -w '%{http_code}' -H "X: $(head -c 20000 /dev/zero | tr '\0' x)" "$url")" = 431 ]
}

@test "ctrevents tells each step of a pod and its container, by whom it was made" {
  local pod ctr hand
  follow
  pod=$(cri RunPodSandbox "{\"config\":$(pod_json seen)}" | jq -r .pod_sandbox_id)
  ctr=$(cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" sh -c 'exit 3')}" | jq -r .container_id)
  cri StartContainer "{\"container_id\":\"$ctr\"}"
  wait_for 10 has_event stopped "$ctr"
  hand=$(pod_json byhand | podnet create -)
  wait_for 10 has_event created "$hand"
  podnet rm "$hand"
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  wait_for 10 has_event deleted "$pod"
  wait_for 10 has_event deleted "$hand"
  unfollow
  cat "$EVENTS"
  [ "$(jq -r --arg id "$ctr" 'select(.id == $id) | .event' "$EVENTS" | paste -sd,)" = created,started,stopped,deleted ]
  [ "$(jq -r --arg id "$pod" 'select(.id == $id) | .event' "$EVENTS" | paste -sd,)" = created,started,stopped,deleted ]
  jq -es --arg id "$ctr" 'any(.id == $id and .event == "stopped" and .exit_code == 3 and .reason == "Error")' "$EVENTS"
  jq -es --arg pod "$pod" 'map(select(.pod == $pod and .kind == "container")) | length == 4' "$EVENTS"
}

@test "ctrevents follows one object, or one kind" {
  local a b
  a=$(pod_json one | podnet create -)
  follow --kind pod "${a:0:12}"
  b=$(pod_json two | podnet create -)
  podnet rm "$b"
  podnet rm "$a"
  wait_for 10 has_event deleted "$a"
  unfollow
  run grep -q "$b" "$EVENTS"
  [ "$status" = 1 ]
}

@test "ctrevents goes on when crispd is started anew, and refuses to wait for one that is not there" {
  local a
  follow
  crispd_stop
  run_err 8 ctrevents
  [[ $stderr == *"no crispd runs on"* ]]
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
  seen_again() {
    a=$(pod_json "again$RANDOM" | podnet create -) && podnet rm "$a" && has_event deleted "$a"
  }
  wait_for 20 seen_again
  unfollow
}

@test "ctrevents ends by its clock with success, and refuses a kind that is none" {
  run ctrevents --timeout 0.2
  [ "$status" = 0 ]
  run_err 2 ctrevents --kind dog
  [[ $stderr == *"'dog' is not pod, container or image"* ]]
}

# A tool's verbs on this file's directories, and a copy of an answer for the log.
answer() {
  run --separate-stderr crispd "$@"
  printf '%s\n%s\n%s\n' "$status" "$output" "$stderr"
}

@test "crispd ps shows what is under way, and that nothing is" {
  local pod ctr stopper
  answer ps --json
  [ "$output" = '[]' ]
  pod=$(cri RunPodSandbox "{\"config\":$(pod_json busy)}" | jq -r .pod_sandbox_id)
  ctr=$(cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" sh -c 'trap "" TERM; while :; do sleep 1; done')}" | jq -r .container_id)
  cri StartContainer "{\"container_id\":\"$ctr\"}"
  cri StopContainer "{\"container_id\":\"$ctr\",\"timeout\":60}" 3>&- &
  stopper=$!
  stop_shows() { crispd ps --json | jq -e --arg c "$ctr" 'any(.rpc == "StopContainer" and .container == $c and .tool == "ctrrun")'; }
  wait_for 10 stop_shows
  answer ps
  [[ $output == RPC*StopContainer*"${ctr:0:13}"*ctrrun* ]]
  cri StopContainer "{\"container_id\":\"$ctr\",\"timeout\":0}"
  wait "$stopper"
}

@test "crispd check finds nothing in what works, and names what was broken" {
  local pod ctr bad
  pod=$(cri RunPodSandbox "{\"config\":$(pod_json checked)}" | jq -r .pod_sandbox_id)
  ctr=$(cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$IMAGE" sleep 100)}" | jq -r .container_id)
  cri StartContainer "{\"container_id\":\"$ctr\"}"
  answer check
  [ "$status" = 0 ]
  [[ $output == "1 pods and 1 containers: everything agrees" ]]
  # A record that is damaged behind the daemon's back.
  cp "$ROOT/pods/$pod/state.json" "$CRISP_TMP/state.json"
  echo '{' >"$ROOT/pods/$pod/state.json"
  answer check --json
  [ "$status" = 5 ]
  jq -e --arg o "pod $pod" '.found | length == 1 and .[0].object == $o and (.[0].problem | startswith("record:"))' <<<"$output"
  cp "$CRISP_TMP/state.json" "$ROOT/pods/$pod/state.json"
  # An object that the daemon has not heard of, and a mount that belongs to nothing.
  bad=$(printf 'ab%.0s' {1..32})
  mkdir -p "$ROOT/pods/$bad" "$RUNROOT/containers/$bad/bundle/rootfs"
  jq --arg id "$bad" '.id = $id | .state = "notready"' "$CRISP_TMP/state.json" >"$ROOT/pods/$bad/state.json"
  mount -t tmpfs none "$RUNROOT/containers/$bad/bundle/rootfs"
  answer check
  umount "$RUNROOT/containers/$bad/bundle/rootfs"
  rm -rf "${ROOT:?}/pods/$bad" "${RUNROOT:?}/containers/$bad"
  [ "$status" = 5 ]
  [[ $output == *"pod $bad: is on disk (notready), but crispd does not know it"* ]]
  [[ $output == *"mount $RUNROOT/containers/$bad/bundle/rootfs: belongs to no container"* ]]
  [ "$(wc -l <<<"$output")" = 2 ]
}

@test "crispd check without a daemon compares disk and kernel" {
  crispd_stop
  answer check
  [ "$status" = 0 ]
  [[ $stderr == *"no crispd runs"* ]]
  run_err 8 crispd ps
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
}

@test "crispd config tells each value and the file it comes from" {
  mkdir -p "$CRISP_TMP/other/conf.d"
  echo '{"ctr_stop_timeout": 7, "stream_port": "1"}' >"$CRISP_TMP/other/crisp.json"
  echo '{"stream_port": "2"}' >"$CRISP_TMP/other/conf.d/50.json"
  answer config --json --config "$CRISP_TMP/other/crisp.json" --root "$CRISP_TMP/r" --runroot "$CRISP_TMP/rr"
  [ "$status" = 0 ]
  jq -e --arg d "$CRISP_TMP/other" '.ctr_stop_timeout == {value: 7, source: ($d + "/crisp.json")}
    and .stream_port == {value: "2", source: ($d + "/conf.d/50.json")} and .log_level == {value: "info", source: "default"}
    and .root.source == "--root"' <<<"$output"
  answer config --config "$CRISP_TMP/other/crisp.json" --root "$CRISP_TMP/r" --runroot "$CRISP_TMP/rr"
  grep -E "^stream_port +\"2\" +$CRISP_TMP/other/conf.d/50.json$" <<<"$output"
  run_err 2 crispd nonsense
  [[ $stderr == *"unknown verb 'nonsense'"* ]]
}

@test "ctrstat shows who uses the processor and memory, and in which limits" {
  local pod busy idle
  pod=$(pod_json stats | podnet create -)
  busy=$(ctr_json busy "$IMAGE" sh -c 'while :; do :; done' | jq '.linux.resources.memory_limit_in_bytes = 67108864' | ocibundle create "$pod" -)
  idle=$(ctr_json idle "$IMAGE" sleep 100 | ocibundle create "$pod" -)
  for c in "$busy" "$idle"; do ctrrun create "$c" && ctrrun start "$c"; done
  run --separate-stderr ctrstat --json
  echo "$output"
  [ "$status" = 0 ]
  jq -es --arg b "$busy" --arg i "$idle" 'length == 2 and .[0].id == $b and .[1].id == $i and .[0].cpu_percent > 20
    and .[1].cpu_percent < 20 and .[0].memory_limit == 67108864 and .[1].memory_limit == null and .[1].tasks == 1
    and .[0].name == "busy" and .[0].pod_name == "stats" and .[0].working_set > 0' <<<"$output"
  run --separate-stderr ctrstat idle
  [[ ${lines[0]} == CONTAINER*NAME*POD*CPU*MEMORY* && ${lines[1]} == "${idle:0:13} idle "*stats* && ${#lines[@]} = 2 ]]
  run --separate-stderr ctrstat -n 3 -i 0.1 stats
  [ "$(grep -c ^CONTAINER <<<"$output")" = 3 ]
  run_err 3 ctrstat nobody
  [[ $stderr == *"no such container or pod: nobody"* ]]
  run_err 2 ctrstat -i 0
  podnet stop "$pod" || true
  ctrrun rm --force "$busy"; ctrrun rm --force "$idle"
  ocibundle rm "$busy"; ocibundle rm "$idle"
  podnet rm "$pod"
}
