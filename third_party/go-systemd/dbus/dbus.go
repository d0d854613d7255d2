// Package dbus stands in for go-systemd's, of which opencontainers/cgroups
// names one type, in a field that only its systemd driver reads. runh does not
// use that driver. The real package would bring godbus, and with it the net and
// crypto packages: 0.7 MB of binary, and 0.2 ms at every start.
package dbus

// Property of a systemd unit.
type Property struct {
	Name  string
	Value any
}
