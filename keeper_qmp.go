// QMP, QEMU's control protocol: JSON objects, one a line, over a connected socket.
//
// Contract: no allocation beyond a fixed buffer, and any bytes at all may come from the other side,
// which is as trustworthy as the guest. Who owns the socket polls it; nothing here blocks.

package main

import (
	"bytes"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The commands that runh uses.
const (
	qmpCapabilities = "qmp_capabilities" // ends the greeting; before it, no other is taken
	qmpCont         = "cont"
	qmpStop         = "stop"
	qmpQuit         = "quit"
	qmpPowerdown    = "system_powerdown" // presses the power button

	// Asks for the machine's PM1 enable register: both pc and q35 have it there, set up by SeaBIOS.
	qmpAskButton = `human-monitor-command","arguments":{"command-line":"i /h 0x602"},"id":"`
)

// buttonHeeded reads the answer, "portw[0x0602] = 0x0100\r\n" as a JSON string. PWRBTN_EN (ACPI 6.5,
// 4.8.3.1.2) is set by a kernel that wants to hear of the button.
func buttonHeeded(value []byte) bool {
	_, number, found := bytes.Cut(value, []byte("= 0x"))
	if !found || len(number) < 4 {
		return false
	}
	return number[1] >= '0' && number[1] <= '9' && number[1]&1 != 0 || number[1] >= 'a' && number[1] <= 'f' && number[1]&1 == 0
}

// qmpMessage is one line from QEMU, as far as it concerns us. The bytes are valid until the next read.
type qmpMessage struct {
	kind   byte   // 'g'reeting, 'r'eturn, 'e'rror, e'v'ent, 0 for none of these
	event  []byte // name of the event
	reason []byte // of a SHUTDOWN event
	status []byte // of a MIGRATION event
	desc   []byte // of an error
	value  []byte // of a return
}

// qmpClient is our end of the socket.
type qmpClient struct {
	fd   int
	n    int  // bytes in buf
	skip bool // in a line longer than buf
	pid  int  // of the other side, as the kernel says with the first message; 0: unknown
	met  bool // that message has come
	pass int  // descriptor that goes with the next command, 0: none
	buf  [4096]byte
}

// send writes a command. The socket's buffer holds many of them, so a QEMU that does not take one is
// broken, and the error says no more than that.
func (q *qmpClient) send(command string) error {
	var b [128]byte
	line := append(b[:0], `{"execute":"`...)
	line = append(line, command...)
	line = append(line, "\"}\n"...)
	var rights []byte
	if q.pass > 0 {
		rights = unix.UnixRights(q.pass)
		q.pass = 0
	}
	return unix.Sendmsg(q.fd, line, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// read takes what has come and calls f for every line. It returns false once the other side is gone.
func (q *qmpClient) read(f func(m qmpMessage)) bool {
	for {
		n, err := q.receive(q.buf[q.n:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return true
		case err != nil || n <= 0: // ECONNRESET too: QEMU ended with something of ours unread
			return false
		}
		q.n += n
		q.lines(f)
	}
}

// receive is read(2). Where the socket has SO_PASSCRED (vm_jail.go), the first message brings the sender's pid.
func (q *qmpClient) receive(b []byte) (int, error) {
	if q.met {
		return unix.Read(q.fd, b)
	}
	var control [64]byte
	n, controlLen, _, _, err := unix.Recvmsg(q.fd, b, control[:], unix.MSG_CMSG_CLOEXEC)
	if err != nil || n <= 0 {
		return n, err
	}
	q.met = true
	if controlLen >= unix.CmsgLen(unix.SizeofUcred) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_CREDENTIALS {
			q.pid = int((*unix.Ucred)(unsafe.Pointer(&control[unix.CmsgLen(0)])).Pid)
		}
	}
	return n, nil
}

func (q *qmpClient) lines(f func(m qmpMessage)) {
	b := q.buf[:q.n]
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		if !q.skip {
			f(parseQMP(b[:i]))
		}
		q.skip = false
		b = b[i+1:]
	}
	if len(b) == len(q.buf) {
		q.skip, b = true, nil
	}
	q.n = copy(q.buf[:], b)
}

func parseQMP(line []byte) (m qmpMessage) {
	if _, ok := jsonMember(line, "QMP"); ok {
		m.kind = 'g'
	} else if v, ok := jsonMember(line, "return"); ok {
		m.kind, m.value = 'r', v
	} else if v, ok := jsonMember(line, "error"); ok {
		m.kind = 'e'
		m.desc, _ = jsonMember(v, "desc")
		m.desc = bytes.Trim(m.desc, `"`)
	} else if v, ok := jsonMember(line, "event"); ok {
		m.kind = 'v'
		m.event = bytes.Trim(v, `"`)
		data, _ := jsonMember(line, "data")
		switch string(m.event) {
		case "SHUTDOWN":
			v, _ = jsonMember(data, "reason")
			m.reason = bytes.Trim(v, `"`)
		case "MIGRATION":
			v, _ = jsonMember(data, "status")
			m.status = bytes.Trim(v, `"`)
		}
	}
	return m
}

// jsonMember finds the member called name of the object b, and returns its value as it stands there.
// It is no judge of JSON: of a text that is not, it finds something or nothing. encoding/json would
// cost the keeper half a megabyte.
func jsonMember(b []byte, name string) ([]byte, bool) {
	i := bytes.IndexByte(b, '{') + 1
	if i == 0 {
		return nil, false
	}
	for {
		i = jsonSpace(b, i)
		start := i
		if i = jsonValue(b, i); i <= start {
			return nil, false
		}
		key := b[start:i]
		i = jsonSpace(b, i)
		if i >= len(b) || b[i] != ':' {
			return nil, false
		}
		start = jsonSpace(b, i+1)
		if i = jsonValue(b, start); i <= start {
			return nil, false
		}
		if len(key) == len(name)+2 && key[0] == '"' && string(key[1:len(key)-1]) == name {
			return b[start:i], true
		}
		i = jsonSpace(b, i)
		if i >= len(b) || b[i] != ',' {
			return nil, false
		}
		i++
	}
}

func jsonSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// jsonValue returns the end of the value that begins at i.
func jsonValue(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if i >= len(b) {
				return len(b)
			}
			i++
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			i++
			continue
		default:
			for i < len(b) && strings.IndexByte(",:{}[]\" \t\r\n", b[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return i
}
