#!/usr/bin/env bats
# ctrrun on the real runtimes, with containers made by hand. Each test runs on crun and on runc.

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

life() {
  bundle "$RT" sh -c 'echo hello; while ! [ -e /tmp/go ]; do sleep 0.2; done; exit 7' >/dev/null
  [ "$(effective)" = prepared ]
  run_err 5 ctrrun start "$CTR"
  [[ $stderr == *"is prepared, not created"* ]]
  ctrrun create "$CTR"
  [ "$(effective)" = created ]
  run_err 5 ctrrun create "$CTR"
  [ -d "/proc/$(monitor_pid)" ]
  [ -d "/proc/$(ctr_pid)" ]
  ctrrun start "$CTR"
  [ "$(effective)" = running ]
  run_err 5 ctrrun start "$CTR"
  ctrrun exec "$CTR" touch /tmp/go
  wait_exited
  [ "$(effective)" = "exited 7 Error" ]
  ctrrun state "$CTR" | jq -e '.exit.started_at > .created_at and .exit.finished_at - .exit.started_at > 100000000 and .started_at == .exit.started_at'
  wait_for 5 test ! -d "/proc/$(monitor_pid)"
  run_err 5 ctrrun start "$CTR"
  run_err 5 ctrrun create "$CTR"
  ctrrun rm "$CTR"
  [ "$(effective)" = prepared ]
  [ -z "$(left_of "$CTR")" ]
  [ ! -e "$ROOT/containers/$CTR/exit.json" ]
  # The bundle is as good as new.
  ctrrun create "$CTR" && ctrrun start "$CTR" && ctrrun exec "$CTR" touch /tmp/go && wait_exited && ctrrun rm "$CTR"
}
@test "the life of a container" { both life; }

codes() {
  local code
  for code in 0 1 7 255; do
    run_ctr "$RT" sh -c "exit $code"
    wait_exited
    [ "$(effective)" = "exited $code $([ $code = 0 ] && echo Completed || echo Error)" ]
    ctrrun rm "$CTR"
  done
  run_ctr "$RT" sleep 100
  ctrrun kill "$CTR" KILL
  wait_exited
  [ "$(effective)" = "exited 137 Error" ]
  [ "$(jq .signal "$ROOT/containers/$CTR/exit.json")" = 9 ]
  ctrrun rm "$CTR"
}
@test "exit codes and signals" { both codes; }

# ends COUNT CODE SIGNAL OOM REASON COMMAND...: each record is exactly that (tests/bench/exits has the large numbers)
ends() {
  local count=$1 code=$2 signal=$3 oom=$4 reason=$5
  shift 5
  bundle "$RT" "$@" >/dev/null
  /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/exits.py" "$ROOT" "$count" "$code" "$signal" "$oom" "$reason" "$CTR"
  [ -z "$(left_of "$CTR")" ]
}
exact_ends() {
  ends 40 0 0 false Completed true
  # The first process of a PID namespace cannot kill itself.
  # shellcheck disable=SC2016
  B_CONFIG='.linux.namespaces |= map(select(.type != "pid"))' ends 12 137 9 false Error sh -c 'kill -9 $$'
  # shellcheck disable=SC2016
  B_CONFIG='.linux.resources.memory = { limit: 16777216 }' ends 5 137 9 true OOMKilled sh -c 'x=x; while :; do x=$x$x; done'
}
@test "containers that end at once, kill themselves or run out of memory: no record is wrong or lost" { both exact_ends; }

no_command() {
  bundle "$RT" nosuch >/dev/null
  run_err 1 ctrrun create "$CTR"
  [[ $stderr == "ctrrun: error: create $CTR: "*nosuch*"not found"* ]]
  [ "$(effective)" = prepared ]
  [ -z "$(left_of "$CTR")" ]
  ctrrun create --defer-errors "$CTR"
  [ "$(effective)" = created ]
  run_err 5 ctrrun kill "$CTR" TERM
  run_err 1 ctrrun start "$CTR"
  [[ $stderr == *nosuch* ]]
  [ "$(effective)" = "exited 128 StartError" ]
  ctrrun state "$CTR" | jq -e '.exit.message | contains("nosuch")'
  ctrrun rm "$CTR"
  ctrrun create --defer-errors "$CTR"
  ctrrun stop "$CTR"
  [ "$(effective)" = "exited 128 StartError" ]
  ctrrun rm "$CTR"
}
@test "a command that does not exist" { both no_command; }

