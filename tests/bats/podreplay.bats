#!/usr/bin/env bats
# A pod that failed is packed up on one root and fails in the same way on another.

load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  # A plugin passes over what it does not know.
  sed -i 's/"isGateway": true,/"isGateway": true, "etcd_password": "planted-in-network-66",/' "$CRISP_TMP/etc/net.d/10-test.conflist"
  pull_image busybox >/dev/null
  mkdir "$CRISP_TMP/place"
}
teardown_file() { crisp_file_teardown; }
# Wherever a replay works, nothing is there before or after.
setup() { export TMPDIR=$CRISP_TMP/place; }
teardown() {
  [ -z "${REPLAY:-}" ] || ! kill "$REPLAY" 2>/dev/null || wait "$REPLAY" || true
  nothing_left
}

nothing_left() {
  [ -z "$(ls -A "$CRISP_TMP/place")" ] || { find "$CRISP_TMP/place" -maxdepth 2; return 1; }
}

# A volume as the kubelet lays it out; prints its path.
kubelet_volume() { # PLUGIN NAME
  mkdir -p "$CRISP_TMP/kubelet/volumes/kubernetes.io~$1/$2"
  echo "$CRISP_TMP/kubelet/volumes/kubernetes.io~$1/$2"
}

# container NAME FILTER CMD...: makes $CRISP_TMP/NAME.json of it
container() {
  local name=$1 filter=$2
  shift 2
  ctr_json "$name" localhost/oci:busybox "$@" | jq -c "$filter" >"$CRISP_TMP/$name.json"
}

# by_hand POD NAME...: a pod with these containers, made with the tools; $pod, and $ctr, the last one
by_hand() {
  local name
  pod_json "$1" >"$CRISP_TMP/pod.json"
  pod=$(podnet create "$CRISP_TMP/pod.json")
  shift
  for name; do
    ctr=$(ocibundle create "$pod" "$CRISP_TMP/$name.json")
    ctrrun create "$ctr" 2>/dev/null && ctrrun start "$ctr" || true
  done
}
ended() { wait_for 60 test -e "$ROOT/containers/${1:-$ctr}/exit.json"; }

# What became of container NAME in the --json of a replay that is in $output.
now() { jq -r --arg n "$1" '.containers[] | select(.name == $n) | .now | "\(.state) \(.exit_code) \(.oom) \(.reason)"' <<<"$output"; }

