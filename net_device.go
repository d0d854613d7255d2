// linux.netDevices: devices of the host's network that become the container's
// (runtime-spec, config-linux.md, "Network Devices").

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// moveDevice moves one device between two namespaces (0: ours) with its
// addresses, which the kernel does not move, and sets it up there. The result
// is its name there.
func moveDevice(from, to int, name, wanted string) (became string, err error) {
	here, err := dialLinks(from)
	if err != nil {
		return "", err
	}
	defer here.Close()
	there, err := dialLinks(to)
	if err != nil {
		return "", err
	}
	defer there.Close()
	index, err := here.link(name)
	if err != nil {
		return "", fmt.Errorf("find it: %w", err)
	}
	// Before anything sets it down: that takes IPv6 addresses away.
	addresses, err := here.addresses(index)
	if err != nil {
		return "", fmt.Errorf("list its addresses: %w", err)
	}
	// The kernel would move it first, and then find the name taken.
	if _, err := there.link(wanted); err == nil {
		return "", fmt.Errorf("the container has a device %s already", wanted)
	}
	before, err := there.list()
	if err != nil {
		return "", fmt.Errorf("list the container's devices: %w", err)
	}
	if err := here.move(index, to, wanted); err != nil {
		return "", fmt.Errorf("move it: %w", err)
	}
	after, err := there.list()
	if err != nil {
		return "", fmt.Errorf("list the container's devices: %w", err)
	}
	// Its number, and a name made from a template, are the kernel's choice.
	index = 0
	for i, n := range after {
		if _, old := before[i]; !old && (n == wanted || strings.Contains(wanted, "%d")) {
			index, became = i, n
		}
	}
	if index == 0 {
		return "", errors.New("it is not in the container's network after the move")
	}
	for _, a := range addresses {
		if err := there.addAddress(index, a); err != nil {
			return "", fmt.Errorf("give it its address back: %w", err)
		}
	}
	if err := there.up(index); err != nil {
		return "", fmt.Errorf("set it up: %w", err)
	}
	return became, nil
}

// checkNetDevices: names that the kernel would take, and a network of the
// container's own to put them.
func checkNetDevices(s *specs.Spec) error {
	taken := map[string]string{}
	for name, d := range s.Linux.NetDevices {
		if !hasNamespace(s, specs.NetworkNamespace) {
			return fmt.Errorf("linux.netDevices: %s needs a network namespace to be moved to", name)
		}
		inside := firstWord(d.Name, name)
		plain := strings.Replace(inside, "%d", "", 1)
		switch {
		case !validDeviceName(name):
			return fmt.Errorf("linux.netDevices: %q is not the name of a network device", name)
		case !validDeviceName(inside) || strings.Contains(plain, "%"):
			return fmt.Errorf("linux.netDevices: %s: %q is not a name for a network device", name, inside)
		case plain == inside && taken[inside] != "":
			return fmt.Errorf("linux.netDevices: %s and %s are both to be called %s", min(name, taken[inside]), max(name, taken[inside]), inside)
		}
		taken[inside] = name
	}
	return nil
}

// validDeviceName is the kernel's dev_valid_name.
func validDeviceName(name string) bool {
	return name != "" && len(name) < unix.IFNAMSIZ && name != "." && name != ".." && !strings.ContainsAny(name, "/: \t\n\v\f\r\x00\u0085\u00a0")
}
