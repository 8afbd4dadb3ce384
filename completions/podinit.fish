# fish completion for podinit; written by scripts/completions
complete -c podinit -f
complete -c podinit -l log-level -x -a '(printf "%s\\n" error warning info debug)' -d 'error, warning, info or debug'
complete -c podinit -l help -s h -d 'print this text'
complete -c podinit -l version -d 'print the version'
complete -c podinit -a '(podnet ls --format "{metadata.name}\\t{state}\\n{id}\\t{metadata.name}" 2>/dev/null)'
