#!/usr/bin/env bats
# podnet and what plugins should never do. Fakes, written for the test: real ones do not.
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
  echo '{ "cniVersion": "0.3.1", "name": "single", "type": "solo", "capabilities": { "portMappings": true, "dns": true, "bandwidth": true, "aliases": true, "cgroupPath": true } }' >"$NETD/5.conf"
  echo '{ "cniVersion": "0.3.1", "name": "later", "type": "absent" }' >"$NETD/9.conf"
  make solo '.port_mappings = [{ container_port: 80, host_port: 8080, host_ip: "127.0.0.1", protocol: "UDP" }, { container_port: 81 }]
    | .dns_config.servers = ["10.0.0.1"] | .annotations = { "kubernetes.io/ingress-bandwidth": "1500k", "crisp.network/aliases": "web,web.example" }'
  [ "$(podnet status solo | jq -c '[.ip, .additional_ips]')" = '["10.1.1.1",["fd00::5"]]' ]
  [ "$(sed -n 1p "$CRISP_TMP/solo.conf" | command jq -Sc .runtimeConfig)" = '{"aliases":["web","web.example"],"bandwidth":{"ingressBurst":2147483647,"ingressRate":1500000},"cgroupPath":"/crisp-test/solo","dns":{"options":[],"searches":[],"servers":["10.0.0.1"]},"portMappings":[{"containerPort":80,"hostIP":"127.0.0.1","hostPort":8080,"protocol":"udp"}]}' ]
  podnet rm solo
  [ "$(sed -n 2p "$CRISP_TMP/solo.conf" | jq 'has("prevResult")')" = false ]
  run_err 6 make band '.annotations = { "crisp.network/aliases": "web,,x" }'
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
  [[ $stderr == *"$2"* ]]
  [ "$(podnet ls --json)" = "[]" ]
  nothing_left "$id"
  [ ! -e "$ROOT/debts/$id.json" ]
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
  plugin_fails 1 "plugin 'second' ADD: result: more than 1048575 bytes"
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
  [ $((SECONDS - start)) -lt 29 ]
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
  [ ! -e "/run/netns/crisp-$id" ]
  [ ! -e "$ROOT/pods/$id" ]
  rm "$CRISP_TMP/plugins/payer"
  run -0 podnet gc
  [[ $output == "keep debt $id: "*"not found in"* ]]
  fake payer <<<'exit 0'
  run -0 podnet gc --dry-run
  [[ $output == "pay debt $id: "* ]]
  [ -e "$ROOT/debts/$id.json" ]
  : >"$CRISP_TMP/calls"
  run -0 podnet gc
  [[ $output == "paid debt $id: "* ]]
  [ ! -e "$ROOT/debts/$id.json" ]
  [ "$(cat "$CRISP_TMP/calls")" = "DEL payer ns=[]" ]
}

@test "a plugin that hangs at stop is killed and becomes a debt" {
  CLOCK=2 fake_net stuck sticky
  fake sticky <<<'[ "$CNI_COMMAND" = ADD ] && { echo '"'$OK_RESULT'"'; exit 0; }; sleep 987654'
  id=$(make stuck)
  start=$SECONDS
  podnet rm stuck
  [ $((SECONDS - start)) -lt 29 ]
  [ ! -e "$ROOT/pods/$id" ]
  [ ! -e "/run/netns/crisp-$id" ]
  [[ $(jq -r .error "$ROOT/debts/$id.json") == *"no exit within 2000 ms"* ]]
  rm -r "$ROOT/debts"
}

