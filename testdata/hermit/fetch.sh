#!/bin/sh
# make deps: what is Hermit's, and what it needs and Debian 12 lacks, into build/hermit; what is there already is left alone.
#   binaries   a loader and applications that were built by Hermit's people (Cargo.toml)
#   virtiofsd  the one in Rust, compiled
# Where a part cannot be had, one line says so and the rest goes on: the tests that need it are skipped, which is a failure in CI.
set -u
dir=$PWD/build/hermit
virtiofsd=1.14.0
mkdir -p "$dir"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

binaries() {
	(cd "$dir" && sha256sum -c --status "$OLDPWD/testdata/hermit/SHA256SUMS" 2>/dev/null) && return
	cp testdata/hermit/Cargo.toml "$tmp"
	cargo metadata -q --format-version 1 --filter-platform x86_64-unknown-linux-gnu --manifest-path "$tmp/Cargo.toml" >"$tmp/metadata" || return
	of() { dirname "$(jq -r --arg name "$1" '.packages[] | select(.name == $name) | .manifest_path' "$tmp/metadata")"; }
	mkdir "$tmp/binaries"
	cp "$(of libhermit-rs)/rusty-loader-x86_64" "$(of uhyve)/data/x86_64/hello_c" "$(of uhyve)/data/x86_64/hello_world" "$tmp/binaries" &&
		(cd "$tmp/binaries" && sha256sum -c --quiet "$OLDPWD/testdata/hermit/SHA256SUMS") && chmod 755 "$tmp"/binaries/* && mv -f "$tmp"/binaries/* "$dir" &&
		echo "make deps: fetched Hermit's binaries into build/hermit"
}

virtiofsd() {
	! "$dir/bin/virtiofsd" --version 2>/dev/null | grep -Fqx "virtiofsd $virtiofsd" || return 0
	CARGO_TARGET_DIR="$tmp/target" cargo install -q --locked --root "$dir" --version $virtiofsd virtiofsd &&
		echo "make deps: compiled virtiofsd $virtiofsd into build/hermit/bin"
}

for part; do
	$part || echo "make deps: no $part in build/hermit: the tests with real parts of Hermit need it" >&2
done
