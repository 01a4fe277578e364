#!/bin/bash
# Boots Xen with a dom0 in QEMU and has it run scenarios, on one row or several: a row is a kernel and a driver for the
# guests. As many rows run side by side as there are processors. Prints one line for each scenario.
# usage: run.sh [--shell] [SCENARIO...]
# environment: KERNEL=6.1|6.12|debug and DRIVER=stock|vsnd, one or several words each (default: "6.1 6.12" and stock),
# PROGRAMS=directory of our programs, LAB_SHARED=1 (scenarios are shared out among the rows), LAB_JOBS (rows side by side),
# LAB_LIMIT (seconds without a result after which a row is ended), LAB_TRACE=1 (each step on the serial console), LAB_REAL_TIME=1 (time does not wait for the
# instructions)
set -euo pipefail

lab=$(cd "$(dirname "$0")" && pwd)
out=$(dirname "$lab")/target/lab
programs=${PROGRAMS:-$(dirname "$lab")/target/release}
kernels=${KERNEL:-6.1 6.12}
drivers=${DRIVER:-stock}
jobs=${LAB_JOBS:-$(nproc)}
# A row that brings nothing for so long hangs. How long all of it takes depends on what else the machine does.
limit_seconds=${LAB_LIMIT:-1800}

# boot ROW SERIAL: the command line of QEMU, as words in $qemu.
# Emulated processors without SMAP (Xen's dom0 dies of it) and with RDRAND (`xl create` waits for entropy).
boot() {
    local image=$out/images/${1%-*} dom0="console=hvc0 quiet loglevel=4 mitigations=off random.trust_cpu=on cryptomgr.notests"
    # shellcheck disable=SC2054  # QEMU's own commas
    qemu=(qemu-system-x86_64 -accel tcg -cpu qemu64,+rdrand -smp 1 -m "$((dom0_mb + 2 * guest_mb + 352))"
        -nodefaults -no-reboot -display none -serial "$2"
        -fsdev "local,id=share,path=$out/$1/share,security_model=none"
        -device virtio-9p-pci,fsdev=share,mount_tag=lab
        -kernel "$out/cache/xen"
        -append "console=com1 com1=115200,8n1 dom0_mem=${dom0_mb}M,max:${dom0_mb}M dom0_max_vcpus=1 loglvl=warning"
        -initrd "$image/dom0.vmlinux $dom0,$image/dom0.cpio")
    # Time that goes with the instructions: no other load of this machine makes a buffer run dry.
    # shellcheck disable=SC2054
    [ -n "${LAB_REAL_TIME:-}" ] || qemu+=(-icount shift=0,sleep=off)
}

# share_with_dom0 ROW: what dom0 finds of us.
share_with_dom0() {
    rm -rf "${out:?}/$1" && mkdir -p "$out/$1/share"
    echo "lab.driver=${1#*-}" > "$out/$1/share/guest-arguments"
    echo "$guest_mb" > "$out/$1/share/guest-memory"
}

# run ROW SCENARIO...: leaves the file `ended` where dom0 came to its end, and `passed` where nothing failed. Runs in a process of its own, and takes QEMU along when that ends.
run() {
    local row=$1 share=$out/$1/share began=$SECONDS line good=0 qemu_pid=
    shift
    trap '[ -z "$qemu_pid" ] || kill -KILL "$qemu_pid" 2>/dev/null || true' EXIT
    trap 'exit 143' TERM
    share_with_dom0 "$row"
    echo "$@" > "$share/scenarios"
    : > "$share/results"
    [ -z "${LAB_TRACE:-}" ] || touch "$share/trace"
    boot "$row" "file:$out/$row/serial.log"
    # If one of them goes, so does what it started.
    setpriv --pdeathsig KILL "${qemu[@]}" < /dev/null 2> "$out/$row/qemu.log" &
    qemu_pid=$!
    end_where_it_hangs "$qemu_pid" "$share/results" "$out/$row/serial.log" > /dev/null &
    while read -r line; do
        case $line in
            end) good=1 ;;
            *) echo "${row/-/ }  $line" ;;
        esac
    done < <(tail -q -n +1 -s 0.2 -f --pid="$qemu_pid" "$share/results")
    wait "$qemu_pid" 2>/dev/null || true
    qemu_pid=
    [ $good = 1 ] || echo "${row/-/ }  FAIL $(unfinished "$share" "$@") dom0 did not come to its end, or brought nothing for $limit_seconds s"
    echo "${row/-/ }  $((SECONDS - began)) s"
    [ $good = 0 ] || touch "$out/$row/ended"
    [ $good = 0 ] || grep -q ^FAIL "$share/results" || touch "$out/$row/passed"
}

# end_where_it_hangs PID FILE...: ends a process that leaves its files as they are for too long.
end_where_it_hangs() {
    local pid=$1
    shift
    while sleep 2 && kill -0 "$pid" 2>/dev/null; do
        [ -n "$(find "$@" -newermt "-$limit_seconds seconds" 2>/dev/null)" ] || kill -KILL "$pid"
    done
}

# unfinished SHARE SCENARIO...: those that have no result, as one word.
unfinished() {
    local share=$1 one
    shift
    for one; do
        grep -Eq "^(PASS|FAIL) $one " "$share/results" || printf '%s,' "$one"
    done | sed 's/,$//'
}

# Megabytes of dom0 and of each guest.
dom0_mb=800 guest_mb=144
shell="" only="$*"
if [ "${1:-}" = --shell ]; then
    shell=1 kernels=${KERNEL:-6.1} only=""
fi
if [ "$kernels" = debug ]; then
    dom0_mb=860 guest_mb=600
    # What a kernel that watches itself is to see of the driver, which is slow.
    only=${only:-driver playback capture duplex lengths killed mmap mixer view unbound removed recovers daemon random liar
        v0module v0mixer leaks}
fi
# shellcheck disable=SC2086  # a list of words
"$lab/fetch.sh" ${kernels/debug/6.12}
for kernel in $kernels; do
    "$lab/image.sh" "$kernel" "$programs"
done
if [ -n "$shell" ]; then
    row=$kernels-$drivers
    share_with_dom0 "$row"
    touch "$out/$row/share/shell"
    LAB_REAL_TIME=1 boot "$row" mon:stdio
    exec "${qemu[@]}"
fi

# The longest rows first.
mapfile -t rows < <(awk -v kernels="$kernels" -v drivers="$drivers" -v shared="${LAB_SHARED:-0}" -v only="$only" \
    -f "$lab/share-out.awk" "$lab/scenarios.list" | sort -k2,2nr)
runs=()
trap '[ ${#runs[@]} = 0 ] || kill "${runs[@]}" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
for row in "${rows[@]}"; do
    # What became of it is seen below.
    [ "$(jobs -pr | wc -l)" -lt "$jobs" ] || wait -n || true
    read -r name _ scenarios <<< "$row"
    # shellcheck disable=SC2086  # a list of words
    run "$name" $scenarios &
    runs+=($!)
done
wait || true

status=0
for row in "${rows[@]}"; do
    read -r name _ <<< "$row"
    [ ! -e "$out/$name/passed" ] || continue
    status=1
    { find "$out/$name/share/failed" -mindepth 1 -maxdepth 1 2>/dev/null || true; } | sort | sed "s#^$out/#evidence: target/lab/#"
    [ -e "$out/$name/ended" ] || echo "evidence: target/lab/$name/serial.log"
done
exit $status
