// QEMU's files, for a listing: those that an earlier command has found, and slots for the rest.
//
// Contract: no program is asked, and nothing is kept.

package main

import "path/filepath"

// listedQEMUFiles are QEMU's files without asking QEMU or the dynamic linker.
func listedQEMUFiles(stateRoot, dir, qemu string) (*qemuFiles, error) {
	ofQEMU := func(qemu string) (*qemuFiles, error) {
		files, key := keptQEMUFiles(filepath.Join(stateRoot, qemuCacheName), qemu)
		if files != nil || key == "" {
			return files, nil
		}
		file := func(name, purpose string) qemuFile {
			return qemuFile{Host: slot(name), Guest: "/" + slot(name), For: purpose}
		}
		files = &qemuFiles{QEMU: qemu, LibPath: slot("directories of QEMU's libraries"), Files: []qemuFile{
			{Host: qemu, Guest: qemu},
			file("each library of QEMU", ""),
			file("each file of QEMU's firmware", "microvm"),
			file("each file of QEMU's firmware", "pc"),
		}}
		files.Virtiofsd = findVirtiofsd(func(e *shareFiles, _ string) error {
			e.Files = append(e.Files, file("each library of virtiofsd", ""))
			e.LibPath = slot("directories of virtiofsd's libraries")
			return nil
		})
		return files, nil
	}
	if qemu != "" {
		return ofQEMU(qemu)
	}
	return lookForQEMUFiles(dir, treeQEMUFiles, ofQEMU)
}

// listedCPU is the CPU without trying one.
func listedCPU(stateRoot string, qemu *qemuFiles, _ string, saved bool) (string, error) {
	if _, _, cpu := keptCPU(stateRoot, qemu, saved); cpu != "" {
		return cpu, nil
	}
	return slot("a CPU that works"), nil
}
