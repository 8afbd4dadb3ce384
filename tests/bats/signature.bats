#!/usr/bin/env bats
# Who must have signed an image, and what programs say of it, before its layers come. Keys and signatures are openssl's,
# the registry is a real one.
load ../lib/helpers
load ../lib/crispd

setup_file() {
  crisp_file_setup
  crisp_registry
  local k
  for k in a b; do
    openssl ecparam -genkey -name prime256v1 -noout -out "$CRISP_TMP/$k.key"
    openssl pkey -in "$CRISP_TMP/$k.key" -pubout -out "$CRISP_TMP/$k.pub"
  done
  openssl genpkey -algorithm ed25519 -out "$CRISP_TMP/ed.key"
  openssl pkey -in "$CRISP_TMP/ed.key" -pubout -out "$CRISP_TMP/ed.pub"
  LAYERS=$(tiny_images)
  export LAYERS
}
teardown_file() { crisp_file_teardown; }

# Prints the digests of their layers, with | between them.
tiny_images() {
  PYTHONPATH=$BATS_TEST_DIRNAME/../lib PYTHONDONTWRITEBYTECODE=1 python3 - "$CRISP_TMP/tiny" <<'PY'
import sys
from oci_layout import *
o = Layout(sys.argv[1])
one, two = (o.image([layer(entry('a', data=t))]) for t in (b'one', b'two'))
arm = o.image([layer(entry('a', data=b'arm'))], arch='arm64')
o.name(one, 'one')
o.name(two, 'two')
o.name(o.index((one, {'os': 'linux', 'architecture': 'amd64'}), (arm, {'os': 'linux', 'architecture': 'arm64'})), 'both')
print('|'.join(json.load(open(o.path + '/blobs/sha256/' + m['digest'][7:]))['layers'][0]['digest'] for m in (one, two, arm)))
PY
}

setup() {
  requires root skopeo openssl curl
  # Each test has a store, policies and verifiers of its own.
  T=$(mktemp -d "$CRISP_TMP/t.XXXXXX")
  STORE=$T/root POLICY=$T/policy.d VERIFY=$T/verify.d
  mkdir -m 755 "$POLICY" "$VERIFY"
  REPO=t$BATS_TEST_NUMBER
  jq --arg p "$POLICY" --arg v "$VERIFY" '. + { policy_dir: $p, verify_dir: $v }' "$CRISP_CONFIG" >"$T/crisp.json"
  OLD_CONFIG=$CRISP_CONFIG CRISP_CONFIG=$T/crisp.json
}
teardown() {
  CRISP_CONFIG=$OLD_CONFIG
  [ -z "${CRISPD_PID:-}" ] || kill "$CRISPD_PID" 2>/dev/null || true
  rm -rf "$T"
}

pull() { ocipull --root "$STORE" --runroot "$STORE/run" "$@"; }
store() { ocistore --root "$STORE" --runroot "$STORE/run" "$@"; }
# push IMAGE [REPOSITORY[:TAG]]; prints the digest
push() {
  skopeo copy -q --all --dest-tls-verify=false --digestfile "$T/digest" "oci:$CRISP_TMP/tiny:$1" "docker://$REGISTRY/${2:-$REPO}"
  cat "$T/digest"
}
sign() { # DIGEST WORD...
  PYTHONDONTWRITEBYTECODE=1 python3 "$BATS_TEST_DIRNAME/../lib/cosign.py" "$REGISTRY" "${SIGN_REPO:-$REPO}" "$@"
}
policy() { # NAME JSON
  jq -n --arg k "$CRISP_TMP" --arg r "$REGISTRY" "$2" >"$POLICY/$1.json"
}
require_a='{ prefix: ($r + "/" + $repo), rule: "require", keys: [$k + "/a.pub"] }'
require() { policy own "\"$REPO\" as \$repo | $require_a + (${1:-{\}})"; }
# Refused with this text, nothing in the store, and no layer asked for.
refused() { # STATUS TEXT [OPERAND]
  local layer before
  layer=$(layers_asked)
  run_err "$1" pull "${3:-$REGISTRY/$REPO}"
  [[ $stderr == *"$2"* ]]
  [ -z "$(find "$STORE"/{tmp,images,names,layers} -mindepth 1 ! -name .lock 2>/dev/null)" ]
  [ "$(layers_asked)" = "$layer" ]
}
layers_asked() { grep -cE "GET /v2/$REPO(/[a-z/]+)?/blobs/($LAYERS)" "$CRISP_TMP/registry.log" || true; }
# Killed, though perhaps not reaped.
gone() { [ -z "$(grep '^State:.[^Z]' "/proc/$1/status" 2>/dev/null)" ]; }
verifier() { # NAME: the script from stdin
  cat >"$VERIFY/$1"
  chmod 755 "$VERIFY/$1"
}

