// QEMU's own network, where each connection is a descriptor of QEMU's.

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// As many connections at once as a small server has on a busy day: each is greeted, and still works when all are there.
func TestNetworkUserConnections(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app-many", []string{"serve", "inside"}, annotated("network", "user"), annotated("ports", "80")).create().start()
	c.out.until("serving")
	h := &hostNet{r, c.pid}
	h.wants("tcp", "127.0.0.1:80", "inside", userGateway)
	const many = 600
	var all []net.Conn
	defer func() {
		for _, conn := range all {
			conn.Close()
		}
	}()
	for i := range many {
		conn, err := h.dial("tcp", "127.0.0.1:80")
		r.must(err)
		all = append(all, conn)
		conn.SetDeadline(time.Now().Add(rtLimit))
		if _, err := bufio.NewReaderSize(conn, 64).ReadString('\n'); err != nil {
			t.Fatalf("connection %d of %d: %v", i+1, many, err)
		}
	}
	for i, conn := range all {
		word := fmt.Sprintf("%06d", i)
		back := make([]byte, len(word))
		io.WriteString(conn, word)
		if _, err := io.ReadFull(conn, back); err != nil || string(back) != word {
			t.Fatalf("connection %d of %d: %q, %v", i+1, many, back, err)
		}
	}
}
