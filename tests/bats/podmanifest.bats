#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# podmanifest and pod up: manifests of the kinds that people have, run by the tools. Most of tests/manifests check
# themselves: their containers end with 0 only if what they see is as the kubelet would have made it.
load ../lib/helpers
load ../lib/world
load ../lib/crispd

setup_file() {
  requires root crun
  crisp_file_setup
  pull_image web >"$CRISP_TMP/id"
  ocistore tag "$(cat "$CRISP_TMP/id")" example.test/web:1
  mkdir -p "$CRISP_TMP/secret"
  printf t0p >"$CRISP_TMP/secret/token"
  # The bridge comes with the first pod and stays.
  podnet rm "$(pod_json first | podnet create -)"
  world >"$BATS_FILE_TMPDIR/world"
}
teardown_file() { crisp_file_teardown; }
setup() {
  POD=$BATS_TEST_DIRNAME/../../scripts/pod
  cd "$BATS_TEST_DIRNAME/../manifests" || return
}

# convert FILE OPTIONS...
convert() {
  podmanifest --cgroup-parent "$GROUPS_OF_FILE${1%.*}" --log-dir "$CRISP_TMP/logs" --node-memory 1Gi --node-cpu 6 \
    --node-ip 192.0.2.7 "$@"
}

# runs STATUS FILE OPTIONS...: to its end, and away; what it wrote is shown when it ends otherwise
runs() {
  local want=$1 name=${2%.*} status=0 pod ctr
  convert "${@:2}" >"$BATS_TEST_TMPDIR/$name.json" 2>"$BATS_TEST_TMPDIR/$name.warnings" || { cat "$BATS_TEST_TMPDIR/$name.warnings"; return 1; }
  "$POD" up ${HOW:---wait} "$BATS_TEST_TMPDIR/$name.json" >"$BATS_TEST_TMPDIR/$name.id" 2>"$BATS_TEST_TMPDIR/$name.err" || status=$?
  read -r pod <"$BATS_TEST_TMPDIR/$name.id" || pod=
  if [ "$status" != "$want" ]; then
    echo "$name: ended with $status"
    cat "$BATS_TEST_TMPDIR/$name.err"
    for ctr in "$CRISP_TMP/logs"/*_"$name"*/*/*.log; do tail "$ctr"; done
    status=bad
  fi
  [ -z "$pod" ] || "$POD" down -t 0 "$pod" || status=bad
  [ "$status" = "$want" ]
}

# all_run LINE...: `runs 0` of each line, beside each other
all_run() {
  local line pids=() bad=0
  for line; do
    # shellcheck disable=SC2086
    runs 0 $line &
    pids+=($!)
  done
  for line in "${pids[@]}"; do wait "$line" || bad=1; done
  return $bad
}

@test "init containers, a sidecar, the environment from configMaps and secrets" {
  all_run init.yaml sidecar.yaml "config-env.yaml --secret from-dir=$CRISP_TMP/secret"
}

@test "security contexts, groups of volumes, projected files, the downward API" {
  all_run security.yaml projected.yaml downward.yaml
}

@test "the three classes of service: in the container, and by the kubelet's numbers" {
  all_run qos-guaranteed.yaml qos-burstable.yaml qos-besteffort.yaml
  # Of shares and quotas: 1024 a processor, at least 2; 100 ms a period, at least 1 ms.
  jq -sc 'map({ q: .qos_class, c: [.containers[] | .config.linux.resources | del(.hugepage_limits)] })' \
    "$BATS_TEST_TMPDIR"/qos-{guaranteed,burstable,besteffort}.json >"$BATS_TEST_TMPDIR/numbers"
  diff "$BATS_TEST_TMPDIR/numbers" - <<'JSON'
[{"q":"Guaranteed","c":[{"cpu_period":100000,"cpu_quota":25000,"cpu_shares":256,"memory_limit_in_bytes":33554432,"oom_score_adj":-997,"memory_swap_limit_in_bytes":33554432},{"cpu_period":100000,"cpu_quota":150000,"cpu_shares":1536,"memory_limit_in_bytes":67108864,"oom_score_adj":-997,"memory_swap_limit_in_bytes":67108864}]},{"q":"Burstable","c":[{"cpu_period":100000,"cpu_shares":2,"oom_score_adj":750},{"cpu_period":100000,"cpu_quota":1000,"cpu_shares":102,"oom_score_adj":750},{"cpu_period":100000,"cpu_shares":2,"oom_score_adj":3}]},{"q":"BestEffort","c":[{"cpu_period":100000,"cpu_shares":2,"oom_score_adj":1000}]}]
JSON
  # Where a kubelet puts them.
  for class in guaranteed burstable besteffort; do podmanifest --dry-run "qos-$class.yaml"; done |
    jq -r '"\(.pod.linux.cgroup_parent) \(.pod.metadata.uid)"' | sed 's/pod\(.*\) \1$/podUID/' >"$BATS_TEST_TMPDIR/parents"
  diff "$BATS_TEST_TMPDIR/parents" <(printf '/kubepods%s/podUID\n' '' /burstable /besteffort)
}

@test "deployment, cron job, stateful set with a directory for its claim, daemon set" {
  mkdir "$CRISP_TMP/data"
  echo kept >"$CRISP_TMP/data/kept"
  all_run deployment.yaml cronjob.yaml "statefulset.yaml --index 1 --volume data=$CRISP_TMP/data" daemonset.yaml
  [ "$(cat "$CRISP_TMP/data/new")" = written ]
  grep -q 'Service shop is not part of a pod' "$BATS_TEST_TMPDIR/deployment.warnings"
}

@test "the host's namespaces, names and DNS, an image as a volume, a pod as kubectl prints it" {
  all_run "host-network.yaml --cluster-dns 192.0.2.53 --cluster-domain cluster.example" hosts-dns.yaml image-volume.yaml \
    "cluster.json --no-service-account"
}

@test "the first failure is the status; last words; what failed can still be looked at" {
  runs 43 job.yaml --index 2 &
  local job=$!
  convert termination.yaml >"$BATS_TEST_TMPDIR/t.json"
  run -5 --separate-stderr "$POD" up "$BATS_TEST_TMPDIR/t.json"
  [ "${#output}" = 64 ]
  [[ $stderr == *"container speaks: exit code 5: the disk is full"* ]]
  [ "$("$POD" logs quiet)" = "nobody reads this" ]
  [ "$(ctrrun ls --json | jq -r '[.[] | select(.name == "quiet" or .name == "speaks" or .name == "never").name] | join(" ")')" = "speaks quiet" ]
  "$POD" down -t 0 "$output"
  # An image that runs as root, and must not.
  convert termination.yaml --name rooted | jq '.containers |= map(select(.name == "never") | .check_image_user = true)' >"$BATS_TEST_TMPDIR/u.json"
  run_err 7 "$POD" up "$BATS_TEST_TMPDIR/u.json"
  [[ $stderr == *"container never: runAsNonRoot, and its image runs as root"* ]]
  wait "$job"
  [ "$(grep -c 'container sum: exit code 43' "$BATS_TEST_TMPDIR/job.err")" = 1 ]
}

@test "restartPolicy, when it is asked for: init container and container run again, once each" {
  HOW=--restart runs 0 restart.yaml
  [ "$(grep -c 'exit code 1' "$BATS_TEST_TMPDIR/restart.err")" = 2 ]
  [ "$(ls "$CRISP_TMP"/logs/default_restart_*/main)" = "$(printf '0.log\n1.log')" ]
  runs 1 restart.yaml
}

