#!/bin/bash
# Downloads Debian's packages of Xen, the kernels and the programs of a platform's domains, and unpacks them below
# target/lab/cache/ARCHITECTURE-DEBIAN. Nothing is installed. Existing packages are kept, and need no network.
# usage: fetch.sh PLATFORM...    or `emulator`: Debian 13's QEMU, which has a virtio sound card
# environment: LAB_SMALL=1 (only what scenarios of short runs need)
set -euo pipefail
export PATH=$PATH:/sbin

lab=$(cd "$(dirname "$0")" && pwd)
scripts=$(dirname "$lab")/scripts
# shellcheck source=lab/platform.sh
. "$lab/platform.sh"

# download FUNCTION ARGUMENT...: runs a function with the platform's own package lists, and again with new lists if it
# fails, because servers drop old packages.
download() {
    # Packages of an interrupted download would be unpacked with these.
    rm -f "$cache/apt.log" "$cache"/apt/cache/archives/*.deb
    {
        "$scripts/apt.sh" "$cache/apt" "$arch" "$codename" &&
            { "$@" || { "$scripts/apt.sh" update "$cache/apt" && "$@"; }; }
    } 2> "$cache/apt.log" || {
        # The last lines are about the last attempt.
        echo "Debian $debian's packages for $arch cannot be downloaded, which the platform $name needs:" >&2
        tail -n 5 "$cache/apt.log" | sed 's/^/  /' >&2
        exit 1
    }
}

packages() { apt-get -c "$cache/apt/apt.conf" -qq "$@" > /dev/null; }

# unpack DIRECTORY: unpacks the downloaded packages; the directory appears when it is complete.
unpack() {
    rm -rf "$1.new"
    "$scripts/apt.sh" unpack "$1.new" "$cache"/apt/cache/archives/*.deb
    rm "$cache"/apt/cache/archives/*.deb
    mv "$1.new" "$1"
}

# fetch_packages DIRECTORY PACKAGE...: downloads packages with their dependencies.
fetch_packages() {
    local directory=$1
    shift
    [ ! -d "$directory" ] || return 0
    echo "Downloading Debian $debian's packages for $arch for the lab ($directory)"
    download packages install -y --download-only --no-install-recommends "$@"
    unpack "$directory"
}

# Xen's programs, players for the guests, a shell for all domains, and what our daemon may be linked with; for other than
# small runs also programs of a desktop, and the device model of HVM guests, which only x86 has.
fetch_programs() {
    local more="pulseaudio pulseaudio-utils pipewire pipewire-bin wireplumber ncurses-base"
    [ "$arch" != amd64 ] || more="$more qemu-system-xen"
    [ "$programs" = "$cache/programs" ] || more=""
    # shellcheck disable=SC2086  # a list of words
    fetch_packages "$programs" "xen-hypervisor-$xen-$arch" "xen-utils-$xen" xenstore-utils alsa-utils busybox-static "$libpipewire" $more
}

# Applications that use ALSA in their own ways.
fetch_applications() {
    [ "$debian" != 12 ] || [ -n "${LAB_SMALL:-}" ] || fetch_packages "$cache/applications" sox libsox-fmt-alsa mpg123 gstreamer1.0-tools gstreamer1.0-alsa \
        gstreamer1.0-plugins-base
}

# extract BZIMAGE FILE: extracts the kernel's ELF image from its bzImage, since Xen starts it three times faster.
# (Linux's boot protocol: sectors of setup at 0x1f1, offset and length of the compressed image at 0x248.)
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
    # The image's size follows the stream, and the unpackers complain about it.
    tail -c "+$((at + 1))" "$image" | head -c "$length" | $unpacker 2>/dev/null > "$2" || true
    [ "$(od -An -tx1 -N 4 "$2" | tr -d ' ')" = 7f454c46 ]
}

# kernel_packages SERIES: downloads the packages of the newest kernel of a series, and sets $release.
kernel_packages() {
    local series=${1%-16k} parts
    release=$("$scripts/apt.sh" kernel "$cache/apt" "$series" "$arch${1#"$series"}") || return
    # Newer kernels are in several packages.
    parts=$(apt-cache -c "$cache/apt/apt.conf" depends "linux-image-$release" | sed -n "s/^ *Depends: \(linux-[a-z]*-$release\)\$/\1/p")
    # shellcheck disable=SC2086  # a list of words
    (cd "$cache/apt/cache/archives" && packages download "linux-image-$release" $parts)
}

fetch_kernel() {
    local kernel=$cache/kernel-$1 release image
    [ ! -e "$kernel/vmlinux" ] || return 0
    # debug-kernel.sh builds that kernel.
    [ "$1" != debug ] || { echo "lab/debug-kernel.sh builds that kernel" >&2; return 1; }
    echo "Downloading kernel $1 of Debian $debian for $arch for the lab ($kernel)"
    download kernel_packages "$1"
    rm -rf "$kernel"
    unpack "$kernel"
    depmod -b "$kernel" "$release"
    echo "$release" > "$kernel/release"
    image=$(find "$kernel/boot/vmlinuz-$release" "$kernel/lib/modules/$release/vmlinuz" 2> /dev/null | head -n1 || true)
    # On Arm, Xen starts the image itself.
    if [ "$arch" = amd64 ]; then extract "$image" "$kernel/vmlinux.new"; else cp "$image" "$kernel/vmlinux.new"; fi
    mv "$kernel/vmlinux.new" "$kernel/vmlinux"
}

mkdir -p "$out/cache"
# One run at a time: another one waits until everything is downloaded.
exec {lock}> "$out/cache/lock"
flock "$lock"
for name in "$@"; do
    if [ "$name" = emulator ]; then
        platform x86-13
        mkdir -p "$cache"
        fetch_packages "$cache/emulator" qemu-system-x86
        continue
    fi
    platform "$name"
    mkdir -p "$cache"
    fetch_programs
    fetch_applications
    case $arch in
        amd64) [ -e "$cache/xen" ] || gunzip -c "$programs/boot/xen-$xen-amd64.gz" > "$cache/xen" ;;
        arm64) cp -u "$programs/boot/xen-$xen-arm64" "$cache/xen" ;;
    esac
    fetch_kernel "$dom0_kernel"
    fetch_kernel "$guest_kernel"
done
