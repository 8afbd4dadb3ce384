#!/usr/bin/env bats
# Every kind of config.json that ocibundle writes, against the OCI runtime specification's JSON schema.
# shellcheck disable=SC2016

setup_file() {
  load ../lib/helpers
  load ../lib/ctrs
  [ -d /usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema ] || skip "needs golang-github-opencontainers-specs-dev"
  /usr/bin/python3 -c 'import jsonschema' 2>/dev/null || skip "needs python3-jsonschema"
  ctrs_setup_file
  jq ".hooks_dir = [\"$CRISP_TMP/hooks\"] | .cdi_spec_dirs = [\"$CRISP_TMP/cdi\"] | .default_ulimits = [\"nofile=512:1024\", \"core=0\"]" \
    "$CRISP_CONFIG" >"$CRISP_TMP/etc/c"
  mv "$CRISP_TMP/etc/c" "$CRISP_CONFIG"
  mkdir "$CRISP_TMP"/{hooks,cdi}
}
teardown_file() {
  load ../lib/helpers
  load ../lib/ctrs
  [ -z "${CRISP_TMP:-}" ] || ctrs_teardown_file
}
setup() {
  load ../lib/helpers
  load ../lib/ctrs
}
teardown() {
  rm -f "$CRISP_TMP"/{hooks,cdi}/* "$CRISP_TMP"/etc/handlers.d/*
  ctrs_teardown
}

# valid FILE...: what the schema says of them
valid() { /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/oci_schema.py" "$@"; }
# made NAME [JQ]: that container's config.json into $CRISP_TMP/made.NAME
made() { dry "${2:-.}" >"$CRISP_TMP/made.$1"; }

@test "the check can fail" {
  made plain
  valid "$CRISP_TMP/made.plain"
  local filter
  for filter in '.process.args = 5' 'del(.process.cwd)' '.mounts[0].destination = 1' '.linux.namespaces[0].type = "x"' \
    '.process.capabilities.bounding = [5]' '.linux.resources.cpu.shares = "x"' '.process.argz = []' '.linux.resources.memory = { limitt: 1 }' \
    '.mounts[0].dest = "x"' '.ociVersion = 1' '.hooks.prestart = [{}]'; do
    jq "$filter" "$CRISP_TMP/made.plain" >"$CRISP_TMP/made.bad"
    run valid "$CRISP_TMP/made.bad"
    [ "$status" = 1 ] || { echo "not seen: $filter"; return 1; }
  done
  rm "$CRISP_TMP/made.bad"
}

@test "requests of every kind: process, users, capabilities, mounts, devices, resources, seccomp, namespaces" {
  store_image full '{"Cmd":["x"],"Env":["A=b"],"WorkingDir":"/w","User":"user","Volumes":{"/data":{}},"StopSignal":"SIGINT"}' >/dev/null
  echo '{ "defaultAction": "SCMP_ACT_ALLOW", "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] }],
    "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }], "comment": "x",
      "includes": {}, "excludes": { "caps": ["CAP_SYS_ADMIN"] } }] }' >"$CRISP_TMP/docker.json"
  made plain
  made image '.image.image = "full" | del(.command)'
  made tty '.tty = true | .stdin = true | .envs = [{ key: "A", value: "x" }] | .working_dir = "/w"'
  made users "$(sec 'run_as_user: { value: 4294967294 }, run_as_group: { value: 7 }, supplemental_groups: [1, 4294967294], no_new_privs: true')"
  made caps "$(sec 'capabilities: { add_capabilities: ["ALL"], add_ambient_capabilities: ["NET_RAW"] }')"
  made nocaps "$(sec 'capabilities: { drop_capabilities: ["ALL"] }, readonly_rootfs: true, masked_paths: ["/a"], readonly_paths: ["/b"]')"
  made mounts '.mounts = [{ host_path: "/tmp", container_path: "/a", readonly: true, recursive_read_only: true, mount_options: ["noexec"] },
    { container_path: "/i", readonly: true, image: { image: "full" } }]'
  made devices '.devices = [{ host_path: "/dev/zero", permissions: "r" }, { host_path: "/dev/net", container_path: "/dev/d" }]'
  made resources '.linux.resources = { cpu_period: 100000, cpu_quota: 50000, cpu_shares: 2, memory_limit_in_bytes: 100000000,
    memory_swap_limit_in_bytes: 200000000, oom_score_adj: 100, cpuset_cpus: "0", cpuset_mems: "0" }'
  made seccomp "$(sec 'seccomp: { profile_type: "RuntimeDefault" }')"
  made docker "$(sec "seccomp: { profile_type: \"Localhost\", localhost_ref: \"$CRISP_TMP/docker.json\" }")"
  made hostpid "$(sec 'namespace_options: { pid: "NODE" }')"
  POD=$PRIV made privileged "$(sec 'privileged: true, seccomp: { profile_type: "RuntimeDefault" }')"
  valid "$CRISP_TMP"/made.*
}

@test "the configured default seccomp profile of podman's package, whole" {
  [ -e /usr/share/containers/seccomp.json ] || skip "needs golang-github-containers-common"
  made podman "$(sec 'seccomp: { profile_type: "Localhost", localhost_ref: "/usr/share/containers/seccomp.json" }')"
  valid "$CRISP_TMP/made.podman"
}

@test "RuntimeDefault differs from podman's default in exactly what seccomp_default.md says" {
  local list=/usr/share/containers/seccomp.json doc=$BATS_TEST_DIRNAME/../../cmd/ocibundle/seccomp_default.md cap
  [ -e "$list" ] || skip "needs golang-github-containers-common"
  : >"$CRISP_TMP/ours"
  for cap in "" SYS_ADMIN BPF PERFMON SYSLOG SYS_CHROOT SYS_PTRACE CHECKPOINT_RESTORE DAC_READ_SEARCH SYS_NICE SYS_TIME SYS_MODULE SYS_RAWIO \
    SYS_BOOT SYS_PACCT SYS_TTY_CONFIG AUDIT_WRITE NET_ADMIN IPC_LOCK; do
    dry "$(sec "seccomp: { profile_type: \"RuntimeDefault\" }, capabilities: { drop_capabilities: [\"ALL\"], add_capabilities: [${cap:+\"$cap\"}] }")" |
      jq -c --arg cap "${cap:+CAP_$cap}" '{ cap: $cap, seccomp: .linux.seccomp }' >>"$CRISP_TMP/ours"
  done
  [ "$(wc -l <"$CRISP_TMP/ours")" = 19 ]
  /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/seccomp_compare.py" "$list" "$doc" <"$CRISP_TMP/ours"
  # A row too few, a row too many, a row without a reason: each is seen.
  grep -v '^| reboot ' "$doc" >"$CRISP_TMP/few.md"
  sed 's/^| reboot /| reboot read /' "$doc" >"$CRISP_TMP/many.md"
  sed 's/^\(| reboot .*EPERM |\).*/\1 because |/' "$doc" >"$CRISP_TMP/why.md"
  for cap in few many why; do
    run /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/seccomp_compare.py" "$list" "$CRISP_TMP/$cap.md" <"$CRISP_TMP/ours"
    [ "$status" = 1 ]
    [ "${#lines[@]}" = 1 ]
    [[ $output == *reboot* || $output == *read* ]]
  done
}

