#!/usr/bin/env bats
# Handlers whose runtime wants a container for the pod itself: gVisor's runsc, by the file that ocibundle(1) shows, and
# the same mechanism with crun and runc. What runsc cannot do is refused: the table of ocibundle(1), row by row.
# shellcheck disable=SC2016,SC2317,SC2030,SC2031,SC2154

setup_file() {
  load ../lib/helpers
  load ../lib/ctrs
  requires root netns runsc crun runc
  ctrs_setup_file
  # The file that the manual shows is the one that is tested.
  sed -n '/^\.\\" runsc\.json$/,/^\.\\" end$/p' "$BATS_TEST_DIRNAME/../../cmd/ocibundle/ocibundle.1" |
    sed -e '/^\./d' -e 's/\\-/-/g' >"$CRISP_TMP/etc/handlers.d/runsc.json"
  jq -e . "$CRISP_TMP/etc/handlers.d/runsc.json" >/dev/null
  local r
  for r in crun runc; do
    jq -n --arg p "$(command -v $r)" '{ path: $p, sandbox_container: true,
      sandbox_annotations: { "x/type": "pod {pod_namespace}/{pod_name}" }, container_annotations: { "x/type": "{container} of {pod}" } }' \
      >"$CRISP_TMP/etc/handlers.d/box-$r.json"
  done
  mkdir -p "$CRISP_TMP/shared"
  GPOD=$(pod_json gpod | jq --arg c "$CGROUP" '.linux.cgroup_parent = $c' | podnet create --handler runsc -)
  export GPOD
}
teardown_file() {
  load ../lib/helpers
  load ../lib/ctrs
  podnet rm "$GPOD"
  ctrs_teardown_file
}
setup() {
  load ../lib/helpers
  load ../lib/ctrs
  IDS=()
}
teardown() {
  local id
  for id in "${IDS[@]}"; do
    ctrrun rm --force "$id" 2>/dev/null || true
    ocibundle rm "$id"
  done
  [ -z "${OTHER:-}" ] || podnet rm "$OTHER"
  # Of a test that failed before it could.
  [ -z "${CRISPD_PID:-}" ] || kill "$CRISPD_PID" 2>/dev/null || true
}

# up NAME SHELL [JQ]: a container of $ON (the runsc pod) that runs; its id in $ID
up() {
  ID=$(S=$2 ctr '.metadata.name = "'"$1"'" | .log_path = "'"$1"'.log" | .command[2] = env.S | '"${3:-.}" | ocibundle create "${ON:-$GPOD}" -)
  IDS+=("$ID")
  ctrrun create "$ID"
  ctrrun start "$ID"
}
cri() { cricall --socket "$SOCK" "$1" -; }
log_of() { cut -d' ' -f2,4- "$CRISP_TMP/logs/$1.log"; }
in_log() { log_of "$1" | grep -qxF "$2"; }
ended() { [ "$(ctrrun state "$1" | jq -r .status)" = exited ]; }
exit_of() { ctrrun state "$1" | jq -c '[.exit.exit_code, .exit.reason]'; }

