# bash completion for crisp; written by scripts/completions
_crisp() {
  local cur=${COMP_WORDS[COMP_CWORD]} words=
  case ${COMP_WORDS[0]##*/} in
  cricall) words="--describe --help --list --log-level --max-message --socket --timeout --version " ;;
  ctrevents) words="--config --help --json --kind --log-level --root --runroot --timeout --version " ;;
  ctrmon) words="--adopt --help --log-level --log-line-max --log-path --log-rate-limit --log-rate-policy --pod --restore --restore-arg --root --runroot --runtime --runtime-arg --runtime-root --sandboxed --status-fd --stdin --stdin-once --systemd-cgroup --timeout --tty --version --wait " ;;
  ctrrun) words="--config --defer-errors --detach-keys --follow --force --help --json --log-level --no-stdin --option --root --runroot --since --status-fd --stdin --tail --timeout --timestamps --tty --version adopt attach checkpoint checkpoint-check checkpoint-pod create exec handlers kill logs ls pause reopen restore resume rm start state stop thaw update " ;;
  ctrshim) words="--address --all --binary --bundle --config-path --console-socket --cwd --debug --detach --env --force --format --help --log --log-format --log-level --namespace --options --pid-file --process --resources --root --shim --systemd-cgroup --timeout --topic --tty --user --version create delete exec features kill pause ps publish resume start state update " ;;
  ctrstat) words="--config --count --help --interval --json --log-level --root --runroot --version " ;;
  ctrstream) words="--config --fd --head-fd --help --log-level --root --runroot --stderr --stdin --stdout --tty --version attach exec portforward " ;;
  ctrtls) words="--config --fd --help --log-level --plain-fd --root --runroot --version check serve " ;;
  ocibundle) words="--config --dry-run --explain --help --id --log-level --origin --root --runroot --version create diff du rm sandbox show " ;;
  ocipull) words="--auth-fd --config --help --log-level --name --parallel --platform --progress --root --runroot --version " ;;
  ocistore) words="--compress --config --dangling --digests --dry-run --force --format --help --in-use --input --json --lazy --log-level --no-trunc --output --quiet --root --runroot --version --wait df gc inspect load ls mount pin pulls repair rm save tag umount unpin untag verify " ;;
  podinit) words="--help --log-level --version " ;;
  podnet) words="--config --dry-run --handler --help --id --json --log-level --network --origin --root --runroot --timeout --version check cidr create exec gc inspect ls network ports rm status stop update " ;;
  crispd) words="--config --help --json --listen --log-level --root --runroot --version check config ps " ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"; compgen -f -- "$cur")
}
complete -F _crisp cricall ctrevents ctrmon ctrrun ctrshim ctrstat ctrstream ctrtls ocibundle ocipull ocistore podinit podnet crispd
