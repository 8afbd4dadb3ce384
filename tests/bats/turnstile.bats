#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `ctrrun exec` that forks for each command: by itself, and as crispd's ExecSync uses it.
load ../lib/helpers
load ../lib/bundle
load ../lib/crispd

setup_file() {
  crisp_file_setup
  bundle_setup
}
teardown_file() {
  bundle_gone
  crisp_file_teardown
}
setup() { requires root crun; }
teardown() {
  [ ! -e "$BATS_TEST_TMPDIR/good.json" ] || cp "$BATS_TEST_TMPDIR/good.json" "$CRISP_CONFIG"
  if [ -n "${CRISPD_PID:-}" ] && kill -0 "$CRISPD_PID" 2>/dev/null; then crispd_stop; fi
  if [ -n "${CTR:-}" ]; then ctrrun rm --force "$CTR"; fi
}

container() { # for crispd to see
  B_STATE='.origin = "cri"' bundle crun sleep 100000 >/dev/null
  echo '{ "metadata": { "name": "x" } }' >"$ROOT/containers/$CTR/container.json"
  ctrrun create "$CTR" && ctrrun start "$CTR"
}
exec_sync() { jq -nc --arg id "$CTR" --argjson t "${T:-0}" '{ container_id: $id, cmd: $ARGS.positional, timeout: $t }' --args -- "$@" | cricall --socket "$SOCK" ExecSync -; }
# The process that waits; fails when none does, or more than one.
keeper() {
  local pids
  pids=$(pgrep -P "$CRISPD_PID" -x turn:ctrrun | tr '\n' ' ')
  [[ $pids =~ ^[0-9]+\ $ ]] && printf '%s\n' "${pids% }"
}
# The run of a command that is there by now.
run_of() { # WORD
  wait_for 10 pgrep -f "^$1" && pgrep -P "$(keeper)" -x ctrrun
}
gone() { wait_for 10 test ! -e "/proc/$1"; } # PID

@test "ctrrun at a turnstile: answers by name, large ones, ends of all kinds, words that are wrong, another configuration" {
  bundle crun sleep 100000 >/dev/null
  ctrrun create "$CTR" && ctrrun start "$CTR"
  pid=$(ctrrun state "$CTR" | jq .pid)
  py turnstile_case.py "$CTR" "/proc/$pid/root/tmp"
  # nothing but the container is left
  none_runs '^sleep 7100'
  [ -z "$(find "$RUNROOT/containers/$CTR" -name 'exec.*')" ]
}

@test "ExecSync: one process waits, and each command has one of its own" {
  container
  crispd_start
  run ! keeper
  exec_sync echo one | jq -e '.stdout == "one\n"'
  pid=$(keeper)
  exec_sync sleep 72001 3>&- & call=$!
  exec_sync sleep 72002 3>&- & other=$!
  wait_for 10 pgrep -f '^sleep 72001'
  wait_for 10 pgrep -f '^sleep 72002'
  [ "$(keeper)" = "$pid" ]
  [ "$(pgrep -c -P "$pid" -x ctrrun)" = 2 ]
  # by each run and by the one that waits: what is theirs, and no socket of the other's
  for run in $(pgrep -P "$pid"); do [ "$(find "/proc/$run/fd" -lname 'socket:*' | wc -l)" -le 2 ]; done
  pkill -f '^sleep 72001'
  wait "$call" || true
  pkill -f '^sleep 72002'
  wait "$other" || true
  wait_for 10 test "$(pgrep -c -P "$pid")" = 0
}

@test "ExecSync: a run and its keeper that are killed are told, their command goes, and the next is served" {
  container
  crispd_start
  exec_sync sleep 72003 3>&- 2>"$BATS_TEST_TMPDIR/err" & call=$!
  kill -9 "$(run_of 'sleep 72003')"
  if wait "$call"; then false; fi
  grep 'ctrrun was killed by signal 9' "$BATS_TEST_TMPDIR/err"
  wait_for 10 none_runs '^sleep 72003'
  exec_sync sleep 72004 3>&- 2>"$BATS_TEST_TMPDIR/err" & call=$!
  run_of 'sleep 72004'
  pid=$(keeper)
  kill -9 "$pid"
  if wait "$call"; then false; fi
  grep 'ctrrun was killed by signal 9' "$BATS_TEST_TMPDIR/err"
  wait_for 10 none_runs '^sleep 72004'
  gone "$pid"
  exec_sync echo two | jq -e '.stdout == "two\n"'
  [ "$(keeper)" != "$pid" ]
}

@test "ExecSync: a keeper that hangs costs the calls that it has, late, and no other" {
  container
  crispd_start
  exec_sync true
  pid=$(keeper)
  kill -STOP "$pid"
  exec_sync sleep 72010 3>&- 2>"$BATS_TEST_TMPDIR/err" & call=$!
  T=1 run exec_sync sleep 72011
  [ "$status" = 124 ]
  exec_sync echo three | jq -e '.stdout == "three\n"'
  [ "$(pgrep -P "$CRISPD_PID" -x turn:ctrrun | grep -vx "$pid" | wc -l)" = 1 ]
  # The other one waits for as long as its client does.
  kill -0 "$call"
  pkill -P "$call" cricall
  wait "$call" || true
  gone "$pid"
  none_runs '^sleep 7201[01]'
}

