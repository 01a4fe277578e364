# Everything a user or a developer types. Each target installs what it lacks by itself.

CARGO ?= cargo
# What is built into the daemon besides: FEATURES=pipewire has nodes of PipeWire's own.
FEATURES ?=
# Tests, lints and the benchmark have all of it.
ALL_FEATURES = --features vsndd/pipewire,vsnd/pipewire,vsnd-bench/pipewire
NO_STD_CRATES = sndif vsnd-frontend vsnd-driver
NO_STD_TARGET = x86_64-unknown-none
CHECKPATCH = target/lab/cache/debug-source/scripts/checkpatch.pl

.PHONY: demo test unit lint bench fuzz miri build deps module dist deb deb-test lab lab-debug lab-bench lab-shell lab-build

demo: build
	target/release/vsnd demo $(DEMO_ARGS)

build: deps
	$(CARGO) build --release --locked -p vsnd -p vsndd $(addprefix --features vsndd/,$(FEATURES))

# Everything. The parts in this order, also with -j: what fails fast comes first. Each scenario with our driver, or about the
# daemon alone, is run on one of the two kernels, for the sake of time; `make lab` and `make lab DRIVER=vsnd` run all on both.
test:
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory dist
	@LAB_SPLIT=daemon $(MAKE) --no-print-directory lab
	@LAB_SPLIT=all $(MAKE) --no-print-directory lab DRIVER=vsnd

# All that needs no Xen.
unit: deps
	$(CARGO) build --locked -p vsnd -p vsndd --features vsndd/pipewire,vsnd/pipewire
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    echo "cargo nextest run --workspace"; $(CARGO) nextest run --locked --workspace $(ALL_FEATURES) --no-fail-fast && \
	    $(CARGO) test --locked --workspace $(ALL_FEATURES) --doc --quiet; \
	else \
	    echo "cargo test --workspace"; $(CARGO) test --locked --workspace $(ALL_FEATURES) --no-fail-fast; \
	fi
	@if rustup target list --installed 2>/dev/null | grep -qx $(NO_STD_TARGET); then \
	    $(CARGO) build --locked --target $(NO_STD_TARGET) $(addprefix -p ,$(NO_STD_CRATES)); \
	fi

# What a tool is missing for is left out, and said.
lint: deps
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check; \
	    else echo "lint: rustfmt is missing, left out"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then \
	    $(CARGO) clippy --locked --workspace --all-targets $(ALL_FEATURES) -- -D warnings; \
	    else echo "lint: clippy is missing, left out"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1 && rustup target list --installed 2>/dev/null | grep -qx $(NO_STD_TARGET); then \
	    cd linux && $(CARGO) clippy --locked -p vsnd-kmod --target $(NO_STD_TARGET) -- -D warnings; fi
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace $(ALL_FEATURES) --no-deps --quiet
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check --hide-inclusion-graph bans licenses sources; \
	    else echo "lint: cargo-deny is missing, left out"; fi
	@if [ -e $(CHECKPATCH) ]; then perl $(CHECKPATCH) --no-tree --strict --terse --no-summary --ignore CAMELCASE -f linux/*.[ch]; \
	    else echo "lint: checkpatch.pl is missing (make lab-debug fetches it), left out"; fi

bench: FEATURES = pipewire
bench: build
	$(CARGO) run --release --locked -p vsnd-bench --features vsnd-bench/pipewire -- $(BENCH_ARGS)

# The guest's kernel module, for Debian's kernels 6.1 and 6.12 or the one that KERNEL names.
module:
	@scripts/install-deps.sh module
	linux/build.sh $(or $(KERNEL),6.1 6.12)

# A release of the module, target/dist, built with DKMS and without Rust to see that it can be.
dist:
	@scripts/install-deps.sh module
	linux/dist.sh
	linux/dkms-test.sh $(or $(KERNEL),6.1 6.12)

# Debian packages, target/deb: the daemon as a service, the tool, the guest's module.
deb: build
	@scripts/install-deps.sh deb
	linux/dist.sh
	packaging/deb.sh

# Installs, uses, upgrades and removes them in a Debian of its own.
deb-test: deb
	$(CARGO) build --release --locked -p vsnd-lab
	packaging/test.sh

# A minute for each target, or SECONDS_EACH; TARGETS names some.
fuzz: deps
	fuzz/run.sh $(TARGETS)

# The driver's core and the module's memory in an interpreter that sees every wrong access; without the tests of threads.
miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { \
	    echo "miri: needs nightly Rust with miri: rustup toolchain install nightly --component miri,rust-src" >&2; exit 1; }
	$(CARGO) +nightly miri test --locked -p vsnd-frontend -p vsnd-driver -p vsnd-kmod -- --skip waiting

# A real Xen in QEMU. SCENARIO names one or several of them, KERNEL is 6.1 or 6.12 (default: both), DRIVER what the
# guests load: stock (default) or vsnd.
lab: lab-build
	KERNEL="$(KERNEL)" DRIVER="$(DRIVER)" lab/run.sh $(SCENARIO)

# The same for our driver in guests whose kernel finds fault with itself; builds that kernel once, which takes long.
lab-debug: build
	@scripts/install-deps.sh debug
	lab/fetch.sh 6.12
	lab/debug-kernel.sh
	linux/build.sh debug
	$(CARGO) build --release --locked -p vsnd-lab
	KERNEL=debug DRIVER=vsnd lab/run.sh $(SCENARIO)

# What sound costs there with the stock driver and with ours: notifications, requests, processor time, latency.
lab-bench: lab-build module
	$(CARGO) build --release --locked -p vsnd-bench
	KERNEL="$(KERNEL)" DRIVER="$(DRIVER)" lab/bench.sh

# A prompt in dom0, with the daemon running.
lab-shell: lab-build
	KERNEL="$(KERNEL)" lab/run.sh --shell

lab-build: FEATURES = pipewire
lab-build: build $(if $(filter vsnd,$(DRIVER)),module)
	@scripts/install-deps.sh lab
	$(CARGO) build --release --locked -p vsnd-lab

deps:
	@scripts/install-deps.sh
