#!/usr/bin/env bats
# ocibundle: what is refused, what config.json says.
# shellcheck disable=SC2016

setup_file() {
  load ../lib/helpers
  load ../lib/ctrs
  ctrs_setup_file
}
teardown_file() {
  load ../lib/helpers
  load ../lib/ctrs
  ctrs_teardown_file
}
setup() {
  load ../lib/helpers
  load ../lib/ctrs
}
teardown() { ctrs_teardown; }

@test "create prints an id; bundle, records and mount are there; rm takes them" {
  run --separate-stderr ocibundle create "$POD" - <<<"$(ctr '.log_path = "c/0.log" | .tty = true | .stdin = true')"
  [ "$status" = 0 ]
  [ -z "$stderr" ]
  [[ $output =~ ^[0-9a-f]{64}$ ]]
  local id=$output
  grep -F " $RUNROOT/containers/$id/bundle/rootfs " /proc/self/mountinfo | grep -q 'overlay'
  [ "$(ocibundle show "$id")" = "$(cat "$RUNROOT/containers/$id/bundle/config.json")" ]
  jq -e --arg id "$id" --arg pod "$POD" --arg tmp "$CRISP_TMP" '.version == 1 and .id == $id and .pod_id == $pod
    and .state == "prepared" and .complete and .image == "base" and (.image_id | startswith("sha256:")) and .tty and .stdin_open
    and .log_path == $tmp + "/logs/obpod/c/0.log" and (.runtime | startswith("/")) and (.runtime_root | startswith("/"))
    and .origin == "hand" and (.boot_id | length) == 36 and .created_at > 0 and .cgroup_path == env.CGROUP + "/" + $id' \
    "$ROOT/containers/$id/state.json"
  [ "$(jq -r .metadata.name "$ROOT/containers/$id/container.json")" = c ]
  [ "$(stat -c %a "$ROOT/containers/$id/state.json" "$RUNROOT/containers/$id/bundle/config.json" | sort -u)" = 600 ]
  [ "$(ocibundle rm --dry-run "$id" | grep -c "$id")" = 3 ]
  [ -e "$RUNROOT/containers/$id/bundle/rootfs/bin" ]
  run ocibundle rm "$id"
  [ "$status" = 0 ]
  [ -z "$output" ]
  [ ! -e "$ROOT/containers/$id" ]
  [ ! -e "$RUNROOT/containers/$id" ]
}

@test "--id and --origin are honoured and checked" {
  local id
  id=$(printf x | sha256sum | cut -c1-64)
  [ "$(ctr | ocibundle create --id "$id" --origin cri "$POD" -)" = "$id" ]
  [ "$(jq -r .origin "$ROOT/containers/$id/state.json")" = cri ]
  ctr '.metadata.name = "d"' >"$CRISP_TMP/d.json"
  run_err 4 ocibundle create --id "$id" "$POD" "$CRISP_TMP/d.json"
  run_err 6 ocibundle create --id nothex "$POD" "$CRISP_TMP/d.json"
  run_err 2 ocibundle create --origin me "$POD" "$CRISP_TMP/d.json"
}

@test "--dry-run makes nothing, and equal inputs give equal bytes" {
  local before a b
  before=$(find "$ROOT" "$RUNROOT" | sort)
  a=$(dry '.mounts = [{ host_path: "/tmp", container_path: "/x" }] | .image.image = "base"')
  b=$(dry '.mounts = [{ host_path: "/tmp", container_path: "/x" }] | .image.image = "base"')
  [ "$a" = "$b" ]
  [ "$(jq -r .ociVersion <<<"$a")" = 1.0.2 ]
  [ "$(find "$ROOT" "$RUNROOT" | sort)" = "$before" ]
  run -1 grep -F "$RUNROOT/containers/" /proc/self/mountinfo
}

@test "the same name twice: exit 4 with the first one's id; another attempt is another container" {
  local id
  id=$(ctr | ocibundle create "$POD" -)
  ctr >"$CRISP_TMP/again.json"
  run_err 4 ocibundle create "$POD" "$CRISP_TMP/again.json"
  [[ $stderr == *"$id"* ]]
  [ "$(ctr '.metadata.attempt = 1' | ocibundle create "$POD" -)" != "$id" ]
}

