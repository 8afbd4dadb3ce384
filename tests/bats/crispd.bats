#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# crispd with the real tools, network and runtime: what a kubelet does, what it sees, and what is left when a process
# dies on the way.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  jq '.default_runtime = "runc"' "$CRISP_CONFIG" >"$CRISP_CONFIG.new" && mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"
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
  requires root runc
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
}

# Each test leaves nothing behind in the lists, and the same daemon unless it says otherwise.
teardown() {
  local id
  kill -0 "$(cat "$CRISP_TMP/crispd.pid")"
  for id in $(cri ListPodSandbox | jq -r '.items[]?.id'); do cri RemovePodSandbox "{\"pod_sandbox_id\":\"$id\"}"; done
}

cri() { timeout 100 cricall --socket "$SOCK" "$@"; }
case_py() {
  run py crispd_case.py "$SOCK" "$@"
  echo "$output"
  [ "$status" = 0 ]
}
run_pod() { cri RunPodSandbox "{\"config\":$(pod_json "$1" | jq -c "${2:-.}")}" | jq -r .pod_sandbox_id; }
# create_ctr POD NAME FILTER CMD...: the filter changes the configuration
create_ctr() {
  local pod=$1 name=$2 filter=$3
  shift 3
  cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json "$name" "$IMAGE" "$@" | jq -c "$filter")}" | jq -r .container_id
}
run_ctr() {
  local id
  id=$(create_ctr "$@") && cri StartContainer "{\"container_id\":\"$id\"}" >/dev/null && echo "$id"
}
ctr_status() { cri ContainerStatus "{\"container_id\":\"$1\"}" | jq -c .status; }
ctr_is() { [ "$(ctr_status "$1" | jq -r "${3:-.state}")" = "$2" ]; }
restart() {
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
}

@test "a pod's way" {
  pod=$(run_pod way '.labels={a:"1",b:"ä\u0000"[0:1]} | .annotations={"x/y":"{\"k\": [1]}"}')
  cri PodSandboxStatus "{\"pod_sandbox_id\":\"$pod\",\"verbose\":true}" >"$BATS_TEST_TMPDIR/status"
  jq -e --arg id "$pod" '.status | .id == $id and .metadata == {name:"way",uid:"uid-way",namespace:"default",attempt:1}
    and .created_at > 1e18 and .labels == {a:"1",b:"ä"} and .annotations == {"x/y":"{\"k\": [1]}"}
    and (has("state") | not)' "$BATS_TEST_TMPDIR/status" # READY is 0
  jq -e '.info.info | fromjson | .config.hostname == "way" and .netns != ""' "$BATS_TEST_TMPDIR/status"
  jq -e '.timestamp > 1e18' "$BATS_TEST_TMPDIR/status"
  [[ $(jq -r .status.network.ip "$BATS_TEST_TMPDIR/status") == $SUBNET.* ]]
  cri ListPodSandbox | jq -e --arg id "$pod" '.items | length == 1 and .[0].id == $id and .[0].labels.a == "1"'
  cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  cri ListPodSandbox | jq -e '.items[0].state == "SANDBOX_NOTREADY"'
  cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  [ "$(cri ListPodSandbox | jq -c .items)" = null ]
  run_err 3 cri PodSandboxStatus "{\"pod_sandbox_id\":\"$pod\"}"
  [ ! -e "$ROOT/pods/$pod" ]
  [ ! -e "$RUNROOT/pods/$pod" ]
}

