// The network of a guest: what one byte there and back takes, and four megabytes, over TCP with the guest's echo server, beside the
// same guest on a tap in a plain bridge. Client, container and bridge each have a network namespace of their own.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const echoed = 4 << 20

// network measures one mode.
func (b *bench) network(mode string) func() error {
	return func() error {
		bundle, bare, err := b.guest("app", "serve", "x", "5000")
		if err != nil {
			return err
		}
		name := filepath.Base(b.dir)
		script := fmt.Sprintf(`set -e
for n in client own bridge; do ip netns add %[1]s-$n; ip -n %[1]s-$n link set lo up; done
link() { # to namespace $1, with the address $2.1 for the client
	ip -n %[1]s-client link add $1 type veth peer name eth0 netns %[1]s-$1
	ip -n %[1]s-client addr add $2.1/24 dev $1; ip -n %[1]s-client link set $1 up; ip -n %[1]s-$1 link set eth0 up
}
link own 10.90.1
ip -n %[1]s-own addr add 10.90.1.2/24 dev eth0; ip -n %[1]s-own route add default via 10.90.1.1
link bridge 10.90.2
ip -n %[1]s-bridge link add br0 type bridge; ip -n %[1]s-bridge tuntap add tap0 mode tap vnet_hdr
for i in eth0 tap0; do ip -n %[1]s-bridge link set $i master br0 up; done; ip -n %[1]s-bridge link set br0 up`, name)
		defer exec.Command("sh", "-c", "for n in client own bridge; do ip netns del "+name+"-$n; done").Run()
		if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
			return fmt.Errorf("network namespaces: %w: %s", err, out)
		}
		config, err := readJSON(filepath.Join(bundle, "config.json"))
		if err != nil {
			return err
		}
		config["annotations"].(map[string]any)["org.hermit-os.runh.network"] = mode
		for _, ns := range config["linux"].(map[string]any)["namespaces"].([]any) {
			if ns := ns.(map[string]any); ns["type"] == "network" {
				ns["path"] = "/run/netns/" + name + "-own"
			}
		}
		if err := writeJSON(bundle, config); err != nil {
			return err
		}
		id, runh := b.id(), b.rts[0]
		if _, err := runh.timed("create", "--bundle", bundle, id); err != nil {
			return err
		}
		defer runh.timed("delete", "--force", id)
		if _, err := runh.timed("start", id); err != nil {
			return err
		}
		last := len(bare) - 1
		bare[last] = strings.Replace(bare[last], "-- ", "-ip 10.90.2.2 -gateway 10.90.2.1 -mask 255.255.255.0 -- ", 1)
		bare = append(bare, "-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no"+b.accel.vhost(), "-device", "virtio-net-device,netdev=n,mac=02:00:00:00:00:02")
		qemu := exec.Command("nsenter", append([]string{"--net=/run/netns/" + name + "-bridge"}, bare...)...)
		if err := qemu.Start(); err != nil {
			return err
		}
		defer qemu.Wait()
		defer qemu.Process.Kill()
		s, err := b.rotate(2, 0, func(c int) ([]time.Duration, error) {
			cmd := exec.Command("nsenter", "--net=/run/netns/"+name+"-client", os.Args[0], "-probe", [2]string{"10.90.1.2:5000", "10.90.2.2:5000"}[c])
			out, err := cmd.CombinedOutput()
			if err != nil {
				return nil, fmt.Errorf("%w: %s", err, out)
			}
			var byteTook, allTook time.Duration
			_, err = fmt.Sscan(string(out), (*int64)(&byteTook), (*int64)(&allTook))
			return []time.Duration{byteTook, allTook}, err
		})
		if err != nil {
			return err
		}
		for i, what := range []string{"one byte", "4 MiB"} {
			r := s[i].row(fmt.Sprintf("network `%s`: %s to the guest and back over TCP", mode, what), "QEMU: on a tap in a bridge")
			r.values = []string{r.values[0], "", "", r.values[1]}
			r.ratios = []string{"", "", r.ratios[0]}
			b.rows = append(b.rows, r)
		}
		return nil
	}
}

// probe is the client: it prints two durations, in nanoseconds.
func probe(address string) error {
	var c net.Conn
	var err error
	for range 100 { // the guest may still be booting
		if c, err = net.DialTimeout("tcp", address, time.Second); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 64<<10)
	if _, err := c.Read(buf); err != nil { // the greeting
		return err
	}
	var trips []float64
	for range 100 {
		begin := time.Now()
		if _, err := c.Write(buf[:1]); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, buf[:1]); err != nil {
			return err
		}
		trips = append(trips, float64(time.Since(begin)))
	}
	begin := time.Now()
	go io.CopyN(c, zeros{}, echoed)
	if _, err := io.CopyN(io.Discard, c, echoed); err != nil {
		return err
	}
	fmt.Println(int64(median(trips)), int64(time.Since(begin)))
	return nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
