# Everything a user or a developer types. Each target installs what it lacks by itself.

CARGO ?= cargo
# What is built into the daemon besides: FEATURES=pipewire has nodes of PipeWire's own.
FEATURES ?=
# Tests, lints and the benchmark have all of it.
ALL_FEATURES = --features vsndd/pipewire,vsnd/pipewire,vsnd-bench/pipewire
NO_STD_CRATES = sndif vsnd-frontend vsnd-driver
NO_STD_TARGET = x86_64-unknown-none
# The second machine of examples/beep.
ARM_TARGET = aarch64-unknown-none-softfloat
# What is published on crates.io, in the order in which one needs another.
PUBLIC_CRATES = sndif vsnd-frontend vsnd-xenstore
# The oldest Rust that all of it builds with.
MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
# Says that a tool is missing and how to get it. With STRICT=1, as in continuous integration, nothing is left out.
left_out = { echo "left out: $(1)"; [ -z "$(STRICT)" ]; }
TEST_THREADS = $(shell expr 4 \* $$(nproc))
# What `make test` consists of.
TEST_PARTS = lint unit dist lab-test lab-short
# Rounds of `make soak`.
UNIT_ROUNDS = 20
LAB_ROUNDS = 5

.PHONY: demo pictures test test-all soak unit unit-build lint lint-tools msrv publish-check semver-check bench storm chaos fuzz fuzz-asan fuzz-guided miri build deps test-deps beep module module-matrix dist deb deb-test release lab lab-all lab-test lab-short lab-debug lab-bench race lab-shell lab-build

demo: build
	target/release/vsnd demo $(DEMO_ARGS)

build: deps
	$(CARGO) build --release --locked -p vsnd -p vsndd -p vsnd-desktop $(addprefix --features vsndd/,$(FEATURES))

# Everything, what fails fast first. Each part runs, whatever became of the others; a table at the end says what took how
# long, what failed and where to look, and what was left out.
test:
	@scripts/test.sh $(TEST_PARTS)

# The same, and the packages in a container.
test-all:
	@scripts/test.sh $(TEST_PARTS) deb-test

# `make unit` and the lab again and again beside busy processors: nothing may fail that passes on a quiet machine.
soak:
	@scripts/soak.sh $(UNIT_ROUNDS) $(LAB_ROUNDS)

# What a guest with a buffer of 40 ms notices of others who do all they can. In real time: the machine should have nothing else to do.
storm: deps
	$(CARGO) test --release --locked -p vsnd-testkit --test storms -- --ignored --nocapture

# Kills at random moments, 1,000 of them: CHAOS_KILLS and CHAOS_SEED in the environment choose others.
chaos: test-deps
	$(CARGO) build --locked --workspace --bins $(ALL_FEATURES)
	$(CARGO) test --locked --workspace $(ALL_FEATURES) --test cli chaos -- --ignored --nocapture

# Programs and tests in one build.
unit-build: test-deps
	$(CARGO) build --locked --workspace --bins --tests $(ALL_FEATURES)

# All that needs no Xen. Most tests sleep: several run at once on each processor.
unit: unit-build
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    echo "cargo nextest run --workspace"; \
	    $(CARGO) nextest run --locked --workspace $(ALL_FEATURES) --no-fail-fast --test-threads $(TEST_THREADS) \
	        --status-level fail --final-status-level slow && \
	    $(CARGO) test --locked --workspace $(ALL_FEATURES) --doc --quiet; \
	else \
	    echo "cargo test --workspace"; \
	    $(CARGO) test --locked --workspace $(ALL_FEATURES) --no-fail-fast -- --test-threads $(TEST_THREADS); \
	fi
	@if rustup target list --installed 2>/dev/null | grep -qx $(NO_STD_TARGET); then \
	    $(CARGO) build --locked --target $(NO_STD_TARGET) $(addprefix -p ,$(NO_STD_CRATES)); \
	    else $(call left_out,build without std (rustup target add $(NO_STD_TARGET))); fi

