#!/bin/sh
# Builds the programs of the packages. The daemon and the tool are built twice: with PipeWire's own protocol, as vsndd-pipewire and
# vsnd-pipewire, and without it.
set -eu

cargo=${CARGO:-cargo}
out=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release

"$cargo" build --release --locked -p vsnd -p vsndd --features vsnd/pipewire,vsndd/pipewire
for program in vsnd vsndd; do cp "$out/$program" "$out/$program-pipewire"; done
"$cargo" build --release --locked -p vsnd -p vsndd -p vsnd-desktop
