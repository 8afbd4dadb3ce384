# fish completion for cricall; written by scripts/completions
complete -c cricall -l socket -s s -r -d 'the CRI socket ($CONTAINER_RUNTIME_ENDPOINT, /run/crisp/crisp.sock)'
complete -c cricall -l max-message -r -d 'largest message either way (16 MiB)'
complete -c cricall -l list -d 'name the methods'
complete -c cricall -l describe -d 'print the method\'s request, to be edited'
complete -c cricall -l timeout -r -d 'give up after so long'
complete -c cricall -l log-level -r -d 'error, warning, info or debug'
complete -c cricall -l help -s h -d 'print this text'
complete -c cricall -l version -d 'print the version'
