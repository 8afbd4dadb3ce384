#!/usr/bin/env bats
# What the node adds to a container: hooks of hooks_dir and devices of the Container Device Interface.
# shellcheck disable=SC2016

setup_file() {
  load ../lib/helpers
  load ../lib/ctrs
  ctrs_setup_file
  jq ".hooks_dir = [\"$CRISP_TMP/h1\", \"$CRISP_TMP/h2\", \"/no/such\"] | .cdi_spec_dirs = [\"$CRISP_TMP/c1\", \"$CRISP_TMP/c2\"]" "$CRISP_CONFIG" >"$CRISP_TMP/etc/c"
  mv "$CRISP_TMP/etc/c" "$CRISP_CONFIG"
  mkdir "$CRISP_TMP"/{h1,h2,c1,c2}
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
  rm -f "$CRISP_TMP"/{h1,h2,c1,c2}/*
  ctrs_teardown
}

# hook FILE WHEN [JQ]: a hook file of that name
hook() {
  jq -n "{ version: \"1.0.0\", hook: { path: \"/bin/true\", args: [\"true\", \"$1\"] }, when: $2, stages: [\"prestart\"] } | ${3:-.}" >"$CRISP_TMP/$1"
}
# hooked [JQ]: the second words of the hooks that a container gets at prestart
hooked() { dry "$@" | jq -c '[.hooks.prestart[]?.args[1]]'; }

@test "hooks: conditions by the rules of 1.0.0; all of a file must hold" {
  hook h1/always.json '{ always: true }'
  hook h1/never.json '{ always: false }'
  hook h1/ann.json '{ annotations: { "^gpu$": "^(yes|on)$" } }'
  hook h1/cmd.json '{ commands: ["sh$"] }'
  hook h1/bind.json '{ hasBindMounts: true }'
  hook h1/both.json '{ hasBindMounts: true, commands: ["sh$"], annotations: { gpu: "." } }'
  [ "$(hooked '.command[0] = "/bin/true"')" = '["h1/always.json"]' ]
  [ "$(hooked)" = '["h1/always.json","h1/cmd.json"]' ]
  [ "$(hooked '.command[0] = "/bin/true" | .annotations = { gpu: "on" }')" = '["h1/always.json","h1/ann.json"]' ]
  [ "$(hooked '.command[0] = "/bin/true" | .annotations = { gpu: "no", xgpu: "yes" }')" = '["h1/always.json"]' ]
  [ "$(hooked '.mounts = [{ host_path: "/tmp", container_path: "/m" }]')" = '["h1/always.json","h1/bind.json","h1/cmd.json"]' ]
  [ "$(hooked '.annotations = { gpu: "on" } | .mounts = [{ host_path: "/tmp", container_path: "/m" }]')" = \
    '["h1/always.json","h1/ann.json","h1/bind.json","h1/both.json","h1/cmd.json"]' ]
}

@test "hooks: a later directory's file takes the place of the same name; order is by name; explain names the file" {
  hook h1/20.json '{ always: true }'
  hook h1/10.json '{ always: true }'
  hook h2/20.json '{ always: true }' '.hook.timeout = 7'
  hook h2/15.json '{ always: true }' '.stages = ["prestart", "poststop"]'
  hook h1/.hidden.json '{ always: true }'
  echo junk >"$CRISP_TMP/h1/README"
  [ "$(hooked)" = '["h1/10.json","h2/15.json","h2/20.json"]' ]
  [ "$(dry | jq -c '[.hooks.prestart[].timeout, (.hooks.poststop | length)]')" = '[30,30,7,1]' ]
  ctr >"$CRISP_TMP/c.json"
  ocibundle show --explain "$POD" "$CRISP_TMP/c.json" | grep -qxF "hooks.prestart[2].timeout"$'\t'"7"$'\t'"hook $CRISP_TMP/h2/20.json"
}

@test "hooks: a malformed file is an error that names it and what is wrong" {
  local want filter
  while IFS='|' read -r want filter; do
    hook h1/bad.json '{ always: true }' "$filter"
    refuse 6 "hooks_dir: $CRISP_TMP/h1/bad.json: $want" .
  done <<'LIST'
version: '0.1.0' is not 1.0.0|.version = "0.1.0"
version: |del(.version)
hook: |del(.hook)
hook: path: 'true' is not absolute|.hook.path = "true"
hook: args: expected array|.hook.args = "x"
hook: env[0]: 'A' is not NAME=VALUE|.hook.env = ["A"]
hook: timeout: not a number|.hook.timeout = 0
hook: user: unknown key|.hook.user = "root"
when: no condition|.when = {}
when: command: unknown key|.when = { command: ["x"] }
when: always: expected boolean|.when = { always: "yes" }
when: commands: '(': |.when = { commands: ["("] }
when: annotations: '[': |.when = { annotations: { "[": "x" } }
when: commands: '(((a{99}){99}){99})': too many repetitions|.when = { commands: ["(((a{99}){99}){99})"] }
when: commands: 'a++++++++++++++++++++++++': too many|.when = { commands: ["a++++++++++++++++++++++++"] }
when: commands: 'a++*++++++++++,$': too many|.when = { commands: ["a++*++++++++++,$"] }
when: commands: '(a)\1': too many|.when = { commands: ["(a)\\1"] }
stages: none|.stages = []
stages[0]: 'late' is not a stage|.stages = ["late"]
stage: unknown key|.stage = ["prestart"]
LIST
  echo '{ "version"' >"$CRISP_TMP/h1/bad.json"
  refuse 6 "$CRISP_TMP/h1/bad.json" .
}

@test "hooks: run by crun and runc, with the container's state on their input" {
  requires crun runc
  local rt
  printf '#!/bin/sh\ncat >%s/state.$1\n' "$CRISP_TMP" >"$CRISP_TMP/hook.sh"
  chmod 755 "$CRISP_TMP/hook.sh"
  hook h1/run.json '{ annotations: { trace: "yes" } }' ".hook = { path: \"$CRISP_TMP/hook.sh\", args: [\"x\", \"seen\"] } | .stages = [\"createRuntime\"]"
  for rt in crun runc; do
    in_ctr $rt true
    [ ! -e "$CRISP_TMP/state.seen" ]
    in_ctr $rt true '.annotations = { trace: "yes" }'
    jq -e '.pid > 0 and .annotations["crisp.container"] == "c"' "$CRISP_TMP/state.seen"
    rm "$CRISP_TMP/state.seen"
  done
}

# cdi FILE [JQ]: a specification of one kind
cdi() {
  jq -n '{ cdiVersion: "0.6.0", kind: "acme.com/gpu", devices: [
    { name: "one", containerEdits: { env: ["GPU=one"], deviceNodes: [{ path: "/dev/gpu1", hostPath: "/dev/zero" }] } },
    { name: "two", containerEdits: { env: ["GPU=two", "TWO=2"], deviceNodes: [{ path: "/dev/gpu2", hostPath: "/dev/null", permissions: "r" }] } }],
    containerEdits: { env: ["DRIVER=1"], additionalGids: [77] } } | '"${2:-.}" >"$CRISP_TMP/$1"
}
dev() { echo ".CDI_devices = [$(printf '{ name: "%s" },' "$@" | sed 's/,$//')]"; }

@test "CDI: a device by name brings environment, nodes, groups, mounts and hooks; explain names it and its file" {
  mkdir -p "$CRISP_TMP/lib"
  cdi c1/acme.json ".devices[0].containerEdits += { mounts: [{ hostPath: \"$CRISP_TMP/lib\", containerPath: \"/usr/lib/gpu\", options: [\"ro\"] }],
    hooks: [{ hookName: \"createContainer\", path: \"/bin/true\", args: [\"true\"] }] }"
  dry "$(dev acme.com/gpu=one)" | jq -e --arg lib "$CRISP_TMP/lib" '(.process.env | contains(["DRIVER=1", "GPU=one"]))
    and (.process.user.additionalGids | contains([77])) and (.linux.devices == [{ path: "/dev/gpu1", type: "c", major: 1, minor: 5, fileMode: 438 }])
    and (.linux.resources.devices[1] == { allow: true, type: "c", major: 1, minor: 5, access: "rwm" })
    and (.mounts | map(select(.destination == "/usr/lib/gpu")) == [{ destination: "/usr/lib/gpu", type: "bind", source: $lib, options: ["ro", "rbind"] }])
    and .hooks.createContainer == [{ path: "/bin/true", args: ["true"], timeout: 30 }]'
  ctr "$(dev acme.com/gpu=one)" >"$CRISP_TMP/c.json"
  ocibundle show --explain "$POD" "$CRISP_TMP/c.json" | grep -qxF $'linux.devices[/dev/gpu1].minor\t5\tCDI acme.com/gpu=one ('"$CRISP_TMP/c1/acme.json)"
  # Two of one file: what the file says for all is done once; the later value of a variable wins.
  dry "$(dev acme.com/gpu=one acme.com/gpu=two)" | jq -e '(.process.env | map(select(startswith("GPU=") or startswith("DRIVER="))) == ["DRIVER=1", "GPU=two"])
    and (.process.user.additionalGids | map(select(. == 77)) | length) == 1 and (.linux.devices | length) == 2
    and .linux.resources.devices[2].access == "r"'
  # Not asked for: nothing of it.
  dry . | jq -e '(.linux | has("devices") | not) and (has("hooks") | not)'
}

@test "CDI: by annotation, and by both ways once" {
  cdi c1/acme.json
  dry '.annotations = { "cdi.k8s.io/plugin_x": "acme.com/gpu=one,acme.com/gpu=two" }' | jq -e '.linux.devices | length == 2'
  dry "$(dev acme.com/gpu=one) | .annotations = { \"cdi.k8s.io/x\": \"acme.com/gpu=one\" }" | jq -e '.linux.devices | length == 1'
  refuse 6 "annotations[cdi.k8s.io/x]: 'gpu' is not of the form vendor/class=name" '.annotations = { "cdi.k8s.io/x": "gpu" }'
  refuse 6 "annotations[cdi.k8s.io/x]: no CDI device 'acme.com/gpu=3'" '.annotations = { "cdi.k8s.io/x": "acme.com/gpu=3" }'
}

@test "CDI: unknown devices, conflicts, and what a later directory hides" {
  cdi c1/acme.json
  refuse 6 "CDI_devices[0]: no CDI device 'acme.com/gpu=three'" "$(dev acme.com/gpu=three)"
  refuse 6 "CDI_devices[0]: 'acme' is not of the form" "$(dev acme)"
  cdi c1/other.json '.devices[0].containerEdits.env = ["GPU=other"]'
  refuse 6 "CDI device 'acme.com/gpu=one' is in two files: $CRISP_TMP/c1/acme.json and $CRISP_TMP/c1/other.json" "$(dev acme.com/gpu=one)"
  cdi c2/acme.json '.devices[0].containerEdits.env = ["GPU=later"] | del(.devices[1])'
  dry "$(dev acme.com/gpu=one)" | jq -e '.process.env | contains(["GPU=later"])'
  rm "$CRISP_TMP/c1/other.json"
  # A file that cannot be read is named to who misses a device, and hinders nobody else.
  echo '{ "kind": ' >"$CRISP_TMP/c1/broken.json"
  dry "$(dev acme.com/gpu=one)" >/dev/null
  ctr "$(dev acme.com/gpu=three)" >"$CRISP_TMP/c.json"
  run_err 6 ocibundle create "$POD" "$CRISP_TMP/c.json"
  [[ $stderr == *"no CDI device 'acme.com/gpu=three'; $CRISP_TMP/c1/broken.json"* ]]
}

@test "CDI: what is wrong in a specification is named, and what we cannot do is refused" {
  local want filter
  while IFS='|' read -r want filter; do
    cdi c1/acme.json "$filter"
    ctr "$(dev acme.com/gpu=one)" >"$CRISP_TMP/c.json"
    run_err 6 ocibundle create "$POD" "$CRISP_TMP/c.json" || return 1
    [[ $stderr == *"$want"* ]] || { echo "expected: $want"; return 1; }
  done <<'LIST'
acme.json: cdiVersion: '7' is not known|.cdiVersion = "7"
acme.json: kind: 'gpu' is not of the form vendor/class|.kind = "gpu"
acme.json: devices: missing|del(.devices)
acme.json: devices: none in it|.devices = []
acme.json: extra: unknown key|.extra = 1
acme.json: devices[0]: containerEdits: missing|del(.devices[0].containerEdits)
acme.json: devices[1]: name: 'one' comes twice|.devices[1].name = "one"
acme.json: devices[0]: name: '/' is not|.devices[0].name = "/"
devices[0].containerEdits.env[0]: not NAME=VALUE|.devices[0].containerEdits.env = ["x"]
devices[0].containerEdits.deviceNodes[0]: path: missing|.devices[0].containerEdits.deviceNodes = [{}]
deviceNodes[0]: 'dev/x' is not an absolute path|.devices[0].containerEdits.deviceNodes = [{ path: "dev/x" }]
deviceNodes[0]: permissions: 'x' is not made of|.devices[0].containerEdits.deviceNodes[0].permissions = "x"
deviceNodes[0]: type: 'q' is not|.devices[0].containerEdits.deviceNodes[0].type = "q"
deviceNodes[0]: major: out of range|.devices[0].containerEdits.deviceNodes[0].major = -1
/no/such: No such file|.devices[0].containerEdits.deviceNodes[0].hostPath = "/no/such"
/etc/passwd: not a device|.devices[0].containerEdits.deviceNodes[0].hostPath = "/etc/passwd"
/dev/zero: is of type c, not b|.devices[0].containerEdits.deviceNodes[0].type = "b"
mounts[0]: containerPath: '/a/../b' is not|.devices[0].containerEdits.mounts = [{ hostPath: "/tmp", containerPath: "/a/../b" }]
mount /no/such: No such file|.devices[0].containerEdits.mounts = [{ hostPath: "/no/such", containerPath: "/a" }]
hooks[0]: hookName: 'late' is not a stage|.devices[0].containerEdits.hooks = [{ hookName: "late", path: "/x" }]
containerEdits.additionalGids[0]: not a group id|.containerEdits.additionalGids = [-1]
LIST
  cdi c1/acme.json '.devices[0].containerEdits.intelRdt = {}'
  refuse 10 "acme.json): containerEdits.intelRdt: not supported" "$(dev acme.com/gpu=one)"
  cdi c1/acme.json '.containerEdits.netDevices = []'
  refuse 10 "containerEdits.netDevices: not supported" "$(dev acme.com/gpu=one)"
}

@test "CDI: YAML, as people write it; what is beyond the subset is an error with its line" {
  cat >"$CRISP_TMP/c1/acme.yaml" <<'YAML'
---
# a comment
cdiVersion: "0.5.0"
kind: acme.com/net
devices:
- name: "0"
  containerEdits:
    env: [A=1, 'B=two words']
    deviceNodes:
    - {path: /dev/n0, hostPath: /dev/null, fileMode: 0640, uid: 0x3e8}
YAML
  dry "$(dev acme.com/net=0)" | jq -e '(.process.env | contains(["A=1", "B=two words"]))
    and .linux.devices == [{ path: "/dev/n0", fileMode: 416, uid: 1000, type: "c", major: 1, minor: 3 }]'
  bad() {
    cat >"$CRISP_TMP/c1/acme.yaml"
    ctr "$(dev acme.com/net=0)" >"$CRISP_TMP/c.json"
    run_err 6 ocibundle create "$POD" "$CRISP_TMP/c.json"
    [[ $stderr == *"acme.yaml: $1"* ]] || { echo "expected: $1"; return 1; }
  }
  bad "line 2: anchors and aliases are not supported" <<<$'a: &x [1]\nb: *x'
  bad "line 2: a key that comes twice" <<<$'a: 1\na: 2'
  bad "line 2: more than one document" <<<$'a: 1\n--- \nb: 2'
  bad "line 1: tags are not supported" <<<'a: !!int "3"x' || bad "line 1: " <<<'a: !!int 3'
  bad "empty" <<<''
  bad "line 1: too large or nested too deep" <<<"$(printf '[%.0s' $(seq 100))"
  bad "line 2: " <<<$'a: [1\nb: 2'
  bad "expected object, found array" <<<'[1]'
}

@test "CDI: crun and runc give the container what its device says" {
  requires crun runc
  local rt out
  mkdir -p "$CRISP_TMP/lib"
  echo driver >"$CRISP_TMP/lib/driver"
  cdi c1/acme.json ".containerEdits.mounts = [{ hostPath: \"$CRISP_TMP/lib\", containerPath: \"/opt/gpu\", options: [\"ro\", \"nosuid\", \"nodev\", \"bind\"] }]
    | .devices[1].containerEdits.deviceNodes = [{ path: \"/dev/gpu2\", hostPath: \"/dev/kmsg\", permissions: \"r\", fileMode: 438 }]"
  for rt in crun runc; do
    out=$(in_ctr $rt 'echo $GPU $DRIVER; head -c 2 /dev/gpu1 | wc -c; echo x 2>/dev/null >/dev/gpu2 || echo kept; cat /opt/gpu/driver; id -G | grep -cw 77; stat -c %u /dev/gpu1' \
      "$(dev acme.com/gpu=two acme.com/gpu=one) | $(sec 'run_as_user: { value: 1000 }')" 2>&1 | tr '\n' ' ')
    echo "$rt: $out"
    [ "$out" = "one 1 2 kept driver 1 1000 " ]
  done
}
