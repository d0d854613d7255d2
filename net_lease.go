// Leases: what a guest is told of its network, by boot arguments and by DHCP (net_dhcp.go), because images built with
// Hermit's default features listen to nothing else. They are made of the namespace's interface and the container's
// resolv.conf.

package main

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// lease is in words, as the boot arguments have it, and the record. It is nobody's but our own.
type lease struct {
	MAC     string   `json:"mac"`
	IP      string   `json:"ip"`
	Bits    int      `json:"bits"`
	Gateway string   `json:"gateway,omitempty"` // "": nothing is reached but what is on the link
	DNS     []string `json:"dns,omitempty"`
	MTU     int      `json:"mtu"`
}

const (
	ethernetMTU = 1500  // what a Hermit kernel takes for granted
	minMTU      = 68    // IPv4's (RFC 791)
	maxMTU      = 65521 // a tap's: 65535 less the Ethernet header
)

func (l *lease) mask() string {
	m := ^uint32(0) << (32 - l.Bits)
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}

// bootWords are the lease on a kernel's command line. Variables are for kernels since 0.10. One that asks by DHCP hears all
// but the MTU there; it takes the words for a mistake, and warns about them at each boot.
func (l *lease) bootWords(variables, dhcp bool) []string {
	var w []string
	if variables {
		for i, server := range l.DNS {
			if !dhcp {
				w = append(w, "env=HERMIT_DNS"+strconv.Itoa(i+1)+"="+server)
			}
		}
		if l.MTU != ethernetMTU {
			w = append(w, "env=HERMIT_MTU="+strconv.Itoa(l.MTU))
		}
	}
	if dhcp {
		return w
	}
	w = append(w, "-ip", l.IP)
	if l.Gateway != "" {
		w = append(w, "-gateway", l.Gateway)
	}
	return append(w, "-mask", l.mask())
}

// longestLease has the longest bootWords.
var longestLease = lease{MAC: "ff:ff:ff:ff:ff:ff", IP: "255.255.255.255", Gateway: "255.255.255.255", DNS: []string{"255.255.255.255", "255.255.255.255"}, MTU: maxMTU}

// stableMAC is a container's own: the same each time it starts, and unlike others' but for one chance
// in 2^40. 02: locally administered.
func stableMAC(root, id string) string {
	h := fnv.New64a()
	h.Write([]byte(root + "\x00" + id))
	return macText(append([]byte{2}, h.Sum(nil)[:5]...))
}

func macText(b []byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
}

// resolver is what the container's resolv.conf says.
type resolver struct {
	servers  []netip.Addr // the first two of IPv4
	loopback netip.Addr   // the first that only the namespace's own processes reach, as Docker's is
}

// readResolver reads it beneath the container's root, whose files are the image's.
func readResolver(root int) resolver {
	f, _, err := openInRoot(root, "etc/resolv.conf")
	if err != nil {
		return resolver{}
	}
	defer f.Close()
	return parseResolver(io.LimitReader(f, 64<<10))
}

// parseResolver: resolv.conf(5). What is no address of IPv4 is of no use to a guest.
func parseResolver(r io.Reader) (found resolver) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		ip, err := netip.ParseAddr(f[1])
		switch {
		case err != nil || !ip.Is4() || ip.IsUnspecified():
		case ip.IsLoopback():
			if !found.loopback.IsValid() {
				found.loopback = ip
			}
		case len(found.servers) < 2:
			found.servers = append(found.servers, ip)
		}
	}
	return found
}

// names are the servers as a lease has them, with one in front that stands for the loopback's.
func (r *resolver) names(standIn string) []string {
	var list []string
	if r.loopback.IsValid() && standIn != "" {
		list = append(list, standIn)
	}
	for _, s := range r.servers {
		list = append(list, s.String())
	}
	return list[:min(len(list), 2)]
}
