#!/usr/bin/env bats
# podnet on the real plugins: every kind of interface and address, and traffic that really goes there.
# shellcheck disable=SC2016

setup_file() {
  load ../lib/helpers
  crisp_file_setup
  # A host of its own, which the pods' host reaches through a cable.
  N=${SUBNET##*.} FAR=crisp-far-${SUBNET##*.}
  export N FAR
  ip netns add "$FAR"
  ip link add "crv$N" type veth peer name eth0 netns "$FAR"
  ip addr add "10.214.$N.1/24" dev "crv$N"
  ip -6 addr add "fd00:214:$N::1/64" dev "crv$N" nodad
  ip link set "crv$N" up
  ip -n "$FAR" addr add "10.214.$N.2/24" dev eth0
  ip -n "$FAR" -6 addr add "fd00:214:$N::2/64" dev eth0 nodad
  ip -n "$FAR" link set eth0 up
  ip -n "$FAR" link set lo up
  ip -n "$FAR" route add default via "10.214.$N.1"
  ip -n "$FAR" -6 route add default via "fd00:214:$N::1"
}
teardown_file() {
  load ../lib/helpers
  ip netns del "$FAR"
  ip link del "crd$N" 2>/dev/null || true
  for l in cr{a,b,c,e,f,g,h,i,j}"$N"; do ip link del "$l" 2>/dev/null || true; done
  crisp_file_teardown
}
setup() {
  load ../lib/helpers
  load ../lib/podnet
  requires root netns
  SERVERS=()
}
teardown() {
  for pid in "${SERVERS[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
  podnet_teardown
}

# net NAME PLUGIN-JSON...: these as the only network, host-local in a directory of this file's
net() {
  local name=$1
  shift
  other_net "$name"
  printf '%s\n' "$@" | jq -s --arg n "$name-$N" '{ cniVersion: "1.0.0", name: $n, plugins: . }' >"$NETD/1.conflist"
}

# ipam RANGE...: host-local with a default route for each family
ipam() {
  printf '%s\n' "$@" | jq -R . | jq -sc --arg d "$CRISP_TMP/ipam" '{ type: "host-local", dataDir: $d, ranges: map([{ subnet: . }]),
    routes: map({ dst: (if contains(":") then "::/0" else "0.0.0.0/0" end) }) }'
}

bridge() { # NAME RANGE...
  local name=$1
  shift
  jq -nc --arg b "$name" --argjson i "$(ipam "$@")" '{ type: "bridge", bridge: $b, isGateway: true, hairpinMode: true, ipam: $i }'
}

PORTMAP='{ "type": "portmap", "capabilities": { "portMappings": true } }'

