package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A multiboot loader, as far as findLoader looks at it, with its header at offset at.
func multiboot(class byte, machine uint16, at int) string {
	b := make([]byte, at+12)
	copy(b, "\x7fELF\x01\x01\x01")
	b[4], b[18], b[19] = class, byte(machine), byte(machine>>8)
	const magic, flags = 0x1BADB002, 3
	copy(b[at:], words32(magic, flags, -(magic+flags)&0xffffffff))
	return string(b)
}

func TestFindLoader(t *testing.T) {
	good := multiboot(1, 3, 4096)
	linux := strings.Replace(multiboot(2, 62, 64), "\x02\xb0\xad\x1b", "none", 1)
	app := string(hermitELF().bytes())
	for _, tt := range []struct {
		name        string
		image, env  map[string]string
		annotation  string
		config      string // content of a file on the host
		abi         int
		pvh         bool
		path        string // suffix of the loader's; "" for none
		errors      []string
		notInErrors string
	}{
		{name: "beside the app", image: map[string]string{"hermit/hermit-loader": good}, path: "/hermit/hermit-loader"},
		{name: "order", image: map[string]string{"hermit/hermit-loader": good, "hermit/hermit-loader-multiboot": good, "hermit/rusty-loader": good}, path: "/hermit/hermit-loader-multiboot"},
		{name: "what it is, not its name", image: map[string]string{"hermit/hermit-loader-multiboot": linux, "hermit/hermit-loader-x86_64": good}, path: "/hermit/hermit-loader-x86_64"},
		{name: "in the environment", env: map[string]string{"hermit/hermit-loader-x86_64-multiboot": good}, path: "/hermit/hermit-loader-x86_64-multiboot"},
		{name: "the image's first", image: map[string]string{"hermit/rusty-loader": good}, env: map[string]string{"hermit/hermit-loader-multiboot": good}, path: "/hermit/rusty-loader"},
		{name: "another folder of the environment", env: map[string]string{"hermit-loader": good}, errors: []string{"no loader in /hermit of the image or in ", "named hermit-loader"}},
		{name: "none", errors: []string{"no loader in /hermit of the image", "needed is the multiboot loader"}, notInErrors: "no such file"},
		{
			name: "linux only", image: map[string]string{"hermit/hermit-loader-linux": linux, "hermit/hermit-loader-x86_64.efi": "MZ\x90"},
			errors: []string{"/hermit/hermit-loader-linux is a loader for the Linux boot protocol, which only Firecracker speaks", "/hermit/hermit-loader-x86_64.efi is an EFI loader", "needed is"},
		},
		{name: "not converted", image: map[string]string{"hermit/hermit-loader": multiboot(2, 62, 64)}, errors: []string{"a 64-bit ELF file, which QEMU refuses"}},
		{name: "no header", image: map[string]string{"hermit/hermit-loader": multiboot(1, 3, 8192)}, errors: []string{"without a multiboot header"}},
		{name: "aarch64", image: map[string]string{"hermit/hermit-loader": multiboot(2, 183, 8192)}, errors: []string{"for another machine (aarch64)"}},
		{name: "empty", image: map[string]string{"hermit/hermit-loader": ""}, errors: []string{"no ELF file (0 bytes)"}},
		{name: "a link out of the image", image: map[string]string{"hermit/hermit-loader@": "/etc/passwd"}, errors: []string{"no loader in"}},
		{name: "a directory", image: map[string]string{"hermit/hermit-loader/": ""}, errors: []string{"no loader in"}},
		{name: "by annotation", image: map[string]string{"boot/l": good, "hermit/hermit-loader": good}, annotation: "boot/l", path: "/boot/l"},
		{name: "by annotation, missing", image: map[string]string{"hermit/hermit-loader": good}, annotation: "/boot/l", errors: []string{"loader /boot/l is not there"}},
		{name: "by annotation, wrong", image: map[string]string{"boot/l": "x"}, annotation: "/boot/l", errors: []string{"/boot/l is no ELF file"}},
		{name: "by configuration", config: good, path: "host-loader"},
		{name: "PVH", pvh: true, abi: -1},
		{name: "PVH with a loader", pvh: true, abi: -1, image: map[string]string{"hermit/hermit-loader": good}},
		{name: "PVH with a loader, for that, too", pvh: true, image: map[string]string{"hermit/hermit-loader": good}, path: "/hermit/hermit-loader"},
		{name: "old entry", abi: 3, image: map[string]string{"hermit/hermit-loader": good}, errors: []string{"has Hermit entry version 3: the loader takes version 4 only"}},
		{name: "old entry, old loader", abi: 3, image: map[string]string{"hermit/rusty-loader": good}, path: "/hermit/rusty-loader"},
		{name: "new entry, old loader", abi: 5, image: map[string]string{"hermit/rusty-loader": good}, errors: []string{"has Hermit entry version 5"}},
		{name: "no entry note", abi: -1, image: map[string]string{"hermit/hermit-loader": good}, errors: []string{"has no Hermit entry note"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{"hermit/app": app}
			for k, v := range tt.image {
				files[k] = v
			}
			_, root := testRoot(t, files)
			a, err := detectHermit(root, "/", "/hermit/app", nil, annotation{})
			if err != nil {
				t.Fatal(err)
			}
			defer a.file.Close()
			a.pvh = tt.pvh
			if tt.abi != 0 {
				a.entryABI = max(tt.abi, 0)
			}
			treeDir := ""
			if tt.env != nil {
				treeDir, _ = testRoot(t, tt.env)
			}
			host := ""
			if tt.config != "" {
				host = filepath.Join(t.TempDir(), "host-loader")
				if err := os.WriteFile(host, []byte(tt.config), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			l, err := findLoader(root, a, treeDir, tt.annotation, host)
			if l != nil {
				defer l.file.Close()
			}
			switch {
			case tt.errors != nil && err == nil:
				t.Fatalf("found %+v", l)
			case tt.errors != nil:
				for _, want := range tt.errors {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q does not say %q", err, want)
					}
				}
				if tt.notInErrors != "" && strings.Contains(err.Error(), tt.notInErrors) {
					t.Errorf("%q says %q", err, tt.notInErrors)
				}
			case err != nil:
				t.Fatal(err)
			case tt.path == "" && l != nil:
				t.Errorf("found %s", l.path)
			case tt.path != "" && (l == nil || !strings.HasSuffix(l.path, tt.path) || l.size == 0):
				t.Errorf("found %+v, want %s", l, tt.path)
			}
		})
	}
}
