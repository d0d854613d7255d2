#!/bin/sh
# make install: the binary, its man page, completion for three shells, and /etc/runh/config.toml if there is none. Below $DESTDIR, in $PREFIX;
# the binary is $RUNH.
set -eu
RUNH=${RUNH:-./runh}
share=$DESTDIR$PREFIX/share
install -D -m 0755 "$RUNH" "$DESTDIR$PREFIX/sbin/runh"
install -D -m 0644 completion/runh.bash "$share/bash-completion/completions/runh"
install -D -m 0644 completion/_runh "$share/zsh/site-functions/_runh"
install -D -m 0644 completion/runh.fish "$share/fish/vendor_completions.d/runh.fish"
install -d "$share/man/man8"
sh testdata/man.sh "$RUNH" | gzip -9n >"$share/man/man8/runh.8.gz"
[ -e "$DESTDIR/etc/runh/config.toml" ] || install -D -m 0644 docs/config.toml "$DESTDIR/etc/runh/config.toml"
