#!/usr/bin/env bats
# ctrshim: alone as an OCI runtime on containerd's own shim, as a handler of crisp, and against shims that lie.

setup_file() {
  load ../lib/helpers
  load ../lib/bundle
  crisp_file_setup
  bundle_setup
  local mode
  mkdir -p "$CRISP_TMP/fake"
  for mode in vm json fail huge garbage-start grpc newer garbage giant silent half text type words; do
    cp "$BATS_TEST_DIRNAME/../lib/fake_shim.py" "$CRISP_TMP/fake/containerd-shim-$mode"
  done
  chmod 755 "$CRISP_TMP"/fake/*
  jq -n --arg p "$BUILD/bin/ctrshim" --arg s "${SHIM:-/usr/bin/containerd-shim-runc-v2}" '{ path: $p, args: ["--shim", $s] }' >"$CRISP_TMP/etc/handlers.d/ctrshim.json"
}
teardown_file() {
  load ../lib/helpers
  load ../lib/bundle
  local id
  for id in "$CRISP_TMP"/s/*/; do [ ! -d "$id" ] || ctrshim --root "$CRISP_TMP/s" delete --force "$(basename "$id")"; done
  bundle_gone
  crisp_file_teardown
}
setup() {
  load ../lib/helpers
  load ../lib/bundle
  requires root runc "${SHIM:-containerd-shim-runc-v2}"
}

# SHIM=PATH: with this one of containerd's shims instead of Debian's.
shim() { ctrshim --root "$CRISP_TMP/s" ${SHIM:+--shim "$SHIM"} "$@"; }
# by_hand ID CMD...: a bundle directory for that command, in $B
by_hand() {
  bundle ctrshim "${@:2}" >/dev/null
  B=$RUNROOT/containers/$CTR/bundle
  jq --arg c "$CGROUP/$1" '.linux.cgroupsPath = $c' "$B/config.json" >"$B/c" && mv "$B/c" "$B/config.json"
}
status_of() { shim state "$1" | jq -r .status; }
# ended PID: waits for it
ended() { timeout 20 tail --pid="$1" -f /dev/null; }
# shims_of ROOT: processes of ctrshim and of shims that belong to it
shims_of() { pgrep -af "(ctrshim|containerd-shim).*$1"; }
no_commands() { [ -z "$(find "$RUNROOT/runtimes/ctrshim/$CTR" -name 'exec-*')" ]; }
# nothing_left ROOT: no container, no process, no socket
nothing_left() {
  local end=$((SECONDS + 8))
  while shims_of "$1" >/dev/null; do
    [ $SECONDS -lt $end ] || { shims_of "$1"; return 1; }
    sleep 0.05
  done
  [ -z "$(find "$1" -mindepth 1 -maxdepth 1 ! -name .runc)" ] || { ls -la "$1"; return 1; }
  [ -z "$(find "$1/.runc" -mindepth 2 2>/dev/null)" ]
}

@test "by hand: the life of a container, its streams, its state" {
  by_hand c1 sh -c 'cat; echo err >&2; exit 7'
  echo input | shim create --bundle "$B" --pid-file "$CRISP_TMP/pid" c1 >"$CRISP_TMP/out" 2>"$CRISP_TMP/err"
  [ "$(status_of c1)" = created ]
  run_err 4 shim create --bundle "$B" c1
  # One process ends as the container does; the other is the container's own.
  [ "$(shim state c1 | jq .pid)" = "$(cat "$CRISP_TMP/pid.container")" ]
  [ "$(cat "/proc/$(cat "$CRISP_TMP/pid")/comm")" = ctrshim-standin ]
  run_err 1 shim pause c1
  [[ $stderr == *"cannot pause task in created state" ]]
  shim start c1
  ended "$(cat "$CRISP_TMP/pid")"
  [ "$(cat "$CRISP_TMP/out")" = input ]
  [ "$(cat "$CRISP_TMP/err")" = err ]
  [ "$(status_of c1)" = stopped ]
  shim delete c1
  run_err 3 shim delete c1
  [[ $stderr == *"container c1 does not exist"* ]]
  shim delete --force c1
  nothing_left "$CRISP_TMP/s"
}

