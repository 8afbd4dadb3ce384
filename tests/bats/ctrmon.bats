#!/usr/bin/env bats
# ctrmon: what a container's output, end and monitor look like, on the real runtimes.

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

log_format() {
  run_ctr "$RT" sh -c 'echo out; echo err >&2; printf "no newline"'
  wait_exited
  local log
  log=$(ctr_log)
  [ "$(grep -cE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z (stdout|stderr) [PF] ' "$log")" = 3 ]
  [ "$(cut -d' ' -f2- "$log" | sort)" = $'stderr F err\nstdout F no newline\nstdout F out' ]
  [ "$(stat -c %a "$log")" = 640 ]
  ctrrun rm "$CTR"
}
@test "the log has the CRI's format" { both log_format; }

partial() {
  run_ctr "$RT" sh -c 'head -c 40000 /dev/zero | tr "\0" x; echo; echo short; head -c 16384 /dev/zero | tr "\0" y; echo'
  wait_exited
  [ "$(awk '{ print $3, length($4) }' "$(ctr_log)")" = $'P 16384\nP 16384\nF 7232\nF 5\nF 16384' ]
  ctrrun rm "$CTR"
}
@test "lines beyond the limit are partial" { both partial; }

binary() {
  # Every byte value, and a megabyte of noise: what the lines hold, joined again, is what was written.
  run_ctr "$RT" sh -c 'head -c 1000000 /dev/urandom | tee /tmp/noise; sha256sum /tmp/noise | cut -c1-64 >&2'
  wait_exited
  python3 - "$(ctr_log)" <<'PY'
import hashlib, sys
out, want = b"", None
for line in open(sys.argv[1], "rb").read().split(b"\n")[:-1]:
    stamp, stream, tag, text = line.split(b" ", 3)
    if stream == b"stderr":
        want = text.decode()
    else:
        out += text + (b"\n" if tag == b"F" else b"")
assert want in (hashlib.sha256(out).hexdigest(), hashlib.sha256(out[:-1]).hexdigest()), (want, len(out))
PY
  ctrrun rm "$CTR"
}
@test "any bytes get through" { both binary; }

reopens() {
  local log i
  run_ctr "$RT" sh -c 'i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i + 1)); done; sleep 1000'
  log=$(ctr_log)
  for i in 1 2 3 4 5; do
    mv "$log" "$log.$i"
    ctrrun reopen "$CTR"
    [ "$(stat -c %a "$log")" = 640 ]
  done
  wait_for 20 bash -c "cat '$log'.? '$log' | grep -q ' 19999\$'"
  # In the order of the files no line is missing and none is twice.
  cat "$log".[1-5] "$log" | cut -d' ' -f4 | diff - <(seq 0 19999)
  ctrrun rm --force "$CTR"
  mv "$log" "$log.6"
  run_err 5 ctrrun reopen "$CTR"
  [ ! -e "$log" ]
}
@test "reopen after a rename loses and repeats nothing" { both reopens; }

@test "a reopen that fails leaves the old log in use and no new file" {
  run_ctr crun sh -c 'while :; do echo tick; sleep 0.05; done'
  local log before
  log=$(ctr_log)
  mv "$log" "$log.1"
  mkdir "$log"
  run --separate-stderr ctrrun reopen "$CTR"
  [ "$status" != 0 ]
  [[ $stderr == *"0.log"* ]]
  before=$(wc -l <"$log.1")
  wait_for 5 bash -c "[ \$(wc -l <'$log.1') -gt $before ]"
  rmdir "$log"
  ctrrun reopen "$CTR"
  wait_for 5 grep -q tick "$log"
  ctrrun rm --force "$CTR"
}

disk_full() {
  local dir
  bundle "$RT" sh -c 'i=0; while [ $i -lt 3000 ]; do echo "line $i 0123456789012345678901234567890123456789"; i=$((i + 1)); done; echo half; : >/tmp/done
    while ! [ -e /tmp/go ]; do sleep 0.05; done; echo again; sleep 1000' >/dev/null
  dir=$(dirname "$(ctr_log)")
  mkdir -p "$dir"
  mount -t tmpfs -o size=64k crisp-test "$dir"
  ctrrun create "$CTR" && ctrrun start "$CTR"
  # The container is not held up.
  wait_for 20 ctrrun exec "$CTR" test -e /tmp/done
  wait_for 5 bash -c "grep -q 'lines are being lost' '$RUNROOT/containers/$CTR/monitor.log'"
  [ "$(ask "$CTR" '{"op":"status"}' | jq -r '.log, (.lost_lines > 100)')" = $'degraded\ntrue' ]
  # What is there is whole lines.
  [ "$(tail -c1 "$(ctr_log)" | od -An -tx1)" = " 0a" ]
  run -1 grep -vE ' stdout F line [0-9]+ 0123456789012345678901234567890123456789$' "$(ctr_log)"
  mount -o remount,size=4m "$dir"
  ctrrun exec "$CTR" touch /tmp/go
  wait_for 10 grep -q 'stdout F again' "$(ctr_log)"
  grep -q 'stderr F crisp: [0-9]* log lines were lost: No space left on device' "$(ctr_log)"
  # Written and lost lines are all lines.
  local lost kept
  lost=$(sed -n 's/.*crisp: \([0-9]*\) log lines.*/\1/p' "$(ctr_log)")
  kept=$(grep -c 'stdout F' "$(ctr_log)")
  [ $((lost + kept)) = 3002 ]
  [ "$(ask "$CTR" '{"op":"status"}' | jq -r .log)" = ok ]
  ctrrun rm --force "$CTR"
  umount "$dir"
}
@test "a full disk loses log lines, never the container; it is told and it ends" { both disk_full; }