# A pod that runs, with secrets in many places; $pod and $ctr.
leaky() {
  local volume
  [ ! -e "$CRISP_TMP/leaky.id" ] || { read -r pod ctr <"$CRISP_TMP/leaky.id"; return; }
  volume=$(kubelet_volume secret creds)
  echo planted-in-volume-44 >"$volume/password"
  container leaky ".envs = [{ key: \"DB_PASSWORD\", value: \"planted-in-env-11\" }, { key: \"PLAIN\", value: \"planted-in-env-11\" },
      { key: \"MODE\", value: \"visible\" }] |
    .annotations = { \"example.com/token\": \"planted-in-annotation-22\", \"example.com/note\": \"seen\" } |
    .args = [\"--password=planted-in-args-33\"] |
    .mounts = [{ container_path: \"/creds\", host_path: \"$volume\" }]" \
    sh -c 'echo "$DB_PASSWORD"; cat /creds/password; echo -n planted-in-env-11 | base64; echo api_key=planted-in-log-55; echo x >&2; sleep 1000'
  by_hand leaky leaky
  wait_for 10 grep -q api_key "$CRISP_TMP/logs/leaky/leaky.log"
  echo "$pod $ctr" >"$CRISP_TMP/leaky.id"
}

@test "three failures of a pod made by hand fail in the same way on another root" {
  requires root crun netns
  local config
  config=$(kubelet_volume configmap app)
  # As the kubelet writes one.
  mkdir "$config/..2026"
  echo 'a = 1' >"$config/..2026/größe.conf"
  ln -s ..2026 "$config/..data"
  ln -s ..data/größe.conf "$config/größe.conf"
  container absent . /no/such/program
  container eats '.linux.resources = { memory_limit_in_bytes: 16777216 }' sh -c 'x=x; while :; do x=$x$x; done'
  container picky ".envs = [{ key: \"API_TOKEN\", value: \"bad-token-1\" }] |
    .mounts = [{ container_path: \"/etc/app\", host_path: \"$config\" }]" \
    sh -c 'case $API_TOKEN in bad*) cat /etc/app/*.conf; cat /etc/app/app.conf || exit 9 ;; esac'
  by_hand failing absent eats picky
  ended "$(ctrrun ls --format '{id} {name}' | awk '$2 == "eats" { print $1 }')"
  ended
  podreplay capture failing --with-images --with-volumes configmap -o "$CRISP_TMP/failing.tar.zst"

  # Elsewhere; without the value that was left out the third does not fail.
  run --separate-stderr podreplay run --stub-network --json --expect-same "$CRISP_TMP/failing.tar.zst"
  echo "$output $stderr"
  [ "$status" = 1 ]
  [[ $stderr == *"API_TOKEN was left out"* ]]
  [ "$(now absent)" = "prepared null null null" ]
  [[ $(now eats) == "exited 137 true OOMKilled" ]]
  [[ $(now picky) == "exited 0 false Completed" ]]

  # With it all is as it was, on this machine's network as well.
  echo 'picky/API_TOKEN=bad-token-1' >"$CRISP_TMP/values"
  run --separate-stderr podreplay run --json --expect-same --expect-exit eats=137 --expect-exit picky=9 \
    --expect-log '^a = 1$' --expect-log "can't open '/etc/app/app.conf'" --env-file "$CRISP_TMP/values" \
    --junit "$CRISP_TMP/junit.xml" -o "$CRISP_TMP/again.tar.zst" "$CRISP_TMP/failing.tar.zst"
  echo "$output $stderr"
  [ "$status" = 0 ]
  jq -e '[.containers[].same, .checks[].ok] | all' <<<"$output"
  jq -e '.containers[0].error | test("/no/such/program")' <<<"$output"
  python3 - "$CRISP_TMP/junit.xml" <<'PY'
import sys, xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot()[0]
assert suite.get("tests") == "8" == str(len(suite.findall("testcase"))), suite.attrib
assert suite.get("failures") == "0" and not suite.findall(".//failure")
assert "a = 1" in suite.find("system-out").text
PY
  podreplay diff "$CRISP_TMP/failing.tar.zst" "$CRISP_TMP/again.tar.zst"
  # The value is not in what was written, and that is an archive of the same pod.
  python3 "$BATS_TEST_DIRNAME/../lib/podreplay_case.py" absent "$CRISP_TMP/again.tar.zst" bad-token-1
  tar --zstd -xOf "$CRISP_TMP/again.tar.zst" podreplay.json |
    jq -e --arg p "$config" '.kind == "replay" and .pod.name == "failing" and (.replay.paths | to_entries[0].value) == $p'
}

@test "a pod of a CRI client, captured when crispd is gone, replayed from a registry's image" {
  requires root crun netns
  crisp_registry
  make_image served
  crispd_start
  cri() { cricall --socket "$SOCK" "$1" "$2"; }
  cri PullImage "{ \"image\": { \"image\": \"$REGISTRY/served:latest\" } }"
  pod=$(cri RunPodSandbox "{ \"config\": $(pod_json clients) }" | jq -r .pod_sandbox_id)
  ctr_json web "$REGISTRY/served:latest" sh -c 'echo begun, 10.0.0.7: refused after 1.5: >&2; exit 3' >"$CRISP_TMP/web.json"
  ctr_json none "$REGISTRY/served:latest" /no/such/program >"$CRISP_TMP/none.json"
  for name in web none; do
    ctr=$(cri CreateContainer "{ \"pod_sandbox_id\": \"$pod\", \"config\": $(cat "$CRISP_TMP/$name.json"), \"sandbox_config\": $(pod_json clients) }" | jq -r .container_id)
    cri StartContainer "{ \"container_id\": \"$ctr\" }" || true
    ended
  done
  crispd_stop
  podreplay capture "${pod:0:8}" -o "$CRISP_TMP/clients.tar.zst"
  run --separate-stderr podreplay run --stub-network --json --expect-same --expect-log begun -o "$CRISP_TMP/there.tar.zst" \
    "$CRISP_TMP/clients.tar.zst"
  echo "$output $stderr"
  [ "$status" = 0 ]
  [ "$(now web)" = "exited 3 false Error" ]
  [ "$(now none)" = "exited 128 false StartError" ]
  jq -e '.pod.origin == "cri"' <<<"$output"
  podreplay diff "$CRISP_TMP/clients.tar.zst" "$CRISP_TMP/there.tar.zst"
  # No registry has an image that came from a directory, and it says so.
  kill "$REGISTRY_PID"
  wait_for 10 sh -c "! curl -s http://$REGISTRY/v2/"
  run_err 12 podreplay run --stub-network "$CRISP_TMP/clients.tar.zst"
  [[ $stderr == *"is not in the archive (capture --with-images)"* ]]
}

@test "containers come and go in the recorded order, those that were stopped are stopped again" {
  requires root crun netns
  local shared
  shared=$(kubelet_volume empty-dir shared)
  pod=$(pod_json order | jq '.linux.security_context.namespace_options.pid = "POD"' | podnet create -)
  mkdir -p "$CRISP_TMP/logs/order/web"
  run_one() { # NAME SCRIPT
    container "$1" ".mounts = [{ container_path: \"/e\", host_path: \"$shared\" }] | .log_path = \"web/$1.log\"" sh -c "$2"
    ctr=$(ocibundle create "$pod" "$CRISP_TMP/$1.json")
    ctrrun create "$ctr"
    ctrrun start "$ctr"
  }
  run_one init 'echo made >/e/file'
  ended
  run_one web 'trap "exit 5" TERM; cat /e/file; while :; do sleep 0.1; done'
  local web=$ctr
  run_one job 'cat /e/file; exit 2'
  ended
  ctrrun stop --timeout 30 "$web"
  run_one still 'sleep 1000'
  # Only what is on disk counts.
  ctrrun stop --timeout 0 "$ctr"
  podnet stop "$pod"
  podreplay capture order --with-images -o "$CRISP_TMP/order.tar.zst"
  run podreplay run --stub-network --expect-same --expect-log made -o "$CRISP_TMP/order2.tar.zst" "$CRISP_TMP/order.tar.zst"
  echo "$output"
  [ "$status" = 0 ]
  [[ $output == *"web  "*"exited 5 (Error)"*"exited 5 (Error)"* ]]
  run podreplay diff "$CRISP_TMP/order.tar.zst" "$CRISP_TMP/order2.tar.zst"
  echo "$output"
}

@test "equal state, equal bytes; what is secret is nowhere in it, and the list says where it was" {
  requires root crun netns
  leaky
  podreplay capture leaky --with-volumes all -o "$CRISP_TMP/a.tar.zst"
  podreplay capture "$pod" --with-volumes all -o - >"$CRISP_TMP/b.tar.zst"
  cmp "$CRISP_TMP/a.tar.zst" "$CRISP_TMP/b.tar.zst"
  python3 "$BATS_TEST_DIRNAME/../lib/podreplay_case.py" absent "$CRISP_TMP/a.tar.zst" planted-in-env-11 planted-in-annotation-22 \
    planted-in-args-33 planted-in-volume-44 planted-in-log-55 planted-in-network-66
  mkdir "$CRISP_TMP/a"
  tar --zstd -C "$CRISP_TMP/a" -xf "$CRISP_TMP/a.tar.zst"
  (cd "$CRISP_TMP/a" && sha256sum --quiet -c SHA256SUMS)
  cat "$CRISP_TMP/a/redacted.json"
  # One number for one value, in every place.
  jq -e --arg c "containers/$ctr/container.json: " '[.redacted[] | { (.where): .value }] | add |
    has($c + "envs[0].value") and has($c + "envs[1].value") and has($c + "annotations.example.com/token") and has($c + "args[0]") and
    has("volumes/0/password: data.password") and has("containers/" + ($c | split("/")[1]) + "/log") and (has($c + "envs[2].value") | not)' \
    "$CRISP_TMP/a/redacted.json"
  jq -e '.envs[0].value == .envs[1].value and (.envs[0].value | test("^\\[redacted:[0-9]+\\]$"))' "$CRISP_TMP/a/containers/$ctr/container.json"
  jq -e '.containers[0].state == "running" and .volumes[0].kind == "secret" and .with.secrets == false' "$CRISP_TMP/a/podreplay.json"
  grep -qxF 'MODE=visible' <(jq -r '.process.env[]' "$CRISP_TMP/a/containers/$ctr/config.json")
  jq -e '.plugins | has("bridge")' "$CRISP_TMP/a/versions.json"
  [ -s "$CRISP_TMP/a/pods/$pod/journal" ]
  jq -e '.result.ips' "$CRISP_TMP/a/pods/$pod/network.json"
  # When asked for, they are all there.
  podreplay capture leaky --with-secrets --with-volumes secret -o "$CRISP_TMP/s.tar.zst"
  tar --zstd -xOf "$CRISP_TMP/s.tar.zst" volumes/0/password | grep -qx planted-in-volume-44
  tar --zstd -xOf "$CRISP_TMP/s.tar.zst" "containers/$ctr/container.json" | grep -q planted-in-annotation-22
  tar --zstd -xOf "$CRISP_TMP/s.tar.zst" "pods/$pod/network.json" | grep -q planted-in-network-66
  run_err 3 podreplay capture nosuchpod -o "$CRISP_TMP/n.tar.zst"
  run_err 2 podreplay capture leaky
  [ ! -e "$CRISP_TMP/n.tar.zst" ]
}

@test "damaged, cut off and hostile archives are refused, and nothing is written" {
  requires root crun netns
  leaky
  podreplay capture leaky --with-volumes all -o "$CRISP_TMP/a.tar.zst"
  python3 "$BATS_TEST_DIRNAME/../lib/podreplay_case.py" hostile "$CRISP_TMP/a.tar.zst" "$TMPDIR"
  run_err 3 podreplay run "$CRISP_TMP/none.tar.zst"
}

@test "a replay that is killed, or told to end, leaves nothing; what wants the host is refused" {
  requires root crun netns
  local signal
  leaky
  podreplay capture leaky --with-images --with-volumes secret -o "$CRISP_TMP/leaky.tar.zst"
  printf '# values\nDB_PASSWORD=new-in-env\n/creds/password=new-in-file\n' >"$CRISP_TMP/values"
  for signal in KILL TERM; do
    podreplay run --stub-network --for 1000 --env-file "$CRISP_TMP/values" "$CRISP_TMP/leaky.tar.zst" >"$CRISP_TMP/out" 2>&1 3>&- &
    REPLAY=$!
    wait_for 60 sh -c 'grep -q x "$TMPDIR"/podreplay-run.*/logs/leaky.log'
    # What was left out is where it was.
    [ "$(cut -d' ' -f4- "$TMPDIR"/podreplay-run.*/logs/leaky.log | head -2 | xargs)" = "new-in-env new-in-file" ]
    pod=$(basename "$TMPDIR"/podreplay-run.*/run/pods/*)
    [ -e "/run/netns/crisp-$pod" ]
    kill "-$signal" "$REPLAY"
    wait "$REPLAY" || true
    REPLAY=
    wait_for 60 nothing_left
    [ ! -e "/run/netns/crisp-$pod" ]
    [ -z "$(find /sys/fs/cgroup -maxdepth 3 -name "podreplay-${pod:0:12}*" -not -path '/sys/fs/cgroup/unified/*')" ]
    [ -z "$(grep -F "$TMPDIR" /proc/self/mountinfo)" ]
  done
  grep -q interrupted "$CRISP_TMP/out"
  # What was left by one that was killed with its keeper goes with the next.
  container root '.linux.security_context.privileged = true' true
  pod_json root | jq '.linux.security_context.privileged = true' >"$CRISP_TMP/pod.json"
  pod=$(podnet create "$CRISP_TMP/pod.json")
  ctr=$(ocibundle create "$pod" "$CRISP_TMP/root.json")
  podreplay capture root -o "$CRISP_TMP/root.tar.zst"
  mkdir "$TMPDIR/podreplay-run.x"
  run_err 7 podreplay run --stub-network "$CRISP_TMP/root.tar.zst" --root "$ROOT"
  [[ $stderr == *"only with --allow-privileged"* ]]
  nothing_left
  ocistore ls | grep -q busybox
  # The store that was named has the image, so the archive need not.
  ocibundle rm "$ctr"
  podnet rm "$pod"
  run podreplay run --stub-network --allow-privileged --root "$ROOT" --runroot "$RUNROOT" "$CRISP_TMP/root.tar.zst" --expect-exit 0 --expect-log never
  echo "$output"
  [ "$status" = 1 ]
  [[ $output == *"ok   exit 0"* ]]
  [[ $output == *"FAIL log never: no line of any container matches"* ]]
}

@test "what lets a container at this machine needs --allow-privileged, in whatever spelling" {
  requires root crun netns
  pod=$(pod_json rights | podnet create -)
  container plain . true
  ctr=$(ocibundle create "$pod" "$CRISP_TMP/plain.json")
  podreplay capture rights -o "$CRISP_TMP/rights.tar.zst"
  ocibundle rm "$ctr"
  podnet rm "$pod"
  python3 "$BATS_TEST_DIRNAME/../lib/podreplay_case.py" rights "$CRISP_TMP/rights.tar.zst" "$ROOT" "$RUNROOT"
}
