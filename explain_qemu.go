// QEMU's files, for a listing: those that an earlier command has found, and slots for the rest.
//
// Contract: no program is asked, and nothing is kept.

package main

import "path/filepath"

// listedEnv is the environment without asking QEMU or the dynamic linker.
func listedEnv(stateRoot, dir, qemu string) (*hermitEnv, error) {
	ofQEMU := func(qemu string) (*hermitEnv, error) {
		env, key := keptEnv(filepath.Join(stateRoot, envCacheName), qemu)
		if env != nil || key == "" {
			return env, nil
		}
		file := func(name, purpose string) envFile {
			return envFile{Host: slot(name), Guest: "/" + slot(name), For: purpose}
		}
		env = &hermitEnv{QEMU: qemu, LibPath: slot("directories of QEMU's libraries"), Files: []envFile{
			{Host: qemu, Guest: qemu},
			file("each library of QEMU", ""),
			file("each file of QEMU's firmware", "microvm"),
			file("each file of QEMU's firmware", "pc"),
		}}
		env.Virtiofsd = findVirtiofsd(func(e *shareEnv, _ string) error {
			e.Files = append(e.Files, file("each library of virtiofsd", ""))
			e.LibPath = slot("directories of virtiofsd's libraries")
			return nil
		})
		return env, nil
	}
	if qemu != "" {
		return ofQEMU(qemu)
	}
	return lookForEnv(dir, treeEnv, ofQEMU)
}

// listedCPU is the CPU without trying one.
func listedCPU(stateRoot string, env *hermitEnv, _ string, saved bool) (string, error) {
	if _, _, cpu := keptCPU(stateRoot, env, saved); cpu != "" {
		return cpu, nil
	}
	return slot("a CPU that works"), nil
}
