// Images in the shape of those that hermit-rs publishes from its examples, run as upstream's README says: Docker with its
// runtimeArgs, one port, and no annotation. The stand-in is the application.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDockerDropIn(t *testing.T) {
	needs(t, rtVirtiofsd() != nil, "virtiofsd")
	k := newDockHermit(t)
	image := func(name, app, loader, command string, home bool) string {
		root := filepath.Join(k.d.dir, "image-dropin-"+name)
		hermitRootfs(k.rt, root, app)
		k.must(os.Rename(root+"/hermit/app", root+"/hermit/"+name))
		k.must(os.Rename(root+"/hermit/hermit-loader", root+"/hermit/"+loader))
		if home {
			k.must(os.MkdirAll(root+"/root", 0o755))
			k.must(os.WriteFile(root+"/root/index.html", []byte("<p>of the image\n"), 0o644))
		}
		words := append([]string{"/hermit/" + name}, strings.Fields(command)...)
		k.must(k.d.importImage("dropin-"+name, root, `CMD ["`+strings.Join(words, `", "`)+`"]`))
		return "dropin-" + name
	}

	// hello_world: it says so, and ends with 0. Upstream's ends with QEMU's 3.
	k.want(k.run(image("hello_world", "app-pci", "hermit-loader", "hello", false)), 0, "Hello from Hermit's stand-in!\n"+rtLastWords(0))

	// Servers: each on 9975, with Docker's -p. The webserver's page lies in the image's /root, the last one's in a volume.
	data := volumePath("/data")
	for _, x := range []struct {
		name, app, loader, command string
		args                       []string
		home                       bool
		says                       string
	}{
		{"httpd", "app-pci", "hermit-loader", "serve httpd 9975", nil, false, ""},
		{"miotcp", "app-pci", "rusty-loader", "serve miotcp 9975", nil, false, ""},
		{"webserver", "app-pci", "hermit-loader", "cat /root/index.html ; serve webserver 9975", nil, true, "<p>of the image\n"},
		{"axum", "app-pci", "hermit-loader-x86_64", "cat " + data + "/index.html ; serve axum 9975", []string{"-v", k.d.dir + "/www:/data:ro"}, false, "<p>of the volume\n"},
	} {
		t.Run(x.name, func(t *testing.T) {
			if len(x.args) > 0 {
				k.must(os.MkdirAll(k.d.dir+"/www", 0o755))
				k.must(os.WriteFile(k.d.dir+"/www/index.html", []byte("<p>of the volume\n"), 0o644))
			}
			if x.home && !rtVirtiofsd().Rust {
				x.says = "cat /root/index.html: errno 19\n" // TestShareHome has the warning, and the page with the other virtiofsd
			}
			img := image(x.name, x.app, x.loader, x.command, x.home)
			c := k.start(append(append([]string{"-p", "127.0.0.1::9975"}, x.args...), img)...)
			defer func() { k.docker("rm", "-f", c).ok() }()
			out := k.logs(c, "serving as "+x.name)
			port := k.docker("port", c, "9975").ok().out
			if who, _ := k.host().ask("tcp", strings.TrimSpace(port)); who != x.name {
				t.Errorf("%s: %q answers", port, who)
			}
			if !strings.HasPrefix(out, x.says) {
				t.Errorf("logs: %q, want %q", out, x.says)
			}
			k.docker("stop", c).ok()
			if s := k.inspect(c, "{{.State.Status}} {{.State.ExitCode}}"); s != "exited 143" {
				t.Errorf("after stop: %s", s)
			}
		})
	}
}
