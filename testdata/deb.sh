#!/bin/sh
# make deb: $OUT/runh_VERSION_amd64.deb, the same bytes from the same source and version of Go.
set -eu
RUNH=${RUNH:-./runh}
OUT=${OUT:-build}
export RUNH
version=$("$RUNH" --version | sed -n "s/^runh version //p")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
umask 022
tree=$OUT/deb
rm -rf "$tree"
DESTDIR=$tree PREFIX=/usr sh testdata/install.sh
mv "$tree/usr/share/zsh/site-functions" "$tree/usr/share/zsh/vendor-completions" # Debian's name
doc=$tree/usr/share/doc/runh
install -d "$doc" "$tree/DEBIAN"
cp README.md SECURITY.md docs/*.md docs/*.yaml "$doc"
cat LICENSE-MIT LICENSE-APACHE >"$doc/copyright"
gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
echo /etc/runh/config.toml >"$tree/DEBIAN/conffiles"
cat >"$tree/DEBIAN/control" <<EOF
Package: runh
Version: $version
Architecture: amd64
Maintainer: The runh developers <https://github.com/hermit-os/runh>
Section: admin
Priority: optional
Installed-Size: $(du -k -s "$tree" | cut -f1)
Recommends: qemu-system-x86
Homepage: https://github.com/hermit-os/runh
Description: OCI container runtime for Linux containers and Hermit unikernels
 A container whose program is a Hermit application runs in a QEMU machine of
 its own, every other container as an ordinary Linux container.
 .
 "runh install docker", "runh install containerd" and "runh install crio" make
 it known to a container manager.
EOF
find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$tree" "$OUT/runh_${version}_amd64.deb"
rm -rf "$tree"