@test "runsc: two containers are in one sandbox: its kernel, the pod's name, address and volumes; logs, exit codes, stop signals" {
  local vol='.mounts = [{ host_path: "'"$CRISP_TMP/shared"'", container_path: "/v" }] | .envs = [{ key: "A", value: "b" }]'
  up first 'trap "echo term; exit 5" TERM; uname -r; hostname; echo $A; id -u; echo to >&2; echo hi >/v/f; echo shm >/dev/shm/f
    nc -l -p 80 -e echo answer & while :; do sleep 0.1; done' "$vol"
  local first=$ID
  wait_for 10 in_log gpod/first 'stderr to'
  # Not the host's kernel.
  in_log gpod/first 'stdout 4.4.0'
  in_log gpod/first 'stdout gpod'
  in_log gpod/first 'stdout b'
  in_log gpod/first 'stdout 0'
  up second 'cat /v/f /dev/shm/f; nc 127.0.0.1 80; echo >/etc/hosts || echo closed; cat /proc/self/status | grep ^Cap; exit 7' \
    "$vol | .linux.security_context = { readonly_rootfs: true, run_as_user: { value: 1000 }, supplemental_groups: [77] }"
  wait_for 10 ended "$ID"
  [ "$(exit_of "$ID")" = '[7,"Error"]' ]
  log_of gpod/second
  in_log gpod/second 'stdout hi'
  in_log gpod/second 'stdout shm'
  in_log gpod/second 'stdout answer'
  in_log gpod/second 'stdout closed'
  # The port below 1024 is the sandbox's to bind, which has that right and no other.
  [ "$(jq -c .process.capabilities.effective "$RUNROOT/containers/$GPOD/bundle/config.json")" = '["CAP_NET_BIND_SERVICE"]' ]
  # In the pod's own network, from outside as well: the port of the first is the pod's.
  [ "$(podnet status "$GPOD" | jq -r .state)" = ready ]
  ctrrun stop --timeout 10 "$first"
  [ "$(exit_of "$first")" = '[5,"Error"]' ]
  in_log gpod/first 'stdout term'
  # The pod and its own container stay.
  [ "$(ctrrun state "$GPOD" | jq -r .status)" = running ]
}

@test "runsc: exec with status, streams, terminal and time limit; kill; a container that was never started" {
  up c 'while :; do sleep 0.1; done' '.linux.security_context.run_as_user = { value: 1000 }'
  local status=0 id=$ID
  output=$(ctrrun exec "$id" /bin/sh -c 'id -u; cat >&2; exit 9' <<<in 2>&1) || status=$?
  [ $status = 9 ]
  [ "$output" = 1000 ]
  [ "$(ctrrun exec --stdin "$id" cat <<<in)" = in ]
  status=0
  ctrrun exec "$id" nosuch || status=$?
  [ $status = 127 ]
  status=0
  ctrrun --timeout 1 exec "$id" sleep 77 || status=$?
  [ $status = 124 ]
  # Killed, and not only its stand-in outside; also when ctrrun itself is.
  ctrrun exec "$id" sleep 78 &
  wait_for 10 eval "ctrrun exec $id ps | grep -q 'sleep 78'"
  kill -9 $!
  wait_for 10 eval "ctrrun exec $id ps >$CRISP_TMP/ps && ! grep -q 'sleep 7[78]' $CRISP_TMP/ps"
  output=$(script -qec "ctrrun exec --tty $id /bin/sh -c 'test -t 0 && test -t 1 && echo terminal'" /dev/null </dev/null)
  [[ $output == *terminal* ]]
  ctrrun kill "$id" KILL
  wait_for 10 ended "$id"
  [ "$(exit_of "$id")" = '[137,"Error"]' ]
  ID=$(ctr '.metadata.name = "unborn"' | ocibundle create "$GPOD" -)
  IDS+=("$ID")
  ctrrun create "$ID"
  ctrrun stop --timeout 5 "$ID"
  [ "$(exit_of "$ID")" = '[137,"Error"]' ]
}

@test "runsc: a monitor that is lost is replaced, and the exit code is not" {
  up lost 'sleep 2; exit 6'
  kill -9 "$(jq .monitor "$ROOT/containers/$ID/state.json")"
  ctrrun adopt "$ID"
  wait_for 10 ended "$ID"
  [ "$(exit_of "$ID")" = '[6,"Error"]' ]
}

