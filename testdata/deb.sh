#!/bin/sh
# make deb: $OUT/runh_VERSION_amd64.deb, the same bytes from the same source and version of Go; and where make qemu has been (its tree is $QEMU),
# $OUT/runh-qemu_VERSION_amd64.deb, with the version of the QEMU that was built.
set -eu
RUNH=${RUNH:-./runh}
OUT=${OUT:-build}
QEMU=${QEMU:-build/qemu}
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
Recommends: runh-qemu | qemu-system-x86
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

[ -e "$QEMU/.runh-env" ] || exit 0
version=$(sed -n '1s/^qemu //p' "$QEMU/.runh-env")
install -d "$tree/usr/lib/runh" "$tree/usr/share/doc/runh-qemu" "$tree/DEBIAN"
cp -a "$QEMU" "$tree/usr/lib/runh/qemu"
cat "$QEMU/licences/sources" "$QEMU/licences/qemu" >"$tree/usr/share/doc/runh-qemu/copyright"
echo "The texts are in /usr/lib/runh/qemu/licences." >>"$tree/usr/share/doc/runh-qemu/copyright"
cat >"$tree/DEBIAN/control" <<EOF
Package: runh-qemu
Version: $version
Architecture: amd64
Maintainer: The runh developers <https://github.com/hermit-os/runh>
Section: admin
Priority: optional
Installed-Size: $(du -k -s --apparent-size "$tree/usr" | cut -f1)
Enhances: runh
Homepage: https://github.com/hermit-os/runh
Description: QEMU with nothing but what runh uses
 One static program with the machines microvm, pc and q35, and its firmware, in
 /usr/lib/runh/qemu. runh starts Hermit containers with it and not with the
 QEMU of the host.
EOF
# runh knows the tree's files by their times, too: those stay.
SOURCE_DATE_EPOCH=$(stat -c %Y "$QEMU/.runh-env")
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$tree" "$OUT/runh-qemu_${version#*:}_amd64.deb"
rm -rf "$tree"
