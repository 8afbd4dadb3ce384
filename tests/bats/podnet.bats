#!/usr/bin/env bats
# podnet by hand, on a bridge of the real plugins.
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
  load ../lib/podnet
  requires root netns
}
teardown() { podnet_teardown; }

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
  [ ! -e "/run/netns/crisp-$id" ]
  [ ! -e "$RUNROOT/pods/$id/ns/ipc" ]
  [ ! -e "$RUNROOT/pods/$id/shm" ]
  [ "$(cat "$RUNROOT/pods/$id/hostname")" = "$(hostname)" ]
  podnet stop host
  podnet rm host
  nothing_left "$id"
}

@test "a pod on the host's network needs no network configuration" {
  other_net none
  id=$(make nonet '.linux.security_context.namespace_options.network = "NODE"')
  [ -e "$RUNROOT/pods/$id/ns/ipc" ]
  [ -e "$RUNROOT/pods/$id/shm" ]
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

@test "ids: given, too short, malformed, prefixes; a parent group as the systemd driver names it" {
  make slice '.linux.cgroup_parent = "kubepods-besteffort-poda.slice"' >/dev/null
  [ "$(podnet status slice | jq -r .cgroup_parent)" = kubepods-besteffort-poda.slice ]
  podnet rm slice
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
  run_err 6 make x '.linux.security_context.namespace_options.userns_options = { mode: "POD" }'
  [[ $stderr == *"uids: 0 lines, a pod has exactly one"* ]]
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
  [ -z "$(ls -A "/proc/$init/root/")" ]
  [ -z "$(ls "/proc/$init/fd")" ]
  [ "$(wc -l <"/proc/$init/mountinfo")" = 1 ]
  # A few pages are all that it costs (a sanitizer's build has its own ideas).
  nm "$BUILD/bin/podinit" 2>/dev/null | grep -q __asan || [ "$(awk '/^Private_(Dirty|Clean):/ { kb += $2 } END { print kb }' "/proc/$init/smaps_rollup")" -le 32 ]
  # It is accounted to the pod, not to whoever made it.
  if [ -d /sys/fs/cgroup/pids ]; then
    [ "$(awk -F: '$2 == "pids" { print $3 }' "/proc/$init/cgroup")" = "/crisp-test/pid/podinit-$id" ]
    [ "$(awk -F: '$2 == "memory" { print $3 }' "/proc/$init/cgroup")" = "/crisp-test/pid/podinit-$id" ]
  else
    [ "$(cut -d: -f3 "/proc/$init/cgroup")" = "/crisp-test/pid/podinit-$id" ]
  fi
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
  [ -z "$(find /sys/fs/cgroup -name "podinit-$id" -print -quit 2>/dev/null)" ]
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
  [ -z "$stderr" ]
  [ ! -e "$RUNROOT/pods/$output/ns/pid" ]
}

@test "podinit by hand is refused" {
  run_err 5 podinit x
  [[ $stderr == *"podnet create starts this program"* ]]
}

@test "create --dry-run shows the plan and makes nothing; rm --dry-run shows what would go" {
  run -0 --separate-stderr podnet create --dry-run - <<<"$(pod_json plan)"
  [ "$(jq -c '[.namespaces, .networks[0].name, .hostname]' <<<"$output")" = '[["net","uts","ipc"],"'"$NET_NAME"'","plan"]' ]
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

@test "exec runs a command of the host in the pod's namespaces and gives its status" {
  id=$(make box '.hostname = "boxed" | .dns_config.servers = ["10.9.9.9"] | .linux.security_context.namespace_options.pid = "POD"')
  [[ "$(podnet exec box -- ip -o -4 addr show eth0)" == *"$(podnet status box | jq -r .ip)/24"* ]]
  [ "$(podnet exec box hostname)" = boxed ]
  [ "$(podnet exec box -- cat /etc/resolv.conf)" = "nameserver 10.9.9.9" ]
  [ "$(podnet exec box -- ls /sys/class/net | paste -sd' ')" = "eth0 lo" ]
  # Pids are the pod's, and the host's mounts are as they were.
  [ "$(podnet exec box -- sh -c 'readlink /proc/1/exe >/dev/null; echo $$')" -lt 10 ]
  [ "$(ls /sys/class/net | wc -l)" -gt 2 ]
  [ "$(echo in | podnet exec box -- cat)" = in ]
  run -7 podnet exec box -- sh -c 'exit 7'
  run -137 podnet exec box -- sh -c 'kill -9 $$'
  run -127 podnet exec box -- no-such-command
  run -126 podnet exec box -- /etc/passwd
  plain=$(make plain)
  run -3 podnet exec plain -- sh -c 'exit 3'
  run_err 3 podnet exec nobody -- true
  podnet stop "$plain"
  run_err 5 podnet exec plain -- true
  [[ $stderr == *"its network namespace is gone"* ]]
}

@test "ports, inspect: who has which host port, what a pod holds" {
  port=$(free_port)
  id=$(make web ".port_mappings = [{ container_port: 80, host_port: $port }, { container_port: 53, host_port: 5353, protocol: \"UDP\", host_ip: \"127.0.0.1\" }]")
  ip=$(podnet status web | jq -r .ip)
  run -0 podnet ports
  [[ "$output" == *"tcp   *:$port "*" $ip:80 "*"${id:0:13} default/web"* ]]
  [[ "$output" == *"udp   127.0.0.1:5353 "*" $ip:53 "* ]]
  [ "$(podnet ports --json web | jq -c '.[] | select(.protocol == "tcp") | [.host_ip, .host_port, .container_port, .pod_ip, .metadata.name]')" = "[\"\",$port,80,\"$ip\",\"web\"]" ]
  run -0 podnet inspect web
  [ "$(jq -r '.record.state, .config.metadata.name, .attachments[0].stage, .namespaces.net.path, .debts[]' <<<"$output" | paste -sd' ')" = "ready web attached /run/netns/crisp-$id" ]
  [ "$(jq .namespaces.ipc.inode <<<"$output")" = "$(stat -c %i "$RUNROOT/pods/$id/ns/ipc")" ]
  podnet stop web
  [ "$(podnet ports --json)" = "[]" ]
  [ "$(podnet inspect web | jq -c '[.record.state, .attachments[0].stage, .namespaces]')" = '["notready","detached",{}]' ]
}

@test "a host port that is taken is refused with its owner; other addresses and protocols are free; stop frees it" {
  port=$(free_port)
  a=$(make owner ".port_mappings = [{ container_port: 80, host_port: $port, host_ip: \"127.0.0.1\" }]")
  run_err 4 make rival ".port_mappings = [{ container_port: 8080, host_port: $port }]"
  [[ $stderr == *"host port $port/tcp is taken by pod $a (default/owner)" ]]
  run_err 4 make rival ".port_mappings = [{ container_port: 8080, host_port: $port, host_ip: \"0.0.0.0\" }]"
  make other1 ".port_mappings = [{ container_port: 80, host_port: $port, protocol: \"UDP\" }]"
  make other2 ".port_mappings = [{ container_port: 80, host_port: $port, host_ip: \"127.0.0.2\" }]"
  make other3 ".port_mappings = [{ container_port: 80, host_port: $port, host_ip: \"::\" }]"
  # On the host's network a port is nobody's to map.
  make hostnet ".port_mappings = [{ container_port: $port, host_port: $port }] | .linux.security_context.namespace_options.network = \"NODE\""
  podnet stop owner
  make heir ".port_mappings = [{ container_port: 81, host_port: $port, host_ip: \"127.0.0.1\" }]"
  # One that was left by a pod which is no more does not count.
  podnet rm heir
  ln -s "$(new_id)" "$ROOT/hostports/tcp-$port-127.0.0.1"
  make heir2 ".port_mappings = [{ container_port: 81, host_port: $port, host_ip: \"127.0.0.1\" }]"
}

@test "of two pods at once that want one host port, one gets it" {
  port=$(free_port)
  for i in 1 2 3 4; do
    make "want-$i" ".port_mappings = [{ container_port: 80, host_port: $port }]" >"$CRISP_TMP/want.$i" 2>"$CRISP_TMP/want.$i.err" 3>&- &
  done
  wait
  [ "$(cat "$CRISP_TMP"/want.[1-4] | wc -l)" = 1 ]
  [ "$(cat "$CRISP_TMP"/want.*.err | grep -c "host port $port/tcp is taken by pod $(cat "$CRISP_TMP"/want.[1-4])")" = 3 ]
}

@test "check compares record, kernel and plugins, and says what is wrong" {
  other_net plainbridge
  jq 'del(.plugins[1])' "$CRISP_TMP/etc/net.d/10-test.conflist" >"$NETD/1.conflist"
  id=$(make sound '.linux.security_context.namespace_options.pid = "POD"')
  run -0 podnet check sound
  [[ "$output" == *"ok   record: ready"*"ok   net namespace: /run/netns/crisp-$id"*"ok   first process: alive"*"ok   shared memory"*"ok   address: "*" is on eth0"*"ok   CNI CHECK: bridge"* ]]
  ip -n "crisp-$id" addr flush dev eth0
  run -1 podnet check sound
  [[ "$output" == *"bad  address: "*" is not on eth0"*"bad  CNI CHECK: network '$NET_NAME': plugin 'bridge' CHECK: "* ]]
  umount -l "$RUNROOT/pods/$id/ns/ipc"
  run -1 podnet check --json sound
  [ "$(jq -r '.[] | select(.what == "ipc namespace") | .result' <<<"$output")" = bad ]
  podnet stop sound
  run -1 podnet check sound
  [ "$output" = "bad  record: notready" ]
}

@test "cidr renders a template into a network; without one it is kept for plugins that ask" {
  other_net rendered
  jq --arg t "$CRISP_TMP/template.json" '. + { network_template: $t }' "$CRISP_CONFIG" >"$CRISP_CONFIG.2"
  export CRISP_CONFIG=$CRISP_CONFIG.2
  jq -n --arg b "${BRIDGE}t" --arg d "$CRISP_TMP/ipam" '{ cniVersion: "1.0.0", name: "rendered", plugins: [{ type: "bridge", bridge: $b, isGateway: true,
    ipam: { type: "host-local", dataDir: $d, ranges: "{{.PodCIDRRanges}}", routes: "{{.Routes}}", note: "is {{.PodCIDR}}" } }] }' >"$CRISP_TMP/template.json"
  run_err 8 podnet network
  podnet cidr "$SUBNET.128/25,fd00:c:2::/64"
  [ "$(jq -c '.plugins[0].ipam | [.ranges, .routes, .note]' "$NETD/10-crisp.conflist")" = "[[[{\"subnet\":\"$SUBNET.128/25\"}],[{\"subnet\":\"fd00:c:2::/64\"}]],[{\"dst\":\"0.0.0.0/0\"},{\"dst\":\"::/0\"}],\"is $SUBNET.128/25\"]" ]
  [ "$(podnet network)" = "rendered $NETD/10-crisp.conflist 1.0.0 bridge" ]
  podnet cidr "$SUBNET.64/26"
  make told
  [[ "$(podnet status told | jq -r .ip)" == "$SUBNET".* ]]
  podnet rm told
  ip link del "${BRIDGE}t"
  run_err 6 podnet cidr "10.0.0.0/33"
  run_err 6 podnet cidr "10.0.0.0/8,fd00::"
  run_err 0 podnet cidr ""
  echo '{ "cniVersion": "1.0.0", "name": "{{range .X}}", "plugins": [] }' >"$CRISP_TMP/template.json"
  run_err 6 podnet cidr 10.0.0.0/8
  [[ $stderr == *"network_template $CRISP_TMP/template.json: '{{range .X}}': unknown placeholder"* ]]
  jq -e .plugins "$NETD/10-crisp.conflist" >/dev/null
  rm "$ROOT/podcidr.json"
}