stops() {
  run_ctr "$RT" sh -c 'trap "exit 3" TERM; echo up; while :; do sleep 0.05; done'
  wait_for 10 grep -q up "$(ctr_log)"
  ctrrun stop --timeout 10 "$CTR"
  [ "$(effective)" = "exited 3 Error" ]
  ctrrun stop "$CTR"
  ctrrun rm "$CTR"
  B_STATE='.stop_signal = 10' run_ctr "$RT" sh -c 'trap "exit 4" USR1; echo up; while :; do sleep 0.05; done'
  wait_for 10 grep -q up "$(ctr_log)"
  ctrrun stop --timeout 10 "$CTR"
  [ "$(effective)" = "exited 4 Error" ]
  ctrrun rm "$CTR"
  # PID 1 of a namespace does not hear TERM by default.
  run_ctr "$RT" sh -c 'sleep 100 & wait'
  local start=$EPOCHREALTIME
  ctrrun stop --timeout 1 "$CTR"
  [ "$(effective)" = "exited 137 Error" ]
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { exit !(b - a >= 1 && b - a < 25) }'
  [ -z "$(cat "/sys/fs/cgroup/pids$CGROUP/$CTR/cgroup.procs" 2>/dev/null)" ]
  ctrrun rm "$CTR"
  run_ctr "$RT" sleep 100
  start=$EPOCHREALTIME
  ctrrun stop --timeout 0 "$CTR"
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { exit !(b - a < 25) }'
  ctrrun rm "$CTR"
  bundle "$RT" sleep 100 >/dev/null
  ctrrun stop "$CTR"
  ctrrun create "$CTR"
  start=$EPOCHREALTIME
  ctrrun stop --timeout 20 "$CTR"
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { exit !(b - a < 18) }'
  [ "$(effective)" = "exited 137 Error" ]
  ctrrun rm "$CTR"
}
@test "stop: signal, grace, kill; one that never started is killed at once" { both stops; }

two_stops() {
  run_ctr "$RT" sleep 100
  ctrrun stop --timeout 60 "$CTR" 3>&- &
  local first=$! start=$SECONDS
  sleep 0.3
  ctrrun stop --timeout 1 "$CTR"
  wait "$first"
  [ $((SECONDS - start)) -le 40 ]
  [ "$(effective)" = "exited 137 Error" ]
  ctrrun rm "$CTR"
}
@test "of two stops the shorter grace wins, and both succeed" { both two_stops; }

@test "stop and rm of what is not there succeed, the other verbs say so" {
  local id
  id=$(new_id)
  ctrrun stop "$id"
  ctrrun rm "$id"
  ctrrun rm --force no-such-name
  run_err 3 ctrrun start "$id"
  run_err 3 ctrrun state "$id"
  run_err 3 ctrrun kill "$id" TERM
  run_err 3 ctrrun create "$id"
  run_err 125 ctrrun exec "$id" true
}

kills() {
  run_ctr "$RT" sh -c 'trap "echo usr1" USR1; trap "echo usr2" USR2; trap "exit 9" HUP; echo up; while :; do sleep 0.02; done'
  wait_for 5 grep -q up "$(ctr_log)"
  ctrrun kill "$CTR" USR1
  wait_for 5 grep -q usr1 "$(ctr_log)"
  ctrrun kill "$CTR" sigusr2
  wait_for 5 grep -q usr2 "$(ctr_log)"
  run_err 2 ctrrun kill "$CTR" NOSUCH
  run_err 2 ctrrun kill "$CTR" 0
  ctrrun kill "$CTR" 1
  wait_exited
  [ "$(effective)" = "exited 9 Error" ]
  run_err 5 ctrrun kill "$CTR" TERM
  ctrrun rm "$CTR"
}
@test "kill by name and number" { both kills; }

