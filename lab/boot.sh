# QEMU's command line to boot a row. Sourced by run.sh after platform.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154  # set by platform.sh and run.sh
# shellcheck disable=SC2054  # QEMU's own commas

# boot PLATFORM SHARE SERIAL: the command line of QEMU, as words in $qemu.
boot() {
    local image=$out/images/$1 dom0="console=hvc0 quiet loglevel=4 mitigations=off random.trust_cpu=on cryptomgr.notests initcall_blacklist=jent_mod_init"
    platform "$1"
    case $guest_type in
        dom0less) boot_dom0less "$2" ;;
        *) "boot_$arch" ;;
    esac
    qemu+=(-accel tcg -smp 1 -nodefaults -no-reboot -display none -serial "$3"
        -fsdev "local,id=share,path=$2,security_model=none" -kernel "$image/xen")
    # Time follows the executed instructions, so that other load of this machine cannot make a buffer run dry.
    [ -n "${LAB_REAL_TIME:-}" ] || qemu+=(-icount shift=0,sleep=off)
}

# Emulated processors without SMAP (Xen's dom0 crashes with it), with RDRAND (`xl create` waits for entropy), and with
# the features that guests in hardware virtual machines need.
boot_amd64() {
    qemu=(qemu-system-x86_64 -cpu qemu64,+rdrand,+npt,+nrip-save -m "$((dom0_mb + 2 * guest_mb + 352))"
        -device virtio-9p-pci,fsdev=share,mount_tag=lab
        -append "console=com1 com1=115200,8n1 dom0_mem=${dom0_mb}M,max:${dom0_mb}M dom0_max_vcpus=1 loglvl=warning ${LAB_XEN:-}"
        -initrd "$image/dom0.vmlinux $dom0,$image/dom0.cpio")
}

# Xen finds dom0's kernel and initrd at the addresses in QEMU's device tree: behind Xen itself, with room between them.
# Debian's Xen lets two guests communicate only with `xsm=dummy`, which a driver domain needs.
boot_arm64() {
    arm64_machine
    qemu+=(-append "$xen_arguments"
        -device "guest-loader,addr=0x49000000,kernel=$image/dom0.vmlinux,bootargs=$dom0"
        -device "guest-loader,addr=0x4d000000,initrd=$image/dom0.cpio")
}

arm64_machine() {
    xen_arguments="console=dtuart dtuart=/pl011@9000000 dom0_mem=${dom0_mb}M dom0_max_vcpus=1 bootscrub=0 loglvl=warning xsm=dummy ${LAB_XEN:-}"
    qemu=(qemu-system-aarch64 -machine virt,virtualization=on,gic-version=3 -cpu neoverse-n1 -m 3072
        -device virtio-9p-device,fsdev=share,mount_tag=lab)
}

# boot_dom0less SHARE: a guest that Xen starts beside dom0. The device tree describes both, with the addresses of their
# kernels and initrds.
boot_dom0less() {
    local tree=${1%/share}/tree kernel=49000000 initrd=4d000000 guest_kernel_at=58000000 guest_initrd=5c000000 placed
    local guest="console=ttyAMA0 quiet loglevel=4 mitigations=off random.trust_cpu=on cryptomgr.notests initcall_blacklist=jent_mod_init lab.late-store"
    arm64_machine
    "${qemu[@]}" -machine "dumpdtb=$tree.dtb" -smp 1 -nodefaults -display none -fsdev "local,id=share,path=$1,security_model=none" 2> /dev/null
    dtc -q -I dtb -O dts "$tree.dtb" > "$tree.dts"
    # module ADDRESS KIND FILE [MORE]: the tree's node for a kernel or an initrd.
    module() {
        printf 'module@%s { compatible = "multiboot,%s", "multiboot,module"; reg = <0x0 0x%s 0x0 0x%x>; %s };\n' \
            "$1" "$2" "$1" "$(stat -L -c %s "$image/$3")" "${4:-}"
    }
    cat >> "$tree.dts" << END
/ { chosen {
    #address-cells = <2>;
    #size-cells = <2>;
    xen,xen-bootargs = "$xen_arguments";
    xen,dom0-bootargs = "$dom0";
    $(module $kernel kernel dom0.vmlinux)
    $(module $initrd ramdisk dom0.cpio)
    domU1 {
        compatible = "xen,domain";
        #address-cells = <2>;
        #size-cells = <2>;
        memory = <0x0 $((guest_mb * 1024))>;
        cpus = <1>;
        vpl011;
        xen,enhanced = "enabled";
        $(module $guest_kernel_at kernel guest.vmlinux "bootargs = \"$guest $(cat "$1/guest-arguments")\";")
        $(module $guest_initrd ramdisk guest.cpio)
    };
}; };
END
    dtc -q -I dts -O dtb "$tree.dts" > "$tree.dtb"
    qemu+=(-dtb "$tree.dtb")
    for placed in "dom0.vmlinux,addr=0x$kernel" "dom0.cpio,addr=0x$initrd" "guest.vmlinux,addr=0x$guest_kernel_at" "guest.cpio,addr=0x$guest_initrd"; do
        qemu+=(-device "loader,file=$image/$placed,force-raw=on")
    done
}
