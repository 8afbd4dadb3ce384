#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the README and the man pages say is run as it stands there.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  requires root crun jq curl
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

@test "the README's pipeline, with ci-example" {
  cd "$CRISP_TMP/here"
  run docs readme "$TOP/README.md" "In a pipeline"
  echo "$output"
  [ "$status" = 0 ]
}
