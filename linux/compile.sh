#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Builds the module in a directory of its own. A warning is an error, sparse's too.
# usage: compile.sh DIRECTORY x86|arm64 MAKE...     MAKE with its arguments goes into the directory
set -euo pipefail

linux=$(cd "$(dirname "$0")" && pwd)
directory=$1 architecture=$2
shift 2

make -s -C "$linux" "rust-$architecture.S"
mkdir -p "$directory"
# What did not change keeps its time.
cp -pu "$linux"/{Kbuild,Makefile,"rust-$architecture.S",*.c,*.h} "$directory/"
"$@" C=2 CHECK=sparse module > "$directory/build.log" 2>&1 || {
    cat "$directory/build.log" >&2
    exit 1
}
# Where Kbuild finds it too old, it goes on without it.
grep -q '^  CHECK ' "$directory/build.log" || { echo "sparse did not run: see $directory/build.log" >&2; exit 1; }
# Headers come without the kernel whose types BTF refers to; that is no fault of ours.
if grep -v '^Skipping BTF generation' "$directory/build.log" | grep -i 'warning' >&2; then
    echo "building in $directory warns" >&2
    exit 1
fi
