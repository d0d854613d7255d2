#!/bin/sh
# make qemu: build/qemu, a tree for --hermit-env, env build --from and the package runh-qemu: a static QEMU with what runh uses of it and
# nothing else (config), its firmware, the licences, and the versions of all that is in it.
#
#   QEMU_SOURCE, SLIRP_SOURCE  directories with the sources, instead of the distribution's newest (apt-get source)
#   WORK                       a directory for sources and objects, kept for the next time
#
# The same sources give the same bytes, wherever they lie: no path and no time of the build is in the tree. The system's lists of packages
# are left alone: apt works on copies. A tree that was made of this recipe is left alone, too; to take newer sources, remove it.
set -eu
config=testdata/qemu/config
out=build/qemu
recipe="$(cat $config "$0" | sha256sum) ${QEMU_SOURCE-} ${SLIRP_SOURCE-}"
[ "$(cat $out.recipe 2>/dev/null)" != "$recipe" ] || exit 0

libraries="libc6-dev libglib2.0-dev libpcre2-dev libpixman-1-dev libfdt-dev zlib1g-dev libseccomp-dev" # what is linked
# shellcheck disable=SC2086 # lists of words
sh testdata/apt.sh gcc libc6-dev make dpkg-dev pkg-config python3 meson ninja-build $libraries

top=$PWD
if [ -n "${WORK-}" ]; then
	mkdir -p "$WORK"
	work=$(cd "$WORK" && pwd -P)
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
fi
umask 022
export LC_ALL=C TZ=UTC

# fetch PROGRAM ARGUMENT...: apt with the host's sources, and those of their sources, but lists and a cache of its own.
fetch() {
	apt="-qq -o Dir::State=$work/apt -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache=$work/apt/cache -o Dir::Etc::sourcelist=$work/apt/list
		-o Dir::Etc::sourceparts=$work/apt/parts -o APT::Sandbox::User=root -o Acquire::Languages=none"
	if [ ! -e "$work/apt/done" ]; then
		mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/parts"
		cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | sed -n 's/^deb[[:space:]]\(.*\)/deb \1\ndeb-src \1/p' >"$work/apt/list"
		for file in /etc/apt/sources.list.d/*.sources; do
			[ ! -e "$file" ] || sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$work/apt/parts/${file##*/}"
		done
		# shellcheck disable=SC2086 # a list of words
		apt-get $apt update
		: >"$work/apt/done"
	fi
	program=$1
	shift
	# shellcheck disable=SC2086 # a list of words
	"$program" $apt "$@"
}

# source_of NAME DIRECTORY: the sources of a package in $work/NAME, copied from DIRECTORY, or the distribution's.
source_of() {
	[ ! -e "$work/$1" ] || return 0
	if [ -n "$2" ]; then
		cp -a "$2" "$work/$1"
	else
		mkdir -p "$work/fetched"
		(cd "$work/fetched" && fetch apt-get source "$1" >/dev/null)
		mv "$work/fetched/$1"-*/ "$work/$1"
	fi
}

# version NAME: the distribution's, or what the sources call themselves.
version() {
	if [ -e "$work/$1/debian/changelog" ]; then
		dpkg-parsechangelog -l "$work/$1/debian/changelog" -S Version
	else
		cat "$work/$1/VERSION" "$work/$1/.tarball-version" 2>/dev/null || echo unknown
	fi
}

# words PATTERN: of the configuration, without the reasons.
words() {
	sed 's/[[:space:]]*#.*//' $config | grep -e "$1" | tr '\n' ' '
}

source_of qemu "${QEMU_SOURCE-}"
source_of libslirp "${SLIRP_SOURCE-}"
if [ -e "$work/qemu/debian/changelog" ]; then
	epoch=$(dpkg-parsechangelog -l "$work/qemu/debian/changelog" -S Timestamp)
else
	epoch=$(stat -c %Y "$work/qemu/VERSION")
fi
export SOURCE_DATE_EPOCH="$epoch"

cflags="$(words '^-[^-]' | sed 's/-Wl,[^ ]*//g') -ffile-prefix-map=$work=."
ldflags=$(words '^-Wl,')
pie=
[ -z "$(words '^--enable-pie')" ] || pie=-fPIE
jobs=${JOBS:-$(nproc)}

