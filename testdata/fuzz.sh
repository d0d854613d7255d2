#!/bin/sh
# make fuzz: each fuzz target for a minute (FUZZTIME). $1 is the go command.
set -eu
# -fuzzminimizetime: by default each new input is shrunk for up to a minute, and nothing else happens.
for f in $(grep -ho '^func Fuzz[A-Za-z0-9_]*' *_test.go | cut -d' ' -f2); do
	"$1" test -run '^$' -fuzz "^$f\$" -fuzztime "${FUZZTIME:-60s}" -fuzzminimizetime 50x .
done
