#!/bin/bash
# Downloads Debian's packages of Xen, the kernels and the programs of the lab's domains, and unpacks them
# below target/lab/cache. Nothing is installed. Does nothing twice, and needs no network the second time.
set -euo pipefail
export PATH=$PATH:/sbin

lab=$(cd "$(dirname "$0")" && pwd)
cache=$(dirname "$lab")/target/lab/cache
mkdir -p "$cache/debs" && cd "$cache"

# Xen's programs and libraries, what plays in the guests, and a shell for all domains.
programs="xen-hypervisor-4.17-amd64 xen-utils-4.17 xenstore-utils libxenmisc4.17 libxencall1 libxenevtchn1
libxenforeignmemory1 libxengnttab1 libxenstore4 libxentoollog1 libxendevicemodel1 libxenhypfs1 libxentoolcore1
libyajl2 libasound2 libasound2-data alsa-utils busybox-static"

# What people have on a desktop: a sound server, and what alsamixer's screen needs.
desktop="pulseaudio pulseaudio-utils libpulse0 libsndfile1 libasyncns0 libdbus-1-3 libsystemd0 libcap2 libltdl7
libspeexdsp1 libsoxr0 libtdb1 liborc-0.4-0 libflac12 libvorbis0a libvorbisenc2 libogg0 libopus0 libmpg123-0 libmp3lame0
libx11-6 libx11-xcb1 libxcb1 libxau6 libxdmcp6 libbsd0 libmd0 libwrap0 libnsl2 libtirpc3 libgssapi-krb5-2 libkrb5-3
libk5crypto3 libkrb5support0 libkeyutils1 libcom-err2 libgcrypt20 libgpg-error0 libgomp1 libudev1 liblzma5 libzstd1 liblz4-1
libncursesw6 libtinfo6 ncurses-base"

# Without root, apt-get download would try to become another user first.
download() { apt-get -o APT::Sandbox::User=root download -qq "$@"; }

# This machine's lists of packages may be missing, or older than what the servers have.
update_lists() {
    cat ../download.log >&2
    echo "Updating Debian's package lists"
    if [ "$(id -u)" = 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
}

# unpack DIRECTORY PACKAGE...: downloads and unpacks packages; the directory appears when all of it is there.
unpack() {
    local into=$1 package
    shift
    [ ! -d "$into" ] || return 0
    echo "Downloading $(echo "$*" | wc -w) Debian packages for the lab ($into)"
    (cd debs && { download "$@" 2> ../download.log || { update_lists && download "$@"; }; })
    rm -rf "$into.new"
    for package in "$@"; do
        dpkg-deb -x "$(find debs -name "${package}_*.deb" | sort | tail -n1)" "$into.new"
    done
    mv "$into.new" "$into"
}

# The kernel's ELF image out of its bzImage: Xen starts it three times faster. (Linux's boot protocol:
# sectors of setup at 0x1f1, offset and length of the compressed image at 0x248.)
extract() {
    local image=$1 at length unpacker
    number() { od -An -v "-tu$1" -j "$2" -N "$1" "$image" | tr -d ' '; }
    at=$((($(number 1 0x1f1) + 1) * 512 + $(number 4 0x248)))
    length=$(number 4 0x24c)
    case $(od -An -tx1 -j "$at" -N 4 "$image" | tr -d ' ') in
        fd377a58) unpacker="xz -dc --single-stream" ;;
        28b52ffd) unpacker="zstd -dc" ;;
        *) echo "$image is compressed in a way the lab does not know" >&2; return 1 ;;
    esac
    # The image's size stands behind the stream, and the unpackers complain about it.
    tail -c "+$((at + 1))" "$image" | head -c "$length" | $unpacker 2>/dev/null > "$2" || true
    [ "$(od -An -tx1 -N 4 "$2" | tr -d ' ')" = 7f454c46 ]
}

# shellcheck disable=SC2086  # a list of words
unpack programs $programs
# shellcheck disable=SC2086
unpack desktop $desktop
[ -e xen ] || gunzip -c programs/boot/xen-4.17-amd64.gz > xen

for series in "$@"; do
    [ ! -e "kernel-$series/vmlinux" ] || continue
    case $series in
        6.1) meta=linux-image-amd64 ;;
        *) meta=linux-image-$series-amd64 ;;
    esac
    package=$(apt-cache depends "$meta" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n1)
    case $package in
        "linux-image-$series".*) ;;
        *) echo "This Debian has no kernel $series for the lab (found: ${package:-none}); Debian 12 has." >&2; exit 1 ;;
    esac
    unpack "kernel-$series" "$package"
    release=${package#linux-image-}
    depmod -b "kernel-$series" "$release"
    extract "kernel-$series/boot/vmlinuz-$release" "kernel-$series/vmlinux.new"
    echo "$release" > "kernel-$series/release"
    mv "kernel-$series/vmlinux.new" "kernel-$series/vmlinux"
done