@test "probes and hooks are commands; volumes go with the pod" {
  convert probes.yaml >"$BATS_TEST_TMPDIR/p.json"
  jq -e '.containers[0] | .lifecycle.pre_stop.command == ["sleep", "1"]
    and .probes.liveness.initial_delay_seconds == 3 and .probes.readiness.failure_threshold == 2
    and .probes.readiness.command[-1] == "8080"' "$BATS_TEST_TMPDIR/p.json"
  pod=$("$POD" up - <"$BATS_TEST_TMPDIR/p.json")
  [ -d "$RUNROOT/volumes/$(podnet status "$pod" | jq -r .metadata.uid)" ]
  ip=$(podnet status "$pod" | jq -r .ip)
  mapfile -t live < <(jq -r '.containers[0].probes.liveness.command[]' "$BATS_TEST_TMPDIR/p.json" | sed "s/@pod-ip-0@/$ip/")
  wait_for 20 "${live[@]}"
  mapfile -t started < <(jq -r '.containers[0].probes.startup.command[]' "$BATS_TEST_TMPDIR/p.json")
  "$POD" exec web "${started[@]}"
  # The same pod twice is refused, and the first is not touched.
  run_err 4 "$POD" up "$BATS_TEST_TMPDIR/p.json"
  "$POD" exec web true
  "$POD" down -t 0 "$pod"
  [ -z "$(ls "$RUNROOT/volumes")" ]
}

