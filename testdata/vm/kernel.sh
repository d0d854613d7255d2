#!/bin/sh
# make deps: Debian's cloud kernel for the tests' virtual machines (runtime_vm_test.go), taken out of its package into build/vm,
# with the modules that tests use. It is not installed: this machine keeps the kernel that it has.
set -eu
dir=build/vm
modules="bfq brd loop overlay veth tap vhost_iotlb vhost vhost_net irqbypass kvm kvm-amd ipvlan
	unix_diag inet_diag tcp_diag udp_diag raw_diag netlink_diag af_packet_diag libcrc32c
	nfnetlink nf_tables nf_defrag_ipv4 nf_defrag_ipv6 nf_conntrack nf_conntrack_netlink x_tables nft_compat xt_mark
	llc stp bridge tun nft_ct nf_dup_netdev nft_fwd_netdev nf_socket_ipv4 nf_socket_ipv6 nft_socket nf_nat nft_nat nft_masq nft_chain_nat nft_fib nft_fib_ipv4 nft_fib_ipv6 nft_fib_inet nf_dup_ipv4 nft_dup_ipv4"
[ "$(cat $dir/list 2>/dev/null)" != "$modules" ] || exit 0

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
for module in $modules; do
	find "$tmp/lib/modules" "$tmp/usr/lib/modules" -name "$module.ko*" -exec cp {} $dir ';' 2>/dev/null || true
done
cp "$tmp"/boot/vmlinuz-* $dir/vmlinuz
echo "$modules" >$dir/list
echo "make deps: unpacked $kernel into $dir"
