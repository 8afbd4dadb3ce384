#!/usr/bin/env bats
# podnet on the real plugins; fakes only for what a real plugin never does.
# shellcheck disable=SC2016

setup_file() {
  load ../lib/helpers
  crisp_file_setup
}
teardown_file() {
  load ../lib/helpers
  crisp_file_teardown
}
setup() {
  load ../lib/helpers
  requires root netns
}
teardown() {
  local id
  for id in "$ROOT"/pods/*/; do [ ! -d "$id" ] || podnet rm "$(basename "$id")"; done
  rm -rf "$CRISP_TMP/plugins" "$CRISP_TMP/containers"
  mkdir "$CRISP_TMP/plugins"
  return 0
}

# make NAME [JQ]: a pod from pod_json, changed by a jq filter; prints the id
make() { pod_json "$1" | jq "${2:-.}" | podnet create -; }

new_id() { head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n'; }

# Nothing of the pod with that id is anywhere, and no address is taken.
nothing_left() { # ID
  [ ! -e "/run/netns/crisp-$1" ] || { echo "netns of $1 is left"; return 1; }
  ! pgrep -f "podinit $1" || { echo "podinit of $1 is left"; return 1; }
  ! grep -F "$1" /proc/self/mountinfo || { echo "mounts of $1 are left"; return 1; }
  [ ! -e "$ROOT/pods/$1" ] && [ ! -e "$RUNROOT/pods/$1" ] || { echo "directories of $1 are left"; return 1; }
  [ -z "$(find "$ROOT/reserved" -lname "$1")" ] || { echo "claim of $1 is left"; return 1; }
  ! grep -rlF "$1" "$CRISP_TMP/ipam" || { echo "address of $1 is left"; return 1; }
  ! iptables-save -t nat 2>/dev/null | grep -F "$1" || { echo "rules of $1 are left"; return 1; }
}

# is_dead PID: a zombie that nobody has reaped yet is dead, too
is_dead() { ! grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$1/status" 2>/dev/null; }

# other_net NAME: $CRISP_CONFIG for a network directory of its own, $NETD; plugins get $CLOCK seconds (30)
other_net() {
  NETD=$CRISP_TMP/etc/$1.d
  mkdir -p "$NETD"
  jq --arg d "$NETD" --argjson t "${CLOCK:-30}" '. + { network_dir: $d, network_timeout: $t }' "$CRISP_TMP/etc/crisp.json" >"$CRISP_TMP/etc/$1.json"
  export CRISP_CONFIG=$CRISP_TMP/etc/$1.json
}

# fake NAME: a plugin from a shell script on stdin, which finds its configuration in $conf and logs each call
fake() {
  {
    printf '#!/bin/bash\nconf=$(cat)\necho "$CNI_COMMAND %s ns=[$CNI_NETNS]" >>"%s/calls"\n' "$1" "$CRISP_TMP"
    cat
  } >"$CRISP_TMP/plugins/$1"
  chmod +x "$CRISP_TMP/plugins/$1"
}

# fake_net NETWORK PLUGIN...: a list of fakes as the only network
fake_net() {
  local name=$1
  shift
  other_net "$name"
  rm -f "$CRISP_TMP/calls"
  jq -n --arg name "$name" '{ cniVersion: "1.0.0", name: $name, plugins: [$ARGS.positional[] | { type: . }] }' --args "$@" >"$NETD/1.conflist"
}

OK_RESULT='{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"interface":0,"address":"10.99.0.7/24"}]}'

@test "create makes a pod that answers from the host; stop frees the address; rm leaves nothing" {
  id=$(make life)
  [[ $id =~ ^[0-9a-f]{64}$ ]]
  run -0 podnet status "$id"
  ip=$(jq -r .ip <<<"$output")
  [[ $ip == "$SUBNET".* ]]
  [ "$(jq -r '.state, .network, .network_mode, .origin' <<<"$output" | paste -sd' ')" = "ready $NET_NAME POD hand" ]
  [ "$(jq -r .config.metadata.name <<<"$output")" = life ]
  [ "$(jq .created_at <<<"$output")" -gt 1000000000000000000 ]
  busybox ping -c1 -W2 "$ip"
  ip netns list | grep -q "crisp-$id"
  [ -e "$CRISP_TMP/ipam/$NET_NAME/$ip" ]
  run -0 --separate-stderr podnet stop life
  [ -z "$output" ]
  [ ! -e "$CRISP_TMP/ipam/$NET_NAME/$ip" ]
  [ ! -e "/run/netns/crisp-$id" ]
  [ "$(podnet status "$id" | jq -r '.state + .ip')" = notready ]
  podnet stop life
  podnet rm life
  nothing_left "$id"
  podnet rm "$id"
}

@test "no process stays behind; loopback is up; hostname, resolv.conf and shm are the pod's" {
  id=$(make box '.hostname = "inner-host" | .dns_config = { servers: ["10.0.0.10", "fd00::1"], searches: ["a.b", "."], options: ["ndots:5"] }')
  run=$RUNROOT/pods/$id
  [ -z "$(ip netns pids "crisp-$id")" ]
  ip netns exec "crisp-$id" ip -o link show lo | grep -q 'LOOPBACK,UP'
  [ "$(nsenter --uts="$run/ns/uts" hostname)" = inner-host ]
  [ "$(cat "$run/hostname")" = inner-host ]
  [ "$(cat "$run/resolv.conf")" = $'search a.b .\nnameserver 10.0.0.10\nnameserver fd00::1\noptions ndots:5' ]
  [ "$(stat -c %a "$run/shm" "$run/resolv.conf" "$run/hostname" | paste -sd' ')" = "1777 644 644" ]
  grep -F "$run/shm" /proc/self/mountinfo | grep -q 'nosuid,nodev,noexec.*size=65536k'
  [ "$(readlink "/proc/self/ns/ipc")" != "$(nsenter --ipc="$run/ns/ipc" readlink /proc/self/ns/ipc)" ]
}

@test "without dns_config the host's resolv.conf; without a hostname the pod's name" {
  id=$(make plain 'del(.hostname)')
  cmp /etc/resolv.conf "$RUNROOT/pods/$id/resolv.conf"
  [ "$(nsenter --uts="$RUNROOT/pods/$id/ns/uts" hostname)" = plain ]
}

@test "a host port reaches the pod from the host's own address and from loopback, and not after stop" {
  port=$(free_port)
  id=$(make ports ".port_mappings = [{ container_port: 80, host_port: $port }, { containerPort: 81 }]")
  mkdir -p "$CRISP_TMP/www"
  echo from-the-pod >"$CRISP_TMP/www/index.html"
  ip netns exec "crisp-$id" busybox httpd -f -p 80 -h "$CRISP_TMP/www" 3>&- &
  server=$!
  ip=$(podnet status ports | jq -r .ip)
  wait_for 5 curl -sf "http://$ip/"
  for address in "$ip:80" "$SUBNET.1:$port" "127.0.0.1:$port"; do
    [ "$(curl -s -m 5 "http://$address/")" = from-the-pod ]
  done
  iptables-save -t nat 2>/dev/null | grep -qF "$id"
  kill $server
  podnet stop ports
  run ! curl -s -m 2 "http://$SUBNET.1:$port/"
  podnet rm ports
  nothing_left "$id"
}

@test "sysctls are set inside the pod only, also those of eth0" {
  before=$(cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max)
  id=$(make sysctls '.linux.sysctls = { "net.core.somaxconn": "77", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "11",
    "net/ipv4/conf/eth0/accept_local": "1" }')
  run -0 nsenter --net="/run/netns/crisp-$id" --ipc="$RUNROOT/pods/$id/ns/ipc" cat /proc/sys/net/core/somaxconn \
    /proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max /proc/sys/net/ipv4/conf/eth0/accept_local
  [ "$output" = $'77\n1\n11\n1' ]
  [ "$(cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max)" = "$before" ]
}

@test "default_sysctls apply to every pod and are left out where the namespace is the host's" {
  jq '. + { default_sysctls: { "net.core.somaxconn": "99" } }' "$CRISP_CONFIG" >"$CRISP_TMP/etc/sysctl.json"
  export CRISP_CONFIG=$CRISP_TMP/etc/sysctl.json
  id=$(make defaults)
  [ "$(nsenter --net="/run/netns/crisp-$id" cat /proc/sys/net/core/somaxconn)" = 99 ]
  before=$(cat /proc/sys/net/core/somaxconn)
  make hostnet '.linux.security_context.namespace_options.network = "NODE"'
  [ "$(cat /proc/sys/net/core/somaxconn)" = "$before" ]
}

@test "refused sysctls: not namespaced, the host's namespace, malformed, unknown, bad value" {
  run_err 6 make s '.linux.sysctls = { "vm.swappiness": "1" }'
  [[ $stderr == *"linux.sysctls: sysctl vm.swappiness: not namespaced"* ]]
  run_err 6 make s '.linux.sysctls = { "kernel.panic": "1" }'
  run_err 6 make s '.linux.sysctls = { "net/../kernel/panic": "1" }'
  [[ $stderr == *"malformed name"* ]]
  run_err 6 make s '.linux.sysctls = { "net.core.somaxconn": "1" } | .linux.security_context.namespace_options.network = "NODE"'
  [[ $stderr == *"the pod uses the host's network namespace"* ]]
  run_err 6 make s '.linux.sysctls = { "kernel.sem": "1" } | .linux.security_context.namespace_options.ipc = "NODE"'
  [[ $stderr == *"the pod uses the host's IPC namespace"* ]]
  run_err 6 make s '.linux.sysctls = { "net.no.such": "1" }'
  [[ $stderr == *"sysctl net/no/such: this kernel has none"* ]]
  run_err 6 make s '.linux.sysctls = { "net.core.somaxconn": "many" }'
  [[ $stderr == *"sysctl net/core/somaxconn = 'many': Invalid argument"* ]]
  [ -z "$(podnet ls --json | jq '.[]')" ]
  [ "$(find "$CRISP_TMP/ipam/$NET_NAME" -name "$SUBNET.*")" = "" ]
}

@test "a pod on the host's network and IPC has no namespaces, no address and the host's name" {
  id=$(make host '.linux.security_context.namespace_options = { network: "NODE", pid: "NODE", ipc: "NODE" } | .hostname = ""')
  [ "$(podnet status host | jq -r '.ip + .netns + .state + .network_mode')" = readyNODE ]
  [ ! -e "/run/netns/crisp-$id" ] && [ ! -e "$RUNROOT/pods/$id/ns/ipc" ] && [ ! -e "$RUNROOT/pods/$id/shm" ]
  [ "$(cat "$RUNROOT/pods/$id/hostname")" = "$(hostname)" ]
  podnet stop host
  podnet rm host
  nothing_left "$id"
}

@test "a pod on the host's network needs no network configuration" {
  other_net none
  id=$(make nonet '.linux.security_context.namespace_options.network = "NODE"')
  [ -e "$RUNROOT/pods/$id/ns/ipc" ] && [ -e "$RUNROOT/pods/$id/shm" ]
  run_err 8 make netless
  [[ $stderr == *"no network configuration in $NETD"* ]]
}

@test "ls shows what there is, newest first" {
  a=$(make first)
  b=$(make second)
  podnet stop first
  run -0 podnet ls
  [[ ${lines[0]} =~ ^"POD ID"\ +NAME\ +NAMESPACE\ +STATE\ +IP\ +AGE$ ]]
  [[ ${lines[1]} =~ ^${b:0:13}\ +second\ +default\ +ready\ +$SUBNET\.[0-9]+\ +[0-9]+s$ ]]
  [[ ${lines[2]} =~ ^${a:0:13}\ +first\ +default\ +notready\ +-\ +[0-9]+s$ ]]
  run -0 podnet ls --json
  [ "$(jq -r '.[] | .id + " " + .state' <<<"$output")" = "$b ready"$'\n'"$a notready" ]
}

@test "a name that is taken is exit 4 and names its pod; other attempts and uids are other pods" {
  id=$(make taken)
  run_err 4 make taken
  [[ $stderr == *"exists already: $id"* ]]
  other=$(make taken '.metadata.attempt = 2')
  [ "$other" != "$id" ]
  run_err 6 podnet status taken
  [[ $stderr == *"names 2 objects"* ]]
  podnet stop "$id"
  run_err 4 make taken
}

@test "two equal creations at once make one pod" {
  for i in 1 2 3 4; do
    make race >"$CRISP_TMP/race.$i" 2>"$CRISP_TMP/race.$i.err" 3>&- &
  done
  wait
  [ "$(cat "$CRISP_TMP"/race.[1-4] | wc -l)" = 1 ]
  [ "$(podnet ls --json | jq length)" = 1 ]
  [ "$(cat "$CRISP_TMP"/race.*.err | grep -c "$(cat "$CRISP_TMP"/race.[1-4])")" = 3 ]
}

@test "ids: given, too short, malformed, prefixes" {
  want=$(new_id)
  [ "$(pod_json given | podnet create --id "$want" -)" = "$want" ]
  [ "$(podnet status "${want:0:12}" | jq -r .id)" = "$want" ]
  run_err 6 podnet create --id abc - <<<"$(pod_json bad)"
  run_err 6 podnet create --id "../../$(new_id)" - <<<"$(pod_json bad)"
  run_err 4 podnet create --id "$want" - <<<"$(pod_json clash)"
  run_err 3 podnet status nobody
  run_err 0 podnet stop nobody
  run_err 0 podnet rm nobody
}

@test "an id whose namespace another root has pinned is refused and that namespace stays" {
  id=$(make mine)
  run_err 4 podnet --root "$CRISP_TMP/root2" --runroot "$CRISP_TMP/run2" create --id "$id" - <<<"$(pod_json other)"
  [[ $stderr == *"/run/netns/crisp-$id exists already"* ]]
  [ -z "$(find "$CRISP_TMP/root2/pods" "$CRISP_TMP/root2/reserved" -mindepth 1 ! -name '.*lock')" ]
  busybox ping -c1 -W2 "$(podnet status mine | jq -r .ip)"
}

@test "addresses of both families" {
  [ -e /proc/sys/net/ipv6 ] || skip "needs IPv6"
  other_net dual
  jq --arg b "${BRIDGE}d" '.name = "dual" | .plugins[0].bridge = $b | .plugins[0].ipam.ranges = [[{ subnet: "'"$SUBNET"'.0/24" }], [{ subnet: "fd00:c:1::/64" }]]' \
    "$CRISP_TMP/etc/net.d/10-test.conflist" >"$NETD/1.conflist"
  id=$(make dual)
  run -0 podnet status dual
  [[ $(jq -r .ip <<<"$output") == "$SUBNET".* ]]
  [[ $(jq -r '.additional_ips[]' <<<"$output") == fd00:c:1::* ]]
  podnet rm dual
  nothing_left "$id"
  ip link del "${BRIDGE}d"
}

@test "rm is refused while a container names the pod" {
  id=$(make full)
  ctr=$(new_id)
  mkdir -p "$ROOT/containers/$ctr"
  jq -n --arg c "$ctr" --arg p "$id" '{ version: 1, id: $c, pod_id: $p, state: "prepared" }' >"$ROOT/containers/$ctr/state.json"
  run_err 5 podnet rm full
  [[ $stderr == *"container $ctr is still there"* ]]
  [ "$(podnet status full | jq -r .state)" = ready ]
  # Neither does a damaged record make it look abandoned.
  rm "$ROOT/pods/$id/state.json"
  run_err 5 podnet rm "$id"
  run_err 5 make full
  run -0 podnet gc
  [[ $output == "keep pod $id: "*"container $ctr is still there" ]]
  [ -e "/run/netns/crisp-$id" ]
  rm -r "$ROOT/containers/$ctr"
  podnet rm "$id"
}

@test "bad input is exit 6 and names the place" {
  run_err 6 podnet create - <<<'{ "metadata": '
  run_err 6 podnet create - <<<'{ "metadata": { "name": 7 } }'
  [[ $stderr == *"metadata.name: expected string, found integer"* ]]
  run_err 6 make x '.linux.security_context.nope = 1'
  [[ $stderr == *"linux.security_context.nope: unknown key"* ]]
  run_err 6 make x 'del(.metadata.uid)'
  [[ $stderr == *"metadata.uid: missing"* ]]
  run_err 6 make x '.metadata.name = "a;K8S_POD_NAME=b"'
  [[ $stderr == *"metadata.name: 'a;K8S_POD_NAME=b' is no name"* ]]
  run_err 6 make x '.metadata.namespace = "../x"'
  run_err 6 make x '.hostname = "a b"'
  [[ $stderr == *"hostname: 'a b' is no host name"* ]]
  run_err 6 make x '.hostname = "-a"'
  run_err 6 make x '.linux.security_context.run_as_group = { value: 1 }'
  [[ $stderr == *"run_as_group: given without run_as_user"* ]]
  run_err 10 make x '.linux.security_context.namespace_options.userns_options = { mode: "POD" }'
  [[ $stderr == *"user namespaces are not supported yet"* ]]
  run_err 6 make x '.linux.security_context.namespace_options.network = "CONTAINER"'
  run_err 6 make x '.linux.security_context.namespace_options.ipc = "TARGET"'
  run_err 6 make x '.port_mappings = [{ container_port: 80, host_port: 70000 }]'
  [[ $stderr == *"port_mappings[0].host_port: no port: 70000"* ]]
  run_err 6 make x '.port_mappings = [{ host_port: 80 }]'
  run_err 6 make x '.port_mappings = [{ container_port: 80, host_port: 80, host_ip: "x" }]'
  run_err 6 make x '.dns_config.servers = ["dns.example"]'
  run_err 6 make x '.dns_config.searches = ["a\nnameserver 6.6.6.6"]'
  run_err 6 make x '.linux.cgroup_parent = "a/../../b"'
  run_err 6 podnet create --handler nope - <<<"$(pod_json x)"
  [[ $stderr == *"unknown runtime handler 'nope'"* ]]
  run_err 3 podnet create "$CRISP_TMP/absent.json"
  run_err 2 podnet create --origin me - <<<"$(pod_json x)"
  [ "$(podnet ls --json)" = "[]" ]
}

# init_of ID: pid of the pod's podinit
init_of() { jq .pid "$RUNROOT/pods/$1/init.json"; }

@test "a shared PID namespace has a first process that reaps, holds nothing and dies with the pod" {
  id=$(make pid '.linux.security_context.namespace_options.pid = "POD"')
  init=$(init_of "$id")
  [ "$(tr '\0' ' ' <"/proc/$init/cmdline")" = "$BUILD/bin/podinit $id " ]
  [ "$(awk '/^(Uid|CapEff|CapPrm|NoNewPrivs):/ { print $2 }' "/proc/$init/status" | paste -sd' ')" = "65534 0000000000000000 0000000000000000 1" ]
  [ -z "$(ls -A "/proc/$init/root/")" ] && [ -z "$(ls "/proc/$init/fd")" ]
  [ "$(wc -l <"/proc/$init/mountinfo")" = 1 ]
  # Processes of the pod are numbered from 2 and cannot end it; orphans are reaped.
  [ "$(nsenter --pid="$RUNROOT/pods/$id/ns/pid" sh -c 'kill -TERM 1; kill -KILL 1; echo $$')" -lt 10 ]
  nsenter --pid="$RUNROOT/pods/$id/ns/pid" sh -c '(sleep 0.1 &) ; exit 0'
  wait_for 5 eval '[ -z "$(cat "/proc/$init/task/$init/children")" ]'
  [ "$(podnet status pid | jq -r '.state + .reason')" = ready ]
  nsenter --pid="$RUNROOT/pods/$id/ns/pid" sleep 98765 3>&- &
  inside=$!
  run -0 podnet rm --dry-run pid
  [[ $output == *"end podinit and every process of the pod"*"unmount $RUNROOT/pods/$id/ns/pid"* ]]
  podnet stop pid
  wait $inside || true
  is_dead "$init"
  podnet rm pid
  nothing_left "$id"
}

@test "a shared PID namespace whose first process is gone makes the pod not ready; a lone host pod can have one" {
  id=$(make lone '.linux.security_context.namespace_options = { network: "NODE", pid: "POD", ipc: "NODE" }')
  kill -9 "$(init_of "$id")"
  wait_for 5 eval '[ "$(podnet status lone | jq -r .reason)" = "its first process is gone" ]'
  [ "$(podnet status lone | jq -r .state)" = notready ]
  podnet rm lone
  nothing_left "$id"
}

@test "without podinit a shared PID namespace is accepted with a warning and a note" {
  mkdir -p "$CRISP_TMP/alone"
  cp "$BUILD/bin/podnet" "$CRISP_TMP/alone"
  pod_json pid | jq '.linux.security_context.namespace_options.pid = "POD"' >"$CRISP_TMP/pid.json"
  run -0 --separate-stderr "$CRISP_TMP/alone/podnet" create "$CRISP_TMP/pid.json"
  [[ $stderr == *"shared PID namespace is not available"* ]]
  [[ $(podnet status pid | jq -r .reason) == *"not available"* ]]
  run -0 --separate-stderr make nopid 'del(.linux)'
  [ -z "$stderr" ] && [ ! -e "$RUNROOT/pods/$output/ns/pid" ]
}

@test "podinit by hand is refused" {
  run_err 5 podinit x
  [[ $stderr == *"podnet create starts this program"* ]]
}

@test "the attachment is written down, chained, and detached in reverse by what was written" {
  fake_net chain one two
  fake one <<<'[ "$CNI_COMMAND" = ADD ] && echo "'"${OK_RESULT//\"/\\\"}"'"; echo "$conf" >>'"$CRISP_TMP/one.conf; echo \"\$CNI_ARGS|\$CNI_IFNAME|\$CNI_CONTAINERID|\$CNI_PATH\" >$CRISP_TMP/one.env"
  fake two <<<'[ "$CNI_COMMAND" = ADD ] && jq -c .prevResult <<<"$conf"; echo "$conf" >>'"$CRISP_TMP/two.conf"
  rm -f "$CRISP_TMP"/{one,two}.conf
  id=$(make chained)
  [ "$(podnet status chained | jq -r .ip)" = 10.99.0.7 ]
  [ "$(sed -n 1p "$CRISP_TMP/one.conf" | jq -c '[.name, .cniVersion, .type, has("prevResult")]')" = '["chain","1.0.0","one",false]' ]
  [ "$(sed -n 1p "$CRISP_TMP/two.conf" | jq -r '.prevResult.ips[0].address')" = 10.99.0.7/24 ]
  [ "$(cat "$CRISP_TMP/one.env")" = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=chained;K8S_POD_UID=uid-chained;K8S_POD_INFRA_CONTAINER_ID=$id|eth0|$id|$CRISP_TMP/plugins:/opt/cni/bin:/usr/lib/cni" ]
  [ "$(jq -r '.stage, .name' "$ROOT/pods/$id/network.json" | paste -sd' ')" = "attached chain" ]
  rm "$NETD/1.conflist"
  podnet stop chained
  podnet stop chained
  [ "$(sed 's/ ns=.*//' "$CRISP_TMP/calls" | paste -sd' ')" = "ADD one ADD two DEL two DEL one" ]
  grep -qF "DEL two ns=[/run/netns/crisp-$id]" "$CRISP_TMP/calls"
  [ "$(sed -n 2p "$CRISP_TMP/one.conf" | jq -r '.prevResult.ips[0].address')" = 10.99.0.7/24 ]
}

