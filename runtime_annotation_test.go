// Annotations of a pod, which its manager gives to all of its containers, in the forms in which managers tell a container its name.

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// podMember adds the annotations of one container of a pod: its manager's, and the pod's.
func podMember(manager map[string]string, pod ...string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		annotate(s, pod...)
		maps.Copy(s.Annotations, manager)
	}
}

// What managers write into config.json: containerd; CRI-O asked by a kubelet, and by crictl.
func namedByContainerd(name string) map[string]string {
	return map[string]string{"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-name": "pod", "io.kubernetes.cri.container-name": name}
}

func namedByCRIO(name string) map[string]string {
	text, _ := json.Marshal(map[string]any{"attempt": 1, "name": name})
	return map[string]string{
		"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.Name": "k8s_" + name + "_pod_default_u_0",
		"io.kubernetes.cri-o.SandboxName": "pod", "io.kubernetes.cri-o.Metadata": string(text),
	}
}

func namedByKubelet(name string) map[string]string {
	m := namedByCRIO("another")
	m["io.kubernetes.container.name"] = name
	return m
}

func TestPodAnnotations(t *testing.T) {
	r := newHermit(t)
	config := r.dir + "/config.toml"
	r.must(os.WriteFile(config, []byte("allow_annotations = [\"ports\", \"memory_size\", \"network\", \"mode\"]\n"), 0o644))
	explained := func(res result) (e explanation) {
		t.Helper()
		r.must(json.Unmarshal([]byte(res.ok().out), &e))
		return e
	}
	pod := []string{
		"network=user", "ports=80", "ports.web=81", "ports.api.v2=82", "memory_size.web=64", "memory_size.ports=66", "memory_size.api.v2=68", "mode.side=linux",
		// Nobody's here: neither value nor permission of a setting for another container counts.
		"smp.other=many", "vmm.other=image", "ports.we=1", "ports.webs=2", "ports.Web=3", "memory_size.other=48",
	}
	for _, x := range []struct{ name, network, memory string }{
		{"web", "user, ports 81/tcp", "64"},
		{"ports", "user, ports 80/tcp", "66"}, // named as a setting
		{"80", "user, ports 80/tcp", "1024"},  // as a value
		{"api.v2", "user, ports 82/tcp", "68"},
		{"api", "user, ports 80/tcp", "1024"},
		{"side", "", "0"},
	} {
		for manager, name := range map[string]func(string) map[string]string{"containerd": namedByContainerd, "CRI-O": namedByCRIO, "CRI-O and kubelet": namedByKubelet} {
			c := r.guest("app", []string{"hello"}, podMember(name(x.name), pod...))
			e := explained(r.do("--config", config, "explain", "--bundle", c.dir, "--format", "json"))
			if e.Network != x.network || fmt.Sprint(e.Memory) != x.memory {
				t.Errorf("%s, container %s: network %q, %d MiB, want %q, %s", manager, x.name, e.Network, e.Memory, x.network, x.memory)
			}
		}
	}
	c := r.guest("app", []string{"exit", "4"}, podMember(namedByContainerd("web"), "ports.wbe=1", "ports=2", "smp.api=1", "network=none"))
	c.tryCreate().fails("ports are given but the network is \"none\"")
	c = r.guest("app", []string{"exit", "4"}, podMember(namedByContainerd("web"), "ports.wbe=1", "smp.api=1", "network=none"))
	if out := r.do("explain", "--bundle", c.dir).ok().out; !strings.Contains(out, "\nfor others    org.hermit-os.runh.ports.wbe org.hermit-os.runh.smp.api\n") {
		t.Errorf("explained as %q", out)
	}
	if res := c.run(); res.code != 4 {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}

	for _, x := range []struct {
		manager map[string]string
		pod     []string
		want    string
	}{
		{namedByContainerd("web"), []string{"prots.web=80"}, "annotation org.hermit-os.runh.prots.web is unknown (did you mean org.hermit-os.runh.ports?): allowed are"},
		{namedByContainerd("web"), []string{"prots.other=80"}, "annotation org.hermit-os.runh.prots.other is unknown"},
		{namedByContainerd("web"), []string{"ports.=80"}, "annotation org.hermit-os.runh.ports. ends with a dot: the name of a container must follow"},
		{namedByContainerd("web"), []string{".web=80"}, "annotation org.hermit-os.runh..web is unknown"},
		{namedByContainerd("web"), []string{"web.ports=80"}, "annotation org.hermit-os.runh.web.ports is unknown"},
		{namedByContainerd("web"), []string{"ports/web=80"}, "annotation org.hermit-os.runh.ports/web is unknown"},
		{namedByContainerd("web"), []string{"smp=2", "smp.web=0"}, `annotation org.hermit-os.runh.smp.web is "0": allowed are 1 to 255`},
		{namedByContainerd("web"), []string{"ports.web=x"}, `annotation org.hermit-os.runh.ports.web is "x": "x" is no port`},
		{namedByContainerd("web"), []string{"vmm.web=image"}, "annotation org.hermit-os.runh.vmm.web is \"image\": the host's configuration needs allow_image_vmm"},
		{namedByContainerd("web"), []string{"mode.web=never"}, `annotation org.hermit-os.runh.mode.web is "never": allowed are auto, hermit, linux`},
		// Docker and podman write no name.
		{nil, []string{"ports.web=80"}, `annotation org.hermit-os.runh.ports.web is for the container "web" of a pod, and config.json does not tell the name of this container`},
		{map[string]string{"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.SandboxID": "x", "io.kubernetes.cri-o.Metadata": "["}, []string{"ports.web=80"}, `is for the container "web" of a pod`},
	} {
		c := r.guest("app", []string{"hello"}, podMember(x.manager, x.pod...))
		r.do("explain", "--bundle", c.dir).fails(x.want)
		c.tryCreate().fails(x.want)
	}
	c = r.guest("app", []string{"hello"}, podMember(namedByContainerd("web"), "smp=1", "smp.web=1"))
	r.do("--config", config, "explain", "--bundle", c.dir).fails("annotation org.hermit-os.runh.smp.web: allow_annotations in this host's configuration does not have smp")
}

