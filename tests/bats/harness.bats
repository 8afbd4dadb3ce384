#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# helpers.bash changes how bats notices a failure: whatever fails in a test must fail it all the same.
load ../lib/helpers

# bats_file NAME: stdin as a bats file of that name (with %test, as @test would be one of this file), run; how many are ok and how many not is in $BATS_TEST_TMPDIR/said
bats_file() {
  {
    echo "load $BATS_TEST_DIRNAME/../lib/helpers"
    sed 's/^%test/@test/'
  } >"$BATS_TEST_TMPDIR/$1.bats"
  env -i PATH="$PATH" HOME="$HOME" BUILD="$BUILD" bats --tap "$BATS_TEST_TMPDIR/$1.bats" >"$BATS_TEST_TMPDIR/tap" 2>&1 || true
  cat "$BATS_TEST_TMPDIR/tap"
  sed -nE 's/^(not ok|ok) .*/\1/p' "$BATS_TEST_TMPDIR/tap" | sort | uniq -c | sed 's/^ *//' | paste -sd, >"$BATS_TEST_TMPDIR/said"
}

@test "whatever fails in a test fails the test, and its place is told" {
  bats_file fails <<'EOF'
helper() { false; true; }
inner() { helper; true; }
%test "a command" { false; true; }
%test "the last command" { true; [ 1 = 2 ]; }
%test "in a function" { helper; true; }
%test "in a function of a function" { inner; true; }
%test "in a subshell" { (false; true); true; }
%test "in a substitution" { x=$(false); true; }
%test "the end of a pipeline" { true | false; true; }
%test "brackets" { [[ a = b ]]; true; }
%test "arithmetic" { ((0)); true; }
%test "in a loop" { for i in 1 2; do [ $i = 1 ]; done; true; }
%test "in a loop that reads" { while read -r x; do false; done <<<a; true; }
%test "in a branch" { if true; then false; fi; true; }
%test "in a case" { case a in a) false ;; esac; true; }
%test "return" { return 1; }
%test "exit" { exit 3; }
%test "no such command" { nosuchcommand; true; }
%test "another status" { run_err 3 false; true; }
EOF
  [ "$(cat "$BATS_TEST_TMPDIR/said")" = "17 not ok" ]
  grep -qF "from function \`helper' in" "$BATS_TEST_TMPDIR/tap"
  grep -qF "in test file" "$BATS_TEST_TMPDIR/tap"
}

@test "setup and setup_file fail their tests; what passes, passes" {
  bats_file setup <<'EOF'
setup() { [ "$BATS_TEST_NUMBER" != 1 ]; true; }
%test "has no setup" { true; }
%test "passes" { [ 1 = 1 ]; }
%test "is skipped" { skip "for a reason"; }
%test "a condition is no failure" { if false; then :; fi; [ 1 = 2 ] || true; }
EOF
  [ "$(cat "$BATS_TEST_TMPDIR/said")" = "1 not ok,3 ok" ]
  bats_file file <<'EOF'
setup_file() { false; true; }
%test "never runs" { true; }
EOF
  [ "$(cat "$BATS_TEST_TMPDIR/said")" = "1 not ok" ]
}