@test "a signal while it waits leaves nothing" {
  convert probes.yaml >"$BATS_TEST_TMPDIR/p.json"
  setsid "$POD" up --wait "$BATS_TEST_TMPDIR/p.json" >"$BATS_TEST_TMPDIR/id" 3>&- &
  local script=$!
  wait_for 60 test -s "$BATS_TEST_TMPDIR/id"
  kill -TERM -- "-$script"
  local code=0
  wait $script || code=$?
  [ $code = 130 ]
}

@test "what cannot be honoured is named with its path, and nothing is made" {
  refused() { # STATUS TEXT [OPTIONS...]: the manifest comes on standard input
    run_err "$1" podmanifest --volumes "$BATS_TEST_TMPDIR/v" "${@:3}" - <"$BATS_TEST_TMPDIR/m"
    [[ $stderr == "podmanifest: error: standard input: $2"* ]] || { echo "expected: $2"; return 1; }
    [ ! -e "$BATS_TEST_TMPDIR/v" ]
  }
  pod_of() { # SPEC-LINES
    printf 'kind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: c, image: i, volumeMounts: [{name: v, mountPath: /v}]}\n%s\n' "$1" >"$BATS_TEST_TMPDIR/m"
  }
  pod_of $'  volumes: [{name: v, persistentVolumeClaim: {claimName: x}}]\n  activeDeadlineSeconds: 3\n  colour: red'
  refused 10 'spec.activeDeadlineSeconds: nobody ends the pod when its time is over; spec.colour: unknown field; spec.volumes[0].persistentVolumeClaim: no storage of a cluster here (--volume v=PATH) (--lenient goes on without)'
  run -0 --separate-stderr podmanifest --dry-run --lenient - <"$BATS_TEST_TMPDIR/m"
  [ "$(grep -c '^podmanifest: warning: standard input: spec' <<<"$stderr")" = 3 ]
  [ "$(jq -c '[.containers[0].config.mounts[].container_path]' <<<"$output")" = '["/etc/hosts","/dev/termination-log"]' ]
  pod_of '  volumes: [{name: v, configMap: {name: x}}]'
  refused 3 "spec.volumes[0].configMap: there is no configMap 'x' (a document of the same file, or --configmap x=DIR)"
  mkdir "$BATS_TEST_TMPDIR/x"
  echo 1 >"$BATS_TEST_TMPDIR/x/k"
  pod_of '  volumes: [{name: v, configMap: {name: x, items: [{key: k, path: ../../etc/x}]}}]'
  refused 6 "spec.volumes[0].configMap: '../../etc/x' is not a path within a volume" --configmap "x=$BATS_TEST_TMPDIR/x"
  pod_of '  volumes: [{name: ../v, emptyDir: {}}]'
  refused 6 "spec.volumes[0].name: '../v' is not a name"
  pod_of '  restartPolicy: 3'
  refused 6 'spec.restartPolicy: expected string, found integer'
  pod_of '  volumes: []'
  refused 6 "spec.containers[0].volumeMounts[0].name: there is no volume 'v'"
  printf 'kind: Pod\nmetadata: {name: p, uid: ../x}\nspec: {containers: [{name: c, image: i}]}\n' >"$BATS_TEST_TMPDIR/m"
  refused 6 "metadata.uid: '../x' is not a uid"
  printf 'kind: Service\nmetadata: {name: s}\n' >"$BATS_TEST_TMPDIR/m"
  run_err 3 podmanifest - <"$BATS_TEST_TMPDIR/m"
  [[ $stderr == *'no pod, and nothing that has a pod'* ]]
  { cat deployment.yaml; echo ---; cat job.yaml; } >"$BATS_TEST_TMPDIR/m"
  run_err 6 podmanifest - <"$BATS_TEST_TMPDIR/m"
  [[ $stderr == *'--pod must say which: Deployment/shop, Job/sums'* ]]
  [ "$(podmanifest --dry-run --pod job/sums - <"$BATS_TEST_TMPDIR/m" | jq -r '.pod.labels["job-name"]')" = sums ]
  # Ten lines that would be a thousand million nodes.
  { echo 'a0: &a0 [x]'; for i in 1 2 3 4 5 6 7 8 9; do echo "a$i: &a$i [$(yes "*a$((i - 1))" | head -10 | paste -sd,)]"; done; } >"$BATS_TEST_TMPDIR/m"
  refused 6 'line 6: too large or nested too deep'
  # A hundred arguments of a megabyte each, said once.
  { printf 'kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, env: [{name: V, value: '; head -c 1048576 /dev/zero | tr '\0' x
    printf '}], args: ['; yes '"$(V)"' | head -100 | paste -sd,; printf ']}]}\n'; } >"$BATS_TEST_TMPDIR/m"
  refused 9 'spec.containers[0].args[62]: the manifest becomes more than 67108864 bytes'
}

