package main

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, "1": 1, "1048576": 1 << 20, "9223372036854775807": 1<<63 - 1,
		"5b": 5, "64k": 64 << 10, "64K": 64 << 10, "64kb": 64 << 10, "64KiB": 64 << 10, "64 MiB": 64 << 20, "1.5g": 3 << 29,
		"0.5K": 512, "2t": 2 << 40, "3P": 3 << 50, ".5k": 512, "9007199254740993": 1<<53 + 1,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "m", "-2", "-1m", "+1", "1x", "1mm", "1mbb", "1bm", "1e3", "0x10", "1_000", "1..5", ".", " 1", "1m ib", "inf", "nan", "9223372036854775808", "9000p", "8191.9999p1",
	} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		}
	}
}
