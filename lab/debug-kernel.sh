#!/bin/bash
# Builds a small kernel for the lab's guests that checks itself: locks, forbidden sleeping, memory used after it was
# freed or never freed (target/lab/cache/amd64-12/kernel-debug, in the layout of fetch.sh).
# Takes some minutes once; needs 3 GB of disk.
set -euo pipefail
export PATH=$PATH:/sbin

lab=$(cd "$(dirname "$0")" && pwd)
cache=$(dirname "$lab")/target/lab/cache
series=6.12
[ ! -e "$cache/amd64-12/kernel-debug/vmlinux" ] || exit 0
mkdir -p "$cache/debs" && cd "$cache"

if [ ! -d debug-source ]; then
    echo "Downloading the source of kernel $series for the lab"
    (cd debs && apt-get -o APT::Sandbox::User=root download -qq "linux-source-$series")
    rm -rf source.new && mkdir source.new
    dpkg-deb --fsys-tarfile "$(find debs -name "linux-source-${series}_*.deb" | sort | tail -n1)" |
        tar -xO "./usr/src/linux-source-$series.tar.xz" | tar -xJ -C source.new --strip-components=1
    mv source.new debug-source
fi

# Only the features that a PV guest of the lab needs, and all checks. Not KASAN: with it a PV guest crashes in
# xen_start_kernel, before its shadow memory exists.
cat > debug.config << END
$(printf 'CONFIG_%s=y\n' 64BIT SMP PRINTK TTY BINFMT_ELF BINFMT_SCRIPT BLK_DEV_INITRD PROC_FS SYSFS TMPFS DEVTMPFS \
    SHMEM MULTIUSER FUTEX EPOLL SIGNALFD TIMERFD EVENTFD POSIX_TIMERS HIGH_RES_TIMERS NET UNIX UNIX98_PTYS FILE_LOCKING \
    ADVISE_SYSCALLS MEMBARRIER SYSVIPC RD_GZIP \
    HYPERVISOR_GUEST PARAVIRT XEN XEN_PV XEN_SYS_HYPERVISOR HVC_XEN HVC_XEN_FRONTEND XEN_BALLOON SWAP PM SUSPEND \
    MODULES MODULE_UNLOAD SOUND SND SND_DRIVERS SND_HRTIMER SND_VERBOSE_PROCFS SND_PROC_FS SND_SUPPORT_OLD_API \
    KALLSYMS KALLSYMS_ALL BUG STACKTRACE UNWINDER_ORC MITIGATION_RETPOLINE CPU_MITIGATIONS \
    DEBUG_KERNEL DEBUG_FS DEBUG_FS_ALLOW_ALL PROVE_LOCKING DEBUG_ATOMIC_SLEEP DEBUG_LIST DEBUG_SG DEBUG_OBJECTS \
    DEBUG_OBJECTS_FREE DEBUG_OBJECTS_TIMERS DEBUG_OBJECTS_WORK DETECT_HUNG_TASK \
    SLUB_DEBUG SLUB_DEBUG_ON DEBUG_KMEMLEAK SND_DEBUG SND_PCM_XRUN_DEBUG SND_DEBUG_VERBOSE)
$(printf 'CONFIG_%s=m\n' SND_PCM SND_TIMER SND_ALOOP SND_XEN_FRONTEND XEN_FRONT_PGDIR_SHBUF XEN_DEV_EVTCHN XENFS \
    XEN_GNTDEV XEN_GRANT_DEV_ALLOC XEN_PRIVCMD)
CONFIG_DEFAULT_HUNG_TASK_TIMEOUT=60
CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE=16000
CONFIG_LOCALVERSION="-debug"
END
cd debug-source
KCONFIG_ALLCONFIG=../debug.config make -s allnoconfig
for wanted in XEN_PV PROVE_LOCKING DEBUG_ATOMIC_SLEEP DEBUG_OBJECTS SLUB_DEBUG_ON DEBUG_KMEMLEAK SND_XEN_FRONTEND SND_ALOOP \
    XEN_GNTDEV XEN_GRANT_DEV_ALLOC; do
    grep -q "^CONFIG_$wanted=" .config || { echo "this kernel cannot have $wanted" >&2; exit 1; }
done
echo "Building kernel $(make -s kernelrelease) for the lab"
make -s -j"$(nproc)" vmlinux modules > ../debug-build.log 2>&1 || { tail -n 20 ../debug-build.log >&2; exit 1; }
rm -rf ../amd64-12/kernel-debug && mkdir -p ../amd64-12/kernel-debug
make -s INSTALL_MOD_PATH="$PWD/../amd64-12/kernel-debug" modules_install > /dev/null
make -s kernelrelease > ../amd64-12/kernel-debug/release
strip -o ../amd64-12/kernel-debug/vmlinux.new vmlinux
mv ../amd64-12/kernel-debug/vmlinux.new ../amd64-12/kernel-debug/vmlinux
