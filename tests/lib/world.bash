# shellcheck shell=bash
# What a file's pods and containers leave in the world. `world` prints it, for pods whose cgroup parent begins with
# $GROUPS_OF_FILE; world_saved keeps it for this test, and nothing_left says whether it is the same again.
: "${GROUPS_OF_FILE:=/crisp-test/${BRIDGE:-none}-}"
# All that a failure could leave. The bridge's address of the host and its files are the network's, not a pod's.
world() { python3 "$(dirname "${BASH_SOURCE[0]}")/world.py" "$ROOT" "$RUNROOT" "$CRISP_TMP" "$SUBNET" "$BRIDGE" "$GROUPS_OF_FILE"; }
world_is_same() { diff "$BATS_TEST_TMPDIR/world" <(world); }
# A process that was killed may need a moment to be reaped.
nothing_left() { wait_for 5 world_is_same || world_is_same; }
world_saved() { world >"$BATS_TEST_TMPDIR/world"; }
