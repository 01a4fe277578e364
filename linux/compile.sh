#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Builds the module in a directory of its own. A warning is an error, also one from sparse.
# usage: compile.sh DIRECTORY x86|arm64 MAKE...     MAKE with its arguments goes into the directory
set -euo pipefail

linux=$(cd "$(dirname "$0")" && pwd)
directory=$1 architecture=$2
shift 2

make -s -C "$linux" "rust-$architecture.S"
mkdir -p "$directory"
# Unchanged files keep their time.
cp -pu "$linux"/{Kbuild,Makefile,"rust-$architecture.S",*.c,*.h} "$directory/"
"$@" C=2 CHECK=sparse module > "$directory/build.log" 2>&1 || {
    cat "$directory/build.log" >&2
    exit 1
}
# Kbuild goes on without sparse where it finds it too old.
grep -q '^  CHECK ' "$directory/build.log" || { echo "sparse did not run: see $directory/build.log" >&2; exit 1; }
# Headers come without the kernel whose types BTF refers to; that warning is not about our code.
if grep -v '^Skipping BTF generation' "$directory/build.log" | grep -i 'warning' >&2; then
    echo "building in $directory warns" >&2
    exit 1
fi
