// Templates: guests that start already booted. The first container that asks for a template boots, up
// to a point; there its machine is saved beneath the state root, and goes on. Later containers of the same
// kind go on from there instead of booting. Off unless a container asks for it.
//
// Contract: a template serves only a container that could not be told from the one it was made of: the same
// application, loader, arguments, variables, machine and QEMU, asked for under the same name, by the same user. It
// is never needed: one that cannot be made or read is a warning, and the guest boots. What it shares, that is the
// guest's memory at that point, secrets drawn there included, is in docs/checkpoints.md and SECURITY.

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	templatesName = "@templates" // in the state root; '@' keeps it apart from containers
	maxTemplates  = 16           // the one that was used least lately gives way
	templateMark  = "runh: template"
)

// templateRequest is a template that is yet to be made; it is part of the state between create and start.
type templateRequest struct {
	Dir   string `json:"dir"`
	After int64  `json:"after,omitempty"` // nanoseconds; 0: at a line of output
}

// findTemplate looks for the template that g asked for, or notes that start is to make it. bootArgs is the
// kernel's command line without the clock's frequency, which is measured anew each time.
func (c *createPlan) findTemplate(g *guest, t *templateSettings, bootArgs string) error {
	if len(g.qemu.image) > 0 {
		return fmt.Errorf("annotation %stemplate: the image's own QEMU makes none, it must be the host's", annotationPrefix)
	}
	key, err := c.templateKey(g, t, bootArgs)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.g.root, templatesName, t.name+"."+key)
	if c.takeTemplate != nil {
		g.from, err = c.takeTemplate(dir)
		switch {
		case err == nil:
			g.goOn(g.from)
			now := time.Now()
			os.Chtimes(dir, now, now) // not to be the one that gives way
			return nil
		case !errors.Is(err, os.ErrNotExist):
			c.g.warnf("template %s: %v: it is made anew", t.name, err)
			if checkStore(filepath.Dir(dir)) == nil {
				removeTemplate(dir)
			}
		}
	}
	g.request = &templateRequest{Dir: dir, After: int64(t.after)}
	g.mark = firstWord(t.line, templateMark)
	g.vm.Card = g.vm.usesTap()
	return nil
}

// templateKey is what a template is the template of.
func (c *createPlan) templateKey(g *guest, t *templateSettings, bootArgs string) (string, error) {
	words := []string{manifestMagic, release, t.name, t.after.String(), t.line, fmt.Sprint(os.Geteuid()), bootArgs}
	vm := *g.vm
	vm.Boot = bootLine{}
	words = append(words, string(encodeJSON(&vm, "")))
	for _, f := range []*os.File{g.app.file, g.loaderFile()} {
		if f == nil {
			words = append(words, "")
			continue
		}
		d, err := describeFile(f)
		if err != nil {
			return "", err
		}
		words = append(words, d.Digest)
	}
	qemu, err := g.qemu.openQEMU(-1)
	if err != nil {
		return "", err
	}
	defer qemu.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(qemu.Fd()), &st); err != nil {
		return "", os.NewSyscallError("fstat", err)
	}
	words = append(words, qemuKey(g.qemu.QEMU, &st))
	sum := sha256.Sum256(encodeJSON(words, "")) // no word can run into the next
	return hex.EncodeToString(sum[:16]), nil
}

