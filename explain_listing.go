// A listing is a program in words: each operation with its number, its step, its
// system call and arguments by name, and where its errors lead. It is read back
// from the program's memory, so it shows what an init runs and not what somebody
// meant; explain_listing_test.go holds it against the memory of real ones.
//
// Contract: an argument that is not understood is shown as a raw number after "?", and a test refuses
// it for every program that runh makes. explain_listing_table.go has the calls, explain_listing_args.go the arguments,
// explain_listing_flags.go the flags, explain_listing_text.go the printing.

package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// listing is what `explain --program` prints: one part for each process.
type listing struct {
	Bundle string        `json:"bundle"`
	Kind   string        `json:"kind"` // "linux" or "hermit"
	Notes  []string      `json:"notes,omitempty"`
	Parts  []listingPart `json:"programs"`
}

// listingPart is one program.
type listingPart struct {
	Name        string              `json:"name"`
	Born        string              `json:"born"`        // how its process begins
	Descriptors []listingDescriptor `json:"descriptors"` // that it begins with
	Sections    []listingSection    `json:"sections"`
}

type listingDescriptor struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
}

type listingSection struct {
	Name  string        `json:"name"`
	Calls []listingCall `json:"calls"`
}

// listingCall is one operation.
type listingCall struct {
	Number    int           `json:"number"`
	Step      string        `json:"step"`
	Call      string        `json:"call"`
	Arguments []string      `json:"arguments"`
	Errors    []listingLead `json:"errors,omitempty"` // those that are expected
	Others    *int          `json:"others,omitempty"` // where all others lead: absent, they end the program
	Zero      *int          `json:"zero,omitempty"`   // where a result of 0 leads: absent, to the next
	Result    string        `json:"result,omitempty"` // a name that another call has as well
	Refuses   string        `json:"refuses,omitempty"`
	Point     *listingPoint `json:"synchronisationPoint,omitempty"`
}

type listingLead struct {
	Error string `json:"error"`
	Means string `json:"means,omitempty"`
	To    int    `json:"to"`
}

// listingPoint is where the program and the parent meet.
type listingPoint struct {
	Name   string `json:"name"`
	Parent string `json:"parent"`
}

// add lists a program.
func (l *listing) add(p *program, exec bool, name, born string) {
	l.Parts = append(l.Parts, newLister(p, exec).part(name, born))
}

// lister reads one program.
type lister struct {
	p    *program
	exec bool // the parent is exec, or what runs a hook

	fds     map[uint64]string   // names of descriptors, at this point
	writers map[uint64][]string // by address: the operations whose result goes there
	words   map[uint64]string   // by address: what a call before this one has put there
	names   map[uint64]string   // of the program's own words

	n int // the operation
	o *op
}

func newLister(p *program, exec bool) *lister {
	l := &lister{p: p, exec: exec, fds: map[uint64]string{}}
	for n, d := range p.begins {
		if d.name != "" {
			l.fds[uint64(n)] = d.name
		}
	}
	l.writers, l.words, l.names = map[uint64][]string{}, map[uint64]string{}, map[uint64]string{}
	for a, name := range p.labels {
		l.names[uint64(a)] = name
	}
	for i := range p.ops {
		if o := p.op(i); o.result != p.valueAddr(i) {
			l.writers[o.result] = append(l.writers[o.result], "#"+strconv.Itoa(i))
		}
	}
	return l
}

// part reads the whole program.
func (l *lister) part(name, born string) listingPart {
	part := listingPart{Name: name, Born: born}
	for n, d := range l.p.begins {
		if d.name != "" {
			part.Descriptors = append(part.Descriptors, listingDescriptor{n, d.name})
		}
	}
	var outer map[uint64]string // descriptors of the process that forked another
	for i, s := range l.p.sections {
		end := l.p.ops
		if i+1 < len(l.p.sections) {
			end = l.p.sections[i+1].first
		}
		if s.aside {
			outer = maps.Clone(l.fds)
		} else if outer != nil {
			l.fds, outer = outer, nil
		}
		section := listingSection{Name: s.name}
		for n := s.first; n < end; n++ {
			section.Calls = append(section.Calls, l.call(n))
		}
		if len(section.Calls) > 0 {
			part.Sections = append(part.Sections, section)
		}
	}
	return part
}

// call reads one operation.
func (l *lister) call(n int) listingCall {
	l.n, l.o = n, l.p.op(n)
	c := listingCall{Number: n, Step: l.step(n)}
	row := listingRow{name: "?syscall " + strconv.FormatUint(l.o.nr, 10)}
	if i := slices.IndexFunc(listingTable[:], func(r listingRow) bool { return r.nr == l.o.nr }); i >= 0 {
		row = listingTable[i]
	}
	c.Call = row.name
	kinds := row.kinds(l)
	for i, kind := range kinds {
		c.Arguments = append(c.Arguments, l.argument(i, kind))
	}
	for i := len(kinds); i < len(l.o.args); i++ { // more than the table knows of
		if l.o.args[i] != 0 || l.o.deref&(1<<i) != 0 {
			c.Arguments = append(c.Arguments, unknownWord(l.o.args[i]))
		}
	}
	if sentence, refuses := strings.CutPrefix(l.p.names[n], refusal); refuses {
		c.Refuses = slotless(sentence)
		c.Step = ""
	}
	l.leads(&c)
	if l.o.result != l.p.valueAddr(n) {
		c.Result = l.names[l.o.result]
	}
	c.Point = l.point()
	return c
}

