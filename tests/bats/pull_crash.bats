#!/usr/bin/env bats
# A pull that is killed at any of its system calls, or by a power cut: what is committed is whole, the rest is swept.
load ../lib/helpers
load ../lib/pull

setup_file() {
  crisp_file_setup
  LAY=$CRISP_TMP/lay REF=$CRISP_TMP/ref
  export LAY REF
  python_oci "$LAY" <<'PY'
import os, sys
from oci_layout import *
o = Layout(sys.argv[1])
base = layer(entry('etc', DIR, mode=0o750, uid=3), entry('etc/a', data=os.urandom(30000)), entry('usr', DIR), entry('usr/b', data=b'b'))
over = layer(entry('.wh.usr'), entry('etc/c', data=b'c'), entry('etc/link', SYM, link='c'))  # etc is implied
last = layer(entry('opt', DIR), entry('opt/d', data=os.urandom(30000)), entry('opt/.wh..wh..opq'))
o.name(o.image([base, over, last]), 'v1')
PY
  ocipull --root "$REF" --runroot "$CRISP_TMP/refrun" --name r.io/x:1 "oci:$LAY:v1"
}
teardown_file() { crisp_file_teardown; }
setup() {
  requires root strace
  pull_setup
}
teardown() { pull_teardown; }

# One process answers all questions of a test: there are a hundred.
check() {
  local said=
  if [ -z "${CHECKER_PID:-}" ]; then
    coproc CHECKER { exec /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/store_check.py" "$STORE" "$REF" 3>&-; }
    PIDS+=("$CHECKER_PID")
  fi
  echo >&"${CHECKER[1]}"
  read -r said <&"${CHECKER[0]}"
  [ "$said" = whole ] || { printf '%b\n' "store: $said"; return 1; }
}
lib() { /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/$1" "${@:2}"; }

# kill_at CALL N: a pull, killed at its Nth system call of that name (its children die with it); false when it was
kill_at() {
  ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e "trace=$1" -e "inject=$1:signal=KILL:when=$2" \
    "${PULL[@]}" --name r.io/x:1 "oci:$LAY:v1" >/dev/null 2>&1 3>&-
}

crash_at() { # CALL N...
  local call=$1 n
  for n in "${@:2}"; do
    if kill_at "$call" "$n"; then
      rm -rf "$STORE"/{images,names,layers}
      break # there are fewer than n of them
    fi
    killed=$((killed + 1))
    echo "$call $n"
    check
    store ls >"$STORE/ls"
    store gc >/dev/null
    check
    empty_tmp
    "${PULL[@]}" --name r.io/x:1 "oci:$LAY:v1" >/dev/null
    check
    empty_tmp
    [ "$(ls "$STORE/images" "$STORE/names" "$STORE/layers" | wc -l)" = "$(ls "$REF/images" "$REF/names" "$REF/layers" | wc -l)" ]
    rm -rf "$STORE"/{images,names,layers}
  done
}

@test "killed at each call that makes, renames or removes: consistent, swept, and the next pull succeeds" {
  local killed=0
  crash_at renameat2 1 2 3 4 5
  crash_at renameat 1 2 3 5 7 9
  crash_at mkdirat 1 2 4 6 8 10
  crash_at symlinkat 1
  crash_at unlinkat 1 2 4 8 16
  echo "killed $killed"
  [ $killed -ge 14 ]
}

@test "killed at each call that syncs, locks, writes or starts a child" {
  local killed=0
  crash_at fsync 1 3 5 7 8
  crash_at fcntl 4 9 15 25
  crash_at write 1 2 4 6
  crash_at openat 20 40 60 80 100
  crash_at pidfd_open 1 2 3
  echo "killed $killed"
  [ $killed -ge 14 ]
}

@test "a second pull beside a name: killed between image and name" {
  "${PULL[@]}" --name r.io/x:0 "oci:$LAY:v1" >/dev/null
  "${PULL[@]}" --root "$REF" --name r.io/x:0 "oci:$LAY:v1" >/dev/null
  kill_at renameat 2 || true
  check
  store gc >/dev/null
  "${PULL[@]}" --name r.io/x:1 "oci:$LAY:v1" >/dev/null
  check
  [ "$(readlink "$STORE"/names/*x:1)" = "$(readlink "$STORE"/names/*x:0)" ]
}

@test "a power cut at any moment: no name leads to what is not on disk" {
  local calls=openat,mkdirat,mknodat,symlinkat,linkat,renameat,renameat2,unlinkat,write,pwrite64,ftruncate,fallocate,copy_file_range,fsync,fdatasync,syncfs
  strace -f -qq -y -s 0 -o "$STORE/calls" -e "trace=$calls" "${PULL[@]}" --name r.io/x:1 "oci:$LAY:v1" >/dev/null 3>&-
  lib power_cut.py "$STORE" "$STORE/calls"
  # The model does see what is missing.
  local without
  for without in 'syncfs' 'fsync\([0-9]+<[^>]*/image>' 'fsync\([0-9]+<[^>]*/image.json>' 'fsync\([0-9]+<[^>]*/layers>' \
    'fsync\([0-9]+<[^>]*/images>' 'fsync\([0-9]+<[^>]*/names>'; do
    grep -Ev "$without" "$STORE/calls" >"$STORE/cut"
    [ "$(wc -l <"$STORE/cut")" -lt "$(wc -l <"$STORE/calls")" ]
    run ! lib power_cut.py "$STORE" "$STORE/cut"
    [[ $output == *"not on disk yet"* ]]
  done
}
