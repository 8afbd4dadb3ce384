#!/usr/bin/env bats
# Pods with a user namespace, judged from inside their containers and from the host: with every runtime that is here.
# shellcheck disable=SC2154 # stderr is bats's

setup_file() {
  load ../lib/helpers
  requires root netns
  crisp_file_setup
  # The root of a user namespace is nobody on the host and must get through to its containers.
  chmod 711 "$CRISP_TMP"
  make_image base
  # A second layer with owners of its own, a file capability and a volume.
  local top=$CRISP_TMP/top
  mkdir -p "$top"/{srv/vol,opt}
  echo mine >"$top/srv/f1000"
  echo far >"$top/srv/f70000"
  chown 1000:1001 "$top/srv/f1000"
  chown 70000:70000 "$top/srv/f70000"
  # Says whose rights it has: the effective user, and whether it may give a file away.
  printf '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("%%d %%d\\n", (int)geteuid(), chown("/tmp/x", 3, 4)); }' |
    cc -static -xc -o "$top/opt/probe" -
  cp "$top/opt/probe" "$top/opt/capped"
  chown 1000:1000 "$top/opt/probe"
  chmod 4755 "$top/opt/probe"
  setcap cap_chown+ep "$top/opt/capped"
  chown 7:8 "$top/srv/vol"
  umoci insert --image "$CRISP_TMP/oci:base" "$top/srv" /srv >/dev/null
  umoci insert --image "$CRISP_TMP/oci:base" "$top/opt" /opt >/dev/null
  umoci config --image "$CRISP_TMP/oci:base" --config.volume /srv/vol --config.volume /fresh >/dev/null
  IMAGE=$(ocipull "oci:$CRISP_TMP/oci:base")
  export IMAGE
}
teardown_file() {
  load ../lib/helpers
  crisp_file_teardown
}
setup() { load ../lib/helpers; }
teardown() {
  local id
  for id in "$ROOT"/containers/*/; do
    [ ! -d "$id" ] || { ctrrun rm --force "$(basename "$id")" && ocibundle rm "$(basename "$id")"; }
  done
  for id in "$ROOT"/pods/*/; do [ ! -d "$id" ] || podnet rm "$(basename "$id")"; done
  # Nothing of a pod or a mount outlives it.
  run grep -F -e "$RUNROOT/containers/" -e "$RUNROOT/pods/" /proc/self/mountinfo
  [ -z "$output" ]
}

UIDS='[{"host_id":100000,"container_id":0,"length":65536}]'
GIDS='[{"host_id":200000,"container_id":0,"length":65536}]'
USERNS="{ mode: \"POD\", uids: $UIDS, gids: $GIDS }"

# upod NAME [FILTER]: a pod with a user namespace that shares its processes
upod() {
  pod_json "$1" | jq ".linux.security_context.namespace_options += { pid: \"POD\", userns_options: $USERNS } | ${2:-.}"
}
# uctr POD NAME FILTER CMD...: create and start a container that runs CMD; prints its id
uctr() {
  local pod=$1 name=$2 filter=$3 id
  shift 3
  id=$(ctr_json "$name" "$IMAGE" "$@" | jq ".linux.security_context.namespace_options.pid = \"POD\" | $filter" | ocibundle create "$pod" -) && ctrrun create "$id" >&2 && ctrrun start "$id" >&2 &&
    echo "$id"
}
runtimes() {
  requires crun
  printf 'crun\n'
  ! command -v runc >/dev/null || printf 'runc\n'
}
inside() { ctrrun exec "$1" sh -c "$2"; }