@test "a single .conf of version 0.3.1 works, its DEL has no prevResult; several addresses are kept" {
  other_net single
  fake solo <<<'[ "$CNI_COMMAND" = ADD ] && echo "{\"cniVersion\":\"0.3.1\",\"ips\":[{\"version\":\"4\",\"address\":\"10.1.1.1/24\"},{\"version\":\"6\",\"address\":\"fd00::5/64\"}]}"; echo "$conf" >>'"$CRISP_TMP/solo.conf"
  echo '{ "cniVersion": "0.3.1", "name": "single", "type": "solo", "capabilities": { "portMappings": true, "dns": true, "bandwidth": true } }' >"$NETD/5.conf"
  echo '{ "cniVersion": "0.3.1", "name": "later", "type": "absent" }' >"$NETD/9.conf"
  make solo '.port_mappings = [{ container_port: 80, host_port: 8080, host_ip: "127.0.0.1", protocol: "UDP" }, { container_port: 81 }]
    | .dns_config.servers = ["10.0.0.1"] | .annotations = { "kubernetes.io/ingress-bandwidth": "1500k" }'
  [ "$(podnet status solo | jq -c '[.ip, .additional_ips]')" = '["10.1.1.1",["fd00::5"]]' ]
  [ "$(sed -n 1p "$CRISP_TMP/solo.conf" | jq -Sc .runtimeConfig)" = '{"bandwidth":{"ingressBurst":2147483647,"ingressRate":1500000},"dns":{"options":[],"searches":[],"servers":["10.0.0.1"]},"portMappings":[{"containerPort":80,"hostIP":"127.0.0.1","hostPort":8080,"protocol":"udp"}]}' ]
  podnet rm solo
  [ "$(sed -n 2p "$CRISP_TMP/solo.conf" | jq 'has("prevResult")')" = false ]
  run_err 6 make band '.annotations = { "kubernetes.io/egress-bandwidth": "fast" }'
}

