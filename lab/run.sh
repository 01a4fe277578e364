#!/bin/bash
# Boots Xen with a dom0 in QEMU and runs scenarios in it, on one row or several: a row is a platform (see
# platforms.list) and a driver for the guests. As many rows run in parallel as there are processors. Prints one line for
# each scenario.
# usage: run.sh [--shell] [SCENARIO...]
# environment: PLATFORM (or KERNEL: some platforms are named after the kernel series) and DRIVER=stock|vsnd, one or
# several words each (default: "6.1 6.12" and stock), PROGRAMS and ARM64_PROGRAMS=directories of our programs,
# LAB_SHARED=1 (scenarios are distributed among the rows), LAB_SHORT=1 (each platform with a driver for short runs,
# once, with the scenarios that differ between platforms), LAB_JOBS (number of parallel rows), LAB_LIMIT (seconds
# without a result after which a row is ended), LAB_TRACE=1 (each step on the serial console), LAB_REAL_TIME=1 (time
# does not follow the executed instructions), LAB_XEN (more words for Xen's command line)
set -euo pipefail

lab=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lab/platform.sh
. "$lab/platform.sh"
# shellcheck source=lab/boot.sh
. "$lab/boot.sh"
target=$(dirname "$lab")/target
declare -A ours=(
    [amd64]=${PROGRAMS:-$target/release}
    [arm64]=${ARM64_PROGRAMS:-$target/cross/arm64-12/build/aarch64-unknown-linux-gnu/release}
)
short=${LAB_SHORT:-0}
if [ "$short" = 1 ]; then
    platforms=${PLATFORM:-$(awk '/^[^#]/ && $9 != "no" { print $1 }' "$lab/platforms.list")}
    drivers="stock vsnd"
else
    platforms=${PLATFORM:-${KERNEL:-6.1 6.12}}
    drivers=${DRIVER:-stock}
fi
jobs=${LAB_JOBS:-$(nproc)}
# Seconds without a result after which a row counts as hung. The total time has no limit, since it depends on the
# machine's other load.
limit_seconds=${LAB_LIMIT:-1800}

# memory PLATFORM: sets the megabytes of dom0 and of each guest.
memory() {
    dom0_mb=800 guest_mb=160
    case $1 in
        debug) dom0_mb=860 guest_mb=600 ;;
        arm64*) guest_mb=256 ;;
    esac
}

# share_with_dom0 ROW: makes the directory that is shared with dom0.
share_with_dom0() {
    memory "${1%-*}"
    rm -rf "${out:?}/$1" && mkdir -p "$out/$1/share"
    echo "lab.driver=${1##*-}" > "$out/$1/share/guest-arguments"
    echo "$guest_mb" > "$out/$1/share/guest-memory"
}

# run ROW SCENARIO...: runs a row; creates the file `ended` if dom0 came to its end, and `passed` if nothing failed.
# Runs in a process of its own, whose end also ends QEMU.
run() {
    local row=$1 words="${1%-*} ${1##*-}" share=$out/$1/share began=$SECONDS line good=0 qemu_pid=
    shift
    trap '[ -z "$qemu_pid" ] || kill -KILL "$qemu_pid" 2>/dev/null || true' EXIT
    trap 'exit 143' TERM
    share_with_dom0 "$row"
    echo "$@" > "$share/scenarios"
    : > "$share/results"
    [ -z "${LAB_TRACE:-}" ] || touch "$share/trace"
    boot "${row%-*}" "$share" "file:$out/$row/serial.log"
    # If this process ends, QEMU ends, too.
    setpriv --pdeathsig KILL "${qemu[@]}" < /dev/null 2> "$out/$row/qemu.log" &
    qemu_pid=$!
    end_where_it_hangs "$qemu_pid" "$share/results" "$out/$row/serial.log" > /dev/null &
    while read -r line; do
        case $line in
            end) good=1 ;;
            *) echo "$words  $line" ;;
        esac
    done < <(tail -q -n +1 -s 0.2 -f --pid="$qemu_pid" "$share/results")
    wait "$qemu_pid" 2>/dev/null || true
    qemu_pid=
    [ $good = 1 ] || echo "$words  FAIL $(unfinished "$share" "$@") dom0 did not come to its end, or brought nothing for $limit_seconds s"
    echo "$words  $((SECONDS - began)) s"
    [ $good = 0 ] || touch "$out/$row/ended"
    [ $good = 0 ] || grep -q ^FAIL "$share/results" || touch "$out/$row/passed"
}