@test "by hand: what the shim and its runtime refuse, in their words" {
  by_hand c2 nosuch
  run_err 1 shim --log "$CRISP_TMP/log" --log-format json create --bundle "$B" c2 </dev/null
  [[ $stderr == *'exec: "nosuch": executable file not found in $PATH' ]]
  [ "$(jq -r .level "$CRISP_TMP/log")" = error ]
  [[ $(jq -r .msg "$CRISP_TMP/log") == *'"nosuch": executable file not found in $PATH' ]]
  nothing_left "$CRISP_TMP/s"
  by_hand c2 true
  jq '.process.terminal = true' "$B/config.json" >"$B/c" && mv "$B/c" "$B/config.json"
  run_err 2 shim create --bundle "$B" c2
  run_err 6 shim create --bundle "$B" ../c2
  run_err 3 shim create --bundle "$CRISP_TMP/nosuch" c2
  run_err 3 shim create --bundle "$B" --console-socket /nosuch c2
  [[ $stderr == *"console socket /nosuch: No such file"* ]]
  run_err 3 shim start c2
  nothing_left "$CRISP_TMP/s"
}

@test "by hand: commands in it, signals, limits; exit codes of several dozen are exact" {
  local n p
  # shellcheck disable=SC2016
  by_hand c3 sh -c 'trap "echo usr1" USR1; echo up; while :; do sleep 0.1; done'
  shim create --bundle "$B" --pid-file "$CRISP_TMP/pid" c3 </dev/null >"$CRISP_TMP/out"
  shim start c3
  # shellcheck disable=SC2016
  seq 0 3 96 | xargs -P 4 -I{} sh -c 'ctrshim --root "$1" exec c3 sh -c "exit {}" </dev/null; echo "{} $?"' _ "$CRISP_TMP/s" >"$CRISP_TMP/codes"
  [ "$(wc -l <"$CRISP_TMP/codes")" = 33 ]
  awk '$1 != $2 { bad = 1; print } END { exit bad }' "$CRISP_TMP/codes"
  for n in 6 9 15; do
    run shim exec c3 sh -c "kill -$n \$\$"
    [ "$status" = $((128 + n)) ]
  done
  # shellcheck disable=SC2016
  [ "$(echo in | shim exec --user 12:13 --env A=b --cwd /tmp c3 sh -c 'cat; id -u; id -g; echo $A; pwd' | tr '\n' ' ')" = "in 12 13 b /tmp " ]
  run_err 1 shim exec c3 nosuch
  [[ $stderr == *"executable file not found"* ]]
  jq -n '{ args: ["sh", "-c", "exec sleep 100"], cwd: "/", user: { uid: 0, gid: 0 }, env: ["PATH=/bin"] }' >"$CRISP_TMP/process.json"
  shim exec --detach --process "$CRISP_TMP/process.json" --pid-file "$CRISP_TMP/exec.pid" c3 </dev/null >/dev/null 2>&1
  [ "$(shim ps --format json c3 | jq length)" -ge 2 ]
  kill -TERM "$(cat "$CRISP_TMP/exec.pid")"
  ended "$(cat "$CRISP_TMP/exec.pid")"
  [ ! -d "/proc/$(cat "$CRISP_TMP/exec.pid.container")" ]
  # A signal for the stand-in is one for the container.
  kill -USR1 "$(cat "$CRISP_TMP/pid")"
  wait_for 5 grep -q usr1 "$CRISP_TMP/out"
  p=$(cat "$CRISP_TMP/pid.container")
  echo '{"cpu":{"shares":512},"pids":{"limit":77}}' | shim update c3
  grep -rqx 77 "/sys/fs/cgroup/pids$(sed -n 's/.*:pids://p' "/proc/$p/cgroup")/pids.max"
  run_err 6 shim update c3 <<<'[]'
  shim pause c3
  [ "$(status_of c3)" = paused ]
  # A frozen one can be removed, too.
  shim delete --force c3
  nothing_left "$CRISP_TMP/s"
}

@test "by hand: what it can do is what the shim's runtime can" {
  shim features | jq -e '.linux.cgroup.v1 and (.annotations | has("org.opencontainers.runc.checkpoint.enabled") | not)'
  [ "$(shim features | jq -c .linux.seccomp.actions)" = "$(runc features | jq -c .linux.seccomp.actions)" ]
  run_err 10 shim --shim "$CRISP_TMP/fake/containerd-shim-vm" features
  ctrrun handlers | grep -A1 '^ctrshim ' | grep -q 'can .*seccomp'
}