@test "exit.json is written on a full disk" {
  bundle crun sh -c 'while ! [ -e /tmp/go ]; do sleep 0.05; done; exit 9' >/dev/null
  local dir=$ROOT/containers/$CTR
  cp "$dir/state.json" "$BATS_TEST_TMPDIR/state.json"
  mount -t tmpfs -o size=128k crisp-test "$dir"
  cp "$BATS_TEST_TMPDIR/state.json" "$dir/"
  ctrrun create "$CTR" && ctrrun start "$CTR"
  cat /dev/zero >"$dir/filler" 2>/dev/null || true
  run ! dd if=/dev/zero of="$dir/more" bs=4k count=1
  rm -f "$dir/more"
  ctrrun exec "$CTR" touch /tmp/go
  wait_exited
  [ "$(effective)" = "exited 9 Error" ]
  rm -f "$dir/filler"
  ctrrun rm "$CTR"
  umount "$dir"
}

small() {
  run_ctr "$RT" sh -c 'seq 100000; sleep 1000'
  local pid
  pid=$(monitor_pid)
  wait_for 10 grep -q ' 100000$' "$(ctr_log)"
  # What a burst takes is given back when it is over.
  wait_for 10 awk '/^Private_Dirty/ { exit $2 >= 200 }' "/proc/$pid/smaps_rollup" || grep ^Private_Dirty "/proc/$pid/smaps_rollup"
  awk '/^Private_Dirty/ { exit $2 >= 200 }' "/proc/$pid/smaps_rollup"
  [ "$(awk '/^Threads/ { print $2 }' "/proc/$pid/status")" = 1 ]
  run -1 grep -E 'jansson|nanomsg|crypto' "/proc/$pid/maps"
  # It sleeps: no turn of the loop while nothing happens.
  local before
  before=$(awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$pid/status")
  sleep 1
  [ "$(awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$pid/status")" -le $((before + 1)) ]
  ctrrun rm --force "$CTR"
}
@test "the monitor is small and asleep" {
  if ldd "$(command -v ctrmon)" | grep -q asan; then skip "a sanitizer takes megabytes"; fi
  both small
}

survives() {
  run_ctr "$RT" sh -c 'while ! [ -e /tmp/go ]; do sleep 0.05; done; echo end; exit 5'
  local pid sig
  pid=$(monitor_pid)
  for sig in TERM INT HUP QUIT USR1 PIPE ALRM; do kill -"$sig" "$pid"; done
  [ "$(awk '{ print $6 }' "/proc/$pid/stat")" = "$pid" ]
  ctrrun exec "$CTR" touch /tmp/go
  wait_exited
  [ "$(effective)" = "exited 5 Error" ]
  grep -q 'stdout F end' "$(ctr_log)"
  wait_for 5 is_dead "$pid"
  [ ! -e "$RUNROOT/containers/$CTR/ctl.sock" ]
  ctrrun rm "$CTR"
}
@test "the monitor ignores signals and leads its own session" { both survives; }

oom() {
  B_CONFIG='.linux.resources.memory = { limit: 33554432 }' run_ctr "$RT" sh -c 'x=x; while :; do x=$x$x; done'
  wait_exited "$CTR" 30
  [ "$(effective)" = "exited 137 OOMKilled" ]
  ctrrun state "$CTR" | jq -e .exit.oom
  ctrrun rm "$CTR"
}
@test "an OOM kill is the reason" { both oom; }

tails() {
  run_ctr "$RT" sh -c 'seq 5000 >&2; printf "bad \377 byte \"quoted\"\n" >&2; exit 1'
  wait_exited
  ctrrun state "$CTR" | jq -e '.exit.stderr_tail | (length > 4000) and endswith("\n5000\nbad \ufffd byte \"quoted\"\n")'
  ctrrun rm "$CTR"
}
@test "exit.json has the end of stderr" { both tails; }

host_pid() {
  # Without a PID namespace the rest would live on, and hold the log.
  B_CONFIG='.linux.namespaces |= map(select(.type != "pid"))' run_ctr "$RT" sh -c 'sleep 7654 & echo up; exit 3'
  wait_exited
  [ "$(effective)" = "exited 3 Error" ]
  wait_for 5 is_dead "$(monitor_pid)"
  wait_for 2 none_runs '^sleep 7654'
  grep -q 'stdout F up' "$(ctr_log)"
  ctrrun rm "$CTR"
  [ -z "$(left_of "$CTR")" ]
}
@test "in the host's PID namespace the rest ends with the first process" { both host_pid; }

@test "somebody outside who keeps the stream is waited for 2 s" {
  run_ctr crun sleep 1000
  # The other end of the container's stdout, held by us.
  sleep 8765 >"/proc/$(ctr_pid)/fd/1" 3>&- &
  local holder=$! monitor start=$SECONDS
  monitor=$(monitor_pid)
  wait_for 5 pgrep -f '^sleep 8765'
  ctrrun stop --timeout 0 "$CTR"
  [ "$(effective)" = "exited 137 Error" ]
  wait_for 6 is_dead "$monitor"
  [ $((SECONDS - start)) -le 40 ]
  kill "$holder"
  ctrrun rm "$CTR"
}

inputs() {
  run_ctr "$RT" sh -c 'cat; echo eof'
  wait_exited
  [ "$(effective)" = "exited 0 Completed" ]
  ctrrun rm "$CTR"
  B_STATE='.stdin_open = true' run_ctr "$RT" sh -c 'cat; echo eof'
  sleep 0.3
  [ "$(effective)" = running ]
  ctrrun rm --force "$CTR"
}
@test "stdin is empty, or open when asked for" { both inputs; }

terminals() {
  B_CONFIG='.process.terminal = true' B_STATE='.tty = true' run_ctr "$RT" sh -c 'trap "stty size" WINCH; test -t 0 && test -t 2 && echo terminal; while :; do sleep 0.05; done'
  wait_for 5 grep -q $'stdout F terminal\r$' "$(ctr_log)"
  ask "$CTR" '{"op":"resize","width":91,"height":17}' | jq -e .ok
  wait_for 5 grep -q '17 91' "$(ctr_log)"
  [ "$(ask "$CTR" '{"op":"resize","width":0,"height":17}' | jq -r .code)" = BAD_INPUT ]
  ctrrun stop --timeout 0 "$CTR"
  wait_for 5 is_dead "$(monitor_pid)"
  [ ! -e "$RUNROOT/containers/$CTR/console.sock" ]
  ctrrun rm "$CTR"
}
@test "a container with a terminal" { both terminals; }

@test "the control socket takes anything and refuses most of it" {
  run_ctr crun sleep 1000
  ask "$CTR" '{"op":"status"}' | jq -e '.ok and .state == "running" and .log == "ok" and .lost_lines == 0 and .pid > 0'
  [ "$(ask "$CTR" 'rubbish' '{}' '[1]' '{"op":1}' '{"op":"nosuch"}' '{"op":"resize"}' '{"op":"resize","width":1,"height":1}' | jq -r .code | tr '\n' ' ')" = \
    "BAD_INPUT BAD_INPUT BAD_INPUT BAD_INPUT UNSUPPORTED BAD_INPUT BAD_STATE " ]
  # Too long, too many, gone in the middle: others are served.
  python3 - "$RUNROOT/containers/$CTR" <<'PY'
import os, socket, sys
os.chdir(sys.argv[1])
keep = []
for i in range(40):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("ctl.sock")
    try:
        s.send(b"x" * 10000 if i % 2 else b"{")
    except OSError:
        pass
    keep.append(s)
PY
  ask "$CTR" '{"op":"status"}' | jq -e .ok
  ctrrun rm --force "$CTR"
}

@test "by hand: one monitor a container, and clear errors" {
  bundle crun sleep 1000 >/dev/null
  run_err 2 ctrmon "$CTR"
  run_err 6 ctrmon --root "$ROOT" --runroot "$RUNROOT" --runtime /usr/bin/crun --runtime-root "$RUNROOT/runtimes/crun" ../x
  run_err 3 ctrmon --root "$ROOT" --runroot "$RUNROOT" --runtime /usr/bin/crun --runtime-root "$RUNROOT/runtimes/crun" "$(new_id)"
  ctrrun create "$CTR"
  run_err 8 ctrmon --root "$ROOT" --runroot "$RUNROOT" --runtime /usr/bin/crun --runtime-root "$RUNROOT/runtimes/crun" "$CTR"
  [[ $stderr == *"monitor.lock is held"* ]]
  ctrrun rm "$CTR"
  [ "$(ctrmon --root "$ROOT" --runroot "$RUNROOT" --runtime /bin/false --runtime-root "$RUNROOT/runtimes/x" --status-fd 4 "$CTR" 4>&1 2>/dev/null | jq -r '.event + " " + .stage + " " + .code')" = \
    "failed runtime FAILED" ]
}

@test "a monitor whose records were removed ends with its container" {
  run_ctr crun sleep 1
  local monitor
  monitor=$(monitor_pid)
  rm -rf "$ROOT/containers/$CTR"
  wait_for 6 is_dead "$monitor"
  # The runtime's and the kernel's part of it would have been ctrrun rm's.
  crun --root "$RUNROOT/runtimes/crun" delete --force "$CTR"
}
