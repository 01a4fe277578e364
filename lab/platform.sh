# Data of a platform from the lab's table. Sourced; expects the lab's directory in $lab.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # variables for the sourcing script, which sets $lab

out=$(dirname "$lab")/target/lab

# platform NAME: sets variables from the platform's line in platforms.list, and the directory of its packages.
platform() {
    local line
    line=$(awk -v name="$1" '$1 == name' "$lab/platforms.list")
    [ -n "$line" ] || {
        echo "no platform $1 in lab/platforms.list (there are:$(awk '/^[^#]/ { printf " %s", $1 }' "$lab/platforms.list"))" >&2
        return 1
    }
    read -r _ arch debian xen dom0_kernel guest_kernel guest_type _ <<< "$line"
    case $debian in
        12) codename=bookworm libpipewire=libpipewire-0.3-0 ;;
        13) codename=trixie libpipewire=libpipewire-0.3-0t64 ;;
    esac
    case $arch in
        amd64) triplet=x86_64-linux-gnu loader=/lib64/ld-linux-x86-64.so.2 bus=virtio_pci binutils="" bare=x86_64-unknown-none ;;
        arm64) triplet=aarch64-linux-gnu loader=/lib/ld-linux-aarch64.so.1 bus=virtio_mmio binutils=aarch64-linux-gnu- bare=aarch64-unknown-none-softfloat ;;
    esac
    cache=$out/cache/$arch-$debian
    # A small run needs few packages, and takes those of other runs where they exist.
    programs=$cache/programs
    [ -z "${LAB_SMALL:-}" ] || [ -d "$programs" ] || programs=$cache/few-programs
}