# serve POD KIND PORT: an echo server in a pod
serve() {
  local out=$CRISP_TMP/serve.$1.$2
  rm -f "$out"
  ip netns exec "crisp-$1" /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/net_echo.py" serve "$2" "$3" >"$out" 2>&1 3>&- &
  SERVERS+=($!)
  wait_for 5 grep -q ready "$out"
}
ask() { /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/net_echo.py" ask "$@"; }
far() { ip netns exec "$FAR" /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/net_echo.py" ask "$@"; }
from_pod() { # POD ask-arguments
  local pod=$1
  shift
  podnet exec "$pod" -- /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/net_echo.py" ask "$@"
}
ip_of() { podnet status "$1" | jq -r "${2:-.ip}"; }

@test "bridge: pod to pod, pod to host, host to pod, pod to another host and back" {
  a=$(make a) b=$(make b)
  serve "$a" tcp 80
  run -0 from_pod b tcp "$(ip_of a)" 80 hello
  [ "$output" = "hello from $(ip_of b)" ]
  run -0 ask tcp "$(ip_of a)" 80 host
  [ "$output" = "host from $SUBNET.1" ]
  run -0 far tcp "$(ip_of a)" 80 far
  [ "$output" = "far from 10.214.$N.2" ]
  podnet exec b -- busybox ping -c1 -W2 "$SUBNET.1"
  podnet exec b -- busybox ping -c1 -W2 "10.214.$N.2"
  podnet rm a
  run ! from_pod b tcp "$SUBNET.2" 80 gone
}

@test "host ports over TCP and UDP: from another host, from this one, from a pod; on one address only when one is named" {
  net hairpin "$(bridge "crg$N" "10.222.$N.0/24")" "$PORTMAP"
  port=$(free_port)
  id=$(make ports ".port_mappings = [{ container_port: 80, host_port: $port }, { container_port: 53, host_port: $port, protocol: \"UDP\" },
    { container_port: 80, host_port: $((port + 1)), host_ip: \"10.214.$N.1\" }]")
  b=$(make client)
  serve "$id" tcp 80
  serve "$id" udp 53
  [ "$(far tcp "10.214.$N.1" "$port" x)" = "x from 10.214.$N.2" ]
  [ "$(far udp "10.214.$N.1" "$port" x)" = "x from 10.214.$N.2" ]
  [[ "$(ask tcp 127.0.0.1 "$port" x)" == "x from "* ]]
  # portmap masquerades what comes from the pod's own subnet.
  [ "$(from_pod client tcp "10.214.$N.1" "$port" x)" = "x from 10.222.$N.1" ]
  [ "$(from_pod client udp "10.214.$N.1" "$port" x)" = "x from 10.222.$N.1" ]
  # The pod reaches itself by its host port.
  [[ "$(from_pod ports tcp "10.214.$N.1" "$port" x)" == "x from "* ]]
  [ "$(far tcp "10.214.$N.1" "$((port + 1))" x)" = "x from 10.214.$N.2" ]
  run ! ask tcp 127.0.0.1 "$((port + 1))" x
  run ! ask tcp "10.222.$N.1" "$((port + 1))" x
  podnet stop ports
  run ! far tcp "10.214.$N.1" "$port" x
  podnet rm ports
  nothing_left "$id"
}

@test "a host port over SCTP is mapped" {
  id=$(make sctp '.port_mappings = [{ container_port: 7, host_port: 7007, protocol: "SCTP" }]')
  iptables-save -t nat 2>/dev/null | grep -E -- '-p sctp .*--dport 7007 .*DNAT --to-destination '"$(ip_of sctp)"':7'
  [[ "$(podnet ports)" == *"sctp  *:7007 "*"$(ip_of sctp):7 "* ]]
  podnet rm sctp
  nothing_left "$id"
  run ! grep -e '--dport 7007' <(iptables-save -t nat 2>/dev/null)
}

# The bridge's own IPv6 address answers once the kernel knows that no other host has it.
settled() { [ -z "$(ip -6 addr show dev "$1" tentative)" ]; }

@test "dual stack: both addresses are told, both carry traffic and host ports" {
  [ -e /proc/sys/net/ipv6 ] || skip "needs IPv6"
  net dual "$(bridge "cra$N" "10.215.$N.0/24" "fd00:215:$N::/64")" "$PORTMAP"
  port=$(free_port)
  id=$(make dual ".port_mappings = [{ container_port: 80, host_port: $port }]")
  make other
  wait_for 5 settled "cra$N"
  [[ "$(ip_of dual)" == 10.215.$N.* ]]
  six=$(ip_of dual '.additional_ips[0]')
  [[ $six == fd00:215:$N::* ]]
  serve "$id" tcp 80
  [ "$(from_pod other tcp "$(ip_of dual)" 80 x)" = "x from $(ip_of other)" ]
  [ "$(from_pod other tcp "$six" 80 x)" = "x from $(ip_of other '.additional_ips[0]')" ]
  [ "$(far tcp "10.214.$N.1" "$port" x)" = "x from 10.214.$N.2" ]
  [ "$(far tcp "fd00:214:$N::1" "$port" x)" = "x from fd00:214:$N::2" ]
  podnet rm dual
  nothing_left "$id"
}

@test "IPv6 only: the first address is the IPv6 one" {
  [ -e /proc/sys/net/ipv6 ] || skip "needs IPv6"
  net six "$(bridge "crb$N" "fd00:216:$N::/64")"
  id=$(make six)
  make peer
  wait_for 5 settled "crb$N"
  [[ "$(ip_of six)" == fd00:216:$N::* ]]
  [ "$(ip_of six '.additional_ips | length')" = 0 ]
  serve "$id" udp 53
  [ "$(from_pod peer udp "$(ip_of six)" 53 x)" = "x from $(ip_of peer)" ]
  [ "$(far udp "$(ip_of six)" 53 x)" = "x from fd00:214:$N::2" ]
  podnet check six
  podnet rm six
  nothing_left "$id"
}

@test "ptp: a cable of its own for each pod, traffic through the host" {
  net ptp "$(jq -nc --argjson i "$(ipam "10.217.$N.0/24")" '{ type: "ptp", ipMasq: true, ipam: $i }')"
  a=$(make a) b=$(make b)
  serve "$a" tcp 80
  [ "$(from_pod b tcp "$(ip_of a)" 80 x)" = "x from $(ip_of b)" ]
  [[ "$(ask tcp "$(ip_of a)" 80 x)" == "x from "* ]]
  # Masqueraded towards other hosts.
  podnet exec b -- busybox ping -c1 -W2 "10.214.$N.2"
  iptables-save -t nat 2>/dev/null | grep -qF "$b"
  podnet check b
  podnet rm a
  podnet rm b
  nothing_left "$a"
  nothing_left "$b"
}

@test "macvlan on a dummy: pods on the same wire see each other" {
  # A kernel without dummies has cables, of which nobody holds the other end.
  ip link add "crd$N" type dummy 2>/dev/null || ip link add "crd$N" type veth peer name "crdd$N"
  ip link set "crd$N" up
  [ ! -e "/sys/class/net/crdd$N" ] || ip link set "crdd$N" up
  net mac "$(jq -nc --arg m "crd$N" --argjson i "$(ipam "10.218.$N.0/24")" '{ type: "macvlan", master: $m, mode: "bridge", ipam: $i }')"
  a=$(make a) b=$(make b)
  serve "$a" udp 53
  [ "$(from_pod b udp "$(ip_of a)" 53 x)" = "x from $(ip_of b)" ]
  [[ "$(podnet exec a -- ip -d link show eth0)" == *"macvlan mode bridge"* ]]
  podnet check a
  podnet rm a
  podnet rm b
  nothing_left "$a"
}

@test "tuning, firewall and bandwidth in one chain: sysctl, MAC by annotation, rules, queues; all gone afterwards" {
  net chain "$(bridge "crc$N" "10.219.$N.0/24")" \
    '{ "type": "tuning", "capabilities": { "mac": true }, "sysctl": { "net.core.somaxconn": "321" } }' \
    '{ "type": "firewall", "backend": "iptables" }' '{ "type": "bandwidth", "capabilities": { "bandwidth": true } }'
  id=$(make chain '.annotations = { "crisp.network/mac": "02:11:22:33:44:55", "kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "20M" }')
  ip=$(ip_of chain)
  [ "$(podnet exec chain -- cat /proc/sys/net/core/somaxconn)" = 321 ]
  [ "$(podnet exec chain -- cat /sys/class/net/eth0/address)" = 02:11:22:33:44:55 ]
  iptables-save 2>/dev/null | grep -qF "$ip/32"
  veth=$(ip -o link show master "crc$N" | awk -F'[ @]+' '{ print $2 }')
  [[ "$(tc qdisc show dev "$veth")" == *"tbf"*"rate 10Mbit"* ]]
  ip -o link | grep -q 'bwp'
  podnet check chain
  podnet rm chain
  nothing_left "$id"
  run ! grep -F "$ip/32" <(iptables-save 2>/dev/null)
  run ! grep -F bwp <(ip -o link)
}

@test "ipRanges by the node's range, ips by annotation" {
  net ranges "$(jq -nc --arg b "cre$N" --arg d "$CRISP_TMP/ipam" '{ type: "bridge", bridge: $b, isGateway: true, capabilities: { ipRanges: true, ips: true }, ipam: { type: "host-local", dataDir: $d } }')"
  podnet cidr "10.220.$N.0/25"
  make in-range
  [[ "$(ip_of in-range)" == 10.220.$N.* ]]
  make fixed ".annotations = { \"crisp.network/ips\": \"10.220.$N.77\" }"
  [ "$(ip_of fixed)" = "10.220.$N.77" ]
  run_err 6 make bad '.annotations = { "crisp.network/ips": "10.0.0.1,x" }'
  run_err 6 make bad '.annotations = { "crisp.network/mac": "11:22" }'
  rm "$ROOT/podcidr.json"
}

@test "a list that offers several versions is used in the newest that all plugins have" {
  net versions "$(bridge "crf$N" "10.221.$N.0/24")"
  jq '.cniVersion = "1.1.0" | .cniVersions = ["0.4.0", "1.0.0", "1.1.0", "9.9.9"]' "$NETD/1.conflist" >"$NETD/2" && mv "$NETD/2" "$NETD/1.conflist"
  make versions
  [ "$(podnet inspect versions | jq -r '.attachments[0].config.cniVersion, .attachments[0].result.cniVersion' | paste -sd' ')" = "1.0.0 1.0.0" ]
  [ "$(jq -r 'keys[]' "$RUNROOT/cni-versions.json" | wc -l)" = 1 ]
  # What the plugin has said is asked once.
  strace -f -qq -o "$CRISP_TMP/trace" -e trace=execve podnet network
  run ! grep /bridge "$CRISP_TMP/trace"
  [[ "$(podnet network)" == "versions-$N $NETD/1.conflist 1.0.0 bridge" ]]
  podnet check versions
}

@test "twenty pods on one bridge at once: each has its own address, none is left" {
  for i in {1..20}; do make "many-$i" >"$CRISP_TMP/many.$i" 2>&1 3>&- & done
  wait
  [ "$(podnet ls --json | jq '[.[] | select(.state == "ready") | .ip] | unique | length')" = 20 ]
  for i in {1..20}; do podnet rm "many-$i" 3>&- & done
  wait
  for i in {1..20}; do nothing_left "$(cat "$CRISP_TMP/many.$i")"; done
  [ -z "$(ip -o link show master "$BRIDGE")" ]
}

@test "several networks: eth0, eth1 and a wire without addresses, each with traffic, check, debts and DEL of its own" {
  other_net multi
  port=$(free_port)
  cp "$CRISP_TMP/etc/net.d/10-test.conflist" "$NETD/10-default.conflist"
  # cniVersion 1.1.0 of a list whose plugin can only do 1.0.0 is settled for each network by itself.
  jq -n --argjson p "$(bridge "crh$N" "10.223.$N.0/24" | jq -c 'del(.ipam.routes)')" '{ cniVersion: "1.1.0", cniVersions: ["1.0.0", "1.1.0"], name: "storage", plugins: [$p] }' >"$NETD/20-storage.conflist"
  jq -n --arg b "cri$N" '{ cniVersion: "0.4.0", name: "wire", type: "bridge", bridge: $b }' >"$NETD/30-wire.conf"
  two() { pod_json "$1" | jq "${2:-.}" | podnet create --network "$NET_NAME" --network storage --network wire=data0 -; }
  a=$(two a ".port_mappings = [{ container_port: 80, host_port: $port }] | .annotations = { \"crisp.network/mac\": \"02:11:22:33:44:66\" }") b=$(two b)
  run -0 podnet status a
  second=$(jq -r '.networks[1].ips[0]' <<<"$output")
  [ "$(jq -c '[.network, (.networks | map([.name, .ifname, .stage])), .additional_ips, .networks[2].ips]' <<<"$output")" = \
    "[\"$NET_NAME\",[[\"$NET_NAME\",\"eth0\",\"attached\"],[\"storage\",\"eth1\",\"attached\"],[\"wire\",\"data0\",\"attached\"]],[],[]]" ]
  [[ "$(ip_of a) $second" == "$SUBNET".*" 10.223.$N."* ]]
  serve "$a" tcp 80
  [ "$(from_pod b tcp "$(ip_of a)" 80 x)" = "x from $(ip_of b)" ]
  [ "$(from_pod b tcp "$second" 80 x)" = "x from $(ip_of b '.networks[1].ips[0]')" ]
  # Host ports and the pod's MAC are the first network's.
  [ "$(far tcp "10.214.$N.1" "$port" x)" = "x from 10.214.$N.2" ]
  [ "$(iptables-save -t nat 2>/dev/null | grep -c -- "--dport $port .*DNAT")" = 1 ]
  podnet exec a -- busybox ifconfig data0 169.254.1.1 up
  podnet exec b -- busybox ifconfig data0 169.254.1.2 up
  [ "$(from_pod b tcp 169.254.1.1 80 x)" = "x from 169.254.1.2" ]
  run podnet check b
  [[ "$output" == *"ok   attachment: network 'storage': attached"*"ok   address: 10.223.$N."*" is on eth1"*"ok   CNI CHECK: bridge"*"ok   attachment: network 'wire': attached"* ]]
  ip -n "crisp-$b" addr flush dev eth1
  run -1 podnet check b
  [[ "$output" == *"bad  address: 10.223.$N."*" is not on eth1"* ]]
  run -0 podnet gc --dry-run
  [[ "$output" == *"keep lease $second of ${a:0:13}: its pod is ready"* ]]
  [[ "$(podnet rm --dry-run a)" == "detach network wire"$'\n'"detach network storage"$'\n'"detach network $NET_NAME"$'\n'* ]]
  # One network that cannot be given back does not keep the others; each owes for itself.
  jq '.plugin_dirs = ["/nowhere"]' "$CRISP_CONFIG" >"$CRISP_TMP/etc/no-plugins.json"
  CRISP_CONFIG=$CRISP_TMP/etc/no-plugins.json podnet rm a
  [ "$(podnet gc --dry-run --json | jq -r '[.[] | select(.kind == "debt") | .id] | unique | join(" ")')" = "$a" ]
  [ "$(jq -r .network.name "$ROOT/debts/$a.json" "$ROOT/debts/$a.1.json" "$ROOT/debts/$a.2.json" | paste -sd' ')" = "$NET_NAME storage wire" ]
  podnet gc
  nothing_left "$a"
  [ -z "$(ls "$ROOT/debts")" ]
  # A record that is damaged is made good by the others.
  echo nonsense >"$ROOT/pods/$b/network.1.json"
  podnet rm b
  nothing_left "$b"
  run_err 6 podnet create --network storage --network "$NET_NAME=eth0" - <<<"$(pod_json x)"
  [[ $stderr == *"interface eth0 is another network's"* ]]
  run_err 6 podnet create --network storage=e/h - <<<"$(pod_json x)"
  run_err 6 podnet create --network storage --network storage - <<<"$(pod_json x)"
  run_err 8 podnet create --network absent - <<<"$(pod_json x)"
  [[ $stderr == *"no network configuration named 'absent' in $NETD"* ]]
}

@test "a runtime handler says which networks its pods get; what fails in the second network undoes the first" {
  fake_net two broken
  cp "$CRISP_TMP/etc/net.d/10-test.conflist" "$NETD/10-default.conflist"
  jq -n --arg n "$NET_NAME" --arg p "$(command -v runc || command -v crun)" '{ path: $p, networks: [$n, "two=net7"] }' >"$CRISP_TMP/etc/handlers.d/wired.json"
  fake broken <<<'[ "$CNI_COMMAND" = ADD ] || exit 0; echo "{\"code\":9,\"msg\":\"no second\"}"; exit 1'
  id=$(new_id)
  run_err 1 podnet create --handler wired --id "$id" - <<<"$(pod_json wired)"
  [[ $stderr == *"network 'two': plugin 'broken' ADD: no second (code 9)"* ]]
  [ "$(sed 's/ ns=.*//' "$CRISP_TMP/calls" | paste -sd' ')" = "ADD broken DEL broken" ]
  nothing_left "$id"
  fake broken <<<'[ "$CNI_COMMAND" = ADD ] && echo "'"${OK_RESULT//\"/\\\"}"'"; echo "$CNI_COMMAND $CNI_IFNAME" >>'"$CRISP_TMP/ifnames"
  id=$(podnet create --handler wired - <<<"$(pod_json wired)")
  podnet rm wired
  [ "$(paste -sd' ' "$CRISP_TMP/ifnames")" = "ADD net7 DEL net7" ]
  nothing_left "$id"
  rm "$CRISP_TMP/etc/handlers.d/wired.json"
}

@test "gc --dry-run says of each rule why it stays or goes: nftables, iptables over it and of old, both families" {
  net ruled "$(bridge "crj$N" "10.224.$N.0/24" | jq -c '.ipMasq = true')" "$PORTMAP" '{ "type": "firewall", "backend": "iptables" }'
  port=$(free_port)
  id=$(make ruled ".port_mappings = [{ container_port: 80, host_port: $port }]") short=${id:0:13}
  ip=$(ip_of ruled)
  run -0 podnet gc --dry-run
  # Named by the pod's id, in a chain that only such a rule leads to, by its address.
  [[ "$output" == *"keep rule nft ip nat CNI-HOSTPORT-DNAT handle "*" of $short: its pod is ready"* ]]
  [ "$(grep -cE "^keep rule nft ip nat CNI-DN-[0-9a-f]+ handle [0-9]+ of $short: its pod is ready" <<<"$output")" -ge 2 ]
  [[ "$output" == *"keep rule nft ip filter CNI-FORWARD handle "*" of $short: its pod is ready"* ]]
  # All that iptables-save shows of the pod is there.
  [ "$(grep -c "^keep rule nft ip nat .* of $short" <<<"$output")" = "$(iptables-save -t nat 2>/dev/null | grep -c -e "$id" -e '^-A CNI-DN-.*--dport '"$port " -e "^-A CNI-DN.*-s $ip")" ]
  mv "$ROOT/pods/$id" "$CRISP_TMP/held"
  run -0 podnet gc --dry-run
  [[ "$output" == *"remove rule nft ip nat CNI-HOSTPORT-DNAT handle "*" of $short: its pod has no record"* ]]
  mv "$CRISP_TMP/held" "$ROOT/pods/$id"
  podnet rm ruled
  run -0 podnet gc --dry-run
  [[ "$output" != *"of $short"* ]]
  # Front ends and backends that this host's plugins do not use, in a network of their own.
  a=$(new_id) b=$(new_id)
  ip netns exec "$FAR" bash -e <<SETUP
    iptables-legacy -t nat -N CNI-X
    iptables-legacy -t nat -A PREROUTING -m comment --comment 'dnat name: "n" id: "$a"' -j CNI-X
    iptables-legacy -t nat -A CNI-X -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1:80
    ip6tables-legacy -N CNI-FORWARD
    ip6tables-legacy -A CNI-FORWARD -s fd00::7 -j ACCEPT
    nft add table ip6 cni_hostport
    nft add chain ip6 cni_hostport hostports
    nft add rule ip6 cni_hostport hostports tcp dport 8080 drop comment '"$b"'
    nft add table inet cni_plugins_masquerade
    nft add chain inet cni_plugins_masquerade masq_checks
    nft add rule inet cni_plugins_masquerade masq_checks ip saddr 10.0.0.3 accept comment '"0123456789abcdef-0123456789abcdef, net: a-long-name, if: eth0, id: ${a:0:40}"'
SETUP
  run -0 ip netns exec "$FAR" "$BUILD/bin/podnet" gc --dry-run
  for line in "iptables-legacy nat PREROUTING 1 of ${a:0:13}" "iptables-legacy nat CNI-X 1 of ${a:0:13}" "nft ip6 cni_hostport hostports handle 2 of ${b:0:13}" \
    "nft inet cni_plugins_masquerade masq_checks handle 2 of ${a:0:13}"; do
    grep -qxF "keep rule $line: no pod of this root has that id" <<<"$output" || { echo "missing: $line"; false; }
  done
  grep -qxF "keep rule ip6tables-legacy filter CNI-FORWARD 1: no pod of this root has fd00::7" <<<"$output"
  # What it calls a rule is what its program removes.
  ip netns exec "$FAR" iptables-legacy -t nat -D CNI-X 1
  ip netns exec "$FAR" nft delete rule ip6 cni_hostport hostports handle 2
  run -0 ip netns exec "$FAR" "$BUILD/bin/podnet" gc --dry-run
  [[ "$output" != *"CNI-X 1"* ]]
  [[ "$output" != *"hostports"* ]]
}
