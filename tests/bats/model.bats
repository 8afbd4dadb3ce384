#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The CRI's rules for concurrent calls, as a randomised test: thousands of calls from a seed against a model of its states
# (tests/lib/cri_model.py). MODEL_SEED and MODEL_SECONDS repeat or lengthen a run; a failure prints its seed.
load ../lib/helpers
load ../lib/crispd
load ../lib/world

setup_file() {
  requires root runc
  crisp_file_setup
  crisp_cni
  jq '.default_runtime = "runc"' "$CRISP_CONFIG" >"$CRISP_CONFIG.new" && mv "$CRISP_CONFIG.new" "$CRISP_CONFIG"
  IMAGE=$(pull_image bb)
  export IMAGE LOGS=$CRISP_TMP/logs GROUPS_OF_FILE=/crisp-test/$BRIDGE-
}
teardown_file() { crisp_file_teardown; }

# The bridge comes with the first pod and stays.
setup() {
  podnet rm "$(pod_json first | podnet create -)"
  world_saved
}

model() {
  local seed=${MODEL_SEED:-$RANDOM}
  echo "seed $seed"
  CLUSTER=$1 py crispd_model.py "${@:2}" "$RUNROOT/crisp.sock" "$seed" "${MODEL_SECONDS:-8}"
}

@test "the model tells a lie from the truth" {
  run py cri_model_check.py
  echo "$output"
  [ "$status" = 0 ]
}

@test "random concurrent calls: every answer is one that the model allows, and nothing is left" {
  crispd_start
  run model yes
  echo "$output"
  [ "$status" = 0 ]
  # Each kind of answer was among them, so that the test has said something.
  for code in OK NOT_FOUND ALREADY_EXISTS FAILED_PRECONDITION; do [[ $output == *"$code "* ]]; done
  crispd_stop
  nothing_left
}

@test "the same with kill -9 of the daemon at random moments" {
  run model "" --kill "$BUILD/bin/crispd" "$CRISP_CONFIG"
  echo "$output"
  [ "$status" = 0 ]
  [[ $output == *"lost "* ]]
  nothing_left
}
