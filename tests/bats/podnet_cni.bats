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
  for l in cr{a,b,c,e,f,g}"$N"; do ip link del "$l" 2>/dev/null || true; done
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
  [ "$(podnet inspect versions | jq -r '.attachment.config.cniVersion, .attachment.result.cniVersion' | paste -sd' ')" = "1.0.0 1.0.0" ]
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
