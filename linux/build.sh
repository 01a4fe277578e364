#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Builds the module for kernel series of Debian 12: target/module/SERIES/vsnd_front.ko.
# usage: build.sh 6.1|6.12|debug...
set -euo pipefail

linux=$(cd "$(dirname "$0")" && pwd)
out=$(dirname "$linux")/target/module

for series in "$@"; do
    headers=$("$linux/headers.sh" "$series")
    # shellcheck disable=SC2086  # words
    "$linux/compile.sh" "$out/$series" x86 make -C "$out/$series" $headers
    echo "target/module/$series/vsnd_front.ko: $(wc -c < "$out/$series/vsnd_front.ko") bytes," \
        "vermagic $(modinfo -F vermagic "$out/$series/vsnd_front.ko" | cut -d' ' -f1)"
done
