# How QEMU is told to boot a row. Sourced by run.sh after platform.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154  # what platform.sh and run.sh have set
# shellcheck disable=SC2054  # QEMU's own commas

# boot PLATFORM SHARE SERIAL: the command line of QEMU, as words in $qemu.
boot() {
    local image=$out/images/$1 dom0="console=hvc0 quiet loglevel=4 mitigations=off random.trust_cpu=on cryptomgr.notests"
    platform "$1"
    "boot_$arch"
    qemu+=(-accel tcg -smp 1 -nodefaults -no-reboot -display none -serial "$3"
        -fsdev "local,id=share,path=$2,security_model=none" -kernel "$image/xen")
    # Time that goes with the instructions: no other load of this machine makes a buffer run dry.
    [ -n "${LAB_REAL_TIME:-}" ] || qemu+=(-icount shift=0,sleep=off)
}

# Emulated processors without SMAP (Xen's dom0 dies of it), with RDRAND (`xl create` waits for entropy), and with what guests in
# hardware's own virtual machines need.
boot_amd64() {
    qemu=(qemu-system-x86_64 -cpu qemu64,+rdrand,+npt,+nrip-save -m "$((dom0_mb + 2 * guest_mb + 352))"
        -device virtio-9p-pci,fsdev=share,mount_tag=lab
        -append "console=com1 com1=115200,8n1 dom0_mem=${dom0_mb}M,max:${dom0_mb}M dom0_max_vcpus=1 loglvl=warning"
        -initrd "$image/dom0.vmlinux $dom0,$image/dom0.cpio")
}

# Xen finds dom0's kernel and initrd where QEMU's device tree says: behind Xen itself, with room between them. Debian's Xen lets
# two guests talk to each other only with `xsm=dummy`, which a driver domain needs.
boot_arm64() {
    qemu=(qemu-system-aarch64 -machine virt,virtualization=on,gic-version=3 -cpu neoverse-n1 -m 3072
        -device virtio-9p-device,fsdev=share,mount_tag=lab
        -append "console=dtuart dtuart=/pl011@9000000 dom0_mem=${dom0_mb}M dom0_max_vcpus=1 bootscrub=0 loglvl=warning xsm=dummy"
        -device "guest-loader,addr=0x49000000,kernel=$image/dom0.vmlinux,bootargs=$dom0"
        -device "guest-loader,addr=0x4d000000,initrd=$image/dom0.cpio")
}
