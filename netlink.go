// Rtnetlink: the few messages that move a network device and its addresses from
// one network namespace to another (rtnetlink(7)). net_device.go says when.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// links is a connection to the network of one namespace.
type links struct{ *netlink.Conn }

// dialLinks connects to the namespace of a descriptor; 0 is our own.
func dialLinks(ns int) (links, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: ns})
	if err != nil {
		return links{}, fmt.Errorf("netlink: %w", err)
	}
	return links{conn}, nil
}

// netlinkError is the kernel's answer without the names of the library.
func netlinkError(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func (l links) execute(kind netlink.HeaderType, flags netlink.HeaderFlags, header []byte, attrs ...netlink.Attribute) ([]netlink.Message, error) {
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return nil, err
	}
	answer, err := l.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | flags},
		Data:   append(header, data...),
	})
	return answer, netlinkError(err)
}

// linkHeader is struct ifinfomsg.
func linkHeader(index int32, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

func nameAttribute(name string) netlink.Attribute {
	return netlink.Attribute{Type: unix.IFLA_IFNAME, Data: append([]byte(name), 0)}
}

// link is a device's index.
func (l links) link(name string) (int32, error) {
	found, err := l.execute(unix.RTM_GETLINK, 0, linkHeader(0, 0, 0), nameAttribute(name))
	if err != nil {
		return 0, err
	}
	for _, m := range found {
		if len(m.Data) >= unix.SizeofIfInfomsg {
			return int32(binary.NativeEndian.Uint32(m.Data[4:])), nil
		}
	}
	return 0, unix.ENODEV
}

// list is all devices: their names by index.
func (l links) list() (map[int32]string, error) {
	found, err := l.execute(unix.RTM_GETLINK, netlink.Dump, linkHeader(0, 0, 0))
	if err != nil {
		return nil, err
	}
	names := map[int32]string{}
	for _, m := range found {
		if len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		attrs, err := netlink.UnmarshalAttributes(m.Data[unix.SizeofIfInfomsg:])
		if err != nil {
			return nil, err
		}
		for _, a := range attrs {
			if a.Type == unix.IFLA_IFNAME {
				names[int32(binary.NativeEndian.Uint32(m.Data[4:]))] = string(bytes.TrimRight(a.Data, "\x00"))
			}
		}
	}
	return names, nil
}

// move gives a device to the namespace of a descriptor, under a name. The name
// may be a template ("eth%d").
func (l links) move(index int32, ns int, name string) error {
	fd := binary.NativeEndian.AppendUint32(nil, uint32(ns))
	_, err := l.execute(unix.RTM_NEWLINK, netlink.Acknowledge, linkHeader(index, 0, 0),
		netlink.Attribute{Type: unix.IFLA_NET_NS_FD, Data: fd}, nameAttribute(name))
	return err
}

func (l links) up(index int32) error {
	_, err := l.execute(unix.RTM_NEWLINK, netlink.Acknowledge, linkHeader(index, unix.IFF_UP, unix.IFF_UP))
	return err
}

// linkAddress is an address as the kernel lists it, and takes it back.
type linkAddress struct {
	header [unix.SizeofIfAddrmsg]byte
	attrs  []netlink.Attribute
}

// addresses are those of a device that somebody gave it for good: permanent,
// and of global scope.
func (l links) addresses(index int32) ([]linkAddress, error) {
	found, err := l.execute(unix.RTM_GETADDR, netlink.Dump, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, err
	}
	var list []linkAddress
	for _, m := range found {
		if len(m.Data) < unix.SizeofIfAddrmsg {
			continue
		}
		var a linkAddress
		copy(a.header[:], m.Data)
		if int32(binary.NativeEndian.Uint32(a.header[4:])) != index || a.header[3] != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		attrs, err := netlink.UnmarshalAttributes(m.Data[unix.SizeofIfAddrmsg:])
		if err != nil {
			return nil, err
		}
		flags := uint32(a.header[2])
		for _, attr := range attrs {
			switch attr.Type {
			case unix.IFA_FLAGS:
				flags = binary.NativeEndian.Uint32(attr.Data)
			case unix.IFA_LOCAL, unix.IFA_ADDRESS, unix.IFA_BROADCAST, unix.IFA_RT_PRIORITY:
				a.attrs = append(a.attrs, attr)
			}
		}
		if flags&unix.IFA_F_PERMANENT == 0 {
			continue
		}
		// Of the flags, those that are a wish and not a condition.
		flags &= unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN
		a.attrs = append(a.attrs, netlink.Attribute{Type: unix.IFA_FLAGS, Data: binary.NativeEndian.AppendUint32(nil, flags)})
		a.header[2] = 0
		list = append(list, a)
	}
	return list, nil
}

func (l links) addAddress(index int32, a linkAddress) error {
	binary.NativeEndian.PutUint32(a.header[4:], uint32(index))
	_, err := l.execute(unix.RTM_NEWADDR, netlink.Acknowledge|netlink.Create|netlink.Replace, a.header[:], a.attrs...)
	return err
}
