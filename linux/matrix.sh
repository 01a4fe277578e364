#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Builds the module for each kernel of kernels.list, with the compiler of its Debian:
# target/module/RELEASE/vsnd_front.ko. Each build is repeated with DKMS, from the release, as a user would do it.
# usage: matrix.sh [ROW]      ROW: the first words of some rows, as "13 newest"
# environment: DKMS=no, RELEASE=release of the kernel, instead of the newest one (for a ROW that is one row)
set -euo pipefail

linux=$(cd "$(dirname "$0")" && pwd)
target=$(dirname "$linux")/target
rows=$(sed 's/#.*//' "$linux/kernels.list" | awk -v rows="${1:-}" 'NF { $1 = $1 } NF && (rows == "" || index($0 " ", rows " ") == 1)')
[ -n "$rows" ] || { echo "no row of kernels.list begins with \"$1\"" >&2; exit 1; }

# apt_of DEBIAN ARCHITECTURE: prints the directory of its apt, with package lists at most a day old.
apt_of() {
    local codename apt=$target/roots/apt/$1-$2
    case $1 in
        12) codename=bookworm ;;
        13) codename=trixie ;;
    esac
    "$linux/../scripts/apt.sh" "$apt" "$2" "$codename" >&2
    if [ -n "$(find "$apt/lists" -maxdepth 0 -mmin +1440)" ]; then
        "$linux/../scripts/apt.sh" update "$apt" >&2
        touch "$apt/lists"
    fi
    echo "$apt"
}

# headers DEBIAN RELEASE ARCHITECTURE: unpacks the headers into the Debian's root, to their installed paths. Their tools
# are amd64's.
headers() {
    local root=$target/roots/$1 release=$2 common kbuild debs
    [ ! -e "$root/usr/src/linux-headers-$release/.config" ] || return 0
    debs=$target/roots/debs
    rm -rf "$debs"
    mkdir -p "$debs"
    common=$(apt-cache -c "$(apt_of "$1" "$3")/apt.conf" depends "linux-headers-$release" | sed -n 's/^ *Depends: \(linux-headers-.*-common\)$/\1/p')
    kbuild=$(apt-cache -c "$(apt_of "$1" "$3")/apt.conf" depends "linux-headers-$release" | sed -n 's/^ *Depends: \(linux-kbuild-.*\)$/\1/p')
    echo "Downloading the headers of kernel $release" >&2
    (cd "$debs" && apt-get -c "$(apt_of "$1" "$3")/apt.conf" download -qq "linux-headers-$release" "$common" >&2 &&
        apt-get -c "$(apt_of "$1" amd64)/apt.conf" download -qq "$kbuild" >&2) || {
        echo "the headers of kernel $release for $3 cannot be downloaded; if Debian has a newer kernel by now, remove" \
            "the older one from target/lab/cache" >&2
        return 1
    }
    "$linux/../scripts/apt.sh" unpack "$root" "$debs"/*.deb
    rm -r "$debs"
    # Kbuild runs this script to ask if sparse is new enough; Debian's headers do not contain it.
    kbuild=$root/usr/lib/$kbuild/scripts/checker-valid.sh
    [ -e "$kbuild" ] || install -m755 <(printf '#!/bin/sh\necho 1\n') "$kbuild"
}

# dkms_build DEBIAN RELEASE ARCHITECTURE [VARIABLE]: builds the release for this kernel.
dkms_build() {
    local work=$target/roots/$1/build/dkms machine
    case $3 in
        amd64) machine=x86_64 ;;
        arm64) machine=aarch64 ;;
    esac
    rm -rf "$work"
    mkdir -p "$work"/{source,tree,modules}
    tar -C "$work/source" -xzf "$dist"
    # shellcheck disable=SC2086  # nothing, or one word
    "$linux/root.sh" "$1" env ${4:-} dkms build -m vsnd -v "$version" -k "$2" -a "$machine" --sourcetree /build/dkms/source \
        --dkmstree /build/dkms/tree --installtree /build/dkms/modules --kernelsourcedir "/usr/src/linux-headers-$2" \
        > "$work/log" 2>&1 || {
        cat "$work/log" "$work/tree/vsnd/$version/build/make.log" >&2 2> /dev/null
        return 1
    }
    [ "$(modinfo -F vermagic "$(find "$work/tree" -name 'vsnd_front.ko*')" | cut -d' ' -f1)" = "$2" ]
}

[ "${DKMS:-}" = no ] || "$linux/dist.sh"
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$linux/dkms.conf")
dist=$target/dist/vsnd-dkms-$version.tar.gz
while read -r debian series flavour; do
    architecture=${flavour%%-*}
    "$linux/root.sh" "$debian"
    release=${RELEASE:-$("$linux/../scripts/apt.sh" kernel "$(apt_of "$debian" "$architecture")" "$series" "$flavour")}
    headers "$debian" "$release" "$architecture"
    work=$target/roots/$debian/build/$release
    compiler=""
    [ "$architecture" = amd64 ] || compiler=CROSS_COMPILE=aarch64-linux-gnu-
    began=$SECONDS
    # shellcheck disable=SC2086  # nothing, or one word
    "$linux/compile.sh" "$work" "${architecture/amd64/x86}" \
        "$linux/root.sh" "$debian" make -C "/build/$release" "KDIR=/usr/src/linux-headers-$release" $compiler
    [ "${DKMS:-}" = no ] || dkms_build "$debian" "$release" "$architecture" "$compiler"
    mkdir -p "$target/module/$release"
    cp -p "$work/vsnd_front.ko" "$target/module/$release/"
    printf 'Debian %s  %-6s  %-9s  target/module/%s/vsnd_front.ko: %s bytes, %s s\n' "$debian" "$series" "$flavour" "$release" \
        "$(wc -c < "$work/vsnd_front.ko")" $((SECONDS - began))
done <<< "$rows"
