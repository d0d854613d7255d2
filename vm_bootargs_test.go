package main

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// shlex takes a command line apart as the Rust crate of that name does, which Hermit's kernel uses:
// POSIX words, comments, and an unbalanced quote silently ends it all.
func shlex(s string) (words []string, balanced bool) {
	i := 0
	for {
		for i < len(s) && strings.IndexByte(" \t\n", s[i]) >= 0 {
			i++
		}
		if i == len(s) {
			return words, true
		}
		if s[i] == '#' {
			for i < len(s) && s[i] != '\n' {
				i++
			}
			continue
		}
		var w []byte
	word:
		for i < len(s) {
			c := s[i]
			i++
			switch c {
			case ' ', '\t', '\n':
				break word
			case '\\':
				if i == len(s) {
					return words, false
				}
				if s[i] != '\n' {
					w = append(w, s[i])
				}
				i++
			case '\'':
				end := strings.IndexByte(s[i:], '\'')
				if end < 0 {
					return words, false
				}
				w = append(w, s[i:i+end]...)
				i += end + 1
			case '"':
				for {
					if i == len(s) {
						return words, false
					}
					c := s[i]
					i++
					if c == '"' {
						break
					}
					if c == '\\' && i < len(s) && strings.IndexByte("$`\"\\\n", s[i]) >= 0 {
						c = s[i]
						i++
						if c == '\n' {
							continue
						}
					}
					w = append(w, c)
				}
			default:
				w = append(w, c)
			}
		}
		words = append(words, string(w))
	}
}

func TestShlex(t *testing.T) {
	words, ok := shlex(`a 'b c'"d\"e\f"\ g '' #x` + "\nh\\\ni")
	if got := strings.Join(words, "|"); got != `a|b cd"e\f g||hi` || !ok {
		t.Error(got, ok)
	}
	if _, ok := shlex(`a 'b`); ok {
		t.Error("unbalanced")
	}
}

func bootSpec(args, env []string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Args: args, Env: env}}
}

var newKernel = &hermitApp{kernel: [3]uint32{0, 13, 2}}

func TestBootArgs(t *testing.T) {
	none := &vmConfig{Network: "none"}
	for _, tt := range []struct {
		name       string
		args, env  []string
		app        *hermitApp
		vm         *vmConfig
		kernelArgs string
		mhz        int
		want       string
	}{
		{name: "nothing", args: []string{"/app"}, want: ""},
		{name: "plain", args: []string{"/app", "a", "-b", "--c=d", "/e,f"}, want: "-- a -b --c=d /e,f"},
		{
			name: "odd", args: []string{"/app", "", "a b", "it's", `"x"`, "#no", `\`, "a\nb", "größe", "$HOME", "--", "-ip"},
			want: `-- '' 'a b' 'it'\''s' '"x"' '#no' '\' 'a` + "\n" + `b' 'größe' '$HOME' -- -ip`,
		},
		{
			name: "environment", args: []string{"/app"},
			env: []string{
				"A=1", "B=two words", "PATH=/bin", "HOME=/root", "HOSTNAME=h", "TERM=xterm", "RUNH_USER_PORT=1", "RUNH_MICRO_VM=1", "RUNH_KVM=1",
				"=x", "nothing", "C=", "D=a=b", "NO_COLOR=1", "RUNH_PORTS=80", "RUNH_OTHER=x",
			},
			want: "env=A=1 'env=B=two words' env=C= env=D=a=b env=NO_COLOR=1 env=RUNH_OTHER=x",
		},
		{name: "a name twice", args: []string{"/app"}, env: []string{"A=old", "B=1", "A=new"}, want: "env=A=new env=B=1"},
		{name: "old kernel", app: &hermitApp{kernel: [3]uint32{0, 9, 0}}, args: []string{"/app", "x"}, env: []string{"A=1"}, want: "-- x"},
		{name: "older kernel", app: &hermitApp{}, args: []string{"/app", "x"}, env: []string{"A=1"}, mhz: 2600, want: "-freq 2600 -- x"},
		{name: "kernel 1.0", app: &hermitApp{kernel: [3]uint32{1, 0, 0}}, args: []string{"/app"}, env: []string{"A=1"}, want: "env=A=1"},
		{
			name: "everything in order", args: []string{"/app", "x"}, env: []string{"HERMIT_IP=1.2.3.4"}, vm: &vmConfig{Network: "user", Lease: &lease{IP: "10.0.0.9", Bits: 20, Gateway: "10.0.0.2", DNS: []string{"9.9.9.8"}, MTU: 1400}}, kernelArgs: " -v  env=K=$x ", mhz: 65535,
			want: "-freq 65535 env=HERMIT_IP=1.2.3.4 -v 'env=K=$x' env=HERMIT_DNS1=9.9.9.8 env=HERMIT_MTU=1400 -ip 10.0.0.9 -gateway 10.0.0.2 -mask 255.255.240.0 -- x",
		},
		{
			name: "a kernel with DHCP", args: []string{"/app"}, vm: &vmConfig{Network: "direct", DHCP: true, Lease: &lease{IP: "10.0.0.9", Bits: 20, Gateway: "10.0.0.2", DNS: []string{"9.9.9.8"}, MTU: 1400}},
			want: "env=HERMIT_MTU=1400",
		},
		{name: "no such frequency", args: []string{"/app"}, mhz: 65536, want: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app, vm := tt.app, tt.vm
			if app == nil {
				app = newKernel
			}
			if vm == nil {
				vm = none
			}
			got, _, err := bootArgs(bootSpec(tt.args, tt.env), app, vm, tt.kernelArgs, tt.mhz, maxBootArgs)
			if got := got.with(vm.Lease); err != nil || got != tt.want {
				t.Errorf("got  %s\nwant %s (%v)", got, tt.want, err)
			}
		})
	}
}