@test "of many equal creations at once one wins, the others say so" {
  local i id
  ctr >"$CRISP_TMP/race.json"
  for i in 1 2 3 4 5 6 7 8; do
    {
      rc=0
      ocibundle create "$POD" "$CRISP_TMP/race.json" >"$CRISP_TMP/race.$i" 2>/dev/null || rc=$?
      echo $rc >"$CRISP_TMP/rc.$i"
    } 3>&- &
  done
  wait
  cat "$CRISP_TMP"/rc.*
  [ "$(cat "$CRISP_TMP"/rc.* | sort | uniq -c | awk '{print $1 "x" $2}' | tr '\n' ' ')" = "1x0 7x4 " ]
  id=$(cat "$CRISP_TMP"/race.[1-8])
  [ "$(ls "$ROOT/containers")" = "$id" ]
}

# kill_at CALL N COMMAND...: COMMAND, killed at its Nth system call of that name; false when it was
kill_at() {
  local call=$1 n=$2
  shift 2
  ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" "$@" 2>/dev/null 3>&-
}

@test "create killed at each system call that changes something: the retry succeeds, nothing of the first is left" {
  requires strace
  local call n id killed=0
  store_image vol '{"Cmd":["/bin/sh"],"Volumes":{"/data":{}}}' >/dev/null
  ctr '.image.image = "vol"' >"$CRISP_TMP/kill.json"
  for call in mkdirat symlinkat renameat renameat2 fcntl fsopen fsconfig fsmount move_mount fchmodat copy_file_range write openat; do
    for n in 1 2 3 4 6 9 14 22; do
      if kill_at $call $n ocibundle create "$POD" "$CRISP_TMP/kill.json" >"$CRISP_TMP/whole"; then
        ocibundle rm "$(cat "$CRISP_TMP/whole")"
        break # there are fewer than n of them
      fi
      killed=$((killed + 1))
      id=$(ocibundle create "$POD" "$CRISP_TMP/kill.json" 2>"$CRISP_TMP/kill.err") ||
        id=$(sed -n 's/.*exists: \([0-9a-f]\{64\}\)$/\1/p' "$CRISP_TMP/kill.err")
      [ "$(find "$ROOT/containers" -mindepth 1 -maxdepth 1 -name '[0-9a-f]*')" = "$ROOT/containers/$id" ]
      jq -e .complete "$ROOT/containers/$id/state.json" >/dev/null
      [ "$(cat "$ROOT/containers/$id/volumes/0/sub/file")" = content ]
      [ "$(grep -cF " $RUNROOT/containers/" /proc/self/mountinfo)" = 1 ]
      ocibundle rm "$id"
      [ -z "$(ls "$RUNROOT/containers")" ]
    done
  done
  echo "killed $killed"
  [ "$killed" -gt 40 ]
}

@test "rm killed at each system call that changes something: the next one finishes" {
  requires strace
  local call n id killed=0
  for call in unlinkat umount2 openat fcntl readlinkat; do
    for n in 1 2 3 4 6 9 14; do
      id=$(ctr | ocibundle create "$POD" -)
      if kill_at $call $n ocibundle rm "$id"; then break; fi
      killed=$((killed + 1))
      ocibundle rm "$id"
      [ ! -e "$ROOT/containers/$id" ]
      [ ! -e "$RUNROOT/containers/$id" ]
      [ -z "$(find "$ROOT/reserved" -lname "$id")" ]
      run -1 grep -F "$id" /proc/self/mountinfo
    done
  done
  echo "killed $killed"
  [ "$killed" -gt 15 ]
}

@test "rm: unknown is success, damaged and half-made containers go, a running one is refused" {
  local id
  run ocibundle rm nosuch
  [ "$status" = 0 ]
  [ -z "$output" ]
  run ocibundle rm "$(printf y | sha256sum | cut -c1-64)"
  [ "$status" = 0 ]
  id=$(ctr | ocibundle create "$POD" -)
  echo '{ not json' >"$ROOT/containers/$id/state.json"
  ocibundle rm "$id"
  [ ! -e "$ROOT/containers/$id" ]
  id=$(ctr | ocibundle create "$POD" -)
  rm "$ROOT/containers/$id/state.json" "$RUNROOT/containers/$id/bundle/config.json"
  ocibundle rm "$id"
  id=$(ctr | ocibundle create "$POD" -)
  jq -c '.state = "running"' "$ROOT/containers/$id/state.json" >"$CRISP_TMP/s" && cp "$CRISP_TMP/s" "$ROOT/containers/$id/state.json"
  python3 - "$RUNROOT/containers/$id/monitor.lock" "$BATS_TEST_TMPDIR/held" <<'PY' 3>&- &
import fcntl, struct, sys, time
f = open(sys.argv[1], "w")
fcntl.fcntl(f, 37, struct.pack("hhqqi4x", 1, 0, 0, 0, 0))  # F_OFD_SETLK
open(sys.argv[2], "w").close()
time.sleep(600)
PY
  local monitor=$!
  wait_for 5 test -e "$BATS_TEST_TMPDIR/held"
  run_err 5 ocibundle rm "$id"
  [[ $stderr == *running* ]]
  grep -qF " $RUNROOT/containers/$id/bundle/rootfs " /proc/self/mountinfo
  kill $monitor
  wait $monitor || true
  ocibundle rm "$id"
}

