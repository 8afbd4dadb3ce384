# shellcheck shell=bash
# What a file's pods and containers leave in the world. `world` prints it, for pods whose cgroup parent begins with
# $GROUPS_OF_FILE; world_saved keeps it for this test, and nothing_left says whether it is the same again.
: "${GROUPS_OF_FILE:=/crisp-test/${BRIDGE:-none}-}"
# All that a failure could leave. The bridge's address of the host and its files are the network's, not a pod's.
world() {
  local dir
  for dir in "$ROOT"/{pods,containers,reserved,tmp,images,names,layers,debts} "$RUNROOT"/{pods,containers} "$RUNROOT"/runtimes/*; do
    [ ! -d "$dir" ] || find "$dir" -mindepth 1 -maxdepth 1 -not -name '.*' | sort
  done
  find "$CRISP_TMP/ipam" -name "$SUBNET.*" 2>/dev/null | sort
  awk '{ print $5 }' /proc/self/mountinfo | grep -F "$CRISP_TMP" | sort
  find /sys/fs/cgroup -type d -path "*$GROUPS_OF_FILE*/*" -not -path '*/unified/*' 2>/dev/null | sort
  ip -o link show master "$BRIDGE" 2>/dev/null | wc -l
  pgrep -af "$CRISP_TMP" | grep -vE 'docker-registry|bats' | sed 's/^[0-9]* //' | sort
  grep -h . /proc/[0-9]*/cgroup 2>/dev/null | grep -F "$GROUPS_OF_FILE" | sort -u
}
world_is_same() { diff "$BATS_TEST_TMPDIR/world" <(world); }
# A process that was killed may need a moment to be reaped.
nothing_left() { wait_for 5 world_is_same || world_is_same; }
world_saved() { world >"$BATS_TEST_TMPDIR/world"; }