func TestBootArgsRefused(t *testing.T) {
	long := strings.Repeat("x", 128<<10)
	for _, tt := range []struct {
		name       string
		args, env  []string
		kernelArgs string
		want       string
	}{
		{"too long", []string{"/app", long}, nil, "", "take 131076 bytes on the kernel's command line, where this loader has room for 131071"},
		{"just fits", []string{"/app", long[:maxBootArgs-4]}, nil, "", ""},
		{"NUL", []string{"/app", "a\x00b"}, nil, "", "process.args[1] has a NUL byte"},
		{"Latin-1", []string{"/app", "a", "gr\xf6\xdfe"}, nil, "", "process.args[2] is not UTF-8"},
		{"Latin-1 variable", []string{"/app"}, []string{"A=\xff"}, "", `process.env "A" is not UTF-8`},
		{"Latin-1 variable that is not passed on", []string{"/app"}, []string{"PATH=\xff"}, "", ""},
		{"end of the kernel's words", []string{"/app"}, nil, "a --", `kernel_args has a word "--"`},
	} {
		_, _, err := bootArgs(bootSpec(tt.args, tt.env), newKernel, &vmConfig{Network: "none"}, tt.kernelArgs, 0, maxBootArgs)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Variables give way to arguments, the later to the earlier by name.
func TestBootArgsRoom(t *testing.T) {
	spec := bootSpec([]string{"/app", "arg"}, []string{"A=1", "LONG=" + strings.Repeat("x", 100), "B=two words"})
	none := &vmConfig{Network: "none"}
	for _, tt := range []struct {
		room          int
		line, dropped string
	}{
		{200, "env=A=1 'env=B=two words' env=LONG=" + strings.Repeat("x", 100) + " -- arg", ""},
		{100, "env=A=1 'env=B=two words' -- arg", "LONG"},
		{20, "env=A=1 -- arg", "B LONG"},
		{10, "-- arg", "A B LONG"},
	} {
		boot, left, err := bootArgs(spec, newKernel, none, "", 0, tt.room)
		line := boot.with(nil)
		if err != nil || line != tt.line || strings.Join(left.own, " ") != tt.dropped || len(line) > tt.room {
			t.Errorf("room for %d: %q without %q, %v", tt.room, line, left, err)
		}
	}
	if _, _, err := bootArgs(spec, newKernel, none, "", 0, 5); err == nil {
		t.Error("arguments were cut")
	}
}

// The property that counts: the kernel gets back what the container was given.
func checkRoundTrip(t *testing.T, args, env []string) {
	t.Helper()
	l := &lease{IP: "10.0.0.9", Bits: 24, Gateway: "10.0.0.2", DNS: []string{"9.9.9.8", "9.9.9.7"}, MTU: 1400}
	boot, left, err := bootArgs(bootSpec(append([]string{"/app"}, args...), env), newKernel, &vmConfig{Network: "direct"}, "", 2600, maxBootArgs)
	line := boot.with(l)
	if err != nil || left.own != nil || left.added != nil {
		t.Fatal(left, err)
	}
	words, ok := shlex(vmmLoader + " " + line) // as QEMU passes it
	if !ok {
		t.Fatalf("unbalanced: %q", line)
	}
	var want []string
	own, _ := guestVariables(env)
	for _, kv := range own {
		want = append(want, "env="+kv)
	}
	want = append([]string{vmmLoader, "-freq", "2600"}, append(want, l.bootWords(true, false)...)...)
	if len(args) > 0 {
		want = append(append(want, "--"), args...)
	}
	if len(words) != len(want) {
		t.Fatalf("%d words, want %d: %q", len(words), len(want), line)
	}
	for i := range want {
		if words[i] != want[i] {
			t.Fatalf("word %d is %q, want %q", i, words[i], want[i])
		}
	}
}

func TestBootArgsRoundTrip(t *testing.T) {
	alphabet := []rune("abz09 \t\n\r'\"\\$`#=-;|&<>()*?[]~!%{}\x01\x7fäß€🦀\u2028")
	random := func() string {
		var b strings.Builder
		for range rand.IntN(12) {
			b.WriteRune(alphabet[rand.IntN(len(alphabet))])
		}
		return b.String()
	}
	for range 5000 {
		var args, env []string
		for range rand.IntN(5) {
			args = append(args, random())
		}
		for i := range rand.IntN(4) { // a name has one value: each is another
			env = append(env, "X"+strconv.Itoa(i)+strings.ReplaceAll(random(), "=", "")+"="+random())
		}
		checkRoundTrip(t, args, env)
	}
}

func FuzzBootArgs(f *testing.F) {
	f.Add("a", "it's", "K", "v w")
	f.Add("", "#", "K'", "\"")
	f.Add("\\", "$(x)", "-", "\n")
	f.Fuzz(func(t *testing.T, a, b, key, value string) {
		for _, s := range []string{a, b, key, value} {
			if !utf8.ValidString(s) || strings.Contains(s, "\x00") || len(s) > 1000 {
				t.Skip()
			}
		}
		if key == "" || strings.Contains(key, "=") || !forwardedVariable(key) {
			t.Skip()
		}
		checkRoundTrip(t, []string{a, b}, []string{key + "=" + value})
	})
}

func TestTSC(t *testing.T) {
	mhz := takeTSC().mhz()
	again := takeTSC().mhz()
	if mhz < 100 || mhz > 10000 || mhz-again > mhz/500+1 || again-mhz > mhz/500+1 {
		t.Errorf("%d MHz, then %d", mhz, again)
	}
	t.Log(mhz, "MHz")
}
