#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the README and the man pages say is run as it stands there.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  requires root crun jq curl runc containerd-shim-runc-v2 openssl
  crisp_file_setup
  crisp_registry
  make_image library/busybox
  # docker.io is this machine's registry.
  echo "{ \"host\": \"docker.io\", \"mirrors\": [{ \"url\": \"http://$REGISTRY\" }], \"blocked\": false }" >"$CRISP_TMP/etc/registries.d/docker.json"
  TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
  export TOP PATH=$TOP/scripts:$PATH CONTAINER_RUNTIME_ENDPOINT=unix://$RUNROOT/crisp.sock
  mkdir "$CRISP_TMP/here"
}
teardown_file() { crisp_file_teardown; }
docs() { /usr/bin/python3 "$TOP/tests/lib/docs.py" "$@"; }

@test "the README's tour, each command of it" {
  cd "$CRISP_TMP/here"
  run docs readme "$TOP/README.md" "A tour of ten minutes"
  echo "$output"
  [ "$status" = 0 ]
}

@test "the README has no other block, but what says why it is not run" {
  run docs blocks "$TOP/README.md" "A tour of ten minutes" "In a pipeline"
  echo "$output"
  [ "$status" = 0 ]
  [ "${#lines[@]}" = 7 ]
  # And one that says nothing is found.
  printf '%s\n' '## Tour' '' '    make' >"$CRISP_TMP/page"
  run docs blocks "$CRISP_TMP/page" Tour
  [ "$status" = 1 ]
  [[ $output == *"neither run nor says why not: make"* ]]
}

@test "the README's pipeline, with ci-example" {
  cd "$CRISP_TMP/here"
  run docs readme "$TOP/README.md" "In a pipeline"
  echo "$output"
  [ "$status" = 0 ]
}

@test "the man pages' examples" {
  mkdir "$CRISP_TMP/man"
  cd "$CRISP_TMP/man"
  ocipull busybox
  local names
  for names in mypod:web demo:app; do
    pod_json "${names%:*}" | jq '.linux.security_context = {}' >"${names%:*}.json"
    ctr_json "${names#*:}" busybox sh -c 'echo said; exec sleep 1000' | jq '.linux = {}' >"${names#*:}.json"
  done
  mv demo.json pod.json
  printf '%s\n' 'kind: Pod' 'metadata: {name: job}' 'spec:' '  initContainers: [{name: before, image: busybox, command: ["true"]}]' \
    '  containers: [{name: main, image: busybox, command: [echo, done], resources: {limits: {cpu: 100m}}}]' >pod.yaml
  cp pod.yaml job.yaml
  # It fails for what it was given.
  mkdir settings && echo 'log = /var/app.log' >settings/app.conf
  cat >report.yaml <<'EOF'
kind: Pod
metadata: { name: report }
spec:
  containers:
    - name: main
      image: busybox
      command: [sh, -c, 'cat /etc/app/app.conf; [ -z "$API_TOKEN" ] || { echo "cannot open /etc/app/other/app.conf" >&2; exit 4; }']
      env: [{ name: API_TOKEN, value: theirs }]
      volumeMounts: [{ name: settings, mountPath: /etc/app }]
  volumes: [{ name: settings, configMap: { name: settings } }]
EOF
  run pod up --wait - < <(podmanifest --configmap settings=./settings --log-dir "$PWD/logs" report.yaml)
  [ "$status" = 4 ]
  pod up mypod.json web.json
  crispd_start
  run docs man "$TOP"/{cmd/*,libcommon,adapter,scripts}/*.[1-8]
  echo "$output"
  [ "$status" = 0 ]
  # What cannot be run here, each with its reason; a block without one has failed above.
  diff - <(grep '^not run: ' <<<"$output" | cut -d: -f2) <<'EOF'
 ctrrun.1
 ocibundle.1
 ocipull.1
 podmanifest.1
 crisp-handlers.5
 crispd.8
EOF
  printf '.SH EXAMPLES\n.EX\nfalse\n.EE\n' >"$CRISP_TMP/page.1"
  run docs man "$CRISP_TMP/page.1"
  [ "$status" = 1 ]
  [[ $output == *"neither run nor says why not"* ]]
  crispd_stop
  pod down -t 0 mypod
}

@test "crisp.json(5) has each key of the configuration with its default" {
  echo '{}' >"$CRISP_TMP/empty.json"
  crispd --config "$CRISP_TMP/empty.json" --json config >"$CRISP_TMP/keys.json"
  mandoc -Tutf8 -Owidth=400 "$TOP/libcommon/crisp.json.5" | col -bx >"$CRISP_TMP/page"
  /usr/bin/python3 - "$CRISP_TMP/keys.json" "$CRISP_TMP/page" <<'EOF'
import json, re, sys
keys = json.load(open(sys.argv[1]))
page = re.sub(r"\s+", " ", open(sys.argv[2]).read())
assert len(keys) > 50
for key, v in keys.items():
    if key == "default_capabilities":  # by the name of what they are
        continue
    default = json.dumps(v["value"]) if v["value"] != "" else '(""'
    told = re.search(r" %s (?=[A-Z\"]|cgroupfs|error|true)(.*?)\)\." % key, page)
    assert told, key
    assert (default if v["value"] == "" else "(" + default) in told.group(1) + "):", (key, default, told.group(1))
EOF
}