@test "cni_default_network chooses by name; a broken first file is an error that names it" {
  other_net named
  fake good <<<"echo '$OK_RESULT'"
  echo '{ broken' >"$NETD/1.conf"
  echo '{ "cniVersion": "1.0.0", "name": "wanted", "type": "good" }' >"$NETD/2.json"
  run_err 8 make named
  [[ $stderr == *"$NETD/1.conf"* || $stderr == *"1.conf:1"* ]]
  jq '. + { cni_default_network: "wanted" }' "$CRISP_CONFIG" >"$CRISP_CONFIG.2"
  CRISP_CONFIG=$CRISP_CONFIG.2 make named
  [ "$(podnet status named | jq -r .network)" = wanted ]
  jq '. + { cni_default_network: "other" }' "$CRISP_CONFIG" >"$CRISP_CONFIG.2"
  CRISP_CONFIG=$CRISP_CONFIG.2 run_err 8 make unnamed
  [[ $stderr == *"no network configuration named 'other'"* ]]
}

# plugin_fails STATUS TEXT: creation fails so, DEL was run over the whole chain, nothing is left
plugin_fails() {
  local id
  id=$(new_id)
  rm -f "$CRISP_TMP/calls"
  run_err "$1" podnet create --id "$id" - <<<"$(pod_json failing)"
  [[ $stderr == *"$2"* ]] && [ "$(podnet ls --json)" = "[]" ] && nothing_left "$id" && [ ! -e "$ROOT/debts/$id.json" ]
}

