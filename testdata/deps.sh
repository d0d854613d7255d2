#!/bin/sh
# make deps: install what the demo and the tests use. Debian, as root; quick and silent when all is there.
set -eu

packages="gcc libc6-dev make ca-certificates curl jq iproute2 iptables nftables procps util-linux strace
	busybox-static qemu-system-x86 docker.io containerd containernetworking-plugins runc crun podman conmon uidmap criu bats gawk libseccomp-dev libcap-ng-dev pkg-config zsh fish systemd dbus apparmor"
# For testdata/hermit. Debian 12's package cargo is too old for today's crates.
command -v cargo >/dev/null || packages="$packages cargo-web"
# shellcheck disable=SC2086 # a list of words
sh testdata/apt.sh $packages

sh testdata/vm/kernel.sh

# Any Go since 1.21 fetches the toolchain that go.mod names by itself.
go version >/dev/null 2>&1 && go env GOVERSION | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])' ||
	{ echo "make deps: needs Go 1.21 or later in \$PATH (https://go.dev/dl), have $(go version 2>/dev/null || echo none)" >&2; exit 1; }
