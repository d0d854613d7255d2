#!/bin/sh
# make deps: Debian's cloud kernel for the tests' virtual machines (runtime_vm_test.go), taken out of its package into build/vm,
# with the modules that tests use. It is not installed: this machine keeps the kernel that it has.
set -eu
dir=build/vm
[ ! -e $dir/vmlinuz ] || exit 0

package() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1; }
kernel=$(package)
if [ -z "$kernel" ]; then
	apt-get update -qq
	kernel=$(package)
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
(cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "$kernel" >/dev/null && dpkg-deb -x ./*.deb .)
mkdir -p $dir
for module in bfq brd loop overlay veth; do
	find "$tmp/lib/modules" "$tmp/usr/lib/modules" -name "$module.ko*" -exec cp {} $dir ';' 2>/dev/null || true
done
cp "$tmp"/boot/vmlinuz-* $dir/vmlinuz
echo "make deps: unpacked $kernel into $dir"
