#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Downloads Debian's kernel headers of a series and unpacks them below target/headers/SERIES. Nothing is installed.
# Prints the assignments that linux/Makefile wants: KDIR=... KCOMMON=...
# usage: headers.sh 6.1|6.12|debug (the lab's own kernel, where that has been built)
set -euo pipefail

series=$1
cache=$(cd "$(dirname "$0")/.." && pwd)/target/headers
into=$cache/$series

if [ "$series" = debug ]; then
    echo "KDIR=$(cd "$cache/../lab/cache/debug-source" && pwd)"
    exit
fi
if [ ! -d "$into" ]; then
    case $series in
        6.1) meta=linux-image-amd64 ;;
        *) meta=linux-image-$series-amd64 ;;
    esac
    # Those of the very kernel that the lab runs.
    image=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n1)
    release=${image#linux-image-}
    case $release in
        "$series".*) ;;
        *) echo "This Debian has no kernel $series (found: ${image:-none}); Debian 12 has." >&2; exit 1 ;;
    esac
    headers=linux-headers-$release
    kbuild=$(apt-cache depends "$headers" | sed -n 's/^ *Depends: \(linux-kbuild-.*\)/\1/p')
    echo "Downloading the headers of kernel $release" >&2
    mkdir -p "$cache/debs"
    # Without root, apt-get download would try to become another user first.
    (cd "$cache/debs" &&
        apt-get -o APT::Sandbox::User=root download -qq "$headers" "${headers%-amd64}-common" "$kbuild" >&2)
    rm -rf "$into.new"
    for package in "$headers" "${headers%-amd64}-common" "$kbuild"; do
        dpkg-deb -x "$(find "$cache/debs" -name "${package}_*.deb" | sort | tail -n1)" "$into.new"
    done
    mv "$into.new" "$into"
fi
# The Makefile of the first names the second by its installed path; given both, nothing has to be changed.
echo "KDIR=$(find "$into/usr/src" -maxdepth 1 -name 'linux-headers-*-amd64')"
echo "KCOMMON=$(find "$into/usr/src" -maxdepth 1 -name 'linux-headers-*-common')"
