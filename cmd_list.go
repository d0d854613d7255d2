// "list" and "state": what runh tells of containers.
//
// Both print the members that go-runc and CRI-O decode. They only read, and
// never wait for another command.

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// A containerView is the JSON of one container: what the spec calls its state,
// and the members that runc adds.
type containerView struct {
	OCIVersion  string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"` // 0 when stopped
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

// lossAnnotation is one that "state" adds: a line for each thing that the container was asked for and does not have.
const lossAnnotation = annotationPrefix + "warnings"

func (c *container) view() (containerView, error) {
	status, err := c.status()
	v := containerView{
		OCIVersion: c.OCIVersion, ID: c.ID, Pid: c.Pid, Status: status, Bundle: c.Bundle,
		Rootfs: c.Rootfs, Created: c.Created, Annotations: c.Annotations, Owner: c.Owner,
	}
	if status == "stopped" {
		v.Pid = 0
	}
	if len(c.Losses) > 0 {
		v.Annotations = maps.Clone(c.Annotations)
		if v.Annotations == nil {
			v.Annotations = map[string]string{}
		}
		v.Annotations[lossAnnotation] = strings.Join(c.Losses, "\n")
	}
	return v, err
}

func cmdState(g *globals, args []string) error {
	id, err := parseID(args)
	if err != nil {
		return err
	}
	c, err := readContainer(g, id)
	if err != nil {
		return err
	}
	v, err := c.view()
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	return printOut(string(encodeJSON(v, "  ")) + "\n")
}

func cmdList(g *globals, args []string) error {
	o, err := parseList(args)
	if err != nil {
		return err
	}
	views, err := listContainers(g)
	if err != nil {
		return err
	}
	switch {
	case o.quiet:
		var b strings.Builder
		for _, v := range views {
			b.WriteString(v.ID + "\n")
		}
		return printOut(b.String())
	case o.format == "json":
		// "null" for none, as go-runc knows it
		return printOut(string(encodeJSON(views, "")) + "\n")
	}
	w := tabwriter.NewWriter(os.Stdout, 12, 1, 3, ' ', 0)
	fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for _, v := range views {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n",
			v.ID, v.Pid, v.Status, v.Bundle, v.Created.Format(time.RFC3339Nano), v.Owner)
	}
	return w.Flush()
}

// listContainers returns the containers in order of their IDs. What vanishes
// while it looks, and what is not runh's, is left out; what is half made is a
// warning.
func listContainers(g *globals) ([]containerView, error) {
	entries, err := os.ReadDir(g.root)
	// A usual root that is missing has no containers yet; one that was named is a mistake.
	if err != nil && !(g.usualRoot && errors.Is(err, os.ErrNotExist)) {
		return nil, err
	}
	var views []containerView
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		c, err := readContainer(g, e.Name())
		switch {
		case errors.Is(err, errNotExist) || errors.Is(err, errInvalidID):
			continue
		case err != nil:
			g.warnf("%v", err)
			continue
		}
		v, err := c.view()
		if err != nil {
			g.warnf("%s: %v", c.ID, err)
			continue
		}
		views = append(views, v)
	}
	return views, nil
}
