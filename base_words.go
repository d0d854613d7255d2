// Words and numbers: the first word that says something, texts in a closed set, lists of numbers as the kernel
// writes them ("0-3,8").

package main

import (
	"fmt"
	"strconv"
	"strings"
)

func firstWord(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// oneOf checks a flag with a fixed set of values.
func oneOf(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("flag --%s: %q is not one of %s", flag, value, strings.TrimPrefix(strings.Join(allowed, ", "), ", ")) // "" is "not given"
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// numbersIn lists the numbers of a set such as "0-3,7"; nil if it is none.
func numbersIn(set string) (list []uint16) {
	for part := range strings.SplitSeq(set, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return nil
		}
		last := first
		if isRange {
			if last, err = strconv.ParseUint(high, 10, 16); err != nil || last < first {
				return nil
			}
		}
		for n := first; n <= last; n++ {
			list = append(list, uint16(n))
		}
	}
	return list
}

func limitSet[T int64 | uint64 | uint32 | uint16](v *T) bool { return v != nil && *v != 0 }
