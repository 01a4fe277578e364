#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Makes a Debian with the compilers of its kernels, for x86-64 and arm64: target/roots/DEBIAN. Its packages are
# unpacked, not installed. A command runs in it, with the directory /build for its files.
# usage: root.sh 12|13 [COMMAND...]
set -euo pipefail

project=$(cd "$(dirname "$0")/.." && pwd)
debian=$1
shift
case $debian in
    12) codename=bookworm gcc=12 newer="" ;;
    # Its sparse does not know the C of newer kernels; unstable's does, and runs in this Debian.
    13) codename=trixie gcc=14 newer=sparse ;;
    *) echo "unknown Debian $debian (12, 13)" >&2; exit 1 ;;
esac
roots=$project/target/roots
root=$roots/$debian

if [ ! -e "$root" ]; then
    "$project/scripts/apt.sh" "$roots/apt/$debian-amd64" amd64 "$codename" >&2
    echo "Downloading Debian $debian's compilers for kernels ($root)" >&2
    apt-get -c "$roots/apt/$debian-amd64/apt.conf" install -qq -y --download-only --no-install-recommends \
        bash coreutils dash diffutils findutils grep kmod make mawk pahole sed sparse \
        "gcc-$gcc" "gcc-$gcc-aarch64-linux-gnu" binutils-aarch64-linux-gnu > /dev/null
    # dkms comes without its dependencies, none of which is needed here.
    (cd "$roots/apt/$debian-amd64/cache/archives" && apt-get -c "$roots/apt/$debian-amd64/apt.conf" download -qq dkms >&2)
    rm -rf "$root.new"
    "$project/scripts/apt.sh" unpack "$root.new" "$roots/apt/$debian-amd64"/cache/archives/*.deb
    rm "$roots/apt/$debian-amd64"/cache/archives/*.deb
    if [ -n "$newer" ]; then
        "$project/scripts/apt.sh" "$roots/apt/sid-amd64" amd64 sid >&2
        (cd "$roots/apt/sid-amd64/cache/archives" && apt-get -c "$roots/apt/sid-amd64/apt.conf" download -qq "$newer" >&2)
        dpkg-deb --fsys-tarfile "$roots/apt/sid-amd64"/cache/archives/*.deb | tar -x -C "$root.new" --no-same-owner ./usr/bin
        rm "$roots/apt/sid-amd64"/cache/archives/*.deb
    fi
    mkdir -p "$root.new"/{dev,proc,tmp,build}
    touch "$root.new/dev/null"
    # Packages that are only unpacked do not make this link.
    ln -s mawk "$root.new/usr/bin/awk"
    mv "$root.new" "$root"
fi
[ $# -gt 0 ] || exit 0

# Root needs no user namespace. In a container with a changed root, as in many, none can be made.
[ "$(id -u)" = 0 ] && become=() || become=(--user --map-root-user)
# shellcheck disable=SC2016  # its own words
exec unshare "${become[@]}" --mount --pid --fork /bin/sh -c '
    root=$1
    shift
    mount --bind /dev/null "$root/dev/null"
    mount -t proc proc "$root/proc"
    exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/usr/sbin LC_ALL=C "$@"' sh "$root" "$@"
