// The properties of a container's systemd unit: its limits
// (systemd.resource-control(5)), the devices it may use, and what annotations
// "org.systemd.property.NAME" ask for.
//
// Contract: pure. What systemd has no property for is set in the cgroup's files
// all the same; properties are there so that systemd does not undo a limit when
// it is told to reload. Annotations are the container's: they reach nothing but
// its own unit.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Since these versions systemd has the properties; an unknown one would fail
// the whole call.
const (
	systemdHasDeviceNumbers = 240 // char-MAJOR, and devices that are not in /dev
	systemdHasQuotaPeriod   = 242
	systemdHasCpuset        = 244
	systemdHasIdle          = 252
)

// limitProperties translates what of r systemd can do.
func limitProperties(r *specs.LinuxResources, v2 bool, version int) ([]unitProperty, error) {
	var all []unitProperty
	add := func(asked bool, name string, value any) {
		if asked {
			all = append(all, unitProperty{name, value})
		}
	}
	m, p, b := orZero(r.Memory), orZero(r.CPU), orZero(r.BlockIO)
	if v2 {
		add(limitSet(m.Limit), "MemoryMax", limitProperty(m.Limit))
		add(limitSet(m.Reservation), "MemoryLow", limitProperty(m.Reservation))
		swap, asked := swapAlone(m)
		add(asked, "MemorySwapMax", uint64(swap))
		idle := p.Idle != nil && *p.Idle == 1 && version >= systemdHasIdle
		add(idle, "CPUWeight", uint64(0))
		if !idle && limitSet(p.Shares) {
			add(true, "CPUWeight", weightOfShares(*p.Shares))
		}
	} else {
		add(limitSet(m.Limit), "MemoryLimit", limitProperty(m.Limit))
		if limitSet(p.Shares) {
			add(true, "CPUShares", *p.Shares)
		}
		if limitSet(b.Weight) {
			add(true, "BlockIOWeight", uint64(*b.Weight))
		}
	}
	all = append(all, quotaProperties(*orZero(p.Quota), *orZero(p.Period), version)...)
	limit, asked := pidsMax(r.Pids)
	add(asked, "TasksMax", uint64(limit))
	for _, f := range [2]struct{ field, value, name string }{{"cpu.cpus", p.Cpus, "AllowedCPUs"}, {"cpu.mems", p.Mems, "AllowedMemoryNodes"}} {
		if f.value == "" || version < systemdHasCpuset {
			continue
		}
		mask, err := cpusetMask(f.value)
		if err != nil {
			return nil, fmt.Errorf("linux.resources.%s: %w", f.field, err)
		}
		add(true, f.name, mask)
	}
	unified, err := unifiedProperties(r.Unified, version)
	return append(all, unified...), err
}

// limitProperty: -1 is systemd's "infinity".
func limitProperty(v *int64) uint64 { return uint64(*orZero(v)) }

// quotaProperties: systemd keeps a quota in whole hundredths of a processor, so
// it is rounded up; the cgroup's own file has it exactly.
func quotaProperties(quota int64, period uint64, version int) []unitProperty {
	if quota == 0 && period == 0 {
		return nil
	}
	var all []unitProperty
	if period != 0 && version >= systemdHasQuotaPeriod {
		all = append(all, unitProperty{"CPUQuotaPeriodUSec", period})
	}
	if period == 0 {
		period = 100_000 // the kernel's default
	}
	perSecond := uint64(math.MaxUint64) // none
	if quota > 0 {
		const hundredth = 10_000
		perSecond = (uint64(quota)*1_000_000/period + hundredth - 1) / hundredth * hundredth
	}
	return append(all, unitProperty{"CPUQuotaPerSecUSec", perSecond})
}

