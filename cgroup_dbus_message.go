// The D-Bus messages that runh exchanges with systemd (D-Bus Specification,
// "Message Protocol"): how values become bytes, and the few that come back.
//
// Contract: pure. Only the types that units have are written, only strings and
// 32-bit numbers are read. A message that is not well-formed is an error,
// whatever is in it.

package main

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Types of messages, and the fields of their headers.
const (
	dbusCall = 1 + iota
	dbusReturn
	dbusError
	dbusSignal
)

const (
	dbusFieldPath        = 1
	dbusFieldInterface   = 2
	dbusFieldMember      = 3
	dbusFieldErrorName   = 4
	dbusFieldReplySerial = 5
	dbusFieldDestination = 6
	dbusFieldSignature   = 8
)

// dbusMessageMax is more than any answer of systemd's to runh.
const dbusMessageMax = 1 << 20

// A unitProperty is one of a unit's settings. The value is a string, bool,
// number, []string, []uint32, []byte or []deviceAllow.
type unitProperty struct {
	name  string
	value any
}

// A deviceAllow is an entry of a unit's DeviceAllow: a device, and some of
// "rwm".
type deviceAllow struct{ device, access string }

// dbusPath is the name of an object.
type dbusPath string

// noUnits is the list of further units, always empty, that StartTransientUnit
// wants.
type noUnits struct{}

// dbusType is the signature of a value.
func dbusType(v any) string {
	switch v.(type) {
	case string:
		return "s"
	case dbusPath:
		return "o"
	case bool:
		return "b"
	case byte:
		return "y"
	case int32:
		return "i"
	case uint32:
		return "u"
	case int64:
		return "x"
	case uint64:
		return "t"
	case float64:
		return "d"
	case []string:
		return "as"
	case []uint32:
		return "au"
	case []byte:
		return "ay"
	case []deviceAllow:
		return "a(ss)"
	case []unitProperty:
		return "a(sv)"
	case noUnits:
		return "a(sa(sv))"
	}
	panic(fmt.Sprintf("BUG: %T is no type of D-Bus's", v))
}

// dbusWriter appends values, each aligned to its size as counted from the
// message's beginning.
type dbusWriter struct{ b []byte }

func (w *dbusWriter) align(n int) {
	for len(w.b)%n != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *dbusWriter) uint32(v uint32) {
	w.align(4)
	w.b = binary.LittleEndian.AppendUint32(w.b, v)
}

func (w *dbusWriter) uint64(v uint64) {
	w.align(8)
	w.b = binary.LittleEndian.AppendUint64(w.b, v)
}

func (w *dbusWriter) string(s string) {
	w.uint32(uint32(len(s)))
	w.b = append(append(w.b, s...), 0)
}

func (w *dbusWriter) signature(s string) {
	w.b = append(append(append(w.b, byte(len(s))), s...), 0)
}

func (w *dbusWriter) variant(v any) {
	w.signature(dbusType(v))
	w.value(v)
}

// array writes what elements writes, with its length before it. The padding
// before the first element does not count.
func (w *dbusWriter) array(align int, elements func()) {
	w.uint32(0)
	length := len(w.b) - 4
	w.align(align)
	begin := len(w.b)
	elements()
	binary.LittleEndian.PutUint32(w.b[length:], uint32(len(w.b)-begin))
}

func (w *dbusWriter) value(v any) {
	switch v := v.(type) {
	case string:
		w.string(v)
	case dbusPath:
		w.string(string(v))
	case bool:
		if v {
			w.uint32(1)
		} else {
			w.uint32(0)
		}
	case byte:
		w.b = append(w.b, v)
	case int32:
		w.uint32(uint32(v))
	case uint32:
		w.uint32(v)
	case int64:
		w.uint64(uint64(v))
	case uint64:
		w.uint64(v)
	case float64:
		w.uint64(math.Float64bits(v))
	case []string:
		w.array(4, func() {
			for _, s := range v {
				w.string(s)
			}
		})
	case []uint32:
		w.array(4, func() {
			for _, n := range v {
				w.uint32(n)
			}
		})
	case []byte:
		w.array(1, func() { w.b = append(w.b, v...) })
	case []deviceAllow:
		w.array(8, func() {
			for _, d := range v {
				w.align(8)
				w.string(d.device)
				w.string(d.access)
			}
		})
	case []unitProperty:
		w.array(8, func() {
			for _, p := range v {
				w.align(8)
				w.string(p.name)
				w.variant(p.value)
			}
		})
	case noUnits:
		w.array(8, func() {})
	}
}

