#!/bin/sh
# make demo: a Hermit application boots under runh: one that Hermit's people built, with their loader (testdata/hermit), or, where that
# could not be fetched, the stand-in of testdata/guest.
set -eu
[ "$(id -u)" = 0 ] || { echo "make demo: needs root" >&2; exit 1; }
top=$(pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
show() { printf '\n$ %s\n' "$*"; }

real=$top/build/hermit
mkdir -p "$dir/bundle/rootfs/hermit"
if [ -e "$real/hello_c" ]; then
	echo "This is Hermit: an application with kernel 0.6.0 and a loader, both of 2023, from crates.io."
	cp "$real/rusty-loader-x86_64" "$dir/bundle/rootfs/hermit/hermit-loader"
	cp "$real/hello_c" "$dir/bundle/rootfs/hermit/app"
	set -- two words
else
	echo "This is the stand-in of testdata/guest: Hermit's own binaries could not be fetched."
	make -s -C testdata/guest OUT="$dir/guest"
	cp "$dir/guest/loader" "$dir/bundle/rootfs/hermit/hermit-loader"
	cp "$dir/guest/app" "$dir/bundle/rootfs/hermit/app"
	set -- args two words
fi
cd "$dir/bundle"

show "find rootfs -type f"
find rootfs -type f | sort
show "runh spec --args /hermit/app $(printf -- '--args %s ' "$@")"
all=
for word; do
	all="$all --args $word"
done
# shellcheck disable=SC2086 # a list of words
"$top/runh" spec --args /hermit/app $all
# What spec writes asks for a terminal; here there may be none.
sed -i 's/"terminal": *true/"terminal": false/' config.json
show "runh run demo"
code=0
"$top/runh" --root "$dir/state" run demo </dev/null >"$dir/out" 2>"$dir/err" || code=$?
cat "$dir/err" >&2
# The old loader and kernel log some eighty lines; all of them are the container's output.
lines=$(grep -c '^\[' "$dir/out" || true)
grep -v '^\[[^]]*\]\[' "$dir/out" | grep -v '^$' || true
printf '\nexit code %s; %s lines of log are left out\n' "$code" "$lines"
[ "$code" = 0 ] && grep -q two "$dir/out"
