#!/bin/sh
# make lint: format, vet, staticcheck, with the versions that tools.mod pins. $@ is how to run a tool of that file.
set -eu
out=$("$@" gofumpt -l .) # what go downloads first is told on stderr
[ -z "$out" ] || { printf 'gofumpt would change:\n%s\n' "$out" >&2; exit 1; }
go vet ./... ./testdata/bench ./testdata/conformance
"$@" staticcheck ./... ./testdata/bench ./testdata/conformance
for f in .ci/run testdata/*.sh testdata/hermit/*.sh testdata/qemu/*.sh testdata/vm/*; do sh -n "$f" 2>/dev/null || bash -n "$f"; done
# No path inside a container's rootfs may be made by joining strings: the image is hostile (mount.go's walk is the only way).
if grep -nE 'filepath\.Join\((rootfs|[a-z]+\.Rootfs)' *.go | grep -v _test.go; then
	echo "a rootfs path made by Join: resolve it beneath the root instead" >&2; exit 1
fi