// dbusRequest is a method call.
func dbusRequest(serial uint32, destination string, object dbusPath, iface, member string, args ...any) []byte {
	var body dbusWriter
	types := ""
	for _, a := range args {
		types += dbusType(a)
		body.value(a)
	}
	w := dbusWriter{[]byte{'l', dbusCall, 0, 1}}
	w.uint32(uint32(len(body.b)))
	w.uint32(serial)
	w.array(8, func() {
		field := func(code byte, v any) {
			w.align(8)
			w.b = append(w.b, code)
			w.variant(v)
		}
		field(dbusFieldPath, object)
		field(dbusFieldInterface, iface)
		field(dbusFieldMember, member)
		if destination != "" {
			field(dbusFieldDestination, destination)
		}
		if types != "" {
			w.align(8)
			w.b = append(w.b, dbusFieldSignature)
			w.signature("g")
			w.signature(types)
		}
	})
	w.align(8)
	return append(w.b, body.b...)
}

// A dbusMessage is one that came.
type dbusMessage struct {
	kind    byte
	replyTo uint32
	member  string
	problem string // the error's name
	body    dbusReader
}

// dbusSize is how long the message is that begins with these 16 bytes.
func dbusSize(head []byte) (int, error) {
	if head[0] != 'l' || head[3] != 1 {
		return 0, fmt.Errorf("D-Bus: byte order %q and version %d of a message are not ours", head[0], head[3])
	}
	body, fields := uint64(binary.LittleEndian.Uint32(head[4:])), uint64(binary.LittleEndian.Uint32(head[12:]))
	size := 16 + (fields+7)&^7 + body
	if size > dbusMessageMax {
		return 0, fmt.Errorf("D-Bus: a message of %d bytes is too large", size)
	}
	return int(size), nil
}

// parseDBus reads a whole message, whose length dbusSize has told.
func parseDBus(data []byte) (*dbusMessage, error) {
	fields := int(binary.LittleEndian.Uint32(data[12:]))
	m := &dbusMessage{kind: data[1]}
	r := dbusReader{b: data[:16+fields], at: 16}
	for r.at < len(r.b) && !r.bad {
		r.align(8)
		code := r.byte()
		switch types := r.signature(); types {
		case "s", "o":
			text := r.string()
			switch code {
			case dbusFieldMember:
				m.member = text
			case dbusFieldErrorName:
				m.problem = text
			}
		case "u":
			if number := r.uint32(); code == dbusFieldReplySerial {
				m.replyTo = number
			}
		case "g":
			r.signature()
		default:
			r.bad = true
		}
	}
	if r.bad {
		return nil, fmt.Errorf("D-Bus: the header of a message is not well-formed")
	}
	m.body = dbusReader{b: data[16+(fields+7)&^7:]}
	return m, nil
}

// dbusReader takes values off a message. After the first that is not there, bad
// is set and all are zero.
type dbusReader struct {
	b   []byte
	at  int
	bad bool
}

func (r *dbusReader) take(n int) []byte {
	if r.bad || n > len(r.b)-r.at {
		r.bad = true
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *dbusReader) align(n int) { r.take((n - r.at%n) % n) }

func (r *dbusReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *dbusReader) uint32() uint32 {
	r.align(4)
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *dbusReader) string() string {
	n := r.uint32()
	if n > dbusMessageMax {
		r.bad = true
	}
	text := r.take(int(n))
	r.take(1)
	return string(text)
}

func (r *dbusReader) signature() string {
	text := r.take(int(r.byte()))
	r.take(1)
	return string(text)
}