# libslirp: the distribution has no static one.
if [ ! -e "$work/slirp/lib/pkgconfig/slirp.pc" ]; then
	CFLAGS="$cflags $pie" meson setup -Dbuildtype=plain -Ddefault_library=static --prefix="$work/slirp" --libdir=lib "$work/slirp-objects" "$work/libslirp" >"$work/slirp.log" &&
		ninja -C "$work/slirp-objects" -j "$jobs" install >>"$work/slirp.log" || { tail -n 30 "$work/slirp.log" >&2; exit 1; }
fi

# QEMU
words '^CONFIG_' | tr ' ' '\n' >"$work/qemu/configs/devices/x86_64-softmmu/runh.mak"
mkdir -p "$work/objects"
cd "$work/objects"
# shellcheck disable=SC2046 # lists of words
PKG_CONFIG_PATH="$work/slirp/lib/pkgconfig" ../qemu/configure --prefix=/usr --with-devices-x86_64=runh --with-pkgversion="runh, of $(version qemu)" \
	--extra-cflags="$cflags" --extra-ldflags="$ldflags" $(cd "$top" && words '^--') >"$work/qemu.log" &&
	ninja -j "$jobs" qemu-system-x86_64 >>"$work/qemu.log" || { tail -n 30 "$work/qemu.log" >&2; exit 1; }
cd "$top"

# The tree
tree=$work/tree
rm -rf "$tree"
mkdir -p "$tree/usr/bin" "$tree/usr/share/qemu" "$tree/licences"
strip -o "$tree/usr/bin/qemu-system-x86_64" "$work/objects/qemu-system-x86_64"
chmod 755 "$tree/usr/bin/qemu-system-x86_64"
{
	echo "qemu $(version qemu)"
	echo "libslirp $(version libslirp)"
	# shellcheck disable=SC2086 # a list of words
	dpkg-query -W -f '${source:Package} ${source:Version}\n' $libraries
} >"$tree/licences/sources"
cp "$work/qemu/LICENSE" "$tree/licences/qemu"
cp "$work/qemu/COPYING" "$tree/licences/GPL-2"
cp "$work/qemu/COPYING.LIB" "$tree/licences/LGPL-2.1"
cp "$work/libslirp/COPYRIGHT" "$tree/licences/libslirp"
for library in $libraries; do
	cp "/usr/share/doc/$library/copyright" "$tree/licences/$library"
done

# Firmware: of the sources, where they have it built, or of the distribution's packages. vm_files.go has the same list.
firmware=$work/qemu/pc-bios
if [ ! -e "$firmware/qboot.rom" ]; then
	firmware=$work/firmware
	mkdir -p "$work/packages" "$firmware"
	[ -n "$(ls "$work/packages")" ] || (cd "$work/packages" && fetch apt-get download qemu-system-data seabios)
	for package in "$work"/packages/*.deb; do
		name=$(dpkg-deb -f "$package" Package)
		dpkg-deb -x "$package" "$firmware/$name"
		echo "$name $(dpkg-deb -f "$package" Version)" >>"$tree/licences/sources"
		cp "$firmware/$name/usr/share/doc/$name/copyright" "$tree/licences/$name"
	done
	cp /usr/share/common-licenses/LGPL-3 /usr/share/common-licenses/GPL-3 "$tree/licences" # SeaBIOS
fi
for name in qboot.rom bios-256k.bin kvmvapic.bin multiboot_dma.bin pvh.bin; do
	file=$(find "$firmware" -name $name -size +0 -type f | head -n 1)
	[ -n "$file" ] || { echo "make qemu: no firmware $name" >&2; exit 1; }
	cp "$file" "$tree/usr/share/qemu/$name"
done

# The stamp that tells runh what this is, and that all of it is there (vm_files_stamp.go).
find "$tree" -type f -exec chmod u=rwX,go=rX {} +
find "$tree" -exec touch -d "@$epoch" {} +
{
	echo "qemu $(version qemu)"
	sha256sum <"$tree/usr/bin/qemu-system-x86_64" | cut -d ' ' -f 1
	find "$tree" -type f -printf "%M/%s/${epoch}000000000 %P\n" | sort -k 2
} >"$work/stamp"
mv "$work/stamp" "$tree/.runh-env"
touch -d "@$epoch" "$tree/.runh-env" "$tree"

rm -rf $out $out.recipe
mkdir -p build
cp -a "$tree" $out
echo "$recipe" >$out.recipe
echo "make qemu: $out, of QEMU $(version qemu), $(du -sb $out/usr | cut -f 1) bytes without the licences"
