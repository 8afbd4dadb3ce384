# bash completion for crisp; written by scripts/completions
declare -gA _crisp=(
  [cricall/-]="--socket=PATH -s=PATH --max-message=BYTES --list --describe --replay=FILE --settle=SECONDS --json --timeout=SECONDS --log-level=LEVEL --help -h --version"
  [cricall//]="METHOD FILE|-|JSON"
  [ctrevents/-]="--root=DIR --runroot=DIR --config=FILE --json --timeout=SECONDS --log-level=LEVEL --help -h --version --kind=KIND --format=TEXT"
  [ctrevents//]="POD|CTR..."
  [ctrmon/-]="--root=DIR --runroot=DIR --timeout=SECONDS --status-fd=N --log-level=LEVEL --help -h --version --runtime=PATH --runtime-root=DIR --runtime-arg=ARG --systemd-cgroup --pod=POD --log-path=FILE --log-line-max=BYTES --log-rate-limit=BYTES --log-rate-policy=POLICY --tty -t --stdin -i --stdin-once --sandboxed --wait --restore=DIR --restore-arg=ARG --adopt"
  [ctrmon//]="CTR"
  [ctrrun/-]="--root=DIR --runroot=DIR --config=FILE --json --timeout=SECONDS --status-fd=N --log-level=LEVEL --help -h --version"
  [ctrrun]="create start stop kill rm update pause resume checkpoint checkpoint-pod checkpoint-check restore thaw exec attach logs state ls handlers adopt reopen"
  [ctrrun/create/]="CTR"
  [ctrrun/create]="--defer-errors"
  [ctrrun/start/]="CTR"
  [ctrrun/stop/]="CTR"
  [ctrrun/kill/]="CTR SIGNAL"
  [ctrrun/rm/]="CTR"
  [ctrrun/rm]="--force -f"
  [ctrrun/update/]="CTR FILE|-"
  [ctrrun/pause/]="CTR"
  [ctrrun/resume/]="CTR"
  [ctrrun/checkpoint/]="CTR FILE"
  [ctrrun/checkpoint]="--option=KEY=BOOL -o=KEY=BOOL"
  [ctrrun/checkpoint-pod/]="POD DIR CTR..."
  [ctrrun/checkpoint-pod]="--option=KEY=BOOL -o=KEY=BOOL"
  [ctrrun/checkpoint-check/]="DIR HANDLER NAME..."
  [ctrrun/restore/]="CTR DIR"
  [ctrrun/restore]="--option=KEY=BOOL -o=KEY=BOOL"
  [ctrrun/thaw/]="POD"
  [ctrrun/exec/]="CTR COMMAND..."
  [ctrrun/exec]="--tty -t --stdin -i --collect --detach-keys=KEYS"
  [ctrrun/attach/]="CTR"
  [ctrrun/attach]="--no-stdin --detach-keys=KEYS"
  [ctrrun/logs/]="CTR"
  [ctrrun/logs]="--follow -f --tail=N -n=N --since=TIME --timestamps"
  [ctrrun/state/]="CTR"
  [ctrrun/ls]="--format=TEXT"
  [ctrrun/handlers]="--format=TEXT"
  [ctrrun/adopt/]="CTR"
  [ctrrun/reopen/]="CTR"
  [ctrshim/-]="--root=DIR --log=FILE --log-format=FORMAT --systemd-cgroup --shim=PATH --namespace=NAME --options=KIND --binary=PATH --config-path=FILE --debug --timeout=SECONDS --log-level=LEVEL --help -h --version"
  [ctrshim]="create start state kill delete exec ps update pause resume features publish"
  [ctrshim/create/]="ID"
  [ctrshim/create]="--bundle=DIR -b=DIR --console-socket=PATH --pid-file=FILE"
  [ctrshim/start/]="ID"
  [ctrshim/state/]="ID"
  [ctrshim/kill/]="ID SIGNAL"
  [ctrshim/kill]="--all -a"
  [ctrshim/delete/]="ID"
  [ctrshim/delete]="--force -f"
  [ctrshim/exec/]="ID COMMAND..."
  [ctrshim/exec]="--process=FILE -p=FILE --console-socket=PATH --pid-file=FILE --detach -d --tty -t --cwd=DIR --env=NAME=VALUE -e=NAME=VALUE --user=UID[:GID] -u=UID[:GID]"
  [ctrshim/ps/]="ID"
  [ctrshim/ps]="--format=FORMAT -f=FORMAT"
  [ctrshim/update/]="ID"
  [ctrshim/update]="--resources=FILE|- -r=FILE|-"
  [ctrshim/pause/]="ID"
  [ctrshim/resume/]="ID"
  [ctrshim/publish]="--topic=TOPIC --address=DIR"
  [ctrstat/-]="--root=DIR --runroot=DIR --config=FILE --json --log-level=LEVEL --help -h --version --interval=SECONDS -i=SECONDS --count=N -n=N --format=TEXT"
  [ctrstat//]="POD|CTR..."
  [ctrstream/-]="--fd=N --head-fd=N --root=DIR --runroot=DIR --config=FILE --log-level=LEVEL --help -h --version"
  [ctrstream]="exec attach portforward"
  [ctrstream/exec/]="CTR COMMAND..."
  [ctrstream/exec]="--tty -t --stdin -i --stdout --stderr"
  [ctrstream/attach/]="CTR"
  [ctrstream/attach]="--tty -t --stdin -i --stdout --stderr"
  [ctrstream/portforward/]="POD PORT..."
  [ctrtls/-]="--root=DIR --runroot=DIR --config=FILE --log-level=LEVEL --help -h --version"
  [ctrtls]="serve check"
  [ctrtls/serve]="--fd=N --plain-fd=N"
  [ocibundle/-]="--root=DIR --runroot=DIR --config=FILE --dry-run --log-level=LEVEL --help -h --version"
  [ocibundle]="create show diff rm sandbox du"
  [ocibundle/create/]="POD CTR.json|-"
  [ocibundle/create]="--id=ID --origin=cri|hand"
  [ocibundle/show/]="CTR|POD CTR.json|-"
  [ocibundle/show]="--explain"
  [ocibundle/diff/]="A B"
  [ocibundle/rm/]="CTR"
  [ocibundle/sandbox/]="POD"
  [ocibundle/du/]="CTR..."
  [ocibundle/du]="--json --format=TEXT"
  [ocipull/-]="--root=DIR --runroot=DIR --config=FILE --log-level=LEVEL --help -h --version --platform=OS/ARCH[/VARIANT] --auth-fd=N --progress=bars|plain|json|none --parallel=N -j=N --name=REF"
  [ocipull//]="REF|oci:DIR:TAG|oci-archive:FILE:TAG|docker-archive:FILE:REF"
  [ocistore/-]="--root=DIR --runroot=DIR --config=FILE --json --dry-run --log-level=LEVEL --help -h --version"
  [ocistore]="ls inspect rm tag untag pin unpin gc pulls df mount umount verify repair save load"
  [ocistore/ls/]="PATTERN..."
  [ocistore/ls]="--digests --dangling --quiet -q --no-trunc --format=TEXT"
  [ocistore/inspect/]="IMAGE..."
  [ocistore/rm/]="IMAGE..."
  [ocistore/rm]="--force -f --in-use --wait -w"
  [ocistore/tag/]="IMAGE NAME..."
  [ocistore/untag/]="NAME..."
  [ocistore/pin/]="IMAGE..."
  [ocistore/unpin/]="IMAGE..."
  [ocistore/mount/]="IMAGE DIR"
  [ocistore/umount/]="IMAGE|DIR..."
  [ocistore/umount]="--lazy -l"
  [ocistore/verify/]="IMAGE..."
  [ocistore/repair/]="IMAGE..."
  [ocistore/save/]="IMAGE..."
  [ocistore/save]="--format=docker-archive|oci-archive|oci --output=FILE|DIR|- -o=FILE|DIR|- --compress=gzip|zstd[:LEVEL]"
  [ocistore/load]="--input=FILE|DIR|- -i=FILE|DIR|-"
  [podinit/-]="--log-level=LEVEL --help -h --version"
  [podinit//]="POD"
  [podmanifest/-]="--config=FILE --dry-run --log-level=LEVEL --help -h --version --lenient --pod=[KIND/]NAME --configmap=NAME=DIR --secret=NAME=DIR --volume=NAME=PATH --volumes=DIR --out=DIR -o=DIR --no-service-account --name=NAME --uid=UID --index=N --node-name=NAME --node-ip=ADDRESS --node-memory=QUANTITY --node-cpu=QUANTITY --pod-ip=ADDRESS --cluster-dns=ADDRESS --cluster-domain=DOMAIN --resolv-conf=FILE --cgroup-parent=PATH --log-dir=DIR --seccomp-dir=DIR --userns=ID"
  [podmanifest//]="FILE|-"
  [podnet/-]="--root=DIR --runroot=DIR --config=FILE --json --timeout=SECONDS --dry-run --log-level=LEVEL --help -h --version"
  [podnet]="create status stop rm inspect check exec ports network cidr update ls gc"
  [podnet/create/]="FILE|-"
  [podnet/create]="--id=ID --handler=HANDLER --network=NAME[=INTERFACE] --origin=cri|hand"
  [podnet/status/]="POD"
  [podnet/stop/]="POD"
  [podnet/rm/]="POD"
  [podnet/inspect/]="POD"
  [podnet/check/]="POD"
  [podnet/exec/]="POD COMMAND..."
  [podnet/ports/]="POD"
  [podnet/ports]="--format=TEXT"
  [podnet/cidr/]="CIDR,CIDR..."
  [podnet/update/]="POD FILE|-"
  [podnet/ls]="--format=TEXT"
  [podreplay/-]="--root=DIR --runroot=DIR --config=FILE --json --log-level=LEVEL --help -h --version"
  [podreplay]="capture run why diff script"
  [podreplay/capture/]="POD"
  [podreplay/capture]="--output=FILE|- -o=FILE|- --with-images --with-volumes=KIND|PATH,... --with-secrets --log-lines=N"
  [podreplay/run/]="FILE"
  [podreplay/run]="--output=FILE -o=FILE --handler=HANDLER --stub-network --volume=/RECORDED=/HERE --env-file=FILE|- --for=SECONDS --with-secrets --allow-privileged --expect-exit=[CTR=]N --expect-log=REGEX --expect-same --junit=FILE"
  [podreplay/why/]="POD|CONTAINER|FILE CONTAINER"
  [podreplay/why]="--lines=N -n=N"
  [podreplay/diff/]="FILE FILE"
  [podreplay/diff]="--slower=FACTOR"
  [podreplay/script/]="FILE"
  [crispd/-]="--listen=PATH --record=FILE --root=DIR --runroot=DIR --config=FILE --json --log-level=LEVEL --help -h --version"
  [crispd]="ps check config"
  [pod]="up ps logs exec down"
  [pod/up/]="POD.json CTR.json... MANIFEST.json|-"
  [pod/up]="--handler=HANDLER --wait --restart"
  [pod/ps]="--json"
  [pod/logs/]="CTR"
  [pod/logs]="-f -n=N --timestamps"
  [pod/exec/]="CTR COMMAND..."
  [pod/exec]="-it"
  [pod/down/]="POD..."
  [pod/down]="-t=SECONDS"
)

_crisp_values() {
  local kind=$1 cur=$2 prog=$3 cut=12
  shift 3
  kind=${kind//[\[\]]/}
  kind=${kind%...}
  cur=${cur#sha256:}
  [ ${#cur} -lt 12 ] || cut=64
  local IFS='|' one
  for one in $kind; do
    case $one in
    POD) podnet ls --format '{metadata.name}\n{id}' "$@" ;;
    CTR | A | B) ctrrun ls --format '{name}\n{id}' "$@" ;;
    IMAGE | REF | PATTERN) ocistore ls --format '{repo_tags}\n{id}' "$@" ;;
    HANDLER) ctrrun handlers --format '{name}' "$@" ;;
    NAME) [ "$prog" != ocistore ] || ocistore ls --format '{repo_tags}' "$@" ;;
    METHOD) cricall --list ;;
    SIGNAL) printf '%s\n' TERM KILL HUP INT QUIT USR1 USR2 STOP CONT ;;
    LEVEL) printf '%s\n' error warning info debug ;;
    KIND) [ "$prog" != ctrevents ] || printf '%s\n' pod container image ;;
    *[A-Z]*:* | -) ;;
    *:*) printf '%s\n' "${one%%:*}:" ;;
    *[A-Z]*) ;;
    *) printf '%s\n' "$one" ;;
    esac
  done 2>/dev/null | tr ' ' '\n' | sed -E "s/^(sha256:)?([0-9a-f]{$cut})[0-9a-f]*\$/\2/"
}

