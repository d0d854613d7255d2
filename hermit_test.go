package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// elfFile makes Hermit applications and what is nearly one.
type elfFile struct {
	osabi, data, class byte
	typ, machine       uint16
	notes              []byte
	text               string // of a read-only segment
	writable           string // of a writable one
	needed             bool   // a dynamic section with DT_NEEDED
}

func hermitELF() *elfFile {
	return &elfFile{
		osabi: 0xff, data: 1, class: 2, typ: 3, machine: 62,
		notes: append(elfNote("HERMIT", noteHermit, []byte{4}), elfNote("GNU", noteGNU, words32(6, 0, 13, 2))...),
	}
}

func words32(w ...uint32) []byte {
	var b []byte
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func elfNote(name string, typ uint32, desc []byte) []byte {
	b := words32(uint32(len(name)+1), uint32(len(desc)), typ)
	b = append(b, name...)
	b = append(b, make([]byte, 4-len(name)%4)...)
	b = append(b, desc...)
	return append(b, make([]byte, (4-len(desc)%4)%4)...)
}

func (e *elfFile) bytes() []byte {
	type segment struct {
		typ, flags uint32
		data       []byte
	}
	dynamic := binary.LittleEndian.AppendUint64(nil, 5)
	if e.needed {
		dynamic = binary.LittleEndian.AppendUint64(nil, dtNeeded)
	}
	segs := []segment{
		{ptLoad, 5, []byte(e.text)}, {ptLoad, 6, []byte(e.writable)}, {ptNote, 4, e.notes}, {ptDynamic, 6, append(dynamic, make([]byte, 24)...)},
	}
	h := []byte{0x7f, 'E', 'L', 'F', e.class, e.data, 1, e.osabi, 15: 0}
	u16 := binary.LittleEndian.AppendUint16
	if e.data == 2 {
		u16 = binary.BigEndian.AppendUint16
	}
	h = u16(u16(h, e.typ), e.machine)
	h = append(h, words32(1)...)
	h = binary.LittleEndian.AppendUint64(h, 0)  // entry
	h = binary.LittleEndian.AppendUint64(h, 64) // program headers
	h = binary.LittleEndian.AppendUint64(h, 0)
	h = append(h, words32(0)...)
	for _, v := range []uint16{64, 56, uint16(len(segs)), 64, 0, 0} {
		h = binary.LittleEndian.AppendUint16(h, v)
	}
	off := uint64(64 + 56*len(segs))
	var body []byte
	for _, s := range segs {
		h = append(h, words32(s.typ, s.flags)...)
		for _, v := range []uint64{off + uint64(len(body)), 0, 0, uint64(len(s.data)), uint64(len(s.data)), 8} {
			h = binary.LittleEndian.AppendUint64(h, v)
		}
		body = append(body, s.data...)
	}
	return append(h, body...)
}

// testRoot makes a rootfs of files ("name": content, "name@": link target, "name/": directory).
func testRoot(t testing.TB, files map[string]string) (dir string, fd int) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(strings.TrimRight(p, "/")), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case strings.HasSuffix(name, "@"):
			err = os.Symlink(content, strings.TrimSuffix(p, "@"))
		default:
			err = os.WriteFile(p, []byte(content), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return dir, fd
}

func TestDetectHermitFile(t *testing.T) {
	good := hermitELF().bytes()
	with := func(f func(e *elfFile)) string {
		e := hermitELF()
		f(e)
		return string(e.bytes())
	}
	for _, tt := range []struct {
		name, file string
		want       string // "app", "linux", or part of the error
		forced     string // part of the error with mode=hermit; "" if it is the same as want
	}{
		{"good", string(good), "app", ""},
		{"executable", with(func(e *elfFile) { e.typ = 2 }), "app", ""},
		{"empty", "", "linux", "0 bytes are too short"},
		{"one byte", "\x7f", "linux", "1 bytes are too short"},
		{"63 bytes", string(good[:63]), "the file has 63 bytes, an ELF header 64", ""},
		{"63 bytes of Linux", with(func(e *elfFile) { e.osabi = 0 })[:63], "linux", "63 bytes are too short"},
		{"script", "#!/bin/sh\n", "linux", "no ELF file"},
		{"Linux", with(func(e *elfFile) { e.osabi = 0 }), "linux", "OS ABI is 0, Hermit's is 255"},
		{"gzip", "\x1f\x8b\x08", "QEMU needs the ELF file inside", ""},
		{"headers only", string(good[:100]), "truncated: the file ends before its program headers", ""},
		{"cut", string(good[:len(good)-40]), "truncated: a segment", ""},
		{"aarch64", with(func(e *elfFile) { e.machine = 183 }), "another machine (aarch64)", ""},
		{"aarch64_be", with(func(e *elfFile) { e.machine = 183; e.data = 2 }), "aarch64, big-endian", ""},
		{"32-bit", with(func(e *elfFile) { e.class = 1 }), "x86_64, 32-bit", ""},
		{"relocatable", with(func(e *elfFile) { e.typ = 1 }), "ELF type 1", ""},
		{"linked", with(func(e *elfFile) { e.needed = true }), "shared libraries", ""},
		{"PVH at 0", with(func(e *elfFile) { e.notes = elfNote("Xen", noteXenPVH, words32(0)) }), "linked position-independent: link it to a fixed address", ""},
		{"PVH at 0, executable", with(func(e *elfFile) { e.typ, e.notes = 2, elfNote("Xen", noteXenPVH, words32(0)) }), "corrupt Hermit application: its PVH entry is address 0", ""},
		{"many notes", with(func(e *elfFile) { e.notes = make([]byte, maxNotes+1) }), "more than 65536 bytes of notes", ""},
		{"many headers", string(good[:56]) + "\xff\xff" + string(good[58:]), "65535 program headers", ""},
		{"headers far off", string(good[:32]) + "\xff\xff\xff\xff\xff\xff\xff\xff" + string(good[40:]), "program headers at byte", ""},
		{"segment far off", string(good[:72]) + "\xff\xff\xff\xff\xff\xff\xff\x7f" + string(good[80:]), "truncated: a segment", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, root := testRoot(t, map[string]string{"hermit/app": tt.file})
			for _, mode := range []string{"auto", "hermit", "linux"} {
				want := tt.want
				if mode == "hermit" && tt.forced != "" {
					want = tt.forced
				}
				if mode == "linux" {
					want = "linux"
				}
				app, err := detectHermit(root, "/", "/hermit/app", nil, annotation{modeAnnotation, mode})
				got := "linux"
				if err != nil {
					got = err.Error()
				} else if app != nil {
					got = "app"
					app.file.Close()
				}
				if !strings.Contains(got, want) {
					t.Errorf("mode %s: %q, want %q", mode, got, want)
				}
			}
		})
	}
}

