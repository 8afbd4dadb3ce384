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

new_id() { printf '%08x%08x%08x%08x%08x%08x%08x%08x' $SRANDOM $SRANDOM $SRANDOM $SRANDOM $SRANDOM $SRANDOM $SRANDOM $SRANDOM; }

# Without a process where nothing is to be changed: a file makes a hundred of them.
bundle() {
  local runtime=$1 name=${1##*/} path=$1 id config state boot JSON
  shift
  id=$(new_id)
  mkdir -p "$ROOT/containers/$id" "$RUNROOT/containers/$id/bundle"
  json_strings "$@"
  config='{ "ociVersion": "1.0.0",
  "process": { "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": '$JSON', "env": ["PATH=/bin", "HOME=/"], "cwd": "/",
    "noNewPrivileges": true, "capabilities": { "bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL", "CAP_CHOWN"],
      "permitted": ["CAP_KILL", "CAP_CHOWN"] } },
  "root": { "path": "'$CRISP_TMP'/rootfs", "readonly": true },
  "mounts": [
    { "destination": "/proc", "type": "proc", "source": "proc" },
    { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
    { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
      "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
    { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"] }],
  "linux": { "cgroupsPath": "'$CGROUP/$id'", "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
    "namespaces": [{ "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }] } }'
  [[ $path == /* ]] || path=$(command -v "$runtime")
  read -r boot </proc/sys/kernel/random/boot_id
  state='{"version":1,"id":"'$id'","pod_id":"","state":"prepared","handler":"'$name'","runtime":"'$path'"'
  state+=',"runtime_root":"'$RUNROOT/runtimes/$name'","origin":"hand","boot_id":"'$boot'","image":"test","image_id":""'
  state+=',"log_path":"'$CRISP_TMP/logs/$id/0.log'","cgroup_path":"'$CGROUP/$id'","start_error":""'
  state+=',"created_at":'${EPOCHREALTIME/./}'000,"started_at":0,"pid":0,"pid_start":0,"monitor":0,"monitor_start":0'
  state+=',"stop_signal":0,"tty":false,"stdin_open":false,"stdin_once":false,"complete":true}'
  if [ -n "${B_CONFIG:-}" ]; then config=$(jq "$B_CONFIG" <<<"$config"); fi
  if [ -n "${B_STATE:-}" ]; then state=$(jq -c "$B_STATE" <<<"$state"); fi
  echo "$config" >"$RUNROOT/containers/$id/bundle/config.json"
  echo "$state" >"$ROOT/containers/$id/state.json"
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

effective() {
  local state code reason
  state=$(ctrrun state "${1:-$CTR}") || return
  if [[ $state =~ \"exit\":\ *\{.*\"exit_code\":\ *([0-9]+) ]]; then
    code=${BASH_REMATCH[1]}
    [[ $state =~ \"reason\":\ *\"([^\"]*)\" ]]
    reason=${BASH_REMATCH[1]}
  fi
  [[ $state =~ \"status\":\ *\"([^\"]*)\" ]]
  echo "${BASH_REMATCH[1]}${code:+ $code $reason}"
}

# wait_exited [ID [SECONDS]]
wait_exited() {
  local end=$((SECONDS + ${2:-10}))
  until [ -e "$ROOT/containers/${1:-$CTR}/exit.json" ]; do
    [ $SECONDS -lt $end ] || return 1
    nap 0.01
  done
}

# number_in FILE KEY: of a record that is one line of JSON
number_in() {
  local record
  record=$(<"$1") || return
  [[ $record =~ \"$2\":\ *([0-9]+) ]] || return
  echo "${BASH_REMATCH[1]}"
}
monitor_pid() { number_in "$ROOT/containers/${1:-$CTR}/state.json" monitor; }
ctr_pid() { number_in "$ROOT/containers/${1:-$CTR}/state.json" pid; }

# none_runs PATTERN: no process that lives has such a command line (`! pgrep` would not fail a test)
none_runs() {
  if pgrep -af "$1"; then return 1; fi
}
# is_dead PID: gone, or waiting for somebody to reap it
is_dead() { [ ! -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }

# left_of ID...: names what is still there of removed containers: looked at once for all of them
left_of() {
  local id line any=()
  for id; do any+=(-o -name "$id"); done
  [ $# -gt 0 ] || return 0
  find /sys/fs/cgroup -path /sys/fs/cgroup/unified -prune -o -type d \( "${any[@]:1}" \) -print 2>/dev/null
  while read -r line; do
    for id; do [[ $line != *"$id"* ]] || echo "$line"; done
  done < <(pgrep -af '[0-9a-f]{64}')
  [ ! -d "$RUNROOT/runtimes" ] || find "$RUNROOT/runtimes" -maxdepth 2 \( "${any[@]:1}" \)
}

bundle_gone() {
  local id left=0 gone=()
  while read -r id; do
    [ -d "$ROOT/containers/$id" ] || continue
    ctrrun rm --force "$id" || left=1
    gone+=("$id")
  done <"$CRISP_TMP/bundles"
  left_of "${gone[@]}" >"$CRISP_TMP/left"
  if [ -s "$CRISP_TMP/left" ]; then
    cat "$CRISP_TMP/left" >&3
    left=1
  fi
  find /sys/fs/cgroup{,/*}"$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null
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