@test "unknown pod, unknown image, a pod that is not ready: clear errors, nothing left" {
  ctr >"$CRISP_TMP/c.json"
  run_err 3 ocibundle create nosuchpod "$CRISP_TMP/c.json"
  refuse 3 "no such image" '.image.image = "nosuch"'
  refuse 15 "no such image" '.mounts = [{ container_path: "/i", readonly: true, image: { image: "nosuch" } }]'
  local pod
  pod=$(pod_json obstop | podnet create -)
  podnet stop "$pod"
  ON=$pod refuse 5 "not ready" .
  podnet rm "$pod"
  run_err 3 ocibundle show nosuch
}

@test "a pod's pin that is gone is an error, never the host's namespace" {
  local pod
  pod=$(pod_json obpin | podnet create -)
  umount "$RUNROOT/pods/$pod/ns/ipc" && rm "$RUNROOT/pods/$pod/ns/ipc"
  ON=$pod refuse 5 "ipc namespace is gone" .
  podnet rm "$pod"
}

@test "requests that make no sense are refused before anything is made" {
  refuse 6 "metadata.name: missing" 'del(.metadata)'
  refuse 6 "metadata.name" '.metadata.name = "a/b"'
  refuse 6 "metadata.name" '.metadata.name = "a\nb"'
  refuse 6 "image.image: missing" 'del(.image)'
  refuse 6 "unknown runtime handler" '.image.runtime_handler = "nosuch"'
  refuse 6 "log_path" '.log_path = "../../etc/cron.d/x"'
  refuse 6 "log_path" '.log_path = "/abs"'
  refuse 6 "working_dir" '.working_dir = "rel"'
  refuse 6 "envs[0].key" '.envs = [{ key: "", value: "x" }]'
  refuse 6 "envs[1].key" '.envs = [{ key: "A", value: "x" }, { key: "A=B", value: "x" }]'
  refuse 6 "not UTF-8" '.envs = [{ key: "A", value: { base64: "/w==" } }]'
  refuse 6 "NUL" '.envs = [{ key: "A", value: { base64: "AA==" } }]'
  refuse 6 "unknown key" '.comand = ["x"]' || refuse 6 "comand" '.comand = ["x"]'
  refuse 6 "container_path" '.mounts = [{ host_path: "/tmp", container_path: "rel" }]'
  refuse 6 "container_path" '.mounts = [{ host_path: "/tmp", container_path: "/" }]'
  refuse 6 "container_path" '.mounts = [{ host_path: "/tmp", container_path: "/a/../../b" }]'
  refuse 6 "host_path" '.mounts = [{ host_path: "rel", container_path: "/a" }]'
  refuse 6 "No such file" '.mounts = [{ host_path: "/no/such/path", container_path: "/a" }]'
  refuse 6 "mount_options" '.mounts = [{ host_path: "/tmp", container_path: "/a", mount_options: ["suid"] }]'
  refuse 6 "gidMappings: 0 lines" '.mounts = [{ host_path: "/tmp", container_path: "/a", uidMappings: [{ length: 1 }] }]'
  refuse 6 "read-only only" '.mounts = [{ container_path: "/a", image: { image: "base" } }]'
  refuse 6 "needs readonly" '.mounts = [{ host_path: "/tmp", container_path: "/a", recursive_read_only: true }]'
  refuse 6 "needs PROPAGATION_PRIVATE" '.mounts = [{ host_path: "/tmp", container_path: "/a", recursive_read_only: true,
    readonly: true, propagation: "PROPAGATION_HOST_TO_CONTAINER" }]'
  refuse 6 "devices[0]" '.devices = [{ host_path: "/no/such", container_path: "/dev/x" }]'
  refuse 6 "not a device" '.devices = [{ host_path: "/etc/passwd", container_path: "/dev/x" }]'
  refuse 6 "permissions" '.devices = [{ host_path: "/dev/null", permissions: "rx" }]'
  refuse 6 "no CDI device" '.CDI_devices = [{ name: "vendor/class=x" }]'
  refuse 6 "run_as_group" "$(sec 'run_as_group: { value: 5 }')"
  refuse 6 "both given" "$(sec 'run_as_user: { value: 5 }, run_as_username: "user"')"
  refuse 6 "run_as_user" "$(sec 'run_as_user: { value: -1 }')"
  refuse 6 "supplemental_groups[1]" "$(sec 'supplemental_groups: [1, 4294967295]')"
  refuse 6 "unknown capability 'FLY'" "$(sec 'capabilities: { add_capabilities: ["FLY"] }')"
  refuse 6 "the pod does not allow it" "$(sec 'privileged: true')"
  refuse 6 "masked_paths[0]" "$(sec 'masked_paths: ["proc/keys"]')"
  refuse 6 "target_id: missing" "$(sec 'namespace_options: { pid: "TARGET" }')"
  refuse 3 "no such container" "$(sec 'namespace_options: { pid: "TARGET", target_id: "nosuch" }')"
  refuse 6 "uids: 0 lines" "$(sec 'namespace_options: { userns_options: { mode: "POD" } }')"
  refuse 6 "stop_signal" '.stop_signal = 99'
  refuse 6 "oom_score_adj" '.linux.resources.oom_score_adj = 1001'
  refuse 6 "cpu_shares" '.linux.resources.cpu_shares = -1'
  refuse 6 "swap" '.linux.resources = { memory_limit_in_bytes: 100000000, memory_swap_limit_in_bytes: 50000000 }'
}