func TestDetectHermitNotes(t *testing.T) {
	hermit := elfNote("HERMIT", noteHermit, []byte{3})
	for _, tt := range []struct {
		name   string
		notes  []byte
		abi    int
		kernel [3]uint32
		pvh    bool
	}{
		{"none", nil, 0, [3]uint32{}, false},
		{"HERMIT", hermit, 3, [3]uint32{}, false},
		{"GNU of Linux", elfNote("GNU", noteGNU, words32(0, 6, 1, 0)), 0, [3]uint32{}, false},
		{
			"all", bytes.Join([][]byte{elfNote("Xen", noteXenPVH, words32(0x1000)), elfNote("X", 7, nil), elfNote("GNU", noteGNU, words32(6, 0, 10, 1)), hermit}, nil),
			3,
			[3]uint32{0, 10, 1},
			true,
		},
		{"Xen", elfNote("Xen", noteXenPVH, words32(0x1000)), 0, [3]uint32{0, 14, 0}, true},
		{"Xen, 64 bits", elfNote("Xen", noteXenPVH, words32(0, 1)), 0, [3]uint32{0, 14, 0}, true},
		{"Xen without an address", elfNote("Xen", noteXenPVH, nil), 0, [3]uint32{}, false},
		{"Xen, address 0, and HERMIT", append(elfNote("Xen", noteXenPVH, words32(0, 0)), hermit...), 3, [3]uint32{}, false},
		{"cut in the name", hermit[:14], 0, [3]uint32{}, false},
		{"cut in the value", hermit[:20], 0, [3]uint32{}, false},
		{"unpadded end", hermit[:21], 3, [3]uint32{}, false},
		{"endless name", words32(0xffffffff, 0, noteHermit), 0, [3]uint32{}, false},
		{"endless value", words32(0, 0xffffffff, noteHermit), 0, [3]uint32{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := hermitELF()
			e.notes = tt.notes
			_, root := testRoot(t, map[string]string{"app": string(e.bytes())})
			app, err := detectHermit(root, "/", "/app", nil, annotation{})
			if err != nil {
				t.Fatal(err)
			}
			defer app.file.Close()
			if app.entryABI != tt.abi || app.kernel != tt.kernel || app.pvh != tt.pvh {
				t.Errorf("entry version %d, kernel %v, pvh %v", app.entryABI, app.kernel, app.pvh)
			}
		})
	}
}

