// Pods through the Kubernetes Container Runtime Interface: a node is a CRI server with runh as a handler, asked by testdata/cri. Here it
// is containerd with its CRI plugin; engine_crio_test.go has CRI-O. All of it is in namespaces of its own, its pods' network too.

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

type object = map[string]any

// node is a CRI server.
type node struct {
	*rt
	client, socket string
	first          int // the first process of the server's namespaces
	pods           int
}

// criClient is testdata/cri, built once.
var criClient = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(rtTemp, "cri")
	if dir := os.Getenv("RUNH_TEST_BUILT"); dir != "" { // there is no Go where we run
		return dir + "/cri", nil
	}
	return bin, rtBuild("testdata/cri", bin)
})

// call asks the server, and reads the answer into to.
func (n *node) call(method string, request object, to any) error {
	n.Helper()
	text, err := json.Marshal(request)
	n.must(err)
	cmd := exec.Command(n.client, "call", n.socket, method)
	cmd.Stdin = strings.NewReader(string(text))
	res := n.doCmd(cmd)
	if res.code != 0 {
		return fmt.Errorf("%s: %s", method, strings.TrimSpace(res.err))
	}
	return json.Unmarshal([]byte(res.out), to)
}

func (n *node) mustCall(method string, request object, to any) {
	n.Helper()
	n.must(n.call(method, request, to))
}

// newCRI is containerd with its CRI plugin, as its documentation would have runh configured, and the images "pause", "bb" and "hermit".
func newCRI(t *testing.T) (*node, *containerd) {
	t.Helper()
	d := &containerd{rt: newRT(t), namespace: "k8s.io"}
	d.onlyRunh("pods with guests")
	needs(t, hybridCgroup() || rtSystemd(), "cgroup v1")
	client, err := criClient()
	d.must(err)
	d.podNetwork()
	// /var/lib/cni and /run/netns are the plugins' and containerd's: nobody else's may be met there.
	d.start(fmt.Sprintf(`disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:latest"
  restrict_oom_score_adj = true
  enable_experimental_restore_via_create = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%[1]s/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runh"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runh]
    runtime_type = "io.containerd.runc.v2"
    pod_annotations = ["org.hermit-os.runh.*"]
    container_annotations = ["org.hermit-os.runh.*"]
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runh.options]
      BinaryName = "%[2]s"
      Root = "%[1]s/d/runtime"
      SystemdCgroup = %[3]v
`, d.dir, d.bin, rtSystemd()), "ip link set lo up; mkdir -p /var/lib/cni /run/netns; mount -t tmpfs none /var/lib/cni; mount -t tmpfs none /run/netns;", "-m", "-n")
	n := &node{rt: d.rt, client: client, socket: d.home + "/s", first: d.first}
	n.eventually("the CRI plugin is ready", n.ready)
	n.images(func(name, root string, args ...string) { d.importImage(name, root, args...) })
	return n, d
}

