#!/usr/bin/env bats
# The log under stress: reopens at full speed, directories that go away, limits of how fast it may grow.

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

@test "100 reopens while it writes at full speed: every line once, in order" {
  run_ctr crun sh -c 'while ! [ -e /tmp/go ]; do sleep 0.01; done; seq 0 2999999; sleep 1000'
  python3 - "$RUNROOT/containers/$CTR" "$(ctr_log)" "$CTR" <<'PY'
import os, socket, subprocess, sys, time
run, log, ctr = sys.argv[1:4]
os.chdir(run)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(10)
s.connect("ctl.sock")
subprocess.run(["ctrrun", "exec", ctr, "touch", "/tmp/go"], check=True)
for i in range(100):
    # Each file gets something, for as long as there is anything to come.
    end = time.monotonic() + 0.05
    while os.stat(log).st_size == 0 and time.monotonic() < end:
        pass
    os.rename(log, log + ".%03d" % i)
    s.send(b'{"op":"reopen"}')
    assert s.recv(4096) == b'{"ok":true}'
    assert os.stat(log).st_mode & 0o7777 == 0o640
PY
  [ "$(find "$(dirname "$(ctr_log)")" -name '0.log.*' -size +0 | wc -l)" -gt 50 ]
  wait_for 20 bash -c "cat '$(ctr_log)'.* '$(ctr_log)' | tail -n1 | grep -q ' 2999999\$'"
  cat "$(ctr_log)".* "$(ctr_log)" | cut -d' ' -f4 | cmp - <(seq 0 2999999)
  ctrrun rm --force "$CTR"
  rm -r "$(dirname "$(ctr_log)")"
}

@test "the log's directory is held: renamed it is followed, removed it is made again" {
  run_ctr crun sh -c 'while :; do echo tick; sleep 0.02; done'
  local dir status
  dir=$(dirname "$(ctr_log)")
  wait_for 5 grep -q tick "$(ctr_log)"
  mv "$dir" "$dir.moved"
  mv "$dir.moved/0.log" "$dir.moved/0.log.1"
  ctrrun reopen "$CTR"
  wait_for 5 grep -q tick "$dir.moved/0.log"
  [ ! -e "$dir" ]
  rm -r "$dir.moved"
  ask "$CTR" '{"op":"status"}' | jq -e '.log == "removed"'
  ctrrun reopen "$CTR"
  wait_for 5 grep -q tick "$(ctr_log)"
  ask "$CTR" '{"op":"status"}' | jq -e '.log == "ok" and .lost_lines == 0'
  # A link in its place is not ours to follow.
  rm "$(ctr_log)"
  ln -s /etc/passwd "$(ctr_log)"
  run --separate-stderr ctrrun reopen "$CTR"
  [ "$status" != 0 ]
  rm "$(ctr_log)"
  ctrrun reopen "$CTR"
  [ "$(stat -c %a "$(ctr_log)")" = 640 ]
  ctrrun rm --force "$CTR"
}

@test "space that returns while the container is silent is told in the log" {
  local dir
  bundle crun sh -c 'i=0; while [ $i -lt 3000 ]; do echo "line $i 0123456789012345678901234567890123456789"; i=$((i + 1)); done; : >/tmp/done; sleep 1000' >/dev/null
  dir=$(dirname "$(ctr_log)")
  mkdir -p "$dir"
  mount -t tmpfs -o size=64k crisp-test "$dir"
  ctrrun create "$CTR" && ctrrun start "$CTR"
  wait_for 20 ctrrun exec "$CTR" test -e /tmp/done
  ctrrun state "$CTR" | jq -e '.log.health == "degraded" and .log.lost_lines > 100'
  mount -o remount,size=4m "$dir"
  wait_for 5 grep -q 'stderr F crisp: [0-9]* log lines were lost: No space left on device' "$(ctr_log)"
  ctrrun state "$CTR" | jq -e '.log.health == "ok" and .log.lost_lines > 100'
  ctrrun rm --force "$CTR"
  umount "$dir"
}

