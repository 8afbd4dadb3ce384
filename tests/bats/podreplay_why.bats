#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What befell a pod is told from its records: each failure by its name, in the runtime's or plugin's words, here and
# from an archive. Two archives compared; an archive as a shell script that does the same.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  requires root crun netns
  crisp_file_setup
  IMAGE=$(pull_image bb)
  export IMAGE TMPDIR=$CRISP_TMP/place
  mkdir "$TMPDIR"
}
teardown_file() { crisp_file_teardown; }
# Archives are unpacked, and pods replayed, in a place where nothing is before or after.
teardown() { [ -z "$(ls -A "$TMPDIR" 2>/dev/null)" ] || { find "$TMPDIR" -maxdepth 2; return 1; }; }

call() { cricall --socket "$SOCK" "$@"; }
# by_hand POD NAME FILTER CMD...: one more container of the pod, made and started; prints its id, whatever becomes of it
by_hand() {
  local ctr
  ctr=$(ctr_json "$2" "$IMAGE" "${@:4}" | jq "$3" | ocibundle create "$1" -)
  echo "$ctr"
  ctrrun create "$ctr" 2>/dev/null && ctrrun start "$ctr"
}
exited() { test -e "$ROOT/containers/$1/exit.json"; }

@test "each failure has its name, its meaning and what was said" {
  local pod ctr
  pod=$(pod_json many | podnet create -)
  ctr=$(by_hand "$pod" killed . sleep 1000)
  kill -9 "$(ctrrun state "$ctr" | jq .pid)"
  wait_for 10 exited "$ctr"
  by_hand "$pod" absent . nope -v || true
  ctr=$(by_hand "$pod" closed . /etc/passwd) || true
  ctr=$(by_hand "$pod" eats '.linux.resources = { memory_limit_in_bytes: 16777216 }' sh -c 'echo begin; x=x; while :; do x=$x$x; done')
  wait_for 20 exited "$ctr"
  ctr=$(by_hand "$pod" picky . sh -c 'echo first; echo "no such setting" >&2; exit 9')
  wait_for 10 exited "$ctr"
  ctr=$(by_hand "$pod" typo . sh -c 'nosuchcommand')
  wait_for 10 exited "$ctr"
  ctr=$(by_hand "$pod" faulty . sh -c 'sh -c "kill -SEGV \$\$"; exit $?')
  wait_for 10 exited "$ctr"
  ctr=$(by_hand "$pod" stubborn . sh -c 'trap "" TERM; while :; do sleep 1; done')
  ctrrun stop --timeout 0 "$ctr"
  # A tenth of a processor: it is held back in most of its periods, of 10 ms each.
  ctr=$(by_hand "$pod" slow '.linux.resources = { cpu_quota: 1000, cpu_period: 10000 }' sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; : | : | :')
  wait_for 20 exited "$ctr"
  by_hand "$pod" fine . sleep 1000
  podreplay why --json many >"$CRISP_TMP/why.json"
  run python3 - "$CRISP_TMP/why.json" <<'PY'
import json, sys
doc = json.load(open(sys.argv[1]))
ctrs = {c["name"]: c for c in doc["containers"]}
def check(name, kind, *parts, **exit):
    c = ctrs[name]
    v = c["verdict"]
    print(name, v, c.get("exit"))
    assert v["class"] == kind
    said = " ".join([v["text"], v.get("words", ""), c.get("exit", {}).get("meaning", "")] + v["try"])
    for p in parts:
        assert p in said, (p, said)
    for k, want in exit.items():
        assert c["exit"].get(k) == want, (k, c["exit"])
check("killed", "killed", "signal 9 (KILL)", code=137, signal=9, signal_name="KILL", oom=None)
check("absent", "no-command", "'nope' is not in the image", "executable file", "ocistore mount sha256:")
check("closed", "no-permission", "may not be executed", "ermission denied")
check("eats", "oom", "its limit of 16.0 MiB", code=137, oom=True, reason="OOMKilled")
check("picky", "exit", "exit code 9", "the program's own", "ctrrun logs", code=9, signal=None)
check("typo", "not-found", "command not found", code=127)
check("faulty", "exit", "killed by signal 11 (SEGV)", code=139)
check("stubborn", "stopped", "stopped by hand, with ctrrun stop, and killed", signal=9)
check("fine", "running")
check("slow", "ok", "held back in ", "limit of 0.10 processors: raise it (resources.limits.cpu")
cpu = ctrs["slow"]["cpu"]
assert cpu["limit"] == 0.1 and cpu["periods"] >= cpu["throttled"] >= 3 and cpu["throttled_ms"] > 0, cpu
assert cpu["throttled_percent"] == 100 * cpu["throttled"] // cpu["periods"] >= 25, cpu
assert ctrs["eats"]["memory"]["limit_met"] > 0 and not ctrs["eats"]["cpu"], ctrs["eats"]
# Not every kernel counts processes at their most.
assert ctrs["slow"]["pids"].get("peak", 3) >= 3 and ctrs["fine"]["pids"]["now"] == 1, ctrs["slow"]
assert ctrs["fine"]["memory"]["now"] > 0
assert ctrs["eats"]["memory"]["limit"] == 16777216 and ctrs["eats"]["memory"]["peak"] > 14 << 20
assert [(l["stream"], l["text"]) for l in ctrs["picky"]["log"]] == [("stdout", "first"), ("stderr", "no such setting")]
assert ctrs["absent"]["asked"]["args"] == ["nope", "-v"]
# The pod's is that of what failed first; the step that failed first is the creation of the second.
assert doc["verdict"]["class"] == "killed", doc["verdict"]
first = doc["steps"][doc["first_failed"]]
assert "ctrrun create " + ctrs["absent"]["id"] in first["command"] and first["exit"] == 1 and "nope" in first["error"]
assert [s["time"] for s in doc["steps"]] == sorted(s["time"] for s in doc["steps"])
order = [(e["event"], e["container"]) for e in doc["events"]]
assert order.index(("exited", "killed")) < order.index(("created", "absent")) < order.index(("created", "eats"))
PY
  echo "$output"
  [ "$status" = 0 ]

  # For people; one container; by hand and by the archive alike.
  run podreplay why picky -n 1
  echo "$output"
  [ "$status" = 0 ]
  [[ $output == *"container picky ("*"): exited, exit code 9, Error"* || $output == *": exited, exit code 9, Error"* ]]
  [[ $output == *"  asked: sh -c "*"the end of its log:"*"err no such setting"* ]]
  [[ $output != *"out first"* ]]
  [[ $output == *"podnet create --id ${pod:0:12}"*"ocibundle create "*"container picky created"*"ctrrun start "*"container picky exited"* ]]
  podreplay capture many -o "$CRISP_TMP/many.tar.zst"
  # But for what is read of a group that is there.
  same() { jq 'del(.containers[].log, (.containers[] | select(.state == "running") | .memory, .pids))' "$1"; }
  podreplay why --json "$CRISP_TMP/many.tar.zst" >"$CRISP_TMP/archived.json"
  diff <(same "$CRISP_TMP/why.json") <(same "$CRISP_TMP/archived.json")
  run podreplay why "$CRISP_TMP/many.tar.zst" eats
  [[ $output == *"the kernel killed it: it wanted more memory than its limit of 16.0 MiB"*"memory: peak "*", limit 16.0 MiB"* ]]
  run podreplay why "$CRISP_TMP/many.tar.zst" slow
  [[ $output == *"try: it was held back in "*"  cpu: limit 0.10, held back in "*" periods ("*" %), for "*" ms"* ]]
  run_err 3 podreplay why "$CRISP_TMP/many.tar.zst" nobody
  run_err 3 podreplay why nobody
  run_err 6 podreplay why "$CRISP_CONFIG"
}

@test "over the CRI: a start that is refused, an image that is not there, a network that cannot be made" {
  local pod ctr
  crispd_start
  pod=$(pod_json asked | jq '{config: .}' | call RunPodSandbox - | jq -r .pod_sandbox_id)
  create() { ctr_json "$1" "$2" nope | jq --arg pod "$pod" '{pod_sandbox_id: $pod, config: ., sandbox_config: {}}' | call CreateContainer - | jq -r .container_id; }
  ctr=$(create one "$IMAGE")
  run_err 1 call StartContainer "{\"container_id\": \"$ctr\"}"
  run create two localhost/none
  podreplay why --json asked >"$CRISP_TMP/asked.json"
  jq -e '.containers[0].verdict.class == "no-command" and .containers[0].exit.code == 128 and .containers[0].exit.reason == "StartError" and
    (.containers[0].verdict.words | contains("nope")) and .pod.origin == "cri" and
    (.events | map(.event)) == ["created", "not started"] and
    (.steps[.first_failed] | .rpc == "StartContainer" and .exit == 1) and
    (.steps[-1] | .rpc == "CreateContainer" and .exit == 3 and (.error | contains("localhost/none")))' "$CRISP_TMP/asked.json"
  # Without the first, the second is what failed.
  call RemoveContainer "{\"container_id\": \"$ctr\"}"
  podreplay why --json asked | jq -e '.verdict.class == "image" and (.verdict.words | contains("localhost/none"))'
  # A pull, when the client says for which pod: it has it in its journal.
  pod_json asked | jq '{image: {image: "localhost:1/none"}, sandbox_config: .}' >"$CRISP_TMP/pull.json"
  run_err 12 call PullImage "$CRISP_TMP/pull.json"
  podreplay why --json asked | jq -e '.verdict.class == "image" and .verdict.text == "its image could not be pulled" and
    (.verdict.words | contains("localhost:1")) and (.steps[-1] | .rpc == "PullImage" and .exit == 12)'
  call RemovePodSandbox "{\"pod_sandbox_id\": \"$pod\"}"

  mkdir "$CRISP_TMP/bad.d"
  echo '{ "cniVersion": "0.4.0", "name": "broken", "plugins": [ { "type": "nosuchplugin" } ] }' >"$CRISP_TMP/bad.d/1.conflist"
  jq --arg d "$CRISP_TMP/bad.d" '.network_dir = $d' "$CRISP_CONFIG" >"$CRISP_TMP/bad.json"
  run podnet --config "$CRISP_TMP/bad.json" create <(pod_json lonely)
  [ "$status" != 0 ]
  crispd_stop
  podreplay why --json lonely | jq -e '.pod.state == "not made" and .pod.name == "lonely" and .verdict.class == "network" and
    (.verdict.words | contains("nosuchplugin")) and (.verdict.try | map(contains("podnet network")) | any) and
    .steps[.first_failed].error == .verdict.words'
  run podreplay why lonely
  [[ $output == *"not made"*"its network could not be set up"*"nosuchplugin"*"> "* ]]
}

@test "diff tells same from different from what cannot be compared; the script does the same as run" {
  local config=$CRISP_TMP/config pod ctr
  mkdir -p "$config/sub" && echo 'answer = 42' >"$config/sub/app.conf" && ln -s sub/app.conf "$config/link"
  pod=$(pod_json told | podnet create -)
  ctr=$(by_hand "$pod" init . sh -c 'echo "at $(date) by $(hostname -i) in 12ms"')
  wait_for 10 exited "$ctr"
  ctr=$(by_hand "$pod" main ".envs = [{ key: \"MODE\", value: \"fast\" }] | .mounts = [{ container_path: \"/etc/app\", host_path: \"$config\" }]" \
    sh -c 'cat /etc/app/link; echo "mode $MODE" >&2; [ "$MODE" != fast ] || exit 7')
  wait_for 10 exited "$ctr"
  podreplay capture told --with-images --with-volumes "$config" -o "$CRISP_TMP/a.tar.zst"
  podreplay run --stub-network -o "$CRISP_TMP/b.tar.zst" "$CRISP_TMP/a.tar.zst"
  run podreplay diff "$CRISP_TMP/a.tar.zst" "$CRISP_TMP/b.tar.zst"
  echo "$output"
  [ "$status" = 0 ]
  [ "${lines[-1]}" = same ]
  [[ $output == *" ms  podnet create"*" ms  ctrrun start main"* ]]

  # The same pod in another mood.
  ctrrun rm "$ctr" && ocibundle rm "$ctr"
  rm "$CRISP_TMP/logs/told/main.log"
  ctr=$(by_hand "$pod" main ".envs = [{ key: \"MODE\", value: \"slow\" }] | .mounts = [{ container_path: \"/etc/app\", host_path: \"$config\" }]" \
    sh -c 'cat /etc/app/link; echo "mode $MODE" >&2; [ "$MODE" != fast ] || exit 7')
  wait_for 10 exited "$ctr"
  podreplay capture told -o "$CRISP_TMP/c.tar.zst"
  run podreplay diff --json "$CRISP_TMP/a.tar.zst" "$CRISP_TMP/c.tar.zst"
  echo "$output"
  [ "$status" = 1 ]
  jq -e '.same == false and (.differences | map([.container, .what, .path, .a, .b]) | sort) == ([
    ["main", "exit_code", null, 7, 0], ["main", "reason", null, "Error", "Completed"],
    ["main", "log", "stderr line 1", "mode fast", "mode slow"],
    ["main", "config.json", (.differences[] | select(.what == "config.json").path), "MODE=fast", "MODE=slow"]] | sort)' <<<"$output"
  head -c 1000 "$CRISP_TMP/a.tar.zst" >"$CRISP_TMP/cut"
  run_err 6 podreplay diff "$CRISP_TMP/a.tar.zst" "$CRISP_TMP/cut"
  run_err 3 podreplay diff "$CRISP_TMP/none" "$CRISP_TMP/a.tar.zst"

  # As a script: on a root that has no image yet, with the volume of the archive.
  podreplay script "$CRISP_TMP/a.tar.zst" >"$CRISP_TMP/script.sh"
  jq --arg r "$CRISP_TMP/root2" --arg s "$CRISP_TMP/run2" '.root = $r | .runroot = $s' "$CRISP_CONFIG" >"$CRISP_TMP/two.json"
  run env CRISP_CONFIG="$CRISP_TMP/two.json" sh "$CRISP_TMP/script.sh"
  echo "$output"
  [ "$status" = 7 ]
  [[ $output == *"init: exit code 0"*"main: exit code 7"* ]]
  [[ $output == *"answer = 42"* ]]
  [ -z "$(find "$CRISP_TMP"/root2/{pods,containers} "$CRISP_TMP"/run2/{pods,containers} -mindepth 1 -not -name .gc.lock)" ]
}