@test "owners, capabilities, network and streams are the container's; outside they are the mapping's" {
  requires crun
  local rt pod c user
  for rt in $(runtimes); do
    pod=$(upod "own-$rt" '.linux.sysctls = { "net.ipv4.ping_group_range": "0 1000", "fs.mqueue.msg_max": "33" }' | podnet create --handler "$rt" -)
    c=$(uctr "$pod" c . sh -c 'echo to the log >/dev/stdout; exec sleep 1000')
    [ "$(inside "$c" 'cat /proc/self/uid_map /proc/self/gid_map' | tr -s ' ')" = $' 0 100000 65536\n 0 200000 65536' ]
    # Files of several owners in two layers; one that the mapping does not have is nobody's.
    [ "$(inside "$c" 'stat -c "%n %u:%g" /bin /etc/passwd /srv/f1000 /srv/f70000 /opt/probe')" = "/bin 0:0
/etc/passwd 0:0
/srv/f1000 1000:1001
/srv/f70000 65534:65534
/opt/probe 1000:1000" ]
    # Copied up, made, given away: the disk has the ids outside, and nothing of the rest was copied.
    inside "$c" 'echo more >>/srv/f1000 && touch /new && chown 5:6 /new && mkdir /root/d'
    [ "$(cd "$ROOT/containers/$c/upper" && stat -c '%n %u:%g' srv/f1000 new root/d)" = "srv/f1000 101000:201001
new 100005:200006
root/d 100000:200000" ]
    [ ! -e "$ROOT/containers/$c/upper/bin" ]
    # Set-user-id and file capabilities mean the container's users.
    [ "$(inside "$c" 'touch /tmp/x; /opt/probe')" = '1000 -1' ]
    user=$(uctr "$pod" user '.linux.security_context.run_as_user = { value: 1000 }' sleep 1000)
    [ "$(inside "$user" 'touch /tmp/x; /opt/capped; stat -c %u:%g /tmp/x')" = $'1000 0\n3:4' ]
    # What podnet and ocibundle made is its root's.
    [ "$(inside "$c" 'stat -c "%n %u:%g %a" /etc/resolv.conf /etc/hostname /etc/hosts /dev/shm /dev/mqueue /fresh /srv/vol')" = "/etc/resolv.conf 0:0 644
/etc/hostname 0:0 644
/etc/hosts 0:0 644
/dev/shm 0:0 1777
/dev/mqueue 0:0 1777
/fresh 0:0 755
/srv/vol 7:8 755" ]
    inside "$c" 'echo x >>/etc/hosts && touch /dev/shm/s /dev/mqueue/q /srv/vol/f /fresh/f'
    # Sysctls, in its own namespaces; its root rules over its network, and only over that.
    [ "$(inside "$c" 'cat /proc/sys/net/ipv4/ping_group_range /proc/sys/fs/mqueue/msg_max' | tr '\t\n' '  ')" = "0 1000 33 " ]
    run inside "$c" 'echo 1 >/proc/sys/vm/swappiness'
    [ "$status" != 0 ]
    ping -c1 -W5 "$(jq -r .ip "$ROOT/pods/$pod/state.json")" >/dev/null
    inside "$c" "ping -c1 -W5 $SUBNET.1" >/dev/null
    # The pod's processes are one family, of which PID 1 has no rights.
    [ "$(inside "$c" 'cat /proc/1/comm; grep ^CapEff /proc/1/status; grep ^Uid /proc/1/status' | tr -s '\t\n' '  ')" = \
      "podinit CapEff: 0000000000000000 Uid: 65534 65534 65534 65534 " ]
    # Streams can be opened by name, of the container and of a command in it.
    ctrrun logs "$c" | grep -qx 'to the log'
    [ "$(inside "$c" 'echo out >/dev/stdout; echo err >/dev/stderr' 2>&1 | sort | xargs)" = "err out" ]
    ip netns list | grep -q "crisp-$pod"
    [ "$(podnet inspect "$pod" | jq -r '.namespaces.user.inode')" = "$(stat -Lc %i "/proc/$(jq .pid "$ROOT/containers/$c/state.json")/ns/user")" ]
    podnet check "$pod"
    podnet exec "$pod" -- ip addr show eth0 >/dev/null
    [ "$(ocibundle show "$c" | jq -c '[.linux.uidMappings, .linux.gidMappings]')" = \
      '[[{"containerID":0,"hostID":100000,"size":65536}],[{"containerID":0,"hostID":200000,"size":65536}]]' ]
  done
}

@test "volumes with mappings, plain ones, images: owners fit, the host's mounts stay, none of ours is left once bound" {
  requires crun
  local rt pod c vol=$CRISP_TMP/vol other
  mkdir -p "$vol/sub"
  echo x >"$vol/f"
  chown 7:8 "$vol/f"
  chmod 700 "$vol"
  mount -t tmpfs none "$vol/sub"
  other='uidMappings: [{ host_id: 100005, container_id: 7, length: 1 }], gidMappings: [{ host_id: 200006, container_id: 8, length: 1 }]'
  for rt in $(runtimes); do
    pod=$(upod "vol-$rt" | podnet create --handler "$rt" -)
    c=$(uctr "$pod" c ".mounts = [
      { host_path: \"$vol\", container_path: \"/vol\", uidMappings: $UIDS, gidMappings: $GIDS, propagation: \"PROPAGATION_HOST_TO_CONTAINER\" },
      { host_path: \"$vol/f\", container_path: \"/one\", $other, readonly: true },
      { host_path: \"$vol\", container_path: \"/plain\" },
      { container_path: \"/img\", readonly: true, image: { image: \"$IMAGE\" }, image_sub_path: \"srv\" }]" sleep 1000)
    [ "$(inside "$c" 'stat -c "%n %u:%g" /vol /vol/f /one /plain /img/f1000 /img/f70000')" = "/vol 0:0
/vol/f 7:8
/one 5:6
/plain 65534:65534
/img/f1000 1000:1001
/img/f70000 65534:65534" ]
    inside "$c" 'touch /vol/new && chown 9:9 /vol/new'
    [ "$(stat -c %u:%g "$vol/new")" = 9:9 ]
    rm "$vol/new"
    run inside "$c" 'echo x >/one || echo x >/img/f1000'
    [ "$status" != 0 ]
    inside "$c" "grep ' /vol ' /proc/self/mountinfo" | grep -q idmapped
    # Our mount of the volume would hold it busy on the host.
    run grep -c -F "$RUNROOT/containers/$c/mapped" /proc/self/mountinfo
    [ "$output" = 0 ]
    mountpoint -q "$vol/sub"
    ctrrun rm --force "$c"
    ocibundle rm "$c"
    # Unmounting what was bound has not reached the original.
    mountpoint -q "$vol/sub"
    podnet rm "$pod"
  done
  umount "$vol/sub"
}

@test "with the host's network, privileged, small mappings" {
  requires crun
  local rt pod c
  for rt in $(runtimes); do
    pod=$(upod "host-$rt" '.linux.security_context.namespace_options.network = "NODE"' | podnet create --handler "$rt" -)
    c=$(uctr "$pod" c . sleep 1000)
    [ "$(inside "$c" 'readlink /proc/self/ns/net')" = "$(readlink /proc/self/ns/net)" ]
    [ "$(inside "$c" 'ls /sys/class/net' | grep -c "^lo$")" = 1 ]
    run inside "$c" 'ip link add type dummy'
    [ "$status" != 0 ]
    pod=$(upod "priv-$rt" '.linux.security_context.privileged = true' | podnet create --handler "$rt" -)
    c=$(uctr "$pod" c '.linux.security_context.privileged = true' sleep 1000)
    inside "$c" 'mount -t tmpfs none /tmp && echo 1 >/proc/sys/net/ipv4/ip_forward'
    [ "$(inside "$c" 'grep CapEff /proc/self/status')" = "$(printf 'CapEff:\t%016x' "$((0x$(awk '/^CapBnd/ { print $2 }' /proc/self/status)))")" ]
    run inside "$c" 'echo 1 >/proc/sys/vm/swappiness'
    [ "$status" != 0 ]
  done
  # Fewer ids than nobody's number; a default of the node for all groups is cut to those that there are.
  jq '.default_sysctls = { "net.ipv4.ping_group_range": "0 2147483647" }' "$CRISP_CONFIG" >"$CRISP_TMP/small.json"
  pod=$(upod small '.linux.security_context.namespace_options.userns_options |= (.uids[0].length = 100 | .gids[0].length = 50)' |
    podnet --config "$CRISP_TMP/small.json" create -)
  c=$(uctr "$pod" c . sleep 1000)
  [ "$(inside "$c" 'cat /proc/sys/net/ipv4/ping_group_range; grep ^[UG]id: /proc/1/status' | tr '\t\n' '  ')" = \
    "0 49 Uid: 99 99 99 99 Gid: 49 49 49 49 " ]
  run ocibundle create "$pod" - <<<"$(ctr_json big "$IMAGE" true | jq '.linux.security_context.run_as_user = { value: 100 }')"
  [ "$status" = 6 ]
  [[ $output == *"user 100 is not in the pod's user namespace"* ]]
}

@test "what cannot be is refused in one line, and nothing is left" {
  requires crun
  local pod vol=$CRISP_TMP
  local u=.linux.security_context.namespace_options
  bad_pod() { # STATUS WORDS FILTER
    run_err "$1" podnet create - <<<"$(upod bad "$3")"
    [[ $stderr == *"$2"* ]]
    [ "$(wc -l <<<"$stderr")" = 1 ]
  }
  bad_pod 6 "uids: 2 lines" "$u.userns_options.uids += [{ container_id: 70000, host_id: 1, length: 1 }]"
  bad_pod 6 "gids: 0 lines" "$u.userns_options.gids = []"
  bad_pod 6 "id 0 must be mapped" "$u.userns_options.uids[0].container_id = 1"
  bad_pod 6 "length: 0 maps nothing" "$u.userns_options.gids[0].length = 0"
  bad_pod 6 "beyond 32 bits" "$u.userns_options.uids[0].host_id = 4294967000"
  bad_pod 6 "only POD or NODE" "$u.userns_options.mode = \"CONTAINER\""
  bad_pod 6 "only POD or NODE" "$u.userns_options.mode = \"TARGET\""
  bad_pod 6 "mode NODE has no mappings" "$u.userns_options.mode = \"NODE\""
  bad_pod 6 "does not go together with namespace_options.pid NODE" "$u.pid = \"NODE\""
  bad_pod 6 "does not go together with namespace_options.ipc NODE" "$u.ipc = \"NODE\""
  bad_pod 6 "linux.sysctls" '.linux.sysctls = { "vm.swappiness": "1" }'
  bad_pod 6 "ping_group_range" '.linux.sysctls = { "net.ipv4.ping_group_range": "0 2147483647" }'
  # A runtime that is known to have none.
  jq -n '{ path: "/usr/bin/crun", can: { user_namespaces: false } }' >"$CRISP_TMP/etc/handlers.d/without.json"
  run_err 10 podnet create --handler without - <<<"$(upod bad)"
  [[ $stderr == *"user namespace"* ]]
  rm "$CRISP_TMP/etc/handlers.d/without.json"
  # A way that lets nobody through.
  chmod 700 "$CRISP_TMP"
  bad_pod 10 "lets nobody through" .
  chmod 711 "$CRISP_TMP"
  # Layers on a file system that cannot be mapped: no chown copy.
  mkdir -p "$CRISP_TMP/no/layers"
  mount -t ramfs none "$CRISP_TMP/no/layers"
  jq --arg r "$CRISP_TMP/no" '.root = $r' "$CRISP_CONFIG" >"$CRISP_TMP/no.json"
  run_err 10 podnet --config "$CRISP_TMP/no.json" create - <<<"$(upod bad)"
  umount "$CRISP_TMP/no/layers"
  [[ $stderr == *"idmapped mount of $CRISP_TMP/no/layers"* ]]
  [ -z "$(ls "$ROOT/pods")" ]

  pod=$(upod good | podnet create -)
  bad() { # STATUS WORDS FILTER
    run_err "$1" ocibundle create "$pod" - <<<"$(ctr_json bad "$IMAGE" true | jq "$3")"
    [[ $stderr == *"$2"* ]]
  }
  bad 6 "NODE, but the pod has a user namespace" "$u.userns_options = { mode: \"NODE\" }"
  bad 6 "not the mappings of the pod" "$u.userns_options = ($USERNS | .uids[0].host_id = 5)"
  bad 6 "pid: NODE does not go together" "$u.pid = \"NODE\""
  bad 6 "gidMappings: 0 lines" ".mounts = [{ host_path: \"$vol\", container_path: \"/v\", uidMappings: $UIDS }]"
  bad 6 "uidMappings[1]: overlaps" ".mounts = [{ host_path: \"$vol\", container_path: \"/v\", uidMappings: ($UIDS + $UIDS), gidMappings: $GIDS }]"
  bad 10 "BIDIRECTIONAL" ".mounts = [{ host_path: \"$vol\", container_path: \"/v\", propagation: \"PROPAGATION_BIDIRECTIONAL\" }]"
  bad 10 "idmapped mount of /proc" ".mounts = [{ host_path: \"/proc\", container_path: \"/v\", uidMappings: $UIDS, gidMappings: $GIDS }]"
  bad 6 "group 70000 is not in the pod" '.linux.security_context.supplemental_groups = [70000]'
  [ -z "$(ls "$ROOT/containers")" ]
  podnet rm "$pod"
  pod=$(pod_json none | podnet create -)
  bad 6 "POD, but the pod has no user namespace" "$u.userns_options = $USERNS"
}

@test "killed in the middle, then gc: no namespace and no mount is left" {
  requires crun strace
  local n pod
  for n in 1 3 5 7; do
    upod "kill$n" >"$CRISP_TMP/k.json"
    run strace -qq -o /dev/null -e "inject=mount:signal=KILL:when=$n" podnet create "$CRISP_TMP/k.json"
    [ "$status" != 0 ]
  done
  podnet gc >/dev/null
  [ -z "$(find "$ROOT/pods" "$RUNROOT/pods" -mindepth 1 -maxdepth 1 -type d)" ]
  # A container whose volume was mapped and whose creation went no further.
  pod=$(upod half | podnet create -)
  ctr_json h "$IMAGE" true | jq ".mounts = [{ host_path: \"$CRISP_TMP\", container_path: \"/v\", uidMappings: $UIDS, gidMappings: $GIDS }]" >"$CRISP_TMP/h.json"
  run strace -qq -o /dev/null -e 'inject=move_mount:signal=KILL:when=2' ocibundle create "$pod" "$CRISP_TMP/h.json"
  [ "$status" != 0 ]
  n=$(ocibundle create "$pod" "$CRISP_TMP/h.json")
  run ocistore gc --dry-run
  [ "$status" = 0 ]
  ocibundle rm "$n"
  podnet gc --dry-run | grep -q "keep pod $pod"
}

@test "through the socket: features, statuses, exec, an unmasked proc, a restart of the daemon" {
  requires crun
  local pod c req
  ctrrun handlers >/dev/null
  start() {
    crispd --listen "$CRISP_TMP/c.sock" >"$CRISP_TMP/crispd.log" 2>&1 3>&- &
    CRISPD_PID=$!
    wait_for 20 cricall --socket "$CRISP_TMP/c.sock" Version
  }
  cri() { cricall --socket "$CRISP_TMP/c.sock" "$@"; }
  start
  wait_for 20 eval 'cri Status | jq -e ".runtime_handlers[0].features.user_namespaces"'
  cri Status | jq -e '.features.user_namespaces_host_network and .features.supplemental_groups_policy and
    all(.runtime_handlers[]; .features.recursive_read_only_mounts and .features.user_namespaces)'
  pod=$(upod cri | jq '{ config: . }' | cri RunPodSandbox - | jq -r .pod_sandbox_id)
  cri PodSandboxStatus - <<<"{\"pod_sandbox_id\":\"$pod\"}" |
    jq -e ".status.linux.namespaces.options.userns_options | .uids[0].host_id == 100000 and .gids[0].length == 65536"
  req=$(ctr_json c "$IMAGE" sleep 1000 | jq ".labels = { \"io.kubernetes.container.name\": \"c\" } |
    .linux.security_context += { run_as_user: { value: 1000 }, namespace_options: { userns_options: $USERNS } }")
  c=$(jq -n --arg p "$pod" --argjson c "$req" '{ pod_sandbox_id: $p, config: $c }' | cri CreateContainer - | jq -r .container_id)
  cri StartContainer - <<<"{\"container_id\":\"$c\"}"
  # As a kubelet asks for ProcMount Unmasked: no list is a list of nothing.
  [ "$(cri ExecSync - <<<"{\"container_id\":\"$c\",\"cmd\":[\"sh\",\"-c\",\"grep -c ' /proc/' /proc/self/mountinfo; id -u\"]}" |
    jq -r .stdout)" = $'0\n1000' ]
  kill -9 "$CRISPD_PID"
  wait "$CRISPD_PID" || true
  start
  cri ContainerStatus - <<<"{\"container_id\":\"$c\"}" |
    jq -e '.status.state == "CONTAINER_RUNNING" and .status.user.linux == { uid: 1000, gid: 1000, supplemental_groups: [1000, 2000] }'
  cri ContainerStats - <<<"{\"container_id\":\"$c\"}" | jq -e '.stats.memory.working_set_bytes.value > 0'
  cri RemovePodSandbox - <<<"{\"pod_sandbox_id\":\"$pod\"}"
  kill "$CRISPD_PID"
  wait "$CRISPD_PID" || true
}
