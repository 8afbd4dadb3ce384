#!/usr/bin/env bats
# ctrrun for people: logs, attach, exec at a terminal.

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
  requires root crun
}

pty() { /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/at_terminal.py" "$@"; }

@test "logs: text, streams, tail, since, timestamps" {
  run_ctr crun sh -c 'for i in 1 2 3; do echo line $i; done; head -c 40000 /dev/zero | tr "\0" x; echo; echo err >&2; echo last; exit 2'
  wait_exited
  run --separate-stderr -0 ctrrun logs "$CTR"
  [ "$(wc -l <<<"$output")" = 5 ]
  [ "$stderr" = err ]
  [ "${lines[0]}" = "line 1" ]
  [ "${#lines[3]}" = 40000 ]
  [ "${lines[4]}" = last ]
  # The pieces of the long line are one line.
  [ "$(ctrrun logs --tail 2 "$CTR" 2>&1 | sort)" = $'err\nlast' ]
  [ "$(ctrrun logs --tail 3 "$CTR" 2>/dev/null | head -1 | wc -c)" = 40001 ]
  [ "$(ctrrun logs --tail 4 "$CTR" 2>/dev/null | head -1)" = "line 3" ]
  [ -z "$(ctrrun logs --tail 0 "$CTR" 2>&1)" ]
  [ "$(ctrrun logs --tail 100 "$CTR" 2>/dev/null | wc -l)" = 5 ]
  ctrrun logs --timestamps --tail 1 "$CTR" 2>&1 | grep -qE '^20[0-9-]{8}T[0-9:]{8}\.[0-9]{9}Z '
  [ "$(ctrrun logs --timestamps "$CTR" 2>/dev/null | wc -l)" = 5 ]
  [ "$(ctrrun logs --since 10m "$CTR" 2>/dev/null | wc -l)" = 5 ]
  [ -z "$(ctrrun logs --since 2999-01-01 "$CTR" 2>&1)" ]
  [ -z "$(ctrrun logs --since 0 "$CTR" 2>&1)" ]
  [ "$(ctrrun logs --since "$(sed -n 3p "$(ctr_log)" | cut -d' ' -f1)" "$CTR" 2>/dev/null | wc -l)" -ge 1 ]
  run_err 2 ctrrun logs --since yesterday "$CTR"
  run_err 3 ctrrun logs no-such
  # Not ended by us: a follower of an ended container ends.
  [ "$(ctrrun logs -f "$CTR" 2>/dev/null | wc -l)" = 5 ]
  # A line that is not of the format is shown as it is.
  echo "something else" >>"$(ctr_log)"
  [ "$(ctrrun logs --tail 1 "$CTR")" = "something else" ]
  ctrrun rm "$CTR"
}

@test "logs -f: across rotations every line once, until the container ends" {
  run_ctr crun sh -c 'while ! [ -e /tmp/go ]; do sleep 0.02; done; i=0; while ! [ -e /tmp/enough ]; do echo $i; i=$((i + 1)); done; echo end'
  local log i follower
  log=$(ctr_log)
  ctrrun logs -f "$CTR" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
  follower=$!
  wait_for 5 test -e "/proc/$follower/fd/5"
  ctrrun exec "$CTR" touch /tmp/go
  for i in $(seq 1 9); do
    # One rotation is seen before the next comes, as the kubelet's are 10 s apart.
    wait_for 10 bash -c "[ -s '$log' ]"
    mv "$log" "$log.$i"
    ctrrun reopen "$CTR"
    wait_for 5 bash -c "readlink /proc/$follower/fd/* | grep -qx '$log'"
  done
  ctrrun exec "$CTR" touch /tmp/enough
  wait "$follower"
  [ "$(tail -1 "$BATS_TEST_TMPDIR/out")" = end ]
  cmp "$BATS_TEST_TMPDIR/out" <(seq 0 "$(tail -2 "$BATS_TEST_TMPDIR/out" | head -1)"; echo end)
  [ ! -s "$BATS_TEST_TMPDIR/err" ]
  ctrrun rm --force "$CTR"
}

@test "logs -f of a silent container ends with it, and with its reader" {
  run_ctr crun sh -c 'echo up; while ! [ -e /tmp/go ]; do sleep 0.02; done'
  ctrrun logs -f "$CTR" >"$BATS_TEST_TMPDIR/out" 3>&- &
  local follower=$!
  wait_for 5 grep -q up "$BATS_TEST_TMPDIR/out"
  [ "$(timeout 5 ctrrun logs -f "$CTR" | head -1)" = up ]
  ctrrun exec "$CTR" touch /tmp/go
  wait "$follower"
  ctrrun rm "$CTR"
}

@test "attach without a terminal: streams, half close, exit status" {
  B_STATE='.stdin_open = true | .stdin_once = true' run_ctr crun sh -c 'echo before; cat; echo err >&2; exit 6'
  wait_for 5 grep -q before "$(ctr_log)"
  run --separate-stderr -6 bash -c 'seq 50000 | ctrrun attach "$0"' "$CTR"
  [ "$output" = "$(seq 50000)" ]
  [ "$stderr" = err ]
  [ "$(grep -c 'stdout F' "$(ctr_log)")" = 50001 ]
  run_err 5 ctrrun attach "$CTR"
  ctrrun rm "$CTR"
}

@test "attach at a terminal: typing, size, detach keys, terminal restored" {
  B_CONFIG='.process.terminal = true' B_STATE='.tty = true | .stdin_open = true' run_ctr crun sh -c 'trap "echo size; stty size" WINCH; while :; do read x || { sleep 0.1; continue; }; echo "got $x"; [ "$x" != bye ] || exit 7; done'
  pty "$CTR" attach
  ctrrun rm --force "$CTR"
}

@test "attach: ended by a signal the terminal is as it was" {
  B_CONFIG='.process.terminal = true' B_STATE='.tty = true | .stdin_open = true' run_ctr crun sh -c 'while read x; do echo "got $x"; done'
  pty "$CTR" signals
  [ "$(effective)" = running ]
  ctrrun rm --force "$CTR"
}

@test "exec -it at a terminal: raw, size, detach keys, restored on every way out" {
  run_ctr crun sleep 1000
  pty "$CTR" exec
  [ -z "$(find "$RUNROOT/containers/$CTR" -name 'exec.*')" ]
  run_err 2 ctrrun attach --detach-keys ctrl- "$CTR"
  ctrrun rm --force "$CTR"
}

@test "an attached client that never reads: neither log nor container waits" {
  run_ctr crun sh -c 'while ! [ -e /tmp/go ]; do sleep 0.02; done; dd if=/dev/zero bs=1000000 count=100 2>/dev/null | tr "\0" x; echo; touch /tmp/done; sleep 1000'
  /usr/bin/python3 - "$RUNROOT/containers/$CTR" >"$BATS_TEST_TMPDIR/client" 3>&- <<'PY' &
import os, socket, sys
os.chdir(sys.argv[1])
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("ctl.sock")
s.send(b'{"op":"attach","stdout":1}')
answer, fds, _, _ = socket.recv_fds(s, 4096, 3)
print(answer.decode(), len(fds), flush=True)
print(s.recv(4096).decode(), flush=True)
PY
  local client=$!
  wait_for 5 grep -q '"stdout":1' "$BATS_TEST_TMPDIR/client"
  ctrrun exec "$CTR" touch /tmp/go
  wait_for 30 ctrrun exec "$CTR" test -e /tmp/done
  wait "$client"
  grep -q '"event":"dropped"' "$BATS_TEST_TMPDIR/client"
  # Every byte is in the log.
  wait_for 10 bash -c "tail -c 20 '$(ctr_log)' | grep -q 'x\$'"
  [ "$(awk '{ n += length($4) } END { print n }' "$(ctr_log)")" = 100000000 ]
  ctrrun rm --force "$CTR"
}
