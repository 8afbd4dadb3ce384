#!/usr/bin/env bats
# ocibundle: what is refused, what config.json says, and what crun and runc make of it.
# shellcheck disable=SC2016

setup_file() {
  load ../lib/helpers
  requires root netns
  crisp_file_setup
  CGROUP=/crisp-test/ob-$$
  export CGROUP
  # Layers and images are laid out by hand: the tests need configurations that no registry has.
  local base=$CRISP_TMP/base
  mkdir -p "$base"/{bin,etc,proc,sys,dev,tmp,root,data/sub} "$ROOT"
  cp /bin/busybox "$base/bin/busybox"
  local applet
  for applet in $(/bin/busybox --list); do [ -e "$base/bin/$applet" ] || ln -s busybox "$base/bin/$applet"; done
  printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001:user:/home/user:/bin/sh\n12:x:77:78::/:\n' >"$base/etc/passwd"
  printf 'root:x:0:\nuser:x:1001:\nextra:x:2000:nobody,user\nroots:x:5:root\n' >"$base/etc/group"
  echo content >"$base/data/sub/file"
  chown 1000:1001 "$base/data/sub"
  chmod 2750 "$base/data/sub"
  chmod 1777 "$base/tmp"
  store_image base '{"Cmd":["/bin/sh"],"Env":["PATH=/bin","FROM=image"]}' "$base"
  rm -rf "$base"
  POD=$(pod_json obpod | jq ".linux.cgroup_parent = \"$CGROUP\"" | podnet create -)
  PRIV=$(pod_json obpriv | jq ".linux.cgroup_parent = \"$CGROUP\" | .linux.security_context.privileged = true" | podnet create -)
  export POD PRIV
}
teardown_file() {
  load ../lib/helpers
  crisp_file_teardown
  find /sys/fs/cgroup -depth -type d -path "*$CGROUP*" -exec rmdir {} \; 2>/dev/null || true
}
setup() {
  load ../lib/helpers
}
teardown() {
  local id
  for id in "$ROOT"/containers/*/; do [ ! -d "$id" ] || ocibundle rm "$(basename "$id")"; done
  no_containers
  ! grep -F " $RUNROOT/containers/" /proc/self/mountinfo
  [ "$(find "$ROOT/reserved" -type l | wc -l)" = "$(find "$ROOT/pods" -mindepth 1 -maxdepth 1 -type d | wc -l)" ]
}

no_containers() { [ -z "$(find "$ROOT/containers" "$RUNROOT/containers" -mindepth 1 -maxdepth 1)" ]; }

# store_image NAME CONFIG [DIR...]: an image with a layer for each DIR (none: the base's), bottom first; prints its id
store_image() {
  local name=$1 config=$2 dir id layer layers='[]'
  shift 2
  mkdir -p "$ROOT"/{images,names,layers}
  for dir; do
    layer=$(printf '%s' "$dir" | sha256sum | cut -c1-64)
    mkdir -p "$ROOT/layers/$layer"
    cp -a "$dir" "$ROOT/layers/$layer/diff"
    echo "{\"version\":1,\"diff_id\":\"sha256:$layer\",\"size\":1,\"implied\":false}" >"$ROOT/layers/$layer/layer.json"
    layers=$(jq -c ". + [\"$layer\"]" <<<"$layers")
  done
  if [ $# = 0 ]; then layers=$(jq -c '[.layers[].id]' "$ROOT/names/docker.io%2flibrary%2fbase:latest/image.json"); fi
  jq -nc --argjson c "$config" --argjson l "$layers" --arg name "$name" '{ architecture: "amd64", os: "linux", author: $name,
    config: $c, rootfs: { type: "layers", diff_ids: ($l | map("sha256:" + .)) } }' >"$CRISP_TMP/config.json"
  id=$(sha256sum "$CRISP_TMP/config.json" | cut -c1-64)
  mkdir -p "$ROOT/images/$id"
  cp "$CRISP_TMP/config.json" "$ROOT/images/$id/config.json"
  echo '{}' >"$ROOT/images/$id/manifest.json"
  jq -nc --argjson l "$layers" --arg id "sha256:$id" '{ version: 1, id: $id, manifest_digest: $id, size: 1, created_at: 1,
    layers: ($l | map({ id: ., diff_id: ("sha256:" + .), digest: ("sha256:" + .), size: 1 })) }' >"$ROOT/images/$id/image.json"
  ln -sfn "../images/$id" "$ROOT/names/docker.io%2flibrary%2f$name:latest"
  echo "sha256:$id"
}

# ctr [JQ]: a ContainerConfig, changed by a jq filter
ctr() {
  jq -nc '{ metadata: { name: "c" }, image: { image: "base" }, command: ["/bin/sh", "-c", "true"] } | '"${1:-.}"
}
# dry [JQ]: the config.json that would be written
dry() { ctr "$@" | ocibundle create --dry-run "$POD" -; }
# refuse STATUS TEXT JQ: that exit status, nothing on stdout, TEXT in the message, nothing left behind
refuse() {
  ctr "$3" >"$CRISP_TMP/refused.json"
  run_err "$1" ocibundle create "${ON:-$POD}" "$CRISP_TMP/refused.json" || return 1
  [[ $stderr == *"$2"* ]] || { echo "expected: $2"; return 1; }
  [ "$(wc -l <<<"$stderr")" = 1 ]
  no_containers
}
# in_ctr RUNTIME SHELL [JQ]: run that in a container; its output. ON is the pod.
in_ctr() {
  local id status=0
  id=$(S=$2 ctr "(.command[2] = env.S) | ${3:-.}" | ocibundle create "${ON:-$POD}" -) || return 99
  "$1" --root "$CRISP_TMP/rt" run -b "$RUNROOT/containers/$id/bundle" "$id" || status=$?
  ocibundle rm "$id"
  return $status
}
sec() { echo ".linux.security_context = { $1 }"; }

@test "create prints an id; bundle, records and mount are there; rm takes them" {
  run --separate-stderr ocibundle create "$POD" - <<<"$(ctr '.log_path = "c/0.log" | .tty = true | .stdin = true')"
  [ "$status" = 0 ] && [ -z "$stderr" ]
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
  [ "$(ocibundle rm --dry-run "$id" | grep -c "$id")" = 3 ] && [ -e "$RUNROOT/containers/$id/bundle/rootfs/bin" ]
  run ocibundle rm "$id"
  [ "$status" = 0 ] && [ -z "$output" ]
  [ ! -e "$ROOT/containers/$id" ] && [ ! -e "$RUNROOT/containers/$id" ]
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
  [ "$a" = "$b" ] && [ "$(jq -r .ociVersion <<<"$a")" = 1.0.2 ]
  [ "$(find "$ROOT" "$RUNROOT" | sort)" = "$before" ]
  ! grep -F "$RUNROOT/containers/" /proc/self/mountinfo
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
  for call in mkdirat symlinkat renameat fcntl fsopen fsconfig fsmount move_mount fchmodat copy_file_range write openat; do
    for n in 1 2 3 4 6 9 14 22; do
      kill_at $call $n ocibundle create "$POD" "$CRISP_TMP/kill.json" >/dev/null || killed=$((killed + 1))
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
  echo "killed $killed of 96"
  [ "$killed" -gt 40 ]
}

@test "rm killed at each system call that changes something: the next one finishes" {
  requires strace
  local call n id killed=0
  for call in unlinkat umount2 openat fcntl readlinkat; do
    for n in 1 2 3 4 6 9 14; do
      id=$(ctr | ocibundle create "$POD" -)
      kill_at $call $n ocibundle rm "$id" || killed=$((killed + 1))
      ocibundle rm "$id"
      [ ! -e "$ROOT/containers/$id" ] && [ ! -e "$RUNROOT/containers/$id" ]
      [ -z "$(find "$ROOT/reserved" -lname "$id")" ]
      ! grep -F "$id" /proc/self/mountinfo
    done
  done
  echo "killed $killed of 35"
  [ "$killed" -gt 15 ]
}

@test "rm: unknown is success, damaged and half-made containers go, a running one is refused" {
  local id
  run ocibundle rm nosuch
  [ "$status" = 0 ] && [ -z "$output" ]
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
  python3 - "$RUNROOT/containers/$id/monitor.lock" <<'PY' &
import fcntl, struct, sys, time
f = open(sys.argv[1], "w")
fcntl.fcntl(f, 37, struct.pack("hhqqi4x", 1, 0, 0, 0, 0))  # F_OFD_SETLK
time.sleep(60)
PY
  local monitor=$!
  wait_for 5 test -e "$RUNROOT/containers/$id/monitor.lock"
  sleep 0.2
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
  refuse 10 "idmapped" '.mounts = [{ host_path: "/tmp", container_path: "/a", uidMappings: [{ length: 1 }] }]'
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
  refuse 10 "user namespaces" "$(sec 'namespace_options: { userns_options: { mode: "POD" } }')"
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
  res() { dry ".linux.resources = { $1 }" | jq -c ".linux.resources | $2"; }
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
    [ "$status" = 0 ] && [[ $stderr == *"CAP_SYS_RESOURCE"* ]]
    [ "$(jq .process.oomScoreAdj <<<"$output")" = "$(cat /proc/self/oom_score_adj)" ]
  fi
}

@test "default_ulimits of the configuration" {
  jq '.default_ulimits = ["nofile=512:1024", "core=0"]' "$CRISP_CONFIG" >"$CRISP_TMP/etc/ulimits.json"
  [ "$(ctr | ocibundle create --config "$CRISP_TMP/etc/ulimits.json" --dry-run "$POD" - | jq -c .process.rlimits)" = \
    '[{"type":"RLIMIT_NOFILE","hard":1024,"soft":512},{"type":"RLIMIT_CORE","hard":0,"soft":0}]' ]
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
  local i dirs=()
  for i in $(seq 120); do
    mkdir -p "$CRISP_TMP/l/$i/many"
    echo "$i" >"$CRISP_TMP/l/$i/many/top"
    echo "$i" >"$CRISP_TMP/l/$i/many/$i"
    dirs+=("$CRISP_TMP/l/$i")
  done
  store_image many '{"Cmd":["x"]}' "${dirs[@]}" >/dev/null
  local id
  id=$(ctr '.image.image = "many"' | ocibundle create "$POD" -)
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
  local i dirs=() id
  for i in $(seq 120); do
    mkdir -p "$CRISP_TMP/o/$i/many"
    echo "$i" >"$CRISP_TMP/o/$i/many/top"
    dirs+=("$CRISP_TMP/o/$i")
  done
  store_image oldmany '{"Cmd":["x"]}' "${dirs[@]}" >/dev/null
  ctr '.image.image = "oldmany"' >"$CRISP_TMP/old.json"
  id=$(ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e trace=fsopen -e inject=fsopen:error=ENOSYS ocibundle create "$POD" "$CRISP_TMP/old.json" 3>&-)
  [ "$(cat "$RUNROOT/containers/$id/bundle/rootfs/many/top")" = 120 ]
  touch "$RUNROOT/containers/$id/bundle/rootfs/new"
  [ -e "$ROOT/containers/$id/upper/new" ]
}

@test "run: crun and runc start it, in the pod's network, IPC and host name" {
  requires crun runc
  local rt out
  for rt in crun runc; do
    out=$(in_ctr "$rt" 'pwd; hostname; echo $FROM $HOME; id -u; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; cat /etc/hostname; grep -c . /etc/resolv.conf /etc/hosts; touch /x && echo written; exit 7' '.working_dir = "/tmp"') && false
    [ "$(in_ctr "$rt" 'exit 7'; echo $?)" = 7 ]
    [[ $out == *"/tmp"*"obpod"*"image /root"*"0"* ]]
    [[ $out == *"net:[$(stat -Lc %i "$(jq -r .netns "$ROOT/pods/$POD/state.json")")]"* ]]
    [[ $out == *"ipc:[$(stat -Lc %i "$RUNROOT/pods/$POD/ns/ipc")]"* ]]
    [[ $out == *written* ]]
  done
}

@test "run: an image that ocipull fetched, with the user and entrypoint that umoci gave it" {
  requires runc umoci
  make_image real
  umoci config --image "$CRISP_TMP/oci:real" --config.user user:extra --config.entrypoint /bin/echo --config.entrypoint pulled \
    --config.cmd it --config.workingdir /var/www --config.volume /var/www
  ocipull "oci:$CRISP_TMP/oci:real" >"$CRISP_TMP/real.id"
  local id
  id=$(jq -nc --arg i "$(cat "$CRISP_TMP/real.id")" '{ metadata: { name: "real" }, image: { image: $i, user_specified_image: "real:latest" } }' |
    ocibundle create "$POD" -)
  [ "$(runc --root "$CRISP_TMP/rt" run -b "$RUNROOT/containers/$id/bundle" "$id")" = "pulled it" ]
  jq -e --arg i "$(cat "$CRISP_TMP/real.id")" '.image == "real:latest" and .image_id == $i' "$ROOT/containers/$id/state.json"
  ocibundle show "$id" | jq -e '.process | .user.uid == 1000 and .user.gid == 2000 and .cwd == "/var/www"'
}

@test "run: a pod that shares its processes" {
  requires crun runc
  local rt pod ns
  pod=$(pod_json obshare | jq ".linux.cgroup_parent = \"$CGROUP\" | .linux.security_context.namespace_options.pid = \"POD\"" | podnet create -)
  ns=$(stat -Lc %i "$RUNROOT/pods/$pod/ns/pid")
  for rt in crun runc; do
    [ "$(ON=$pod in_ctr "$rt" 'readlink /proc/self/ns/pid')" = "pid:[$ns]" ]
    [ "$(ON=$pod in_ctr "$rt" 'readlink /proc/self/ns/pid' "$(sec 'namespace_options: { pid: "CONTAINER" }')")" != "pid:[$ns]" ]
  done
  podnet rm "$pod"
}

@test "run: read-only root, masked and read-only paths, dropped capabilities, no_new_privs" {
  requires crun runc
  local rt out
  for rt in crun runc; do
    out=$(in_ctr "$rt" 'touch /x; touch /tmp/x; cat /etc/passwd | wc -c; ls /data; touch /root/x; grep -E "^(CapEff|NoNewPrivs)" /proc/self/status' \
      "$(sec 'readonly_rootfs: true, masked_paths: ["/etc/passwd", "/data"], readonly_paths: ["/root"], no_new_privs: true, capabilities: { drop_capabilities: ["ALL"] }')" 2>&1)
    echo "$out"
    [ "$(grep -c 'Read-only file system' <<<"$out")" = 3 ]
    grep -qx 0 <<<"$out"
    [[ $out == *"CapEff:"*"0000000000000000"* && $out == *"NoNewPrivs:"*"1"* && $out != *sub* ]]
    # The defaults, when the request has no lists.
    out=$(in_ctr "$rt" 'wc -c </proc/timer_list; echo 1 >/proc/sys/vm/drop_caches' 2>&1) || true
    echo "$out"
    grep -qx 0 <<<"$out"
    [[ $out == *"Read-only file system"* ]]
  done
}

@test "run: users and groups by real ids" {
  requires crun runc
  local rt
  for rt in crun runc; do
    [ "$(in_ctr "$rt" 'id -u; id -g; id -G' "$(sec 'run_as_username: "user", supplemental_groups: [7]')" | tr '\n' ' ')" = \
      "1000 1001 1001 7 2000 " ]
  done
}

@test "run: mounts are bound, links resolved, read-only enforced, noexec too" {
  requires crun runc
  local rt out dir=$CRISP_TMP/vol
  mkdir -p "$dir/real/sub"
  echo host >"$dir/real/file"
  cp /bin/busybox "$dir/real/bb"
  ln -sfn "$dir/real" "$dir/link"
  for rt in crun runc; do
    out=$(in_ctr "$rt" 'cat /m/file; echo new >/m/from && echo rw; touch /ro/x; /nx/bb true; mount | grep -c " /m "' \
      ".mounts = [{ host_path: \"$dir/link\", container_path: \"/m\" }, { host_path: \"$dir/link\", container_path: \"/ro/\", readonly: true },
        { host_path: \"$dir/real\", container_path: \"/nx\", mount_options: [\"noexec\", \"nodev\"] }]" 2>&1)
    echo "$out"
    [[ $out == *host* && $out == *rw* && $out == *"Read-only"* && $out == *"ermission denied"* ]]
    [ "$(cat "$dir/real/from")" = new ]
    rm "$dir/real/from"
  done
  [ "$(dry ".mounts = [{ host_path: \"$dir/link\", container_path: \"/m//./x/\" }]" | jq -r '.mounts[] | select(.source == "'"$dir/real"'") | .destination')" = /m/x ]
}

@test "run: recursive read-only reaches the mounts below" {
  requires crun runc
  local rt out dir=$CRISP_TMP/rro
  mkdir -p "$dir/sub"
  mount -t tmpfs none "$dir/sub"
  for rt in crun runc; do
    out=$(in_ctr "$rt" 'touch /m/sub/x && echo weak' ".mounts = [{ host_path: \"$dir\", container_path: \"/m\", readonly: true }]")
    [ "$out" = weak ]
    rm "$dir/sub/x"
    out=$(in_ctr "$rt" 'touch /m/sub/x && echo weak' \
      ".mounts = [{ host_path: \"$dir\", container_path: \"/m\", readonly: true, recursive_read_only: true }]" 2>&1) || true
    [[ $out == *"Read-only"* ]]
  done
  umount "$dir/sub"
}

@test "run: propagation to, from and not at all" {
  requires crun runc
  local rt dir=$CRISP_TMP/prop id
  mkdir -p "$dir"
  mount -t tmpfs none "$dir"
  mount --make-private "$dir"
  refuse 5 "not shared" ".mounts = [{ host_path: \"$dir\", container_path: \"/m\", propagation: \"PROPAGATION_BIDIRECTIONAL\" }]"
  refuse 5 "nor a slave" ".mounts = [{ host_path: \"$dir\", container_path: \"/m\", propagation: \"PROPAGATION_HOST_TO_CONTAINER\" }]"
  mount --make-shared "$dir"
  mkdir "$dir"/{host,ctr}
  local mode want
  for rt in crun runc; do
    for mode in "PRIVATE none none" "HOST_TO_CONTAINER seen none" "BIDIRECTIONAL seen seen"; do
      read -r mode want_in want_out <<<"$mode"
      id=$(ctr ".command[2] = \"mount -t tmpfs x /m/ctr; touch /m/ctr/c; touch /m/ready; while [ ! -e /m/go ]; do sleep 0.1; done; [ -e /m/host/h ] && exit 3; exit 4\"
        | .mounts = [{ host_path: \"$dir\", container_path: \"/m\", propagation: \"PROPAGATION_$mode\" }] | $(sec 'privileged: true')" |
        ocibundle create "$PRIV" -)
      "$rt" --root "$CRISP_TMP/rt" run -b "$RUNROOT/containers/$id/bundle" "$id" 3>&- &
      wait_for 10 test -e "$dir/ready"
      [ -e "$dir/ctr/c" ] && out=seen || out=none
      mount -t tmpfs none "$dir/host"
      touch "$dir/host/h" "$dir/go"
      local status=0
      wait $! || status=$?
      umount "$dir/host"
      if [ $out = seen ]; then umount "$dir/ctr"; fi
      rm "$dir/ready" "$dir/go"
      ocibundle rm "$id"
      [ $out = "$want_out" ]
      [ "$status" = "$([ "$want_in" = seen ] && echo 3 || echo 4)" ]
    done
  done
  umount -l "$dir"
}

@test "run: an image's volumes keep its content and owners, and stay writable" {
  requires crun runc
  local rt out
  store_image vols '{"Volumes":{"/data/":{},"/new/dir":{},"/taken":{}}}' >/dev/null
  for rt in crun runc; do
    out=$(in_ctr "$rt" 'cat /data/sub/file; stat -c "%u %g %a" /data/sub; touch /data/x /new/dir/x && echo writable; touch /y; ls /taken' \
      ".image.image = \"vols\" | .mounts = [{ host_path: \"/etc\", container_path: \"/taken\" }] | $(sec 'readonly_rootfs: true')" 2>&1)
    echo "$out"
    [[ $out == *content* && $out == *"1000 1001 2750"* && $out == *writable* && $out == *"/y: Read-only"* && $out == *passwd* ]]
  done
  store_image badvol '{"Volumes":{"../x":{}}}' >/dev/null
  refuse 6 "volume" '.image.image = "badvol"'
}

@test "run: another image mounted read-only, whole and by sub path" {
  requires crun runc
  local rt out
  mkdir -p "$CRISP_TMP"/im/{1,2}/dir
  echo one >"$CRISP_TMP/im/1/dir/a"
  echo two >"$CRISP_TMP/im/2/dir/b"
  ln -s / "$CRISP_TMP/im/2/dir/up"
  ln -s ../../../../etc "$CRISP_TMP/im/2/out"
  store_image art '{}' "$CRISP_TMP/im/1" "$CRISP_TMP/im/2" >/dev/null
  store_image art1 '{}' "$CRISP_TMP/im/1" >/dev/null
  img() { echo "{ container_path: \"$1\", readonly: true, image: { image: \"$2\" }, image_sub_path: \"${3:-}\" }"; }
  for rt in crun runc; do
    out=$(in_ctr "$rt" 'cat /i/dir/a /i/dir/b /s/b /one/dir/a; touch /i/x; touch /one/x; ls /up' \
      ".mounts = [$(img /i art), $(img /s art dir), $(img /one art1), $(img /up art dir/up)]" 2>&1)
    echo "$out"
    [ "$(grep -cx 'one\|two' <<<"$out")" = 4 ] && [ "$(grep -c 'Read-only' <<<"$out")" = 2 ]
    [[ $out != *root* ]]
  done
  refuse 15 "image_sub_path" ".mounts = [$(img /s art nosuch)]"
  refuse 15 "image_sub_path" ".mounts = [$(img /s art ../x)]"
  refuse 15 "image_sub_path" ".mounts = [$(img /s art out)]"
  local id
  id=$(ctr ".mounts = [$(img /i art)]" | ocibundle create "$POD" -)
  [ "$(jq '.mount_images | length' "$ROOT/containers/$id/state.json")" = 1 ]
  # The mounted image's layers outlive its removal while the container is there.
  ocistore rm --in-use --wait art
  [ "$(cat "$RUNROOT/containers/$id/images/0/dir/b")" = two ]
  [ -d "$ROOT/layers/$(printf '%s' "$CRISP_TMP/im/2" | sha256sum | cut -c1-64)" ]
}

@test "run: devices, one by one and by directory" {
  requires crun runc
  local rt out
  for rt in crun runc; do
    out=$(in_ctr "$rt" 'head -c 3 /dev/myzero | wc -c; echo x >/dev/myzero; ls -l /dev/d' \
      '.devices = [{ host_path: "/dev/zero", container_path: "/dev/myzero", permissions: "rw" }, { host_path: "/dev/net", container_path: "/dev/d" }]' 2>&1) || true
    [[ $out == 3* ]]
  done
  dry '.devices = [{ host_path: "/dev/zero", container_path: "/dev/z", permissions: "r" }]' |
    jq -e '.linux.resources.devices[1] == { allow: true, type: "c", major: 1, minor: 5, access: "r" } and .linux.devices[0].path == "/dev/z"'
}

@test "run: privileged has all capabilities and devices, nothing masked, no seccomp" {
  requires crun runc
  local rt out
  for rt in crun runc; do
    out=$(ON=$PRIV in_ctr "$rt" 'grep ^CapEff /proc/self/status; grep -E "^Seccomp:" /proc/self/status; mount -t tmpfs x /mnt 2>&1 || mount -t tmpfs x /tmp && echo mounts; ls /dev | wc -l; mount | grep -c "sysfs (rw"' \
      "$(sec 'privileged: true, seccomp: { profile_type: "RuntimeDefault" }')" 2>&1)
    echo "$out"
    [[ $out == *"$(grep ^CapBnd /proc/self/status | cut -f2)"* && $out =~ Seccomp:[[:space:]]*0 && $out == *mounts* ]]
    [ "$(tail -1 <<<"$out")" = 1 ]
    [ "$(tail -2 <<<"$out" | head -1)" -gt 20 ]
  done
}

@test "run: process namespaces: own, host's; host network and host IPC" {
  requires crun runc
  local rt pod
  pod=$(pod_json obhost | jq ".linux.cgroup_parent = \"$CGROUP\" | .linux.security_context.namespace_options = { network: \"NODE\", ipc: \"NODE\" }" | podnet create -)
  for rt in crun runc; do
    [ "$(in_ctr "$rt" 'echo $$')" = 1 ]
    [ "$(in_ctr "$rt" 'readlink /proc/self/ns/pid' "$(sec 'namespace_options: { pid: "NODE" }')")" = "$(readlink /proc/self/ns/pid)" ]
    [ "$(ON=$pod in_ctr "$rt" 'for n in net ipc uts; do readlink /proc/self/ns/$n; done; cat /etc/hosts')" = \
      "$(readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts; cat /etc/hosts)" ]
  done
  podnet rm "$pod"
}

@test "run: another container's processes by TARGET" {
  requires crun
  local id pid start ns
  id=$(ctr '.metadata.name = "target" | .command[2] = "sleep 60"' | ocibundle create "$POD" -)
  crun --root "$CRISP_TMP/rt" run -d -b "$RUNROOT/containers/$id/bundle" "$id" 3>&- >/dev/null
  pid=$(crun --root "$CRISP_TMP/rt" state "$id" | jq .pid)
  start=$(awk '{print $22}' "/proc/$pid/stat")
  ns=$(readlink "/proc/$pid/ns/pid")
  jq -c ".state = \"running\" | .pid = $pid | .pid_start = $start" "$ROOT/containers/$id/state.json" >"$CRISP_TMP/s"
  cp "$CRISP_TMP/s" "$ROOT/containers/$id/state.json"
  [ "$(in_ctr crun 'readlink /proc/self/ns/pid' "$(sec "namespace_options: { pid: \"TARGET\", target_id: \"$id\" }")")" = "$ns" ]
  ctr "$(sec "namespace_options: { pid: \"TARGET\", target_id: \"$id\" }")" >"$CRISP_TMP/t.json"
  run_err 6 ocibundle create "$PRIV" "$CRISP_TMP/t.json"
  [[ $stderr == *"another pod"* ]]
  run_err 5 ocibundle rm "$id"
  crun --root "$CRISP_TMP/rt" delete -f "$id"
  run_err 5 ocibundle create "$POD" "$CRISP_TMP/t.json"
  [[ $stderr == *"not running"* ]]
}

@test "run: resource limits are the container's own" {
  requires crun runc cgroup1
  local rt out
  for rt in crun runc; do
    out=$(in_ctr "$rt" 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares; cat /proc/self/oom_score_adj' \
      '.linux.resources = { memory_limit_in_bytes: 67108864, cpu_shares: 512, cpu_quota: -1, oom_score_adj: 300, hugepage_limits: [{ page_size: "2MB" }] }')
    [ "$(tr '\n' ' ' <<<"$out")" = "67108864 512 300 " ]
  done
}

@test "seccomp: the default blocks what it should and lets ordinary programs run" {
  requires crun runc
  local rt out default='seccomp: { profile_type: "RuntimeDefault" }'
  for rt in crun runc; do
    out=$(in_ctr "$rt" 'grep ^Seccomp: /proc/self/status; unshare -U true; mount -t tmpfs x /tmp; hostname foo; swapoff /x; (echo sub; ls / | wc -l) | cat; sleep 0.01 & wait; chown 5 /root; ip link show lo | head -1' \
      "$(sec "$default, capabilities: { add_capabilities: [\"SYS_CHROOT\"] }")" 2>&1)
    echo "$out"
    [[ $out =~ Seccomp:[[:space:]]*2 ]]
    [ "$(grep -c 'not permitted\|denied' <<<"$out")" -ge 4 ]
    [[ $out == *sub* && $out == *LOOPBACK* ]]
    # Without the profile unshare works: so it was the profile that stopped it.
    out=$(in_ctr "$rt" 'grep ^Seccomp: /proc/self/status; unshare -U true && echo unshared')
    [[ $out =~ Seccomp:[[:space:]]*0 && $out == *unshared* ]]
    out=$(in_ctr "$rt" 'mount -t tmpfs x /tmp && echo mounted; hostname foo && hostname' \
      "$(sec "$default, capabilities: { add_capabilities: [\"SYS_ADMIN\"] }")" 2>&1)
    [[ $out == *mounted* && $out == *foo* ]]
    in_ctr "$rt" 'hostname obpod' "$(sec 'capabilities: { add_capabilities: ["SYS_ADMIN"] }')"
  done
}

@test "seccomp: localhost, unconfined and the deprecated strings" {
  requires crun runc
  local rt file=$CRISP_TMP/seccomp.json
  echo '{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] }' >"$file"
  for rt in crun runc; do
    local how
    for how in "seccomp: { profile_type: \"Localhost\", localhost_ref: \"$file\" }" "seccomp_profile_path: \"localhost/$file\""; do
      run in_ctr "$rt" 'mkdir /tmp/x || echo blocked' "$(sec "$how")"
      [[ $output == *blocked* ]]
    done
    [ "$(in_ctr "$rt" 'mkdir /tmp/x && echo made' "$(sec 'seccomp: { profile_type: "Unconfined" }')")" = made ]
  done
  dry "$(sec 'seccomp_profile_path: "runtime/default"')" | jq -e '.linux.seccomp.defaultAction == "SCMP_ACT_ERRNO"'
  dry "$(sec 'seccomp_profile_path: "unconfined"')" | jq -e '.linux | has("seccomp") | not'
  refuse 6 "seccomp" "$(sec 'seccomp: { profile_type: "Localhost", localhost_ref: "/no/such" }')"
  refuse 6 "absolute" "$(sec 'seccomp: { profile_type: "Localhost", localhost_ref: "rel" }')"
  refuse 6 "missing" "$(sec 'seccomp: { profile_type: "Localhost" }')"
  echo '{ "defaultAction": ' >"$file"
  refuse 6 "seccomp" "$(sec "seccomp: { profile_type: \"Localhost\", localhost_ref: \"$file\" }")"
  jq --arg f "$CRISP_TMP/own.json" '.seccomp_profile = $f' "$CRISP_CONFIG" >"$CRISP_TMP/etc/own.json"
  echo '{ "defaultAction": "SCMP_ACT_LOG" }' >"$CRISP_TMP/own.json"
  ctr "$(sec 'seccomp: {}')" | ocibundle create --config "$CRISP_TMP/etc/own.json" --dry-run "$POD" - |
    jq -e '.linux.seccomp == { defaultAction: "SCMP_ACT_LOG" }'
}
