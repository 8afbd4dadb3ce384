# shellcheck shell=bash
# For the bats files that test ocipull against registries. Each test has its own store and its own registries_dir.
#
#   registries NAME <JSON   a file of registries_dir       setting KEY JSON   a key of the configuration
#   server MODE [UPSTREAM]  registry_fake.py, known as plain HTTP; sets SERVER, SECOND (HOST:PORT) and LOG
#   real_registry URL YAML  a second docker-registry on the same storage

registry_file_setup() {
  crisp_file_setup
  crisp_registry
  # No file of this directory counts but those that a test writes.
  LIB=$BATS_TEST_DIRNAME/../lib
  export LIB PYTHONDONTWRITEBYTECODE=1
  PYTHONPATH=$LIB python3 - "$CRISP_TMP/oci" <<'PY'
import os, sys
from oci_layout import *
o = Layout(sys.argv[1])
def big(i): return layer(entry(f'f{i}', data=os.urandom(300000)))
o.name(o.image([big(0)]), 'busy')
o.name(o.image([big(i) for i in range(6)]), 'six')
o.name(o.image([big(i) for i in range(3)]), 'three')
PY
  push busy busy
  push six six
  push three three
  push busy library/busybox
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$CRISP_TMP/key" -out "$CRISP_TMP/crt" -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:secure.example 2>/dev/null
}

registry_setup() {
  requires root skopeo
  STORE=$(mktemp -d "$CRISP_TMP/store.XXXXXX")
  REGS=$STORE/registries.d
  mkdir "$REGS"
  setting registries_dir "\"$REGS\""
  setting certs_dir "\"$STORE/certs.d\""
  PIDS=()
}
registry_teardown() {
  local pid
  for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
  rm -rf "$STORE"
}

push() { # TAG NAME[:TAG]
  skopeo copy -q --dest-tls-verify=false "oci:$CRISP_TMP/oci:$1" "docker://$REGISTRY/$2"
}
pull() { ocipull --root "$STORE" --runroot "$STORE/run" "$@"; }
store() { ocistore --root "$STORE" --runroot "$STORE/run" "$@"; }
names() { (cd "$STORE/names" && ls); }
fresh() { rm -rf "$STORE"/{layers,images,names,tmp}; }
nothing_left() { only_seen is_empty "$STORE"/{tmp,images} && is_empty "$STORE/names"; }
digest_of() { curl -sfI -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$REGISTRY/v2/$1/manifests/latest" |
  tr -d '\r' | sed -n 's/^Docker-Content-Digest: //Ip'; }
registries() { cat >"$REGS/$1.json"; } # NAME, JSON on stdin
setting() {                            # KEY JSON
  jq --argjson v "$2" ".$1 = \$v" "$CRISP_CONFIG" >"$STORE/crisp.new"
  mv "$STORE/crisp.new" "$STORE/crisp.json"
  export CRISP_CONFIG=$STORE/crisp.json
}
background() { # LOG CMD...
  local log=$1
  shift
  "$@" >"$log" 2>&1 3>&- &
  PIDS+=($!)
}
# Start the scripted server; sets SERVER=127.0.0.1:PORT and SECOND, and makes it known as plain HTTP.
server() { # MODE [UPSTREAM]
  rm -f "$STORE/port"
  LOG=$STORE/server.$1.log
  background "$LOG" python3 "$LIB/registry_fake.py" "$STORE/port" "$1" "${2:-$REGISTRY}"
  wait_for 30 test -s "$STORE/port"
  # shellcheck disable=SC2034 # for the tests
  SERVER=127.0.0.1:$(cat "$STORE/port") SECOND=127.0.0.1:$(cat "$STORE/port.second")
  registries server <<<"{\"host\":\"$SERVER\",\"url\":\"http://$SERVER\"}"
}
real_registry() { # ADDRESS EXTRA-YAML: a second docker-registry on the same storage
  cat >"$STORE/real.yml" <<YML
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $CRISP_TMP/registry } }
$2
YML
  background "$STORE/real.log" docker-registry serve "$STORE/real.yml"
  wait_for 10 curl -gks --cert "$CRISP_TMP/crt" --key "$CRISP_TMP/key" "$1/v2/"
}
layers() { find "$STORE/layers" -mindepth 1 -maxdepth 1 -name '[0-9a-f]*' | wc -l; }
