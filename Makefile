# hmmu: `make run` shows the device at work, `make test` passes the tests. Both set up what they need.
.PHONY: help setup regs run test test-host book pictures browser doc fast bench-host bench-mmu bench-copy lint synth pnr bench-fpga conformance mutants soak matrix preempt inject clean
SHELL := /bin/bash
CARGO ?= cargo

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup:           ## fetch Verilator, Yosys and nextpnr into .tools/
	@tools/setup.sh

regs:            ## write the generated forms of regs/hmmu.toml
	@tools/gen_regs.py

run: setup       ## walk the bundled graph on the simulated device
	@$(CARGO) build --release --quiet -p hmmu
	@./target/release/hmmu graph tb/graphs/workspace.txt

lint: setup      ## formatting, clippy, generated files, Verilator -Wall and Yosys elaboration
	@tools/gen_regs.py --check
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check; else echo "lint: no rustfmt, formatting not checked"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then $(CARGO) clippy --workspace --all-targets --quiet -- -D warnings; else echo "lint: no clippy"; fi

test: setup browser ## all tests: lint, elaboration for synthesis, every crate, every block, the machine
	@$(MAKE) --no-print-directory lint
	@fpga/synth.py --elaborate
	@fpga/synth.py --elaborate --config small
	@$(CARGO) test --workspace --quiet

test-host:       ## the tests that need no Verilator
	@$(CARGO) test --quiet -p hmmu-regs -p hmm-core -p hmmu-driver -p hmmu-model

book:            ## the book of docs/, as web pages in build/book (installs mdBook the first time)
	@CARGO=$(CARGO) tools/book.sh

pictures: setup browser ## the book's pictures of the bundled run, in docs/img
	@$(CARGO) build --release --quiet -p hmmu
	@tools/pictures.py book $${CARGO_TARGET_DIR:-target}/release/hmmu

browser:
	@tools/browser.sh

# With Clippy as the compiler, the builds of models are left out, as in `make lint`.
doc: setup       ## the crates' own documentation, in target/doc; a warning is an error
	@RUSTC_WORKSPACE_WRAPPER=$$(command -v clippy-driver) RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

conformance: setup ## the kernel's own HMM tests, on the functional model and on the verilated design
	@$(CARGO) build --release --quiet -p hmmu
	@./target/release/hmmu run tb/scenarios/conformance --backend model
	@./target/release/hmmu run tb/scenarios/conformance --backend rtl

bench-host:      ## what the memory manager's operations cost per page, and how that grows; build/bench-host.json
	@mkdir -p build
	@$(CARGO) bench --quiet -p hmm-core --bench growth >build/bench-host.log
	@$(CARGO) bench --quiet -p hmm-core --bench memory -- $(CURDIR)/build/bench-memory.json >/dev/null
	@tools/bench_table.py "$${CARGO_TARGET_DIR:-target}/criterion" build/bench-memory.json build/bench-host.json

fast: setup      ## build/fast/release/hmmu: simulates 1.4 times as fast as the release build, takes twice as long to build
	@CARGO=$(CARGO) tools/fast.sh

bench-mmu: fast  ## address translation against an ideal MMU and others' figures; build/bench-mmu.json
	@./build/fast/release/hmmu bench mmu --json build/bench-mmu.json

bench-copy: fast ## what the copy channels move, beside others' figures; build/bench-copy.json
	@./build/fast/release/hmmu bench copy --json build/bench-copy.json

mutants:         ## break one rule of the host side at a time and see which test notices (long)
	@tools/mutants.py

soak: setup      ## a million random operations each on the TLBs, the walker, the fault unit and the MMU, a million hostile TLPs, and harvests and ordering on the whole device (long)
	@HMMU_SOAK=$${HMMU_SOAK:-1000000} HMMU_BLOCKS=l1_tlb,l2_tlb,walker,fault_unit,mmu_bench,pcie_ep,pcie_ep_wide $(CARGO) test --release --quiet -p hmmu-vsim \
	  --test l1_tlb --test l2_tlb --test walker --test fault_unit --test mmu_invalidate --test pcie_fuzz -- random
	@HMMU_SOAK=$${HMMU_SOAK:-1000000} $(CARGO) test --release --quiet -p hmmu --test suite preempt::storm
	@HMMU_SOAK=$${HMMU_SOAK:-1000000} $(CARGO) test --release --quiet -p hmmu --test device_rtl litmus:: -- --nocapture

matrix: setup    ## the bus, the device, scenarios and errors on links of every MPS, MRRS and RCB, and on TLP streams of 256 bits (long)
	@HMMU_SOAK=$${HMMU_SOAK:-1000000} HMMU_BLOCKS=pcie_ep,pcie_ep_256 $(CARGO) test --release --quiet -p hmmu-vsim --test pcie_ep every_size -- --nocapture
	@HMMU_MATRIX=1 $(CARGO) test --release --quiet -p hmmu --test device_rtl matrix:: -- --nocapture
	@HMMU_MATRIX=1 $(CARGO) test --release --quiet -p hmmu --test suite of_every_size -- --nocapture
	@HMMU_MATRIX=1 $(CARGO) test --release --quiet -p hmmu --test suite of_other_sizes -- --nocapture
	@HMMU_RTL=LinkW=256 $(CARGO) test --release --quiet -p hmmu --test device_rtl

preempt: setup   ## take a page, a table or a job away from the whole device at each cycle (long)
	@HMMU_STRIDE=$${HMMU_STRIDE:-1} $(CARGO) test --release --quiet -p hmmu --test suite preempt -- --nocapture
	@HMMU_STRIDE=$${HMMU_STRIDE:-1} $(CARGO) test --release --quiet -p hmmu --test device_rtl save:: -- --nocapture

inject: setup    ## every error at every TLP of a migration there and back; prints cases and outcomes (long; HMMU_STRIDE=N: every N-th)
	@HMMU_STRIDE=$${HMMU_STRIDE:-1} $(CARGO) test --release --quiet -p hmmu --test suite sweep:: -- --nocapture

CONFIG ?= default
synth: setup     ## open ECP5 synthesis of the RTL top, with the table of cells (CONFIG=small: the small one)
	@fpga/synth.py --config $(CONFIG)

pnr: setup       ## place and route of the small configuration for an ECP5-85; passes at 50 MHz or better (long)
	@fpga/synth.py --config small
	@fpga/pnr.py --config small --need 50

bench-fpga: setup ## cells of both configurations, Fmax of the small one; build/bench-fpga.json (long)
	@fpga/bench.py

clean:           ## drop everything built (not .tools/)
	@rm -rf target build