removes() {
  run_ctr "$RT" sleep 100
  run_err 5 ctrrun rm "$CTR"
  [ "$(effective)" = running ]
  local monitor
  monitor=$(monitor_pid)
  ctrrun rm --force "$CTR"
  is_dead "$monitor"
  [ "$(effective)" = prepared ]
  [ -z "$(left_of "$CTR")" ]
  ctrrun rm "$CTR"
  ctrrun create "$CTR"
  ctrrun rm "$CTR"
  [ -z "$(left_of "$CTR")" ]
}
@test "rm: a running one only by force; nothing is left" { both removes; }

leftovers() {
  run_ctr "$RT" sh -c 'sleep 100 & sleep 100'
  # A group that the runtime knows nothing of, inside.
  mkdir -p "/sys/fs/cgroup/pids$CGROUP/$CTR/inner"
  ctrrun rm --force "$CTR"
  [ -z "$(left_of "$CTR")" ]
}
@test "rm removes the cgroups that the runtime leaves" {
  requires cgroup1
  both leftovers
}

exec_codes() {
  run_ctr "$RT" sleep 1000
  local code
  for code in 0 1 3 125 255; do
    run -"$code" ctrrun exec "$CTR" sh -c "exit $code"
  done
  run -143 ctrrun exec --status-fd 4 "$CTR" sh -c 'kill -TERM $$' 4>"$BATS_TEST_TMPDIR/status"
  [ "$(jq -c . "$BATS_TEST_TMPDIR/status")" = '{"event":"exited","code":143,"signal":15}' ]
  run --separate-stderr -0 ctrrun exec --status-fd 4 "$CTR" sh -c 'echo out; echo err >&2' 4>"$BATS_TEST_TMPDIR/status"
  [ "$output" = out ]
  [ "$stderr" = err ]
  [ "$(cat "$BATS_TEST_TMPDIR/status")" = '{"event":"exited","code":0}' ]
  run --separate-stderr -127 ctrrun exec --status-fd 4 "$CTR" nosuch 4>"$BATS_TEST_TMPDIR/status"
  [[ -z $output && $stderr == *nosuch* ]]
  jq -e '.event == "error" and .exit == 127 and (.msg | contains("nosuch"))' "$BATS_TEST_TMPDIR/status"
  run -126 ctrrun exec "$CTR" /etc
  # What the container's own process has: environment, directory, capabilities, group.
  [ "$(ctrrun exec "$CTR" sh -c 'echo $HOME $PATH; pwd')" = $'/ /bin\n/' ]
  [ "$(ctrrun exec "$CTR" grep CapEff /proc/self/status)" = "$(ctrrun exec "$CTR" grep CapEff /proc/1/status)" ]
  ctrrun exec "$CTR" grep -q "pids:.*$CTR" /proc/self/cgroup
  # Options end at the command.
  [ "$(ctrrun exec "$CTR" echo --tty -x)" = "--tty -x" ]
  [ "$(echo in | ctrrun exec -i "$CTR" cat)" = in ]
  [ -z "$(echo in | ctrrun exec "$CTR" cat)" ]
  ctrrun rm --force "$CTR"
  run -125 ctrrun exec --status-fd 4 "$CTR" true 4>"$BATS_TEST_TMPDIR/status"
  [ "$(jq -r .code "$BATS_TEST_TMPDIR/status")" = BAD_STATE ]
  ls "$RUNROOT/containers/$CTR"
  [ -z "$(find "$RUNROOT/containers/$CTR" -name 'exec.*')" ]
}
@test "exec: statuses, streams, the container's own surroundings" { both exec_codes; }

