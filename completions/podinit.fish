# fish completion for podinit; written by scripts/completions
complete -c podinit -l log-level -r -d 'error, warning, info or debug'
complete -c podinit -l help -s h -d 'print this text'
complete -c podinit -l version -d 'print the version'
