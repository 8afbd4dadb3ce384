#!/usr/bin/env bats
# What becomes of a container whose monitor was killed, on the real runtimes.

setup_file() {
  load ../lib/helpers
  load ../lib/bundle
  crisp_file_setup
  bundle_setup
}
teardown_file() {
  load ../lib/helpers
  load ../lib/bundle
  bundle_gone
  crisp_file_teardown
}
setup() {
  load ../lib/helpers
  load ../lib/bundle
  requires root crun runc
}

kill_monitor() {
  local pid
  pid=$(monitor_pid)
  kill -9 "$pid"
  wait_for 5 is_dead "$pid"
}

# Does this kernel tell how somebody else's process ended?
kernel_tells() { [ "$(printf '%s\n6.15\n' "$(uname -r)" | sort -V | head -1)" = 6.15 ]; }

taken_over() {
  # It writes on while nobody reads; no line is lost but what the monitor may have had in its hands.
  run_ctr "$RT" sh -c 'i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i + 1)); done; echo waiting >&2
    while ! [ -e /tmp/go ]; do sleep 0.02; done; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i + 1)); done; while ! [ -e /tmp/end ]; do sleep 0.02; done; exit 7'
  wait_for 10 grep -q 'stderr F waiting' "$(ctr_log)"
  wait_for 10 grep -q 'stdout F line 2999' "$(ctr_log)"
  kill_monitor
  [ "$(effective)" = running ]
  ctrrun exec "$CTR" touch /tmp/go
  ctrrun adopt "$CTR"
  # The record names the new one, and it is the only one.
  [ "$(pgrep -fc "ctrmon.*$CTR")" = 1 ]
  [ "$(pgrep -f "ctrmon.*$CTR")" = "$(monitor_pid)" ]
  ctrrun adopt "$CTR"
  [ "$(pgrep -f "ctrmon.*$CTR")" = "$(monitor_pid)" ]
  ctrrun exec "$CTR" touch /tmp/end
  wait_exited
  [ "$(effective)" = "exited 7 Error" ]
  grep -q 'stderr F crisp: the monitor was lost' "$(ctr_log)"
  grep ' stdout F line' "$(ctr_log)" | cut -d' ' -f5 | diff - <(seq 0 19999)
  wait_for 5 is_dead "$(monitor_pid)"
  ctrrun rm "$CTR"
  [ -z "$(left_of "$CTR")" ]
}
@test "a new monitor finds the container's streams again and learns its exit" { both taken_over; }

signalled() {
  run_ctr "$RT" sleep 1000
  kill_monitor
  ctrrun kill "$CTR" KILL
  wait_exited
  if kernel_tells; then
    [ "$(effective)" = "exited 137 Error" ]
    [ "$(jq .signal "$ROOT/containers/$CTR/exit.json")" = 9 ]
  fi
  ctrrun rm "$CTR"
  run_ctr "$RT" sleep 1000
  kill_monitor
  ctrrun stop --timeout 0 "$CTR"
  ! kernel_tells || [ "$(effective)" = "exited 137 Error" ]
  ctrrun state "$CTR" | jq -e '.exit.finished_at > .exit.started_at'
  ctrrun rm "$CTR"
  run_ctr "$RT" sleep 1000
  kill_monitor
  run_err 5 ctrrun rm "$CTR"
  ctrrun rm --force "$CTR"
  [ -z "$(left_of "$CTR")" ]
}
@test "kill, stop and rm of a container without monitor: exact, and nothing is left" { both signalled; }

created() {
  bundle "$RT" sh -c 'echo up; exit 3' >/dev/null
  ctrrun create "$CTR"
  kill_monitor
  [ "$(effective)" = created ]
  ctrrun start "$CTR"
  wait_exited
  ! kernel_tells || [ "$(effective)" = "exited 3 Error" ]
  grep -q 'stdout F up' "$(ctr_log)"
  ctrrun rm "$CTR"
  [ -z "$(left_of "$CTR")" ]
}
@test "lost between create and start" { both created; }

nobody() {
  run_ctr "$RT" sleep 1000
  kill -9 "$(monitor_pid)" "$(ctr_pid)"
  wait_for 5 is_dead "$(monitor_pid)"
  wait_for 5 test "$(effective)" = "exited 255 ContainerStatusUnknown"
  run_err 5 ctrrun adopt "$CTR"
  ctrrun stop "$CTR"
  ctrrun rm "$CTR"
  [ -z "$(left_of "$CTR")" ]
}
@test "both gone with nobody watching: the end is unknown, and said to be" { both nobody; }

reopened() {
  run_ctr "$RT" sh -c 'while :; do echo tick; sleep 0.05; done'
  wait_for 5 grep -q tick "$(ctr_log)"
  kill_monitor
  mv "$(ctr_log)" "$(ctr_log).1"
  ctrrun reopen "$CTR"
  wait_for 5 grep -q tick "$(ctr_log)"
  ctrrun rm --force "$CTR"
}
@test "reopen brings a new monitor" { both reopened; }

terminal() {
  B_CONFIG='.process.terminal = true' B_STATE='.tty = true' run_ctr "$RT" sh -c 'trap "" HUP; while ! [ -e /tmp/go ]; do sleep 0.02; done; exit 4'
  kill_monitor
  ctrrun adopt "$CTR"
  grep -q 'what the container writes is lost from here on' "$(ctr_log)"
  ctrrun exec "$CTR" touch /tmp/go
  wait_exited
  ! kernel_tells || [ "$(effective)" = "exited 4 Error" ]
  ctrrun rm "$CTR"
}
@test "a terminal goes with its monitor, the container does not" { both terminal; }

@test "crispd gives a container that lost its monitor a new one, also when it starts late" {
  run_ctr crun sh -c 'while ! [ -e /tmp/go ]; do sleep 0.02; done; echo late; exit 5'
  echo '{ "metadata": { "name": "late" } }' >"$ROOT/containers/$CTR/container.json"
  local old
  crispd >"$CRISP_TMP/crispd.log" 2>&1 3>&- &
  CRISPD_PID=$!
  wait_for 10 cricall --socket "$RUNROOT/crisp.sock" Version || { cat "$CRISP_TMP/crispd.log"; false; }
  old=$(monitor_pid)
  kill_monitor
  wait_for 5 bash -c "[ \$(jq .monitor '$ROOT/containers/$CTR/state.json') != $old ]"
  old=$(monitor_pid)
  kill "$CRISPD_PID"
  wait "$CRISPD_PID" || true
  kill_monitor
  crispd >>"$CRISP_TMP/crispd.log" 2>&1 3>&- &
  CRISPD_PID=$!
  wait_for 10 bash -c "[ \$(jq .monitor '$ROOT/containers/$CTR/state.json') != $old ]"
  ctrrun exec "$CTR" touch /tmp/go
  wait_exited
  kill "$CRISPD_PID"
  wait "$CRISPD_PID" || true
  cat "$CRISP_TMP/crispd.log"
  ! kernel_tells || [ "$(effective)" = "exited 5 Error" ]
  grep -q 'stdout F late' "$(ctr_log)"
  # Once for each that was lost.
  [ "$(grep -c 'has lost its monitor' "$CRISP_TMP/crispd.log")" = 2 ]
  ctrrun rm "$CTR"
}
