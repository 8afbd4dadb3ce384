# shellcheck shell=bash
# For the bats files of exec, attach and port-forward; after helpers and crispd. streams_setup_file starts crispd (with the
# options given) and a pod $POD with a container $CTR of the image $IMAGE; streams_teardown_file ends all.
fast_jq
STREAMS_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# streams_setup_file [FILTER [OPTION...]]: the filter changes the configuration
streams_setup_file() {
  local filter=${1:-.}
  shift || true
  crisp_file_setup
  streams_config ".default_runtime = \"runc\" | $filter"
  IMAGE=$(pull_image bb)
  export IMAGE
  streams_start "$@"
  POD=$(run_pod main)
  CTR=$(run_ctr "$POD" main . sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done')
  export POD CTR
}
streams_config() { jq "$1" "$CRISP_CONFIG" >"$CRISP_CONFIG.new" && mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"; }
# Each test is a shell of its own: the process is found by a file.
streams_start() { crispd_start "$@" && echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"; }
streams_restart() {
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
  crispd_stop
  streams_start "$@"
}
streams_teardown_file() {
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
  crisp_file_teardown
}
streams_setup() {
  requires root runc
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
  SERVERS=()
}
# The same daemon still, and no session is left over.
streams_teardown() {
  [ ${#SERVERS[@]} = 0 ] || kill "${SERVERS[@]}"
  kill -0 "$(cat "$CRISP_TMP/crispd.pid")"
  wait_for 15 no_sessions || { sessions >&2; return 1; }
}
sessions() { pgrep -af "^$BUILD/bin/ctr(stream|tls) " | grep -F "$BUILD" | while read -r pid rest; do
  ! tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qxF "CRISP_CONFIG=$CRISP_CONFIG" || echo "$pid $rest"
done; }
no_sessions() { [ -z "$(sessions)" ]; }

cri() { timeout 100 cricall --socket "$RUNROOT/crisp.sock" "$@"; }
case_py() {
  run timeout 150 python3 "$STREAMS_LIB/streams_case.py" "$@"
  echo "$output"
  [ "$status" = 0 ]
}
run_pod() { # NAME [FILTER]
  local config
  config=$(pod_json "$1")
  [ -z "${2:-}" ] || config=$(jq -c "$2" <<<"$config")
  cri RunPodSandbox "{\"config\":$config}" | jq -r .pod_sandbox_id
}
# run_ctr POD NAME FILTER CMD...: the filter changes the configuration
run_ctr() {
  local pod=$1 name=$2 filter=$3 id
  shift 3
  id=$(cri CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json "$name" "$IMAGE" "$@" | jq -c "$filter")}" | jq -r .container_id)
  cri StartContainer "{\"container_id\":\"$id\"}" >/dev/null && echo "$id"
}
# exec_url STREAMS CMD...: STREAMS is a word of i, o, e, t
request() {
  local streams=$1 pick=
  case $streams in *i*) pick+=' | .stdin = true' ;; esac
  case $streams in *o*) pick+=' | .stdout = true' ;; esac
  case $streams in *e*) pick+=' | .stderr = true' ;; esac
  case $streams in *t*) pick+=' | .tty = true' ;; esac
  shift
  jq -nc --arg c "$1" '{container_id: $c}'"$pick"
}
exec_url() {
  local streams=$1
  shift
  cri Exec "$(request "$streams" "$CTR" | jq -c '.cmd = $ARGS.positional' --args -- "$@")" | jq -r .url
}
listener() { exec_url o true | sed 's|^https*://\([^/]*\)/.*|\1|'; }
# From setup_file: a client that says no more than that, while the tests run; silent_was PATTERN waits for its end, and is
# true when it was dropped after 8 to 50 s with that answer.
silent_begin() { python3 "$STREAMS_LIB/silent.py" "$(listener)" "$@" >"$CRISP_TMP/silent" 2>&1 3>&- & }
silent_was() {
  wait_for 20 test -s "$CRISP_TMP/silent"
  cat "$CRISP_TMP/silent"
  awk -v want="$1" '$1 > 8 && $1 < 50 && substr($0, length($1) + 2) ~ want { ok = 1 } END { exit !ok }' "$CRISP_TMP/silent"
}
attach_url() { cri Attach "$(request "$1" "$2")" | jq -r .url; }
forward_url() { cri PortForward "{\"pod_sandbox_id\":\"$1\",\"port\":[${2:-}]}" | jq -r .url; }
in_ctr() { ctrrun exec "$CTR" "$@"; }
# echo_server HOST PORT [COMMAND...]: by the command, in the pod's network unless it says otherwise
echo_server() {
  local host=$1 port=$2
  shift 2
  [ $# != 0 ] || set -- ip netns exec "crisp-$POD"
  "$@" python3 "$STREAMS_LIB/echo_server.py" "$host" "$port" >"$BATS_TEST_TMPDIR/echo.$port" 2>&1 3>&- &
  SERVERS+=($!)
  wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/echo.$port"
}
