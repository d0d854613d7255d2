// The oracle of TestCgroupOracle and TestCgroupStats: limits as runc sets them, by its own translation of config.json and
// opencontainers/cgroups, and that library's statistics.
//
// One line of JSON on stdin is one request: {"paths":{"cpu":"/sys/fs/cgroup/cpu/x",...},"resources":{...}}; the path of cgroup v2
// has the key "". One line of JSON on stdout answers: {"error":"..."}, or {"stats":{...}} to a request without resources.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
)

type request struct {
	Paths     map[string]string
	Resources *specs.LinuxResources
}

type answer struct {
	Error string         `json:"error,omitempty"`
	Stats *cgroups.Stats `json:"stats,omitempty"`
}

func main() {
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var a answer
		var err error
		if a.Stats, err = serve(in.Bytes()); err != nil {
			a.Error = err.Error()
		}
		if out.Encode(a) != nil {
			return // nobody listens
		}
	}
}

func serve(line []byte) (*cgroups.Stats, error) {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, err
	}
	spec := &specs.Spec{Linux: &specs.Linux{CgroupsPath: "/oracle", Resources: r.Resources}}
	config, err := specconv.CreateCgroupConfig(&specconv.CreateOpts{CgroupName: "oracle", Spec: spec}, nil)
	if err != nil {
		return nil, err
	}
	config.Resources.Devices, config.Resources.SkipDevices = nil, true
	var m cgroups.Manager
	if dir, v2 := r.Paths[""]; v2 {
		m, err = fs2.NewManager(config, dir)
	} else {
		m, err = fs.NewManager(config, r.Paths)
	}
	if err != nil {
		return nil, err
	}
	if r.Resources == nil {
		return m.GetStats()
	}
	return nil, m.Set(config.Resources)
}
