#!/bin/sh
# make demo: a Hermit guest (the stand-in of testdata/guest) boots in a QEMU microvm under runh and ends with 7; so does runh.
set -eu
[ "$(id -u)" = 0 ] || { echo "make demo: needs root" >&2; exit 1; }
top=$(pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
show() { printf '\n$ %s\n' "$*"; }

make -s -C testdata/guest OUT="$dir/guest"
mkdir -p "$dir/bundle/rootfs/hermit"
cp "$dir/guest/loader" "$dir/bundle/rootfs/hermit/hermit-loader"
cp "$dir/guest/app" "$dir/bundle/rootfs/hermit/app"
cd "$dir/bundle"

show "find rootfs -type f"
find rootfs -type f
show "runh spec --args /hermit/app --args hello ..."
# shellcheck disable=SC2016 # the dollar is for the guest to see
"$top/runh" spec --args /hermit/app --args hello --args ';' --args mem --args ';' --args exit --args 7
# What spec writes asks for a terminal; here there may be none.
sed -i 's/"terminal": *true/"terminal": false/' config.json
show "runh run demo"
code=0
"$top/runh" --root "$dir/state" run demo </dev/null || code=$?
printf '\nexit code %s\n' "$code"
[ "$code" = 7 ]
