//go:build ignore

// gentbl writes syscalls.tbl, the table seccomp.go looks system call names up in: sorted by byte, one line each of name,
// number on x86_64, x86, x32, aarch64 and arm (- is none), and for what x86 also has inside socketcall(2) or ipc(2) the
// number of that call and the sub-call. Run it from the repository's root on an
// amd64 Debian machine with linux-libc-dev, after golang.org/x/sys was updated:
//
//	go run testdata/seccomp/gentbl.go > syscalls.tbl
//
// Numbers come from golang.org/x/sys/unix, which follows the newest kernel, for every ABI but x32; x32 comes from the
// kernel's header, and its newer numbers from x86_64: since 335 both ABIs share them.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

const (
	x32Header = "/usr/include/x86_64-linux-gnu/asm/unistd_x32.h"
	x32Shared = 335 // from this number on x32 has what x86_64 has
)

// armPrivate are ARM's own calls from <asm/unistd.h>.
var armPrivate = map[string]int{
	"breakpoint": 0xf0001, "cacheflush": 0xf0002, "usr26": 0xf0003, "usr32": 0xf0004, "set_tls": 0xf0005, "get_tls": 0xf0006,
}

// multiplexed are the calls that i386's socketcall(2) and ipc(2) carry, with their sub-call numbers from <linux/net.h> and
// <linux/ipc.h>.
var multiplexed = []struct {
	call  int
	first int
	names string
}{
	{102, 1, "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown " +
		"setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"},
	{117, 1, "semop semget semctl semtimedop"},
	{117, 11, "msgsnd msgrcv msgget msgctl"},
	{117, 21, "shmat shmdt shmget shmctl"},
}

// notCalls are constants among the numbers that name no call.
var notCalls = map[string]bool{"arch_specific_syscall": true, "syscall_mask": true}

func main() {
	log.SetFlags(0)
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		log.Fatalf("go list: %v", err)
	}
	unix := filepath.Join(strings.TrimSpace(string(dir)), "unix")
	golang := regexp.MustCompile(`(?m)^\s*SYS_(\w+)\s*=\s*(\d+)`)
	columns := []map[string]int{
		read(filepath.Join(unix, "zsysnum_linux_amd64.go"), golang),
		read(filepath.Join(unix, "zsysnum_linux_386.go"), golang),
		read(x32Header, regexp.MustCompile(`(?m)^#define __NR_(\w+) \(__X32_SYSCALL_BIT \+ (\d+)\)`)),
		read(filepath.Join(unix, "zsysnum_linux_arm64.go"), golang),
		read(filepath.Join(unix, "zsysnum_linux_arm.go"), golang),
	}
	for name, nr := range columns[0] {
		if nr >= x32Shared {
			columns[2][name] = nr
		}
	}
	for name, nr := range armPrivate {
		columns[4][name] = nr
	}

	inside := map[string]string{}
	names := map[string]bool{}
	for _, m := range multiplexed {
		for i, name := range strings.Fields(m.names) {
			inside[name] = fmt.Sprintf(" %d %d", m.call, m.first+i)
			names[name] = true
		}
	}
	for _, c := range columns {
		for name := range c {
			if !notCalls[name] {
				names[name] = true
			}
		}
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	sort.Strings(sorted)
	for _, name := range sorted {
		line := name
		for _, c := range columns {
			if nr, ok := c[name]; ok {
				line += " " + strconv.Itoa(nr)
			} else {
				line += " -"
			}
		}
		fmt.Println(line + inside[name])
	}
}

// read returns name and number of every match of re in the file.
func read(path string, re *regexp.Regexp) map[string]int {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	found := map[string]int{}
	for _, m := range re.FindAllStringSubmatch(string(text), -1) {
		nr, err := strconv.Atoi(m[2])
		if err != nil {
			log.Fatalf("%s: %s: %v", path, m[1], err)
		}
		found[strings.ToLower(m[1])] = nr
	}
	return found
}
