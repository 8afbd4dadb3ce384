#!/usr/bin/env bats
# What crun and runc make of a bundle, seen from inside the container.
# shellcheck disable=SC2016,SC2089,SC2090

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
    # /dev/shm is the pod's: what one writes another reads, and the host finds it with the pod.
    in_ctr "$rt" "echo $rt >/dev/shm/of-$rt"
    [ "$(in_ctr "$rt" "cat /dev/shm/of-$rt; mount | grep -c 'on /dev/shm type tmpfs (rw,nosuid,nodev,noexec'" | tr '\n' ' ')" = "$rt 1 " ]
    [ "$(cat "$RUNROOT/pods/$POD/shm/of-$rt")" = "$rt" ]
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

@test "run: ProcMount: a kubelet's empty lists unmask, everybody else's mean the usual" {
  requires crun runc
  local rt kubelet='.labels = { "io.kubernetes.container.name": "c" }' count='grep -cE " /(proc|sys)/[^ ]+ " /proc/self/mountinfo'
  for rt in crun runc; do
    [ "$(in_ctr "$rt" "$count")" -gt 8 ]
    # What is left is /sys/fs/cgroup.
    [ "$(in_ctr "$rt" 'grep -cE " /proc/[^ ]+ " /proc/self/mountinfo; now=$(cat /proc/sys/kernel/printk); echo "$now" >/proc/sys/kernel/printk && echo written' "$kubelet" | tr '\n' ' ')" = "0 written " ]
    [ "$(in_ctr "$rt" 'grep -cE " /proc/[^ ]+ " /proc/self/mountinfo' "$kubelet | $(sec 'masked_paths: ["/proc/keys"]')")" = 1 ]
  done
}

@test "run: capabilities of root and of a user, added, ambient, all: what the kernel says" {
  requires crun runc
  local rt out caps='grep ^Cap /proc/self/status | cut -f2 | tr "\n" " "' zero=0000000000000000
  for rt in crun runc; do
    out=$(in_ctr "$rt" "$caps" "$(sec 'capabilities: { drop_capabilities: ["ALL"], add_capabilities: ["NET_ADMIN"] }')")
    [ "$out" = "$zero 0000000000001000 0000000000001000 0000000000001000 $zero " ]
    # A user has what the bounding set allows only by way of the ambient one.
    out=$(in_ctr "$rt" "$caps" "$(sec 'run_as_user: { value: 1000 }, capabilities: { drop_capabilities: ["ALL"], add_capabilities: ["NET_ADMIN"] }')")
    [ "$out" = "$zero $zero $zero 0000000000001000 $zero " ]
    out=$(in_ctr "$rt" "$caps" "$(sec 'run_as_user: { value: 1000 }, capabilities: { drop_capabilities: ["ALL"], add_ambient_capabilities: ["NET_RAW"] }')")
    [ "$out" = "0000000000002000 0000000000002000 0000000000002000 0000000000002000 0000000000002000 " ]
    out=$(in_ctr "$rt" "$caps" "$(sec 'capabilities: { add_capabilities: ["ALL"] }')")
    [ "$(cut -d' ' -f4 <<<"$out")" = "$(awk '/^CapBnd/ { print $2 }' /proc/self/status)" ]
  done
}

@test "run: groups by both policies, primary group, limits, no_new_privs off: what the kernel says" {
  requires crun runc
  local rt ids='grep -E "^(Uid|Gid|Groups|NoNewPrivs)" /proc/self/status | cut -f2- | tr "\t\n" " ;" | tr -s " "'
  jq '.default_ulimits = ["nofile=512:1024", "core=0"]' "$CRISP_CONFIG" >"$CRISP_TMP/etc/limits.json"
  for rt in crun runc; do
    [ "$(in_ctr "$rt" "$ids" "$(sec 'run_as_user: { value: 1000 }, run_as_group: { value: 9 }, supplemental_groups: [7]')")" = \
      "1000 1000 1000 1000;9 9 9 9;7 9 2000 ;0;" ]
    [ "$(in_ctr "$rt" "$ids" "$(sec 'run_as_username: "user", supplemental_groups: [7], supplemental_groups_policy: "Strict", no_new_privs: true')")" = \
      "1000 1000 1000 1000;1001 1001 1001 1001;7 1001 ;1;" ]
    [ "$(CRISP_CONFIG=$CRISP_TMP/etc/limits.json in_ctr "$rt" 'ulimit -S -n; ulimit -H -n; ulimit -c' | tr '\n' ' ')" = "512 1024 0 " ]
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
    [ "$(grep -cx 'one\|two' <<<"$out")" = 4 ]
    [ "$(grep -c 'Read-only' <<<"$out")" = 2 ]
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

@test "run: devices by pattern, of the request and of the configuration" {
  requires crun runc
  local rt out config=$CRISP_TMP/etc/devices.json
  jq '.additional_devices = ["/dev/urando?:/dev/extra:r", "/dev/full:/dev/whole:rw", "/dev/nosuch*"]' "$CRISP_CONFIG" >"$config"
  for rt in crun runc; do
    out=$(CRISP_CONFIG=$config in_ctr "$rt" 'ls /dev/m /dev/extra; echo x >/dev/m/null; head -c 2 /dev/m/zero | wc -c; head -c 1 /dev/extra/urandom | wc -c
      echo x 2>&1 >/dev/whole' '.devices = [{ host_path: "/dev/[nz]*[lo]", container_path: "/dev/m", permissions: "rw" }]' 2>&1) || true
    [ "$(head -6 <<<"$out" | tr '\n' ' ')" = "/dev/extra: urandom  /dev/m: null zero " ]
    [[ $out == *$'\n2\n1\n'*"No space left"* ]]
  done
  ctr '.devices = [{ host_path: "/dev/[nz]*[lo]" }]' >"$CRISP_TMP/p.json"
  ocibundle show --config "$config" --explain "$POD" "$CRISP_TMP/p.json" >"$CRISP_TMP/p.out"
  grep -qx $'linux.devices\[/dev/zero\].major\t1\trequest devices\[0\]' "$CRISP_TMP/p.out"
  grep -qx "linux.devices\[/dev/whole\].path	\"/dev/whole\"	configuration additional_devices ($config)" "$CRISP_TMP/p.out"
  grep -qx "linux.resources.devices\[1\].access	\"r\"	configuration additional_devices ($config)" "$CRISP_TMP/p.out"
  refuse 6 "request devices[0]: no device matches '/dev/nosuch*'" '.devices = [{ host_path: "/dev/nosuch*" }]'
  local bad
  for bad in /dev/nosuch null /dev/null:rx /dev/null:/dev/../x; do
    jq --arg d "$bad" '.additional_devices = [$d]' "$CRISP_CONFIG" >"$config"
    CRISP_CONFIG=$config run --separate-stderr ocibundle show "$POD" "$CRISP_TMP/p.json"
    [ "$status" != 0 ]
    [[ $stderr == *additional_devices* ]]
  done
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
    out=$(in_ctr "$rt" 'cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus cpuset/cpuset.mems; grep ^Cpus_allowed_list /proc/self/status | cut -f2' \
      '.linux.resources = { cpu_quota: 20000, cpu_period: 50000, cpuset_cpus: "0", cpuset_mems: "0" }')
    [ "$(tr '\n' ' ' <<<"$out")" = "20000 50000 0 0 0 " ]
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