@test "the retry after kill -9 waits for a plugin that is still at work" {
  fake_net late worker
  # The plugin itself dies with podnet: what it has started by then is what is at work.
  fake worker <<<'if [ "$CNI_COMMAND" = ADD ] && [ ! -e '"$CRISP_TMP/once"' ]; then (touch '"$CRISP_TMP/once"'; sleep 1; echo "late ADD" >>'"$CRISP_TMP/calls"') & wait; fi
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
  [ $status = 11 ]
  [ ! -s "$CRISP_TMP/out" ]
  nothing_left "$id"
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

@test "STATUS, CHECK and GC of CNI 1.1, with what each needs, and not where a configuration says no" {
  fake_net modern one two
  jq '.cniVersion = "1.1.0"' "$NETD/1.conflist" >"$CRISP_TMP/c" && cp "$CRISP_TMP/c" "$NETD/1.conflist"
  fake one <<<'[ "$CNI_COMMAND" = ADD ] && echo '"'${OK_RESULT/1.0.0/1.1.0}'"'; [ "$CNI_COMMAND" != GC ] || echo "$conf" >'"$CRISP_TMP/gc.conf; [ \$CNI_COMMAND != STATUS ] || { set | grep ^CNI_ >$CRISP_TMP/status.env; }; [ \$CNI_COMMAND != CHECK ] || echo \"\$conf\" >$CRISP_TMP/check.conf"
  fake two <<<'[ "$CNI_COMMAND" = ADD ] && jq -c .prevResult <<<"$conf"; [ "$CNI_COMMAND" != STATUS ] || [ ! -e '"$CRISP_TMP/sick"' ] || { echo "{\"code\":50,\"msg\":\"no daemon\"}"; exit 1; }'
  podnet network
  [ "$(sed 's/ ns=.*//' "$CRISP_TMP/calls" | paste -sd' ')" = "STATUS one STATUS two" ]
  [ "$(sed 's/=.*//' "$CRISP_TMP/status.env" | paste -sd' ')" = "CNI_COMMAND CNI_PATH" ]
  touch "$CRISP_TMP/sick"
  run_err 8 podnet network
  [[ $stderr == *"network 'modern': plugin 'two' STATUS: no daemon (code 50)"* ]]
  rm "$CRISP_TMP/sick"
  id=$(make modern)
  podnet check modern || true
  [ "$(jq -r '.prevResult.ips[0].address' "$CRISP_TMP/check.conf")" = 10.99.0.7/24 ]
  run -0 podnet gc
  [[ $output == *"cleaned network modern: CNI GC: "*" valid"* ]]
  jq -e --arg id "$id" '."cni.dev/valid-attachments" | index({ containerID: $id, ifname: "eth0" }) != null' "$CRISP_TMP/gc.conf"
  podnet rm modern
  rm "$CRISP_TMP/gc.conf"
  podnet gc
  jq -e --arg id "$id" '."cni.dev/valid-attachments" | map(.containerID) | index($id) == null' "$CRISP_TMP/gc.conf"
  rm "$CRISP_TMP/gc.conf"
  podnet gc --dry-run
  jq '.disableGC = true | .disableCheck = true' "$NETD/1.conflist" >"$CRISP_TMP/c" && cp "$CRISP_TMP/c" "$NETD/1.conflist"
  podnet gc
  [ ! -e "$CRISP_TMP/gc.conf" ]
  make unchecked
  run podnet check unchecked
  [[ $output == *"skip CNI CHECK: its configuration says disableCheck"* ]]
}

@test "results are handed on in the network's version, whatever a plugin answers in" {
  fake_net convert one two
  jq '.cniVersion = "0.4.0"' "$NETD/1.conflist" >"$CRISP_TMP/c" && cp "$CRISP_TMP/c" "$NETD/1.conflist"
  fake one <<<'[ "$CNI_COMMAND" = ADD ] && echo '"'$OK_RESULT'"
  fake two <<<'[ "$CNI_COMMAND" = ADD ] && jq -c .prevResult <<<"$conf" && echo "$conf" >'"$CRISP_TMP/two.conf"
  make convert
  [ "$(jq -c '.prevResult | [.cniVersion, .ips[0].version]' "$CRISP_TMP/two.conf")" = '["0.4.0","4"]' ]
}

@test "more hostile plugins: a hundred megabytes, a child that keeps the pipe, no address, killed half-way" {
  CLOCK=20 fake_net worse bad
  add='[ "$CNI_COMMAND" = DEL ] && exit 0'
  fake bad <<<"$add"'; head -c 104857600 /dev/zero | tr "\0" " "; echo "{}"'
  plugin_fails 1 "result: more than 1048575 bytes"
  fake bad <<<"$add"'; head -c 104857600 /dev/zero | tr "\0" "x" >&2; exit 1'
  plugin_fails 1 "plugin 'bad' ADD: x"
  # The child holds stdout and stderr; what came before its parent ended is the answer.
  fake bad <<<"$add"'; sleep 600 & echo $! >'"$CRISP_TMP/child; echo '$OK_RESULT'"
  start=$SECONDS
  id=$(make holder)
  [ $((SECONDS - start)) -lt 10 ]
  podnet rm holder
  nothing_left "$id"
  kill "$(cat "$CRISP_TMP/child")"
  fake bad <<<"$add"'; echo "{\"cniVersion\":\"1.0.0\",\"interfaces\":[],\"ips\":[]}"'
  plugin_fails 1 "network 'worse': its plugins gave eth0 no address"
  fake bad <<<"$add"'; printf "{\"ips\":["; kill -KILL $$'
  plugin_fails 1 "killed by signal 9"
}

@test "a configuration that is replaced in mid-ADD: DEL is done by the one that ADD began with" {
  fake_net before one
  jq '.plugins[0].marker = "old"' "$NETD/1.conflist" >"$CRISP_TMP/c" && cp "$CRISP_TMP/c" "$NETD/1.conflist"
  fake one <<<'jq -r "\"$CNI_COMMAND \" + .marker" <<<"$conf" >>'"$CRISP_TMP/markers"'; [ "$CNI_COMMAND" = DEL ] || { sed -i s/old/new/ '"$NETD/1.conflist; echo '$OK_RESULT'; }"
  make swapped
  podnet rm swapped
  [ "$(paste -sd' ' "$CRISP_TMP/markers")" = "ADD old DEL old" ]
  grep -q new "$NETD/1.conflist"
}

@test "configurations missing, empty, malformed, a name too long, a directory of that name" {
  other_net broken
  run_err 8 make broken
  : >"$NETD/1.conflist"
  run_err 8 make broken
  [[ $stderr == *"network configuration: "*1.conflist* ]]
  jq -n '{ cniVersion: "1.0.0", name: ("n" * 129), plugins: [{ type: "x" }] }' >"$NETD/1.conflist"
  run_err 8 make broken
  [[ $stderr == *"is no network name"* ]]
  jq -n '{ cniVersion: "1.0.0", name: "n", plugins: [range(33) | { type: "x" }] }' >"$NETD/1.conflist"
  run_err 8 make broken
  [[ $stderr == *"more than 32"* ]]
  rm "$NETD/1.conflist" && mkdir "$NETD/1.conflist"
  run_err 8 make broken
  run_err 6 make x '.metadata.name = ("n" * 254)'
  run_err 6 make x '.hostname = ("h" * 65)'
  [ "$(podnet ls --json)" = "[]" ]
}

@test "a host port whose owner owes its detachment is refused until the debt can be paid" {
  fake_net owing payer
  fake payer <<<'[ "$CNI_COMMAND" = ADD ] && { echo '"'$OK_RESULT'"'; exit 0; }; [ ! -e '"$CRISP_TMP/broke"' ] || exit 1'
  touch "$CRISP_TMP/broke"
  id=$(make owing '.port_mappings = [{ container_port: 80, host_port: 8080 }]')
  podnet rm owing
  run_err 4 make next '.port_mappings = [{ container_port: 80, host_port: 8080 }]'
  [[ $stderr == *"host port 8080/tcp is taken by pod $id, whose detachment is a debt"* ]]
  [[ "$(podnet ports)" == *"8080"*"its detachment is a debt"* ]]
  rm "$CRISP_TMP/broke"
  make next '.port_mappings = [{ container_port: 80, host_port: 8080 }]'
  [ ! -e "$ROOT/debts/$id.json" ]
}