exec_timeout() {
  run_ctr "$RT" sleep 1000
  local start=$EPOCHREALTIME
  # The shell does not exec its last command here: three processes, one in a session of its own.
  run --separate-stderr -124 ctrrun exec --timeout 0.5 --status-fd 4 "$CTR" \
    sh -c 'trap "" TERM; setsid sleep 4321 & sleep 4321; :' 4>"$BATS_TEST_TMPDIR/status"
  # No process of it lives when the answer is there (the dead that the container's own init should reap do not count).
  none_runs '^sleep 4321'
  [ "$(jq -r '.event + " " + .code' "$BATS_TEST_TMPDIR/status")" = "error TIMEOUT" ]
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { exit !(b - a >= 0.5 && b - a < 60) }'
  [ "$(effective)" = running ]
  run -0 ctrrun exec --timeout 20 "$CTR" true
  # One that has left the command's tree and session, as a daemon does.
  run -124 ctrrun exec --timeout 0.7 "$CTR" sh -c 'sleep 0.2; (setsid sh -c "sleep 4322 & sleep 0.1" &) ; sleep 4321'
  none_runs '^sleep 432'
  # After a command that ends by itself it may go on.
  run -0 ctrrun exec --timeout 20 "$CTR" sh -c 'sleep 0.2; setsid sleep 4323 >/dev/null 2>&1 &'
  pgrep -f '^sleep 4323'
  [ -z "$(find /sys/fs/cgroup/*/"$CGROUP" -name 'crisp-exec-*' | while read -r d; do grep -q . "$d/cgroup.procs" || echo "$d"; done)" ]
  ctrrun rm --force "$CTR"
  none_runs '^sleep 4323'
  [ -z "$(left_of "$CTR")" ]
}
@test "exec: after a timeout nothing of the command is left and the container lives on" { both exec_timeout; }

exec_grandchild() {
  run_ctr "$RT" sleep 1000
  local start=$SECONDS
  ctrrun exec "$CTR" sh -c 'sleep 500 & echo started' >"$BATS_TEST_TMPDIR/out"
  [ $((SECONDS - start)) -lt 60 ]
  [ "$(cat "$BATS_TEST_TMPDIR/out")" = started ]
  ctrrun rm --force "$CTR"
}
@test "exec: a grandchild that keeps the pipe does not hold the call" { both exec_grandchild; }

exec_big() {
  run_ctr "$RT" sleep 1000
  [ "$(ctrrun exec "$CTR" sh -c 'dd if=/dev/zero bs=1M count=100 2>/dev/null' | wc -c)" = 104857600 ]
  [ "$(head -c 5000000 /dev/zero | ctrrun exec -i "$CTR" sh -c 'sleep 0.2; wc -c')" = 5000000 ]
  ctrrun rm --force "$CTR"
}
@test "exec: 100 MB out, 5 MB in" { both exec_big; }

exec_killed() {
  run_ctr "$RT" sleep 1000
  local sig pid
  for sig in TERM INT HUP; do
    env --default-signal=INT ctrrun exec --status-fd 4 "$CTR" sleep 5432 4>"$BATS_TEST_TMPDIR/status" 3>&- &
    pid=$!
    wait_for 5 pgrep -f '^sleep 5432'
    kill -"$sig" "$pid"
    local status=0
    wait "$pid" || status=$?
    [ "$status" = $((128 + $(kill -l "$sig"))) ]
    none_runs '^sleep 5432'
    [ "$(jq -r .code "$BATS_TEST_TMPDIR/status")" = CANCELLED ]
  done
  # Killed, with all that the command has started: its container's monitor sees to it.
  for sig in 1 2 3; do
    ctrrun exec "$CTR" sh -c 'setsid sleep 5432 & sleep 5432; :' 3>&- &
    pid=$!
    wait_for 5 bash -c '[ $(pgrep -fc "^sleep 5432") = 2 ]'
    kill -9 "$pid"
    wait_for 5 none_runs '^sleep 5432'
  done
  [ "$(effective)" = running ]
  [ -z "$(find "$RUNROOT/containers/$CTR" -name 'exec.*')" ]
  # Its parent goes away.
  bash -c 'ctrrun exec "$0" sleep 5432 & sleep 0.7; kill -9 $$' "$CTR" 3>&- || true
  wait_for 5 none_runs '^sleep 5432'
  ctrrun rm --force "$CTR"
}
@test "exec: the command ends with ctrrun, and ctrrun with its parent" { both exec_killed; }