// leads says where the program goes on.
func (l *lister) leads(c *listingCall) {
	for _, e := range l.o.expect {
		if e.errno != 0 {
			errno := unix.Errno(e.errno)
			lead := listingLead{Error: unix.ErrnoName(errno), To: l.opAt(e.to)}
			if l.compares() {
				lead.Means = map[unix.Errno]string{unix.EAGAIN: "differs", unix.ETIMEDOUT: "equal"}[errno]
			}
			c.Errors = append(c.Errors, lead)
		}
	}
	if l.n > 1 && l.o.fail != l.p.opAddr(0) { // the first two are that end
		to := l.opAt(l.o.fail)
		c.Others = &to
	}
	if l.o.zero != 0 {
		to := l.opAt(l.o.zero)
		c.Zero = &to
	}
}

// compares: is it a futex wait that does not wait (program.go, equal)?
func (l *lister) compares() bool {
	return l.o.nr == unix.SYS_FUTEX && l.o.args[1] == futexWait && l.word(l.o.args[3]) == 0 && l.word(l.o.args[3]+8) == 0
}

// step is the name of an operation's step.
func (l *lister) step(n int) string {
	if n < len(l.p.names) {
		return slotless(l.p.names[n])
	}
	return ""
}

// slotless shows slots as <name>, also in a text that has been quoted.
func slotless(text string) string {
	for _, mark := range []string{slotMark, strings.Trim(strconv.Quote(slotMark), `"`)} {
		for {
			before, rest, opened := strings.Cut(text, mark)
			name, after, closed := strings.Cut(rest, mark)
			if !opened || !closed {
				break
			}
			if strings.HasSuffix(before, `"`) && strings.HasPrefix(after, `"`) {
				before, after = before[:len(before)-1], after[1:]
			}
			text = before + "<" + name + ">" + after
		}
	}
	return text
}

// opAt is the number of the operation at an address.
func (l *lister) opAt(a uint64) int {
	return int((a - programBase - opsOffset) / opSize)
}

// valueAddr is where an operation keeps its result.
func (p *program) valueAddr(i int) uint64 { return p.opAddr(i) + uint64(64) }

// point is the meeting at this operation, nil: there is none.
func (l *lister) point() *listingPoint {
	switch {
	case l.o.nr == unix.SYS_WRITE && l.o.args[0] == syncFD && l.o.args[2] == 16 && l.o.deref == 0 && l.o.args[1] != errnoAddr:
		return l.syncPoint(l.word(l.o.args[1] + 8))
	case l.o.nr == unix.SYS_SENDMSG:
		iov := l.word(l.o.args[1] + 16)
		return l.syncPoint(l.word(l.word(iov) + 8))
	case l.o.nr == unix.SYS_WRITE && l.o.args[2] == listenerSize && l.inData(l.o.args[1], listenerSize) && l.word(l.o.args[1]+8) == uint64(syncListener):
		return l.syncPoint(uint64(syncListener))
	case l.o.nr == unix.SYS_RECVMSG && l.o.args[0] == syncFD:
		return &listingPoint{"descriptors", "the parent sends descriptors: " + strings.TrimPrefix(l.step(l.n), "wait for ")}
	case l.o.nr == unix.SYS_RECVMSG:
		return &listingPoint{"launch", "`runh create` or `runh start` sends QEMU's command line, and the descriptors of its network"}
	case l.o.nr == unix.SYS_ACCEPT4 && l.o.args[0] == programFD:
		return &listingPoint{"start", "`runh start` connects"}
	case l.o.nr == unix.SYS_ACCEPT4:
		return &listingPoint{"launch", "`runh create` or `runh start` connects"}
	}
	return nil
}

// syncPoint is a meeting of which syncTable tells.
func (l *lister) syncPoint(word uint64) *listingPoint {
	point, mount := syncPointOf(word)
	if point >= syncPoints || syncTable[point].name == "" {
		return &listingPoint{unknownWord(word), "?"}
	}
	row := &syncTable[point]
	parent := row.create
	if l.exec && row.exec != "" {
		parent = row.exec
	}
	if row.mount {
		parent += fmt.Sprintf(" (mounts[%d])", mount)
	}
	if !strings.HasPrefix(parent, "`") {
		parent = "the parent " + parent
	}
	return &listingPoint{row.name, parent}
}

// unknown are the words of a listing that nothing here has a name for.
func (l *listing) unknown() (list []string) {
	for _, p := range l.Parts {
		for _, s := range p.Sections {
			for _, c := range s.Calls {
				if strings.Contains(c.Call, "?") || slices.ContainsFunc(c.Arguments, func(a string) bool { return strings.Contains(a, unknownMark) }) {
					list = append(list, fmt.Sprintf("%s #%d %s(%s)", p.Name, c.Number, c.Call, strings.Join(c.Arguments, ", ")))
				}
			}
		}
	}
	return list
}

// unknownMark begins a number that has no name.
const unknownMark = "?0x"

func unknownWord(v uint64) string { return unknownMark + strconv.FormatUint(v, 16) }