@test "hooks, CDI devices, and what handlers add" {
  echo '{ "version": "1.0.0", "hook": { "path": "/bin/true", "args": ["true"], "env": ["A=b"] }, "when": { "always": true },
    "stages": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] }' >"$CRISP_TMP/hooks/a.json"
  echo '{ "cdiVersion": "0.6.0", "kind": "acme.com/gpu", "devices": [{ "name": "a", "containerEdits": { "env": ["A=b"], "additionalGids": [5],
    "deviceNodes": [{ "path": "/dev/g", "hostPath": "/dev/zero", "uid": 5 }], "mounts": [{ "hostPath": "/tmp", "containerPath": "/g" }],
    "hooks": [{ "hookName": "createContainer", "path": "/bin/true", "timeout": 3 }] } }] }' >"$CRISP_TMP/cdi/a.json"
  made cdi '.CDI_devices = [{ name: "acme.com/gpu=a" }]'
  jq -n '{ path: "/usr/bin/crun", default_annotations: { a: "b" }, base_spec_patch: { process: { oomScoreAdj: 5 } }, hooks: { poststop: [{ path: "/bin/true" }] } }' \
    >"$CRISP_TMP/etc/handlers.d/h.json"
  local pod
  pod=$(pod_json hschema | podnet create --handler h -)
  POD=$pod made handler
  podnet rm "$pod"
  [ "$(jq '.process.oomScoreAdj' "$CRISP_TMP/made.handler")" = 5 ]
  valid "$CRISP_TMP/made.cdi" "$CRISP_TMP/made.handler"
}
