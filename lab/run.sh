#!/bin/bash
# Boots Xen with a dom0 in QEMU and has it run scenarios; prints one line for each.
# usage: run.sh [--shell] [SCENARIO...]
# environment: KERNEL=6.1|6.12|debug (default: the first two), PROGRAMS=directory of our programs, LAB_TRACE=1 (each step on the
# serial console), DRIVER=stock|vsnd (which driver guests load), LAB_REAL_TIME=1 (time does not wait for the instructions),
# LAB_SPLIT=all|daemon (each scenario, or each that is about the daemon rather than the driver, on one of the kernels, in turn)
set -euo pipefail

lab=$(cd "$(dirname "$0")" && pwd)
out=$(dirname "$lab")/target/lab
programs=${PROGRAMS:-$(dirname "$lab")/target/release}
kernels=${KERNEL:-6.1 6.12}
# No run takes longer, whatever happens in it.
limit_seconds=${LAB_LIMIT:-1800}

# boot KERNEL SERIAL: the command line of QEMU, as words in $qemu.
# Emulated processors without SMAP (Xen's dom0 dies of it) and with RDRAND (`xl create` waits for entropy).
boot() {
    local dom0="console=hvc0 quiet loglevel=4 mitigations=off random.trust_cpu=on cryptomgr.notests"
    # shellcheck disable=SC2054  # QEMU's own commas
    qemu=(qemu-system-x86_64 -accel tcg -cpu qemu64,+rdrand -smp 1 -m "$((dom0_mb + 2 * guest_mb + 352))"
        -nodefaults -no-reboot -display none -serial "$2"
        -fsdev "local,id=share,path=$out/$1/share,security_model=none"
        -device virtio-9p-pci,fsdev=share,mount_tag=lab
        -kernel "$out/cache/xen"
        -append "console=com1 com1=115200,8n1 dom0_mem=${dom0_mb}M,max:${dom0_mb}M dom0_max_vcpus=1 loglvl=warning"
        -initrd "$out/$1/dom0.vmlinux $dom0,$out/$1/dom0.cpio")
    # Time that goes with the instructions: no other load of this machine makes a buffer run dry.
    # shellcheck disable=SC2054
    [ -n "${LAB_REAL_TIME:-}" ] || qemu+=(-icount shift=0,sleep=off)
}

# share_with_dom0 KERNEL: what dom0 finds of us.
share_with_dom0() {
    rm -rf "$out/$1/share" && mkdir -p "$out/$1/share"
    echo "lab.driver=${DRIVER:-stock}" > "$out/$1/share/guest-arguments"
    echo "$guest_mb" > "$out/$1/share/guest-memory"
}

# scenarios_of KERNEL: those that it runs.
scenarios_of() {
    local count place=0 at=0 one
    count=$(echo "$kernels" | wc -w)
    for one in $kernels; do
        [ "$one" != "$1" ] || break
        place=$((place + 1))
    done
    for one in "${scenarios[@]}"; do
        case "${LAB_SPLIT:-}:$one:$daemons" in
            all:*) ;;
            daemon:$one:*" $one "*) ;;
            *)
                printf '%s ' "$one"
                continue
                ;;
        esac
        [ $((at++ % count)) != "$place" ] || printf '%s ' "$one"
    done
    echo
}

# run KERNEL: whether all scenarios passed. Runs in a process of its own, and takes QEMU along when that ends.
run() {
    local kernel=$1 share=$out/$1/share began=$SECONDS line good=0 qemu_pid=
    trap '[ -z "$qemu_pid" ] || kill -KILL "$qemu_pid" 2>/dev/null || true' EXIT
    trap 'exit 143' TERM
    share_with_dom0 "$kernel"
    scenarios_of "$kernel" > "$share/scenarios"
    : > "$share/results"
    [ -z "${LAB_TRACE:-}" ] || touch "$share/trace"
    boot "$kernel" "file:$out/$kernel/serial.log"
    # If one of them goes, so does what it started.
    setpriv --pdeathsig KILL timeout --foreground -s KILL "$limit_seconds" \
        setpriv --pdeathsig KILL "${qemu[@]}" < /dev/null 2> "$out/$kernel/qemu.log" &
    qemu_pid=$!
    while read -r line; do
        case $line in
            end) good=1 ;;
            *) echo "$kernel  $line" ;;
        esac
    done < <(tail -q -n +1 -s 0.2 -f --pid="$qemu_pid" "$share/results")
    wait "$qemu_pid" 2>/dev/null || true
    qemu_pid=
    [ $good = 1 ] || echo "$kernel  FAIL: dom0 did not come to its end (target/lab/$kernel/serial.log)"
    [ ! -d "$share/failed" ] || echo "$kernel  what failed is to be seen in target/lab/$kernel/share/failed"
    echo "$kernel  $((SECONDS - began)) s"
    [ $good = 1 ] && ! grep -q ^FAIL "$share/results"
}

# All scenarios, those that share guests one after another.
all="playback capture duplex lengths killed stopped twenty eight two destroy daemon pause restore formats hotplug
driverdomain"
# What is about the daemon, or needs the stock driver by its name; and what only our own driver can.
daemons=" own v0 v0killed hostile policy xlcfg aloop mixed bounded server pipewire unplugged manual absent "
if [ "${DRIVER:-}" != vsnd ]; then
    all="$all$daemons"
else
    all="$all driver mmap plug rates mixer view unbound removed recovers service cards random liar
queries paused delay drain short speaker desktop
v0module v0mixer v0limits v0goes"
fi
# What a kernel that watches itself is to see of it, which is slow.
debugged="driver playback capture duplex lengths killed mmap mixer view unbound removed recovers daemon random liar v0module
v0mixer leaks"

shell=
if [ "${1:-}" = --shell ]; then
    shell=1 kernels=${KERNEL:-6.1}
    shift
fi
# shellcheck disable=SC2206  # a list of words
scenarios=($([ "$kernels" = debug ] && echo "$debugged" || echo "$all"))
[ $# = 0 ] || scenarios=("$@")
# Megabytes of dom0 and of each guest.
dom0_mb=640 guest_mb=144
if [ "$kernels" = debug ]; then
    dom0_mb=700 guest_mb=600
    "$lab/fetch.sh" 6.12
else
    # shellcheck disable=SC2086  # a list of words
    "$lab/fetch.sh" $kernels
fi

for kernel in $kernels; do
    "$lab/image.sh" "$kernel" "$programs"
done
if [ -n "$shell" ]; then
    share_with_dom0 "$kernels"
    touch "$out/$kernels/share/shell"
    LAB_REAL_TIME=1 boot "$kernels" mon:stdio
    exec "${qemu[@]}"
fi
# The kernels side by side: a boot uses one processor.
runs=()
trap '[ ${#runs[@]} = 0 ] || kill "${runs[@]}" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
for kernel in $kernels; do
    run "$kernel" &
    runs+=($!)
done
status=0
for one in "${runs[@]}"; do
    wait "$one" || status=1
done
exit $status
