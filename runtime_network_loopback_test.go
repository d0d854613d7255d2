// 127.0.0.1 of a namespace, for its own processes: what they listen on is theirs, all else leads to a guest without ports.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestNetworkLoopback(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	p := w.pod("10.88.0.2/24")
	// As some distributions have it: what comes from where it does not belong is dropped.
	r.must(p.in(exec.Command("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")).Run())
	before := p.traces()
	for _, network := range []string{"tcp", "udp"} {
		p.serve(network, "127.0.0.1:9001", "inner")
		p.serve(network, "0.0.0.0:9002", "side")
	}
	own := r.attached(p, "app", "net ; serve own", "network=shared", "ports=8001").create().start()
	all := r.attached(p, "app", "net ; serve all 80 81 5000 9001 9002 9975", "network=shared").create().start()
	late := r.attached(p, "app", "net ; serve late", "network=shared").create().start()
	for _, c := range []*ctr{own, all, late} {
		c.out.until("serving")
	}
	for _, network := range []string{"tcp", "udp"} {
		p.wants(network, "127.0.0.1:9001", "inner", "127.0.0.1")
		p.wants(network, "127.0.0.1:9002", "side", "127.0.0.1")
	}
	p.wants("tcp", "127.0.0.1:8001", "own", "169.254.137.1")
	for _, port := range []int{80, 81, 9975} {
		p.wants("tcp", fmt.Sprint("127.0.0.1:", port), "all", "169.254.138.1")
	}
	p.wants("udp", "127.0.0.1:81", "all", "169.254.138.1")
	if err := p.transfers("127.0.0.1:5000"); err != nil {
		t.Error(err)
	}
	if _, err := p.dial("tcp", "127.0.0.1:7"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port on which neither listens: %v", err)
	}

	unheard, err := p.dial("udp", "127.0.0.1:7")
	r.must(err)
	defer unheard.Close()
	unheard.SetDeadline(time.Now().Add(rtLimit))
	fmt.Fprint(unheard, "anybody?")
	if _, err := unheard.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a port of UDP on which neither listens: %v", err)
	}

	// A process that begins to listen gets new connections. A connection that the guest has stays its own.
	conn, err := p.dial("tcp", "127.0.0.1:80")
	r.must(err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(rtLimit))
	in := bufio.NewReader(conn)
	_, err = in.ReadString('\n')
	r.must(err)
	s := p.serve("tcp", "127.0.0.1:80", "new")
	p.wants("tcp", "127.0.0.1:80", "new", "127.0.0.1")
	fmt.Fprintln(conn, "still here")
	if line, err := in.ReadString('\n'); line != "still here\n" {
		t.Errorf("the connection from before: %q, %v", line, err)
	}
	s.Close()
	p.wants("tcp", "127.0.0.1:80", "all", "169.254.138.1")

	// Without the guest the next one has it; without any it is as it was.
	r.do("delete", "--force", all.id).ok()
	p.wants("tcp", "127.0.0.1:80", "late", "169.254.138.1")
	r.do("delete", "--force", late.id).ok()
	r.do("delete", "--force", own.id).ok()
	if _, err := p.dial("tcp", "127.0.0.1:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the guests: %v", err)
	}
	p.wantTraces(before)
}

// A guest sends what looks like a part of a conversation that processes have on 127.0.0.1: it does not arrive.
func TestNetworkLoopbackForged(t *testing.T) {
	r := newHermit(t)
	p := newWorld(r).pod("10.88.0.2/24")
	// The conversation: a socket with itself, known to conntrack before the guest comes.
	rules := "table ip watch {\nchain c {\ntype filter hook prerouting priority 0;\nct state new accept\n}\n}\n"
	cmd := p.in(exec.Command("nft", "-f", "-"))
	cmd.Stdin = strings.NewReader(rules)
	r.must(cmd.Run())
	arrived := p.datagrams(7001, "myself")
	r.breakout()
	res := r.guest("app", strings.Fields("attack 169.254.137.2 169.254.137.1 7001"), annotated("network", "shared"), joinNS(specs.NetworkNamespace, pidNS(p.pid, "net"))).run()
	if got := arrived(); got != "myself address" || !strings.Contains(res.out, "frame:stand-in ok") {
		t.Errorf("%q has arrived; %q", got, res.out)
	}
}

// A kernel without the module nft_dup_ipv4 (here strace says so): the log tells what is missing, and the rest works.
func TestNetworkLoopbackMissing(t *testing.T) {
	_, err := exec.LookPath("strace")
	needs(t, err == nil, "strace")
	r := newHermit(t)
	r.global = []string{"--log-level", "warn"}
	w := newWorld(r)
	p := w.pod("10.88.0.2/24")
	c := r.attached(p, "app", "net ; serve it", "network=shared")
	c.launchCmd(func(cmd *exec.Cmd) { // the first table in the thread that attaches the guest
		cmd.Path, _ = exec.LookPath("strace")
		cmd.Args = append([]string{"strace", "-f", "-b", "execve", "-qq", "-o", "/dev/null", "-e", "inject=sendto:error=ENOENT:when=1"}, cmd.Args...)
	}, "create").ok()
	c.start()
	w.wants("tcp", "10.88.0.2:8080", "it", worldIP)
	p.wants("tcp", "127.0.0.1:9975", "it", "169.254.137.1")
	if log := rtReadOr(r.log); !strings.Contains(log, "network: at 127.0.0.1 the guest has port 9975 alone") {
		t.Errorf("the log says %q", log)
	}
}
