// Annotations org.hermit-os.runh.*: which of a pod's are this container's.
//
// The kubelet gives a pod's annotations to each of its containers, so a key can name the container that it is
// for: org.hermit-os.runh.SETTING.CONTAINER. It wins over org.hermit-os.runh.SETTING, which is for all of them.
// The name of a setting has no dot, the name of a container can have some.
//
// Contract: each key names a setting, whichever container it is for. A key for one container is an error if
// nothing tells the name of this container. The sandbox of a pod has no settings. hermit_config.go has the settings.

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const modeAnnotation = annotationPrefix + "mode"

// annotation is a setting as config.json has it.
type annotation struct{ key, value string }

// templateSettings are the annotations template and template_at.
type templateSettings struct {
	name  string
	after time.Duration
	line  string
}

const templateLimit = 60 * time.Second // how long a first start waits for the point

// maxConsoleLine is as much of a line as the keeper looks at.
const maxConsoleLine = 160

// ownAnnotations returns the settings of this container by their names, and the keys that are for others.
func ownAnnotations(all map[string]string) (own map[string]annotation, others []string, err error) {
	self := containerName(all)
	own = map[string]annotation{}
	for _, key := range slices.Sorted(maps.Keys(all)) { // in this order SETTING.CONTAINER comes after SETTING
		setting, ours := strings.CutPrefix(key, annotationPrefix)
		if !ours {
			continue
		}
		setting, container, specific := strings.Cut(setting, ".")
		switch {
		case !isAnnotation(setting):
			return nil, nil, fmt.Errorf("annotation %s is unknown%s: allowed are %s and one of %s", key, didYouMean(setting, annotationNames(), annotationPrefix), annotationPrefix, strings.Join(annotationNames(), ", "))
		case specific && container == "":
			return nil, nil, fmt.Errorf("annotation %s ends with a dot: the name of a container must follow", key)
		case specific && self == "":
			return nil, nil, fmt.Errorf("annotation %s is for the container %q of a pod, and config.json does not tell the name of this container: only containerd and CRI-O write it", key, container)
		case specific && container != self:
			others = append(others, key)
		default:
			own[setting] = annotation{key, all[key]}
		}
	}
	return own, others, nil
}

// modeOf is the annotation mode. It is needed before it is known whether the container has settings at all.
func modeOf(all map[string]string) annotation {
	if isSandbox(all) {
		return annotation{"", "linux"}
	}
	if self := containerName(all); self != "" {
		key := modeAnnotation + "." + self
		if v, there := all[key]; there {
			return annotation{key, v}
		}
	}
	return annotation{modeAnnotation, all[modeAnnotation]}
}

// containerName is the name of a container in its pod, "" where nothing tells it. Docker and podman do not, not even in
// `podman kube play`.
func containerName(all map[string]string) string {
	// The kubelet's is a label, which CRI-O writes as an annotation.
	if name := firstWord(all["io.kubernetes.cri.container-name"], all["io.kubernetes.container.name"]); name != "" {
		return name
	}
	// CRI-O without a kubelet. A sandbox has the name of the pod there.
	var metadata struct {
		Name string `json:"name"`
	}
	if isSandbox(all) || decodeJSON(all["io.kubernetes.cri-o.Metadata"], &metadata) != nil {
		return ""
	}
	return metadata.Name
}

// isSandbox says whether this is the container that holds a pod's namespaces, as containerd and CRI-O mark it; podman gives it no annotations.
func isSandbox(all map[string]string) bool {
	return firstWord(all["io.kubernetes.cri.container-type"], all["io.kubernetes.cri-o.ContainerType"]) == "sandbox"
}

func (t *templateSettings) setName(key, v string) error {
	ok := v != "" && len(v) <= 64 && v[0] != '.'
	for _, r := range v {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r))
	}
	if !ok {
		return fmt.Errorf("%s is %q: allowed are 1 to 64 letters, digits, _ . -", key, v)
	}
	t.name = v
	return nil
}

// setPoint takes a duration, or the text of a line.
func (t *templateSettings) setPoint(key, v string) error {
	after, err := time.ParseDuration(v)
	switch {
	case err == nil && (after <= 0 || after > templateLimit):
		return fmt.Errorf("%s is %q: allowed are times up to %v, or a part of a line of output", key, v, templateLimit)
	case err == nil:
		t.after = after
	case v == "" || len(v) > maxConsoleLine:
		return fmt.Errorf("%s has %d bytes: allowed are 1 to %d", key, len(v), maxConsoleLine)
	default:
		t.line = v
	}
	return nil
}
