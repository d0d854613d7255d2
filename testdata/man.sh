#!/bin/sh
# The man page on standard output, made of the help texts of the runh that is $1.
set -eu
verbatim() {
	printf '.nf\n'
	sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\([.']\)/\\\\\&\1/"
	printf '.fi\n'
}
printf '.TH RUNH 8 "" "%s"\n.SH NAME\nrunh \\- OCI container runtime for Linux containers and Hermit unikernels\n.SH SYNOPSIS\n' "$("$1" --version | head -n 1)"
"$1" help | verbatim
for command in $("$1" help | sed -n 's/^  \([a-z]\{2,\}\)  .*/\1/p'); do
	case $command in help | version) continue ;; esac
	printf '.SH %s\n' "$(echo "runh $command" | tr a-z A-Z)"
	"$1" help "$command" | sed -e 1d -e "2s/^ *//" | verbatim
done
printf '.SH FILES\n/etc/runh/config.toml, /run/runh\n.SH SEE ALSO\n.BR docker (1),\n.BR containerd (8),\n.BR crio (8),\n.BR podman (1),\n.BR qemu (1)\n'
