// The keeper's side of DHCP: `start` gives it the lease and a socket, and it answers (net_dhcp.go).

package main

import "golang.org/x/sys/unix"

// offerLease gives the keeper the lease and the socket alone, before the guest runs up to a template's point: its
// kernel may ask for its address on the way.
func (c *container) offerLease() error {
	if c.Hermit.Link == 0 {
		return nil
	}
	conn, err := c.askWithLease(commandLease)
	if err != nil {
		return err
	}
	defer unix.Close(conn)
	return c.readAnswer(conn)
}

// askWithLease is a word for the keeper, from `runh start`, with the lease and the socket where there is a network.
func (c *container) askWithLease(word string) (conn int, err error) {
	if c.Hermit.Link == 0 {
		return c.askKeeper(word)
	}
	ns, err := openNetwork(c.Pid)
	if err != nil {
		return -1, err
	}
	defer unix.Close(ns)
	var socket int
	err = inNetwork(ns, func() (err error) {
		socket, err = openDHCP(int(c.Hermit.Link))
		return err
	})
	if err != nil {
		return -1, err
	}
	defer unix.Close(socket)
	lease := dhcpLease(c.Hermit.Lease)
	return c.askKeeper(word+string(lease[:]), socket)
}

// answerDHCP reads one frame and sends one, or none.
func (k *keeper) answerDHCP() {
	var request [dhcpFrame]byte
	n, err := unix.Read(k.dhcp, request[:])
	switch {
	case err == unix.EINTR || err == unix.EAGAIN:
	case err != nil && err != unix.ENETDOWN || n == 0 && err == nil: // the tap is gone
		unix.Close(k.dhcp)
		k.dhcp = -1
	case err == nil:
		if reply := k.lessor.to(request[:n]); reply != nil {
			unix.Write(k.dhcp, reply) // a guest that does not get it asks again
		}
	}
}