@test "AppArmor, SELinux, cgroup v2 keys: refused where the host has none, harmless defaults pass" {
  if [ ! -d /sys/fs/selinux ]; then refuse 10 "no SELinux" "$(sec 'selinux_options: { level: "s0:c1" }')"; fi
  if ! grep -q Y /sys/module/apparmor/parameters/enabled 2>/dev/null; then
    refuse 10 "no AppArmor" "$(sec 'apparmor: { profile_type: "Localhost", localhost_ref: "x" }')"
    refuse 10 "no AppArmor" "$(sec 'apparmor_profile: "localhost/x"')"
  fi
  if [ ! -f /sys/fs/cgroup/cgroup.controllers ]; then
    refuse 10 "cgroup v1" '.linux.resources.unified = { "memory.high": "1" }'
  fi
  refuse 6 "is not a profile" "$(sec 'seccomp_profile_path: "what/ever"')"
  dry "$(sec 'apparmor: { profile_type: "RuntimeDefault" }, selinux_options: {}')" | jq -e '.process | has("apparmorProfile") | not'
}

@test "SELinux, where the host has it: labels, a level for each pod, relabelling" {
  requires unshare
  if [ -e /sys/fs/selinux/enforce ]; then skip "this host has a policy of its own"; fi
  local had=yes
  [ -d /etc/selinux ] || had=no
  mkdir -p "$CRISP_TMP"/se/{fs,etc/targeted/contexts,vol/sub}
  echo 'SELINUXTYPE=targeted' >"$CRISP_TMP/se/etc/config"
  printf 'process = "system_u:system_r:container_t:s0"\nfile = "system_u:object_r:container_file_t:s0"\n' >"$CRISP_TMP/se/etc/targeted/contexts/lxc_contexts"
  ln -sfn /etc/passwd "$CRISP_TMP/se/vol/link"
  touch "$CRISP_TMP/se/vol/sub/file"
  # selinuxfs as a program sees it; /sys/fs/selinux is a directory that only SELinux makes.
  on_selinux() {
    unshare -m --propagation private bash -c 'mkdir -p "$CRISP_TMP/se/cgroup" /etc/selinux && mount --rbind /sys/fs/cgroup "$CRISP_TMP/se/cgroup" &&
      mount -t tmpfs none /sys/fs && mkdir -p /sys/fs/cgroup /sys/fs/selinux && mount --rbind "$CRISP_TMP/se/cgroup" /sys/fs/cgroup &&
      mount --bind "$CRISP_TMP/se/etc" /etc/selinux && touch /sys/fs/selinux/{enforce,context} && "$@"' on_selinux "$@"
  }
  labels() { ctr "$1" >"$CRISP_TMP/se.json" && on_selinux ocibundle show "${2:-$POD}" "$CRISP_TMP/se.json" | jq -r '.process.selinuxLabel, .linux.mountLabel'; }
  local level other
  level=$(labels . | sed -n 's/^system_u:system_r:container_t:\(s0:c[0-9]*,c[0-9]*\)$/\1/p')
  [ -n "$level" ]
  [ "$(labels . | tail -1)" = "system_u:object_r:container_file_t:$level" ]
  # All of a pod have one level, those of another another.
  [ "$(labels '.metadata.name = "d"' | head -1)" = "system_u:system_r:container_t:$level" ]
  other=$(labels . "$PRIV" | head -1)
  [[ $other == system_u:system_r:container_t:s0:c* && $other != *:"$level" ]]
  [ "$(labels "$(sec 'selinux_options: { type: "spc_t", level: "s0:c1,c2" }')")" = $'system_u:system_r:spc_t:s0:c1,c2\nsystem_u:object_r:container_file_t:s0:c1,c2' ]
  [ "$(labels "$(sec 'privileged: true')" "$PRIV")" = $'null\nnull' ]
  ctr "$(sec 'selinux_options: { level: "s0" }')" >"$CRISP_TMP/se.json"
  on_selinux ocibundle show --explain "$POD" "$CRISP_TMP/se.json" | grep -q '^process.selinuxLabel.*request linux.security_context.selinux_options$'
  local id
  ctr ".mounts = [{ host_path: \"$CRISP_TMP/se/vol\", container_path: \"/v\", selinux_relabel: true }]" >"$CRISP_TMP/se.json"
  id=$(on_selinux ocibundle create "$POD" "$CRISP_TMP/se.json")
  for f in vol vol/sub vol/sub/file; do
    [ "$(getfattr -n security.selinux --only-values --absolute-names "$CRISP_TMP/se/$f" | tr -d '\0')" = "system_u:object_r:container_file_t:$level" ]
  done
  run -1 getfattr -n security.selinux --only-values --absolute-names /etc/passwd
  ocibundle rm "$id"
  ctr '.mounts = [{ host_path: "/etc", container_path: "/v", selinux_relabel: true }]' >"$CRISP_TMP/se.json"
  run_err 6 on_selinux ocibundle create "$POD" "$CRISP_TMP/se.json"
  [[ $stderr == *"selinux_relabel of /etc is refused"* ]]
  if [ $had = no ]; then rmdir /etc/selinux; fi
  # Here it changes nothing: kubelets ask for it everywhere.
  dry '.mounts = [{ host_path: "/etc", container_path: "/v", selinux_relabel: true }]' | jq -e '.process | has("selinuxLabel") | not'
}