@test "a subPath leads nowhere out of its volume; files as crictl takes them" {
  mkdir -p "$BATS_TEST_TMPDIR/vol" "$BATS_TEST_TMPDIR/out"
  ln -s / "$BATS_TEST_TMPDIR/vol/up"
  printf 'kind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: c, image: i, volumeMounts: [{name: v, mountPath: /v, subPath: up/etc/new/dir}]}\n  volumes: [{name: v, hostPath: {path: %s}}]\n' \
    "$BATS_TEST_TMPDIR/vol" >"$BATS_TEST_TMPDIR/m"
  run_err 6 podmanifest --volumes "$BATS_TEST_TMPDIR/v" "$BATS_TEST_TMPDIR/m"
  [[ $stderr == *"spec.containers[0].volumeMounts[0].subPath"* ]]
  [ ! -e /etc/new ]
  [ ! -e "$BATS_TEST_TMPDIR/vol/etc" ]
  convert sidecar.yaml --out "$BATS_TEST_TMPDIR/out" >"$BATS_TEST_TMPDIR/doc"
  [ "$(cd "$BATS_TEST_TMPDIR/out" && echo *)" = "00-pod.json 01-sidecar-proxy.json 02-init-needs-it.json 03-main-main.json manifest.json" ]
  cmp "$BATS_TEST_TMPDIR/doc" "$BATS_TEST_TMPDIR/out/manifest.json"
  pod=$("$POD" up "$BATS_TEST_TMPDIR"/out/{00-pod,01-sidecar-proxy,03-main-main}.json)
  "$POD" down -t 0 "$pod"
}

@test "crispd takes the messages of every manifest from a client" {
  local file name code docs=()
  declare -A options=([config-env]="--secret from-dir=$CRISP_TMP/secret" [statefulset]="--index 1 --volume data=$CRISP_TMP/claim"
    [host-network]="--cluster-dns 192.0.2.53 --cluster-domain cluster.example" [cluster]=--no-service-account [job]="--index 2")
  declare -A codes=([job]=43 [termination]=5 [restart]=1 [probes]=runs)
  mkdir "$CRISP_TMP/claim"
  echo kept >"$CRISP_TMP/claim/kept"
  for file in *; do
    name=${file%.*}
    # shellcheck disable=SC2086
    convert "$file" --volumes "$BATS_TEST_TMPDIR/$name.volumes" ${options[$name]:-} >"$BATS_TEST_TMPDIR/$name.json"
    docs+=("${codes[$name]:-0}=$BATS_TEST_TMPDIR/$name.json")
  done
  [ ${#docs[@]} -ge 20 ]
  crispd_start
  py manifests_case.py "$SOCK" "${docs[@]}"
  crispd_stop
}

@test "nothing is left of all of these" {
  same() { diff "$BATS_FILE_TMPDIR/world" <(world); }
  wait_for 5 same || same
  [ -z "$(ls "$RUNROOT/volumes")" ]
}