_crisp_takes_files() {
  case $1 in *FILE* | *DIR* | *PATH* | *.json* | A | B) return 0 ;; *) return 1 ;; esac
}

_crisp_look() {
  local cur=$1 prog=${2##*/} verb='' n=0 w all rest kind='' state=''
  shift 2
  _crisp_found='' _crisp_files=''
  local verbs=${_crisp[$prog]-}
  while [ $# -gt 0 ]; do
    w=$1
    shift
    all=" ${_crisp[$prog/-]-} ${_crisp[$prog/$verb]-} "
    case $w in
    --root=* | --runroot=* | --config=*) state="$state $w" ;;
    --) ;;
    -*)
      case $all in
      *" $w="*)
        rest=${all#*" $w="}
        if [ $# = 0 ]; then kind=${rest%% *}; else
          case $w in --root | --runroot | --config) state="$state $w=$1" ;; esac
          shift
        fi
        ;;
      esac
      ;;
    *) if [ -n "$verbs" ] && [ -z "$verb" ]; then verb=$w; else n=$((n + 1)); fi ;;
    esac
  done
  all=" ${_crisp[$prog/-]-} ${_crisp[$prog/$verb]-} "
  if [ -z "$kind" ]; then
    case $cur in
    --*=*)
      rest=${all#*" ${cur%%=*}="}
      [ "$rest" = "$all" ] || kind=${rest%% *}
      _crisp_found=$(for w in $(_crisp_values "$kind" "${cur#*=}" "$prog" $state); do printf '%s\n' "${cur%%=*}=$w"; done)
      return 0
      ;;
    -*)
      _crisp_found=$(for w in $all; do printf '%s\n' "${w%%=*}"; done)
      return 0
      ;;
    esac
    if [ -n "$verbs" ] && [ -z "$verb" ]; then
      _crisp_found=$(for w in $verbs; do printf '%s\n' "$w"; done)
      return 0
    fi
    rest=${_crisp[$prog/$verb/]-}
    for w in $rest; do
      case $w in *...*) kind=$w && break ;; esac
      [ $n != 0 ] || kind=$w
      n=$((n - 1))
      [ $n -ge 0 ] || break
    done
    [ $n -lt 0 ] || case $kind in *...*) ;; *) kind='' ;; esac
  fi
  if _crisp_takes_files "$kind"; then _crisp_files=yes; fi
  _crisp_found=$(_crisp_values "$kind" "$cur" "$prog" $state)
}
_crisp_complete() {
  # Of what is on the line itself, for bash breaks words at ':' and '=', of which names are full.
  local line=${COMP_LINE:0:COMP_POINT} cur words
  read -ra words <<<"$line"
  if [[ $line == *[[:space:]] ]]; then cur=; else cur=${words[-1]} && unset 'words[-1]'; fi
  _crisp_look "$cur" "${words[@]}"
  mapfile -t COMPREPLY < <(compgen -W "$_crisp_found" -- "$cur"; [ -z "$_crisp_files" ] || compgen -f -- "$cur")
  local broken=${cur%"${cur##*[:=]}"}
  [ -z "$_crisp_files" ] || compopt -o filenames
  [ -z "$broken" ] || COMPREPLY=("${COMPREPLY[@]#"$broken"}")
}
complete -F _crisp_complete cricall ctrevents ctrmon ctrrun ctrshim ctrstat ctrstream ctrtls ocibundle ocipull ocistore podinit podmanifest podnet podreplay crispd pod