# end_where_it_hangs PID FILE...: ends a process that does not change its files for too long.
end_where_it_hangs() {
    local pid=$1
    shift
    while sleep 2 && kill -0 "$pid" 2>/dev/null; do
        [ -n "$(find "$@" -newermt "-$limit_seconds seconds" 2>/dev/null)" ] || kill -KILL "$pid"
    done
}

# unfinished SHARE SCENARIO...: the scenarios without a result, as one word.
unfinished() {
    local share=$1 one
    shift
    for one; do
        grep -Eq "^(PASS|FAIL) $one " "$share/results" || printf '%s,' "$one"
    done | sed 's/,$//'
}

# Named scenarios are often others than those of short runs.
[ "$short" != 1 ] || [ $# -gt 0 ] || export LAB_SMALL=1
shell="" only="$*"
if [ "${1:-}" = --shell ]; then
    shell=1 platforms=${PLATFORM:-${KERNEL:-6.1}} only=""
fi
status=0 complete=""
for name in $platforms; do
    if "$lab/fetch.sh" "$name"; then
        complete="$complete $name"
    else
        echo "$name packages  FAIL download from Debian's servers: see above"
        status=1
    fi
done
platforms=${complete# }
[ -n "$platforms" ] || exit 1
for name in $platforms; do
    platform "$name"
    printf '%s\0' "$name" "${ours[$arch]}"
done | xargs -0 -n 2 -P "$jobs" "$lab/image.sh"
if [ -n "$shell" ]; then
    row=$platforms-$drivers
    share_with_dom0 "$row"
    touch "$out/$row/share/shell"
    LAB_REAL_TIME=1 boot "$platforms" "$out/$row/share" mon:stdio
    exec "${qemu[@]}"
fi

# Start the longest rows first.
mapfile -t rows < <(awk -v platforms="$platforms" -v drivers="$drivers" -v shared="${LAB_SHARED:-0}" -v short="$short" -v only="$only" \
    -f "$lab/share-out.awk" "$lab/platforms.list" "$lab/scenarios.list" | sort -k2,2nr)
runs=() ran=()
trap '[ ${#runs[@]} = 0 ] || kill "${runs[@]}" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
for row in "${rows[@]}"; do
    # The result is checked below.
    [ "$(jobs -pr | wc -l)" -lt "$jobs" ] || wait -n || true
    read -r name _ scenarios <<< "$row"
    if [ "${name##*-}" = vsnd ] && [ ! -e "$out/images/${name%-*}/module" ]; then
        echo "${name%-*} vsnd  FAIL module no vsnd_front.ko below target/module is for kernel" \
            "$(platform "${name%-*}" && cat "$cache/kernel-$guest_kernel/release"): lab/modules.sh ${name%-*}"
        status=1
        continue
    fi
    # shellcheck disable=SC2086  # a list of words
    run "$name" $scenarios &
    runs+=($!)
    ran+=("$name")
done
wait || true

for name in "${ran[@]}"; do
    [ ! -e "$out/$name/passed" ] || continue
    status=1
    { find "$out/$name/share/failed" -mindepth 1 -maxdepth 1 2>/dev/null || true; } | sort | sed "s#^$out/#evidence: target/lab/#"
    [ -e "$out/$name/ended" ] || echo "evidence: target/lab/$name/serial.log"
done
exit $status
