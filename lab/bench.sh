#!/bin/bash
# What sound costs on the lab's Xen: runs the scenarios `bench` and `bench_start` on each kernel, prints a table and
# writes target/lab/bench.json. The environment is run.sh's.
set -euo pipefail

lab=$(cd "$(dirname "$0")" && pwd)
out=$(dirname "$lab")/target/lab
results=$out/bench.results
mkdir -p "$out"
: > "$results"

export KERNEL=${KERNEL:-6.1 6.12}
"$lab/run.sh" bench bench_start >&2
for kernel in $KERNEL; do
    sed "s/^/$kernel /" "$out/$kernel/share/bench" >> "$results"
done

# Lines of KERNEL ROW NAME VALUE.
awk '
    { value[$1, $2, $3] = $4 }
    !(($1, $2) in seen) { seen[$1, $2] = 1; row[++rows] = $1 SUBSEP $2 }
    END {
        print "per period: notifications; per second of sound: milliseconds of processor time"
        printf "%-6s  %-13s  %9s  %9s  %9s  %9s  %9s\n", "kernel", "stream", "to daemon", "to guest", "guest", "dom0", "vsndd"
        for (i = 1; i <= rows; i++) {
            split(row[i], word, SUBSEP)
            if (!((row[i], "periods") in value)) continue
            n = value[row[i], "periods"]
            s = value[row[i], "seconds"] / 1000
            printf "%-6s  %-13s  %9.2f  %9.2f  %9.1f  %9.1f  %9.1f\n", word[1], word[2], value[row[i], "to-daemon"] / n,
                value[row[i], "to-guest"] / n, value[row[i], "guest-cpu"] / s, value[row[i], "dom0-cpu"] / s,
                value[row[i], "daemon-cpu"] / s
        }
        for (i = 1; i <= rows; i++) {
            split(row[i], word, SUBSEP)
            if (word[2] == "open")
                printf "%-6s  requests of a player of one period, from its first to CLOSE: %d\n", word[1], value[row[i], "requests"]
            if (word[2] == "start") {
                printf "%-6s  ms from the start of aplay to the first frame at the sink:", word[1]
                for (round = 1; (row[i], "ms-" round) in value; round++) printf " %s", value[row[i], "ms-" round]
                printf "\n"
            }
        }
    }' "$results"

awk '
    { separator = last == $1 SUBSEP $2 ? "," : (last == "" ? "[\n{" : "},\n{") }
    last != $1 SUBSEP $2 { separator = separator "\"kernel\":\"" $1 "\",\"row\":\"" $2 "\"," }
    { printf "%s\"%s\":%s", separator, $3, $4; last = $1 SUBSEP $2 }
    END { print "}\n]" }' "$results" > "$out/bench.json"
rm "$results"
