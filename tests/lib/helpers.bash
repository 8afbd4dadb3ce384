# shellcheck shell=bash
# Common ground of all bats files. A file runs alone or beside the others: everything it makes is its own.
#
#   setup_file()    { crisp_file_setup; }      # once: $CRISP_TMP, configuration, PATH to the built programs
#   teardown_file() { crisp_file_teardown; }   # removes all pods, checks that nothing is left behind
#
# After crisp_file_setup:
#   CRISP_CONFIG   a crisp.json whose root, runroot, network_dir, handlers_dir, registries_dir are below $CRISP_TMP,
#                  so that plain `ocipull REF` uses them
#   ROOT, RUNROOT  the state directories
#   NET_NAME, BRIDGE, SUBNET   this file's own CNI network (bridge + host-local + portmap), written by crisp_cni
#
#   requires WHAT...      skip, loudly, unless the machine has it: root cgroup1 cgroup2 crun runc netns
#   crisp_registry        start a docker-registry on a free port; sets REGISTRY=127.0.0.1:PORT (plain HTTP is configured)
#   make_image NAME       a small busybox image as an OCI layout $CRISP_TMP/oci:NAME (and pushed to REGISTRY if it runs)
#   pull_image NAME       make it and pull it from the layout into the store; prints the image id
#   pod_json NAME, ctr_json NAME IMAGE CMD...   print minimal CRI files
#   run_err STATUS CMD... run, expect that exit status ("!": any but 0) and an empty stdout; stderr is in $stderr
set -u
bats_require_minimum_version 1.5.0

: "${BUILD:=$(cd "${BATS_TEST_DIRNAME:-.}/../.." && pwd)/build}"
# Debian's programs before others of the same name: its python3 has the modules that the tests need, and is no shim.
export BUILD PATH="$BUILD/bin:/usr/bin:$PATH"

# bats notes the stack before each command, to tell where a test failed: 0.4 ms a command, and half the time of a subshell.
# The trap of the failure itself knows its place as well. (`bats --trace` needs the former, and so may other versions.)
if [[ ${BATS_VERSION:-} == 1.8.* && ${BATS_TRACE_LEVEL:-0} = 0 ]]; then
  trap - DEBUG # of the file; that of a test is set next, here:
  bats_setup_tracing() {
    BATS_DEBUG_LASTLAST_STACK_TRACE=() BATS_DEBUG_LAST_LINENO=() BATS_DEBUG_LAST_SOURCE=() BATS_DEBUG_LAST_STACK_TRACE=()
    BATS_DEBUG_LAST_STACK_TRACE_IS_VALID='' BATS_ERROR_SUFFIX=''
    exec 4<&1
    trap bats_error_trap ERR
  }
  get_mills_since_epoch() { echo $((${EPOCHREALTIME/./} / 1000)); } # by no process
  bats_error_trap() {
    bats_check_status_from_trap
    [ -n "$BATS_DEBUG_LAST_STACK_TRACE_IS_VALID" ] || bats_capture_stack_trace
    BATS_DEBUG_LAST_STACK_TRACE_IS_VALID=1
  }
fi

# fast_jq: jq is gojq from here on, where it is installed: a start of jq 1.6 compiles its library, which takes longer than all
# else that a test asks of it. It sorts the keys of what it prints: where their order is looked at there is `command jq`.
fast_jq() { [ ! -x /usr/bin/gojq ] || eval 'jq() { /usr/bin/gojq "$@"; }'; }

requires() {
  local what
  for what; do
    case $what in
    root) [ "$EUID" = 0 ] || skip "needs root" ;;
    cgroup1) [ -d /sys/fs/cgroup/memory ] || skip "needs cgroup v1" ;;
    cgroup2) [ -f /sys/fs/cgroup/cgroup.controllers ] || skip "needs cgroup v2" ;;
    crun)
      command -v crun >/dev/null || skip "needs crun"
      [ ! -d /sys/fs/cgroup/memory ] || ! grep -q . /sys/fs/cgroup/unified/cgroup.controllers 2>/dev/null ||
        skip "crun refuses a hybrid cgroup host: run this file through scripts/run-tests"
      ;;
    netns) ip netns list >/dev/null 2>&1 || skip "needs network namespaces" ;;
    *) command -v "$what" >/dev/null || skip "needs $what" ;;
    esac
  done
}

