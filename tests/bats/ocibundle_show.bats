#!/usr/bin/env bats
# ocibundle show --explain and diff: why each line of config.json is there, and in what two of them differ.
# shellcheck disable=SC2016,SC2154

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

# explain [JQ]: what show --explain says of a container that would be made
explain() {
  ctr "${1:-.}" >"$CRISP_TMP/explain.json"
  ocibundle show --explain "${ON:-$POD}" "$CRISP_TMP/explain.json"
}
# line PATH VALUE SOURCE: that line is in $output
line() { grep -qxF "$1"$'\t'"$2"$'\t'"$3" <<<"$output" || { grep -F "$1" <<<"$output"; echo "no: $1 $2 $3"; return 1; }; }

@test "each line has its source: the request's field, the image, the pod, the default" {
  output=$(explain ".args = [\"a\"] | .envs = [{ key: \"A\", value: \"x\" }] | .linux.resources.cpu_shares = 5
    | .mounts = [{ host_path: \"/tmp\", container_path: \"/m\", readonly: true }] | .working_dir = \"/w\"
    | .devices = [{ host_path: \"/dev/zero\" }]
    | $(sec 'run_as_user: { value: 1000 }, supplemental_groups: [7], no_new_privs: true, readonly_rootfs: true,
      capabilities: { add_capabilities: ["NET_ADMIN"] }, seccomp: { profile_type: "RuntimeDefault" }')")
  line 'process.args[0]' '"/bin/sh"' 'request command'
  line 'process.args[3]' '"a"' 'request args'
  line 'process.env[A]' '"x"' 'request envs'
  line 'process.env[FROM]' '"image"' 'image Env'
  line 'process.env[HOSTNAME]' '"obpod"' 'pod hostname'
  line 'process.env[HOME]' '"/home/user"' 'image /etc/passwd'
  line 'process.cwd' '"/w"' 'request working_dir'
  line 'process.user.uid' 1000 'request linux.security_context.run_as_user'
  line 'process.user.additionalGids[7]' 7 'request linux.security_context.supplemental_groups'
  line 'process.user.additionalGids[2000]' 2000 'image /etc/group'
  line 'process.noNewPrivileges' true 'request linux.security_context.no_new_privs'
  line 'process.capabilities.bounding[CAP_NET_ADMIN]' '"CAP_NET_ADMIN"' 'request linux.security_context.capabilities.add_capabilities'
  line 'process.capabilities.bounding[CAP_CHOWN]' '"CAP_CHOWN"' 'default (default_capabilities)'
  line 'root.readonly' true 'request linux.security_context.readonly_rootfs'
  line 'mounts[/m].source' '"/tmp"' 'request mounts[0].host_path'
  line 'mounts[/m].options[ro]' '"ro"' 'request mounts[0].readonly'
  line 'mounts[/proc].type' '"proc"' default
  line 'mounts[/etc/resolv.conf].options[ro]' '"ro"' 'request linux.security_context.readonly_rootfs'
  line 'linux.resources.cpu.shares' 5 'request linux.resources.cpu_shares'
  line 'linux.devices[/dev/zero].minor' 5 'request devices[0]'
  line 'linux.resources.devices[1].minor' 5 'request devices[0]'
  line 'linux.maskedPaths[/proc/kcore]' '"/proc/kcore"' default
  line 'linux.seccomp.defaultAction' '"SCMP_ACT_ERRNO"' 'request linux.security_context.seccomp (RuntimeDefault, built in)'
  line 'annotations[crisp.container]' '"c"' 'request metadata.name'
  output=$(explain 'del(.command)')
  line 'process.args[0]' '"/bin/sh"' 'image Cmd'
  line 'process.cwd' '"/"' default
}

@test "what is said to be a default is one: nothing that was asked for, by anybody" {
  output=$(explain ".tty = true | .linux.resources = { cpu_shares: 5, cpu_quota: 5000, cpu_period: 50000, cpuset_cpus: \"0\", cpuset_mems: \"0\",
      memory_limit_in_bytes: 100000000, oom_score_adj: 5 } | .stop_signal = \"SIGINT\" | .annotations = { a: \"b\" }
    | .mounts = [{ host_path: \"/tmp\", container_path: \"/m\", readonly: true, recursive_read_only: true, mount_options: [\"noexec\"] }]
    | .devices = [{ host_path: \"/dev/zero\" }] | .working_dir = \"/w\"
    | $(sec 'run_as_user: { value: 1000 }, run_as_group: { value: 9 }, masked_paths: ["/a"], readonly_paths: ["/b"],
      capabilities: { drop_capabilities: ["ALL"], add_ambient_capabilities: ["KILL"] }, seccomp: { profile_type: "RuntimeDefault" }')")
  # What is left is what the kernel's file systems, the bundle and the specification are like.
  grep -vE $'^(ociVersion|root\\.path|process\\.env\\[PATH\\]|mounts\\[/(proc|dev|dev/pts|dev/mqueue|dev/shm|sys|sys/fs/cgroup|etc/hosts)\\]\\.|linux\\.namespaces\\[(mount|cgroup)\\]|linux\\.resources\\.devices\\[0\\])' <<<"$output" >"$CRISP_TMP/asked"
  [ "$(wc -l <"$CRISP_TMP/asked")" -gt 40 ]
  if grep -P '\tdefault$' "$CRISP_TMP/asked"; then return 1; fi
}

@test "a key of the configuration is told with the file that sets it" {
  jq '.default_ulimits = ["core=0"] | .default_capabilities = ["CAP_KILL"]' "$CRISP_CONFIG" >"$CRISP_TMP/etc/own.json"
  ctr >"$CRISP_TMP/c.json"
  output=$(ocibundle show --explain --config "$CRISP_TMP/etc/own.json" "$POD" "$CRISP_TMP/c.json")
  line 'process.rlimits[RLIMIT_CORE].soft' 0 "configuration default_ulimits ($CRISP_TMP/etc/own.json)"
  line 'process.capabilities.effective[CAP_KILL]' '"CAP_KILL"' "configuration default_capabilities ($CRISP_TMP/etc/own.json)"
}

@test "every line of config.json is there once, and equal inputs give equal bytes" {
  local id
  id=$(ctr '.devices = [{ host_path: "/dev/zero" }]' | ocibundle create "$POD" -)
  output=$(ocibundle show --explain "$id")
  [ "$output" = "$(ocibundle show --explain "$id")" ]
  [ -z "$(cut -f1 <<<"$output" | sort | uniq -d)" ]
  [ "$(awk -F'\t' 'NF != 3' <<<"$output")" = "" ]
  # As many lines as config.json has leaves, an empty list being one.
  [ "$(wc -l <<<"$output")" = "$(ocibundle show "$id" | jq '[paths(type != "object" and type != "array" or length == 0)] | length')" ]
  ocibundle rm "$id"
  [ "$(explain)" = "$(explain)" ]
  id=$(printf x | sha256sum | cut -c1-64)
  output=$(ctr | ocibundle create --id "$id" --dry-run "$POD" -)
  ctr | ocibundle create --id "$id" "$POD" -
  [ "$(command jq -c . <<<"$output")" = "$(ocibundle show "$id")" ]
}

@test "show of a pod and a file is create --dry-run" {
  local before
  before=$(find "$ROOT" "$RUNROOT" | sort)
  [ "$(ctr | ocibundle show "$POD" -)" = "$(dry)" ]
  [ "$(find "$ROOT" "$RUNROOT" | sort)" = "$before" ]
  run_err 3 ocibundle show "$POD"
  run_err 2 ocibundle show
}

@test "diff: equal is silence and 0, a difference is a line and 1, trouble is another status" {
  local a b
  a=$(ctr '.metadata.name = "a"' | ocibundle create "$POD" -)
  b=$(ctr '.metadata.name = "b"' | ocibundle create "$POD" -)
  # Their ids, and what is called after them, are no difference; their names are.
  run -1 ocibundle diff "$a" "$b"
  [ "$output" = $'annotations[crisp.container]\t"a"\t"b"' ]
  ocibundle rm "$b"
  b=$(ctr ".metadata.name = \"b\" | .envs = [{ key: \"X\", value: \"1\" }] | .linux.resources.cpu_shares = 9
    | .mounts = [{ host_path: \"/tmp\", container_path: \"/m\" }] | $(sec 'capabilities: { drop_capabilities: ["KILL"] }')" | ocibundle create "$POD" -)
  run -1 ocibundle diff "$a" "$b"
  grep -qxF $'process.env[X]\t-\t"1"' <<<"$output"
  grep -qxF $'linux.resources.cpu.shares\t-\t9' <<<"$output"
  grep -qxF $'process.capabilities.bounding[CAP_KILL]\t"CAP_KILL"\t-' <<<"$output"
  grep -qxF $'mounts[/m].source\t-\t"/tmp"' <<<"$output"
  # A mount that comes between others is no difference of those.
  [ "$(grep -c '^mounts' <<<"$output")" = "$(grep -c '^mounts\[/m\]' <<<"$output")" ]
  ocibundle show "$a" >"$CRISP_TMP/a.json"
  run -0 ocibundle diff "$a" "$CRISP_TMP/a.json"
  [ -z "$output" ]
  run -0 ocibundle diff "$CRISP_TMP/a.json" - <"$CRISP_TMP/a.json"
  [ -z "$output" ]
  jq '.process.cwd = "/x"' "$CRISP_TMP/a.json" >"$CRISP_TMP/b.json"
  run -1 ocibundle diff "$CRISP_TMP/a.json" "$CRISP_TMP/b.json"
  [ "$output" = $'process.cwd\t"/"\t"/x"' ]
  run_err 3 ocibundle diff "$a" nosuch
  run_err 3 ocibundle diff "$a" "$CRISP_TMP/nosuch.json"
  echo '[' >"$CRISP_TMP/b.json"
  run_err 6 ocibundle diff "$a" "$CRISP_TMP/b.json"
  echo '[1]' >"$CRISP_TMP/b.json"
  run_err 6 ocibundle diff "$a" "$CRISP_TMP/b.json"
  printf '{"a":%s1%s}' "$(printf '[%.0s' $(seq 1500))" "$(printf ']%.0s' $(seq 1500))" >"$CRISP_TMP/b.json"
  run -1 ocibundle diff "$CRISP_TMP/b.json" "$a"
  # What a file has in it cannot reach the terminal as anything but text.
  printf '{"a\\u001b[2J":"\\u001b[2J"}' >"$CRISP_TMP/b.json"
  run -1 ocibundle diff "$CRISP_TMP/b.json" "$a"
  [[ $output != *$'\e'* ]]
}
