#!/bin/sh
# Runs fuzz targets under libFuzzer: all of them, or the named ones, each for SECONDS_EACH seconds (60).
# New inputs go to target/fuzz/; the corpus of the repository is only read.
set -eu
cd "$(dirname "$0")/.."

for tool in "cargo +nightly --version" "cargo fuzz --version"; do
    if ! $tool >/dev/null 2>&1; then
        echo "fuzz: needs nightly Rust and cargo-fuzz; \`$tool\` does not work:" >&2
        echo "    rustup toolchain install nightly && cargo install cargo-fuzz" >&2
        exit 1
    fi
done

if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046  # one word per target
    set -- $(ls fuzz/corpus)
fi
for target in "$@"; do
    mkdir -p "target/fuzz/$target"
    cargo +nightly fuzz run --fuzz-dir fuzz/libfuzzer "$target" "target/fuzz/$target" "fuzz/corpus/$target" -- \
        -max_total_time="${SECONDS_EACH:-60}" -timeout=10 -rss_limit_mb=2048
done
