# fish completion for ocipull; written by scripts/completions
complete -c ocipull -f
complete -c ocipull -l root -r -F -d 'persistent state (/var/lib/crisp)'
complete -c ocipull -l runroot -r -F -d 'volatile state (/run/crisp)'
complete -c ocipull -l config -r -F -d 'configuration file'
complete -c ocipull -l log-level -x -a '(printf "%s\\n" error warning info debug)' -d 'error, warning, info or debug'
complete -c ocipull -l help -s h -d 'print this text'
complete -c ocipull -l version -d 'print the version'
complete -c ocipull -F -a '(ocistore ls --format "{repo_tags}\\n{id}" 2>/dev/null | string split " " | string replace sha256: "")'
complete -c ocipull -l platform -x -d 'which image of an index (default: this machine\'s)'
complete -c ocipull -l auth-fd -x -d 'read credentials (a CRI AuthConfig as JSON) from descriptor N'
complete -c ocipull -l progress -x -a 'bars plain json none' -d 'how to tell on stderr how it goes (default: bars on a terminal)'
complete -c ocipull -l parallel -s j -x -d 'layers at once (default: max_parallel_downloads)'
complete -c ocipull -l name -x -a '(ocistore ls --format "{repo_tags}\\n{id}" 2>/dev/null | string split " " | string replace sha256: "")' -d 'what to call the image'
