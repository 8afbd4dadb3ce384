#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a person types: completions at real shells, short ids and names, and listings for people and for scripts.
load ../lib/helpers

setup_file() {
  requires root crun
  crisp_file_setup
  DIR=$BATS_TEST_DIRNAME/../../completions PATH=$PATH:$BATS_TEST_DIRNAME/../../scripts
  IMAGE=$(pull_image web)
  ocistore tag "$IMAGE" registry.test:5000/team/web:1.2
  host_pod() { pod_json "$1" | jq -c --arg u "$2" '.metadata.uid = $u | .linux.security_context.namespace_options.network = "NODE"'; }
  ALPHA=$(host_pod alpha 1 | podnet create -)
  TWIN1=$(host_pod twin 1 | podnet create -)
  TWIN2=$(host_pod twin 2 | podnet create -)
  local c
  c=$(ctr_json worker "$IMAGE" sleep 1000 | jq -c '.linux.security_context.namespace_options.network = "NODE"')
  WORKER=$(ocibundle create alpha - <<<"$c")
  jq -c '.metadata.name = "pair"' <<<"$c" >"$CRISP_TMP/pair.json"
  ocibundle create "$TWIN1" "$CRISP_TMP/pair.json"
  ocibundle create "$TWIN2" "$CRISP_TMP/pair.json"
  export DIR PATH IMAGE ALPHA TWIN1 WORKER
}
teardown_file() { crisp_file_teardown; }

@test "Tab completes verbs, options, ids, names, handlers and images in bash and zsh, without a daemon" {
  command -v zsh >/dev/null || skip "no zsh"
  local hex=${IMAGE#sha256:}
  mkdir "$CRISP_TMP/some-files"
  touch "$CRISP_TMP/some-files/only.json"
  py() { /usr/bin/python3 "$BATS_TEST_DIRNAME/../lib/completes.py" "$DIR" bash zsh; }
  tr '>' '\t' <<EOF | py
podnet sta>podnet status
podnet create --han>podnet create --handler
podnet create --handler ru>podnet create --handler runc
podnet --log-level=deb>podnet --log-level=debug
podnet status al>podnet status alpha
podnet status ${ALPHA:0:4}>podnet status ${ALPHA:0:12}
podnet rm ${ALPHA:0:13}>podnet rm $ALPHA
ctrrun stop --timeout 3 wor>ctrrun stop --timeout 3 worker
ctrrun exec -it ${WORKER:0:5}>ctrrun exec -it ${WORKER:0:12}
ctrrun kill worker US>ctrrun kill worker USR
ocibundle create alpha $CRISP_TMP/some-files/>ocibundle create alpha $CRISP_TMP/some-files/only.json
ocibundle diff wor>ocibundle diff worker
ocistore inspect registry.test:5>ocistore inspect registry.test:5000/team/web:1.2
ocistore rm ${hex:0:6}>ocistore rm ${hex:0:12}
ctrstat al>ctrstat alpha
ctrevents --kind im>ctrevents --kind image
crispd che>crispd check
cricall RunP>cricall RunPodSandbox
pod exec -it wo>pod exec -it worker
pod down alp>pod down alpha
EOF
}

@test "the same in fish" {
  command -v fish >/dev/null || skip "no fish"
  local out hex=${IMAGE#sha256:}
  out=$(HOME=$CRISP_TMP fish --no-config -c "set -p fish_complete_path $DIR
    for line in 'podnet sta' 'podnet status al' 'podnet status ${ALPHA:0:4}' 'podnet create --handler ru' 'ctrrun stop wor' 'ocistore inspect registry.test:5' 'ocistore rm ${hex:0:6}' 'pod down alp' 'cricall RunP'
      complete -C \$line
    end")
  echo "$out"
  for want in status alpha "$ALPHA" runc worker registry.test:5000/team/web:1.2 "$hex" RunPodSandbox; do
    grep -qE "^$want(	|\$)" <<<"$out"
  done
  [ "$(grep -c "^alpha" <<<"$out")" = 2 ]
}

# Each verb of the program whose first operand is of the kind, with what else it needs: a line each.
verbs_on() { # PROGRAM KIND
  "$1" --option-table | awk -F'\t' -v kind="$2" '$3 == "-" && $5 ~ "^\\[?" kind "([^A-Za-z]|$)" {
    n = split($5, words, " ")
    printf "%s TYPED", $2
    for (i = 2; i <= n && words[i] != "|"; i++) if (words[i] !~ /^\[/) printf " %s", (words[i] ~ /FILE|json/ ? "FILE" : words[i] == "--" ? "--" : words[i] == "SIGNAL" ? "TERM" : "true")
    print "" }'
}

@test "every verb takes ids, beginnings of ids and unique names, and says in one line what is ambiguous or not there" {
  local program kind name line n=0 words
  echo '{}' >"$CRISP_TMP/file"
  while read -r program kind name; do
    while read -r line; do
      n=$((n + 1))
      line=${line//FILE/$CRISP_TMP/file}
      for typed in "$name" ${name:+nobody}; do
        read -ra words <<<"${line/TYPED/$typed}"
        run --separate-stderr "$program" "${words[@]}" </dev/null
        echo "$program ${words[*]}: $status $output $stderr"
        [ -z "$output" ]
        if [ "$typed" = nobody ]; then
          # What is to be gone is gone.
          case "$program ${words[0]}" in
          podnet\ stop | podnet\ rm | ctrrun\ stop | ctrrun\ rm | ctrrun\ thaw | ocibundle\ rm) [ "$status" = 0 ] ;;
          # A command's own statuses are below 125.
          ctrrun\ exec) [ "$status" = 125 ] ;;
          *) [[ "$status $stderr" == "3 "*"no such $kind"*nobody* ]] ;;
          esac
        else
          case "$program ${words[0]}" in ctrrun\ exec) [ "$status" = 125 ] ;; *) [ "$status" = 6 ] ;; esac
          [[ $stderr == *"'$name' names 2 objects: give more of the id"* ]]
          [[ $stderr != *$'\n'* ]]
        fi
      done
    done < <(verbs_on "$program" "$(case $kind in pod) echo POD ;; *) echo CTR ;; esac)")
  done <<EOF
