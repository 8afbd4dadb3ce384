# shellcheck shell=bash
# What the bats files of podnet share; load it after helpers.bash.
fast_jq

# Remove the pods of a test, whatever became of them, and its fake plugins.
podnet_teardown() {
  local id
  for id in "$ROOT"/pods/*; do [ ! -d "$id" ] || podnet rm "${id##*/}"; done
  rm -rf "$CRISP_TMP/plugins" "$CRISP_TMP/containers"
  mkdir "$CRISP_TMP/plugins"
  return 0
}

# make NAME [JQ]: a pod from pod_json, changed by a jq filter; prints the id
make() { if [ -n "${2:-}" ]; then pod_json "$1" | jq "$2" | podnet create -; else pod_json "$1" | podnet create -; fi; }

new_id() { printf '%08x%08x%08x%08x%08x%08x%08x%08x' $SRANDOM $SRANDOM $SRANDOM $SRANDOM $SRANDOM $SRANDOM $SRANDOM $SRANDOM; }

# Nothing of the pods with these ids is anywhere, and no address is taken.
nothing_left() { # ID...
  local id any IFS='|'
  any=$*
  IFS=$' \t\n'
  for id; do
    [ ! -e "/run/netns/crisp-$id" ] || { echo "netns of $id is left"; return 1; }
    [ ! -e "$ROOT/pods/$id" ] && [ ! -e "$RUNROOT/pods/$id" ] || { echo "directories of $id are left"; return 1; }
  done
  ! pgrep -f "podinit ($any)" || { echo "podinit of $any is left"; return 1; }
  ! grep -E "$any" /proc/self/mountinfo || { echo "mounts of $any are left"; return 1; }
  ! find "$ROOT/reserved" -type l -printf '%l\n' | grep -E "$any" || { echo "claim of $any is left"; return 1; }
  ! grep -rE "$any" "$CRISP_TMP/ipam" || { echo "address of $any is left"; return 1; }
  ! iptables-save -t nat 2>/dev/null | grep -E "$any" || { echo "rules of $any are left"; return 1; }
}

# took MILLISECONDS-VARIABLE COMMAND...: how long the command takes
took() {
  local -n took_ms=$1
  local began=${EPOCHREALTIME/./}
  shift
  "$@"
  took_ms=$(((${EPOCHREALTIME/./} - began) / 1000))
}
# part OF-TEN MILLISECONDS: that many tenths of it, in seconds
part() { printf '%d.%04d' $(($1 * $2 / 10000)) $(($1 * $2 % 10000)); }

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

# simulate_reboot: what a reboot does to the pods of $ROOT: /run is emptied, namespaces and their interfaces are gone,
# the boot id is another
simulate_reboot() {
  local id s
  for s in "$ROOT"/pods/*/state.json; do
    id=$(basename "$(dirname "$s")")
    [ ! -e "$RUNROOT/pods/$id/init.json" ] || kill -9 "$(jq .pid "$RUNROOT/pods/$id/init.json")"
    umount -l "/run/netns/crisp-$id"
    rm -f "/run/netns/crisp-$id"
    jq -c '.boot_id = "00000000-0000-0000-0000-000000000000"' "$s" >"$CRISP_TMP/s" && cp "$CRISP_TMP/s" "$s"
  done
  awk -v p="$RUNROOT" 'index($5, p "/") == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r -n1 umount -l
  rm -rf "${RUNROOT:?}"/*
  # Veth cables go with the namespace at their other end, a moment later.
  wait_for 10 eval '[ -z "$(ip -o link show master "$BRIDGE" 2>/dev/null)" ]'
}