@test "plugins that fail: missing, not executable, error, garbage, silence, error with status 0, signal, bad result" {
  fake_net bad first second
  fake first <<<'[ "$CNI_COMMAND" = DEL ] || echo "{\"cniVersion\":\"1.0.0\"}"'
  run_err 8 make failing
  [[ $stderr == *"network 'bad': plugin 'second' ADD: not found in $CRISP_TMP/plugins, /opt/cni/bin, /usr/lib/cni"* ]]
  podnet gc && [ "$(ls "$ROOT/debts")" != "" ] && rm -r "$ROOT/debts"
  fake second <<<'exit 0'
  chmod -x "$CRISP_TMP/plugins/second"
  run_err 8 make failing
  [[ $stderr == *"plugins/second is not executable"* ]]
  rm -r "$ROOT/debts"
  add='[ "$CNI_COMMAND" = DEL ] && exit 0'
  fake second <<<"$add"'; echo "{\"code\":101,\"msg\":\"no route\",\"details\":\"to the moon\"}"; exit 1'
  plugin_fails 1 "network 'bad': plugin 'second' ADD: no route: to the moon (code 101)"
  [ "$(sed 's/ ns=.*//' "$CRISP_TMP/calls" | paste -sd' ')" = "ADD first ADD second DEL second DEL first" ]
  fake second <<<"$add"'; echo "{\"code\":11,\"msg\":\"soon\"}"; exit 1'
  plugin_fails 8 "soon (code 11)"
  fake second <<<"$add"'; echo tail of stderr >&2; exit 3'
  plugin_fails 1 "ADD: tail of stderr"
  fake second <<<"$add"'; head -c 3000000 /dev/zero | tr "\\0" x'
  plugin_fails 1 "plugin 'second' ADD: result:1:"
  fake second <<<"$add; exit 0"
  plugin_fails 1 "printed no result"
  fake second <<<"$add"'; echo "{\"code\":7,\"msg\":\"sly\"}"'
  plugin_fails 1 "exit status 0 with an error: sly (code 7)"
  fake second <<<"$add"'; kill -SEGV $$'
  plugin_fails 1 "killed by signal 11"
  fake second <<<"$add"'; echo "{\"ips\":[{\"address\":\"nonsense\"}]}"'
  plugin_fails 1 "ips[0].address: 'nonsense' is no address"
}

