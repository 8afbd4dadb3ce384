#!/usr/bin/env bats
# What every program promises alike (cmd/README.md, libcommon/tool.h).

setup_file() {
  load ../lib/helpers
  PROGS=$(cd "$BATS_TEST_DIRNAME/../.." && for p in cmd/*/; do basename "$p"; done && echo crispd)
  export PROGS
}
setup() { load ../lib/helpers; }

# each COMMAND...: with $prog set to every program in turn; names the one that fails
each() {
  local prog
  for prog in $PROGS; do
    "$@" || { echo "failed for $prog"; return 1; }
  done
}

help_works() {
  run --separate-stderr "$prog" --help
  [ "$status" = 0 ] && [ -z "$stderr" ] && [[ $output == "usage: $prog"* ]]
}
@test "--help goes to stdout and exits 0" { each help_works; }

version_works() { [ "$("$prog" --version)" = "$prog $(cat "$BATS_TEST_DIRNAME/../../VERSION")" ]; }
@test "--version prints name and version" { each version_works; }

unknown_option() { run_err 2 "$prog" --no-such-option && [[ $stderr == "$prog: error: unknown option --no-such-option"* ]]; }
@test "an unknown option is exit 2 and named" { each unknown_option; }

value_missing() { run_err 2 "$prog" --log-level && [[ $stderr == *"--log-level needs a value"* ]]; }
@test "an option without its value is exit 2" { each value_missing; }

bad_level() {
  local verb
  verb=$("$prog" --option-table | awk -F'\t' '$3 == "-" { print $2; exit }')
  # shellcheck disable=SC2086
  run_err 2 "$prog" --log-level loud $verb x y z || run_err 2 "$prog" --log-level loud $verb x || run_err 2 "$prog" --log-level loud $verb
  [[ $stderr == *"loud"* || $stderr == *"too many operands"* ]]
}
@test "a bad log level is exit 2" { each bad_level; }

json_error() {
  CRISP_LOG=json run --separate-stderr "$prog" --no-such-option
  [ "$status" = 2 ] && [ "$(head -1 <<<"$stderr" | jq -r .code)" = USAGE ] && [ "$(head -1 <<<"$stderr" | jq -r .prog)" = "$prog" ]
}
@test "with CRISP_LOG=json an error is an object with its code" { each json_error; }

closed_stdout() { ! "$prog" --help >&- 2>/dev/null; }
@test "a closed stdout is an error" { each closed_stdout; }

full_disk() { ! "$prog" --help >/dev/full 2>/dev/null; }
@test "a full disk behind stdout is an error" { each full_disk; }

table_is_sound() { "$prog" --option-table | awk -F'\t' 'NF != 6 || $1 == "" || $6 == "" { exit 1 }'; }
@test "the option table has six fields a line" { each table_is_sound; }

bad_config() {
  local verb args
  case $prog in cricall | ctrmon | ctrshim | podinit) return 0 ;; esac # these read no configuration
  echo '{ "rot": "/x" }' >"$BATS_TEST_TMPDIR/crisp.json"
  IFS=$'\t' read -r verb args < <("$prog" --option-table | awk -F'\t' '$3 == "-" { print $2 "\t" $5; exit }')
  local operands=()
  for _ in ${args//[^A-Z ]/}; do operands+=(x); done
  # shellcheck disable=SC2086
  run_err 6 "$prog" --config "$BATS_TEST_TMPDIR/crisp.json" $verb "${operands[@]}" ||
    run_err 6 "$prog" --config "$BATS_TEST_TMPDIR/crisp.json" x
  [[ $stderr == *"rot: unknown key"* ]]
}
@test "a wrong configuration is exit 6 and names file and key" { each bad_config; }
