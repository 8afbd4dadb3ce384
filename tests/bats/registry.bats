#!/usr/bin/env bats
# ocipull as a client of registries: names, credentials, mirrors, TLS, HTTP/2, proxies.
load ../lib/helpers
load ../lib/registry

setup_file() { registry_file_setup; }
teardown_file() { crisp_file_teardown; }
setup() { registry_setup; }
teardown() { registry_teardown; }

@test "references: every form pulls and is found again under one name" {
  registries hub <<<"{\"host\":\"docker.io\",\"url\":\"http://$REGISTRY\"}"
  registries r <<<"{\"host\":\"r.example:5\",\"url\":\"http://$REGISTRY\"}"
  local id digest form
  digest=$(digest_of busy)
  id=$(pull busybox)
  for form in busybox:latest docker.io/busybox index.docker.io/library/busybox "busybox@$(digest_of library/busybox)" \
    "docker://busybox" r.example:5/busy "r.example:5/busy:latest@$digest" "r.example:5/busy@$digest"; do
    [ "$(pull "$form")" = "$id" ]
  done
  names | grep -qx 'docker.io%2flibrary%2fbusybox:latest'
  names | grep -qx "r.example:5%2fbusy@$digest"
  [ "$(names | grep -c :latest)" = 2 ]
  for form in busybox library/busybox docker.io/library/busybox:latest r.example:5/busy "r.example:5/busy:x@$digest" \
    "$id" "${id#sha256:}" "${id:7:4}" "${id:0:20}"; do
    [ "$(store inspect "$form" | jq -r .id)" = "$id" ]
  done
  run_err 3 store inspect "${id:7:12}0000000000"
}

@test "references: an IPv6 host" {
  ip -6 addr show lo | grep -q ::1/128 || skip "needs ::1"
  local port
  port=$(free_port)
  real_registry "http://[::1]:$port" "http: { addr: \"[::1]:$port\" }"
  registries six <<<"{\"host\":\"[::1]:$port\",\"url\":\"http://[::1]:$port\"}"
  pull "[::1]:$port/busy:latest"
  names | grep -qx "\[::1\]:$port%2fbusy:latest"
}

@test "references: upper case and names that the store cannot keep are refused before any request" {
  server status:404
  run_err 6 pull "$SERVER/Busy"
  [[ $stderr == *"lower case"* ]]
  run_err 6 pull "$SERVER/$(printf 'a%.0s' {1..230})"
  [[ $stderr == *"too long for the store"*"255"* ]]
  run_err 6 pull --name "x.example/$(printf 'a%.0s' {1..240})" "oci:$CRISP_TMP/oci:busy"
  [ ! -s "$LOG" ]
}

@test "a registry with htpasswd over TLS: basic authentication by auth_file and by AuthConfig" {
  local port
  port=$(free_port)
  python3 -W ignore -c 'import crypt; print("joe:" + crypt.crypt("secret", "$2y$05$abcdefghijklmnopqrstuu"))' >"$STORE/htpasswd"
  real_registry "https://127.0.0.1:$port" "http: { addr: \"127.0.0.1:$port\", tls: { certificate: $CRISP_TMP/crt, key: $CRISP_TMP/key } }
auth: { htpasswd: { realm: basic, path: $STORE/htpasswd } }"
  registries r <<<"{\"host\":\"127.0.0.1:$port\",\"ca\":\"$CRISP_TMP/crt\"}"
  run_err 7 pull "127.0.0.1:$port/busy"
  [[ $stderr == *"127.0.0.1:$port wants credentials"* ]]
  setting auth_file "\"$STORE/auth.json\""
  jq -n --arg h "https://127.0.0.1:$port/v2/" --arg a "$(printf joe:secret | base64)" '{auths:{($h):{auth:$a}}}' >"$STORE/auth.json"
  pull "127.0.0.1:$port/busy"
  # Keys for a part of a registry: the longest counts.
  jq -n --arg h "127.0.0.1:$port" --arg a "$(printf joe:secret | base64)" --arg b "$(printf joe:wrong | base64)" \
    '{auths:{($h):{auth:$b},($h+"/busy"):{auth:$a},($h+"/bus"):{auth:$b}}}' >"$STORE/auth.json"
  pull "127.0.0.1:$port/busy"
  run_err 7 pull "127.0.0.1:$port/six"
  [[ $stderr == *"refuses the credentials"* && $stderr != *wrong* ]]
  pull --auth-fd 9 "127.0.0.1:$port/six" 9<<<'{"username":"joe","password":"secret"}'
}

