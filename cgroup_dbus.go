// A client of systemd's D-Bus interface, as large as the cgroup driver needs
// it: connect, call a method, wait for a job (org.freedesktop.systemd1(5)).
//
// Contract: one connection, used by one goroutine; nothing is subscribed to but
// the ends of jobs. A systemd that does not answer is an error after 30
// seconds. No library: godbus would cost every command some of its start, though
// nearly none talks to systemd.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	systemdName    = "org.freedesktop.systemd1"
	systemdObject  = dbusPath("/org/freedesktop/systemd1")
	systemdManager = systemdName + ".Manager"
	dbusTimeout    = 30 // seconds
)

// A systemdConn is a connection to the manager of the system, or of a user.
type systemdConn struct {
	fd      int
	onBus   bool // through a message bus; else to the manager itself
	serial  uint32
	removed map[string]string // results of the jobs that have ended
}

// A dbusFailure is the answer to a call that failed.
type dbusFailure struct{ name, text string }

func (e *dbusFailure) Error() string { return e.text }

// dialSystemd connects to the manager's own socket, which is for root and the
// manager's user, or else by the message bus.
func dialSystemd(user bool) (*systemdConn, error) {
	var errs []error
	for _, a := range systemdAddresses(user) {
		c, err := dialDBus(a.socket)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.socket, err))
			continue
		}
		if a.onBus {
			c.onBus = true
			err = c.joinBus()
		}
		if err == nil {
			return c, nil
		}
		c.close()
		errs = append(errs, fmt.Errorf("%s: %w", a.socket, err))
	}
	if len(errs) == 0 {
		return nil, errors.New("systemd of the user is not to be found: XDG_RUNTIME_DIR is not set")
	}
	var text []string
	for _, e := range errs {
		text = append(text, e.Error())
	}
	return nil, fmt.Errorf("systemd cannot be reached: %s", strings.Join(text, "; "))
}

type dbusAddress struct {
	socket string
	onBus  bool
}

func systemdAddresses(user bool) []dbusAddress {
	if !user {
		return []dbusAddress{{"/run/systemd/private", false}, {"/run/dbus/system_bus_socket", true}}
	}
	var all []dbusAddress
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir != "" {
		all = append(all, dbusAddress{dir + "/systemd/private", false})
	}
	if bus, ok := strings.CutPrefix(os.Getenv("DBUS_SESSION_BUS_ADDRESS"), "unix:path="); ok {
		bus, _, _ = strings.Cut(bus, ",")
		all = append(all, dbusAddress{bus, true})
	} else if dir != "" {
		all = append(all, dbusAddress{dir + "/bus", true})
	}
	return all
}

// dialDBus connects and says who we are: nothing, so that the other side takes
// the kernel's word. A user id would be wrong in a user namespace.
func dialDBus(socket string) (*systemdConn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &systemdConn{fd: fd, removed: map[string]string{}}
	wait := unix.Timeval{Sec: dbusTimeout}
	for _, err := range []error{
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait),
		unix.Connect(fd, &unix.SockaddrUnix{Name: socket}),
	} {
		if err != nil {
			c.close()
			return nil, err
		}
	}
	if err := c.authenticate(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *systemdConn) close() { unix.Close(c.fd) }