crisp_file_setup() {
  CRISP_TMP=$(mktemp -d "${TMPDIR:-/tmp}/crisp-test.XXXXXX")
  # A number of this file's own keeps bridges and subnets of parallel files apart.
  local n
  n=$(($$ % 250))
  while ! mkdir "/tmp/.crisp-subnet.$n" 2>/dev/null; do n=$(((n + 1) % 250)); done
  SUBNET_LOCK=/tmp/.crisp-subnet.$n
  SUBNET=10.213.$n
  BRIDGE=crispt$n
  NET_NAME=crisp-test-$n
  ROOT=$CRISP_TMP/root RUNROOT=$CRISP_TMP/run
  CRISP_CONFIG=$CRISP_TMP/etc/crisp.json
  export CRISP_TMP SUBNET_LOCK SUBNET BRIDGE NET_NAME ROOT RUNROOT CRISP_CONFIG
  mkdir -p "$CRISP_TMP"/etc/{net.d,handlers.d,registries.d} "$CRISP_TMP/plugins"
  mkfifo "$CRISP_TMP/.nap"
  cat >"$CRISP_CONFIG" <<EOF
{ "root": "$ROOT", "runroot": "$RUNROOT", "network_dir": "$CRISP_TMP/etc/net.d",
  "handlers_dir": "$CRISP_TMP/etc/handlers.d", "registries_dir": "$CRISP_TMP/etc/registries.d",
  "plugin_dirs": ["$CRISP_TMP/plugins", "/opt/cni/bin", "/usr/lib/cni"] }
EOF
  crisp_cni
}

