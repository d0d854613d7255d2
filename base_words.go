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

// parseNumbers reads a list of numbers and ranges such as "0-3,7". An empty list has
// none. most is the largest that is allowed.
func parseNumbers(list string, most uint16) (numbers []uint16, err error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 32)
		last, err2 := strconv.ParseUint(high, 10, 32)
		switch {
		case err != nil || err2 != nil || last < first:
			return nil, fmt.Errorf("%q is neither a number nor a range", part)
		case last > uint64(most):
			return nil, fmt.Errorf("%d is more than %d", last, most)
		}
		for n := first; n <= last; n++ {
			numbers = append(numbers, uint16(n))
		}
	}
	return numbers, nil
}

// maxCPUs is the largest number that a kernel can be built for, CONFIG_NR_CPUS of x86-64.
const maxCPUs = 8192

// bitMask has a bit for each number.
func bitMask(numbers []uint16) (mask []uint64) {
	for _, n := range numbers {
		for len(mask) <= int(n)/64 {
			mask = append(mask, 0)
		}
		mask[n/64] |= 1 << (n % 64)
	}
	return mask
}

func limitSet[T int64 | uint64 | uint32 | uint16](v *T) bool { return v != nil && *v != 0 }
