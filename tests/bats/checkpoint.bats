#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# CheckpointContainer, CheckpointPod and RestorePod. With CRIU where it works; the order of pause, capture and resume,
# and every way out of it, with a runtime that writes down what it is asked and only makes believe to capture.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  local fake=$CRISP_TMP/fake
  mkdir -p "$fake"
  : >"$CRISP_TMP/calls"
  echo ok >"$CRISP_TMP/mode"
  # ok; fail N (the N-th capture); hang
  cat >"$fake/runc" <<EOF
#!/bin/bash
for word; do
  case \$word in
  pause | resume | checkpoint | restore) echo "\$word \${*: -1}" >>$CRISP_TMP/calls && verb=\$word && break ;;
  create | start | kill | delete | state | exec | features) break ;;
  esac
done
read -r mode nth <$CRISP_TMP/mode
case \${verb:-} in
restore) echo "cannot restore" >&2 && exit 1 ;;
checkpoint)
  [ "\$mode" != hang ] || exec sleep 60
  [ "\$mode" != fail ] || [ "\$(grep -c checkpoint $CRISP_TMP/calls)" != "\$nth" ] || { echo "this one not" >&2 && exit 1; }
  while [ "\$1" != --image-path ]; do shift; done
  echo image >\$2/core-1.img
  exit 0
  ;;