exec_terminal() {
  run_ctr "$RT" sleep 1000
  run -4 ctrrun exec --tty "$CTR" sh -c 'test -t 0 && test -t 1 && echo terminal $TERM; exit 4' </dev/null
  [ "$output" = $'terminal xterm\r' ]
  [ "$(printf 'hello\n' | ctrrun exec -t -i "$CTR" sh -c 'read x; echo got $x' | tr -d '\r' | tail -1)" = "got hello" ]
  [ "$(ctrrun exec -t "$CTR" seq 20000 </dev/null | tr -d '\r' | tail -1)" = 20000 ]
  python3 - "$CTR" <<'PY'
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    os.execvp("ctrrun", ["ctrrun", "exec", "-ti", sys.argv[1], "sh", "-c", "sleep 0.2; stty size"])
out = b""
try:
    while chunk := os.read(fd, 1000):
        out += chunk
except OSError:
    pass
os.waitpid(pid, 0)
assert b"33 77" in out, out
PY
  [ -z "$(find "$RUNROOT/containers/$CTR" -name 'exec.*')" ]
  ctrrun rm --force "$CTR"
}
@test "exec: with a terminal" { both exec_terminal; }

# fake NAME: a runtime that does as $FAKE_<VERB> says, else what crun does
fake_runtime() {
  cat >"$CRISP_TMP/fake" <<'SH'
#!/bin/bash
for verb; do case $verb in create | start | kill | delete | exec) break ;; esac; done
how=$(cat "$(dirname "$0")/fake.$verb" 2>/dev/null)
[ -z "$how" ] || eval "$how"
exec crun "$@"
SH
  chmod +x "$CRISP_TMP/fake"
  rm -f "$CRISP_TMP"/fake.*
}

short_timeout() { jq '.runtime_timeout = 1' "$CRISP_CONFIG" >"$BATS_TEST_TMPDIR/crisp.json" && export CRISP_CONFIG=$BATS_TEST_TMPDIR/crisp.json; }

@test "a runtime that hangs is killed with all it started: exit 124, nothing is left" {
  local config=$CRISP_CONFIG
  fake_runtime
  short_timeout
  bundle "$CRISP_TMP/fake" sleep 1000 >/dev/null
  echo 'trap "" TERM; setsid sleep 6543 & sleep 6543 & wait; sleep 6543' >"$CRISP_TMP/fake.create"
  run_err 124 ctrrun create "$CTR"
  [[ $stderr == *"did not end within 1 s"* ]]
  [ "$(effective)" = prepared ]
  none_runs 'sleep 6543'
  [ -z "$(left_of "$CTR")" ]
  # A refusal may be told later, a time-out may not.
  run_err 124 ctrrun create --defer-errors "$CTR"
  rm "$CRISP_TMP/fake.create"
  ctrrun create "$CTR"
  echo 'sleep 6543' >"$CRISP_TMP/fake.start"
  run_err 124 ctrrun start "$CTR"
  [ "$(effective)" = "exited 128 StartError" ]
  none_runs 'sleep 6543'
  rm "$CRISP_TMP/fake.start"
  ctrrun rm "$CTR"
  ctrrun create "$CTR" && ctrrun start "$CTR"
  echo 'sleep 6543' >"$CRISP_TMP/fake.exec"
  run -124 ctrrun exec --timeout 0.5 "$CTR" true
  run -124 ctrrun exec "$CTR" true
  none_runs 'sleep 6543'
  # The command runs already, in a PID namespace: what it has started falls to the first process there.
  echo 'crun "$@"; sleep 6543' >"$CRISP_TMP/fake.exec"
  CRISP_CONFIG=$config ctrrun exec "$CTR" sh -c 'setsid sleep 6544 & sleep 6544; :' 3>&- &
  local pid=$! status=0
  wait_for 10 bash -c '[ "$(pgrep -fc "^sleep 6543"),$(pgrep -fc "^sleep 6544")" = 1,2 ]'
  kill "$pid"
  wait "$pid" || status=$?
  [ "$status" = 143 ]
  none_runs 'sleep 654'
  # Neither its kill nor its delete works: the cgroup's processes are killed all the same.
  echo 'sleep 6543' | tee "$CRISP_TMP/fake.kill" >"$CRISP_TMP/fake.delete"
  ctrrun stop --timeout 0 "$CTR"
  [ "$(effective)" = "exited 137 Error" ]
  rm "$CRISP_TMP/fake.kill"
  ctrrun rm "$CTR"
  [ -z "$(left_of "$CTR")" ]
  # What the runtime keeps of one that it does not delete goes, too.
  ctrrun create "$CTR"
  run -0 ctrrun rm --force "$CTR"
  [[ $output == *"no exit within 1000 ms"* ]]
  [ -z "$(left_of "$CTR")" ]
}