// unifiedProperties translates the files of linux.resources.unified that
// systemd has properties for. A value that is none is left to the kernel's
// judgement.
func unifiedProperties(unified map[string]string, version int) ([]unitProperty, error) {
	var all []unitProperty
	for file, text := range unified {
		text = strings.TrimSpace(text)
		switch file {
		case "cpu.max":
			fields := strings.Fields(text + " 0")
			quota, err := strconv.ParseInt(fields[0], 10, 64)
			if err != nil {
				quota = -1 // "max"
			}
			if period, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
				all = append(all, quotaProperties(quota, period, version)...)
			}
		case "cpuset.cpus", "cpuset.mems":
			if mask, err := cpusetMask(text); err == nil && version >= systemdHasCpuset {
				all = append(all, unitProperty{map[string]string{"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}[file], mask})
			}
		case "cpu.idle":
			if text == "1" && version >= systemdHasIdle {
				all = append(all, unitProperty{"CPUWeight", uint64(0)}) // "idle"
			}
		default:
			name, known := map[string]string{
				"cpu.weight": "CPUWeight", "io.weight": "IOWeight", "pids.max": "TasksMax", "memory.max": "MemoryMax", "memory.high": "MemoryHigh",
				"memory.low": "MemoryLow", "memory.min": "MemoryMin", "memory.swap.max": "MemorySwapMax",
			}[file]
			n, err := strconv.ParseUint(strings.TrimPrefix(text, "default "), 10, 64)
			if text == "max" {
				n, err = math.MaxUint64, nil
			}
			if known && err == nil {
				all = append(all, unitProperty{name, n})
			}
		}
	}
	// unified has the last word, but its own has no order.
	slices.SortFunc(all, func(a, b unitProperty) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// cpusetMask makes of "0,2-3" the bits 1, 4 and 8, lowest byte first.
func cpusetMask(list string) (mask []byte, err error) {
	named := slices.DeleteFunc(strings.Split(list, ","), func(part string) bool { return strings.TrimSpace(part) == "" }) // as the kernel takes it
	numbers, err := parseNumbers(strings.Join(named, ","), maxCPUs-1)
	if err == nil && len(numbers) == 0 {
		err = errors.New("it names no number")
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not a list of numbers like 0,2-3: %w", list, err)
	}
	for _, word := range bitMask(numbers) {
		mask = binary.LittleEndian.AppendUint64(mask, word)
	}
	return bytes.TrimRight(mask, "\x00"), nil
}

// deviceProperties tells systemd what may be used at most. systemd knows only
// lists of what is allowed; where the rules say more, its list is longer than
// what they allow, and they themselves, which are in force beside it, decide.
func deviceProperties(rules []deviceRule, version int) []unitProperty {
	none := []unitProperty{{"DevicePolicy", "auto"}, {"DeviceAllow", []deviceAllow{}}}
	var kept []deviceRule
	byDefault := false
	for _, r := range rules {
		switch {
		case r.kind == 'a':
			byDefault, kept = r.allow, nil
		case r.allow:
			kept = append(kept, r)
		default:
			for i := range kept {
				if k := &kept[i]; k.kind == r.kind && k.major == r.major && k.minor == r.minor {
					k.access &^= r.access
				}
			}
		}
	}
	var allowed []deviceAllow
	for _, r := range kept {
		if r.access == 0 {
			continue
		}
		class := map[byte]string{'c': "char", 'b': "block"}[r.kind]
		device := fmt.Sprintf("/dev/%s/%d:%d", class, r.major, r.minor)
		switch {
		case r.major == anyDevice:
			device = class + "-*"
		case r.minor == anyDevice:
			device = fmt.Sprintf("%s-%d", class, r.major)
		}
		_, access, _ := strings.Cut(r.String()[2:], " ")
		allowed = append(allowed, deviceAllow{device, access})
	}
	if byDefault || version < systemdHasDeviceNumbers {
		return none
	}
	return []unitProperty{{"DevicePolicy", "strict"}, {"DeviceAllow", allowed}}
}

const propertyAnnotation = "org.systemd.property."

// annotatedProperties reads the annotations "org.systemd.property.NAME". Their
// values are in GVariant's text format, as for runc and crun; a NAME that ends
// in "Sec" is in seconds, and systemd wants it in microseconds.
func annotatedProperties(annotations map[string]string) ([]unitProperty, error) {
	var all []unitProperty
	for key, text := range annotations {
		name, ok := strings.CutPrefix(key, propertyAnnotation)
		if !ok {
			continue
		}
		if !ownProperty(name) {
			return nil, fmt.Errorf("annotation %s: a container may set limits, accounting, order, and how its unit ends, and nothing that concerns other units", key)
		}
		value, err := parseVariant(text)
		if err == nil && strings.HasSuffix(name, "Sec") && !strings.HasSuffix(name, "USec") {
			name = strings.TrimSuffix(name, "Sec") + "USec"
			value, err = microseconds(value)
		}
		if err != nil {
			return nil, fmt.Errorf("annotation %s %q: %w", key, text, err)
		}
		all = append(all, unitProperty{name, value})
	}
	slices.SortFunc(all, func(a, b unitProperty) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// ownProperty: does it concern nothing but the unit itself? Others start and
// stop units, switch the host off, or bring processes in.
func ownProperty(name string) bool {
	switch name {
	case "Description", "Documentation", "After", "Before", "DefaultDependencies", "CollectMode", "OOMPolicy", "OOMScoreAdjust",
		"JobTimeoutUSec", "JobTimeoutSec", "JobRunningTimeoutUSec", "JobRunningTimeoutSec", "RefuseManualStop", "FinalKillSignal", "RestartKillSignal":
		return true
	}
	for _, start := range []string{"CPU", "Memory", "IO", "BlockIO", "Tasks", "Startup", "Allowed", "ManagedOOM", "IPAccounting", "IPAddress", "Kill", "SendSIG", "TimeoutStop", "RuntimeMax", "RuntimeRandomizedExtra"} {
		if strings.HasPrefix(name, start) {
			return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
		}
	}
	return false
}

func microseconds(v any) (any, error) {
	var seconds float64
	switch v := v.(type) {
	case int32:
		seconds = float64(v)
	case uint32:
		seconds = float64(v)
	case int64:
		seconds = float64(v)
	case uint64:
		seconds = float64(v)
	case float64:
		seconds = v
	default:
		return nil, fmt.Errorf("a number of seconds is wanted")
	}
	if !(seconds >= 0 && seconds < 1<<63/1e6) {
		return nil, fmt.Errorf("is not a possible number of seconds")
	}
	return uint64(seconds * 1e6), nil
}

// parseVariant reads a value in GVariant's text format, as far as properties
// need it: true, 5 (int32), 2.5, 'text', uint64 5, @t 5, ['a', 'b'].
func parseVariant(text string) (any, error) {
	text = strings.TrimSpace(text)
	kind := ""
	if word, rest, ok := strings.Cut(text, " "); ok {
		if name, known := strings.CutPrefix(word, "@"); known {
			kind, text = name, strings.TrimSpace(rest)
		} else if name, known := map[string]string{
			"boolean": "b", "byte": "y", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t", "double": "d", "string": "s",
		}[word]; known {
			kind, text = name, strings.TrimSpace(rest)
		}
	}
	if inner, ok := strings.CutPrefix(text, "["); ok && (kind == "" || kind == "as") {
		return parseTexts(inner)
	}
	switch c := text + " "; {
	case kind == "" && (c[0] == '\'' || c[0] == '"'):
		kind = "s"
	case kind == "" && (text == "true" || text == "false"):
		kind = "b"
	case kind == "" && strings.ContainsAny(text, ".eE"):
		kind = "d"
	case kind == "":
		kind = "i"
	}
	switch kind {
	case "s":
		value, rest, err := quotedText(text)
		if err == nil && rest != "" {
			err = fmt.Errorf("%q follows the text", rest)
		}
		return value, err
	case "b":
		return text == "true", wrongUnless(text == "true" || text == "false")
	case "y":
		n, err := strconv.ParseUint(text, 0, 8)
		return byte(n), wrongUnless(err == nil)
	case "i":
		n, err := strconv.ParseInt(text, 0, 32)
		return int32(n), wrongUnless(err == nil)
	case "u":
		n, err := strconv.ParseUint(text, 0, 32)
		return uint32(n), wrongUnless(err == nil)
	case "x":
		n, err := strconv.ParseInt(text, 0, 64)
		return n, wrongUnless(err == nil)
	case "t":
		n, err := strconv.ParseUint(text, 0, 64)
		return n, wrongUnless(err == nil)
	case "d":
		n, err := strconv.ParseFloat(text, 64)
		return n, wrongUnless(err == nil)
	}
	return nil, wrongUnless(false)
}

func wrongUnless(right bool) error {
	if right {
		return nil
	}
	return fmt.Errorf("is no value like true, 5, uint64 5, 'text' or ['a', 'b']")
}

// parseTexts reads a list of texts, after its bracket.
func parseTexts(text string) (any, error) {
	list := []string{}
	for text = strings.TrimSpace(text); text != "]"; {
		if len(list) > 0 {
			var comma bool
			if text, comma = strings.CutPrefix(text, ","); !comma {
				return nil, wrongUnless(false)
			}
			text = strings.TrimSpace(text)
		}
		value, rest, err := quotedText(text)
		if err != nil {
			return nil, err
		}
		list, text = append(list, value), strings.TrimSpace(rest)
	}
	return list, nil
}

// quotedText takes a text in quotes from the front.
func quotedText(text string) (value, rest string, err error) {
	if text == "" || text[0] != '\'' && text[0] != '"' {
		return "", "", wrongUnless(false)
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == text[0]:
			return b.String(), text[i+1:], wrongUnless(!strings.Contains(b.String(), "\x00"))
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("the text has no end")
}
