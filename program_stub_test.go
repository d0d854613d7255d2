package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// An init that dies with a message of the parent's unread (its cgroup, on v1) has said before why: that is what the parent reads.
func TestLastWordsAfterReset(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	for _, fd := range pair {
		if _, err := unix.Write(fd, []byte("last words")); err != nil {
			t.Fatal(err)
		}
	}
	unix.Close(pair[1])
	if msg, _, err := receiveMessage(pair[0]); string(msg) != "last words" || err != nil {
		t.Errorf("%q, %v", msg, err)
	}
	if msg, _, err := receiveMessage(pair[0]); len(msg) != 0 || err != nil {
		t.Errorf("the end: %q, %v", msg, err)
	}
}