@test "a plugin that hangs is killed with what it started" {
  CLOCK=2 fake_net hang slow
  fake slow <<<'[ "$CNI_COMMAND" = DEL ] && exit 0; sleep 987654 & echo $! >'"$CRISP_TMP/child; wait"
  start=$SECONDS
  plugin_fails 124 "plugin 'slow' ADD: $CRISP_TMP/plugins/slow: no exit within 2000 ms"
  [ $((SECONDS - start)) -lt 15 ]
  wait_for 2 is_dead "$(cat "$CRISP_TMP/child")"
}

@test "a plugin that fails or is missing at stop becomes a debt, and gc pays it" {
  fake_net debt payer
  fake payer <<<'[ "$CNI_COMMAND" = ADD ] && { echo '"'$OK_RESULT'"'; exit 0; }; echo "{\"code\":5,\"msg\":\"not today\"}"; exit 1'
  id=$(make debtor)
  run -0 --separate-stderr podnet stop debtor
  [[ $stderr == *"not today"* ]]
  [ "$(jq -r '.pod, .network.name, .error' "$ROOT/debts/$id.json" | paste -sd' ')" = "$id debt network 'debt': plugin 'payer' DEL: not today (code 5)" ]
  podnet rm debtor
  [ ! -e "/run/netns/crisp-$id" ] && [ ! -e "$ROOT/pods/$id" ]
  rm "$CRISP_TMP/plugins/payer"
  run -0 podnet gc
  [[ $output == "keep debt $id: "*"not found in"* ]]
  fake payer <<<'exit 0'
  run -0 podnet gc --dry-run
  [[ $output == "pay debt $id: "* ]] && [ -e "$ROOT/debts/$id.json" ]
  : >"$CRISP_TMP/calls"
  run -0 podnet gc
  [[ $output == "paid debt $id: "* ]] && [ ! -e "$ROOT/debts/$id.json" ]
  [ "$(cat "$CRISP_TMP/calls")" = "DEL payer ns=[]" ]
}

