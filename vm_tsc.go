// The frequency of the time stamp counter, which the kernel measured at boot and tells
// nobody. A Hermit guest needs it: on a microvm nothing else tells it the length of a second.

package main

import "golang.org/x/sys/unix"

func readTSC() uint64

// tscSample is one moment on both clocks.
type tscSample struct {
	tsc uint64
	ns  int64
}

// takeTSC reads both clocks, in the best of three attempts. CLOCK_MONOTONIC_RAW is the counter
// itself, scaled by the kernel and free of NTP's corrections.
func takeTSC() tscSample {
	var best tscSample
	width := ^uint64(0)
	for range 3 {
		var ts unix.Timespec
		before := readTSC()
		unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &ts) // cannot fail for this clock
		after := readTSC()
		if after-before < width {
			width = after - before
			best = tscSample{before + width/2, ts.Nano()}
		}
	}
	return best
}

// mhz compares the clocks over the time since s. A reading is good to 0.1 µs, so half a millisecond gives
// the right number or its neighbour; if that has not passed yet, it waits for it.
func (s tscSample) mhz() int {
	for {
		now := takeTSC()
		if ns := now.ns - s.ns; ns >= 5e5 {
			return int((float64(now.tsc-s.tsc)*1000/float64(ns) + 0.5))
		}
	}
}
