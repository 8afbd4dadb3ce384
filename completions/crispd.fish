# fish completion for crispd; written by scripts/completions
complete -c crispd -f
complete -c crispd -l listen -r -F -d 'the CRI socket (<runroot>/crisp.sock)'
complete -c crispd -l record -r -F -d 'write each call and its answer there, without secrets'
complete -c crispd -l root -r -F -d 'persistent state (/var/lib/crisp)'
complete -c crispd -l runroot -r -F -d 'volatile state (/run/crisp)'
complete -c crispd -l config -r -F -d 'configuration file'
complete -c crispd -l json -d 'print JSON'
complete -c crispd -l log-level -x -a '(printf "%s\\n" error warning info debug)' -d 'error, warning, info or debug'
complete -c crispd -l help -s h -d 'print this text'
complete -c crispd -l version -d 'print the version'
complete -c crispd -n __fish_use_subcommand -a ps -d 'what the running crispd has under way'
complete -c crispd -n __fish_use_subcommand -a check -d 'compare what crispd knows with the disk, and that with the kernel'
complete -c crispd -n __fish_use_subcommand -a config -d 'each value of the configuration and where it comes from'
