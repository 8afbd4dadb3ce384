# fish completion for pod; written by scripts/completions
complete -c pod -f
complete -c pod -n __fish_use_subcommand -a up -d 'a pod and its containers, started in this order; prints the pod\'s id'
complete -c pod -n '__fish_seen_subcommand_from up' -F
complete -c pod -n '__fish_seen_subcommand_from up' -l handler -x -a '(ctrrun handlers --format "{name}" 2>/dev/null)' -d 'a pod and its containers, started in this order; prints the pod\'s id'
complete -c pod -n __fish_use_subcommand -a up -d 'the same of what podmanifest(1) prints'
complete -c pod -n '__fish_seen_subcommand_from up' -F
complete -c pod -n '__fish_seen_subcommand_from up' -l handler -x -a '(ctrrun handlers --format "{name}" 2>/dev/null)' -d 'the same of what podmanifest(1) prints'
complete -c pod -n '__fish_seen_subcommand_from up' -l wait -d 'the same of what podmanifest(1) prints'
complete -c pod -n '__fish_seen_subcommand_from up' -l restart -d 'the same of what podmanifest(1) prints'
complete -c pod -n __fish_use_subcommand -a ps -d 'the pods and what runs in them'
complete -c pod -n '__fish_seen_subcommand_from ps' -l json -d 'the pods and what runs in them'
complete -c pod -n __fish_use_subcommand -a logs -d 'what a container wrote'
complete -c pod -n '__fish_seen_subcommand_from logs' -a '(ctrrun ls --format "{name}\\t{status}\\n{id}\\t{name}" 2>/dev/null)'
complete -c pod -n '__fish_seen_subcommand_from logs' -s f -d 'what a container wrote'
complete -c pod -n '__fish_seen_subcommand_from logs' -s n -x -d 'what a container wrote'
complete -c pod -n '__fish_seen_subcommand_from logs' -l timestamps -d 'what a container wrote'
complete -c pod -n __fish_use_subcommand -a exec -d 'run a command in it'
complete -c pod -n '__fish_seen_subcommand_from exec' -a '(ctrrun ls --format "{name}\\t{status}\\n{id}\\t{name}" 2>/dev/null)'
complete -c pod -n '__fish_seen_subcommand_from exec' -s i -s t -d 'run a command in it'
complete -c pod -n __fish_use_subcommand -a down -d 'stop and remove pods with all that is in them'
complete -c pod -n '__fish_seen_subcommand_from down' -a '(podnet ls --format "{metadata.name}\\t{state}\\n{id}\\t{metadata.name}" 2>/dev/null)'
complete -c pod -n '__fish_seen_subcommand_from down' -s t -x -d 'stop and remove pods with all that is in them'