@test "as a handler: log, exec, terminal, stop, OOM, limits" {
  run_ctr ctrshim sh -c 'echo out; echo err >&2; printf part; sleep 0.1; exit 200'
  wait_exited
  [ "$(effective)" = "exited 200 Error" ]
  # Between the streams there is no order.
  [ "$(cut -d' ' -f2- "$(ctr_log)" | sort)" = "$(printf 'stderr F err\nstdout F out\nstdout F part')" ]
  ctrrun rm "$CTR"
  [ -z "$(left_of "$CTR")" ]
  # shellcheck disable=SC2016
  run_ctr ctrshim sh -c 'trap "exit 33" TERM; echo up; while :; do sleep 0.05; done'
  grep -q "$CTR" "/proc/$(ctr_pid)/cgroup"
  run ctrrun exec "$CTR" sh -c 'echo in; exit 5'
  [ "$status $output" = "5 in" ]
  run -127 ctrrun exec "$CTR" nosuch
  run -124 ctrrun exec --timeout 0.5 "$CTR" sleep 54321
  wait_for 5 none_runs 'sleep 54321'
  wait_for 5 no_commands
  run script -qec "stty rows 40 cols 100; ctrrun exec --tty $CTR stty size" /dev/null </dev/null
  [[ $output == *"40 100"* ]]
  echo '{}' >"$ROOT/containers/$CTR/container.json"
  echo '{"memory_limit_in_bytes": 104857600}' | ctrrun update "$CTR" -
  [ "$(cat "/sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' "/proc/$(ctr_pid)/cgroup")/memory.limit_in_bytes")" = 104857600 ]
  wait_for 5 grep -q up "$(ctr_log)"
  ctrrun stop --timeout 5 "$CTR"
  [ "$(effective)" = "exited 33 Error" ]
  ctrrun rm "$CTR"
  B_CONFIG='.linux.resources.memory.limit = 20971520' run_ctr ctrshim sh -c 'exec tail /dev/zero'
  wait_exited
  [ "$(effective)" = "exited 137 OOMKilled" ]
  [ "$(ctrrun state "$CTR" | jq .exit.signal)" = 9 ]
  ctrrun rm "$CTR"
  nothing_left "$RUNROOT/runtimes/ctrshim"
}

@test "through the socket: a pod's way with a daemon that is killed between, and nothing is left" {
  load ../lib/crispd
  local IMAGE phase
  IMAGE=$(pull_image bb)
  export IMAGE HANDLER=ctrshim
  for phase in handler_begins handler_goes_on; do
    crispd_start
    run py rpc_case.py "$SOCK" $phase
    echo "$output"
    kill -9 "$CRISPD_PID"
    [ "$status" = 0 ]
  done
  nothing_left "$RUNROOT/runtimes/ctrshim"
}

@test "as a handler: a terminal that is attached to and resized" {
  B_CONFIG='.process.terminal = true' B_STATE='.tty = true | .stdin_open = true' bundle ctrshim sh >/dev/null
  ctrrun create "$CTR"
  ask "$CTR" '{"op":"resize","width":91,"height":37}' | grep -qv error
  ctrrun start "$CTR"
  # shellcheck disable=SC2016
  { sleep 0.3; printf 'stty size\n'; sleep 0.3; printf 'exit 4\n'; sleep 0.3; } | timeout 10 ctrrun attach "$CTR" || true
  wait_exited
  [ "$(effective)" = "exited 4 Error" ]
  grep -q '37 91' "$(ctr_log)"
  ctrrun rm "$CTR"
  nothing_left "$RUNROOT/runtimes/ctrshim"
}

@test "killed: the shim, the stand-in, the monitor, and the call at each of its steps" {
  local pid shim i
  # The shim: its container is over, and nothing is left of it.
  run_ctr ctrshim sleep 100
  shim=$(jq .shim_pid "$RUNROOT/runtimes/ctrshim/$CTR/shim.json")
  pid=$(ctr_pid)
  kill -9 "$shim"
  wait_exited
  [ "$(effective)" = "exited 137 Error" ]
  is_dead "$pid"
  ctrrun rm "$CTR"
  nothing_left "$RUNROOT/runtimes/ctrshim"
  # The stand-in: the same.
  run_ctr ctrshim sleep 100
  pid=$(ctr_pid)
  kill -9 "$(jq .keeper "$RUNROOT/runtimes/ctrshim/$CTR/shim.json")"
  wait_exited
  [ "$(effective)" = "exited 137 Error" ]
  is_dead "$pid"
  ctrrun rm "$CTR"
  nothing_left "$RUNROOT/runtimes/ctrshim"
  # The monitor: the container goes on, and the next one has its end and its log.
  run_ctr ctrshim sh -c 'while [ ! -e /tmp/end ]; do sleep 0.05; done; echo last words; exit 9'
  kill -9 "$(monitor_pid)"
  ctrrun adopt "$CTR"
  ctrrun exec "$CTR" touch /tmp/end
  wait_exited
  [ "$(effective)" = "exited 9 Error" ]
  grep -q 'last words' "$(ctr_log)"
  ctrrun rm "$CTR"
  # The call, at any time: nothing, or a container that can be removed.
  by_hand k sleep 100
  for i in 0.02 0.06 0.1 0.15 0.2 0.3 0.5; do
    timeout -s KILL $i "$BUILD/bin/ctrshim" --root "$CRISP_TMP/s" create --bundle "$B" k </dev/null >/dev/null 2>&1 || true
    "$BUILD/bin/ctrshim" --root "$CRISP_TMP/s" delete --force k
  done
  nothing_left "$CRISP_TMP/s"
}

@test "a process that the host cannot see: codes, commands and an OOM kill by the shim's word" {
  jq -n --arg p "$BUILD/bin/ctrshim" --arg s "$CRISP_TMP/fake/containerd-shim-vm" '{ path: $p, args: ["--shim", $s, "--options", "none"] }' \
    >"$CRISP_TMP/etc/handlers.d/vm.json"
  B_STATE='.handler = "vm"' bundle ctrshim sh -c "echo from the machine; until [ -e $CRISP_TMP/go ]; do sleep 0.05; done; exit 21" >/dev/null
  ctrrun create "$CTR"
  [ "$(cat "$RUNROOT/containers/$CTR/pid.container")" = 0 ]
  [ "$(ctr_pid)" = "$(cat "$RUNROOT/containers/$CTR/pid")" ]
  ctrrun start "$CTR"
  run ctrrun exec "$CTR" sh -c 'echo in it; exit 6'
  [ "$status $output" = "6 in it" ]
  run -124 ctrrun exec --timeout 0.3 "$CTR" sleep 87654
  none_runs 'sleep 87654'
  touch "$CRISP_TMP/go"
  wait_exited
  [ "$(effective)" = "exited 21 OOMKilled" ]
  grep -q 'from the machine' "$(ctr_log)"
  ctrrun rm "$CTR"
  # A shim that tells of its version 3 in JSON is spoken to by that version's name.
  by_hand j sh -c 'exit 21'
  shim --shim "$CRISP_TMP/fake/containerd-shim-json" create --bundle "$B" --pid-file "$CRISP_TMP/pid" j </dev/null
  shim start j
  ended "$(cat "$CRISP_TMP/pid")"
  [ "$(status_of j)" = stopped ]
  shim delete j
}

@test "hostile shims: a clear error within the deadline, bounded memory, nothing left" {
  local mode words
  by_hand h true
  while IFS='|' read -r mode words; do
    run shim --timeout 2 --shim "$CRISP_TMP/fake/containerd-shim-$mode" create --bundle "$B" h </dev/null
    echo "$mode: $status $output"
    [ "$status" != 0 ]
    [[ $output == *"$words"* ]]
    [ "$(wc -l <<<"$output")" = 1 ]
    [ -z "$(find "$CRISP_TMP/s" -mindepth 1 -maxdepth 1 ! -name .runc)" ]
  done <<'END'
fail|no such hypervisor: /dev/kvm
huge|the shim's answer is no address
garbage-start|the shim's answer is no address
grpc|speaks 'grpc', not ttrpc
newer|version is 9, not 2 or 3
garbage|containerd-shim-garbage
giant|a frame of 4294967280 bytes: more than ttrpc allows
silent|containerd-shim-silent does not answer to Create
half|containerd-shim-half has closed the connection
text|answers with what is no response
type|sends a frame of type 9
words|not today:  [31mthe disk is full
END
}
