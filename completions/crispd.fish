# fish completion for crispd; written by scripts/completions
complete -c crispd -l listen -r -d 'the CRI socket (<runroot>/crisp.sock)'
complete -c crispd -l root -r -d 'persistent state (/var/lib/crisp)'
complete -c crispd -l runroot -r -d 'volatile state (/run/crisp)'
complete -c crispd -l config -r -d 'configuration file'
complete -c crispd -l log-level -r -d 'error, warning, info or debug'
complete -c crispd -l help -s h -d 'print this text'
complete -c crispd -l version -d 'print the version'