@test "a container's way" {
  pod=$(run_pod cway)
  ctr=$(create_ctr "$pod" web '.labels={l:"1"} | .annotations={a:"2"} | .linux.resources={memory_limit_in_bytes:67108864}
    | .mounts=[{container_path:"/mnt",host_path:"/usr/share",readonly:true},
      {container_path:"/i",readonly:true,image:{image:"'"$(cri ListImages | jq -r '.images[0].repo_tags[0] // .images[0].id')"'"},image_sub_path:"bin"}]' sh -c 'trap "exit 3" TERM; echo hello; while :; do sleep 0.05; done')
  ctr_is "$ctr" null || ctr_is "$ctr" CONTAINER_CREATED
  cri StartContainer "{\"container_id\":\"$ctr\"}"
  ctr_status "$ctr" | tee "$BATS_TEST_TMPDIR/s"
  jq -e --arg log "$CRISP_TMP/logs/cway/web.log" --arg image "$IMAGE" '.state == "CONTAINER_RUNNING" and .metadata.name == "web"
    and .labels == {l:"1"} and .annotations == {a:"2"} and .log_path == $log and .image_ref == $image and .image_id == $image
    and .image.image != "" and .mounts[0].container_path == "/mnt" and .mounts[1].image.image_ref == $image and .mounts[1].image_sub_path == "bin" and .started_at >= .created_at
    and .resources.linux.memory_limit_in_bytes == 67108864 and (.user.linux.supplemental_groups == [0]) and .stop_signal == "SIGNAL_SIGTERM"' "$BATS_TEST_TMPDIR/s"
  cri PodSandboxStatus "{\"pod_sandbox_id\":\"$pod\"}" | jq -e --arg c "$ctr" '.containers_statuses | length == 1 and .[0].id == $c'
  wait_for 5 grep -q 'stdout F hello$' "$CRISP_TMP/logs/cway/web.log"
  cri ReopenContainerLog "{\"container_id\":\"$ctr\"}"
  cri ContainerStats "{\"container_id\":\"$ctr\"}" | jq -e '.stats | .cpu.timestamp > 0 and .cpu.usage_core_nano_seconds.value > 0
    and .memory.working_set_bytes.value > 0 and .memory.timestamp > 0 and .writable_layer.timestamp > 0 and .attributes.metadata.name == "web"'
  cri ListContainerStats | jq -e '.stats | length == 1'
  cri StopContainer "{\"container_id\":\"$ctr\",\"timeout\":20}"
  ctr_status "$ctr" | jq -e '.state == "CONTAINER_EXITED" and .exit_code == 3 and .reason == "Error" and .finished_at > .started_at'
  cri StopContainer "{\"container_id\":\"$ctr\",\"timeout\":20}"
  cri RemoveContainer "{\"container_id\":\"$ctr\"}"
  cri RemoveContainer "{\"container_id\":\"$ctr\"}"
  run_err 3 cri ContainerStatus "{\"container_id\":\"$ctr\"}"
  [ ! -e "$ROOT/containers/$ctr" ]
  [ -s "$CRISP_TMP/logs/cway/web.log" ]
}

@test "an exit is noticed at once, with its code and reason" {
  pod=$(run_pod exits)
  ok=$(run_ctr "$pod" ok . sh -c 'exit 0')
  bad=$(run_ctr "$pod" bad . sh -c 'exit 41')
  wait_for 2 ctr_is "$ok" CONTAINER_EXITED
  wait_for 2 ctr_is "$bad" CONTAINER_EXITED
  ctr_is "$ok" Completed .reason
  ctr_status "$bad" | jq -e '.reason == "Error" and .exit_code == 41'
}

@test "a container that exceeds its memory is OOMKilled" {
  requires cgroup1
  pod=$(run_pod oom)
  ctr=$(run_ctr "$pod" eats '.linux.resources={memory_limit_in_bytes:16777216}' sh -c 'x=a; while :; do x=$x$x; done')
  wait_for 20 ctr_is "$ctr" CONTAINER_EXITED
  ctr_status "$ctr" | jq -e '.reason == "OOMKilled" and .exit_code == 137'
}

@test "a start that fails is told, and the container is exited with StartError" {
  pod=$(run_pod nostart)
  ctr=$(create_ctr "$pod" none . /no/such/program)
  run cri StartContainer "{\"container_id\":\"$ctr\"}"
  [ "$status" != 0 ]
  [[ $output == *no/such/program* ]]
  ctr_status "$ctr" | jq -e '.state == "CONTAINER_EXITED" and .reason == "StartError" and .exit_code == 128'
}

nice_of() { awk '{ sub(/.*\) /, ""); print $17 }' "/proc/$1/stat"; }

@test "crispd goes first, what it starts does not" {
  [ "$(nice)" = 0 ] || skip "the tests have a priority of their own"
  [ "$(nice -n -1 nice 2>/dev/null)" = -1 ] || skip "no right to a higher priority"
  ctr=$(run_ctr "$(run_pod first)" c . sleep 100)
  [ "$(nice_of "$CRISPD_PID")" -eq -10 ]
  [ "$(nice_of "$(jq .monitor "$ROOT/containers/$ctr/state.json")")" -eq 0 ]
  [ "$(nice_of "$(jq .pid "$ROOT/containers/$ctr/state.json")")" -eq 0 ]
  for _ in {1..20}; do cri ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"nice\"]}" | jq -e '.stdout | @base64d == "0\n"'; done
}

@test "kill -9 of crispd: containers go on, their exits are not lost" {
  pod=$(run_pod kill9)
  stays=$(run_ctr "$pod" stays '.linux.resources = { cpu_shares: 512, oom_score_adj: -998 }' sleep 1000)
  cri UpdateContainerResources "{\"container_id\":\"$stays\",\"linux\":{\"memory_limit_in_bytes\":67108864}}"
  # What the host could not give is in the journal.
  if ! capsh --has-p=cap_sys_resource 2>/dev/null; then grep -q ' CreateContainer .* warning="oom_score_adj -998 raised' "$ROOT/pods/$pod/journal"; fi
  ends=$(run_ctr "$pod" ends . sh -c 'sleep 0.5; exit 9')
  kill -9 "$(cat "$CRISP_TMP/crispd.pid")"
  wait_for 10 test -e "$ROOT/containers/$ends/exit.json"
  restart
  ctr_status "$stays" | jq -e '.state == "CONTAINER_RUNNING" and .resources.linux.memory_limit_in_bytes == 67108864 and .resources.linux.cpu_shares == 512'
  ctr_status "$ends" | jq -e '.state == "CONTAINER_EXITED" and .exit_code == 9'
  cri ListPodSandbox | jq -e --arg p "$pod" '.items | length == 1 and .[0].id == $p and (.[0] | has("state") | not)'
  [ "$(run_pod kill9)" = "$pod" ]
  [ "$(cri ExecSync "{\"container_id\":\"$stays\",\"cmd\":[\"echo\",\"alive\"]}" | jq -r .stdout)" = alive ]
  # And its later exit is still noticed.
  cri StopContainer "{\"container_id\":\"$stays\"}"
  ctr_is "$stays" 137 .exit_code
}

@test "kill -9 of a monitor, then of its container: noticed without a word" {
  pod=$(run_pod lost)
  ctr=$(run_ctr "$pod" c . sleep 1000)
  cri ContainerStatus "{\"container_id\":\"$ctr\",\"verbose\":true}" | jq -r '.info.info | fromjson | .monitor, .pid' >"$BATS_TEST_TMPDIR/pids"
  { read -r monitor && read -r pid; } <"$BATS_TEST_TMPDIR/pids"
  # Both are gone before crispd looks: a new monitor would learn the code.
  kill -STOP "$CRISPD_PID"
  kill -9 "$monitor"
  kill -9 "$pid" || true # the runtime may have taken it along
  wait_for 5 test ! -e "/proc/$pid"
  kill -CONT "$CRISPD_PID"
  wait_for 5 ctr_is "$ctr" CONTAINER_EXITED
  ctr_status "$ctr" | jq -e '.exit_code == 255 and .reason == "ContainerStatusUnknown" and .finished_at > 0'
  cri RemoveContainer "{\"container_id\":\"$ctr\"}"
}

@test "what is done by hand is seen at once, and pods made by hand are not shown" {
  pod=$(run_pod seen)
  ctr=$(run_ctr "$pod" c . sleep 1000)
  ctrrun stop --timeout 0 "$ctr"
  ctr_is "$ctr" CONTAINER_EXITED
  pod_json byhand >"$BATS_TEST_TMPDIR/pod.json"
  hand=$(podnet create "$BATS_TEST_TMPDIR/pod.json")
  cri ListPodSandbox | jq -e --arg p "$pod" '[.items[].id] == [$p]'
  run_err 3 cri PodSandboxStatus "{\"pod_sandbox_id\":\"$hand\"}"
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$hand\"}"
  [ -e "$ROOT/pods/$hand" ]
  # Its name is taken all the same.
  run_err 4 cri RunPodSandbox "{\"config\":$(pod_json byhand)}"
  [[ $stderr == *$hand* ]]
  # And a pod of the kubelet's that somebody removes.
  ctrrun rm "$ctr" && ocibundle rm "$ctr" && podnet rm "$pod"
  [ "$(cri ListPodSandbox | jq -c .items)" = null ]
  # Unless the configuration says otherwise: then it is shown like any other, with what is in it, and can be removed.
  crispd_stop
  mkdir -p "$CRISP_TMP/etc/conf.d"
  echo '{ "adopt_hand_made": true }' >"$CRISP_TMP/etc/conf.d/adopt.json"
  restart
  c=$(ctr_json mine "$IMAGE" sleep 1000 | ocibundle create "$hand" -)
  ctrrun create "$c" && ctrrun start "$c"
  cri ListPodSandbox | jq -e --arg p "$hand" '[.items[].id] == [$p]'
  wait_for 10 ctr_is "$c" CONTAINER_RUNNING
  cri ListContainers | jq -e --arg c "$c" '[.containers[].id] == [$c]'
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$hand\"}"
  [ ! -e "$ROOT/pods/$hand" ]
  [ ! -e "$ROOT/containers/$c" ]
  crispd_stop
  rm "$CRISP_TMP/etc/conf.d/adopt.json"
  restart
}

@test "filters" {
  one=$(run_pod f1 '.labels={app:"x",tier:"1"}')
  two=$(run_pod f2 '.labels={app:"x",tier:"2"}')
  a=$(run_ctr "$one" a '.labels={k:"v",n:"1"}' sleep 1000)
  b=$(create_ctr "$two" b '.labels={k:"v",n:"2"}' sleep 1000)
  pods() { cri ListPodSandbox "{\"filter\":$1}" | jq -r '.items[]?.id' | sort; }
  ctrs() { cri ListContainers "{\"filter\":$1}" | jq -r '.containers[]?.id' | sort; }
  both() { printf '%s\n' "$@" | sort; }
  [ "$(pods '{}')" = "$(both "$one" "$two")" ]
  [ "$(pods '{"label_selector":{"app":"x"}}')" = "$(both "$one" "$two")" ]
  [ "$(pods '{"label_selector":{"app":"x","tier":"2"}}')" = "$two" ]
  [ -z "$(pods '{"label_selector":{"app":"y"}}')" ]
  [ "$(pods "{\"id\":\"${one:0:12}\"}")" = "$one" ]
  [ -z "$(pods "{\"id\":\"$one\",\"label_selector\":{\"tier\":\"2\"}}")" ]
  [ -z "$(pods '{"state":{"state":"SANDBOX_NOTREADY"}}')" ]
  [ "$(ctrs '{}')" = "$(both "$a" "$b")" ]
  [ "$(ctrs "{\"pod_sandbox_id\":\"$one\"}")" = "$a" ]
  [ "$(ctrs '{"state":{"state":"CONTAINER_CREATED"}}')" = "$b" ]
  [ "$(ctrs '{"state":{"state":"CONTAINER_RUNNING"}}')" = "$a" ]
  [ "$(ctrs '{"label_selector":{"k":"v","n":"2"}}')" = "$b" ]
  [ "$(ctrs "{\"id\":\"${a:0:8}\"}")" = "$a" ]
  [ -z "$(ctrs '{"id":"ffffffffffffffffffffffff"}')" ]
}

@test "removing a pod takes its running containers along" {
  pod=$(run_pod all)
  run_ctr "$pod" a . sleep 98763
  create_ctr "$pod" b . sleep 98763
  cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  cri ListContainers | jq -e '[.containers[].state] == ["CONTAINER_EXITED","CONTAINER_EXITED"]'
  run ! pgrep -f 'sleep 98763'
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  [ -z "$(ls "$ROOT/containers")" ]
}

@test "the journal repeats in a shell what crispd did" {
  pod=$(run_pod journal)
  ctr=$(run_ctr "$pod" c . true)
  run cat "$ROOT/pods/$pod/journal"
  echo "$output"
  [[ ${lines[0]} == *"/podnet create --id $pod "*" - < $ROOT/pods/$pod/pod.json # "*" RunPodSandbox req="*" exit=0 ms="* ]]
  [[ ${lines[1]} == *"/ocibundle create --id $ctr --origin cri $pod - < $ROOT/containers/$ctr/container.json # "*CreateContainer* ]]
  [[ ${lines[2]} == *"/ctrrun create --defer-errors $ctr # "*CreateContainer* ]]
  [[ ${lines[3]} == *"/ctrrun start $ctr # "*StartContainer*exit=0* ]]
  # A line is a command: the start again is refused, as it must be.
  run bash -c "${lines[3]}"
  [ "$status" = 5 ]
}

@test "after a reboot nothing runs, and everything can be stopped and removed" {
  pod=$(run_pod reboot)
  ctr=$(run_ctr "$pod" c . sleep 1000)
  cri StopContainer "{\"container_id\":\"$ctr\"}"
  crispd_stop
  # What a reboot leaves: records of another boot, no exit that anybody wrote.
  local f
  for f in "$ROOT/pods/$pod/state.json" "$ROOT/containers/$ctr/state.json"; do
    jq -c '.boot_id = "00000000-0000-0000-0000-000000000000"' "$f" >"$f.new" && mv "$f.new" "$f"
  done
  rm "$ROOT/containers/$ctr/exit.json"
  restart
  cri ListPodSandbox | jq -e '.items[0].state == "SANDBOX_NOTREADY"'
  ctr_status "$ctr" | jq -e '.state == "CONTAINER_EXITED" and .exit_code == 255 and (.message | contains("reboot")) and .finished_at != null'
  run_err 4 cri RunPodSandbox "{\"config\":$(pod_json reboot)}"
  cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  [ -z "$(ls "$ROOT/pods")" ]
  [ -z "$(ls "$ROOT/containers")" ]
}

@test "records that are damaged are shown and can be removed" {
  pod=$(run_pod dam)
  ctr=$(run_ctr "$pod" c . sleep 1000)
  cri StopContainer "{\"container_id\":\"$ctr\"}"
  echo '{"version":1,' >"$ROOT/containers/$ctr/state.json"
  cp "$ROOT/pods/$pod/state.json" "$BATS_TEST_TMPDIR/state.json"
  echo garbage >"$ROOT/pods/$pod/state.json"
  crispd_stop
  restart
  cri ListPodSandbox | jq -e '.items[0] | .state == "SANDBOX_NOTREADY" and .metadata.name == "dam"'
  cri ListContainers | jq -e '.containers[0].state == "CONTAINER_UNKNOWN"'
  ctr_status "$ctr" | jq -e '.reason == "Damaged" and (.message | contains("state.json"))'
  cri RemoveContainer "{\"container_id\":\"$ctr\"}"
  [ ! -e "$ROOT/containers/$ctr" ]
  cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
  [ ! -e "$ROOT/pods/$pod" ]
  [ "$(cri ListPodSandbox | jq -c .items)" = null ]
}

@test "equal pods at once make one" { case_py same_pod; }
@test "equal containers at once make one" { case_py same_ctr; }
@test "ten pods at once" { case_py many_pods; }
@test "ExecSync: both streams, every exit code, twelve at once" { case_py exec_basics; }
@test "ExecSync: the timeout kills the command and nothing else" { case_py exec_timeout; }
@test "ExecSync: a process that keeps the pipes does not keep the call" { case_py exec_grandchild; }
@test "ExecSync: 16 MiB of output, the rest is dropped" { case_py exec_large; }
@test "ExecSync: a client that gives up ends the command" { case_py exec_cancel; }
@test "StopContainer: a shorter grace wins" { case_py shorter_stop; }
@test "RemoveContainer does not wait for a long stop" { case_py remove_beside_stop; }