// The sandbox of a pod has its annotations, too, and no settings; a sidecar can be told from the guests.
func TestPodAnnotationsMode(t *testing.T) {
	r := newHermit(t)
	for name, marks := range map[string]map[string]string{
		"containerd": {"io.kubernetes.cri.container-type": "sandbox"},
		"CRI-O":      {"io.kubernetes.cri-o.ContainerType": "sandbox", "io.kubernetes.container.name": "POD", "io.kubernetes.cri-o.Metadata": `{"name":"web"}`},
	} {
		for _, mode := range []string{"mode=hermit", "mode.web=hermit", "mode=never"} {
			if res := r.sh("exit 3", podMember(marks, mode, "prots.x=1")).run(); res.code != 3 {
				t.Errorf("sandbox of %s with %s: %d, %q", name, mode, res.code, res.err)
			}
		}
	}
	pod := []string{"mode=hermit", "mode.side=auto", "network=none"}
	if res := r.sh("exit 4", podMember(namedByContainerd("side"), pod...)).run(); res.code != 4 {
		t.Errorf("sidecar: %d, %q", res.code, res.err)
	}
	if res := r.guest("app", []string{"exit", "5"}, podMember(namedByCRIO("web"), pod...)).run(); res.code != 5 {
		t.Errorf("guest: %d, %q", res.code, res.err)
	}
	r.sh("exit 4", podMember(namedByContainerd("other"), pod...)).tryCreate().fails("not a Hermit application")
	linux := r.guest("app", []string{"hello"}, podMember(namedByCRIO("web"), "mode.web=linux"))
	if out := r.do("explain", "--bundle", linux.dir).ok().out; !strings.Contains(out, "the annotation org.hermit-os.runh.mode.web says so") {
		t.Errorf("explained as %q", out)
	}
}
