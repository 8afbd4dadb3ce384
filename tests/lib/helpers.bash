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

requires() {
  local what
  for what; do
    case $what in
    root) [ "$(id -u)" = 0 ] || skip "needs root" ;;
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
  mkdir -p "$CRISP_TMP"/etc/{net.d,handlers.d,registries.d}
  cat >"$CRISP_CONFIG" <<EOF
{ "root": "$ROOT", "runroot": "$RUNROOT", "network_dir": "$CRISP_TMP/etc/net.d",
  "handlers_dir": "$CRISP_TMP/etc/handlers.d", "registries_dir": "$CRISP_TMP/etc/registries.d",
  "plugin_dirs": ["$CRISP_TMP/plugins", "/opt/cni/bin", "/usr/lib/cni"] }
EOF
  mkdir -p "$CRISP_TMP/plugins"
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
  for dir in "$ROOT"/containers/*/; do
    [ -d "$dir" ] || continue
    id=$(basename "$dir")
    ctrrun rm --force "$id" 2>/dev/null
    ocibundle rm "$id" || left=1
  done
  for dir in "$ROOT"/pods/*/; do [ ! -d "$dir" ] || podnet rm "$(basename "$dir")" || left=1; done
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

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_for SECONDS CMD...: until CMD succeeds; the seconds are those of an idle machine, a busy one has five times them
wait_for() {
  local end=$((SECONDS + 5 * $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.05
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

# A one-layer image with busybox and its applets; root file system entries all explicit.
make_image() {
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
  if [ -n "${REGISTRY:-}" ]; then
    skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:$name" "docker://$REGISTRY/$name:latest"
  fi
}

pull_image() {
  make_image "$1" && ocipull "oci:$CRISP_TMP/oci:$1"
}

pod_json() {
  cat <<EOF
{ "metadata": { "name": "$1", "namespace": "default", "uid": "uid-$1", "attempt": 1 },
  "hostname": "$1", "log_directory": "$CRISP_TMP/logs/$1",
  "linux": { "cgroup_parent": "/crisp-test/$1",
             "security_context": { "namespace_options": { "network": "POD", "pid": "CONTAINER", "ipc": "POD" } } } }
EOF
}

# ctr_json NAME IMAGE CMD...
ctr_json() {
  local name=$1 image=$2
  shift 2
  jq -nc --arg name "$name" --arg image "$image" '{ metadata: { name: $name, attempt: 0 }, image: { image: $image },
    command: $ARGS.positional, log_path: ($name + ".log"),
    linux: { security_context: { namespace_options: { network: "POD", pid: "CONTAINER", ipc: "POD" } } } }' --args -- "$@"
}

# What `run --separate-stderr` does, with a third of its processes: it is what the tests do most.
run_err() {
  local want=$1 to=$BATS_TEST_TMPDIR/run_err
  shift
  status=0
  (set +eET; "$@") >"$to.out" 2>"$to.err" || status=$?
  read -r -d '' output <"$to.out" || true
  read -r -d '' stderr <"$to.err" || true
  printf 'command: %s\nstatus: %s\nstdout: %s\nstderr: %s\n' "$*" "$status" "$output" "$stderr"
  case $want in '!') [ "$status" != 0 ] ;; *) [ "$status" = "$want" ] ;; esac && [ -z "$output" ]
}
