#!/usr/bin/env bats
# Runtime handlers: what a file of handlers.d does to a container, what is refused, what `ctrrun handlers` finds out.
# shellcheck disable=SC2016,SC2317,SC2034,SC2030,SC2031

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

teardown() {
  rm -f "$CRISP_TMP"/etc/handlers.d/*.json "$RUNROOT"/handlers/*.json
  ctrs_teardown
  [ -z "${HPOD:-}" ] || podnet rm "$HPOD"
}

# handler NAME JQ: write that file, from one with the path of crun
handler() { jq -n "{ path: \"$(command -v crun)\" } | ${2:-.}" >"$CRISP_TMP/etc/handlers.d/$1.json"; }
# on_handler NAME COMMAND: with POD a pod of that handler. (Not in a condition: a failure within must end the test.)
on_handler() {
  HPOD=$(pod_json "h-$1" | jq ".linux.cgroup_parent = \"$CGROUP\" | .annotations = { \"vm/memory\": \"pod\", \"vm/cpus\": \"2\", secret: \"x\" }" |
    podnet create --handler "$1" -)
  local POD=$HPOD
  "$2"
  podnet rm "$HPOD"
}
# fake NAME SCRIPT: a runtime that is a script
fake() {
  printf '#!/bin/sh\n%s\n' "$2" >"$CRISP_TMP/$1"
  chmod 755 "$CRISP_TMP/$1"
}

@test "an unknown key, a wrong type, a path that is not absolute: the file and the key are named" {
  ctr >"$CRISP_TMP/c.json"
  local want filter
  while IFS='|' read -r want filter; do
    handler bad "$filter"
    run_err 6 podnet create --handler bad <(pod_json hbad)
    [[ $stderr == *"handlers.d/bad.json: $want"* ]] || { echo "expected: $want"; return 1; }
  done <<'LIST'
rooot: unknown key|.rooot = "/x"
path: missing|del(.path)
path: 'crun' is not absolute|.path = "crun"
path: expected string, found integer|.path = 1
root: 'x' is not absolute|.root = "x"
args: expected array, found string|.args = "--debug"
args[1]: expected string, found integer|.args = ["a", 1]
create_timeout: not within|.create_timeout = 0
default_annotations.a: expected string, found integer|.default_annotations = { a: 1 }
allowed_annotations: expected array|.allowed_annotations = "x"
base_spec_patch: expected object|.base_spec_patch = []
seccomp_profile: 'x' is not absolute|.seccomp_profile = "x"
sandbox_container: expected boolean, found string|.sandbox_container = "yes"
sandbox_annotations.a: expected string, found integer|.sandbox_annotations = { a: 1 }
processes: 'vm' is not host or sandbox|.processes = "vm"
processes: sandbox needs sandbox_container|.processes = "sandbox"
can.fly: unknown key|.can = { fly: true }
can.update: expected boolean, found string|.can = { update: "no" }
hooks: 'late' is not a stage|.hooks = { late: [] }
hooks: prestart[0]: path: 'x' is not absolute|.hooks = { prestart: [{ path: "x" }] }
hooks: prestart[0]: tmeout: unknown key|.hooks = { prestart: [{ path: "/x", tmeout: 1 }] }
type: 'vm' is not supported|.type = "vm"
LIST
  echo '{ "path": ' >"$CRISP_TMP/etc/handlers.d/bad.json"
  run_err 6 podnet create --handler bad <(pod_json hbad)
  [[ $stderr == *handlers.d/bad.json* ]]
}

@test "annotations: defaults, and of pod and container those that are allowed; the container's win" {
  handler ann '.default_annotations = { "vm/kernel": "k", "vm/cpus": "1", "crisp.pod": "lie" } | .allowed_annotations = ["vm/*"]'
  look() {
    ctr '.annotations = { "vm/memory": "ctr", other: "x", "vm/x": "y" }' >"$CRISP_TMP/ann.json"
    ocibundle show "$POD" "$CRISP_TMP/ann.json" | jq -e --arg pod "$POD" '.annotations == { "crisp.pod": $pod,
      "crisp.container": "c", "vm/kernel": "k", "vm/cpus": "2", "vm/memory": "ctr", "vm/x": "y" }'
    output=$(ocibundle show --explain "$POD" "$CRISP_TMP/ann.json")
    grep -qxF $'annotations[vm/kernel]\t"k"\thandler ann default_annotations' <<<"$output"
    grep -qxF $'annotations[vm/cpus]\t"2"\tpod annotations' <<<"$output"
    grep -qxF $'annotations[vm/memory]\t"ctr"\trequest annotations' <<<"$output"
  }
  on_handler ann look
  handler ann .
  look() { dry '.annotations = { "vm/memory": "ctr" }' | jq -e '.annotations | keys == ["crisp.container", "crisp.pod"]'; }
  on_handler ann look
}

@test "base_spec_patch is a merge patch with the last word, and explain says so" {
  requires crun
  handler patched '.base_spec_patch = { hostname: null, process: { oomScoreAdj: 77, cwd: "/tmp", apparmorProfile: null },
    root: { readonly: true }, linux: { maskedPaths: null, readonlyPaths: ["/data"] } }'
  look() {
    dry | jq -e '.process.oomScoreAdj == 77 and .process.cwd == "/tmp" and .root == { path: "rootfs", readonly: true }
      and (.linux | has("maskedPaths") | not) and .linux.readonlyPaths == ["/data"] and (.process.args | length) == 3'
    ctr >"$CRISP_TMP/p.json"
    ocibundle show --explain "$POD" "$CRISP_TMP/p.json" | grep -qxF $'process.oomScoreAdj\t77\thandler patched base_spec_patch'
    ocibundle show --explain "$POD" "$CRISP_TMP/p.json" | grep -qxF $'process.args[0]\t"/bin/sh"\trequest command'
    output=$(ON=$POD in_ctr crun 'pwd; cat /proc/self/oom_score_adj; touch /x' 2>&1) || true
    [[ $output == "/tmp"*"77"*"Read-only"* ]]
  }
  on_handler patched look
  handler patched '.base_spec_patch = { linux: null }'
  look() { ON=$POD refuse 6 "takes process, linux or root away" .; }
  on_handler patched look
}

@test "seccomp_profile of a handler is what RuntimeDefault means, and no more" {
  echo '{ "defaultAction": "SCMP_ACT_LOG" }' >"$CRISP_TMP/own.json"
  handler sec ".seccomp_profile = \"$CRISP_TMP/own.json\""
  look() {
    dry "$(sec 'seccomp: { profile_type: "RuntimeDefault" }')" | jq -e '.linux.seccomp == { defaultAction: "SCMP_ACT_LOG" }'
    dry "$(sec 'seccomp: { profile_type: "Unconfined" }')" | jq -e '.linux | has("seccomp") | not'
    dry . | jq -e '.linux | has("seccomp") | not'
  }
  on_handler sec look
}

@test "hooks of a handler run, each with its own clock" {
  requires crun runc
  fake hook 'cat >/dev/null; echo "$1 $FROM" >>'"$CRISP_TMP/hooked"
  fake slow 'exec sleep 60'
  local rt
  for rt in crun runc; do
    rm -f "$CRISP_TMP/hooked"
    handler hook ".path = \"$(command -v $rt)\" | .hooks = { createRuntime: [{ path: \"$CRISP_TMP/hook\", args: [\"hook\", \"made\"], env: [\"FROM=handler\"] }],
      poststop: [{ path: \"$CRISP_TMP/hook\", args: [\"hook\", \"gone\"], timeout: 5 }] }"
    look() {
      dry | jq -e '.hooks.createRuntime[0].timeout == 30 and .hooks.poststop[0].timeout == 5'
      ON=$POD in_ctr $rt true
    }
    on_handler hook look
    [ "$(cat "$CRISP_TMP/hooked")" = $'made handler\ngone ' ]
  done
  handler hook ".hooks = { createRuntime: [{ path: \"$CRISP_TMP/slow\", timeout: 1 }] }"
  look() {
    local start=$SECONDS
    ON=$POD in_ctr crun true && return 1
    [ $((SECONDS - start)) -lt 50 ]
  }
  on_handler hook look
}

@test "ctrrun handlers: what crun and runc are, what they can and cannot; Status of the kubelet's reader" {
  requires crun runc
  local out
  out=$(ctrrun handlers --json)
  jq -e '(.[0].handler == "crun") and (map(.handler) == ["crun", "runc"])
    and (.[] | select(.handler == "runc") | .known_by == "features" and .name == "runc" and .can.recursive_read_only and .can.seccomp
      and (.can.hooks | length) == 6 and .runtime.size > 0 and .runtime.inode > 0)
    and (.[0] | .can.user_namespaces and .can.recursive_read_only)' <<<"$out"
  out=$(ctrrun handlers)
  [[ $out == *"crun (default)  $(command -v crun)  crun version"*"  can     "*"  cannot  "*"  hooks   prestart"* ]]
  [ "$(jq -r .handler "$RUNROOT/handlers/crun.json")" = crun ]
}

@test "ctrrun handlers: a runtime that lies, fails, is missing, is unknown: told, and the others are asked all the same" {
  fake broken 'exit 3'
  fake liar 'case $1 in --version) echo "liar version 9"; exit 0 ;; esac; echo "{ \"hooks\": 7, \"linux\": [], \"mountOptions\": {} }"'
  fake noise 'case $1 in --version) echo "noise version 9"; exit 0 ;; esac; head -c 3000000 /dev/zero'
  fake old 'case $1 in --version) echo "crun version 0.1"; echo "+SECCOMP"; exit 0 ;; esac; exit 1'
  local name out
  for name in broken liar noise old; do handler $name ".path = \"$CRISP_TMP/$name\""; done
  handler gone '.path = "/no/such/runtime"'
  handler bad '.kay = 1'
  out=$(ctrrun handlers --json)
  echo "$out"
  h() { jq -e ".[] | select(.handler == \"$1\") | $2" <<<"$out" >/dev/null; }
  h broken '(.error | contains("exit status 3")) and (has("can") | not)'
  h gone '.error | contains("/no/such/runtime")'
  h bad '.error | contains("kay: unknown key")'
  h liar '.known_by == "features" and (.can | .seccomp == false and .recursive_read_only == false and .hooks == [])'
  h noise '.known_by == "nothing" and (has("can") | not)'
  h old '.known_by == "version" and .can.seccomp and (.can.apparmor | not)'
  out=$(ctrrun handlers)
  [[ $out == *"noise"*"unknown what it can do"* ]]
}

@test "what a runtime says it cannot do is refused; what nobody knows of it is not" {
  fake little 'case $1 in --version) echo "little version 1"; exit 0 ;; esac
echo "{ \"hooks\": [\"prestart\"], \"mountOptions\": [\"ro\"], \"linux\": { \"cgroup\": { \"v1\": true, \"v2\": true } } }"'
  echo '{ "defaultAction": "SCMP_ACT_LOG" }' >"$CRISP_TMP/own.json"
  handler little ".path = \"$CRISP_TMP/little\" | .hooks = { poststart: [{ path: \"/bin/true\" }] }"
  local localhost
  localhost=$(sec "seccomp: { profile_type: \"Localhost\", localhost_ref: \"$CRISP_TMP/own.json\" }")
  look() {
    # Not asked yet.
    dry >/dev/null
    dry "$localhost" >/dev/null
    ON=$POD refuse 14 "not known to honour it" '.mounts = [{ host_path: "/tmp", container_path: "/a", readonly: true, recursive_read_only: true }]'
    ctrrun handlers >/dev/null
    ON=$POD refuse 10 "hook /bin/true of stage poststart: the runtime of handler 'little' does not know that stage" .
    handler little ".path = \"$CRISP_TMP/little\""
    dry >/dev/null
    dry "$(sec 'seccomp: { profile_type: "RuntimeDefault" }')" >/dev/null
    ON=$POD refuse 10 "seccomp: the runtime of handler 'little' cannot do it" "$localhost"
    # Another binary under the same name has not been asked.
    fake little 'exit 1'
    dry "$localhost" >/dev/null
  }
  on_handler little look
  # One that is not known by name, but says that it can.
  fake able 'case $1 in --version) echo "able version 1"; exit 0 ;; esac; echo "{ \"mountOptions\": [\"rro\"], \"linux\": { \"cgroup\": { \"v1\": true, \"v2\": true } } }"'
  handler able ".path = \"$CRISP_TMP/able\""
  look() {
    local rro='.mounts = [{ host_path: "/tmp", container_path: "/a", readonly: true, recursive_read_only: true }]'
    ON=$POD refuse 14 "not known to honour it" "$rro"
    ctrrun handlers >/dev/null
    dry "$rro" | jq -e '.mounts[] | select(.destination == "/a") | .options | index("rro")'
  }
  on_handler able look
}

@test "create_timeout ends a create that hangs" {
  fake hang 'for a; do [ "$a" != create ] || exec sleep 600; done; exit 0'
  handler hang ".path = \"$CRISP_TMP/hang\" | .create_timeout = 1"
  look() {
    local id start=$SECONDS status=0
    id=$(ctr '.log_path = "c.log"' | ocibundle create "$POD" -)
    ctrrun create "$id" || status=$?
    [ $status = 124 ]
    [ $((SECONDS - start)) -lt 100 ]
    ctrrun rm --force "$id"
    ocibundle rm "$id"
  }
  on_handler hang look
}

@test "Status tells the kubelet what was found out, and a new runtime is asked without being waited for" {
  load ../lib/crispd
  fake later 'case $1 in --version) echo "later version 1"; exit 0 ;; esac; echo "{ \"mountOptions\": [\"rro\"] }"'
  handler later ".path = \"$CRISP_TMP/later\""
  crispd_start
  rro() {
    cricall --socket "$SOCK" Status - <<<'{"verbose":true}' >"$CRISP_TMP/status.json"
    jq -e "[.runtime_handlers[] | select(.name == \"$1\") | .features.recursive_read_only_mounts // false] == [$2]" "$CRISP_TMP/status.json"
  }
  wait_for 20 test -e "$RUNROOT/handlers/later.json" -a -e "$RUNROOT/handlers/crun.json"
  rro later true
  # A runtime that says nothing of user namespaces has none.
  jq -e '[.runtime_handlers[] | select(.name == "later") | .features.user_namespaces // false] == [false]' "$CRISP_TMP/status.json"
  jq -e '[.runtime_handlers[] | select(.name == "crun") | .features.user_namespaces // false] == [true]' "$CRISP_TMP/status.json"
  jq -e '.info.handlers | fromjson | .later.known_by == "features"' "$CRISP_TMP/status.json"
  fake later 'exit 1'
  rro later false
  crispd_stop
}
