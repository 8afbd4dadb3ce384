# fish completion for ctrtls; written by scripts/completions
complete -c ctrtls -f
complete -c ctrtls -l root -r -F -d 'persistent state (/var/lib/crisp)'
complete -c ctrtls -l runroot -r -F -d 'volatile state (/run/crisp)'
complete -c ctrtls -l config -r -F -d 'configuration file'
complete -c ctrtls -l log-level -x -a '(printf "%s\\n" error warning info debug)' -d 'error, warning, info or debug'
complete -c ctrtls -l help -s h -d 'print this text'
complete -c ctrtls -l version -d 'print the version'
complete -c ctrtls -n __fish_use_subcommand -a serve -d 'be the server of one TLS connection'
complete -c ctrtls -n '__fish_seen_subcommand_from serve' -l fd -x -d 'the connected socket'
complete -c ctrtls -n '__fish_seen_subcommand_from serve' -l plain-fd -x -d 'the socket on which it goes on without TLS'
complete -c ctrtls -n __fish_use_subcommand -a check -d 'can certificate, key and CA of the configuration be used?'