# limited POLICY: a handler's limit of 100 kB/s, and a container that writes 5 MB at once
limited() {
  jq -n --arg policy "$1" '{ path: "/usr/bin/crun", log_rate_limit: 100000, log_rate_policy: $policy }' >"$CRISP_TMP/etc/handlers.d/limited.json"
  B_STATE='.handler = "limited"' run_ctr crun sh -c "while ! [ -e /tmp/go ]; do sleep 0.02; done; i=0; while [ \$i -lt ${2:-50000} ]; do echo \"\$i 01234567890123456789012345678901234567890123456789012345\"; i=\$((i + 1)); done; sleep 1; echo last; exit 3"
  ctrrun exec "$CTR" touch /tmp/go
  wait_exited "$CTR" 20
  [ "$(effective)" = "exited 3 Error" ]
  RECORDED=$(ctrrun state "$CTR" | jq .exit.dropped_lines)
  KEPT=$(grep -c ' stdout F [0-9]' "$(ctr_log)")
  DROPPED=$(sed -n 's/.*stderr F crisp: \([0-9]*\) log lines were dropped: limit of 100000 bytes a second$/\1/p' "$(ctr_log)" | awk '{ n += $1 } END { print n + 0 }')
  ctrrun rm "$CTR"
}

@test "a rate limit that drops: what is missing is counted and told" {
  limited drop
  echo "kept $KEPT dropped $DROPPED"
  [ $((KEPT + DROPPED)) = 50000 ]
  [ "$RECORDED" = "$DROPPED" ]
  [ "$KEPT" -lt 10000 ]
  [ "$KEPT" -gt 500 ]
  # Some time later it may log again.
  grep -q 'stdout F last' "$(ctr_log)"
}

@test "a rate limit that samples keeps every 100th line beyond it" {
  limited sample
  echo "kept $KEPT dropped $DROPPED"
  [ $((KEPT + DROPPED)) = 50000 ]
  [ "$RECORDED" = "$DROPPED" ]
  [ "$KEPT" -lt 10000 ]
  cut -d' ' -f4 "$(ctr_log)" | awk '/^[0-9]+$/ { if ($1 - before == 100) n++; before = $1 } END { exit !(n > 50) }'
}

@test "a rate limit that blocks: nothing is lost, the container waits" {
  local start=$EPOCHREALTIME
  limited block 12000
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { exit !(b - a > 2) }'
  [ "$KEPT" = 12000 ]
  [ "$DROPPED" = 0 ]
}

@test "an annotation lowers the limit and cannot raise it" {
  jq -n '{ path: "/usr/bin/crun", log_rate_limit: 200000 }' >"$CRISP_TMP/etc/handlers.d/limited.json"
  local rate got
  for rate in 4096 300000 rubbish; do
    B_STATE='.handler = "limited"' bundle crun sleep 1000 >/dev/null
    jq -n --arg rate "$rate" '{ metadata: { name: "x" }, annotations: { "crisp.log_rate_limit": $rate, "crisp.log_rate_policy": "sample" } }' >"$ROOT/containers/$CTR/container.json"
    ctrrun create "$CTR"
    got=$(tr '\0' ' ' <"/proc/$(monitor_pid)/cmdline")
    echo "$got"
    if [ "$rate" = 4096 ]; then [[ $got == *"--log-rate-limit 4096 --log-rate-policy sample"* ]]; else [[ $got == *"--log-rate-limit 200000 --log-rate-policy sample"* ]]; fi
    ctrrun rm "$CTR"
  done
  echo '{ "path": "/usr/bin/crun", "log_rate_policy": "burn" }' >"$CRISP_TMP/etc/handlers.d/limited.json"
  rm -f "$CRISP_TMP/etc/handlers.d/limited.json"
  run_err 2 ctrmon --root "$ROOT" --runroot "$RUNROOT" --runtime /usr/bin/crun --runtime-root "$RUNROOT/r" --log-rate-policy burn "$CTR"
  run_err 2 ctrmon --root "$ROOT" --runroot "$RUNROOT" --runtime /usr/bin/crun --runtime-root "$RUNROOT/r" --log-rate-limit 5 "$CTR"
}