@test "a runtime that lies" {
  fake_runtime
  bundle "$CRISP_TMP/fake" sleep 1000 >/dev/null
  local how
  for how in 'exit 0' 'p=; for a; do [ "$p" = --pid-file ] && echo garbage >"$a"; p=$a; done; exit 0' \
    'p=; for a; do [ "$p" = --pid-file ] && echo 1 >"$a"; p=$a; done; exit 0' \
    'p=; for a; do [ "$p" = --pid-file ] && echo 99999999 >"$a"; p=$a; done; exit 0' \
    'head -c 300000 /dev/urandom >&2; exit 1' 'kill -9 $$' 'echo "level=error" >&2; exit 1'; do
    echo "$how" >"$CRISP_TMP/fake.create"
    run --separate-stderr ctrrun create "$CTR"
    echo "$how: $status $stderr" | head -c 400
    [ "$status" -ge 1 ]
    [ -z "$output" ]
    [ "${#stderr}" -lt 4000 ]
    [ "$(effective)" = prepared ]
    [ -z "$(left_of "$CTR")" ]
  done
  bundle "$CRISP_TMP/no-such-runtime" true >/dev/null
  jq -c --arg rt "$CRISP_TMP/no-such" '.runtime = $rt' "$ROOT/containers/$CTR/state.json" >"$BATS_TEST_TMPDIR/s" && mv "$BATS_TEST_TMPDIR/s" "$ROOT/containers/$CTR/state.json"
  run_err 3 ctrrun create --defer-errors "$CTR"
}

@test "kill -9 of ctrrun while it creates: the next creation succeeds" {
  fake_runtime
  local pid i
  bundle "$CRISP_TMP/fake" sleep 1000 >/dev/null
  echo 'sleep 0.3' >"$CRISP_TMP/fake.create"
  for i in 0.05 0.1 0.2 0.3 0.32 0.34 0.4; do
    ctrrun create "$CTR" 3>&- &
    pid=$!
    sleep "$i"
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" || true
  done
  rm "$CRISP_TMP/fake.create"
  [ "$(effective)" = created ] || ctrrun create "$CTR"
  ctrrun start "$CTR"
  [ "$(effective)" = running ]
  [ "$(pgrep -fc "ctrmon.*$CTR")" = 1 ]
  ctrrun rm --force "$CTR"
  [ -z "$(left_of "$CTR")" ]
}

