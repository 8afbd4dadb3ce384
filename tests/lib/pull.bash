# shellcheck shell=bash
# For the bats files about pulls: a store for each test, images of any shape, a registry that can be held up.
pull_setup() {
  STORE=$(mktemp -d "$CRISP_TMP/store.XXXXXX")
  PIDS=()
  PULL=("$BUILD/bin/ocipull" --root "$STORE" --runroot "$STORE/run")
}
pull_teardown() {
  local pid
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
  umount "$STORE/small" 2>/dev/null
  rm -rf "$STORE"
}
pull() { "${PULL[@]}" "$@"; }
store() { ocistore --root "$STORE" --runroot "$STORE/run" "$@"; }
image_dir() { echo "$STORE/images/${1#sha256:}"; }
empty_tmp() { only_seen is_empty "$STORE/tmp"; }
nothing_left() { only_seen is_empty "$STORE"/{tmp,images} && is_empty "$STORE/names"; }
python_oci() { PYTHONPATH=$BATS_TEST_DIRNAME/../lib PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$@"; }
setting() { # KEY JSON
  jq --argjson v "$2" ".$1 = \$v" "$CRISP_CONFIG" >"$STORE/crisp.new"
  mv "$STORE/crisp.new" "$STORE/crisp.json"
  export CRISP_CONFIG=$STORE/crisp.json
}
# Serve a layout; sets SERVER=127.0.0.1:PORT, LOG (its requests) and GATE (while that file exists layers are held).
serve() { # LAYOUT
  LOG=$STORE/server.log GATE=$STORE/gate
  rm -f "$STORE/port"
  PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/pull_registry.py" "$STORE/port" "$1" "$GATE" \
    >"$LOG" 2>&1 3>&- &
  PIDS+=($!)
  wait_for 10 test -s "$STORE/port"
  SERVER=127.0.0.1:$(cat "$STORE/port")
  mkdir -p "$STORE/registries.d"
  echo "{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}" >"$STORE/registries.d/server.json"
  setting registries_dir "\"$STORE/registries.d\""
}
blobs_asked() { grep -c 'GET .*/blobs/' "$LOG"; }
now_ms() { date +%s%3N; }
