# shellcheck shell=bash
# What the table _crisp of the completions means, for bash and (emulating ksh) zsh. scripts/completions puts it behind the
# table, which has, by program and verb:
#   [PROG]=its verbs   [PROG/-]=options of all verbs   [PROG/VERB]=the verb's   [PROG/VERB/]=its operands
# An option that takes a value is written --name=PLACEHOLDER.

# What a placeholder can be, a line each. $1: the placeholder, $2: what is typed of it, $3: the program; the other
# arguments say where the state is. Names, and short ids as long as no more is typed than they have.
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

# Are files meant?
_crisp_takes_files() {
  case $1 in *FILE* | *DIR* | *PATH* | *.json* | A | B) return 0 ;; *) return 1 ;; esac
}

# $1: the word under the cursor, then the words before it, the program first. Sets _crisp_found (words, a line each) and
# _crisp_files (yes or empty).
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