@test "command, args, Entrypoint and Cmd: Kubernetes' rules" {
  store_image ep '{"Entrypoint":["/ep"],"Cmd":["a","b"]}' >/dev/null
  store_image none '{}' >/dev/null
  args() { dry ".image.image = \"$1\" | del(.command) | $2" | jq -c .process.args; }
  [ "$(args ep .)" = '["/ep","a","b"]' ]
  [ "$(args ep '.args = ["c"]')" = '["/ep","c"]' ]
  [ "$(args ep '.command = ["/x"]')" = '["/x"]' ]
  [ "$(args ep '.command = ["/x"] | .args = ["c", ""]')" = '["/x","c",""]' ]
  [ "$(args base .)" = '["/bin/sh"]' ]
  refuse 6 "no command" '.image.image = "none" | del(.command)'
}

@test "environment: defaults, the image's, HOSTNAME, the request's; the last wins" {
  local env
  env=$(dry '.envs = [{ key: "FROM", value: "request" }, { key: "EMPTY", value: "" }, { key: "A", value: "x=y \u00e4" }]' | jq -c .process.env)
  [ "$env" = '["PATH=/bin","FROM=request","HOSTNAME=obpod","EMPTY=","A=x=y ä","HOME=/root"]' ]
  [ "$(dry '.tty = true | .envs = [{ key: "HOME", value: "/h" }]' | jq -c '.process | [.terminal, .env]')" = \
    '[true,["PATH=/bin","TERM=xterm","FROM=image","HOSTNAME=obpod","HOME=/h"]]' ]
  store_image bare '{}' >/dev/null
  [[ "$(dry '.image.image = "bare"' | jq -r '.process.env[0]')" == PATH=/usr/local/sbin:* ]]
}

