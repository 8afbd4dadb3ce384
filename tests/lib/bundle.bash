# shellcheck shell=bash
# Containers without a pod or an image, for the tests of ctrrun and ctrmon: what ocibundle would leave, by hand.
# Load after helpers.bash and crisp_file_setup.
#
#   bundle_setup            once a file: a busybox root file system
#   bundle RUNTIME CMD...   a prepared container; its id is in $CTR (and printed). Variables that change it:
#                           B_CONFIG (jq filter over config.json), B_STATE (jq filter over state.json)
#   ctr_log [ID]            the path of its log
#   effective [ID]          "running", "exited 7 Error", …
#   bundle_gone             every container of this file: removed by force; no process, cgroup, monitor is left

bundle_setup() {
  local dir=$CRISP_TMP/rootfs
  mkdir -p "$dir"/{bin,etc,proc,sys,dev,tmp,root} "$CRISP_TMP/logs"
  cp /bin/busybox "$dir/bin/busybox"
  busybox_applets "$dir/bin"
  chmod 1777 "$dir/tmp"
  CGROUP=/crisp-bundle-$(basename "$CRISP_TMP")
  export CGROUP
}

new_id() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

bundle() {
  local runtime=$1 id
  shift
  id=$(new_id)
  mkdir -p "$ROOT/containers/$id" "$RUNROOT/containers/$id/bundle"
  # shellcheck disable=SC2016
  jq -n --arg rootfs "$CRISP_TMP/rootfs" --arg cgroup "$CGROUP/$id" '{ ociVersion: "1.0.0",
    process: { terminal: false, user: { uid: 0, gid: 0 }, args: $ARGS.positional, env: ["PATH=/bin", "HOME=/"], cwd: "/",
      noNewPrivileges: true, capabilities: (["CAP_KILL", "CAP_CHOWN"] as $c | { bounding: $c, effective: $c, permitted: $c }) },
    root: { path: $rootfs, readonly: true },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
      { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev"] }],
    linux: { cgroupsPath: $cgroup, resources: { devices: [{ allow: false, access: "rwm" }] },
      namespaces: [{ type: "pid" }, { type: "ipc" }, { type: "uts" }, { type: "mount" }] } }' --args -- "$@" |
    jq "${B_CONFIG:-.}" >"$RUNROOT/containers/$id/bundle/config.json"
  jq -nc --arg id "$id" --arg rt "$(command -v "$runtime")" --arg name "$(basename "$runtime")" --arg rr "$RUNROOT/runtimes/$(basename "$runtime")" \
    --arg log "$CRISP_TMP/logs/$id/0.log" --arg cgroup "$CGROUP/$id" --arg boot "$(cat /proc/sys/kernel/random/boot_id)" \
    '{ version: 1, id: $id, pod_id: "", state: "prepared", handler: $name, runtime: $rt, runtime_root: $rr, origin: "hand",
       boot_id: $boot, image: "test", image_id: "", log_path: $log, cgroup_path: $cgroup, start_error: "", created_at: (now * 1000000000 | floor),
       started_at: 0, pid: 0, pid_start: 0, monitor: 0, monitor_start: 0, stop_signal: 0, tty: false, stdin_open: false,
       stdin_once: false, complete: true }' | jq -c "${B_STATE:-.}" >"$ROOT/containers/$id/state.json"
  CTR=$id
  echo "$id" >>"$CRISP_TMP/bundles"
  echo "$id"
}

ctr_log() { echo "$CRISP_TMP/logs/${1:-$CTR}/0.log"; }

# run_ctr RUNTIME CMD...: bundle, create, start
run_ctr() {
  bundle "$@" >/dev/null
  ctrrun create "$CTR" && ctrrun start "$CTR"
}

effective() { ctrrun state "${1:-$CTR}" | jq -r 'if .exit then "\(.status) \(.exit.exit_code) \(.exit.reason)" else .status end'; }

# wait_exited [ID [SECONDS]]
wait_exited() {
  local end=$((SECONDS + ${2:-10}))
  until [ -e "$ROOT/containers/${1:-$CTR}/exit.json" ]; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.005
  done
}

monitor_pid() { jq -r .monitor "$ROOT/containers/${1:-$CTR}/state.json"; }
ctr_pid() { jq -r .pid "$ROOT/containers/${1:-$CTR}/state.json"; }

# none_runs PATTERN: no process that lives has such a command line (`! pgrep` would not fail a test)
none_runs() {
  if pgrep -af "$1"; then return 1; fi
}
# is_dead PID: gone, or waiting for somebody to reap it
is_dead() { [ ! -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }

# left_of ID: names what is still there of a removed container
left_of() {
  find /sys/fs/cgroup -type d -name "$1" 2>/dev/null | grep -v /unified/
  pgrep -af "$1"
  find "$RUNROOT/runtimes" -maxdepth 2 -name "$1" 2>/dev/null
}

bundle_gone() {
  local id left=0
  while read -r id; do
    [ -d "$ROOT/containers/$id" ] || continue
    ctrrun rm --force "$id" || left=1
    if [ -n "$(left_of "$id")" ]; then
      left_of "$id" >&3
      left=1
    fi
    rm -rf "$ROOT/containers/$id" "$RUNROOT/containers/$id"
  done <"$CRISP_TMP/bundles"
  find /sys/fs/cgroup -depth -type d -path "*$CGROUP*" -exec rmdir {} + 2>/dev/null
  return $left
}

# both CMD...: once with RT=crun, once with RT=runc
both() {
  local RT
  for RT in crun runc; do
    echo "# runtime: $RT"
    "$@"
  done
}

# ask ID JSON...: requests on the control socket, one answer a line
ask() {
  python3 - "$RUNROOT/containers/$1" "${@:2}" <<'PY'
import os, socket, sys
os.chdir(sys.argv[1])
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(5)
s.connect("ctl.sock")
for request in sys.argv[2:]:
    s.send(request.encode())
    print(s.recv(65536).decode())
PY
}
