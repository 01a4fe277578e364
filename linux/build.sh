#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Builds the module for kernel series of Debian: target/module/SERIES/vsnd_front.ko. A warning is an error, sparse's too.
# usage: build.sh 6.1|6.12...
set -euo pipefail

linux=$(cd "$(dirname "$0")" && pwd)
out=$(dirname "$linux")/target/module

make -s -C "$linux" rust-x86.S
for series in "$@"; do
    headers=$("$linux/headers.sh" "$series")
    mkdir -p "$out/$series"
    # Each kernel's objects in a directory of their own; what did not change keeps its time.
    cp -pu "$linux"/{Kbuild,Makefile,rust-x86.S,*.c,*.h} "$out/$series/"
    # shellcheck disable=SC2086  # words
    make -C "$out/$series" $headers C=2 CHECK=sparse module > "$out/$series/build.log" 2>&1 || {
        cat "$out/$series/build.log" >&2
        exit 1
    }
    # 6.1's headers come without the kernel whose types BTF refers to; that is no fault of ours.
    if grep -v '^Skipping BTF generation' "$out/$series/build.log" | grep -i 'warning' >&2; then
        echo "building for $series warns" >&2
        exit 1
    fi
    echo "target/module/$series/vsnd_front.ko: $(wc -c < "$out/$series/vsnd_front.ko") bytes," \
        "vermagic $(modinfo -F vermagic "$out/$series/vsnd_front.ko" | cut -d' ' -f1)"
done