@test "working directory: the request's, the image's, /" {
  store_image wd '{"WorkingDir":"/w"}' >/dev/null
  store_image wdrel '{"WorkingDir":"w"}' >/dev/null
  [ "$(dry . | jq -r .process.cwd)" = / ]
  [ "$(dry '.image.image = "wd"' | jq -r .process.cwd)" = /w ]
  [ "$(dry '.image.image = "wdrel"' | jq -r .process.cwd)" = /w ]
  [ "$(dry '.image.image = "wd" | .working_dir = "/r"' | jq -r .process.cwd)" = /r ]
}

@test "users: by id, by name, by every form of the image's User, with their groups" {
  user() { dry "$1" | jq -c '.process.user | [.uid, .gid, .additionalGids]'; }
  [ "$(user .)" = '[0,0,[0,5]]' ]
  [ "$(user "$(sec 'run_as_user: { value: 1000 }')")" = '[1000,1001,[1001,2000]]' ]
  [ "$(user "$(sec 'run_as_user: { value: 4000 }')")" = '[4000,0,[0]]' ]
  [ "$(user "$(sec 'run_as_user: { value: 1000 }, run_as_group: { value: 9 }')")" = '[1000,9,[9,2000]]' ]
  [ "$(user "$(sec 'run_as_username: "user"')")" = '[1000,1001,[1001,2000]]' ]
  [ "$(user "$(sec 'run_as_username: "user", supplemental_groups: [7, 2000, 7]')")" = '[1000,1001,[7,1001,2000]]' ]
  [ "$(user "$(sec 'run_as_username: "user", supplemental_groups: [7], supplemental_groups_policy: "Strict"')")" = '[1000,1001,[7,1001]]' ]
  refuse 6 "user 'nosuch' is not in the image's /etc/passwd" "$(sec 'run_as_username: "nosuch"')"
  local spec want
  while read -r spec want; do
    store_image usr "{\"User\":\"$spec\"}" >/dev/null
    [ "$(user '.image.image = "usr"')" = "$want" ] || { echo "$spec: $(user '.image.image = "usr"')"; return 1; }
  done <<'LIST'
user [1000,1001,[1001,2000]]
1000 [1000,1001,[1001,2000]]
1000:7 [1000,7,[7,2000]]
user:extra [1000,2000,[2000]]
4000:extra [4000,2000,[2000]]
12 [12,0,[0]]
:extra [0,2000,[5,2000]]
LIST
  store_image usr '{"User":"user:nosuch"}' >/dev/null
  refuse 6 "group 'nosuch'" '.image.image = "usr"'
  [ "$(dry "$(sec 'run_as_username: "user"')" | jq -r '.process.env[-1]')" = HOME=/home/user ]
}

@test "an image's passwd that leads out of it is read as the container would see it" {
  local dir=$CRISP_TMP/evil
  mkdir -p "$dir/etc" "$dir/in" "$CRISP_TMP/out"
  printf 'who:x:1:1::/:\n' >"$CRISP_TMP/out/passwd"
  printf 'who:x:2:2::/:\n' >"$dir/in/passwd"
  ln -s "../../../../../../../../..$CRISP_TMP/out/passwd" "$dir/etc/passwd"
  ln -s /in/passwd "$dir/etc/group"
  store_image evil '{"Cmd":["x"],"User":"who"}' "$dir" >/dev/null
  refuse 6 "user 'who'" '.image.image = "evil"'
  dir=$CRISP_TMP/evil2
  mkdir -p "$dir/etc" "$dir/in"
  printf 'who:x:2:2::/:\n' >"$dir/in/passwd"
  ln -s /in/passwd "$dir/etc/passwd"
  mkfifo "$dir/etc/group"
  store_image evil2 '{"Cmd":["x"],"User":"who"}' "$dir" >/dev/null
  refuse 6 "/etc/group" '.image.image = "evil2"'
}

