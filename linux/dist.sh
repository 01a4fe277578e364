#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Makes target/dist/vsnd-dkms-VERSION.tar.gz: the module's sources with the Rust half as assembly, which fits every
# kernel of its architecture. A build of it needs gcc, make and a kernel's headers, and no Rust.
set -euo pipefail

linux=$(cd "$(dirname "$0")" && pwd)
project=$(dirname "$linux")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$project/Cargo.toml" | head -n1)
dist=$project/target/dist
name=vsnd-$version

grep -q "^PACKAGE_VERSION=\"$version\"" "$linux/dkms.conf" || {
    echo "linux/dkms.conf has another version than Cargo.toml ($version)" >&2
    exit 1
}
make -s -C "$linux" rust-x86.S rust-arm64.S
rm -rf "${dist:?}/$name"
mkdir -p "$dist/$name"
cp "$linux"/{Kbuild,Makefile,dkms.conf,vsnd-modprobe.conf,rust-x86.S,rust-arm64.S,*.c,*.h} "$project"/LICENSE-{MIT,GPL-2.0} "$dist/$name/"
cp -r "$linux/desktop" "$dist/$name/"
cp "$project/docs/driver.md" "$dist/$name/README.md"
moment=${SOURCE_DATE_EPOCH:-$(git -C "$project" log -1 --format=%ct 2>/dev/null || echo 0)}
tar -C "$dist" --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$moment" -c "$name" |
    gzip -n9 > "$dist/vsnd-dkms-$version.tar.gz"
rm -r "${dist:?}/$name"
echo "target/dist/vsnd-dkms-$version.tar.gz: $(wc -c < "$dist/vsnd-dkms-$version.tar.gz") bytes"
