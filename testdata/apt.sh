#!/bin/sh
# apt.sh PACKAGE...: install those of them that are missing. Debian, as root; quick and silent when all are there.
set -eu
missing=
for p; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "make: needs root to install:$missing" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
# A policy that starts no service: the tests start daemons of their own and nobody else's.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
	trap 'rm -f $policy' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
echo "make: installed$missing"