@test "capabilities: default, add, drop, ALL, ambient, privileged; never more than we have" {
  caps() { dry "$(sec "capabilities: { $1 }")" | jq -c ".process.capabilities | $2"; }
  [ "$(caps '' '.bounding | length')" = 14 ]
  [ "$(caps '' '.bounding == .effective and .bounding == .permitted and (has("ambient") or has("inheritable") | not)')" = true ]
  [ "$(caps 'add_capabilities: ["NET_ADMIN"]' '.effective | contains(["CAP_NET_ADMIN"])')" = true ]
  [ "$(caps 'drop_capabilities: ["cap_chown"]' '.effective | contains(["CAP_CHOWN"])')" = false ]
  [ "$(caps 'drop_capabilities: ["ALL"]' '.effective')" = '[]' ]
  [ "$(caps 'drop_capabilities: ["ALL"], add_capabilities: ["CHOWN"]' '.effective')" = '["CAP_CHOWN"]' ]
  [ "$(caps 'add_capabilities: ["ALL"], drop_capabilities: ["CHOWN"]' '.effective | contains(["CAP_CHOWN"])')" = false ]
  [ "$(caps 'drop_capabilities: ["ALL"], add_ambient_capabilities: ["NET_RAW"]' '[.effective, .ambient, .inheritable]')" = \
    '[["CAP_NET_RAW"],["CAP_NET_RAW"],["CAP_NET_RAW"]]' ]
  local have
  have=$(python3 -c 'import sys; print(bin(int([l.split()[1] for l in open("/proc/self/status") if l.startswith("CapBnd")][0], 16)).count("1"))')
  [ "$(caps 'add_capabilities: ["ALL"]' '.bounding | length')" = "$have" ]
  if [ "$have" = 40 ]; then refuse 10 "CAP_SYS_RESOURCE cannot be given" "$(sec 'capabilities: { add_capabilities: ["SYS_RESOURCE"] }')"; fi
}

@test "resources: what each host can take" {
  res() { dry ".linux.resources = { $1 }" | command jq -c ".linux.resources | $2"; }
  [ "$(res 'cpu_shares: 2, cpu_quota: 50000, cpu_period: 100000, cpuset_cpus: "0"' .cpu)" = '{"shares":2,"quota":50000,"period":100000,"cpus":"0"}' ]
  [ "$(res 'cpu_quota: -1, cpu_period: 100000' .cpu)" = '{"period":100000}' ]
  [ "$(res 'memory_limit_in_bytes: 67108864' .memory.limit)" = 67108864 ]
  [ "$(res 'memory_limit_in_bytes: 67108864, memory_swap_limit_in_bytes: -1' '.memory | has("swap")')" = false ]
  [ "$(res 'hugepage_limits: [{ page_size: "2MB" }, { page_size: "1GB", limit: "0" }]' 'has("hugepageLimits")')" = false ]
  [ "$(res '' '.devices')" = '[{"allow":false,"access":"rwm"}]' ]
  [ "$(dry . | jq -c '.linux.resources | keys')" = '["devices"]' ]
  [ "$(dry '.linux.resources.oom_score_adj = 500' | jq .process.oomScoreAdj)" = 500 ]
  [ "$(dry . | jq '.process | has("oomScoreAdj")')" = false ]
  if ! capsh --has-p=cap_sys_resource 2>/dev/null; then
    run --separate-stderr ocibundle create --dry-run "$POD" - <<<"$(ctr '.linux.resources.oom_score_adj = -999')"
    [ "$status" = 0 ]
    [[ $stderr == *"CAP_SYS_RESOURCE"* ]]
    [ "$(jq .process.oomScoreAdj <<<"$output")" = "$(cat /proc/self/oom_score_adj)" ]
    # The pod's journal tells it as well.
    ocibundle rm "$(ctr '.linux.resources.oom_score_adj = -999' | ocibundle create "$POD" -)"
    grep -qE 'ocibundle create .* exit=0 .* warning="oom_score_adj -999 raised to [0-9-]+: lowering it needs CAP_SYS_RESOURCE"$' "$ROOT/pods/$POD/journal"
  fi
}

@test "default_ulimits of the configuration" {
  jq '.default_ulimits = ["nofile=512:1024", "core=0"]' "$CRISP_CONFIG" >"$CRISP_TMP/etc/ulimits.json"
  [ "$(ctr | ocibundle create --config "$CRISP_TMP/etc/ulimits.json" --dry-run "$POD" - | command jq -c .process.rlimits)" = \
    '[{"type":"RLIMIT_NOFILE","hard":1024,"soft":512},{"type":"RLIMIT_CORE","hard":0,"soft":0}]' ]
  # A default above what we may set is brought into range, and told.
  jq '.default_ulimits = ["nofile=100:5000"]' "$CRISP_CONFIG" >"$CRISP_TMP/etc/ulimits.json"
  if ! capsh --has-p=cap_sys_resource 2>/dev/null; then
    run --separate-stderr prlimit --nofile=1000:1000 ocibundle create --config "$CRISP_TMP/etc/ulimits.json" --dry-run "$POD" - <<<"$(ctr)"
    [ "$status" = 0 ]
    [ "$(command jq -c .process.rlimits <<<"$output")" = '[{"type":"RLIMIT_NOFILE","hard":1000,"soft":100}]' ]
    [[ $stderr == *"nofile"* || $stderr == *NOFILE* ]]
  fi
  jq '.default_ulimits = ["files=1"]' "$CRISP_CONFIG" >"$CRISP_TMP/etc/ulimits.json"
  ctr >"$CRISP_TMP/c.json"
  run_err 6 ocibundle create --config "$CRISP_TMP/etc/ulimits.json" --dry-run "$POD" "$CRISP_TMP/c.json"
}