// podNetwork writes the configuration of the network plugins: a bridge.
func (r *rt) podNetwork() {
	r.Helper()
	needsPrograms(r.T, "ip", "iptables", "/usr/lib/cni/bridge")
	r.must(os.Mkdir(r.dir+"/cni", 0o755))
	r.must(os.WriteFile(r.dir+"/cni/10-net.conflist", []byte(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [
		{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}`), 0o644))
}

// ready asks whether runtime and network are.
func (n *node) ready() bool {
	n.Helper()
	var v struct {
		Status struct{ Conditions []struct{ Status bool } }
	}
	return n.call("Status", object{}, &v) == nil && len(v.Status.Conditions) >= 2 && v.Status.Conditions[0].Status && v.Status.Conditions[1].Status
}

// images makes the three that the tests use.
func (n *node) images(add func(name, root string, args ...string)) {
	n.Helper()
	root := n.dir + "/bb"
	busyboxRootfs(n.T, root)
	add("bb", root, "sh")
	add("pause", root, "sh", "-c", "trap exit TERM; sleep 100000 & wait")
	root = n.dir + "/image-hermit"
	hermitRootfs(n.rt, root, "app")
	add("hermit", root, "/hermit/app")
}

// pod is a sandbox with the runtime handler runh.
type pod struct {
	*node
	id     string
	config object
	logs   string
}

func (n *node) runPod(more object) *pod {
	n.Helper()
	n.pods++
	name := fmt.Sprintf("%s-pod%d", n.token, n.pods)
	p := &pod{node: n, logs: n.dir + "/logs" + strconv.Itoa(n.pods)}
	n.must(os.Mkdir(p.logs, 0o755)) // the kubelet's
	cgroup := "/" + name
	if rtSystemd() {
		cgroup = "/" + n.token + ".slice/" + name + ".slice"
		n.ownSlice(name + ".slice")
	} else {
		n.podCgroup(cgroup)
	}
	p.config = object{
		"metadata": object{"name": name, "uid": name, "namespace": "default"}, "hostname": "pod", "log_directory": p.logs,
		"linux": object{"cgroup_parent": cgroup, "security_context": object{"namespace_options": object{"pid": "CONTAINER"}}},
	}
	maps.Copy(p.config, more)
	var r struct {
		ID string `json:"pod_sandbox_id"`
	}
	n.mustCall("RunPodSandbox", object{"config": p.config, "runtime_handler": "runh"}, &r)
	p.id = r.ID
	n.Cleanup(func() {
		if n.Failed() { // else the test has done it
			n.call("RemovePodSandbox", object{"pod_sandbox_id": p.id}, &object{})
		}
	})
	return p
}

// podCgroup makes a pod's cgroup as the kubelet does, and removes it: it is not the runtime's.
func (n *node) podCgroup(path string) {
	n.Helper()
	var made []string
	n.Cleanup(func() {
		n.eventually("the pod's cgroups are empty", func() bool {
			made = slices.DeleteFunc(made, func(dir string) bool { return os.Remove(dir) == nil })
			return len(made) == 0
		})
	})
	tops, _ := filepath.Glob("/sys/fs/cgroup/*")
	for _, top := range tops {
		if fi, err := os.Lstat(top); err != nil || !fi.IsDir() || os.Mkdir(top+path, 0o755) != nil {
			continue
		}
		for _, f := range []string{"/cpuset.cpus", "/cpuset.mems"} {
			if b, err := os.ReadFile(top + f); err == nil {
				n.must(os.WriteFile(top+path+f, b, 0o644))
			}
		}
		made = append(made, top+path)
	}
}

// create makes a container of the pod, whose log is NAME.log.
func (p *pod) create(name, image string, args []string, more object) string {
	p.Helper()
	ref := "docker.io/library/" + image + ":latest"
	config := object{
		"metadata": object{"name": name}, "image": object{"image": ref, "user_specified_image": ref}, "log_path": name + ".log", "args": args,
	}
	if image == "bb" {
		config["command"], config["args"] = args, nil
	} else {
		config["command"] = []string{"/hermit/app"}
	}
	maps.Copy(config, more)
	if config["linux"] == nil {
		config["linux"] = object{}
	}
	config["linux"].(object)["security_context"] = object{"namespace_options": object{"pid": "CONTAINER"}}
	var r struct {
		ID string `json:"container_id"`
	}
	p.mustCall("CreateContainer", object{"pod_sandbox_id": p.id, "config": config, "sandbox_config": p.config}, &r)
	return r.ID
}

func (p *pod) start(name, image string, args []string, more object) string {
	p.Helper()
	id := p.create(name, image, args, more)
	p.mustCall("StartContainer", object{"container_id": id}, &object{})
	return id
}

type criStatus struct {
	State    string
	ExitCode int `json:"exit_code"`
	Reason   string
	Log      string `json:"log_path"`
}

func (p *pod) status(id string) criStatus {
	p.Helper()
	var r struct{ Status criStatus }
	p.mustCall("ContainerStatus", object{"container_id": id}, &r)
	return r.Status
}

func (p *pod) wantExit(id string, code int, reason string) {
	p.Helper()
	p.eventually("the container has exited", func() bool { return p.status(id).State == "CONTAINER_EXITED" })
	if s := p.status(id); s.ExitCode != code || s.Reason != reason {
		p.Errorf("it ended as %+v, want %d and %s", s, code, reason)
	}
}

// remove stops a container and removes it.
func (p *pod) remove(id string) {
	p.Helper()
	p.mustCall("StopContainer", object{"container_id": id, "timeout": 20}, &object{})
	p.mustCall("RemoveContainer", object{"container_id": id}, &object{})
}

// log is what a container wrote to a stream.
func (p *pod) log(name, stream string) string {
	p.Helper()
	return criLog(p.rt, p.logs+"/"+name+".log", stream)
}

// criLog reads a log as the kubelet does: TIME STREAM F|P TEXT, where P is a line that goes on.
func criLog(r *rt, name, stream string) string {
	r.Helper()
	var b strings.Builder
	for l := range strings.Lines(rtReadOr(name)) {
		text, whole := strings.CutSuffix(l, "\n")
		f := strings.SplitN(text, " ", 4)
		if !whole {
			break // it is being written
		}
		if len(f) != 4 {
			r.Fatalf("log line %q", l)
		}
		if _, err := time.Parse(time.RFC3339Nano, f[0]); err != nil {
			r.Errorf("log line %q: %v", l, err)
		}
		if f[1] == stream {
			b.WriteString(f[3])
			if f[2] == "F" {
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

func (p *pod) wantLog(name, stream, want string) {
	p.Helper()
	p.eventually(fmt.Sprintf("the %s of %s begins with %q", stream, name, want), func() bool { return strings.HasPrefix(p.log(name, stream), want) })
}

type criExec struct {
	Stdout, Stderr []byte
	ExitCode       int `json:"exit_code"`
}

func (p *pod) exec(id string, timeout int, cmd ...string) (r criExec, err error) {
	p.Helper()
	err = p.call("ExecSync", object{"container_id": id, "cmd": cmd, "timeout": timeout}, &r)
	return r, err
}

// stream is Exec or Attach with stdin, as `kubectl exec -i` and `attach -i`; the input goes in once the output has begun with after.
func (p *pod) stream(method string, request object, after, input string) result {
	p.Helper()
	var r struct{ URL string }
	p.mustCall(method, request, &r)
	// The server listens in the namespaces' own network.
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(p.first), "-n", p.client, "stream", r.URL)
	in, stdin, err := os.Pipe()
	p.must(err)
	defer stdin.Close() // this protocol cannot end stdin, and the client must live until the process has ended
	out, stderr := newSink(p.T), newSink(p.T)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out.w, stderr.w
	go func() {
		if out.has(after) {
			stdin.WriteString(input)
		}
	}()
	res := p.wait(cmd, out, stderr)
	in.Close()
	res.args, res.out, res.err = []string{method}, out.all(rtLimit), stderr.all(rtLimit)
	return res
}

func (p *pod) wantStream(res result, code int, out, stderr string) {
	p.Helper()
	if res.code != code || res.out != out || res.err != stderr {
		p.Errorf("%s: exit code %d, stdout %q, stderr %q, want %d, %q and %q", res.args[0], res.code, res.out, res.err, code, out, stderr)
	}
}

// stop stops and removes the pod; a second time is no error.
func (p *pod) stop() {
	p.Helper()
	for range 2 {
		p.mustCall("StopPodSandbox", object{"pod_sandbox_id": p.id}, &object{})
	}
	for range 2 {
		p.mustCall("RemovePodSandbox", object{"pod_sandbox_id": p.id}, &object{})
	}
}

// forwarded is the first line that comes from a port of the pod.
func (p *pod) forwarded(port int) string {
	p.Helper()
	var forward struct{ URL string } // good for one use
	p.mustCall("PortForward", object{"pod_sandbox_id": p.id, "port": []int{port}}, &forward)
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(p.first), "-n", p.client, "forward", forward.URL, strconv.Itoa(port))
	out, err := cmd.StdoutPipe()
	p.must(err)
	p.must(cmd.Start())
	defer time.AfterFunc(rtLimit, func() { cmd.Process.Kill() }).Stop()
	line, _ := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	return line
}

// testPod is the life of a pod with two guests and a sidecar, on any node.
func (n *node) testPod() {
	before := n.traces(n.first)
	p := n.runPod(nil)
	limits := object{"resources": object{"memory_limit_in_bytes": 256 << 20, "cpu_quota": 150000, "cpu_period": 100000}}
	a := p.start("a", "hermit", []string{"cpu", ";", "mem", ";", "print", "of a", ";", "count"}, object{"linux": limits})
	side := p.start("side", "bb", []string{"sh", "-c", "trap exit TERM; echo out; echo err >&2; while :; do sleep 0.1; done"}, nil)
	b := p.start("b", "hermit", []string{"print", "of b", ";", "exit", "7"}, object{"annotations": object{"org.hermit-os.runh.memory_size": "48"}})

	// Each has its own log and nothing else in it; the limits size the machine.
	p.wantExit(b, 7, "Error")
	if log := p.log("b", "stdout"); log != "of b\n"+rtLastWords(7) {
		p.Errorf("log of b: %q", log)
	}
	p.wantLog("side", "stdout", "out\n")
	p.wantLog("side", "stderr", "err\n")
	p.wantLog("a", "stdout", fmt.Sprintf("cpus=%d ", min(2, runtime.NumCPU())))
	p.eventually("a counts", func() bool { return strings.Contains(p.log("a", "stdout"), "\nof a\ncount 1\n") })
	var memory int
	for l := range strings.Lines(p.log("a", "stdout")) {
		fmt.Sscanf(l, "memory=%d", &memory)
	}
	if memory < 128<<20 || memory > 256<<20 {
		p.Errorf("a guest with a limit of 256 MiB has %d bytes", memory)
	}
	if s := p.status(a); s.State != "CONTAINER_RUNNING" {
		p.Errorf("a is %+v", s)
	}
	if out, err := p.log("side", "stdout"), p.log("a", "stderr"); out != "out\n" || err != "" {
		p.Errorf("log of side: %q, stderr of a: %q", out, err)
	}

	// Exec, its output apart, its exit code, its time limit.
	if r, err := p.exec(side, 20, "sh", "-c", "hostname; echo err >&2; exit 3"); err != nil || string(r.Stdout) != "pod\n" || string(r.Stderr) != "err\n" || r.ExitCode != 3 {
		p.Errorf("exec: %q, %q, %d, %v", r.Stdout, r.Stderr, r.ExitCode, err)
	}
	if r, err := p.exec(side, 1, "sleep", "1000"); err == nil && r.ExitCode == 0 {
		p.Error("exec of 1000 seconds is done within one")
	}
	p.eventually("its process is gone", func() bool {
		r, err := p.exec(side, 20, "ps")
		return err == nil && !strings.Contains(string(r.Stdout), "sleep 1000")
	})
	if _, err := p.exec(side, 20, "nosuch"); err == nil || !strings.Contains(err.Error(), "executable file not found in $PATH") {
		p.Errorf("exec of nothing: %v", err)
	}
	if _, err := p.exec(a, 20, "sh"); err == nil || !strings.Contains(err.Error(), "executable file not found in $PATH") {
		p.Errorf("exec beside a guest, of what its image has not: %v", err)
	}
	read := object{"container_id": side, "cmd": []string{"sh", "-c", "read x; echo got $x; echo err >&2; exit 5"}, "stdin": true, "stdout": true, "stderr": true}
	p.wantStream(p.stream("Exec", read, "", "typed\n"), 5, "got typed\n", "err\n")
	p.wantStream(p.stream("Exec", object{"container_id": side, "cmd": []string{"sh", "-c", "tty; read x; exit $x"}, "stdin": true, "stdout": true, "tty": true}, "/dev/pts/0", "6\n"),
		6, "/dev/pts/0\r\n6\r\n", "")

	// Attach, to a Linux program and to a guest's serial line.
	for name, x := range map[string]struct {
		image, out string
		args       []string
	}{
		"attach":       {"bb", "got typed\n", []string{"sh", "-c", "read x; echo got $x"}},
		"attach-guest": {"hermit", "typed\n" + rtLastWords(0), []string{"echo", "6"}},
	} {
		id := p.start(name, x.image, x.args, object{"stdin": true, "stdin_once": true})
		if res := p.stream("Attach", object{"container_id": id, "stdin": true, "stdout": true, "stderr": true}, "", "typed\n"); res.out != x.out {
			p.Errorf("%s: %q, %q, want %q", name, res.out, res.err, x.out)
		}
		p.wantExit(id, 0, "Completed")
		p.wantLog(name, "stdout", x.out)
		p.remove(id)
	}

	// A port of the pod, as `kubectl port-forward` reaches it.
	web := p.start("web", "bb", []string{"sh", "-c", "trap exit TERM; while :; do echo answer | nc -l -p 8080 & wait; done"}, nil)
	p.eventually("the port answers", func() bool {
		var forward struct{ URL string } // good for one use
		p.mustCall("PortForward", object{"pod_sandbox_id": p.id, "port": []int{8080}}, &forward)
		return p.doCmd(exec.Command("nsenter", "-t", strconv.Itoa(p.first), "-n", p.client, "forward", forward.URL, "8080")).out == "answer\n"
	})
	p.mustCall("RemoveContainer", object{"container_id": web}, &object{})

	// A guest's port, for a sidecar and for `kubectl port-forward`, which connect to the loopback; and again when that guest has been started anew.
	for attempt := range 2 {
		name := fmt.Sprint("server", attempt)
		server := p.start(name, "hermit", []string{"serve", name, "8081"}, object{"annotations": object{"org.hermit-os.runh.ports": "8081"}})
		p.eventually("the sidecar reaches "+name, func() bool {
			r, err := p.exec(side, 20, "sh", "-c", "echo hello | nc -w 5 127.0.0.1 8081")
			return err == nil && strings.HasPrefix(string(r.Stdout), name+" ")
		})
		if line := p.forwarded(8081); !strings.HasPrefix(line, name+" ") {
			p.Errorf("a port that leads to %s says %q", name, line)
		}
		p.remove(server)
	}

	// Statistics; and limits that change, of a guest's container the cgroup's only.
	for name, id := range map[string]string{"a": a, "side": side} {
		var s struct {
			Stats struct {
				CPU struct {
					Usage struct{ Value string } `json:"usage_core_nano_seconds"`
				}
				Memory struct {
					WorkingSet struct{ Value string } `json:"working_set_bytes"`
				}
			}
		}
		p.eventually("statistics of "+name, func() bool {
			p.mustCall("ContainerStats", object{"container_id": id}, &s)
			cpu, _ := strconv.Atoi(s.Stats.CPU.Usage.Value)
			memory, _ := strconv.Atoi(s.Stats.Memory.WorkingSet.Value)
			return cpu > 0 && memory > 0 && memory < 256<<20
		})
	}
	p.mustCall("UpdateContainerResources", object{"container_id": side, "linux": object{"memory_limit_in_bytes": 50 << 20, "cpu_quota": 20000, "cpu_period": 100000}}, &object{})
	if r, err := p.exec(side, 20, "sh", "-c", "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us"); string(r.Stdout) != "52428800\n20000\n" {
		p.Errorf("after the update: %q, %v", r.Stdout, err)
	}

	// A guest that is restarted in the pod: the old one removed, a new one made.
	p.mustCall("StopContainer", object{"container_id": a, "timeout": 20}, &object{})
	p.wantExit(a, 143, "Error")
	p.mustCall("RemoveContainer", object{"container_id": a}, &object{})
	again := p.start("a2", "hermit", []string{"print", "again", ";", "count"}, object{"metadata": object{"name": "a", "attempt": 1}})
	p.wantLog("a2", "stdout", "again\ncount 1\n")
	p.remove(b)
	if s := p.status(again); s.State != "CONTAINER_RUNNING" {
		p.Errorf("the restarted guest is %+v", s)
	}
	// A container that was created only, one that is out of memory, and two that run when the pod is stopped.
	p.create("created", "hermit", []string{"hello"}, nil)
	oom := p.start("oom", "bb", []string{"sh", "-c", "trap 'exit 9' TERM; sleep 100000 & wait"}, object{"linux": object{"resources": object{"memory_limit_in_bytes": 16 << 20}}})
	if r, err := p.exec(oom, 20, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"); err != nil || r.ExitCode != 137 {
		p.Errorf("a process over the memory limit ended with %d, %v, want 137", r.ExitCode, err)
	}
	p.mustCall("StopContainer", object{"container_id": oom, "timeout": 20}, &object{})
	p.wantExit(oom, 9, "OOMKilled")
	p.stop()
	n.wantTraces(n.first, before)
}

// testTwoGuests is the pod of docs/kubernetes.md: its annotations, which all of its containers have, give two guests different ports, and their
// sidecar and sandbox nothing.
func (n *node) testTwoGuests() {
	n.Helper()
	before := n.traces(n.first)
	page := docManifests(n.T)["docs/kubernetes.md#0"]
	notes := yamlAt(page, "metadata", "annotations").(object)
	maps.Copy(notes, object{"org.hermit-os.runh.memory_size.api": "64", "org.hermit-os.runh.mode": "hermit", "org.hermit-os.runh.mode.side": "auto"})
	p := n.runPod(object{"annotations": notes})
	side := p.start("side", "bb", []string{"sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"}, nil)
	ids, ports := map[string]string{}, map[string]int{}
	for _, c := range yamlAt(page, "spec", "containers").([]any) {
		name := yamlAt(c, "name").(string)
		var mib, cpus, port int
		fmt.Sscanf(yamlAt(c, "resources", "limits", "memory").(string), "%dMi", &mib)
		fmt.Sscan(yamlAt(c, "resources", "limits", "cpu").(string), &cpus)
		fmt.Sscan(notes["org.hermit-os.runh.ports."+name].(string), &port)
		limits := object{"resources": object{"memory_limit_in_bytes": mib << 20, "cpu_quota": cpus * 100000, "cpu_period": 100000}}
		ids[name] = p.start(name, "hermit", []string{"mem", ";", "serve", name, strconv.Itoa(port)}, object{"linux": limits})
		ports[name] = port
	}
	reached := func(name string) {
		n.Helper()
		p.eventually("the sidecar reaches "+name, func() bool {
			r, err := p.exec(side, 20, "sh", "-c", fmt.Sprintf("echo hello | nc -w 5 127.0.0.1 %d", ports[name]))
			return err == nil && strings.HasPrefix(string(r.Stdout), name+" ")
		})
	}
	for name, port := range ports {
		reached(name)
		if line := p.forwarded(port); !strings.HasPrefix(line, name+" ") {
			p.Errorf("port %d, which leads to %s, says %q", port, name, line)
		}
	}
	for name, want := range map[string][2]int{"web": {128, 255}, "api": {48, 64}} {
		var got int
		for l := range strings.Lines(p.log(name, "stdout")) {
			fmt.Sscanf(l, "memory=%d", &got)
		}
		if got < want[0]<<20 || got > want[1]<<20 {
			p.Errorf("%s has %d bytes of memory, want %d to %d MiB", name, got, want[0], want[1])
		}
	}
	// In-place resize: the guest keeps its size, and a limit in which its machine could not live is refused.
	p.mustCall("UpdateContainerResources", object{"container_id": ids["web"], "linux": object{"memory_limit_in_bytes": 512 << 20, "cpu_quota": 200000, "cpu_period": 100000}}, &object{})
	err := p.call("UpdateContainerResources", object{"container_id": ids["web"], "linux": object{"memory_limit_in_bytes": 64 << 20}}, &object{})
	if err == nil || !strings.Contains(err.Error(), "memory") {
		p.Errorf("a limit of 64 MiB for a machine that was made for 256: %v", err)
	}
	reached("web")
	// A mistake in them is an error of the guests, and reaches whoever has made it.
	q := n.runPod(object{"annotations": object{"org.hermit-os.runh.prots.web": "80"}})
	ref := "docker.io/library/hermit:latest"
	err = q.call("CreateContainer", object{"pod_sandbox_id": q.id, "sandbox_config": q.config, "config": object{
		"metadata": object{"name": "web"}, "image": object{"image": ref}, "command": []string{"/hermit/app"},
	}}, &object{})
	if err == nil {
		var r struct{ Containers []struct{ ID string } }
		q.mustCall("ListContainers", object{"filter": object{"pod_sandbox_id": q.id}}, &r)
		err = q.call("StartContainer", object{"container_id": r.Containers[0].ID}, &object{})
	}
	if err == nil || !strings.Contains(err.Error(), "annotation org.hermit-os.runh.prots.web is unknown (did you mean org.hermit-os.runh.ports?)") {
		q.Errorf("a guest with an annotation prots.web: %v", err)
	}
	q.stop()
	p.stop()
	n.wantTraces(n.first, before)
}

func TestCRI(t *testing.T) {
	n, d := newCRI(t)
	n.testPod()
	n.testTwoGuests()
	d.quiet("ExecSync for", "prots.web", "UpdateContainerResources for") // of what is not there, or refused
}

// The kubelet's checkpoint API, and a new container from what it has written: in the same pod, and in another. containerd has it since 2.0, and wants criu.
func TestCRICheckpoint(t *testing.T) {
	n, _ := newCRI(t)
	n.testCheckpoint()
}

func (n *node) testCheckpoint() {
	n.Helper()
	needsPrograms(n.T, "criu")
	p := n.runPod(nil)
	id := p.start("counter", "hermit", []string{"count"}, nil)
	counts := func() int { return strings.Count(p.log("counter", "stdout"), "count ") }
	n.eventually("it counts", func() bool { return counts() > 3 })
	archive := n.dir + "/checkpoint.tar"
	switch err := n.call("CheckpointContainer", object{"container_id": id, "location": archive}, &object{}); {
	case err == nil:
		was := counts()
		n.eventually("it goes on", func() bool { return counts() > was+3 })
		counted(n.T, p.log("counter", "stdout"))
		for i, q := range []*pod{p, n.runPod(nil)} {
			again := q.start("again"+strconv.Itoa(i), "hermit", nil, object{"image": object{"image": archive}, "command": nil})
			log := func() string { return criLog(n.rt, q.status(again).Log, "stdout") } // the old one comes first; CRI-O gives it a name of its own
			n.eventually("it goes on", func() bool { return strings.Count(log(), "count ") > 9 })
			counted(n.T, log())
			q.remove(again)
			q.stop()
		}
	case strings.Contains(err.Error(), "Unimplemented"):
		n.Log("a containerd before 2.0: TestDockerCheckpoint has done what this would do")
		p.remove(id)
		p.stop()
	default:
		n.Error(err)
	}
}