// The image names files; the host's must be out of its reach, and opening must do nothing.
func TestDetectHermitHostile(t *testing.T) {
	good := string(hermitELF().bytes())
	dir, root := testRoot(t, map[string]string{
		"hermit/app": good, "data": "x", "dir/": "",
		"abs@": "/hermit/app", "up@": "../../../../../../hermit/app", "outside@": "/etc/passwd",
		"loop@": "loop", "magic@": "/proc/self/exe", "bin/tool": good, "sbin/tool@": "/nowhere", "usr/tool": "not executable",
	})
	if err := os.Chmod(filepath.Join(dir, "usr/tool"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	proc := unix.Mknod(filepath.Join(dir, "watchdog"), unix.S_IFCHR|0o600, int(unix.Mkdev(10, 130)))
	for _, tt := range []struct {
		arg0, cwd string
		env       string
		want      string // the path of the application, "" for none
	}{
		{"/hermit/app", "/", "", "/hermit/app"},
		{"hermit/app", "/", "", "/hermit/app"},
		{"./app", "/hermit", "", "/hermit/app"},
		{"../hermit/app", "/dir", "", "/hermit/app"},
		{"/abs", "/", "", "/abs"},
		{"/up", "/", "", "/up"},
		{"/outside", "/", "", ""},
		{"/loop", "/", "", ""},
		{"/magic", "/", "", ""},
		{"/dir", "/", "", ""},
		{"/fifo", "/", "", ""},
		{"/watchdog", "/", "", ""},
		{"/missing", "/", "", ""},
		{"/data/app", "/", "", ""},
		{"", "/", "", ""},
		{"tool", "/", "PATH=/usr:/sbin::relative:/bin", "/bin/tool"},
		{"tool", "/", "", "/bin/tool"},
		{"tool", "/", "PATH=/usr", ""},
	} {
		var env []string
		if tt.env != "" {
			env = []string{"PATH=/nowhere", tt.env}
		}
		app, err := detectHermit(root, tt.cwd, tt.arg0, env, annotation{modeAnnotation, "auto"})
		if err != nil {
			t.Errorf("%q: %v", tt.arg0, err)
			continue
		}
		got := ""
		if app != nil {
			got = app.path
			app.file.Close()
		}
		if got != tt.want {
			t.Errorf("%q is %q, want %q", tt.arg0, got, tt.want)
		}
		if _, err := detectHermit(root, tt.cwd, tt.arg0, env, annotation{modeAnnotation, "hermit"}); (err == nil) != (tt.want != "") {
			t.Errorf("%q in mode hermit: %v", tt.arg0, err)
		}
	}
	if proc != nil {
		t.Log("without a device node:", proc)
	}
	if _, err := detectHermit(root, "/", "/hermit/app", nil, annotation{modeAnnotation, "never"}); err == nil || !strings.Contains(err.Error(), `mode is "never": allowed are auto, hermit, linux`) {
		t.Error(err)
	}
}

func TestMachineFor(t *testing.T) {
	const acpi, pci = "Hermit requires an ACPI-compliant system", "... PCI BUS INFORMATION ..."
	pad := strings.Repeat("x", 256<<10-20)
	for _, tt := range []struct{ name, text, writable, want string }{
		{"neither", "nothing", "", "microvm"},
		{"acpi", acpi, "", "pc"},
		{"pci", pci, "", "pc"},
		{"over a boundary", pad + acpi, "", "pc"},
		{"far in", strings.Repeat(pad, 5) + pci, "", "pc"},
		{"in data", "", acpi, "microvm"},
	} {
		e := hermitELF()
		e.text, e.writable = tt.text, tt.writable
		_, root := testRoot(t, map[string]string{"app": string(e.bytes())})
		app, err := detectHermit(root, "/", "/app", nil, annotation{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := app.machineFor(); got != tt.want || err != nil {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
		app.file.Close()
	}
	// Beyond the bound is doubt, and so is a file that shrinks.
	e := hermitELF()
	dir, root := testRoot(t, map[string]string{"app": string(e.bytes())})
	if err := os.Truncate(filepath.Join(dir, "app"), 2*maxScan); err != nil {
		t.Fatal(err)
	}
	app, err := detectHermit(root, "/", "/app", nil, annotation{})
	if err != nil {
		t.Fatal(err)
	}
	defer app.file.Close()
	app.rodata = []elfSpan{{0, 2 * maxScan}}
	if got, err := app.machineFor(); got != "pc" || err != nil {
		t.Error("more than is searched:", got, err)
	}
	if err := os.Truncate(filepath.Join(dir, "app"), 100); err != nil {
		t.Fatal(err)
	}
	app.rodata = []elfSpan{{0, 1000}}
	if got, err := app.machineFor(); got != "pc" || err != nil {
		t.Error("shrunk:", got, err)
	}
}

func FuzzReadHermit(f *testing.F) {
	f.Add(hermitELF().bytes())
	f.Add([]byte{})
	f.Add([]byte("\x7fELF\x02\x01\x01\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fd, err := unix.MemfdCreate("app", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "app")
		defer file.Close()
		if _, err := file.Write(data); err != nil {
			t.Fatal(err)
		}
		app, err := readHermit(file, int64(len(data)), "/app")
		if (app == nil) == (err == nil) {
			t.Fatal(app, err)
		}
		if app != nil {
			if _, err := app.machineFor(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkDetectLinux(b *testing.B) {
	_, root := testRoot(b, map[string]string{"bin/true": strings.Repeat("\x7fELF\x02\x01\x01\x00", 1000)})
	for b.Loop() {
		if app, err := detectHermit(root, "/", "/bin/true", nil, annotation{modeAnnotation, "auto"}); app != nil || err != nil {
			b.Fatal(app, err)
		}
	}
}
