#!/bin/sh
# Builds the programs of the packages: the daemon without PipeWire's own protocol and, as vsndd-pipewire, with it; the others.
set -eu

cargo=${CARGO:-cargo}
out=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release

"$cargo" build --release --locked -p vsndd --features vsndd/pipewire
cp "$out/vsndd" "$out/vsndd-pipewire"
"$cargo" build --release --locked -p vsnd -p vsndd -p vsnd-desktop