@test "a signature by the key: accepted, by ECDSA and by Ed25519" {
  local d
  d=$(push one)
  require
  sign "$d" key="$CRISP_TMP/a.key"
  pull "$REGISTRY/$REPO"
  pull "$REGISTRY/$REPO@$d"
  require '{ keys: [$k + "/b.pub", $k + "/ed.pub"] }'
  sign "$d" key="$CRISP_TMP/ed.key"
  pull "$REGISTRY/$REPO"
  [ "$(layers_asked)" -gt 0 ]
}

@test "no signature, somebody else's, or a broken one: refused, nothing fetched" {
  local d
  d=$(push one)
  require
  refused 13 "$REGISTRY/$REPO:latest: policy own.json: no signature found"
  sign "$d" key="$CRISP_TMP/b.key" key="$CRISP_TMP/ed.key"
  refused 13 'none of 2 signatures is by one of its keys'
  sign "$d" tamper=1 key="$CRISP_TMP/a.key"
  refused 13 'none of 1 signature is by one of its keys'
  sign "$d" sig='not base64!' key="$CRISP_TMP/a.key"
  refused 13 'no signature holds: some are malformed'
  sign "$d" sig= key="$CRISP_TMP/a.key"
  refused 13 'no signature holds'
}

@test "a signature that says something else: refused" {
  local d other
  d=$(push one)
  other=$(push two "$REPO:other")
  require
  # Another image's, moved here.
  sign "$d" signed="$other" key="$CRISP_TMP/a.key"
  refused 13 "no signature holds: it is for '$other'"
  sign "$d" type=atomic key="$CRISP_TMP/a.key"
  refused 13 "its type is 'atomic'"
  sign "$d" reference="$REGISTRY/elsewhere" key="$CRISP_TMP/a.key"
  refused 13 "it is for '$REGISTRY/elsewhere', not for '$REGISTRY/$REPO'"
  sign "$d" reference="$REGISTRY/$REPO:old" key="$CRISP_TMP/a.key"
  refused 13 "it is for the tag 'old', not for 'latest'"
  sign "$d" raw='{"critical":{"critical":1},"critical":2}' key="$CRISP_TMP/a.key"
  refused 13 'payload'
  sign "$d" raw='[]' key="$CRISP_TMP/a.key"
  refused 13 "its type is ''"
  sign "$d" raw="$(printf '%70000s' x)" key="$CRISP_TMP/a.key"
  refused 13 'malformed'
  sign "$d" manifest='{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":81,"digest":"'"$(printf '{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}' | sha256sum | sed 's/^/sha256:/; s/ .*//')"'"},"layers":[]}'
  refused 13 'no signature found'
  # One that is right among those that are not suffices.
  sign "$d" reference="$REGISTRY/elsewhere" key="$CRISP_TMP/a.key" reference="$REGISTRY/$REPO:latest" key="$CRISP_TMP/a.key"
  pull "$REGISTRY/$REPO"
}

@test "identity: by repository, below a prefix, under another name, or any" {
  local d
  d=$(push one)
  sign "$d" reference="$REGISTRY/$REPO:old" key="$CRISP_TMP/a.key"
  require '{ identity: "repository" }'
  pull "$REGISTRY/$REPO"
  store rm "$REGISTRY/$REPO"
  sign "$d" reference=vendor.example/a/b/app key="$CRISP_TMP/a.key"
  store gc
  require '{ identity: "repository" }'
  refused 13 "it is for 'vendor.example/a/b/app'"
  require '{ identity: "prefix", signed_as: "vendor.example/a/bb" }'
  refused 13 "it is for 'vendor.example/a/b/app', not for 'vendor.example/a/bb'"
  require '{ identity: "prefix", signed_as: "vendor.example/a" }'
  pull "$REGISTRY/$REPO"
  require '{ signed_as: "vendor.example/a/b/app" }'
  pull "$REGISTRY/$REPO"
  require '{ identity: "any" }'
  pull "$REGISTRY/$REPO"
}

