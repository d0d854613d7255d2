# Completion for bash: commands and flags as the binary's own help has them, and the containers that there are.
_runh() {
	local cur=${COMP_WORDS[COMP_CWORD]} runh=${COMP_WORDS[0]} commands command='' word words
	commands=$($runh help | sed -n 's/^  \([a-z]\{2,\}\)  .*/\1/p')
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		[[ -z $command && $'\n'$commands$'\n' == *$'\n'$word$'\n'* ]] && command=$word
	done
	case $command:$cur in
	*:-*) words=$($runh help $command | sed '1,/flags:/d' | grep -oE -e '--[a-z][a-z-]*') ;;
	:* | help:*) words=$commands ;;
	install:*) words='docker containerd crio' ;;
	start:* | state:* | kill:* | delete:* | exec:* | ps:* | pause:* | resume:* | update:* | events:* | checkpoint:*) words=$($runh list -q) ;;
	*) return ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _runh runh
