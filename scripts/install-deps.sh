#!/bin/sh
# Installs what building and testing need and this machine lacks: Debian packages, and Rust's targets
# for code without std. Says what it installs, asks nothing, does nothing twice.
# With the argument `module` also what building the guest's module takes, with `lab` that and what the lab on a real Xen
# needs on the host, with `debug` that and what building a kernel takes, with `deb` what Debian packages and their test take, with
# `pictures` what those of the documentation take, with `tests` what only the tests use.
# A second argument `arm64` adds what that takes for arm64.
set -eu

cd "$(dirname "$0")/.."
if [ "$(id -u)" = 0 ]; then as_root=""; else as_root="sudo"; fi
missing=""
need() { # package, then a test that it is there
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

need build-essential sh -c 'command -v cc && command -v make'
need pkg-config command -v pkg-config
need libasound2-dev pkg-config --exists alsa
# The `pipewire` feature, which the tests are built with; bindgen reads the headers with libclang.
need libpipewire-0.3-dev pkg-config --exists libpipewire-0.3
need libclang-dev sh -c 'ls /usr/lib/llvm-*/lib/libclang.so'
need linux-libc-dev test -e /usr/include/linux/ioctl.h
need libxen-dev test -e /usr/include/xen/io/sndif.h
need xenstore-utils command -v xenstore-ls
need shellcheck command -v shellcheck
need alsa-utils test -e /usr/share/sounds/alsa/Front_Center.wav
# Sound servers that the tests start; none is left running.
need pulseaudio command -v pulseaudio
need pulseaudio-utils command -v pactl
need libasound2-plugins test -e /usr/lib/x86_64-linux-gnu/alsa-lib/libasound_module_pcm_pulse.so
need pipewire command -v pipewire
need pipewire-pulse command -v pipewire-pulse
need wireplumber command -v wireplumber
if [ "${1:-}" = debug ]; then
    need flex command -v flex
    need bison command -v bison
    need bc command -v bc
    need libelf-dev test -e /usr/include/gelf.h
    need libssl-dev test -e /usr/include/openssl/ssl.h
fi
if [ "${1:-}" = pictures ]; then
    need tmux command -v tmux
    need gnuplot-nox command -v gnuplot
elif [ -n "${1:-}" ] && [ "$1" != tests ]; then
    # The headers that Debian's kernels are built with name this compiler.
    need gcc-12 command -v gcc-12
    need dkms command -v dkms
    need pahole command -v pahole
    need libelf1 test -e /usr/lib/x86_64-linux-gnu/libelf.so.1
    need kmod test -x /sbin/modinfo
    need sparse command -v sparse
fi
if [ "${1:-}" = deb ]; then
    need debhelper command -v dh
    need dh-dkms command -v dh_dkms
    need lintian command -v lintian
    need debootstrap command -v debootstrap
    need systemd-container command -v systemd-nspawn
fi
if [ "${1:-}" = lab ] || [ "${1:-}" = debug ]; then
    need qemu-system-x86 command -v qemu-system-x86_64
    need seabios test -e /usr/share/seabios/bios-256k.bin
    need cpio command -v cpio
    need kmod test -x /sbin/depmod
    need binutils command -v strip
    need xz-utils command -v xz
    need zstd command -v zstd
fi

if [ "${2:-}" = arm64 ]; then
    need gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
    need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
    if [ "$1" = lab ]; then
        need qemu-system-arm command -v qemu-system-aarch64
        need device-tree-compiler command -v dtc
    fi
fi

if [ -n "$missing" ]; then
    echo "Installing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # both are lists of words
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends $missing >/dev/null
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is missing: install it with rustup (https://rustup.rs), then run this again." >&2
    exit 1
fi

rust_target() { # target, then what cannot be done without it
    if command -v rustup >/dev/null 2>&1 && ! rustup target list --installed | grep -qx "$1"; then
        echo "Installing the Rust target $1"
        rustup target add "$1" >/dev/null 2>&1 || echo "Could not install $1, without which $2 cannot be built." >&2
    fi
}
rust_target x86_64-unknown-none "what needs no std"
# The Rust half of the module is assembly for both architectures in a release, and examples/beep is built for both.
rust_target aarch64-unknown-none-softfloat "the module and examples/beep for arm64"
[ "${2:-}" != arm64 ] || rust_target aarch64-unknown-linux-gnu "what is for arm64"

[ "${1:-}" = tests ] || exit 0

# PipeWire's plugin for ALSA, for a test. Installed, it would make PipeWire the default of every program's sound.
plugin=libasound_module_pcm_pipewire.so
if [ ! -e "target/alsa-lib/$plugin" ]; then
    echo "Downloading Debian's pipewire-alsa; its plugin goes to target/alsa-lib"
    mkdir -p target/alsa-lib/package
    apt-cache show pipewire-alsa >/dev/null 2>&1 || $as_root apt-get update -qq
    (cd target/alsa-lib/package && apt-get -o APT::Sandbox::User=root download -q=3 pipewire-alsa && dpkg-deb -x pipewire-alsa_*.deb .)
    cp target/alsa-lib/package/usr/lib/*/alsa-lib/$plugin target/alsa-lib/
    rm -r target/alsa-lib/package
fi

# Prometheus' tool checks the metrics in a test. Installed, the package would run a server.
if [ ! -e target/promtool ]; then
    echo "Downloading Debian's prometheus (19 MB); its promtool goes to target"
    mkdir -p target/prometheus
    apt-cache show prometheus >/dev/null 2>&1 || $as_root apt-get update -qq
    (cd target/prometheus && apt-get -o APT::Sandbox::User=root download -q=3 prometheus &&
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool > promtool && chmod +x promtool)
    mv target/prometheus/promtool target/promtool
    rm -r target/prometheus
fi
