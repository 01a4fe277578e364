#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Downloads Debian 12's kernel headers of a series and unpacks them below target/headers/SERIES. Nothing is installed.
# Prints the assignments that linux/Makefile wants: KDIR=... KCOMMON=...
# usage: headers.sh 6.1|6.12|debug (the lab's own kernel, where that has been built)
set -euo pipefail

series=$1
project=$(cd "$(dirname "$0")/.." && pwd)
cache=$project/target/headers
into=$cache/$series
apt=$project/target/roots/apt/12-amd64

if [ "$series" = debug ]; then
    echo "KDIR=$project/target/lab/cache/debug-source"
    exit
fi
if [ ! -d "$into" ]; then
    "$project/scripts/apt.sh" "$apt" amd64 bookworm >&2
    # The headers must be those of the kernel that the lab runs.
    release=$("$project/scripts/apt.sh" kernel "$apt" "$series" amd64)
    headers=linux-headers-$release
    kbuild=$(apt-cache -c "$apt/apt.conf" depends "$headers" | sed -n 's/^ *Depends: \(linux-kbuild-.*\)/\1/p')
    echo "Downloading the headers of kernel $release" >&2
    mkdir -p "$cache/debs"
    (cd "$cache/debs" &&
        apt-get -c "$apt/apt.conf" download -qq "$headers" "${headers%-amd64}-common" "$kbuild" >&2)
    rm -rf "$into.new"
    for package in "$headers" "${headers%-amd64}-common" "$kbuild"; do
        dpkg-deb -x "$(find "$cache/debs" -name "${package}_*.deb" | sort | tail -n1)" "$into.new"
    done
    mv "$into.new" "$into"
fi
# The Makefile of KDIR names KCOMMON by its installed path; with both given, no file has to be changed.
echo "KDIR=$(find "$into/usr/src" -maxdepth 1 -name 'linux-headers-*-amd64')"
echo "KCOMMON=$(find "$into/usr/src" -maxdepth 1 -name 'linux-headers-*-common')"