@test "several signers: different keys count, the same one does not count twice" {
  local d
  d=$(push one)
  require '{ keys: [$k + "/a.pub", $k + "/b.pub", $k + "/ed.pub"], signers: 2 }'
  sign "$d" key="$CRISP_TMP/a.key" key="$CRISP_TMP/a.key"
  refused 13 'signed by 1 of its keys, 2 must have'
  sign "$d" key="$CRISP_TMP/a.key" reference="$REGISTRY/elsewhere" key="$CRISP_TMP/b.key"
  refused 13 "signed by 1 of its keys, 2 must have: it is for '$REGISTRY/elsewhere'"
  sign "$d" key="$CRISP_TMP/a.key" key="$CRISP_TMP/ed.key"
  pull "$REGISTRY/$REPO"
}

@test "an index: its own signature counts, and that of the platform's manifest" {
  local index one
  index=$(push both)
  one=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "one").digest' "$CRISP_TMP/tiny/index.json")
  require
  refused 13 'no signature found'
  sign "$index" key="$CRISP_TMP/a.key"
  pull "$REGISTRY/$REPO"
  sign "$index" key="$CRISP_TMP/b.key"
  run_err 13 pull "$REGISTRY/$REPO"
  sign "$one" key="$CRISP_TMP/a.key"
  pull "$REGISTRY/$REPO"
  # Not for the other platform.
  run_err 13 pull --platform linux/arm64 "$REGISTRY/$REPO"
}

@test "the longest prefix decides, in whole components; a default" {
  push one "$REPO/app" >/dev/null
  push one "$REPO/apple" >/dev/null
  push one "$REPO/app/free" >/dev/null
  policy any '{ prefix: "*", rule: "reject" }'
  refused 13 "policy any.json rejects what no other allows" "$REGISTRY/$REPO/app"
  policy reg '{ prefix: $r, rule: "accept" }'
  policy app "{ prefix: (\$r + \"/$REPO/app\"), rule: \"require\", keys: [\$k + \"/a.pub\"] }"
  policy free "{ prefix: (\$r + \"/$REPO/app/free\"), rule: \"accept\" }"
  refused 13 'policy app.json: no signature found' "$REGISTRY/$REPO/app"
  pull "$REGISTRY/$REPO/apple"
  pull "$REGISTRY/$REPO/app/free"
  policy no "{ prefix: (\$r + \"/$REPO/app/free\"), rule: \"reject\" }"
  run_err 6 pull "$REGISTRY/$REPO/app/free"
  [[ $stderr == *"free.json and no.json are for the same prefix"* ]]
}

@test "a host's spelling is no way around its policy: case, the port of https" {
  local name
  policy own '{ prefix: "trusted.example/team", rule: "reject" }'
  policy other '{ prefix: "port.example:443", rule: "reject" }'
  policy part '{ prefix: "port.example/fine", rule: "accept" }'
  push one >/dev/null
  mkdir "$T/registries.d"
  echo "{\"host\":\"*\",\"mirrors\":[{\"url\":\"http://$REGISTRY/$REPO\"}]}" >"$T/registries.d/all.json"
  echo "{\"host\":\"port.example/fine\",\"url\":\"http://$REGISTRY/$REPO\"}" >"$T/registries.d/fine.json"
  for name in trusted port; do
    echo "{\"host\":\"$name.example\",\"url\":\"http://$REGISTRY\"}" >"$T/registries.d/$name.json"
  done
  jq --arg d "$T/registries.d" '.registries_dir = $d' "$CRISP_CONFIG" >"$T/two.json"
  CRISP_CONFIG=$T/two.json
  push one "team/app" >/dev/null
  push one "app" >/dev/null
  for name in trusted.example TRUSTED.example trusted.example:443; do refused 13 'policy own.json rejects' "$name/team/app"; done
  for name in port.example port.example:443; do refused 13 'policy other.json rejects' "$name/app"; done
  pull port.example/fine
  pull port.example:443/fine
}

@test "a tag that moved to an unsigned image: refused, and the old image keeps the name" {
  local d id
  d=$(push one)
  require
  sign "$d" key="$CRISP_TMP/a.key"
  id=$(pull "$REGISTRY/$REPO")
  push two >/dev/null
  run_err 13 pull "$REGISTRY/$REPO"
  [ "$(store inspect "$REGISTRY/$REPO" | jq -r .id)" = "$id" ]
  [ "$(ls "$STORE/images" | wc -l)" = 1 ]
}

