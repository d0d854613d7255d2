#!/bin/sh
# make deps: programs that are newer in Debian testing than in Debian 12. Each set is a tree of its packages and all that they depend on;
# nothing of it is installed, and nothing of this machine is in it.
#   build/hermit/testing  QEMU and virtiofsd: a directory for --hermit-env
#   build/vm/testing      systemd, the managers and what they call: the programs of a machine of TestVMEngines
# A tree that was made of the same list of packages is left alone. Where one cannot be had, one line says so and the rest goes on: the tests
# that need it are skipped, which is a failure in CI.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# testing PROGRAM ARGUMENT...: apt with lists, a cache and a status of its own. The archive is the one that this machine has Debian 12 from.
testing() {
	program=$1
	shift
	"$program" -qq -o Dir::State="$tmp" -o Dir::State::status="$tmp/status" -o Dir::Cache="$tmp/cache" -o Dir::Etc::sourcelist="$tmp/sources.list" \
		-o Dir::Etc::sourceparts="$tmp/parts" -o Dir::Etc::preferencesparts="$tmp/parts" -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

lists() {
	[ ! -d "$tmp/lists" ] || return 0
	mirror=$(apt-get indextargets --format '$(CREATED_BY)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' | sed -n 's/^Packages|Debian|main|//p' | head -n 1)
	[ -n "$mirror" ] || { echo "no source of Debian's is in /etc/apt" >&2; return 1; }
	mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial" "$tmp/parts"
	: >"$tmp/status"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror testing main" >"$tmp/sources.list"
	testing apt-get update
}

# tree DIRECTORY PACKAGE...: the second tree takes from the cache what the first has fetched, so apt is asked which files are its own.
tree() {
	dir=$1
	shift
	[ "$(cat "$dir.packages" 2>/dev/null)" != "$*" ] || return 0
	rm -rf "$tmp/tree" && mkdir -p "$tmp/tree" "$(dirname "$dir")" &&
		lists && testing apt-get install -y --download-only --no-install-recommends "$@" >/dev/null &&
		testing apt-get install -s --no-install-recommends "$@" >"$tmp/plan" || return
	sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*\[\([^]]*\)\]).*/\1_\2_\3.deb/p' "$tmp/plan" | sed 's/:/%3a/' >"$tmp/files"
	while read -r file; do
		dpkg-deb -x "$tmp/cache/archives/$file" "$tmp/tree" || return
	done <"$tmp/files"
	rm -rf "$dir" "$dir.packages" && mv "$tmp/tree" "$dir" && echo "$*" >"$dir.packages" && echo "make deps: unpacked $(wc -l <"$tmp/files") packages of Debian testing into $dir"
}

tree build/hermit/testing base-files qemu-system-x86 virtiofsd ||
	echo "make deps: no tree in build/hermit: the tests with real parts of Hermit need it" >&2
tree build/vm/testing base-files systemd dbus util-linux iproute2 iptables strace uidmap qemu-system-x86 containerd containernetworking-plugins runc docker.io docker-cli podman passt ||
	echo "make deps: no tree in build/vm: the machines with new managers need it" >&2