@test "ExecSync: a command that looks like an option is a command" {
  container
  crispd_start
  run_err 1 exec_sync --help x
  [[ $stderr == *"--help"*"not found"* ]]
  run_err 1 exec_sync --nosuch
  [[ $stderr == *"--nosuch"*"not found"* ]]
}

@test "ExecSync: a client that goes away takes its command along, and so does the daemon, however it ends" {
  container
  crispd_start
  exec_sync sleep 72005 3>&- & call=$!
  run=$(run_of 'sleep 72005')
  pkill -P "$call" cricall
  wait "$call" || true
  wait_for 10 none_runs '^sleep 72005'
  gone "$run"
  for signal in TERM KILL; do
    exec_sync sleep 72006 3>&- & call=$!
    run=$(run_of 'sleep 72006')
    pid=$(keeper)
    kill "-$signal" "$CRISPD_PID"
    wait "$call" || true
    wait_for 10 none_runs '^sleep 72006'
    gone "$run"
    gone "$pid"
    timeout 20 tail --pid="$CRISPD_PID" -f /dev/null
    crispd_start
  done
}

@test "ExecSync: after SIGHUP another waits, and what was under way goes on" {
  container
  crispd_start
  exec_sync sh -c 'echo begun; exec sleep 72007' 3>&- >"$BATS_TEST_TMPDIR/out" & call=$!
  run_of 'sleep 72007'
  old=$(keeper)
  kill -HUP "$CRISPD_PID"
  another() { exec_sync echo three | jq -e '.stdout == "three\n"' && [ "$(pgrep -c -P "$CRISPD_PID" -x turn:ctrrun)" = 2 ]; }
  wait_for 10 another
  kill -0 "$old"
  pkill -f '^sleep 72007'
  wait "$call"
  jq -e '.stdout == "begun\n" and .exit_code == 143' "$BATS_TEST_TMPDIR/out"
  gone "$old"
  keeper
}

@test "ExecSync: a ctrrun that was replaced runs no more; a script in its place, and too many words, are run as they are" {
  bin=$BATS_TEST_TMPDIR/bin
  mkdir "$bin"
  cp "$BUILD"/bin/* "$bin"
  cp "$CRISP_CONFIG" "$BATS_TEST_TMPDIR/good.json"
  jq --arg b "$bin" '. + { tools_dir: $b }' "$BATS_TEST_TMPDIR/good.json" >"$CRISP_CONFIG"
  container
  crispd_start
  exec_sync true
  old=$(keeper)
  cp "$BUILD/bin/ctrrun" "$bin/new" && mv "$bin/new" "$bin/ctrrun"
  exec_sync true
  [ "$(keeper)" != "$old" ]
  gone "$old"
  # More than fits into a message, not more than a process may have.
  long=$(printf '%060000d' 0)
  exec_sync sh -c "printf %s \"\$0\" | wc -c" "$long$long" | jq -e '.stdout == "120000\n"'
  # Only some of them at a time.
  for i in {1..7}; do exec_sync sh -c 'sleep 0.3; echo "$1"' "$long$long" "$i" 3>&- >"$BATS_TEST_TMPDIR/out-$i" & calls[i]=$!; done
  for i in {1..7}; do wait "${calls[i]}" && jq -e --arg i "$i" '.stdout == $i + "\n"' "$BATS_TEST_TMPDIR/out-$i"; done
  printf '#!/bin/sh\necho "$@" >>%s\nexec %s "$@"\n' "$bin/ran" "$BUILD/bin/ctrrun" >"$bin/script"
  chmod +x "$bin/script" && mv "$bin/script" "$bin/ctrrun"
  exec_sync sh -c 'echo four; echo five >&2; exit 6' | jq -e '.stdout == "four\n" and .stderr == "five\n" and .exit_code == 6'
  run ! keeper
  grep -- "--status-fd .* --collect -- $CTR sh -c" "$bin/ran"
  T=1 run exec_sync sleep 72008
  [ "$status" = 124 ]
  none_runs '^sleep 72008'
  exec_sync sleep 72009 3>&- & call=$!
  wait_for 10 pgrep -f '^sleep 72009'
  pkill -P "$call" cricall
  wait "$call" || true
  wait_for 10 none_runs '^sleep 72009'
  printf '#!/bin/sh\necho nonsense >&2\nexit 9\n' >"$bin/script"
  chmod +x "$bin/script" && mv "$bin/script" "$bin/ctrrun"
  run_err 9 exec_sync true
  [[ $stderr == *"ctrrun failed with exit status 9"* ]]
  cp "$BUILD/bin/ctrrun" "$bin/new" && mv "$bin/new" "$bin/ctrrun"
}

@test "ctrrun exec --collect wants a --status-fd, and no terminal or input of its own" {
  run_err 2 ctrrun exec --collect x true
  [[ $stderr == *"--collect needs a SOCK_SEQPACKET socket as --status-fd"* ]]
  run_err 2 ctrrun exec --collect --status-fd 2 x true
  [[ $stderr == *"--collect needs a SOCK_SEQPACKET socket as --status-fd"* ]]
  run_err 2 ctrrun exec --collect --status-fd 1 -i x true
  [[ $stderr == *"--collect takes neither --tty nor --stdin"* ]]
  run_err 2 ctrmon --turnstile=9 x
  run_err 2 ctrrun --turnstile=1 exec
}
