# fish completion for ctrevents; written by scripts/completions
complete -c ctrevents -f
complete -c ctrevents -l root -r -F -d 'persistent state (/var/lib/crisp)'
complete -c ctrevents -l runroot -r -F -d 'volatile state (/run/crisp)'
complete -c ctrevents -l config -r -F -d 'configuration file'
complete -c ctrevents -l json -d 'print JSON'
complete -c ctrevents -l timeout -x -d 'give up after so long'
complete -c ctrevents -l log-level -x -a '(printf "%s\\n" error warning info debug)' -d 'error, warning, info or debug'
complete -c ctrevents -l help -s h -d 'print this text'
complete -c ctrevents -l version -d 'print the version'
complete -c ctrevents -a '(podnet ls --format "{metadata.name}\\t{state}\\n{id}\\t{metadata.name}" 2>/dev/null) (ctrrun ls --format "{name}\\t{status}\\n{id}\\t{name}" 2>/dev/null)'
complete -c ctrevents -l kind -x -a '(printf "%s\\n" pod container image)' -d 'only pod, container or image'
complete -c ctrevents -l format -x -d 'print each row as TEXT, with {a.b} for members of its JSON'