@test "runsc: what it cannot do is refused" {
  local what filter patch config n=0 ids='{ container_id: 0, host_id: 1000, length: 10 }'
  echo '{ "defaultAction": "SCMP_ACT_ALLOW" }' >"$CRISP_TMP/etc/seccomp.json"
  while IFS='|' read -r what filter; do
    refuse_one "$what" "$filter"
    n=$((n + 1))
  done <<LIST
seccomp|.linux.security_context.seccomp = { profile_type: "Localhost", localhost_ref: "$CRISP_TMP/etc/seccomp.json" }
devices|.devices = [{ host_path: "/dev/full", container_path: "/dev/x", permissions: "rw" }]
masked_paths|.linux.security_context.masked_paths = ["/etc/passwd"]
readonly_paths|.linux.security_context.readonly_paths = ["/etc"]
add_ambient_capabilities|.linux.security_context.capabilities = { add_ambient_capabilities: ["CHOWN"] }
namespace_options.pid NODE|.linux.security_context.namespace_options = { pid: "NODE" }
resources.memory_limit_in_bytes|.linux.resources = { memory_limit_in_bytes: 50000000 }
resources.cpu_quota|.linux.resources = { cpu_quota: 20000, cpu_period: 100000 }
resources.cpuset_cpus|.linux.resources = { cpuset_cpus: "0" }
resources.cpuset_mems|.linux.resources = { cpuset_mems: "0" }
recursive_read_only|.mounts = [{ host_path: "/tmp", container_path: "/a", readonly: true, recursive_read_only: true }]
mounts: uidMappings|.mounts = [{ host_path: "/tmp", container_path: "/a", uidMappings: [$ids], gidMappings: [$ids] }]
LIST
  [ $n = 12 ]
  # What a patch or the configuration adds.
  mkdir -p "$CRISP_TMP/etc/patched"
  echo '{ "cdiVersion": "0.6.0", "kind": "x.y/d", "devices": [{ "name": "a", "containerEdits": { "deviceNodes": [{ "path": "/dev/full" }] } }] }' \
    >"$CRISP_TMP/etc/patched/cdi.json"
  export CRISP_CONFIG
  while IFS='|' read -r what patch config filter; do
    jq ".base_spec_patch = $patch" "$CRISP_TMP/etc/handlers.d/runsc.json" >"$CRISP_TMP/etc/patched/runsc.json"
    jq --arg t "$CRISP_TMP/etc/patched" "$config" "$CRISP_TMP/etc/crisp.json" >"$CRISP_TMP/etc/patched.json"
    CRISP_CONFIG=$CRISP_TMP/etc/patched.json
    refuse_one "$what" "$filter"
    n=$((n + 1))
  done <<'LIST'
apparmor|{ process: { apparmorProfile: "x" } }|.handlers_dir = $t|.
selinux_options|{ process: { selinuxLabel: "x" } }|.handlers_dir = $t|.
selinux_options|{ linux: { mountLabel: "x" } }|.handlers_dir = $t|.
of stage poststop|{ hooks: { poststop: [{ path: "/bin/true" }] } }|.handlers_dir = $t|.
cgroup_manager systemd|{}|.cgroup_manager = "systemd"|.
devices|{}|.cdi_spec_dirs = [$t]|.CDI_devices = [{ name: "x.y/d=a" }]
devices|{}|.additional_devices = ["/dev/full:/dev/x"]|.
LIST
  CRISP_CONFIG=$CRISP_TMP/etc/crisp.json
  [ $n = 19 ]
  # Shares are relative and a score is the sandbox's: taken.
  ctr '.linux.resources = { cpu_shares: 512, oom_score_adj: 500 }' | ocibundle create --dry-run "$GPOD" - >/dev/null
  # Of the pod, before anything of it is left.
  local before
  before=$(podnet ls | wc -l)
  while IFS='|' read -r what filter; do
    pod_json refused | jq "$filter" >"$CRISP_TMP/refused.json"
    run_err 10 podnet create --handler runsc "$CRISP_TMP/refused.json"
    [[ $stderr == *"$what: the runtime of handler 'runsc' cannot do it"* ]]
  done <<'LIST'
sysctls|.linux.sysctls = { "net.ipv4.ip_unprivileged_port_start": "0" }
namespace_options.ipc NODE|.linux.security_context.namespace_options.ipc = "NODE"
namespace_options.pid NODE|.linux.security_context.namespace_options.pid = "NODE"
LIST
  pod_json refused | jq ".linux.security_context.namespace_options.userns_options = { mode: \"POD\", uids: [$ids], gids: [$ids] }" >"$CRISP_TMP/refused.json"
  run_err 10 podnet create --handler runsc "$CRISP_TMP/refused.json"
  [[ $stderr == *"userns_options: the runtime of handler 'runsc' has no user namespaces"* ]]
  [ "$(podnet ls | wc -l)" = "$before" ]
}
# Those that are of a kind of their own say it otherwise.
refuse_one() {
  ctr "$2" >"$CRISP_TMP/refused.json"
  run --separate-stderr ocibundle create --dry-run "$GPOD" "$CRISP_TMP/refused.json"
  echo "$1: $status $stderr"
  [ -z "$output" ]
  [[ $stderr == *"$1"*"handler 'runsc'"* ]]
  if [ "$1" = recursive_read_only ]; then [ "$status" = 14 ]; else [ "$status" = 10 ]; fi
}

