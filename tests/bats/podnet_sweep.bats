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
# points COMMAND...: the ones to try
points() { changes "$@" | awk -v e="$EVERY" 'NR % e == 0'; }

no_claims() { [ -z "$(find "$ROOT/reserved" "$ROOT/hostports" -type l)" ]; }

spec() { pod_json victim | jq '.port_mappings = [{ container_port: 80, host_port: 8080 }] | .linux.security_context.namespace_options.pid = "POD"'; }

@test "kill -9 before each change of create: the repetition succeeds, and rm leaves nothing" {
  spec >"$CRISP_TMP/victim.json"
  make settle && podnet rm settle
  points podnet create "$CRISP_TMP/victim.json" >"$CRISP_TMP/points"
  podnet rm victim
  [ "$(wc -l <"$CRISP_TMP/points")" -ge 10 ]
  while read -r call n <&4; do
    first=$(new_id) second=$(new_id)
    killed_at "$call" "$n" podnet create --id "$first" "$CRISP_TMP/victim.json"
    if podnet create --id "$second" "$CRISP_TMP/victim.json" >/dev/null 2>"$CRISP_TMP/err"; then
      nothing_left "$first"
    else
      grep -q "exists already: $first" "$CRISP_TMP/err" || { echo "$call $n: $(cat "$CRISP_TMP/err")"; false; }
    fi
    podnet rm victim
    nothing_left "$first"
    nothing_left "$second"
    no_claims || { echo "$call $n"; false; }
  done 4<"$CRISP_TMP/points"
  [ -z "$(ip -o link show master "$BRIDGE")" ]
}

@test "kill -9 before each change of stop and rm: the repetition leaves nothing" {
  spec >"$CRISP_TMP/victim.json"
  for verb in stop rm; do
    podnet create "$CRISP_TMP/victim.json"
    points podnet $verb victim >"$CRISP_TMP/points"
    podnet rm victim
    [ "$(wc -l <"$CRISP_TMP/points")" -ge 3 ]
    while read -r call n <&4; do
      id=$(podnet create "$CRISP_TMP/victim.json")
      killed_at "$call" "$n" podnet $verb victim
      podnet $verb "$id"
      podnet rm "$id"
      podnet gc >/dev/null
      nothing_left "$id"
      no_claims || { echo "$verb $call $n"; false; }
    done 4<"$CRISP_TMP/points"
  done
  [ "$(podnet ls --json)" = "[]" ]
}