@test "a plugin that hangs at stop is killed and becomes a debt" {
  CLOCK=2 fake_net stuck sticky
  fake sticky <<<'[ "$CNI_COMMAND" = ADD ] && { echo '"'$OK_RESULT'"'; exit 0; }; sleep 987654'
  id=$(make stuck)
  start=$SECONDS
  podnet rm stuck
  [ $((SECONDS - start)) -lt 15 ] && [ ! -e "$ROOT/pods/$id" ] && [ ! -e "/run/netns/crisp-$id" ]
  [[ $(jq -r .error "$ROOT/debts/$id.json") == *"no exit within 2000 ms"* ]]
  rm -r "$ROOT/debts"
}

@test "after a reboot the pod is not ready, and stop detaches without a namespace" {
  fake_net boot old
  fake old <<<"[ \$CNI_COMMAND = DEL ] || echo '$OK_RESULT'"
  id=$(make rebooted)
  # What a reboot does: the mounts and the run directory are gone, the boot id is another.
  umount -l "/run/netns/crisp-$id" "$RUNROOT/pods/$id/ns/ipc" "$RUNROOT/pods/$id/ns/uts" "$RUNROOT/pods/$id/shm"
  rm -r "/run/netns/crisp-$id" "$RUNROOT/pods/$id"
  jq -c '.boot_id = "00000000-0000-0000-0000-000000000000"' "$ROOT/pods/$id/state.json" >"$CRISP_TMP/s" && cp "$CRISP_TMP/s" "$ROOT/pods/$id/state.json"
  [ "$(podnet status "$id" | jq -r '.state, .reason' | paste -sd' ')" = "notready the host was rebooted" ]
  run -0 podnet gc
  [[ $output == "stop pod $id: the host was rebooted" ]]
  tail -1 "$CRISP_TMP/calls" | grep -qF 'DEL old ns=[]'
  [ "$(jq -r '.state, .reason' "$ROOT/pods/$id/state.json" | paste -sd' ')" = "notready the host was rebooted" ]
  podnet rm "$id"
  nothing_left "$id"
}