# A tool that is missing is named as left out, and what installs it; with STRICT=1 it is installed first. checkpatch.pl is the newest kernel's, and is not asked for
# kzalloc_obj(), which older ones do not have.
lint: deps $(if $(STRICT),lint-tools)
	find apps bench crates examples fuzz lab linux -name '*.rs' -o -name '*.[ch]' | xargs awk -f scripts/comments.awk
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check && (cd examples/beep && $(CARGO) fmt --check); \
	    else $(call left_out,rustfmt (rustup component add rustfmt)); fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then \
	    $(CARGO) clippy --locked --workspace --all-targets $(ALL_FEATURES) -- -D warnings; \
	    else $(call left_out,clippy (rustup component add clippy)); fi
	@if $(CARGO) clippy --version >/dev/null 2>&1 && rustup target list --installed 2>/dev/null | grep -qx $(NO_STD_TARGET); then \
	    cd linux && $(CARGO) clippy --locked -p vsnd-kmod --target $(NO_STD_TARGET) -- -D warnings; \
	    else $(call left_out,clippy of the kernel module (rustup component add clippy; rustup target add $(NO_STD_TARGET))); fi
	@if $(CARGO) clippy --version >/dev/null 2>&1 && [ "$$(rustup target list --installed 2>/dev/null | grep -cx -e $(NO_STD_TARGET) -e $(ARM_TARGET))" = 2 ]; then \
	    cd examples/beep && $(CARGO) clippy --locked -- -D warnings; \
	    else $(call left_out,clippy of beep (rustup component add clippy; rustup target add $(NO_STD_TARGET) $(ARM_TARGET))); fi
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace $(ALL_FEATURES) --no-deps --quiet
	shellcheck -x -S warning $$(grep -rlE '^(#!/bin/(ba)?sh|# shellcheck shell=)' .ci bench fuzz lab linux packaging scripts)
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check --hide-inclusion-graph bans licenses sources && \
	    $(CARGO) deny --locked --config deny.toml --manifest-path examples/beep/Cargo.toml check --hide-inclusion-graph -A license-not-encountered bans licenses sources; \
	    else $(call left_out,cargo-deny (make lint-tools builds it in five minutes)); fi
	@if linux/checkpatch.sh; then cd target/checkpatch && perl checkpatch.pl --no-tree --root=. --strict --terse --no-summary --ignore CAMELCASE,ALLOC_WITH_SIZEOF -f ../../linux/*.[ch]; \
	    else $(call left_out,checkpatch.pl (it comes with Debian's packages linux-source-*)); fi

# What `make lint` uses where it is there, and takes long to build.
lint-tools:
	$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny

# Everything but tests, with the oldest Rust.
msrv: deps
	@if ! command -v rustup >/dev/null 2>&1; then $(call left_out,build with Rust $(MSRV) (needs rustup)); \
	elif rustup run $(MSRV) cargo --version >/dev/null 2>&1 || rustup toolchain install $(MSRV) --profile minimal; then \
	    CARGO_TARGET_DIR=target/msrv rustup run $(MSRV) cargo check --locked --workspace --lib --bins $(ALL_FEATURES); \
	else echo "make msrv: Rust $(MSRV) could not be installed (rustup toolchain install $(MSRV))" >&2; exit 1; fi

# What crates.io would get of each public crate, packed and built from its package alone, and whether crates.io has that version already.
# Nothing is uploaded. Needs cargo 1.90, the network, and a tree without changes that are not committed.
publish-check:
	$(CARGO) publish --dry-run --locked $(addprefix -p ,$(PUBLIC_CRATES))

# Whether the version says what changed for users of the public crates since the last release on crates.io. Before the first, there is
# nothing to compare with.
semver-check:
	@$(CARGO) semver-checks --version >/dev/null 2>&1 || { \
	    echo "semver-check: needs cargo-semver-checks: cargo install --locked cargo-semver-checks" >&2; exit 1; }
	$(CARGO) semver-checks $(addprefix -p ,$(PUBLIC_CRATES))

bench: FEATURES = pipewire
bench: build
	$(CARGO) run --release --locked -p vsnd-bench --features vsnd-bench/pipewire -- $(BENCH_ARGS)

# A guest that is not Linux, on the crates that have no std (examples/beep), for x86-64 and for arm64.
beep: deps
	cd examples/beep && $(CARGO) build --release --locked

# The guest's kernel module, for Debian's kernels 6.1 and 6.12 or the one that KERNEL names.
module:
	@scripts/install-deps.sh module
	linux/build.sh $(or $(KERNEL),6.1 6.12)

# The same for every kernel of linux/kernels.list (architecture, Debian, size of pages), with the compilers of their Debian, which are
# unpacked below target/roots. ROW is the first words of some of its lines: ROW="13 newest".
module-matrix:
	@scripts/install-deps.sh module
	@linux/matrix.sh "$(ROW)"

# A release of the module, target/dist, built with DKMS and without Rust to see that it can be.
dist:
	@scripts/install-deps.sh module
	linux/dist.sh
	linux/dkms-test.sh $(or $(KERNEL),6.1 6.12)

# The pictures that README shows, of the real screen of `vsnd top`.
pictures: build
	@scripts/install-deps.sh pictures
	scripts/pictures.sh

# Debian packages, target/deb: the daemon as a service, the tool, the guest's module. ARCH is amd64 or arm64, SUITE 12 or 13 where they
# are not for this machine's.
deb: deps
	@scripts/install-deps.sh deb $(ARCH)
	linux/dist.sh
	packaging/programs.sh
	$(if $(ARCH)$(SUITE),scripts/cross.sh $(or $(ARCH),amd64) $(or $(SUITE),12) packaging/programs.sh)
	ARCH=$(ARCH) SUITE=$(SUITE) packaging/deb.sh

# The sources, the module's, the packages and their checksums, target/release-VERSION, built twice and compared; and the version's tag.
# SNAPSHOT=1 tries it with a version that is not ready; FOR="arm64-12 amd64-13" has packages for those, too.
release:
	@FOR="$(FOR)" scripts/release.sh $(if $(SNAPSHOT),--snapshot)

# Installs, uses, upgrades and removes them in a Debian of its own.
deb-test: deb
	$(CARGO) build --release --locked -p vsnd-lab
	packaging/test.sh

# Hostile programs and inputs, each made from its number, on stable Rust: it goes on where the last run ended, and says how many
# there were. FUZZ_SECONDS in all (a minute); TARGETS names some. FUZZ_ARGS: see fuzz/src/bin/vsnd-fuzz.rs.
FUZZ_SECONDS = 60
fuzz: deps
	$(CARGO) build --locked --profile fuzz -p vsnd-fuzz
	target/fuzz/vsnd-fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS) $(TARGETS)

# The same with the address sanitizer: nightly Rust.
fuzz-asan:
	RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan \
	    $(CARGO) +nightly build --locked --profile fuzz -p vsnd-fuzz --target x86_64-unknown-linux-gnu
	target/asan/x86_64-unknown-linux-gnu/fuzz/vsnd-fuzz --seconds $(FUZZ_SECONDS) --state target/fuzz/state-asan $(FUZZ_ARGS) $(TARGETS)

# Led by what the code does with an input: libFuzzer, a minute for each target or SECONDS_EACH. Nightly Rust and cargo-fuzz.
fuzz-guided: deps
	fuzz/run.sh $(TARGETS)

# The protocol, all cores, the module's memory and the raw memory of crates/xen in an interpreter that sees every wrong access;
# few cases of each property. Without the tests of threads (loom's), those that move much sound, and what needs two mappings of one file.
MIRI = PROPTEST_CASES=4 MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR=target/miri $(CARGO) +nightly miri test --locked
miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { \
	    echo "miri: needs nightly Rust with miri: rustup toolchain install nightly --component miri,rust-src" >&2; exit 1; }
	$(MIRI) -p vsnd-xen --test memory_in_miri -- --skip runs_lie_behind_one_another
	$(MIRI) -p sndif -- --skip ordering
	$(MIRI) -p vsnd-backend --lib
	$(MIRI) -p vsnd-backend --test core -- --skip a_long_write_is_copied_in_parts --skip further_reads_may_lie --skip far_ahead --skip v0::
	$(MIRI) -p vsnd-frontend -p vsnd-driver -p vsnd-kmod -- --skip waiting --skip come_and_go

# A real Xen in QEMU. SCENARIO names one or several of them, PLATFORM those of lab/platforms.list where they run (default: 6.1 and 6.12;
# KERNEL is another word for it), DRIVER what the guests load: stock (default), vsnd or both.
lab: lab-build
	PLATFORM="$(PLATFORMS)" DRIVER="$(DRIVER)" lab/run.sh $(SCENARIO)

# Every scenario with both drivers on every platform but the one that make lab-debug has.
lab-all:
	@$(MAKE) --no-print-directory lab DRIVER="stock vsnd" PLATFORM="$(filter-out debug,$(shell awk '/^[^#]/ { print $$1 }' lab/platforms.list))"

# Every scenario once with each driver that it is about, shared out among the kernels; with the programs that the tests are built
# with, for another build would take as long as a quarter of the scenarios.
lab-test: unit-build module beep
	@scripts/install-deps.sh lab
	LAB_SHARED=1 DRIVER="stock vsnd" PROGRAMS="$(CURDIR)/target/debug" lab/run.sh

# What tells platforms apart, once on each of those that lab-test has not. Its programs are those that the tests are built with; for
# arm64 they are built alike, without symbols and without PipeWire's own protocol, which none of these scenarios uses; in the same
# directory and with the features of the whole workspace, so that procedural macros and build scripts are shared. A platform that
# cannot be downloaded or built fails alone.
SHORT = $(shell awk '/^[^\#]/ && $$9 ~ /^($(1))$$/ { print $$1 }' lab/platforms.list)
lab-short: unit-build beep
	@scripts/install-deps.sh lab arm64
	CARGO_PROFILE_DEV_DEBUG=0 scripts/cross.sh arm64 12 $(CARGO) build --locked --target-dir target --bin vsndd --bin vsnd-lab
	status=0; LAB_SMALL=1 lab/modules.sh $(call SHORT,vsnd) || status=1; \
	LAB_SHORT=1 PLATFORM="$(call SHORT,stock|vsnd)" PROGRAMS="$(CURDIR)/target/debug" \
	    ARM64_PROGRAMS="$(CURDIR)/target/aarch64-unknown-linux-gnu/debug" lab/run.sh || status=1; exit $$status

# The same for our driver in guests whose kernel finds fault with itself; builds that kernel once, which takes long.
lab-debug: build
	@scripts/install-deps.sh debug
	lab/fetch.sh 6.12
	lab/debug-kernel.sh
	linux/build.sh debug
	$(CARGO) build --release --locked -p vsnd-lab
	KERNEL=debug DRIVER=vsnd lab/run.sh $(SCENARIO)

# What sound costs there with the stock driver and with ours: notifications, requests, processor time, latency; PLATFORM as with lab.
lab-bench: DRIVER := $(or $(DRIVER),stock vsnd)
lab-bench: lab-build
	$(if $(filter amd64,$(LAB_ARCHITECTURES)),$(CARGO) build --release --locked -p vsnd-bench)
	PLATFORM="$(PLATFORMS)" DRIVER="$(DRIVER)" lab/bench.sh

# What sound costs a guest with our driver, with Linux's own, and with each card that QEMU emulates.
race: KERNEL = 6.12
race: lab-build module
	@scripts/install-deps.sh pictures
	lab/race.sh

# A prompt in dom0, with the daemon running.
lab-shell: lab-build
	PLATFORM="$(PLATFORMS)" lab/run.sh --shell

PLATFORMS = $(or $(PLATFORM),$(KERNEL))
# The architectures of the platforms that are asked for.
LAB_ARCHITECTURES = $(sort $(foreach name,$(or $(PLATFORMS),6.1),$(shell awk '$$1 == "$(name)" { print $$2 }' lab/platforms.list)))
LAB_PROGRAMS = -p vsnd -p vsndd -p vsnd-lab --features vsndd/pipewire

lab-build: deps beep
	@scripts/install-deps.sh lab $(filter arm64,$(LAB_ARCHITECTURES))
	$(if $(filter vsnd,$(DRIVER)),lab/modules.sh $(or $(PLATFORMS),6.1 6.12))
	$(if $(filter amd64,$(LAB_ARCHITECTURES)),$(CARGO) build --release --locked $(LAB_PROGRAMS))
	$(if $(filter arm64,$(LAB_ARCHITECTURES)),scripts/cross.sh arm64 12 $(CARGO) build --release --locked $(LAB_PROGRAMS))

deps:
	@scripts/install-deps.sh

# What only the tests use, besides.
test-deps:
	@scripts/install-deps.sh tests
