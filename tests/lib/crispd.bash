# shellcheck shell=bash
# crispd for a bats file: crispd_start [OPTION...] starts one on this file's directories and waits until it is ready;
# crispd_stop ends it (from any test). $SOCK is its socket, $CRISPD_LOG its log, $CRISPD_PID its process
# (crisp_file_teardown ends it too). py SCRIPT ARG... runs a script of tests/lib with a Python that has grpc.
crispd_start() {
  SOCK=$RUNROOT/crisp.sock CRISPD_LOG=$CRISP_TMP/crispd.log
  "$BUILD/bin/crispd" --log-level debug "$@" >>"$CRISPD_LOG" 2>&1 3>&- &
  CRISPD_PID=$!
  export SOCK CRISPD_LOG CRISPD_PID
  wait_for 10 crispd_ready || { tail "$CRISPD_LOG" >&2; return 1; }
}

# It answers: the socket file alone may be a dead one's.
crispd_ready() { [ -S "$SOCK" ] && timeout 20 cricall --socket "$SOCK" Version; }

crispd_stop() {
  # Not always a child of this shell, which cannot wait for it then.
  kill "$CRISPD_PID" && timeout 20 tail --pid="$CRISPD_PID" -f /dev/null
}

py() {
  local script=$1
  shift
  timeout 120 python3 "$(dirname "${BASH_SOURCE[0]}")/$script" "$@"
}
