// process.env of a guest: the variables that are meant for it, and their order.
//
// Contract: pure. The order is runh's: the kubelet has another one for each pod, and neither the room on the
// kernel's command line nor a template may depend on it. All variables pass, except PATH and HOME, which speak of
// the image's Linux files; HOSTNAME and TERM, which engines set for a host and a terminal that the guest does not
// have; and the switches for the runtime, upstream's and RUNH_PORTS. vm_bootargs.go puts them on the command line.

package main

import (
	"slices"
	"strings"
)

// portsVariable is the annotation ports, for engines that have no annotations, and counts where that is not given.
const portsVariable = "RUNH_PORTS"

func forwardedVariable(name string) bool {
	switch name {
	case "PATH", "HOME", "HOSTNAME", "TERM", "RUNH_MICRO_VM", "RUNH_USER_PORT", "RUNH_KVM", portsVariable:
		return false
	}
	return true
}

// leftOut are the names of variables that a guest does not get.
type leftOut struct {
	own   []string // which the user has set
	added []string // which Kubernetes adds to every pod
}

// guestVariables are the variables for a guest, each once, by name; those that Kubernetes adds come apart.
func guestVariables(env []string) (own, added []string) {
	values := make(map[string]string, len(env))
	for _, kv := range env {
		if name, v, ok := strings.Cut(kv, "="); ok && name != "" {
			values[name] = v
		}
	}
	for name, v := range values {
		switch {
		case !forwardedVariable(name):
		case addedByKubernetes(name, values):
			added = append(added, name+"="+v)
		default:
			own = append(own, name+"="+v)
		}
	}
	slices.SortFunc(own, byName)
	slices.SortFunc(added, byName)
	return own, added
}

func byName(a, b string) int {
	a, _, _ = strings.Cut(a, "=")
	b, _, _ = strings.Cut(b, "=")
	return strings.Compare(a, b)
}

// addedByKubernetes: for each Service the kubelet sets NAME_SERVICE_HOST, NAME_SERVICE_PORT[_PORTNAME], NAME_PORT,
// which is a URL, and NAME_PORT_80_TCP[_PROTO|_PORT|_ADDR]. One of them is always the API server's, KUBERNETES.
// A variable of the user's that only looks like one of these has not the others beside it.
func addedByKubernetes(name string, all map[string]string) bool {
	if all["KUBERNETES_SERVICE_HOST"] == "" {
		return false
	}
	for _, sign := range []string{"_SERVICE_HOST", "_SERVICE_PORT", "_PORT"} {
		for at := strings.Index(name, sign); at > 0; {
			service, rest := name[:at], name[at+len(sign):]
			if all[service+"_SERVICE_HOST"] != "" && all[service+"_SERVICE_PORT"] != "" && strings.Contains(all[service+"_PORT"], "://") && (rest == "" || rest[0] == '_' && sign != "_SERVICE_HOST") {
				return true
			}
			next := strings.Index(name[at+1:], sign)
			if next < 0 {
				break
			}
			at += 1 + next
		}
	}
	return false
}