@test "the record has the peak of memory" {
  run_ctr crun sh -c 'x=$(head -c 8000000 /dev/zero | tr "\0" x); echo ${#x}'
  wait_exited
  ctrrun state "$CTR" | jq -e '.exit.peak_memory > 8000000 and .exit.peak_memory < 200000000'
  ctrrun rm "$CTR"
}

@test "stdin: half close reaches the container when nobody else holds it" {
  B_STATE='.stdin_open = true | .stdin_once = true' run_ctr crun sh -c 'cat; echo eof'
  python3 - "$RUNROOT/containers/$CTR" <<'PY'
import os, socket, sys
os.chdir(sys.argv[1])
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(5)
s.connect("ctl.sock")
s.send(b'{"op":"attach","stdin":1,"stdout":1}')
answer, fds, _, _ = socket.recv_fds(s, 4096, 3)
assert b'"stdin":1,"stdout":1' in answer and len(fds) == 2, answer
os.write(fds[0], b"hello\n")
os.close(fds[0])
s.send(b'{"op":"stdin_end"}')
out = os.fdopen(fds[1], "rb", 0)
os.set_blocking(fds[1], True)
text = b""
while chunk := out.read(1000):
    text += chunk
assert text == b"hello\neof\n", text
PY
  wait_exited
  ctrrun rm "$CTR"
  # Without stdin_once the container's stdin outlives its clients.
  B_STATE='.stdin_open = true' run_ctr crun sh -c 'read a; read b; echo $a $b'
  local i
  for i in one two; do echo "$i" | timeout 5 ctrrun attach "$CTR" >/dev/null 3>&- & done
  wait_exited
  grep -qE 'stdout F (one two|two one)' "$(ctr_log)"
  ctrrun rm "$CTR"
}

@test "control: signal, guards and clients without number" {
  run_ctr crun sh -c 'trap "echo usr1" USR1; while :; do sleep 0.02; done'
  wait_for 5 ctrrun exec "$CTR" grep -q 'SigCgt:.*[2367abef]..$' /proc/1/status
  ask "$CTR" '{"op":"signal","signal":10}' | jq -e .ok
  wait_for 5 grep -q usr1 "$(ctr_log)"
  [ "$(ask "$CTR" '{"op":"signal","signal":0}' '{"op":"signal"}' '{"op":"signal","signal":999}' '{"op":"guard"}' '{"op":"guard","pid_file":"../pid"}' '{"op":"guard","pid_file":"pid"}' | jq -r .code | sort -u)" = BAD_INPUT ]
  # 1000 clients that say nothing or too much; the log goes on, and there is room again when they are gone.
  python3 - "$RUNROOT/containers/$CTR" <<'PY'
import os, socket, sys
os.chdir(sys.argv[1])
keep = []
for i in range(1000):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("ctl.sock")
    s.settimeout(5)
    try:
        if i % 3:
            s.send(b"x" * 100000 if i % 2 else b'{"op":"status"}')
    except OSError:
        pass
    keep.append(s)
PY
  wait_for 5 ask "$CTR" '{"op":"status"}'
  ask "$CTR" '{"op":"status"}' | jq -e .ok
  if ! ldd "$(command -v ctrmon)" | grep -q asan; then
    [ "$(awk '/^Private_Dirty/ { print $2 }' "/proc/$(monitor_pid)/smaps_rollup")" -lt 500 ]
  fi
  ctrrun rm --force "$CTR"
}
