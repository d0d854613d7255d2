# Completion for fish: commands and flags as the binary's own help has them, and the containers that there are.
function __runh_command
	set -l commands (runh help | string replace -rf '^  ([a-z]{2,})  .*' '$1')
	for word in (commandline -opc)[2..-1]
		if contains -- $word $commands
			echo $word
			return
		end
	end
	return 1
end
function __runh_flags
	runh help (__runh_command) | sed '1,/flags:/d' | grep -oE -e '--[a-z][a-z-]*'
end
complete -c runh -n 'not __runh_command' -f -a "(runh help | string replace -rf '^  ([a-z]{2,})  +(.*)' '\$1\t\$2')"
complete -c runh -n 'string match -q -- "-*" (commandline -ct)' -f -a '(__runh_flags)'
complete -c runh -n 'contains -- (__runh_command) start state kill delete exec ps pause resume update events checkpoint' -f -a '(runh list -q)'
complete -c runh -n 'contains -- (__runh_command) install' -f -a 'docker containerd crio'
complete -c runh -n 'contains -- (__runh_command) help' -f -a "(runh help | string replace -rf '^  ([a-z]{2,})  .*' '\$1')"
