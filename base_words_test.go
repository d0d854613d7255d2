// Lists of numbers: as the kernel writes them, and as people do.

package main

import (
	"reflect"
	"testing"
)

func TestParseNumbers(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		list string
		want []uint16
		err  string
	}{
		{"", nil, ""},
		{"\n", nil, ""},
		{"0-3,7\n", []uint16{0, 1, 2, 3, 7}, ""},
		{" 1 , 5-5 ", []uint16{1, 5}, ""},
		{"0,,1", nil, `"" is neither a number nor a range`},
		{"99", []uint16{99}, ""},
		{"100", nil, "100 is more than 99"},
		{"0-4294967296", nil, `"0-4294967296" is neither a number nor a range`},
		{"3-1", nil, `"3-1" is neither a number nor a range`},
		{"1-", nil, `"1-" is neither a number nor a range`},
		{"-1", nil, `"-1" is neither a number nor a range`},
		{"1-2-3", nil, `"1-2-3" is neither a number nor a range`},
		{"all", nil, `"all" is neither a number nor a range`},
	} {
		got, err := parseNumbers(x.list, 99)
		if !reflect.DeepEqual(got, x.want) && x.err == "" || !errorHas(err, x.err) {
			t.Errorf("%q: %v, %v", x.list, got, err)
		}
	}
	if got := bitMask([]uint16{0, 2, 3, 64}); !reflect.DeepEqual(got, []uint64{13, 1}) {
		t.Errorf("bitMask: %v", got)
	}
	if got, err := cpusetMask("0,, 2-3,9,"); err != nil || !reflect.DeepEqual(got, []byte{13, 2}) {
		t.Errorf("cpusetMask: %v, %v", got, err)
	}
	if _, err := cpusetMask(" "); err == nil {
		t.Error("cpusetMask takes an empty list")
	}
}