// countsElsewhere: the manager is outside of our pid namespace. A pid of ours
// is another process's there.
func (c *systemdConn) countsElsewhere() bool {
	peer, err := unix.GetsockoptUcred(c.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && peer.Pid == 0
}

func (c *systemdConn) authenticate() error {
	if err := c.write([]byte("\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")); err != nil {
		return err
	}
	// Two lines: "DATA", and "OK" with the server's name. Messages follow only
	// what we ask next.
	var answer []byte
	for bytes.Count(answer, []byte("\r\n")) < 2 {
		var b [1]byte
		if err := c.read(b[:]); err != nil {
			return err
		}
		if answer = append(answer, b[0]); len(answer) > 512 || bytes.HasPrefix(answer, []byte("REJECTED")) {
			break
		}
	}
	if !bytes.HasPrefix(answer, []byte("DATA\r\nOK ")) {
		return fmt.Errorf("D-Bus: not let in: %.64q", answer)
	}
	return nil
}

// joinBus introduces us to the message bus, and asks for the ends of jobs. The
// manager's own socket brings them unasked.
func (c *systemdConn) joinBus() error {
	const bus, object = "org.freedesktop.DBus", dbusPath("/org/freedesktop/DBus")
	if _, err := c.call(bus, object, bus, "Hello"); err != nil {
		return err
	}
	_, err := c.call(bus, object, bus, "AddMatch", "type='signal',sender='"+systemdName+"',interface='"+systemdManager+"',member='JobRemoved'")
	return err
}

func (c *systemdConn) write(data []byte) error {
	for len(data) > 0 {
		n, err := unix.SendmsgN(c.fd, data, nil, nil, unix.MSG_NOSIGNAL)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return fmt.Errorf("no answer within %d s", dbusTimeout)
		default:
			return os.NewSyscallError("write", err)
		}
		data = data[n:]
	}
	return nil
}

func (c *systemdConn) read(data []byte) error {
	for len(data) > 0 {
		n, err := unix.Read(c.fd, data)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return fmt.Errorf("no answer within %d s", dbusTimeout)
		case err != nil:
			return os.NewSyscallError("read", err)
		case n == 0:
			return errors.New("the connection was closed")
		}
		data = data[n:]
	}
	return nil
}

// receive reads the next message. The end of a job is noted, too.
func (c *systemdConn) receive() (*dbusMessage, error) {
	data := make([]byte, 16, 512)
	if err := c.read(data); err != nil {
		return nil, err
	}
	size, err := dbusSize(data)
	if err != nil {
		return nil, err
	}
	data = append(data, make([]byte, size-16)...)
	if err := c.read(data[16:]); err != nil {
		return nil, err
	}
	m, err := parseDBus(data)
	if err == nil && m.kind == dbusSignal && m.member == "JobRemoved" {
		// The job's number, its object, the unit, the result.
		m.body.uint32()
		job, _, result := m.body.string(), m.body.string(), m.body.string()
		c.removed[job] = result
	}
	return m, err
}

// call returns the body of the answer.
func (c *systemdConn) call(name string, object dbusPath, iface, member string, args ...any) (*dbusReader, error) {
	c.serial++
	if !c.onBus {
		name = ""
	}
	if err := c.write(dbusRequest(c.serial, name, object, iface, member, args...)); err != nil {
		return nil, fmt.Errorf("%s: %w", member, err)
	}
	for {
		m, err := c.receive()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", member, err)
		case m.replyTo != c.serial:
		case m.kind == dbusReturn:
			return &m.body, nil
		case m.kind == dbusError:
			text := m.body.string()
			if text == "" {
				text = m.problem
			}
			return nil, &dbusFailure{m.problem, text}
		}
	}
}

// manager calls a method of the manager that returns nothing of interest.
func (c *systemdConn) manager(member string, args ...any) error {
	_, err := c.call(systemdName, systemdObject, systemdManager, member, args...)
	return err
}

// job calls a method of the manager that starts a job, and waits for its end.
func (c *systemdConn) job(member string, args ...any) error {
	body, err := c.call(systemdName, systemdObject, systemdManager, member, args...)
	if err != nil {
		return err
	}
	job := body.string()
	for {
		if result, ended := c.removed[job]; ended {
			if result != "done" {
				return fmt.Errorf("%s: the job ended with %q", member, result)
			}
			return nil
		}
		if _, err := c.receive(); err != nil {
			return fmt.Errorf("%s: %w", member, err)
		}
	}
}

// property reads a text that the manager knows of itself.
func (c *systemdConn) property(name string) (string, error) {
	body, err := c.call(systemdName, systemdObject, "org.freedesktop.DBus.Properties", "Get", systemdManager, name)
	if err != nil {
		return "", fmt.Errorf("systemd's %s: %w", name, err)
	}
	if types := body.signature(); types != "s" {
		return "", fmt.Errorf("systemd's %s is of type %q", name, types)
	}
	return body.string(), nil
}
