# fish completion for cricall; written by scripts/completions
complete -c cricall -f
complete -c cricall -l socket -s s -r -F -d 'the CRI socket ($CONTAINER_RUNTIME_ENDPOINT, /run/crisp/crisp.sock)'
complete -c cricall -l max-message -x -d 'largest message either way (16 MiB)'
complete -c cricall -l list -d 'name the methods'
complete -c cricall -l describe -d 'print the method\'s request, to be edited'
complete -c cricall -l replay -r -F -d 'send the calls of a record (crispd --record), compare the answers'
complete -c cricall -l settle -x -d 'how long a replayed read may take to become what was recorded (10)'
complete -c cricall -l json -d 'print JSON'
complete -c cricall -l timeout -x -d 'give up after so long'
complete -c cricall -l log-level -x -a '(printf "%s\\n" error warning info debug)' -d 'error, warning, info or debug'
complete -c cricall -l help -s h -d 'print this text'
complete -c cricall -l version -d 'print the version'
complete -c cricall -F -a '(cricall --list)'