@test "damaged records: shown, stoppable, removable" {
  a=$(make broken1)
  echo '{ "version": 1, ' >"$ROOT/pods/$a/state.json"
  b=$(make broken2)
  rm "$ROOT/pods/$b/state.json"
  c=$(make broken3)
  echo '{ "version": 99 }' >"$ROOT/pods/$c/state.json"
  echo garbage >"$ROOT/pods/$c/network.json"
  run_err 5 podnet status "$a"
  [[ $stderr == *"pod $a is damaged"* ]]
  [ "$(podnet ls --json | jq -r '.[].state' | sort -u)" = damaged ]
  podnet stop "$a"
  # The group that a runtime makes for the first container goes all the same.
  mkdir -p /sys/fs/cgroup/pids/crisp-test/broken1 2>/dev/null || true
  for id in $a $b $c; do
    podnet rm "$id"
    nothing_left "$id"
  done
  [ ! -e /sys/fs/cgroup/pids/crisp-test/broken1 ]
}

@test "gc: an interrupted creation and a run directory without a record go, pods and foreign namespaces stay" {
  keep=$(make keeper)
  dead=$(new_id)
  mkdir "$ROOT/pods/$dead"
  orphan=$(make orphan)
  podnet stop orphan
  ip netns add "crisp-$orphan"
  ip netns add "crisp-$(printf 'f%.0s' {1..60})$$"
  foreign=/run/netns/crisp-$(printf 'f%.0s' {1..60})$$
  rm -r "${ROOT:?}/pods/$orphan"
  run -0 podnet gc --dry-run
  [ "$(wc -l <<<"$output")" = 4 ] && [ -d "$ROOT/pods/$dead" ] && [ -e "/run/netns/crisp-$orphan" ]
  run -0 podnet gc --json
  [ "$(jq -r '.[] | .action + " " + .kind + " " + .id' <<<"$output" | sort)" = "$(printf '%s\n' "keep pod $keep" "remove leftover $orphan" "remove claim $orphan" "remove pod $dead" | sort)" ]
  nothing_left "$dead"
  [ ! -e "/run/netns/crisp-$orphan" ] && [ ! -e "$RUNROOT/pods/$orphan" ]
  [ -e "$foreign" ]
  ip netns del "${foreign##*/}"
  [ "$(podnet status keeper | jq -r .state)" = ready ]
}

@test "kill -9 at any point of a creation: the retry succeeds and nothing leaks" {
  port=$(free_port)
  pod_json victim | jq ".port_mappings = [{ container_port: 80, host_port: $port }] | .linux.security_context.namespace_options.pid = \"POD\"" >"$CRISP_TMP/victim.json"
  killed=0
  for delay in 0.001 0.002 0.003 0.004 0.005 0.007 0.01 0.015 0.02 0.03 0.04 0.05 0.06 0.08 0.1 0.12; do
    first=$(new_id)
    podnet create --id "$first" "$CRISP_TMP/victim.json" >/dev/null 2>&1 3>&- &
    pid=$!
    sleep "$delay"
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null || true
    second=$(new_id)
    if podnet create --id "$second" "$CRISP_TMP/victim.json" 2>"$CRISP_TMP/err"; then
      nothing_left "$first"
      podnet rm "$second"
      nothing_left "$second"
    else
      # It was finished before it was killed.
      grep -q "exists already: $first" "$CRISP_TMP/err"
      [ "$(podnet status "$first" | jq -r .state)" = ready ]
      podnet rm "$first"
      nothing_left "$first"
    fi
  done
  [ $killed -gt 3 ]
  [ "$(find "$CRISP_TMP/ipam/$NET_NAME" -name "$SUBNET.*")" = "" ]
  [ -z "$(ip -o link show master "$BRIDGE")" ]
  [ -z "$(ls "$ROOT/reserved")" ]
}