esac
exec $(command -v runc) "\$@"
EOF
  chmod +x "$fake/runc"
  echo "{\"path\": \"$fake/runc\", \"can\": {\"checkpoint\": true}}" >"$CRISP_TMP/etc/handlers.d/fake.json"
  CRIU_MISSING='' CRIU=''
  if criu check >/dev/null 2>&1; then
    CRIU=$(command -v criu)
  elif CRIU_MISSING=$("$BATS_TEST_DIRNAME/../lib/criu-build" "${CRISP_CRIU:-/var/tmp/crisp-criu}" 2>&1); then
    CRIU=${CRISP_CRIU:-/var/tmp/crisp-criu}/criu
  fi
  jq -n --arg runc "$(command -v runc)" --arg criu "$CRIU" '{path: $runc, args: ["--criu", $criu]}' >"$CRISP_TMP/etc/handlers.d/runc.json"
  export CRIU CRIU_MISSING
  jq '.default_runtime = "runc"' "$CRISP_CONFIG" >"$CRISP_CONFIG.new" && mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"
  IMAGE=$(pull_image bb)
  export IMAGE
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
}
teardown_file() {
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
  crisp_file_teardown
}
setup() {
  requires root runc
  CRISPD_PID=$(cat "$CRISP_TMP/crispd.pid")
}
teardown() {
  local id
  for id in $(echo {} | cri ListPodSandbox | jq -r '.items[]?.id'); do call RemovePodSandbox --arg p "$id" '{pod_sandbox_id: $p}'; done
  rm -rf "$CRISP_TMP"/out* "$CRISP_TMP"/*.tar
  echo ok >"$CRISP_TMP/mode"
  : >"$CRISP_TMP/calls"
}

cri() { timeout "${LIMIT:-100}" cricall --socket "$SOCK" "$@" -; }
call() { local rpc=$1 && shift && jq -nc "$@" | cri "$rpc"; }
COUNT='echo text >/root/file; rm /etc/group; i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done'
# make HANDLER: a pod with the containers web and db, which count: $POD $WEB $DB
make() {
  POD=$(call RunPodSandbox --argjson p "$(pod_json one)" --arg h "$1" '{config: $p, runtime_handler: $h}' | jq -r .pod_sandbox_id)
  local name
  for name in web db; do
    CTR=$(call CreateContainer --arg pod "$POD" --argjson c "$(ctr_json $name "$IMAGE" sh -c "$COUNT")" \
      '{pod_sandbox_id: $pod, config: $c}' | jq -r .container_id)
    call StartContainer --arg c "$CTR" '{container_id: $c}'
    if [ $name = web ]; then WEB=$CTR; else DB=$CTR; fi
  done
}
capture() { # DIR [JQ]: CheckpointPod of both
  call CheckpointPod --arg p "$POD" --arg o "$1" --arg a "$WEB" --arg b "$DB" \
    "{pod_sandbox_id: \$p, output_path: \$o, container_ids: [\$a, \$b]} ${2:-}"
}
restore() { # DIR [JQ]: RestorePod as pod two
  call RestorePod --arg d "$1" --arg h "${HANDLER:-}" --argjson p "$(pod_json two)" \
    --argjson a "$(ctr_json web "$IMAGE" sh -c "$COUNT")" --argjson b "$(ctr_json db "$IMAGE" sh -c "$COUNT")" \
    "{checkpoint_path: \$d, runtime_handler: \$h, config: \$p, container_configs: [\$a, \$b]} ${2:-}"
}
refused() { # CODE TEXT COMMAND...
  local code=$1 text=$2
  shift 2
  run --separate-stderr "$@"
  printf '%s\n%s\n%s\n' "$*" "$output" "$stderr"
  [ "$status" != 0 ]
  [[ $stderr == *"$text"* ]]
  [[ $stderr == *"$code"* ]]
}
runs() { # CTR: it is not frozen, and goes on
  local before
  before=$(ctrrun logs --tail 1 "$1")
  wait_for 10 eval "[ \"\$(ctrrun logs --tail 1 $1)\" != '$before' ]"
}
both_run() { runs "$WEB" && runs "$DB"; }
only_one_pod() { [ "$(find "$ROOT/pods" -mindepth 1 -maxdepth 1 -type d | wc -l)" = 1 ]; }
# All pauses before any capture, all resumes after the last: as words of the calls in their order.
order() { cut -d' ' -f1 "$CRISP_TMP/calls" | uniq -c | awk '{ printf "%s%s ", $2, $1 }'; }

@test "with CRIU: captured while it runs, restored as it was, stopped until it is started" {
  [ -n "$CRIU" ] || skip "$CRIU_MISSING"
  make runc
  mkdir -m 700 "$CRISP_TMP/out"
  call CheckpointContainer --arg c "$WEB" --arg l "$CRISP_TMP/web.tar" '{container_id: $c, location: $l, timeout: 60}'
  [ "$(stat -c %a "$CRISP_TMP/web.tar")" = 600 ]
  mkdir "$CRISP_TMP/out-tar"
  tar xf "$CRISP_TMP/web.tar" -C "$CRISP_TMP/out-tar"
  [ "$(jq -r .name "$CRISP_TMP/out-tar/config.dump")" = web ]
  [ "$(jq -r '.annotations["io.kubernetes.cri.sandbox-name"]' "$CRISP_TMP/out-tar/spec.dump")" = one ]
  [ "$(cat "$CRISP_TMP/out-tar/deleted.files")" = '["etc/group"]' ]
  tar tf "$CRISP_TMP/out-tar/rootfs-diff.tar" | grep -qx root/file
  [ -s "$CRISP_TMP/out-tar/checkpoint/inventory.img" ]
  [ -e "$CRISP_TMP/out-tar/network.status" ]
  [ -z "$(ls -A "$ROOT/containers/$WEB/captured" 2>/dev/null)" ]
  both_run
  capture "$CRISP_TMP/out"
  both_run
  restore "$CRISP_TMP/out" >"$CRISP_TMP/restored"
  local web two
  two=$(jq -r .pod_sandbox_id "$CRISP_TMP/restored")
  web=$(jq -r '.restored_containers[] | select(.name == "web").container_id' "$CRISP_TMP/restored")
  [ "$(jq '.restored_containers | length' "$CRISP_TMP/restored")" = 2 ]
  [ "$(call ContainerStatus --arg c "$web" '{container_id: $c}' | jq -r '.status.state // "CONTAINER_CREATED"')" = CONTAINER_CREATED ]
  [ -z "$(ctrrun logs "$web")" ]
  call StartContainer --arg c "$web" '{container_id: $c}'
  runs "$web"
  # It goes on where it was, in the new pod's namespaces.
  [ "$(ctrrun logs "$web" | head -1)" -gt 1 ]
  [ "$(ctrrun exec "$web" cat /root/file)" = text ]
  run ctrrun exec "$web" ls /etc/group
  [ "$status" != 0 ]
  [ "$(ctrrun exec "$web" hostname)" = two ]
  [ "$(podnet exec "$two" -- readlink /proc/self/ns/net)" = "$(readlink "/proc/$(ctrrun state "$web" | jq .pid)/ns/net")" ]
  call StopContainer --arg c "$web" '{container_id: $c, timeout: 0}'
  [ "$(call ContainerStatus --arg c "$web" '{container_id: $c}' | jq -r .status.exit_code)" = 137 ]
  # The other one was never started: it goes, frozen as it is.
  call RemovePodSandbox --arg p "$two" '{pod_sandbox_id: $p}'
  # Another command than the captured one.
  refused INVALID_ARGUMENT process.args restore "$CRISP_TMP/out" '| .container_configs[0].command = ["sleep", "1"]'
  only_one_pod
}

@test "all are paused before any is captured, and run again on every way out" {
  make fake
  mkdir -m 700 "$CRISP_TMP/out"
  capture "$CRISP_TMP/out"
  [ "$(order)" = "pause2 checkpoint2 resume2 " ]
  [ "$(jq -r '[.containers[].name] | sort | join(" ")' "$CRISP_TMP/out/checkpoint.json")" = "db web" ]
  both_run
  # The second fails.
  rm -rf "$CRISP_TMP/out"/*
  : >"$CRISP_TMP/calls"
  echo fail 2 >"$CRISP_TMP/mode"
  refused INTERNAL "this one not" capture "$CRISP_TMP/out"
  [ "$(order)" = "pause2 checkpoint2 resume2 " ]
  [ -z "$(ls -A "$CRISP_TMP/out")" ]
  both_run
  # The time is up.
  : >"$CRISP_TMP/calls"
  echo hang >"$CRISP_TMP/mode"
  run --separate-stderr ctrrun checkpoint-pod --timeout 1 "$POD" "$CRISP_TMP/out" "$WEB" "$DB"
  [ "$status" = 124 ]
  [ "$(order)" = "pause2 checkpoint1 resume2 " ]
  [ -z "$(ls -A "$CRISP_TMP/out")" ]
  both_run
  # The client goes away.
  : >"$CRISP_TMP/calls"
  LIMIT=3 run capture "$CRISP_TMP/out"
  [ "$(order)" = "pause2 checkpoint1 resume2 " ] || wait_for 20 eval '[ "$(order)" = "pause2 checkpoint1 resume2 " ]'
  wait_for 10 eval '[ -z "$(ls -A "$CRISP_TMP/out")" ]'
  both_run
}

@test "killed: the next step, or the next start, lets all run again" {
  make fake
  mkdir -m 700 "$CRISP_TMP/out"
  echo hang >"$CRISP_TMP/mode"
  capture "$CRISP_TMP/out" 3>&- &
  local caller=$!
  wait_for 20 grep -q checkpoint "$CRISP_TMP/calls"
  kill -KILL "$(pgrep -f "ctrrun.* checkpoint-pod .*$CRISP_TMP/out")"
  run wait $caller
  wait_for 20 eval '[ "$(grep -c resume "$CRISP_TMP/calls")" = 2 ]'
  wait_for 10 eval '[ -z "$(ls -A "$CRISP_TMP/out")" ]'
  both_run
  # Both.
  : >"$CRISP_TMP/calls"
  capture "$CRISP_TMP/out" 3>&- &
  wait_for 20 grep -q checkpoint "$CRISP_TMP/calls"
  kill -KILL "$CRISPD_PID" "$(pgrep -f "ctrrun.* checkpoint-pod .*$CRISP_TMP/out")"
  wait_for 10 eval '! kill -0 $CRISPD_PID'
  [ "$(grep -c resume "$CRISP_TMP/calls")" = 0 ]
  crispd_start
  echo "$CRISPD_PID" >"$CRISP_TMP/crispd.pid"
  wait_for 20 eval '[ "$(grep -c resume "$CRISP_TMP/calls")" = 2 ]'
  wait_for 10 eval '[ -z "$(ls -A "$CRISP_TMP/out")" ]'
  both_run
  [ ! -e "$RUNROOT/pods/$POD/checkpoint-under-way.json" ]
}

@test "what is asked for wrongly is refused, and nothing paused" {
  make fake
  mkdir -m 700 "$CRISP_TMP/out" "$CRISP_TMP/out-full"
  touch "$CRISP_TMP/out-full/x"
  refused INVALID_ARGUMENT "not empty: x" capture "$CRISP_TMP/out-full"
  refused NOT_FOUND "No such file" capture "$CRISP_TMP/out-none"
  refused INVALID_ARGUMENT absolute capture out
  refused INVALID_ARGUMENT twice capture "$CRISP_TMP/out" '| .container_ids += [$a]'
  refused INVALID_ARGUMENT container_ids capture "$CRISP_TMP/out" '| .container_ids = []'
  refused INVALID_ARGUMENT "unknown checkpoint option 'speed=high'" capture "$CRISP_TMP/out" '| .options = {speed: "high"}'
  refused INVALID_ARGUMENT file-locks capture "$CRISP_TMP/out" '| .options = {"file-locks": "maybe"}'
  call StopContainer --arg c "$DB" '{container_id: $c, timeout: 0}'
  refused FAILED_PRECONDITION "not running" capture "$CRISP_TMP/out"
  refused FAILED_PRECONDITION "not running" call CheckpointContainer --arg c "$DB" '{container_id: $c, location: "/tmp/never.tar"}'
  refused INVALID_ARGUMENT location call CheckpointContainer --arg c "$WEB" '{container_id: $c, location: "x.tar"}'
  [ ! -s "$CRISP_TMP/calls" ]
  [ -z "$(ls -A "$CRISP_TMP/out")" ]
  # A runtime without CRIU, as Debian's crun is.
  echo "{\"path\": \"$CRISP_TMP/fake/runc\", \"can\": {\"checkpoint\": false}}" >"$CRISP_TMP/etc/handlers.d/fake.json"
  refused UNIMPLEMENTED "cannot capture" capture "$CRISP_TMP/out" '| .container_ids = [$a]'
  echo "{\"path\": \"$CRISP_TMP/fake/runc\", \"can\": {\"checkpoint\": true}}" >"$CRISP_TMP/etc/handlers.d/fake.json"
  if command -v crun >/dev/null && ! crun --version | grep -q CRIU; then
    ctrrun handlers >"$CRISP_TMP/handlers"
    grep -q "checkpoint: no, its runtime was built without CRIU" "$CRISP_TMP/handlers"
  fi
}

@test "a hostile checkpoint is refused, with nothing left and nothing written outside" {
  local good=$CRISP_TMP/out bad=$CRISP_TMP/out-bad id
  HANDLER=fake
  make fake
  mkdir -m 700 "$good"
  capture "$good"
  spoil() { rm -rf "$bad" && cp -a "$good" "$bad"; }
  spoil && chmod 777 "$bad"
  refused PERMISSION_DENIED "others than root" restore "$bad"
  spoil && echo '{"version":' >"$bad/checkpoint.json"
  refused INVALID_ARGUMENT checkpoint.json restore "$bad"
  spoil && jq '.containers[0].id = "../../etc"' "$good/checkpoint.json" >"$bad/checkpoint.json"
  refused INVALID_ARGUMENT "no id" restore "$bad"
  spoil && jq '.containers += [{name: "third", id: .containers[0].id, image_id: "x"}]' "$good/checkpoint.json" >"$bad/checkpoint.json"
  refused INVALID_ARGUMENT "has 3 containers" restore "$bad"
  spoil && jq '.runtime = "other"' "$good/checkpoint.json" >"$bad/checkpoint.json"
  refused INVALID_ARGUMENT "one of other" restore "$bad"
  refused INVALID_ARGUMENT "unknown runtime handler" eval 'HANDLER=none restore "$good"'
  refused INVALID_ARGUMENT "no container 'web2'" restore "$good" '| .container_configs[0].metadata.name = "web2"'
  refused INVALID_ARGUMENT "unknown checkpoint option" restore "$good" '| .options = {x: "true"}'
  spoil && ln -sf /etc/shadow "$bad/$WEB/checkpoint/pages-1.img"
  refused INVALID_ARGUMENT "pages-1.img of the checkpoint is not a plain file" restore "$bad"
  spoil && rm -rf "${bad:?}/$WEB" && ln -s /etc "$bad/$WEB"
  refused "" "" restore "$bad"
  # What is in the tar stays in the container's root: a path, a link out of it, what is to be deleted.
  mkdir "$CRISP_TMP/out-of-it"
  spoil && python3 - "$bad/$WEB/rootfs-diff.tar" "$CRISP_TMP/out-of-it" <<'PY'
import io, sys, tarfile
t = tarfile.open(sys.argv[1], "w")
link = tarfile.TarInfo("leave"); link.type = tarfile.SYMTYPE; link.linkname = sys.argv[2]; t.addfile(link)
f = tarfile.TarInfo("leave/escaped"); f.size = 1; t.addfile(f, io.BytesIO(b"x"))
f = tarfile.TarInfo("../../escaped"); f.size = 1; t.addfile(f, io.BytesIO(b"x"))
t.close()
PY
  refused "" "" restore "$bad"
  [ -z "$(ls -A "$CRISP_TMP/out-of-it")" ]
  spoil && echo '["../../x"]' >"$bad/$WEB/deleted.files"
  refused INVALID_ARGUMENT deleted.files restore "$bad"
  # In order, but the runtime fails: all of it goes.
  refused INTERNAL "cannot restore" restore "$good"
  only_one_pod
  [ "$(find "$ROOT/containers" -mindepth 1 -maxdepth 1 -type d | wc -l)" = 2 ]
}