@test "a registry with token authentication: signed tokens, scope, identity tokens, expiry" {
  local port
  port=$(free_port)
  background "$STORE/token.log" python3 "$LIB/token_server.py" "$STORE/token.port" "$CRISP_TMP/key" "$CRISP_TMP/crt" us 60
  wait_for 10 test -s "$STORE/token.port"
  real_registry "http://127.0.0.1:$port" "http: { addr: \"127.0.0.1:$port\" }
auth: { token: { realm: \"http://127.0.0.1:$(cat "$STORE/token.port")/token\", service: it, issuer: us, rootcertbundle: $CRISP_TMP/crt } }"
  registries r <<<"{\"host\":\"127.0.0.1:$port\",\"url\":\"http://127.0.0.1:$port\"}"
  run_err 7 pull "127.0.0.1:$port/six"
  [[ $stderr == *"token server http://127.0.0.1:"*"answers 401"* ]]
  pull --auth-fd 9 "127.0.0.1:$port/six" 9<<<'{"username":"joe","password":"secret"}'
  # One token for manifest, configuration and six layers.
  [ "$(grep -c 'GET repository:six:pull it joe:secret' "$STORE/token.log")" = 1 ]
  fresh
  pull --auth-fd 9 "127.0.0.1:$port/six" 9<<<'{"identity_token":"refresh-me"}'
  grep -q 'POST repository:six:pull refresh_token crisp' "$STORE/token.log"
  run_err 7 pull --auth-fd 9 "127.0.0.1:$port/six" 9<<<'{"identity_token":"other"}'
  run_err 7 pull --auth-fd 9 "127.0.0.1:$port/six" 9<<<'{"registry_token":"no.such.token"}'
  [[ $stderr == *"refuses the token given"* ]]
}

@test "several challenges in one answer; a token server that has no POST" {
  server challenges:one
  pull "$SERVER/busy"
  grep -q 'service=fake, "quoted" anonymous' "$LOG"
  server challenges:many
  pull "$SERVER/busy"
  grep -q 'service=fake, "quoted"' "$LOG"
  server nopost
  pull --auth-fd 9 "$SERVER/busy" 9<<<'{"identity_token":"refresh-me"}'
  grep -q 'fake <token>:refresh-me' "$LOG"
}

helper() { # NAME, script on stdin
  mkdir -p "$STORE/bin"
  cat >"$STORE/bin/docker-credential-$1"
  chmod +x "$STORE/bin/docker-credential-$1"
  export PATH="$STORE/bin:$PATH"
  setting auth_file "\"$STORE/auth.json\""
}

@test "credential helpers: for a host and for all, their environment, their errors, their names, their clock" {
  server token
  helper good <<SH
#!/bin/sh
read -r server || :
echo "\$1 \$server" >>$STORE/asked
env >$STORE/env
printf '{"ServerURL":"%s","Username":"joe","Secret":"secret"}' "\$server"
SH
  echo "{\"credHelpers\":{\"$SERVER\":\"good\"},\"auths\":{\"$SERVER\":{\"auth\":\"$(printf joe:wrong | base64)\"}}}" >"$STORE/auth.json"
  SECRET_OF_OURS=1 pull "$SERVER/busy"
  grep -q 'fake joe:secret' "$LOG"
  [ "$(cat "$STORE/asked")" = "get $SERVER" ]
  [ "$(grep -cvE '^(HOME|PATH|PWD|_|SHLVL|OLDPWD)=' "$STORE/env")" = 0 ]
  fresh
  # For all, where "auths" says nothing.
  echo "{\"credsStore\":\"good\",\"auths\":{\"$SERVER\":{}}}" >"$STORE/auth.json"
  pull "$SERVER/busy"
  [ "$(wc -l <"$STORE/asked")" = 2 ]
  # An identity token.
  helper token <<<$'#!/bin/sh\necho \'{"Username":"<token>","Secret":"refresh-me"}\''
  echo "{\"credsStore\":\"token\"}" >"$STORE/auth.json"
  pull "$SERVER/busy"
  grep -q 'oauth2 refresh_token=refresh-me' "$LOG"
  # None known: anonymous.
  helper none <<<$'#!/bin/sh\necho "credentials not found in native keychain"; exit 1'
  echo "{\"credsStore\":\"none\"}" >"$STORE/auth.json"
  pull "$SERVER/busy"
  helper bad <<<$'#!/bin/sh\necho "the vault is\nclosed" >&2; exit 3'
  echo "{\"credsStore\":\"bad\"}" >"$STORE/auth.json"
  run_err 7 pull "$SERVER/busy"
  [[ $stderr == *"docker-credential-bad fails (exit 3): the vault is closed" ]]
  for pair in ../bin/bad:6 bin/../bad:6 .x:6 missing:7; do
    echo "{\"credsStore\":\"${pair%:*}\"}" >"$STORE/auth.json"
    run_err "${pair#*:}" pull "$SERVER/busy"
    [[ $stderr == *"${pair%:*}"* ]]
  done
  # One that writes for ever, by the clock.
  helper flood <<<$'#!/bin/sh\nexec yes'
  setting pull_progress_timeout 1
  echo "{\"credsStore\":\"flood\"}" >"$STORE/auth.json"
  run_err 7 pull "$SERVER/busy"
  [[ $stderr == *"docker-credential-flood: no answer within 1 s" ]]
  setting pull_progress_timeout 60
  # SIGTERM reaches through to a helper that hangs.
  helper hang <<SH
#!/bin/sh
echo \$\$ >$STORE/hang.pid
exec sleep 1000
SH
  echo "{\"credsStore\":\"hang\"}" >"$STORE/auth.json"
  ocipull --root "$STORE" --runroot "$STORE/run" "$SERVER/busy" 3>&- &
  local pid=$! rc=0
  wait_for 10 test -s "$STORE/hang.pid"
  kill $pid
  wait $pid || rc=$?
  [ $rc = 11 ]
  [ ! -e "/proc/$(cat "$STORE/hang.pid")" ]
}

@test "credentials given by descriptor are in no argument, environment or file while a pull is under way" {
  server trickle:1000
  ocipull --root "$STORE" --runroot "$STORE/run" --auth-fd 9 "$SERVER/busy" \
    9<<<'{"username":"joe","password":"hunter2hunter2","identity_token":"hunter2token","registry_token":"hunter2reg"}' 3>&- &
  local pid=$! p rc=0
  wait_for 10 grep -q blobs "$LOG"
  wait_for 10 pgrep -P "$pid"
  for p in "$pid" $(pgrep -P "$pid"); do
    run ! grep -a hunter2 "/proc/$p/cmdline" "/proc/$p/environ"
  done
  run ! grep -ra hunter2 "$STORE" "$CRISP_TMP/etc"
  # Nor does the child that unpacks have the descriptor.
  for p in $(pgrep -P "$pid"); do [ ! -e "/proc/$p/fd/9" ]; done
  kill "$pid"
  wait "$pid" || rc=$?
  [ $rc = 11 ]
}

@test "malformed credentials: the place is told, and nothing of them" {
  run_err 6 pull --auth-fd 9 "$REGISTRY/busy" 9<<<'{"username":"joe","password" "hunter2"}'
  [[ $stderr == *"credentials:1:"*"malformed JSON" && $stderr != *hunter2* ]]
  setting auth_file "\"$STORE/auth.json\""
  echo '{"auths":{"x.example":{"auth":hunter2}}}' >"$STORE/auth.json"
  run_err 6 pull "$REGISTRY/busy"
  [[ $stderr == *"auth.json:1:"*"malformed JSON" && $stderr != *hunter2* ]]
}

@test "a signal ends the wait for credentials that do not come" {
  mkfifo "$STORE/fifo"
  exec 8<>"$STORE/fifo"
  ocipull --root "$STORE" --runroot "$STORE/run" --auth-fd 9 "$REGISTRY/busy" 9<&8 3>&- &
  local pid=$! rc=0
  wait_for 10 sh -c "ls $STORE/tmp | grep -q ^pull-"
  kill "$pid"
  wait_for 5 sh -c "! grep -q '^State:.[^Z]' /proc/$pid/status 2>/dev/null" || kill -9 "$pid"
  wait "$pid" || rc=$?
  exec 8>&-
  [ $rc = 11 ]
}

@test "a mirror's credentials go by its own path" {
  server port
  setting auth_file "\"$STORE/auth.json\""
  printf '{"auths":{"%s/hub":{"auth":"%s"},"%s/busy":{"auth":"%s"}}}' "$SERVER" "$(printf joe:secret | base64)" \
    "$SERVER" "$(printf evil:other | base64)" >"$STORE/auth.json"
  push busy hub/busy
  registries m <<<"{\"host\":\"m.example\",\"url\":\"http://127.0.0.1:1\",\"mirrors\":[{\"url\":\"http://$SERVER/hub\"}]}"
  pull m.example/busy
  grep -q 'authorized as joe:secret' "$LOG"
  run ! grep -q 'evil:other' "$LOG"
}

@test "files for parts of a registry: the longest prefix wins and is replaced; patterns; blocked ones" {
  push busy cache/app
  registries a <<<"{\"host\":\"big.example\",\"url\":\"http://127.0.0.1:1\"}"
  registries b <<<"{\"host\":\"big.example/team\",\"url\":\"http://127.0.0.1:1\"}"
  registries c <<<"{\"host\":\"big.example/team/sub\",\"mirrors\":[{\"url\":\"http://$REGISTRY/cache\"}]}"
  registries d <<<"{\"host\":\"big.example/evil\",\"blocked\":true}"
  registries e <<<"{\"host\":\"big.example/one/app\",\"url\":\"http://$REGISTRY/busy\"}"
  registries f <<<"{\"host\":\"*.wild.example\",\"mirrors\":[{\"url\":\"http://$REGISTRY/cache\"}]}"
  pull big.example/team/sub/app
  names | grep -qx 'big.example%2fteam%2fsub%2fapp:latest'
  pull big.example/one/app
  pull x.y.wild.example/app
  run_err 12 pull big.example/team/subx/app
  run_err 7 pull big.example/evil/app
  [[ $stderr == *"big.example/evil/app is blocked"*"d.json"* ]]
  # Another spelling of the host is no way around.
  for host in BIG.example big.example:443 Big.Example:443; do
    run_err 7 pull "$host/evil/app"
    [[ $stderr == *"$host/evil/app is blocked"* ]]
  done
  registries g <<<'{"host":"bad.example","blocked":"yes"}'
  run_err 6 pull big.example/team/sub/app
  [[ $stderr == *"g.json: blocked: expected boolean, found string"* ]]
}

@test "a mirror for digests only is not asked for tags" {
  server count
  registries m <<<"{\"host\":\"m.example\",\"url\":\"http://$REGISTRY\",\"mirrors\":[{\"url\":\"http://$SERVER\",\"digest_only\":true}]}"
  pull "m.example/busy@$(digest_of busy)"
  grep -q 'GET /v2/busy/manifests/sha256:.*?ns=m.example' "$LOG"
  fresh
  pull m.example/busy
  run ! grep -q manifests/latest "$LOG"
  grep -q blobs "$LOG"
}

@test "TLS: certs_dir, a client certificate, and errors that name host and reason" {
  local port
  port=$(free_port)
  real_registry "https://127.0.0.1:$port" "http: { addr: \"127.0.0.1:$port\", tls: { certificate: $CRISP_TMP/crt, key: $CRISP_TMP/key, clientcas: [ $CRISP_TMP/crt ] } }"
  run_err 12 pull "127.0.0.1:$port/busy"
  [[ $stderr == *"https://127.0.0.1:$port: "*"certificate"* ]]
  mkdir -p "$STORE/certs.d/127.0.0.1:$port"
  cp "$CRISP_TMP/crt" "$STORE/certs.d/127.0.0.1:$port/ca.crt"
  run_err 12 pull "127.0.0.1:$port/busy"
  cp "$CRISP_TMP/crt" "$STORE/certs.d/127.0.0.1:$port/client.cert"
  cp "$CRISP_TMP/key" "$STORE/certs.d/127.0.0.1:$port/client.key"
  pull "127.0.0.1:$port/busy"
  rm -r "$STORE/certs.d"
  fresh
  registries r <<<"{\"host\":\"127.0.0.1:$port\",\"ca\":\"$CRISP_TMP/crt\",\"cert\":\"$CRISP_TMP/crt\",\"key\":\"$CRISP_TMP/key\"}"
  pull "127.0.0.1:$port/busy"
  registries r <<<"{\"host\":\"127.0.0.1:$port\",\"insecure\":true,\"cert\":\"$CRISP_TMP/crt\",\"key\":\"$CRISP_TMP/key\"}"
  pull "127.0.0.1:$port/six"
  # A server that speaks no TLS.
  run_err 12 pull "$REGISTRY/busy"
  [[ $stderr == *"https://$REGISTRY: "*"plain HTTP"* ]]
}

# nginx with TLS and HTTP/2 before the registry; logs protocol and connection of each request.
nginx_front() {
  PORT=$(free_port)
  mkdir -p "$STORE/nginx"
  cat >"$STORE/nginx.conf" <<CONF
daemon off; master_process off; pid $STORE/nginx/pid; error_log $STORE/nginx/error;
events { worker_connections 64; }
http {
  log_format us '\$server_protocol \$connection \$request_uri';
  access_log $STORE/nginx/access us;
  client_body_temp_path $STORE/nginx/a; proxy_temp_path $STORE/nginx/b; fastcgi_temp_path $STORE/nginx/c;
  uwsgi_temp_path $STORE/nginx/d; scgi_temp_path $STORE/nginx/e;
  server {
    listen 127.0.0.1:$PORT ssl http2; ssl_certificate $CRISP_TMP/crt; ssl_certificate_key $CRISP_TMP/key;
    location /v2/down/ { return 307 http://$REGISTRY/v2/busy/manifests/latest; }
    location / { proxy_pass http://$REGISTRY; }
  }
}
CONF
  background "$STORE/nginx.log" nginx -c "$STORE/nginx.conf" -e "$STORE/nginx/error"
  wait_for 10 curl -ksf "https://127.0.0.1:$PORT/v2/"
  : >"$STORE/nginx/access"
  registries n <<<"{\"host\":\"127.0.0.1:$PORT\",\"ca\":\"$CRISP_TMP/crt\"}"
}

@test "HTTP/2 over TLS: all layers of a host over one connection; no redirect to plain HTTP" {
  requires nginx
  nginx_front
  pull -j 6 "127.0.0.1:$PORT/six"
  [ "$(layers)" = 6 ]
  [ "$(wc -l <"$STORE/nginx/access")" = 8 ]
  run ! grep -v ^HTTP/2.0 "$STORE/nginx/access"
  [ "$(cut -d' ' -f2 "$STORE/nginx/access" | sort -u | wc -l)" = 1 ]
  run_err 12 pull "127.0.0.1:$PORT/down"
  [[ $stderr == *"redirects from https to http://$REGISTRY"* ]]
}

@test "proxies of the environment, for http and https, and no_proxy" {
  requires nginx
  nginx_front
  rm -f "$STORE/proxy.port"
  background "$STORE/proxy.log" python3 "$LIB/proxy.py" "$STORE/proxy.port" "plain.example=$REGISTRY" "secure.example:443=127.0.0.1:$PORT"
  wait_for 10 test -s "$STORE/proxy.port"
  registries p <<<'{"host":"plain.example","url":"http://plain.example"}'
  registries s <<<"{\"host\":\"secure.example\",\"ca\":\"$CRISP_TMP/crt\"}"
  local proxy
  proxy=http://127.0.0.1:$(cat "$STORE/proxy.port")
  HTTP_PROXY=$proxy pull plain.example/busy
  grep -q 'GET http://plain.example/v2/busy/blobs' "$STORE/proxy.log"
  HTTPS_PROXY=$proxy pull secure.example/six
  grep -q 'CONNECT secure.example:443' "$STORE/proxy.log"
  registries r <<<"{\"host\":\"$REGISTRY\",\"url\":\"http://$REGISTRY\"}"
  HTTP_PROXY=$proxy NO_PROXY=127.0.0.1 pull "$REGISTRY/busy"
  run ! grep -q "$REGISTRY" "$STORE/proxy.log"
  run_err 12 env HTTP_PROXY=http://127.0.0.1:1 ocipull --root "$STORE" --runroot "$STORE/run" plain.example/busy
}

@test "layers that the registry does not have come from the descriptor's urls, without credentials" {
  server elsewhere "$STORE/lay"
  PYTHONPATH=$LIB python3 - "$STORE/lay" "$SECOND" <<'PY'
import json, os, sys
from oci_layout import *
o = Layout(sys.argv[1])
d = o.image([layer(entry('f', data=os.urandom(200000)))])
with open(f'{o.path}/blobs/sha256/{d["digest"][7:]}') as f:
    m = json.load(f)
at = m['layers'][0]
at['mediaType'] = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
at['urls'] = ['ftp://x/', 5, f'http://{sys.argv[2]}/elsewhere/{at["digest"][7:]}']
at['urls'].remove(5)
o.name(o.blob(m, MANIFEST), 'x')
PY
  pull --auth-fd 9 "$SERVER/x" 9<<<'{"username":"joe","password":"secret"}'
  grep -q 'second bare' "$LOG"
  [ "$(layers)" = 1 ]
  fresh
  # Its bytes are checked as any others.
  for f in "$STORE"/lay/blobs/sha256/*; do
    [ "$(head -c1 "$f")" = "{" ] || printf 'x' | dd of="$f" bs=1 seek=5000 conv=notrunc status=none
  done
  run_err 6 pull "$SERVER/x"
  [[ $stderr == *"digest mismatch"* ]]
}
