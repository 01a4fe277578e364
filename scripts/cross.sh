#!/bin/bash
# Runs a command with what cargo needs to build for another architecture or Debian: the libraries of that Debian, unpacked below
# target/cross/ARCHITECTURE-DEBIAN, and a compiler that knows where they are. Programs then lie in
# target/cross/ARCHITECTURE-DEBIAN/build/TRIPLE/PROFILE.
# usage: cross.sh amd64|arm64 12|13 COMMAND...
set -euo pipefail

project=$(cd "$(dirname "$0")/.." && pwd)
architecture=$1 debian=$2
shift 2
case $architecture in
    amd64) gnu=x86_64-linux-gnu target=x86_64-unknown-linux-gnu ;;
    arm64) gnu=aarch64-linux-gnu target=aarch64-unknown-linux-gnu ;;
    *) echo "unknown architecture $architecture (amd64, arm64)" >&2; exit 1 ;;
esac
case $debian in
    12) codename=bookworm ;;
    13) codename=trixie ;;
    *) echo "unknown Debian $debian (12, 13)" >&2; exit 1 ;;
esac

cross=$project/target/cross/$architecture-$debian
root=$cross/sysroot
# The list of libraries is made last.
if ! grep -qs '^ld-linux' "$cross/shlibs"; then
    "$project/scripts/apt.sh" "$cross/apt" "$architecture" "$codename" >&2
    echo "Downloading Debian $debian's libraries for $architecture ($root)" >&2
    apt-get -c "$cross/apt/apt.conf" install -qq -y --download-only --no-install-recommends \
        libc6-dev libasound2-dev libpipewire-0.3-dev > /dev/null
    # The package of each library and of the loader, for packages of our programs.
    # shellcheck disable=SC2016  # dpkg's own
    for deb in "$cross"/apt/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n 's#.*/\(\(lib\|ld-\)[^/]*\)\.so\.\([0-9]*\)$#\1 \3#p' |
            sed "s/\$/ $(dpkg-deb -W --showformat='${Package} (>= ${source:Upstream-Version})' "$deb")/"
    done | sort -u > "$cross/shlibs.new"
    rm -rf "$root.new" "$root"
    "$project/scripts/apt.sh" unpack "$root.new" "$cross"/apt/cache/archives/*.deb
    mv "$root.new" "$root"
    mv "$cross/shlibs.new" "$cross/shlibs"
    rm "$cross"/apt/cache/archives/*.deb
fi
# Without -B and -L, a cross compiler takes its own C library, with which a newer Debian's libraries cannot be linked.
printf '#!/bin/sh\nexec %s-gcc --sysroot=%s -B%s -L%s "$@"\n' "$gnu" "$root" "$root/usr/lib/$gnu" "$root/usr/lib/$gnu" > "$cross/cc"
chmod +x "$cross/cc"

name=${target//-/_}
export CARGO_BUILD_TARGET=$target CARGO_TARGET_DIR=$cross/build
export "CARGO_TARGET_${name^^}_LINKER=$cross/cc" "CC_$name=$cross/cc"
export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_LIBDIR=$root/usr/lib/$gnu/pkgconfig:$root/usr/share/pkgconfig
export BINDGEN_EXTRA_CLANG_ARGS="--sysroot=$root --target=$gnu"
exec "$@"