@test "an image that is there already is judged again" {
  local d
  d=$(push one)
  pull "$REGISTRY/$REPO"
  require
  run_err 13 pull "$REGISTRY/$REPO"
  sign "$d" key="$CRISP_TMP/a.key"
  pull "$REGISTRY/$REPO"
  verifier 10-no <<<'#!/bin/false'
  run_err 13 pull "$REGISTRY/$REPO"
}

@test "ten thousand signatures: the first 64 count, in bounded time" {
  local d
  d=$(push one)
  require
  sign "$d" junk=10000 key="$CRISP_TMP/a.key"
  run_err 13 timeout 20 ocipull --root "$STORE" --runroot "$STORE/run" "$REGISTRY/$REPO"
  [[ $stderr == *'none of 10001 signatures (the first 64 count) is by one of its keys'* ]]
  sign "$d" junk=40 key="$CRISP_TMP/a.key"
  pull "$REGISTRY/$REPO"
}

@test "signatures in another repository; Docker's media types" {
  local d
  d=$(push one)
  require "{ repository: (\$r + \"/$REPO-sigs\") }"
  sign "$d" key="$CRISP_TMP/a.key"
  refused 13 'no signature found'
  sign "$d" where="$REPO-sigs" docker=1 key="$CRISP_TMP/a.key"
  pull "$REGISTRY/$REPO"
}

@test "signatures in another registry: credentials without a server's name are not for it" {
  local d fake
  d=$(push one)
  PYTHONDONTWRITEBYTECODE=1 python3 "$BATS_TEST_DIRNAME/../lib/registry_fake.py" "$T/port" redirect "$REGISTRY" >"$T/log" 3>&- &
  fake=$!
  wait_for 10 test -s "$T/port"
  mkdir "$T/registries.d"
  echo "{\"host\":\"sigs.example\",\"url\":\"http://127.0.0.1:$(cat "$T/port")\"}" >"$T/registries.d/sigs.json"
  echo "{\"host\":\"$REGISTRY\",\"url\":\"http://$REGISTRY\"}" >"$T/registries.d/own.json"
  jq --arg d "$T/registries.d" '.registries_dir = $d' "$CRISP_CONFIG" >"$T/two.json"
  CRISP_CONFIG=$T/two.json
  require '{ repository: "sigs.example/sigs" }'
  run_err 7 pull --auth-fd 9 "$REGISTRY/$REPO" 9<<<'{"username":"joe","password":"secret"}'
  kill "$fake"
  wait "$fake" || true
  grep -q 'answer 401' "$T/log"
  run ! grep -q authorized "$T/log"
}

@test "a registry that does not answer is not a signature" {
  local d free
  d=$(push one)
  sign "$d" key="$CRISP_TMP/a.key"
  free=$(free_port)
  require "{ repository: \"127.0.0.1:$free/sigs\" }"
  refused 12 "signatures of $d"
}

@test "keys and policies that cannot be understood fail, and say why" {
  push one >/dev/null
  local f
  for f in 'no PEM file' 'secp384r1:of elliptic curves only P-256' 'PRIVATE KEY' 'CERTIFICATE' 'damaged' 'two:more than one PEM' 'rsa1024:2048 to 8192 bits'; do
    case $f in
    no*) echo garbage >"$T/k.pub" ;;
    secp*) openssl ecparam -genkey -name secp384r1 -noout | openssl pkey -pubout >"$T/k.pub" ;;
    PRIV*) openssl pkey -in "$CRISP_TMP/ed.key" >"$T/k.pub" ;;
    CERT*) openssl req -x509 -key "$CRISP_TMP/a.key" -subj /CN=x -days 1 -out "$T/k.pub" ;;
    dam*) sed 's/^MFkw/MFkx/' "$CRISP_TMP/a.pub" >"$T/k.pub" ;;
    two*) cat "$CRISP_TMP"/[ab].pub >"$T/k.pub" ;;
    rsa*) openssl genrsa 1024 2>/dev/null | openssl pkey -pubout >"$T/k.pub" ;;
    esac
    require "{ keys: [\"$T/k.pub\"] }"
    refused 6 "${f#*:}"
    [[ $stderr == *"key $T/k.pub: "* ]]
  done
  require '{ keys: [$k + "/a.pub", $k + "/a.pub"] }'
  refused 6 'the same as'
  require '{ keys: ["absent.pub"] }'
  refused 3 "key $POLICY/absent.pub"
  cp "$CRISP_TMP/a.pub" "$T/k.pub" && chmod 666 "$T/k.pub"
  require "{ keys: [\"$T/k.pub\"] }"
  refused 6 'anybody may write it'
}

