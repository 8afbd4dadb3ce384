# shellcheck shell=bash
# What a file's pods and containers leave in the world. `world` prints it, for pods whose cgroup parent begins with
# $GROUPS_OF_FILE; world_saved keeps it for this test, and nothing_left says whether it is the same again.
: "${GROUPS_OF_FILE:=/crisp-test/${BRIDGE:-none}-}"
WORLD_PY=${BASH_SOURCE[0]%/*}/world.py
# All that a failure could leave. The bridge's address of the host and its files are the network's, not a pod's.
world() { world_py; }
world_py() { python3 -SE "$WORLD_PY" "$ROOT" "$RUNROOT" "$CRISP_TMP" "$SUBNET" "$BRIDGE" "$GROUPS_OF_FILE" "$@"; }
# A process that was killed may need a moment to be reaped: 25 s at most. Prints what differs.
nothing_left() { world_py "$BATS_TEST_TMPDIR/world" 25; }
world_saved() { world >"$BATS_TEST_TMPDIR/world"; }
