// Synchronisation points: where a program and the parent meet. Between two of
// them each may be ahead of the other. The program reports a point; at most of
// them it then waits for the parent's answer.
//
// syncTable tells `explain --program` what to say of each, and session.drive how to
// answer. The parent's parts are in the tables of handlers: runSetup
// (cmd_create_points.go) and accompany (cmd_exec.go) have the long ones.

package main

import "fmt"

// A syncPoint is one of them. In a message the number of a mount can stand above it.
type syncPoint uint64

const (
	syncUser syncPoint = 1 + iota
	syncTime
	syncNetwork
	syncCovered
	syncIDMap
	syncCopyUp
	syncTree
	syncConsole
	syncMounted
	syncReady
	syncArmed
	syncListener
	syncOutside
	syncPoints // how many there are, and one

	// No program reports these:
	syncKeeper // the keeper has QEMU in hand
	syncEnd    // the connection has ended: by the execve, or by death
)

// syncTable is what the parent does at each of them.
var syncTable = [syncPoints]struct {
	name         string
	answered     bool // drive lets the program go on; else it does not wait, or the handler answers with more
	mount        bool // it is about one of the mounts
	create, exec string
}{
	syncOutside: {name: "syncOutside", create: "moves the process into its cgroup by its pid"},
	syncUser:    {name: "syncUser", answered: true, create: "writes the id maps of the user namespace"},
	syncTime:    {name: "syncTime", answered: true, create: "writes the clock offsets of the time namespace"},
	syncNetwork: {name: "syncNetwork", answered: true, create: "moves the network devices of the host into the network namespace"},
	syncCovered: {name: "syncCovered", answered: true, mount: true, create: "takes the covered directory from the message and gives its mode to the tmpfs"},
	syncIDMap:   {name: "syncIDMap", answered: true, mount: true, create: "takes the clone from the message and maps its ids"},
	syncCopyUp:  {name: "syncCopyUp", answered: true, mount: true, create: "copies the covered directory into the tmpfs"},
	syncTree:    {name: "syncTree", mount: true, create: "clones the source of the mount and sends it"},
	syncConsole: {name: "syncConsole", create: "takes the terminal's master from the message"},
	syncMounted: {name: "syncMounted", create: "takes the root from the message, runs the hooks prestart, createRuntime and createContainer, finds the executable or the guest, writes the rest of the program"},
	syncReady: {
		name: "syncReady", create: "checks the working directory, sends terminal and pidfd, saves the record, writes the pid file",
		exec: "checks the working directory, sends terminal and pidfd, writes the pid file",
	},
	syncArmed:    {name: "syncArmed", create: "leaves: the init no longer dies with create"},
	syncListener: {name: "syncListener", answered: true, create: "`runh start` gives the listener of the seccomp filter to its agent", exec: "gives the listener of the seccomp filter to its agent"},
}

// keeperReady is the keeper's word that it has QEMU in hand.
const keeperReady = "R"

// ofMount is a point as a message has it, where it is about a mount.
func (s syncPoint) ofMount(mount int) syncPoint { return s | syncPoint(mount)<<8 }

// syncPointOf reads it.
func syncPointOf(word uint64) (point syncPoint, mount int) {
	return syncPoint(word & 0xff), int(word >> 8)
}

func (s syncPoint) String() string {
	if s < syncPoints {
		return fmt.Sprintf("the synchronisation point %q", syncTable[s].name)
	}
	return fmt.Sprintf("synchronisation point %d", uint64(s))
}