@test "stop signal: the request's, the image's, none" {
  store_image sig '{"Cmd":["x"],"StopSignal":"SIGRTMIN+3"}' >/dev/null
  stop() { local id; id=$(ctr "$1" | ocibundle create "$POD" -); jq .stop_signal "$ROOT/containers/$id/state.json"; ocibundle rm "$id"; }
  [ "$(stop .)" = 0 ]
  [ "$(stop '.image.image = "sig"')" = 37 ]
  [ "$(stop '.image.image = "sig" | .stop_signal = "SIGNAL_SIGUSR1"')" = 10 ]
  [ "$(stop '.stop_signal = "SIGTERM"')" = 15 ]
  [ "$(stop '.stop_signal = "SIGRTMAXMINUS1"')" = 63 ]
}

@test "the systemd cgroup manager's spelling" {
  jq '.cgroup_manager = "systemd"' "$CRISP_CONFIG" >"$CRISP_TMP/etc/systemd.json"
  local id
  id=$(printf x | sha256sum | cut -c1-64)
  [ "$(ctr | ocibundle create --config "$CRISP_TMP/etc/systemd.json" --id "$id" --dry-run "$POD" - | jq -r .linux.cgroupsPath)" = \
    "ob-${CGROUP##*-}:crisp:$id" ]
}

@test "the pod's journal tells the step, as a line that can be pasted" {
  local id line
  id=$(ctr | ocibundle create "$POD" -)
  line=$(grep -F "$id" "$ROOT/pods/$POD/journal" | tail -1)
  [[ $line == *"ocibundle create --id $id --origin hand $POD - < $ROOT/containers/$id/container.json # "*" hand exit=0 ms="* ]]
  [[ $line == *" # $(date -u +%Y-)"* && $line =~ \ ms=[0-9]{1,5}$ ]]
  CRISP_REQ=7 ocibundle rm "$id"
  [ "$(grep -cF "ocibundle rm $id" "$ROOT/pods/$POD/journal")" = 0 ]
}

@test "120 layers" {
  deep_image >/dev/null
  local id
  id=$(ctr '.image.image = "deep"' | ocibundle create "$POD" -)
  [ "$(cat "$RUNROOT/containers/$id/bundle/rootfs/many/top")" = 120 ]
  [ "$(find "$RUNROOT/containers/$id/bundle/rootfs/many" -type f | wc -l)" = 121 ]
}

@test "the container's / has the owner and mode of the image's" {
  mkdir "$CRISP_TMP/slash"
  chown 12:34 "$CRISP_TMP/slash"
  chmod 1771 "$CRISP_TMP/slash"
  store_image slash '{"Cmd":["x"]}' "$CRISP_TMP/slash" >/dev/null
  local id
  id=$(ctr '.image.image = "slash"' | ocibundle create "$POD" -)
  [ "$(stat -c '%u %g %a' "$RUNROOT/containers/$id/bundle/rootfs")" = "12 34 1771" ]
  ocibundle rm "$id"
  id=$(ctr | ocibundle create "$POD" -)
  [ "$(stat -c '%u %g %a' "$RUNROOT/containers/$id/bundle/rootfs")" = "0 0 755" ]
}

@test "a kernel without the mount API, or with an overlay that does not know lowerdir+: 120 layers all the same" {
  requires strace
  local id
  [ -e "$ROOT/names/docker.io%2flibrary%2fdeep:latest" ] || deep_image >/dev/null
  ctr '.image.image = "deep"' >"$CRISP_TMP/old.json"
  id=$(ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e trace=fsopen -e inject=fsopen:error=ENOSYS ocibundle create "$POD" "$CRISP_TMP/old.json" 3>&-)
  [ "$(cat "$RUNROOT/containers/$id/bundle/rootfs/many/top")" = 120 ]
  touch "$RUNROOT/containers/$id/bundle/rootfs/new"
  [ -e "$ROOT/containers/$id/upper/new" ]
}
