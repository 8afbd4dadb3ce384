#!/usr/bin/env bats
# podnet killed just before each of its own system calls that change something. EVERY=1 sweeps all of them; by default
# the suite takes every fourth. What a kill leaves is cleaned up by the repetition and by rm, without gc.
# shellcheck disable=SC2016

setup_file() {
  load ../lib/helpers
  crisp_file_setup
  # The plugins' own work is not what is killed here: no port mappings, which take iptables half of the time.
  jq 'del(.plugins[1])' "$CRISP_TMP/etc/net.d/10-test.conflist" >"$CRISP_TMP/c"
  cp "$CRISP_TMP/c" "$CRISP_TMP/etc/net.d/10-test.conflist"
}
teardown_file() {
  load ../lib/helpers
  crisp_file_teardown
}
setup() {
  load ../lib/helpers
  load ../lib/podnet
  requires root netns strace
  EVERY=${EVERY:-4}
  # Where there are two runs to sweep, each takes half of as many.
  SPARSE=$([ "$EVERY" = 1 ] && echo 1 || echo $((EVERY * 2)))
}
teardown() { podnet_teardown; }

CALLS=mkdirat,mkdir,symlinkat,rename,renameat,renameat2,mount,umount2,unlink,unlinkat,unshare,setns,clone,clone3,vfork,socketpair,openat,write,fchmodat,sendto,pidfd_send_signal,kill,rmdir,ftruncate

# changes COMMAND...: "<call> <ordinal>" for each call of the run that changes something
changes() {
  strace -qq -o "$CRISP_TMP/trace" -e "trace=$CALLS" "$@" >/dev/null
  awk '{ call = $1; sub(/\(.*/, "", call); n[call]++ }
    call == "openat" && !/O_CREAT/ { next }
    call == "write" && /^write\([12],/ { next }
    { print call, n[call] }' "$CRISP_TMP/trace"
}
# Under strace a killed command has our status 137.
killed_at() { # CALL ORDINAL COMMAND...
  local call=$1 n=$2
  shift 2
  strace -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" "$@" >/dev/null 2>&1 3>&- || true
}
# points STEP OFFSET COMMAND...: the ones to try
points() {
  local step=$1 offset=$2
  shift 2
  changes "$@" | awk -v e="$step" -v o="$offset" '(NR + o) % e == 0'
}

no_claims() { [ -z "$(find "$ROOT/reserved" "$ROOT/hostports" -type l)" ]; }

# Whether the pod shares its processes decides who makes its namespaces: podnet itself, or a helper.
spec() { pod_json victim | jq --arg p "${1:-POD}" '.port_mappings = [{ container_port: 80, host_port: 8080 }] | .linux.security_context.namespace_options.pid = $p'; }

@test "kill -9 before each change of create: the repetition succeeds, and rm leaves nothing" {
  make settle && podnet rm settle
  for pid in POD CONTAINER; do
    spec $pid >"$CRISP_TMP/victim.json"
    points "$SPARSE" "$([ $pid = POD ] && echo 0 || echo $((SPARSE / 2)))" podnet create "$CRISP_TMP/victim.json" >"$CRISP_TMP/points"
    podnet rm victim
    [ "$(wc -l <"$CRISP_TMP/points")" -ge 5 ]
    while read -r call n <&4; do
      first=$(new_id) second=$(new_id)
      killed_at "$call" "$n" podnet create --id "$first" "$CRISP_TMP/victim.json"
      # What a killed one left under the first id is its successor's to remove: rm does not name it.
      podnet create --id "$second" "$CRISP_TMP/victim.json" >/dev/null 2>"$CRISP_TMP/err" ||
        grep -q "exists already: $first" "$CRISP_TMP/err" || { echo "$call $n: $(cat "$CRISP_TMP/err")"; false; }
      podnet rm victim
      nothing_left "$first" "$second" || { echo "$pid $call $n"; false; }
      no_claims || { echo "$pid $call $n"; false; }
    done 4<"$CRISP_TMP/points"
  done
  [ -z "$(ip -o link show master "$BRIDGE")" ]
}

@test "kill -9 before each change of stop and rm: the repetition leaves nothing" {
  spec >"$CRISP_TMP/victim.json"
  for verb in stop rm; do
    podnet create "$CRISP_TMP/victim.json"
    points "$EVERY" 0 podnet $verb victim >"$CRISP_TMP/points"
    podnet rm victim
    [ "$(wc -l <"$CRISP_TMP/points")" -ge 3 ]
    while read -r call n <&4; do
      id=$(podnet create "$CRISP_TMP/victim.json")
      killed_at "$call" "$n" podnet $verb victim
      podnet $verb "$id"
      podnet rm "$id"
      podnet gc >/dev/null
      nothing_left "$id" || { echo "$verb $call $n"; false; }
      no_claims || { echo "$verb $call $n"; false; }
    done 4<"$CRISP_TMP/points"
  done
  [ "$(podnet ls --json)" = "[]" ]
}

# What gc has to do: a pod that was being made, one of an earlier boot, a debt, a run directory without a record.
litter() {
  half=$(make half) old=$(make old) debtor=$(make debtor) lost=$(new_id)
  jq -c 'del(.complete) | .state = "creating"' "$ROOT/pods/$half/state.json" >"$CRISP_TMP/s" && cp "$CRISP_TMP/s" "$ROOT/pods/$half/state.json"
  jq -c '.boot_id = "00000000-0000-0000-0000-000000000000"' "$ROOT/pods/$old/state.json" >"$CRISP_TMP/s" && cp "$CRISP_TMP/s" "$ROOT/pods/$old/state.json"
  CRISP_CONFIG=$CRISP_TMP/etc/no-plugins.json podnet rm debtor 2>/dev/null
  [ -e "$ROOT/debts/$debtor.json" ]
  mkdir -p "$RUNROOT/pods/$lost/shm"
  ip netns add "crisp-$lost"
}

@test "kill -9 before each change of gc: the next gc finishes it" {
  # A plugin that leases and no more: what it does is not what is killed here.
  fake_net leasing lessor
  mkdir -p "$CRISP_TMP/ipam"
  fake lessor <<<'lease='"$CRISP_TMP/ipam"'/lease.$CNI_CONTAINERID; case $CNI_COMMAND in ADD) echo "$CNI_CONTAINERID" >"$lease"; echo '"'$OK_RESULT'"' ;; DEL) rm -f "$lease" ;; esac'
  jq '.plugin_dirs = ["/nowhere"]' "$CRISP_CONFIG" >"$CRISP_TMP/etc/no-plugins.json"
  litter
  points "$SPARSE" 0 podnet gc >"$CRISP_TMP/points"
  [ "$(wc -l <"$CRISP_TMP/points")" -ge 3 ]
  while read -r call n <&4; do
    podnet rm old
    litter
    killed_at "$call" "$n" podnet gc
    podnet gc >/dev/null
    [ "$(podnet status "$old" | jq -r .reason)" = "the host was rebooted" ]
    [ -z "$(ls "$ROOT/debts")" ]
    podnet rm old
    nothing_left "$half" "$old" "$debtor" "$lost" || { echo "gc $call $n"; false; }
    no_claims || { echo "gc $call $n"; false; }
  done 4<"$CRISP_TMP/points"
}
