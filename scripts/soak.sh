#!/bin/bash
# Runs the unit tests, then the lab, again and again beside four programs that never wait, and counts what failed.
# usage: soak.sh UNIT-ROUNDS LAB-ROUNDS
set -uo pipefail

cd "$(dirname "$0")/.." || exit
unit_rounds=${1:-20} lab_rounds=${2:-5}
logs=target/soak
rm -rf "$logs" && mkdir -p "$logs"

# rounds PART NUMBER: runs a target of the Makefile so often; one line each, and the number of failures in $failures.
rounds() {
    local part=$1 round began
    failures=0
    for round in $(seq "$2"); do
        began=$SECONDS
        if make --no-print-directory "$part" > "$logs/$part-$round.log" 2>&1; then
            echo "$part $round of $2: passed, $((SECONDS - began)) s"
        else
            failures=$((failures + 1))
            echo "$part $round of $2: FAILED: $(scripts/failures.sh "$logs/$part-$round.log") ($logs/$part-$round.log)"
        fi
    done
}

make --no-print-directory unit-build > "$logs/build.log" 2>&1 || { cat "$logs/build.log"; exit 1; }
loops=()
trap '[ ${#loops[@]} = 0 ] || kill "${loops[@]}"' EXIT
trap 'exit 130' INT TERM
for _ in 1 2 3 4; do
    # If this script goes, so do they.
    setpriv --pdeathsig KILL sh -c 'while :; do :; done' &
    loops+=($!)
done
rounds unit "$unit_rounds"
unit_failures=$failures
rounds lab-test "$lab_rounds"
echo "soak beside four busy loops on $(nproc) processors: unit $unit_rounds rounds, $unit_failures failed;" \
    "lab $lab_rounds rounds, $failures failed"
[ $((unit_failures + failures)) = 0 ]
