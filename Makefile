# Everything a person does with this tree. Each target is one command; what needs more stands in testdata/.
# make deps  installs what the tests and the demo need (Debian, as root); the other targets never install anything but demo and qemu.
PREFIX ?= /usr/local
GO     ?= go
TOOL    = $(GO) tool -modfile=tools.mod

export CGO_ENABLED = 0

build:
	$(GO) build -trimpath -buildvcs=false -ldflags '-s -w -buildid=' -o runh .

deps:
	@sh testdata/deps.sh
	@sh testdata/hermit/fetch.sh binaries virtiofsd
	@sh testdata/testing.sh

demo: build
	@sh testdata/deps.sh
	@sh testdata/hermit/fetch.sh binaries
	@sh testdata/demo.sh

# build/qemu: a QEMU with nothing but what runh uses, from the distribution's sources, as a tree for --hermit-env; three minutes on two cores.
qemu:
	@sh testdata/qemu/build.sh

# go test without a package name shows its summary also when all is well: how many were skipped, and why.
test: deps
	$(GO) test -count=1 -timeout 60m $(TESTFLAGS)

# The part of it that runs in virtual machines: cgroup v2, v1, both, systemd, and KVM.
test-vm:
	RUNH_TEST_ALL=1 $(GO) test -count=1 -timeout 60m -run TestVM -v

lint:
	@sh testdata/lint.sh $(TOOL)

fuzz:
	@sh testdata/fuzz.sh $(GO)

# The table of BENCHMARKS.md, anew; QUICK=1 only prints one, of few rounds. Guests run under TCG, and where KVM works under that, too;
# ACCEL=tcg or ACCEL=kvm is one of them alone.
bench: build
	$(GO) run ./testdata/bench -runh ./runh $(if $(ACCEL),-accel $(ACCEL)) $(if $(QUICK),-quick,-write BENCHMARKS.md)

# The tables of CONFORMANCE.md, anew: opencontainers/runtime-tools against runh, runc and crun, and runc's own suite against runc and
# runh. As root; a quarter of an hour; needs the Go proxy.
conformance: build
	$(GO) run ./testdata/conformance -runh ./runh $(if $(ONLY),-only '$(ONLY)',-write CONFORMANCE.md)

size: build
	@sh testdata/size.sh runh

install: build
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' sh testdata/install.sh

# build/runh_VERSION_amd64.deb, and where make qemu has been, build/runh-qemu_VERSION_amd64.deb
deb: build
	@sh testdata/deb.sh

clean:
	rm -rf runh build

.PHONY: build deps demo qemu test test-vm lint fuzz bench conformance size install deb clean
