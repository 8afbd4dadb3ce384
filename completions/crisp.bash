# bash completion for crisp; written by scripts/completions
_crisp() {
  local cur=${COMP_WORDS[COMP_CWORD]} words=
  case ${COMP_WORDS[0]##*/} in
  cricall) words="--describe --help --list --log-level --max-message --socket --timeout --version " ;;
  ctrmon) words="--help --log-level --log-line-max --log-path --pod --root --runroot --runtime --runtime-arg --runtime-root --status-fd --stdin --stdin-once --systemd-cgroup --timeout --tty --version " ;;
  ctrrun) words="--config --defer-errors --force --help --json --log-level --root --runroot --status-fd --stdin --timeout --tty --version create exec kill ls reopen rm start state stop update " ;;
  ctrstream) words="--config --fd --head-fd --help --log-level --root --runroot --stderr --stdin --stdout --tty --version attach exec portforward " ;;
  ocibundle) words="--config --dry-run --help --id --log-level --origin --root --runroot --version create du rm show " ;;
  ocipull) words="--auth-fd --config --help --log-level --name --parallel --platform --progress --root --runroot --version " ;;
  ocistore) words="--config --dry-run --force --help --json --log-level --root --runroot --version gc inspect ls rm " ;;
  podinit) words="--help --log-level --version " ;;
  podnet) words="--config --dry-run --handler --help --id --json --log-level --origin --root --runroot --timeout --version create gc ls rm status stop update " ;;
  crispd) words="--config --help --listen --log-level --root --runroot --version " ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"; compgen -f -- "$cur")
}
complete -F _crisp cricall ctrmon ctrrun ctrstream ocibundle ocipull ocistore podinit podnet crispd