@test "policy files with mistakes fail every pull" {
  push one >/dev/null
  local pair
  while IFS='|' read -r json text; do
    echo "$json" >"$POLICY/x.json"
    refused 6 "$text"
    [[ $stderr == *"policy_dir $POLICY: "* ]]
  done <<'EOF'
{|x.json
[]|expected object
{"prefix":"x.example"}|rule
{"prefix":"x.example","rule":"maybe"}|unknown word 'maybe'
{"prefix":"x.example","rule":"accept","key":1}|key: unknown key
{"prefix":"busybox","rule":"accept"}|'busybox' must be written in full: 'docker.io/busybox'
{"prefix":"x.example/","rule":"accept"}|prefix
{"prefix":"x.example/a:1","rule":"accept"}|prefix
{"prefix":"x.example","rule":"require"}|0 keys
{"prefix":"x.example","rule":"require","keys":[1]}|keys[0]
{"prefix":"x.example","rule":"require","keys":["a"],"signers":2}|signers
{"prefix":"x.example","rule":"require","keys":["a"],"identity":"any","signed_as":"y.example"}|signed_as
{"prefix":"x.example","rule":"accept","keys":["a"]}|only with rule 'require'
{"prefix":"x.example","rule":"accept","verify":1}|verify: expected
{"prefix":"local","rule":"require","keys":["a"]}|registries only
EOF
}

@test "an archive or directory: accepted, unless the entry 'local' says otherwise" {
  policy any '{ prefix: "*", rule: "reject" }'
  verifier 10-no <<<'#!/bin/false'
  pull "oci:$CRISP_TMP/tiny:one"
  policy local '{ prefix: "local", rule: "accept", verify: true }'
  run_err 13 pull "oci:$CRISP_TMP/tiny:one"
  policy local '{ prefix: "local", rule: "reject" }'
  run_err 13 pull "oci:$CRISP_TMP/tiny:one"
  [[ $stderr == *"oci:$CRISP_TMP/tiny:one: policy local.json rejects local"* ]]
}

@test "verifiers: what they are told, in which order, and their verdict" {
  local d
  d=$(push both)
  verifier 10-look <<EOF
#!/bin/sh
echo "\$1" "\$2" >$T/argv
cat >$T/manifest
cat "\$3" >$T/image
env >$T/env
ls /proc/self/fd >$T/fds
pwd >$T/cwd
EOF
  verifier 20-no <<EOF
#!/bin/sh
[ -s $T/argv ] || exit 9
echo "two words of mine" >&2
echo "and more" >&2
exit 1
EOF
  verifier 30-never <<<"#!/bin/sh
touch $T/never"
  SECRET_TOKEN=x refused 13 "$REGISTRY/$REPO:latest: verifier 20-no: two words of mine"
  [[ $stderr != *'and more'* ]]
  [ ! -e "$T/never" ]
  [ "$(cat "$T/argv")" = "$REGISTRY/$REPO:latest $d" ]
  [ "sha256:$(sha256sum <"$T/manifest" | cut -d' ' -f1)" = "$(jq -r .manifest_digest "$T/image")" ]
  jq -e --arg d "$d" '.digest == $d and .source == "registry" and .platform.os == "linux" and .config.rootfs.type == "layers"' "$T/image"
  [ "$(jq -r .id "$T/image")" = "$(jq -r .config.digest "$T/manifest")" ]
  [ -z "$(grep SECRET "$T/env")" ]
  [ "$(cat "$T/cwd")" = / ]
  # 0, 1, 2, the description, and ls' own.
  [ "$(wc -l <"$T/fds")" = 5 ]
  rm "$VERIFY/20-no"
  pull "$REGISTRY/$REPO"
  [ -e "$T/never" ]
}

@test "verifiers: not after a rejection, and not where the policy leaves them out" {
  push one >/dev/null
  verifier 10-look <<<"#!/bin/sh
touch $T/ran; exit 1"
  policy own "{ prefix: (\$r + \"/$REPO\"), rule: \"reject\" }"
  refused 13 'policy own.json rejects'
  policy own "{ prefix: (\$r + \"/$REPO\"), rule: \"accept\", verify: false }"
  pull "$REGISTRY/$REPO"
  [ ! -e "$T/ran" ]
}

@test "verifiers that cannot be trusted or run are errors" {
  push one >/dev/null
  verifier 10-x <<<'#!/bin/true'
  chmod 644 "$VERIFY/10-x"
  refused 6 "$VERIFY/10-x: not executable"
  chmod 777 "$VERIFY/10-x"
  refused 6 "$VERIFY/10-x: others than its owner may write it"
  chmod 755 "$VERIFY/10-x" && chown 65534 "$VERIFY/10-x"
  refused 6 "$VERIFY/10-x: does not belong to root"
  rm "$VERIFY/10-x" && ln -s /bin/true "$VERIFY/10-x"
  refused 6 "$VERIFY/10-x: not a regular file"
  rm "$VERIFY/10-x" && mkdir "$VERIFY/10-x"
  refused 6 "$VERIFY/10-x: not a regular file"
  rmdir "$VERIFY/10-x"
  verifier 10-x <<<'no program'
  refused 1 'verifier 10-x: '
  verifier 10-x <<<'#!/bin/true'
  chmod 777 "$VERIFY"
  refused 6 "$VERIFY: others than its owner may write it"
  chmod 755 "$VERIFY"
  touch "$VERIFY/.swp"
  pull "$REGISTRY/$REPO"
}

@test "a verifier that hangs, or is killed, or talks without end" {
  push one >/dev/null
  jq '. + { verify_timeout: 1 }' "$CRISP_CONFIG" >"$T/c" && mv "$T/c" "$CRISP_CONFIG"
  verifier 10-x <<<"#!/bin/sh
echo \$\$ >$T/pid
sleep 600 & echo \$! >$T/child
wait"
  refused 124 'verifier 10-x: no verdict within 1 s'
  [ ! -d "/proc/$(cat "$T/pid")" ]
  gone "$(cat "$T/child")"
  verifier 10-x <<<'#!/bin/sh
kill -9 $$'
  refused 13 'verifier 10-x: it was ended by signal 9'
  verifier 10-x <<<'#!/bin/sh
head -c 3000000 /dev/zero | tr "\0" x >&2; exit 3'
  refused 13 'verifier 10-x: xxxx'
  verifier 10-x <<<'#!/bin/sh
exit 3'
  refused 13 'verifier 10-x: it exits with 3'
  # One that leaves a process which keeps the pipe does not hold the pull.
  verifier 10-x <<<"#!/bin/sh
sleep 600 & echo \$! >$T/child"
  pull "$REGISTRY/$REPO"
  gone "$(cat "$T/child")"
}

@test "a pull that is cancelled takes its verifier along" {
  push one >/dev/null
  verifier 10-x <<<"#!/bin/sh
echo \$\$ >$T/pid.new; mv $T/pid.new $T/pid
exec sleep 600"
  ocipull --root "$STORE" --runroot "$STORE/run" "$REGISTRY/$REPO" 2>"$T/err" 3>&- &
  local pid=$! status=0
  wait_for 10 test -e "$T/pid"
  kill "$pid"
  wait "$pid" || status=$?
  [ $status = 11 ]
  [ ! -d "/proc/$(cat "$T/pid")" ]
}

@test "over the socket: the kubelet reads SignatureValidationFailed" {
  local d image="{\"image\":{\"image\":\"$REGISTRY/$REPO\"}}"
  d=$(push one)
  require
  crispd_start
  run --separate-stderr cricall --socket "$SOCK" PullImage - <<<"$image"
  [ "$status" = 13 ]
  [ -z "$output" ]
  [[ $stderr == *'SignatureValidationFailed: '*'no signature found'* ]]
  cricall --socket "$SOCK" ListImages | jq -e '(.images | length) == 0'
  sign "$d" key="$CRISP_TMP/a.key"
  cricall --socket "$SOCK" PullImage - <<<"$image" | jq -e '.image_ref | startswith("sha256:")'
  crispd_stop
}
