#!/bin/bash
# Measures the costs of sound on the lab's Xen: runs the scenarios `bench` and `bench_start` on each platform, with the
# stock driver and with ours, and `bench_dmix` once; on arm64 only `bench` (docs/lab.md, "What sound costs"). Prints a
# table and writes target/lab/bench.json. The environment is that of run.sh; DRIVER may name one of the drivers.
set -euo pipefail

lab=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lab/platform.sh
. "$lab/platform.sh"
# Lines of PLATFORM DRIVER ROW NAME VALUE.
results=$out/bench.results
mkdir -p "$out"
: > "$results"

declare -A platforms=() scenarios=([amd64]="bench bench_start bench_dmix" [arm64]=bench)
for name in ${PLATFORM:-${KERNEL:-6.1 6.12}}; do
    platform "$name"
    platforms[$arch]+=" $name"
done
export LAB_LIMIT=${LAB_LIMIT:-3600}
for driver in ${DRIVER:-stock vsnd}; do
    for arch in "${!platforms[@]}"; do
        [ "$arch" != amd64 ] || export LAB_BENCH=1
        # If this script ends, run.sh ends, too.
        # shellcheck disable=SC2086  # a list of words
        PLATFORM=${platforms[$arch]} DRIVER=$driver setpriv --pdeathsig TERM "$lab/run.sh" ${scenarios[$arch]} >&2
        unset LAB_BENCH
        # This scenario does not depend on the driver.
        scenarios[$arch]=${scenarios[$arch]% bench_dmix}
        for name in ${platforms[$arch]}; do
            sed "s/^/$name $driver /" "$out/$name-$driver/share/bench" >> "$results"
        done
    done
done

# Costs of a running stream: PLATFORM STREAM DRIVER and five numbers, then a line for the streams that both drivers have.
echo "per period: notifications; per second of sound: milliseconds of processor time"
awk '
    { value[$1 " " $3 " " $2, $4] = $5; if ($4 == "periods") rows[$1 " " $3 " " $2] }
    END {
        for (row in rows) {
            periods = value[row, "periods"]
            seconds = value[row, "seconds"] / 1000
            print row, value[row, "to-daemon"] / periods, value[row, "to-guest"] / periods, value[row, "guest-cpu"] / seconds,
                value[row, "dom0-cpu"] / seconds, value[row, "daemon-cpu"] / seconds
        }
    }' "$results" | sort -k1,1V -k2,2V -k3,3 | awk '
    function ratio(    i) {
        if (both) {
            printf "%-10s  %-16s  %-7s", platform, "all of both", "ratio"
            for (i = 4; i <= 8; i++) printf "  %9.2f", sum["vsnd", i] / sum["stock", i]
            printf "\n\n"
        }
        split("", sum)
        both = 0
    }
    BEGIN {
        printf "%-10s  %-16s  %-7s  %9s  %9s  %9s  %9s  %9s\n", "platform", "stream", "driver", "to daemon", "to guest",
            "guest", "dom0", "vsndd"
    }
    $1 != platform { ratio(); platform = $1 }
    {
        printf "%-10s  %-16s  %-7s", $1, $2, $3
        for (i = 4; i <= 8; i++) printf i < 6 ? "  %9.2f" : "  %9.1f", $i
        printf "\n"
        if ($2 == "idle" || $2 ~ /mmap/) next
        for (i = 4; i <= 8; i++) sum[$3, i] += $i
        both = both || $3 == "vsnd" && ("stock", 4) in sum
    }
    END { ratio() }'

# Results that happen once, or are one number.
awk '
    BEGIN {
        text["open"] = "requests of a player of one period, from its first to CLOSE"
        text["start"] = "ms from the start of aplay to the first frame at the sink"
        text["latency"] = "ms from aplay to the sink, with a buffer of 40 ms that aplay keeps full"
        text["least"] = "ms that were left of that buffer at the least"
        text["dmix"] = "streams that share a card by dmix without an xrun"
        text["buffer-nobody"] = "ms: the shortest buffer that does not run dry"
        text["buffer-host"] = "ms: the shortest one while the host is busy"
        text["buffer-guest"] = "ms: the shortest one while the guest is busy"
        text["buffer-both"] = "ms: the shortest one while both are busy"
        text["buffer-host-first"] = "ms: the shortest one while the host is busy, with realtime-priority"
        text["buffer-guest-first"] = "ms: the shortest one while the guest is busy, with a player that runs first (nice -20)"
        text["buffer-both-first"] = "ms: the shortest one while both are busy, with both priorities"
    }
    $3 in text { line = sprintf("%s:  %-10s  %-5s ", text[$3], $1, $2); all[line] = all[line] " " $5 }
    END { for (line in all) print line all[line] }' "$results" | sort -t: -k1,1 -k2,2V

# The goal for the shortest buffers beside busy programs.
awk '
    $3 ~ /^buffer-(host|guest|both)/ {
        printf "%-7s %s, %s, %s: %s ms (at most 10)\n", $5 <= 10 ? "met" : "NOT MET", $3, $1, $2, $5
    }' "$results"

awk '
    { separator = last == $1 $2 $3 ? "," : (last == "" ? "[\n{" : "},\n{") }
    last != $1 $2 $3 { separator = separator "\"platform\":\"" $1 "\",\"driver\":\"" $2 "\",\"row\":\"" $3 "\"," }
    { printf "%s\"%s\":%s", separator, $4, $5; last = $1 $2 $3 }
    END { print "}\n]" }' <(sort -s -k1,1V -k2,3 "$results") > "$out/bench.json"
rm "$results"
