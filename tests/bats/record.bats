#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Every call of a daemon recorded (crispd --record), and sent again (cricall --replay): to the same daemon, to another
# server, to none.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  requires root crun
  crisp_file_setup
  IMAGE=$(pull_image bb)
  RECORD=$CRISP_TMP/record
  export IMAGE RECORD
  mkdir -p "$CRISP_TMP/logs/web"
  jq '.record_max_bytes = 1048576' "$CRISP_CONFIG" >"$CRISP_CONFIG.new" && mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"
  crispd_start --record "$RECORD"
}
teardown_file() { crisp_file_teardown; }

call() { cricall --socket "$SOCK" "$@"; }
replay() { cricall --socket "$SOCK" --replay "$@"; }
has_exited() { [ "$(call ContainerStatus "{\"container_id\": \"$1\"}" | jq -r .status.state)" = CONTAINER_EXITED ]; }

# What a kubelet does with one pod, with mistakes and secrets in it.
a_pod() {
  local pod ctr
  # The first is crispd_ready's Version.
  call PullImage '{"image": {"image": "no reference"}, "auth": {"username": "joe", "password": "planted-auth"}}' || true
  pod=$(pod_json web | jq '{config: (.annotations = {"example.com/token": "planted-note", "plain": "shown"})}' |
    call RunPodSandbox - | jq -r .pod_sandbox_id)
  call PodSandboxStatus "{\"pod_sandbox_id\": \"$pod\", \"verbose\": true}"
  ctr=$(ctr_json one "$IMAGE" sh -c 'echo "$DB_PASSWORD"; sleep 100' |
    jq --arg pod "$pod" --argjson config "$(pod_json web)" '.envs = [{key: "DB_PASSWORD", value: "planted-env"}, {key: "MODE", value: "fast"}] |
      {pod_sandbox_id: $pod, config: ., sandbox_config: $config}' | call CreateContainer - | jq -r .container_id)
  call StartContainer "{\"container_id\": \"$ctr\"}"
  call ExecSync "{\"container_id\": \"$ctr\", \"cmd\": [\"sh\", \"-c\", \"echo \$DB_PASSWORD; exit 3\"]}"
  call Exec "{\"container_id\": \"$ctr\", \"cmd\": [\"true\"], \"stdout\": true}" | jq -r .url >"$CRISP_TMP/url"
  call ListContainers "{\"filter\": {\"id\": \"${ctr:0:12}\"}}"
  call StreamContainers
  call ListPodSandboxStats
  call ContainerStatus "{\"container_id\": \"$ctr\"}"
  call StopContainer "{\"container_id\": \"$ctr\"}"
  wait_for 10 has_exited "$ctr"
  call StartContainer "{\"container_id\": \"$ctr\"}" || true
  call RemovePodSandbox "{\"pod_sandbox_id\": \"$pod\"}"
  call ContainerStatus "{\"container_id\": \"$ctr\"}" || true
}

@test "a pod's calls are recorded without its secrets, and give the same again" {
  a_pod >"$CRISP_TMP/answers" 2>&1
  # The lines are told to be objects with these members, and each request has its answer.
  jq -es 'length > 30 and .[0].record == "cri" and .[0].version == 1 and
    (map(select(.rpc == "RunPodSandbox")) | length == 2 and .[0].request.config.metadata.name == "web" and
      .[0].request.config.annotations == {"example.com/token": "[redacted]", "plain": "shown"} and
      .[1].code == "OK" and .[1].us > 0 and (.[1].answer.pod_sandbox_id | length) == 64 and .[0].req == .[1].req) and
    (map(select(.request)) | length) == (map(select(.code)) | length) and
    (map(select(.rpc == "PullImage" and .code)) | .[0].code == "INVALID_ARGUMENT" and (.[0].text | length) > 0) and
    (map(select(.rpc == "StreamContainers" and .message)) | length) == 1' "$RECORD"
  # Four places: credentials, annotation, environment, what ExecSync printed; and the ticket of Exec.
  run grep -c -e planted -e "$(sed 's|.*/||' "$CRISP_TMP/url")" "$RECORD"
  [ "$output" = 0 ]
  [ "$(grep -c '"redacted":' "$RECORD")" -ge 5 ]
  [ "$(stat -c %a "$RECORD")" = 600 ]

  cp "$RECORD" "$CRISP_TMP/tape"
  run replay "$CRISP_TMP/tape"
  echo "$output"
  [ "$status" = 0 ]
  [[ ${lines[-1]} == *" calls: "*" same, 0 different, 0 skipped" ]]
  # What runs now has new ids, and is gone as well.
  [ "$(call ListPodSandbox)" = '{}' ]
}

@test "another answer is told with its path, by line and as JSON; nobody there, a damaged record: not 0, not 1" {
  cp "$CRISP_TMP/tape" "$CRISP_TMP/other"
  # The record says what is not so: another exit code of the command, another code of a call.
  sed -i -e '/"rpc":"ExecSync","code"/s/"exit_code":3/"exit_code":4/' \
    -e '/"rpc":"RemovePodSandbox","code"/s/"code":"OK"/"code":"NOT_FOUND"/' "$CRISP_TMP/other"
  run replay "$CRISP_TMP/other"
  echo "$output"
  [ "$status" = 1 ]
  [[ ${lines[0]} == "line "*": ExecSync: exit_code: recorded 4, now 3" ]]
  [[ ${lines[1]} == "line "*": RemovePodSandbox: code: recorded \"NOT_FOUND\", now \"OK\"" ]]
  [[ ${lines[2]} == *" calls: "*" same, 2 different, 0 skipped" ]]
  # A server that is not ours; cut short behind the first calls. The last line is cut: it may be under way.
  head -5 "$CRISP_TMP/tape" >"$CRISP_TMP/short" && printf '{"time":' >>"$CRISP_TMP/short"
  python3 "$BATS_TEST_DIRNAME/../lib/cri_server.py" "$CRISP_TMP/peer" "$CRISP_TMP/peer.log" >/dev/null 2>&1 3>&- &
  local pid=$!
  wait_for 20 cricall --socket "$CRISP_TMP/peer" Version
  run cricall --socket "$CRISP_TMP/peer" --json --replay "$CRISP_TMP/short"
  kill $pid
  echo "$output"
  [ "$status" = 1 ]
  jq -es 'length == 3 and .[0].rpc == "Version" and .[0].result == "same" and .[1].differences[0].path == "code" and
    .[1].differences[0].now == "UNIMPLEMENTED" and .[2] == {calls: 2, same: 1, different: 1, skipped: 0, lost: 0}' <<<"$output"

  run_err 8 cricall --socket "$CRISP_TMP/nobody" --replay "$CRISP_TMP/tape"
  [[ $stderr == *"line 2: Version: connect "* ]]
  run_err 3 replay "$CRISP_TMP/none"
  run_err 6 replay "$CRISP_CONFIG"
  sed 's/"rpc":"Version","request":{}/"rpc":"Version","request":{"versoin":"1"}/' "$CRISP_TMP/tape" >"$CRISP_TMP/bad"
  run_err 6 replay "$CRISP_TMP/bad"
  [[ $stderr == *"line 2: request: versoin: unknown key"* ]]
}

@test "a record is bounded: large messages by their size only, the file by its half" {
  big() { printf '{"pod_sandbox_id": "none", "config": {"annotations": {"a": "%0*d"}}}' "$1" 0 | call CreateContainer - || true; }
  big 300000
  [ "$(tail -2 "$RECORD" | jq -s '.[0].omitted > 300000 and (.[0] | has("request") | not)')" = true ]
  for _ in 1 2 3 4 5; do big 250000; done
  [ "$(($(stat -c %s "$RECORD") + $(stat -c %s "$RECORD.1")))" -lt $((1048576 + 600000)) ]
  [ "$(head -1 "$RECORD" | jq -r .record)" = cri ]
  # A call whose request was not recorded cannot be sent; its message is no reason to fail.
  run replay "$RECORD"
  echo "$output"
  [ "$status" = 0 ]
  # A full disk costs lines, never an answer, and how many is told; lines are whole.
  crispd_stop
  mkdir "$CRISP_TMP/small"
  mount -t tmpfs -o size=64k small "$CRISP_TMP/small"
  crispd_start --record "$CRISP_TMP/small/record"
  for _ in 1 2 3; do big 40000; done
  call Version
  crispd_stop
  cp "$CRISP_TMP/small/record" "$CRISP_TMP/full"
  umount "$CRISP_TMP/small"
  jq -es 'length >= 3 and .[0].record == "cri" and (map(.lost // 0) | add) >= 1' "$CRISP_TMP/full"
  # Nothing that could hold the daemon up.
  run_err 6 crispd --root "$CRISP_TMP/own" --runroot "$CRISP_TMP/own-run" --record /dev/full
  [[ $stderr == *"record: /dev/full is no regular file"* ]]
}