// takeTemplate gives the container links of its own to a template's files: start needs them, and the template may
// have given way by then. What it is comes back, its state closed.
func (c *container) takeTemplate(dir string) (*savedGuest, error) {
	if err := checkStore(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	for _, name := range []string{manifestName, stateName} {
		if err := os.Link(filepath.Join(dir, name), filepath.Join(c.dir, name)); err != nil {
			c.dropOwnTemplate()
			return nil, err
		}
	}
	own, err := c.openOwnTemplate()
	if err != nil {
		c.dropOwnTemplate()
		return nil, err
	}
	return own, own.state.Close()
}

// checkStore: runh trusts, and removes, only what is in a directory of this user's alone. A link to one is none.
func checkStore(store string) error {
	var st unix.Stat_t
	if err := unix.Lstat(store, &st); err != nil {
		return err
	}
	if st.Uid != uint32(os.Geteuid()) || st.Mode&(unix.S_IFMT|0o077) != unix.S_IFDIR {
		return fmt.Errorf("%s must be a directory of this user's alone: it has owner %d and mode %04o", store, st.Uid, st.Mode&0o7777)
	}
	return nil
}

// A pendingTemplate is a first start that waits for its guest's point.
type pendingTemplate struct {
	conn, pipe int
	m          *manifest
}

func (p *pendingTemplate) close() {
	unix.Close(p.conn)
	unix.Close(p.pipe)
}

// letPointGo is letGo for a guest of which a template is to be made. The keeper knows the point before the
// guest's first instruction, and so cannot miss it.
func (c *container) letPointGo() (*pendingTemplate, error) {
	p := &pendingTemplate{}
	err := c.offerLease()
	if err != nil {
		return nil, err
	}
	if p.conn, p.pipe, err = c.askToSave(commandPoint); err != nil {
		return nil, errors.New("cannot start a container that has stopped")
	}
	msg, err := c.receiveAnswer(p.conn)
	switch {
	case err == nil && len(msg) == 0:
		p.close()
		return nil, nil // it has run, and ended
	case err != nil:
		err = heard(nil, err)
	case string(msg) != answerRuns:
		err = errors.New(string(msg))
	default:
		return p, nil
	}
	p.close()
	return nil, err
}

// finishTemplate is the end of a first start. The container runs whatever comes of it.
func (c *container) finishTemplate(g *globals) {
	if c.pending == nil {
		return
	}
	if err := c.keepTemplate(c.pending); err != nil {
		g.warnf("no template was made: %v", err)
	}
	c.pending = nil
}

// keepTemplate waits for the point, and keeps the machine as it is there.
func (c *container) keepTemplate(p *pendingTemplate) (err error) {
	defer p.close()
	request := c.Hermit.Template
	store := filepath.Dir(request.Dir)
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	if err := checkStore(store); err != nil {
		return err
	}
	image, err := newImage(request.Dir)
	if err != nil {
		return err
	}
	defer image.close()
	if !image.fresh {
		return nil // another first start was first
	}
	if p.m, err = c.describe(); err != nil {
		return err
	}
	limit := templateLimit
	if request.After != 0 {
		limit = time.Duration(request.After)
	}
	reached := pollUntil(time.Now().Add(limit), p.pipe, p.conn) >= 0
	switch {
	case !reached && request.After == 0:
		return fmt.Errorf("the guest has not come to the point within %v", limit)
	case !reached:
		unix.Sendto(p.conn, []byte(commandNow), unix.MSG_NOSIGNAL, nil) // who is dead does not answer
	}
	if err := p.m.receive(p.conn, p.pipe, image.state); err != nil {
		return err
	}
	pruneTemplates(store)
	if err := image.commit(p.m); err != nil {
		if _, there := os.Stat(request.Dir); there == nil {
			return nil // another first start was first
		}
		return err
	}
	return nil
}

// pruneTemplates makes room for one more. What has no template's name is not runh's.
func pruneTemplates(store string) {
	entries, _ := os.ReadDir(store)
	type used struct {
		name string
		at   time.Time
	}
	var all []used
	for _, e := range entries {
		if info, err := e.Info(); err == nil && isTemplateName(e.Name()) {
			all = append(all, used{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b used) int { return b.at.Compare(a.at) })
	for i := maxTemplates - 1; i < len(all); i++ {
		removeTemplate(filepath.Join(store, all[i].name))
	}
}

// isTemplateName: NAME.KEY, as findTemplate has it; a commit that was killed leaves NAME.KEY.PID.new.
func isTemplateName(name string) bool {
	name = strings.TrimSuffix(name, ".new")
	for range 2 {
		dot := strings.LastIndexByte(name, '.')
		if dot < 1 {
			return false
		}
		if key, err := hex.DecodeString(name[dot+1:]); err == nil && len(key) == 16 {
			return true
		}
		name = name[:dot]
	}
	return false
}

// removeTemplate removes the files of a template, and the directory if nothing else is in it.
func removeTemplate(dir string) {
	for _, name := range []string{manifestName, stateName, stateOther, criuName} {
		os.Remove(filepath.Join(dir, name))
	}
	os.Remove(dir)
}