@test "kill -9 of ctrrun while it starts: the next start takes it as it is" {
  fake_runtime
  bundle "$CRISP_TMP/fake" sleep 1000 >/dev/null
  ctrrun create "$CTR"
  # The runtime has started it, and nobody is left to write that down.
  echo 'crun "$@"; kill -9 "$PPID"; exit 0' >"$CRISP_TMP/fake.start"
  run -137 ctrrun start "$CTR"
  [ "$(effective)" = created ]
  rm "$CRISP_TMP/fake.start"
  ctrrun start "$CTR"
  [ "$(effective)" = running ]
  [ "$(ctrrun exec "$CTR" echo here)" = here ]
  run_err 5 ctrrun start "$CTR"
  ctrrun rm --force "$CTR"
  [ -z "$(left_of "$CTR")" ]
  # Killed before the runtime had begun.
  ctrrun create "$CTR"
  echo 'kill -9 "$PPID"; exit 0' >"$CRISP_TMP/fake.start"
  run -137 ctrrun start "$CTR"
  rm "$CRISP_TMP/fake.start"
  ctrrun start "$CTR"
  [ "$(effective)" = running ]
  ctrrun rm --force "$CTR"
}

@test "of two creations at once one is refused" {
  bundle crun sleep 1000 >/dev/null
  local a b ra=0 rb=0
  ctrrun create "$CTR" 3>&- & a=$!
  ctrrun create "$CTR" 3>&- & b=$!
  wait $a || ra=$?
  wait $b || rb=$?
  [ $((ra + rb)) = 5 ]
  [ "$(pgrep -fc "ctrmon.*$CTR")" = 1 ]
  ctrrun rm --force "$CTR"
}

@test "after a reboot it has ended, and rm makes it new" {
  run_ctr crun sleep 1000
  ctrrun rm --force "$CTR"
  jq -c '.state = "running" | .boot_id = "another" | .pid = 1 | .monitor = 1' "$ROOT/containers/$CTR/state.json" >"$BATS_TEST_TMPDIR/s"
  mv "$BATS_TEST_TMPDIR/s" "$ROOT/containers/$CTR/state.json"
  [ "$(effective)" = "exited 255 ContainerStatusUnknown" ]
  ctrrun stop "$CTR"
  run -125 ctrrun exec "$CTR" true
  ctrrun rm "$CTR"
  [ "$(effective)" = prepared ]
  ctrrun create "$CTR" && ctrrun rm "$CTR"
}

@test "a damaged record is shown and can be removed" {
  run_ctr crun sleep 1000
  echo '{ "version": 1, "id": ' >"$ROOT/containers/$CTR/state.json"
  run_err 5 ctrrun state "$CTR"
  ctrrun ls --json | jq -e --arg id "$CTR" '.[] | select(.id == $id) | .status == "damaged"'
  ctrrun rm --force "$CTR"
  [ -z "$(left_of "$CTR")" ]
  [ "$(effective)" = prepared ]
}

@test "ls and state" {
  bundle crun sleep 1000 >/dev/null
  echo '{ "metadata": { "name": "some-name" } }' >"$ROOT/containers/$CTR/container.json"
  ctrrun create some-name
  ctrrun ls | grep "^${CTR:0:12} *some-name .*created"
  ctrrun ls --json | jq -e --arg id "$CTR" '.[] | select(.id == $id) | .name == "some-name" and .status == "created" and .pid > 0'
  ctrrun state "${CTR:0:10}" | jq -e '.status == "created" and .pid > 0 and .monitor > 0'
  ctrrun rm some-name
}

@test "a log that cannot be opened refuses the creation" {
  B_STATE='.log_path = "/proc/nowhere/0.log"' bundle crun true >/dev/null
  run --separate-stderr ctrrun create --defer-errors "$CTR"
  [ "$status" != 0 ]
  [[ $stderr == *"log directory"* ]]
  [ "$(effective)" = prepared ]
  mkdir "$CRISP_TMP/logs/dir.log"
  B_STATE=".log_path = \"$CRISP_TMP/logs/dir.log\"" bundle crun true >/dev/null
  run --separate-stderr ctrrun create "$CTR"
  [ "$status" != 0 ]
  [[ $stderr == *"dir.log"* ]]
}