@test "kill -9 at each system call that changes something" {
  command -v strace >/dev/null || skip "needs strace"
  for call in mkdirat symlinkat renameat mount unshare clone socketpair openat; do
    for n in 1 2 3 5 8; do
      id=$(new_id)
      pod_json "sys-$call-$n" | jq '.linux.security_context.namespace_options.pid = "POD"' >"$CRISP_TMP/sys.json"
      strace -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" podnet create --id "$id" "$CRISP_TMP/sys.json" >/dev/null 2>&1 3>&- || true
      again=$(new_id)
      podnet create --id "$again" "$CRISP_TMP/sys.json" 2>"$CRISP_TMP/err" >/dev/null || grep -q "exists already: $id" "$CRISP_TMP/err"
      podnet rm "sys-$call-$n"
      podnet gc >/dev/null
      nothing_left "$id"
      nothing_left "$again"
    done
  done
  [ "$(podnet ls --json)" = "[]" ]
}

@test "the retry after kill -9 waits for a plugin that is still at work" {
  fake_net late worker
  fake worker <<<'if [ "$CNI_COMMAND" = ADD ] && [ ! -e '"$CRISP_TMP/once"' ]; then touch '"$CRISP_TMP/once"'; (sleep 1; echo "late ADD" >>'"$CRISP_TMP/calls"') & wait; fi
    [ "$CNI_COMMAND" = DEL ] || echo '"'$OK_RESULT'"
  pod_json late | podnet create - 3>&- &
  pid=$!
  wait_for 5 test -e "$CRISP_TMP/once"
  kill -9 "$pid" 2>/dev/null || true
  pkill -9 -P "$pid" podnet 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  make late
  [ "$(sed 's/ ns=.*//' "$CRISP_TMP/calls" | paste -sd' ')" = "ADD worker late ADD DEL worker ADD worker" ]
}

@test "kill -9 in the middle of stop and of rm: the repetition finishes" {
  for verb in stop rm; do
    for delay in 0.002 0.005 0.01 0.02 0.04; do
      id=$(make dying '.linux.security_context.namespace_options.pid = "POD"')
      podnet $verb dying 3>&- &
      pid=$!
      sleep $delay
      kill -9 $pid 2>/dev/null || true
      wait $pid 2>/dev/null || true
      podnet stop "$id"
      podnet rm "$id"
      podnet gc >/dev/null
      nothing_left "$id"
    done
  done
}

@test "TERM during a creation undoes it and exits 11" {
  fake_net term slowish
  fake slowish <<<'[ "$CNI_COMMAND" = DEL ] && exit 0; touch '"$CRISP_TMP/began; sleep 0.5; echo '$OK_RESULT'"
  rm -f "$CRISP_TMP/began"
  id=$(new_id)
  pod_json term >"$CRISP_TMP/term.json"
  podnet create --id "$id" "$CRISP_TMP/term.json" >"$CRISP_TMP/out" 3>&- &
  pid=$!
  wait_for 5 test -e "$CRISP_TMP/began"
  kill $pid
  status=0
  wait $pid || status=$?
  [ $status = 11 ] && [ ! -s "$CRISP_TMP/out" ]
  nothing_left "$id"
}

@test "create --dry-run shows the plan and makes nothing; rm --dry-run shows what would go" {
  run -0 --separate-stderr podnet create --dry-run - <<<"$(pod_json plan)"
  [ "$(jq -c '[.namespaces, .network.name, .hostname]' <<<"$output")" = '[["net","uts","ipc"],"'"$NET_NAME"'","plan"]' ]
  [ "$(podnet ls --json)" = "[]" ]
  id=$(make plan)
  run -0 podnet rm --dry-run plan
  [ "$output" = "detach network $NET_NAME
unpin /run/netns/crisp-$id
unmount $RUNROOT/pods/$id/ns/ipc
unmount $RUNROOT/pods/$id/ns/uts
unmount $RUNROOT/pods/$id/shm
remove $ROOT/pods/$id" ]
  [ "$(podnet status plan | jq -r .state)" = ready ]
}

@test "the journal has a line for each step by hand, none under crispd; it can be pasted" {
  id=$(make journal)
  CRISP_REQ=7 podnet stop journal
  [ "$(wc -l <"$ROOT/pods/$id/journal")" = 1 ]
  podnet stop journal
  line=$(head -1 "$ROOT/pods/$id/journal")
  [[ $line == */podnet\ create\ --id\ $id*"< $ROOT/pods/$id/pod.json # "*" hand exit=0 ms="* ]]
  cp "$ROOT/pods/$id/pod.json" "$CRISP_TMP/again.json"
  podnet rm journal
  [ "$(eval "${line/"< $ROOT/pods/$id/pod.json"/"< $CRISP_TMP/again.json"}")" = "$id" ]
}

@test "a creation while an equal one is under way waits for it, then names it" {
  local first=0 id
  other_net slow
  fake_net slow slow
  fake slow <<<'[ "$CNI_COMMAND" = ADD ] || exit 0; touch '"$CRISP_TMP"'/slow.began; sleep 1; echo "'"${OK_RESULT//\"/\\\"}"'"'
  { make slow >"$CRISP_TMP/slow.id" || echo $? >"$CRISP_TMP/slow.failed"; } 3>&- &
  first=$!
  wait_for 10 test -e "$CRISP_TMP/slow.began"
  run_err 4 make slow
  wait $first
  [ ! -e "$CRISP_TMP/slow.failed" ]
  id=$(cat "$CRISP_TMP/slow.id")
  [[ $stderr == "podnet: error: pod exists already: $id" ]]
  podnet rm "$id"
  nothing_left "$id"
}
