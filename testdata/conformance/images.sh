#!/bin/sh
# images.sh DIR: the two root file systems that runc's suite unpacks, busybox-amd64.tar.xz and debian-amd64.tar.xz. The suite would
# download them; these are made of this host's own packages. (tar knows what it reads, whatever the name says.)
set -eu
out=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

busybox=$dir/busybox
mkdir -p "$busybox/bin" "$busybox/etc" "$busybox/dev" "$busybox/home" "$busybox/root" "$busybox/tmp" \
	"$busybox/usr/bin" "$busybox/usr/sbin" "$busybox/var/spool/mail" "$busybox/var/www"
chmod 1777 "$busybox/tmp"
chmod 700 "$busybox/root"
cp /bin/busybox "$busybox/bin/busybox"
for applet in $(/bin/busybox --list); do
	[ "$applet" = busybox ] || ln "$busybox/bin/busybox" "$busybox/bin/$applet"
done
cat >"$busybox/etc/passwd" <<-'END'
	root:x:0:0:root:/root:/bin/sh
	daemon:x:1:1:daemon:/usr/sbin:/bin/false
	www-data:x:33:33:www-data:/var/www:/bin/false
	nobody:x:65534:65534:nobody:/home:/bin/false
END
cat >"$busybox/etc/group" <<-'END'
	root:x:0:
	daemon:x:1:
	tty:x:5:
	www-data:x:33:
	users:x:100:
	nobody:x:65534:
END
tar -C "$busybox" -cf "$out/busybox-amd64.tar.xz" .

# The packages that the tests run something of, and the libraries that these need, without their documentation.
packages="base-files dash bash coreutils util-linux util-linux-extra mount grep sed findutils hostname libc-bin"
libraries() {
	dpkg-query -W -f '${Depends}, ${Pre-Depends}\n' "$@" 2>/dev/null | tr ',|' '\n\n' | sed 's/(.*//; s/:any//; s/ //g' | grep '^lib' | sort -u
}
# shellcheck disable=SC2046,SC2086 # lists of words
direct=$(libraries $packages)
# shellcheck disable=SC2046,SC2086
packages="$packages $direct $(libraries $direct)"
debian=$dir/debian
mkdir -p "$debian/usr"
for d in bin sbin lib lib64; do
	mkdir "$debian/usr/$d"
	ln -s "usr/$d" "$debian/$d"
done
# shellcheck disable=SC2086
dpkg-query -L $packages 2>/dev/null | grep -Ev '^/(usr/share|usr/lib/[^/]*/(gconv|audit)|\.$)' | sort -u |
	tar -C / --no-recursion --ignore-failed-read -cf - -T - 2>/dev/null | tar -C "$debian" --keep-directory-symlink -xf -
chroot "$debian" /bin/sh -c 'ls / >/dev/null'
tar -C "$debian" -cf "$out/debian-amd64.tar.xz" .