@test "runsc: limits of a container stand where the pod has them; an update, propagation and what is privileged are refused" {
  OTHER=$(pod_json limited | jq --arg c "$CGROUP" '.linux.cgroup_parent = $c | .linux.security_context.privileged = true |
    .linux.resources = { memory_limit_in_bytes: 200000000, cpu_quota: 100000, cpu_period: 100000 }' | podnet create --handler runsc -)
  [ "$(jq .linux.resources.memory.limit "$RUNROOT/containers/$OTHER/bundle/config.json")" = 200000000 ]
  ON=$OTHER
  up limited 'sleep 100' '.linux.resources = { memory_limit_in_bytes: 50000000 }'
  # All of the pod is held by its sandbox.
  local pid file
  pid=$(jq .pid "$ROOT/containers/$OTHER/state.json")
  file=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup")/memory.max
  [ ! -d /sys/fs/cgroup/memory ] || file=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' "/proc/$pid/cgroup")/memory.limit_in_bytes
  [ "$(cat "$file")" -le 200000000 ]
  echo '{ "cpu_shares": 100 }' >"$CRISP_TMP/update.json"
  run_err 10 ctrrun update "$ID" "$CRISP_TMP/update.json"
  [[ $stderr == *"update: the runtime of handler 'runsc' cannot do it"* ]]
  ctr '.linux.security_context.privileged = true' >"$CRISP_TMP/refused.json"
  run_err 10 ocibundle create "$OTHER" "$CRISP_TMP/refused.json"
  [[ $stderr == *"privileged: the runtime of handler 'runsc'"* ]]
  ctr '.linux.security_context.namespace_options = { pid: "TARGET", target_id: "'"$ID"'" }' >"$CRISP_TMP/refused.json"
  run_err 10 ocibundle create "$OTHER" "$CRISP_TMP/refused.json"
  [[ $stderr == *"namespace_options.pid TARGET: the runtime of handler 'runsc'"* ]]
  ctr '.mounts = [{ host_path: "/run/netns", container_path: "/a", propagation: "PROPAGATION_HOST_TO_CONTAINER" }]' >"$CRISP_TMP/refused.json"
  run_err 10 ocibundle create "$OTHER" "$CRISP_TMP/refused.json"
  [[ $stderr == *"mounts: propagation: the runtime of handler 'runsc'"* ]]
}

@test "runsc: a sandbox that dies takes its containers along, and the pod is not ready" {
  OTHER=$(pod_json dying | jq --arg c "$CGROUP" '.linux.cgroup_parent = $c' | podnet create --handler runsc -)
  ON=$OTHER
  up dying 'sleep 100'
  kill -9 "$(jq .pid "$ROOT/containers/$OTHER/state.json")"
  wait_for 10 ended "$ID"
  [ "$(exit_of "$ID")" = '[137,"Error"]' ]
  [ "$(ctrrun state "$ID" | jq -r .exit.message)" = "the pod's sandbox has ended" ]
  [ "$(podnet status "$OTHER" | jq -c '[.state, .reason]')" = '["notready","its sandbox container has ended"]' ]
  ctr '.metadata.name = "late"' >"$CRISP_TMP/late.json"
  run_err 5 ocibundle create "$OTHER" "$CRISP_TMP/late.json"
  [[ $stderr == *"its sandbox container has ended" ]]
}

@test "crun and runc with a sandbox container: annotations, a shared PID namespace, and nothing is left" {
  local r
  for r in crun runc; do
    OTHER=$(pod_json "box-$r" | jq --arg c "$CGROUP" '.linux.cgroup_parent = $c | .linux.security_context.namespace_options.pid = "POD"' |
      podnet create --handler "box-$r" -)
    jq -e --arg r "$r" '.annotations["x/type"] == "pod default/box-\($r)" and .process.args == ["/pause"] and .root.readonly
      and .process.user.uid == 65534 and .process.noNewPrivileges and (.process.capabilities.bounding == [])' \
      "$RUNROOT/containers/$OTHER/bundle/config.json"
    [ "$(jq -r .origin "$ROOT/containers/$OTHER/state.json")" = sandbox ]
    local pid
    pid=$(jq .pid "$ROOT/containers/$OTHER/state.json")
    [ "$(readlink "/proc/$pid/ns/net")" = "net:[$(stat -Lc %i "/run/netns/crisp-$OTHER")]" ]
    ON=$OTHER
    up "in-$r" 'sleep 100'
    jq -e --arg p "$OTHER" --arg r "$r" '.annotations["x/type"] == "in-\($r) of \($p)"' "$RUNROOT/containers/$ID/bundle/config.json"
    ctrrun exec "$ID" ps | grep -q '/pause'
    # Its own container does not keep a pod from being removed; another one does.
    run_err 5 podnet rm "$OTHER"
    kill -9 "$pid"
    wait_for 10 eval "[ \$(podnet status $OTHER | jq -r .state) = notready ]"
    ctrrun rm --force "$ID"
    ocibundle rm "$ID"
    podnet stop "$OTHER"
    [ ! -e "$ROOT/containers/$OTHER" ]
    podnet rm "$OTHER"
    OTHER=
    IDS=()
  done
}

@test "a pod's runtime is one word of its request: crun, runc and runsc through the socket; a sandbox that dies is told" {
  load ../lib/crispd
  crispd_start
  local h id ctr
  for h in crun runc runsc; do
    pod_json swap | jq --arg h "$h" --arg c "$CGROUP" '{ config: (.metadata.uid = $h | .linux.cgroup_parent = $c), runtime_handler: $h }' >"$CRISP_TMP/run.json"
    id=$(cri RunPodSandbox <"$CRISP_TMP/run.json" | jq -r .pod_sandbox_id)
    ctr=$(jq --arg id "$id" '{ pod_sandbox_id: $id, sandbox_config: .config, config: { metadata: { name: "c" }, image: { image: "base" },
      command: ["/bin/sh", "-c", "echo $((6 * 7)); sleep 100"], log_path: "c.log" } }' "$CRISP_TMP/run.json" | cri CreateContainer | jq -r .container_id)
    jq -n --arg c "$ctr" '{ container_id: $c }' | cri StartContainer
    [ "$(jq -n --arg c "$ctr" '{ container_id: $c, cmd: ["/bin/sh", "-c", "echo $((6 * 7)); exit 3"] }' | cri ExecSync |
      jq -c '[.stdout, .exit_code]')" = '["42\n",3]' ]
    wait_for 10 eval "cut -d' ' -f4 $CRISP_TMP/logs/swap/c.log | grep -qx 42"
    # The pod's own container is nobody's to see.
    [ "$(echo '{}' | cri ListContainers | jq -c '[.containers[].id]')" = "[\"$ctr\"]" ]
    [ "$(jq -n --arg p "$id" '{ pod_sandbox_id: $p }' | cri PodSandboxStatus | jq -r '.status | (.state // "SANDBOX_READY") + " " + .runtime_handler')" = "SANDBOX_READY $h" ]
    if [ $h = runsc ]; then
      kill -9 "$(jq .pid "$ROOT/containers/$id/state.json")"
      wait_for 10 eval "jq -n '{ pod_sandbox_id: \"$id\" }' | cri PodSandboxStatus | jq -e '.status.state == \"SANDBOX_NOTREADY\"'"
    fi
    jq -n --arg p "$id" '{ pod_sandbox_id: $p }' | cri StopPodSandbox
    jq -n --arg p "$id" '{ pod_sandbox_id: $p }' | cri RemovePodSandbox
    rm -f "$CRISP_TMP/logs/swap/c.log"
  done
  crispd_stop
}