crisp_cni() {
  cat >"$CRISP_TMP/etc/net.d/10-test.conflist" <<EOF
{ "cniVersion": "0.4.0", "name": "$NET_NAME", "plugins": [
  { "type": "bridge", "bridge": "$BRIDGE", "isGateway": true, "ipMasq": false,
    "ipam": { "type": "host-local", "dataDir": "$CRISP_TMP/ipam",
              "ranges": [[{ "subnet": "$SUBNET.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] } },
  { "type": "portmap", "capabilities": { "portMappings": true } } ] }
EOF
}

# Remove what the file's tests left, then prove that nothing of it remains.
crisp_file_teardown() {
  local left=0 dir id
  [ -n "${CRISPD_PID:-}" ] && kill "$CRISPD_PID" 2>/dev/null && wait "$CRISPD_PID" 2>/dev/null
  for dir in "$ROOT"/containers/*; do
    [ -d "$dir" ] || continue
    id=${dir##*/}
    ctrrun rm --force "$id" 2>/dev/null
    ocibundle rm "$id" || left=1
  done
  for dir in "$ROOT"/pods/*; do [ ! -d "$dir" ] || podnet rm "${dir##*/}" || left=1; done
  [ -n "${REGISTRY_PID:-}" ] && kill "$REGISTRY_PID" 2>/dev/null
  ip link del "$BRIDGE" 2>/dev/null
  if grep -F " $CRISP_TMP" /proc/self/mountinfo; then
    echo "mounts were left behind" >&3
    left=1
    awk -v p="$CRISP_TMP" 'index($5, p) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r -n1 umount -l
  fi
  rm -rf "$CRISP_TMP"
  rmdir "$SUBNET_LOCK"
  return $left
}

# free_port: prints a port of this file's own that nobody listens on; below those that the kernel gives to clients, which
# would else take it before it is bound
free_port() {
  local port i first=$((20000 + 40 * ${SUBNET##*.})) start=$((RANDOM % 40))
  for ((i = 0; i < 40; i++)); do
    port=$((first + (start + i) % 40))
    (set -C && : >"$CRISP_TMP/.port.$port") 2>/dev/null || continue
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
  done
  echo "no port is left of $first to $((first + 39))" >&2
  return 1
}

# is_empty DIR...: none has a file, or they are not there; prints what there is. With only_seen before it, what begins with
# a dot does not count.
is_empty() {
  local dir
  for dir; do
    if compgen -G "$dir/*" || { [ -z "${ONLY_SEEN:-}" ] && compgen -G "$dir/.[!.]*"; }; then return 1; fi
  done
}
only_seen() { ONLY_SEEN=1 "$@"; }

# nap SECONDS: sleeps, without a process: nothing is ever written there
nap() { if [ -p "${CRISP_TMP:-/none}/.nap" ]; then read -rt "$1" <>"$CRISP_TMP/.nap" || true; else sleep "$1"; fi; }

# wait_for SECONDS CMD...: until CMD succeeds; the seconds are those of an idle machine, a busy one has five times them
wait_for() {
  local end=$((SECONDS + 5 * $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    nap 0.05
  done
}

crisp_registry() {
  local port
  port=$(free_port)
  REGISTRY=127.0.0.1:$port
  mkdir -p "$CRISP_TMP/registry"
  cat >"$CRISP_TMP/registry.yml" <<EOF
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $CRISP_TMP/registry }, delete: { enabled: true } }
http: { addr: $REGISTRY }
EOF
  docker-registry serve "$CRISP_TMP/registry.yml" >"$CRISP_TMP/registry.log" 2>&1 3>&- &
  REGISTRY_PID=$!
  export REGISTRY REGISTRY_PID
  wait_for 10 curl -sf "http://$REGISTRY/v2/"
  cat >"$CRISP_TMP/etc/registries.d/test.json" <<EOF
{ "host": "$REGISTRY", "mirrors": [{ "url": "http://$REGISTRY" }] }
EOF
}

# busybox_applets DIR: a link to busybox for each of its applets that is not there. In one process: 400 forks of a
# shell as large as bats take seconds.
busybox_applets() {
  /bin/busybox --list | python3 -Sc '
import os, sys
have = os.listdir(sys.argv[1])
[os.symlink("busybox", sys.argv[1] + "/" + a) for a in sys.stdin.read().split() if a not in have]' "$1"
}

# A one-layer image with busybox and its applets; root file system entries all explicit. The first of each file is a copy
# of one that the files of a whole run share ($CRISP_IMAGES): four starts of umoci. Others are images of their own.
make_image() {
  local name=$1 layout=$CRISP_TMP/oci index
  if [ ! -d "$layout" ] && [ -d "${CRISP_IMAGES:-}" ]; then
    if [ ! -d "$CRISP_IMAGES/busybox" ]; then
      umoci_image shared-name
      # Another file may have been faster.
      mv -T "$layout" "$CRISP_IMAGES/busybox" 2>/dev/null || rm -rf "$layout"
    fi
    cp -a "$CRISP_IMAGES/busybox" "$layout"
    index=$(<"$layout/index.json")
    printf '%s\n' "${index/shared-name/"$name"}" >"$layout/index.json"
  else
    umoci_image "$name"
  fi
  if [ -n "${REGISTRY:-}" ]; then
    skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:$name" "docker://$REGISTRY/$name:latest"
  fi
}

# umoci_image NAME: that image, by umoci
umoci_image() {
  local name=$1 dir=$CRISP_TMP/img-rootfs
  if [ ! -d "$dir" ]; then
    mkdir -p "$dir"/{bin,etc,proc,sys,dev,tmp,root,var/www}
    cp /bin/busybox "$dir/bin/busybox"
    busybox_applets "$dir/bin"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nuser:x:1000:1000:user:/:/bin/sh\n' >"$dir/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\nuser:x:1000:\nextra:x:2000:user\n' >"$dir/etc/group"
    chmod 1777 "$dir/tmp"
  fi
  [ -d "$CRISP_TMP/oci" ] || umoci init --layout "$CRISP_TMP/oci" >/dev/null
  umoci new --image "$CRISP_TMP/oci:$name" >/dev/null
  umoci insert --image "$CRISP_TMP/oci:$name" "$dir" / >/dev/null
  umoci config --image "$CRISP_TMP/oci:$name" --config.cmd /bin/sh --config.env PATH=/bin --architecture amd64 --os linux >/dev/null
}

pull_image() {
  make_image "$1" && ocipull "oci:$CRISP_TMP/oci:$1"
}

# By the shell alone: these are called hundreds of times, and a start of jq takes as long as four of cat.
pod_json() {
  printf '{ "metadata": { "name": "%s", "namespace": "default", "uid": "uid-%s", "attempt": 1 },
  "hostname": "%s", "log_directory": "%s/logs/%s",
  "linux": { "cgroup_parent": "/crisp-test/%s",
             "security_context": { "namespace_options": { "network": "POD", "pid": "CONTAINER", "ipc": "POD" } } } }\n' \
    "$1" "$1" "$1" "$CRISP_TMP" "$1" "$1"
}

# json_strings STRING...: sets JSON to the array of them
json_strings() {
  local s bs='\' list=
  for s; do
    s=${s//"$bs"/"$bs$bs"}
    s=${s//'"'/"$bs\""}
    s=${s//$'\n'/"${bs}n"}
    s=${s//$'\t'/"${bs}t"}
    s=${s//$'\r'/"${bs}r"}
    list+=,\"$s\"
  done
  JSON=[${list#,}]
}

# ctr_json NAME IMAGE CMD...
ctr_json() {
  local JSON name image
  json_strings "$1" && name=${JSON:1:-1}
  json_strings "$2" && image=${JSON:1:-1}
  json_strings "${@:3}"
  printf '{"metadata":{"name":%s,"attempt":0},"image":{"image":%s},"command":%s,"log_path":%s,"linux":%s}\n' \
    "$name" "$image" "$JSON" "${name%'"'}.log\"" \
    '{"security_context":{"namespace_options":{"network":"POD","pid":"CONTAINER","ipc":"POD"}}}'
}

# What `run --separate-stderr` does, with a third of its processes: it is what the tests do most.
run_err() {
  local want=$1 to=$BATS_TEST_TMPDIR/run_err
  shift
  status=0
  # Only what could change this shell gets one of its own.
  if declare -F "$1" >/dev/null || ! type -P "$1" >/dev/null; then (set +eET; "$@"); else "$@"; fi >"$to.out" 2>"$to.err" || status=$?
  read -r -d '' output <"$to.out" || true
  read -r -d '' stderr <"$to.err" || true
  printf 'command: %s\nstatus: %s\nstdout: %s\nstderr: %s\n' "$*" "$status" "$output" "$stderr"
  case $want in '!') [ "$status" != 0 ] ;; *) [ "$status" = "$want" ] ;; esac && [ -z "$output" ]
}
