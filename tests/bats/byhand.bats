#!/usr/bin/env bats
# The whole line with the five tools and no daemon, and that nothing of it stays behind.

load ../lib/helpers

setup_file() {
  crisp_file_setup
  crisp_registry
  make_image web
}
teardown_file() { crisp_file_teardown; }

# (crun fills the tmpfs that covers an unused v2 tree with plain directories: no groups)
groups() { find /sys/fs/cgroup -mindepth 2 -maxdepth 5 -type d -path "*$1*" -not -path '/sys/fs/cgroup/unified/*' 2>/dev/null; }

up() { # NAME RUNTIME PARENT: a pod with one container that serves a page
  jq --arg p "$3" '.linux.cgroup_parent = $p' <<<"$(pod_json "$1")" >"$CRISP_TMP/$1.json"
  pod=$(podnet create --handler "$2" "$CRISP_TMP/$1.json")
  ctr_json "$1" "$image" httpd -f -h / >"$CRISP_TMP/$1-ctr.json"
  ctr=$(ocibundle create "$pod" "$CRISP_TMP/$1-ctr.json")
  ctrrun create "$ctr"
  ctrrun start "$ctr"
  ip=$(podnet status "$pod" | jq -r .ip)
}

down() {
  ctrrun stop --timeout 0 "$ctr"
  ctrrun rm "$ctr"
  ocibundle rm "$ctr"
  podnet rm "$pod"
}

whole_line() { # RUNTIME
  image=$(ocipull "$REGISTRY/web:latest")
  [[ $image == sha256:* ]]
  up "line-$1" "$1" ""
  wait_for 10 curl -sf "http://$ip/etc/passwd"
  [ "$(ctrrun exec "$ctr" hostname)" = "line-$1" ]
  [ "$(ctrrun state "$ctr" | jq -r .state)" = running ]
  [ -n "$(groups "$pod")" ]
  down
  [ -z "$(groups "$pod")" ]
  [ -z "$(find "$ROOT"/pods "$ROOT"/containers "$RUNROOT"/pods "$RUNROOT"/containers -mindepth 1 -not -name ".*")" ]
  [ -z "$(ls "$ROOT/reserved")" ]
  [ -z "$(find "$CRISP_TMP/ipam/$NET_NAME" -name '[0-9]*')" ]
  ! ip netns | grep -q "$pod" || false
}

@test "image, pod, bundle, container, exec, network, and all of it gone: crun" {
  requires root crun
  whole_line crun
}

@test "the same on runc" {
  requires root runc
  whole_line runc
}

@test "a cgroup parent that was made for the pod goes with the last pod below it" {
  requires root crun
  image=$(ocipull "$REGISTRY/web:latest")
  local top=/crisp-byhand-$$
  up one crun "$top/one"
  local pod1=$pod ctr1=$ctr
  up two crun "$top/two"
  down
  [ -z "$(groups "$top/two")" ]
  [ -n "$(groups "$top/one")" ]
  pod=$pod1 ctr=$ctr1
  down
  [ -z "$(groups "$top")" ]
  [ -z "$(ls "$ROOT/cgroups")" ]
}

@test "a cgroup parent that another pod will use again stays until that is gone, too" {
  requires root crun
  image=$(ocipull "$REGISTRY/web:latest")
  local top=/crisp-shared-$$ other
  up first crun "$top"
  jq '.metadata.name = "other" | .linux.cgroup_parent = $p' --arg p "$top" <<<"$(pod_json other)" >"$CRISP_TMP/other.json"
  other=$(podnet create "$CRISP_TMP/other.json")
  ctrrun rm --force "$ctr"
  podnet rm "$other"
  ctrrun create "$ctr"
  [ -n "$(groups "$top")" ]
  down
  [ -z "$(groups "$top")" ]
}

@test "a cgroup parent that was there before stays, as the kubelet wants" {
  requires root crun cgroup1
  image=$(ocipull "$REGISTRY/web:latest")
  local top=/crisp-kept-$$
  mkdir "/sys/fs/cgroup/memory$top"
  up kept crun "$top"
  down
  [ -d "/sys/fs/cgroup/memory$top" ]
  groups "$top" | sort -r | xargs rmdir
}

@test "the journal's lines repeat the steps" {
  requires root crun
  image=$(ocipull "$REGISTRY/web:latest")
  up journal crun ""
  run cat "$ROOT/pods/$pod/journal"
  echo "$output"
  [[ $output == *"podnet create"*" hand exit=0 ms="* ]]
  [[ $output == *"ctrrun start $ctr # "*" hand exit=0 ms="* ]]
  # A line pasted into a shell runs: the creation again is a name clash that names the pod.
  local line
  line=$(grep 'podnet create' <<<"$output" | head -1)
  run bash -c "$line"
  [ "$status" = 4 ]
  [[ $output == *"$pod"* ]]
  down
}

@test "a container is not created in a pod that was stopped since its bundle was made" {
  requires root crun
  image=$(ocipull "$REGISTRY/web:latest")
  pod=$(pod_json stopped | podnet create --handler crun -)
  ctr=$(ctr_json c "$image" true | ocibundle create "$pod" -)
  podnet stop "$pod"
  run_err 5 ctrrun create "$ctr"
  [[ $stderr == *"pod $pod is not ready: stopped"* ]]
  ocibundle rm "$ctr"
  podnet rm "$pod"
}
