#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Builds and installs the release with DKMS as a user would, without Rust, into directories of its own; then removes it,
# and checks that nothing is left.
# usage: dkms-test.sh 6.1|6.12...
set -euo pipefail

linux=$(cd "$(dirname "$0")" && pwd)
release=$(find "$(dirname "$linux")/target/dist" -name 'vsnd-dkms-*.tar.gz' | sort | tail -n1)
version=$(basename "$release" .tar.gz)
version=${version#vsnd-dkms-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{src,dkms,modules}
tar -C "$work/src" -xzf "$release"

for series in "$@"; do
    # Debian's headers are unpacked elsewhere than in /usr/src: KDIR is for dkms, KCOMMON for our Makefile.
    headers=$("$linux/headers.sh" "$series")
    kdir=$(echo "$headers" | sed -n 's/^KDIR=//p')
    kernel=$(basename "${kdir#*linux-headers-}")
    dkms_run() {
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin KCOMMON="$(echo "$headers" | sed -n 's/^KCOMMON=//p')" dkms "$@" \
            -m vsnd -v "$version" --sourcetree "$work/src" --dkmstree "$work/dkms" --installtree "$work/modules" \
            -k "$kernel" --kernelsourcedir "$kdir" > "$work/log" 2>&1 || {
            cat "$work/log" "$work/dkms/vsnd/$version/build/make.log" >&2 2>/dev/null
            exit 1
        }
    }
    dkms_run build
    log=$(find "$work/dkms" -name make.log | head -n1)
    if grep -v '^Skipping BTF generation' "$log" | grep -i warning >&2; then
        echo "the DKMS build for $series warns" >&2
        exit 1
    fi
    module=$(find "$work/dkms" -name 'vsnd_front.ko*' -path "*/module/*")
    modinfo "$module" | grep -q '^alias: *xen:vsnd$'
    dkms_run remove
    [ -z "$(find "$work/dkms" "$work/modules" -name 'vsnd_front*')" ] || { echo "dkms remove left something" >&2; exit 1; }
    echo "$series  dkms: vsnd $version built without Rust for $kernel, and removed"
done
