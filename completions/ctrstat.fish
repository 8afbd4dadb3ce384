# fish completion for ctrstat; written by scripts/completions
complete -c ctrstat -f
complete -c ctrstat -l root -r -F -d 'persistent state (/var/lib/crisp)'
complete -c ctrstat -l runroot -r -F -d 'volatile state (/run/crisp)'
complete -c ctrstat -l config -r -F -d 'configuration file'
complete -c ctrstat -l json -d 'print JSON'
complete -c ctrstat -l log-level -x -a '(printf "%s\\n" error warning info debug)' -d 'error, warning, info or debug'
complete -c ctrstat -l help -s h -d 'print this text'
complete -c ctrstat -l version -d 'print the version'
complete -c ctrstat -a '(podnet ls --format "{metadata.name}\\t{state}\\n{id}\\t{metadata.name}" 2>/dev/null) (ctrrun ls --format "{name}\\t{status}\\n{id}\\t{name}" 2>/dev/null)'
complete -c ctrstat -l interval -s i -x -d 'time between two tables (1)'
complete -c ctrstat -l count -s n -x -d 'end after so many (default: for ever on a terminal, else 1)'
complete -c ctrstat -l format -x -d 'print each row as TEXT, with {a.b} for members of its JSON'