podnet pod twin
ctrrun container pair
ctrrun pod twin
ocibundle container pair
ocibundle pod twin
EOF
  [ "$n" -gt 25 ]
  run_err 6 ctrstat twin
  run_err 6 ctrstat pair
  run_err 6 ocibundle diff worker pair
  run_err 6 pod down twin
  for typed in alpha "${ALPHA:0:6}" "$ALPHA"; do podnet status "$typed" | jq -e --arg p "$ALPHA" '.id == $p'; done
  for typed in worker "${WORKER:0:6}" "$WORKER"; do ctrrun state "$typed" | jq -e --arg c "$WORKER" '.id == $c'; done
  for typed in "${IMAGE:7:6}" "${IMAGE:0:20}" registry.test:5000/team/web:1.2; do ocistore inspect "$typed" | jq -e --arg i "$IMAGE" '.id == $i'; done
}

@test "listings: tables for people, --json and --format for scripts" {
  [ "$(podnet ls --format '{metadata.name}\t{metadata.uid} {{}{nothing}')" = "$(printf 'twin\t2 {}\ntwin\t1 {}\nalpha\t1 {}')" ]
  [ "$(ctrrun ls --format '{name} {pod_id} {status}' | tail -1)" = "worker $ALPHA prepared" ]
  [ "$(ocistore ls --format '{id} {repo_tags} {repo_tags.0} {pinned}')" = "$IMAGE localhost/oci:web registry.test:5000/team/web:1.2 localhost/oci:web false" ]
  ctrrun handlers --format '{name}' | grep -qx crun
  [ -z "$(podnet ports --format '{host_port}')" ]
  [ -z "$(ctrstat --format '{name}')" ]
  # What is hostile in a value is not told to a terminal.
  jq -c '.metadata.name = "bad\u001b[2Jname\n" | .metadata.uid = "9"' <<<"$(pod_json x)" | jq '.linux.security_context.namespace_options.network = "NODE"' >"$CRISP_TMP/bad.json"
  if bad=$(podnet create "$CRISP_TMP/bad.json"); then
    [ "$(podnet ls --format '{metadata.name}' | head -1)" = 'bad?[2Jname?' ]
    podnet rm "$bad"
  fi
  run_err 2 podnet ls --format '{id'
  [[ $stderr == *"begins with no {name}"* ]]
  run_err 2 ctrrun ls --format 'a\q'
  run_err 2 ctrevents --format '{}'
}
