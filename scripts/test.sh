#!/bin/bash
# Runs the parts of `make test` one after another and ends with a table: the minutes of each, what failed and where its
# evidence is, and what was left out. A part that fails does not keep the others from running.
# usage: test.sh PART...   (targets of the Makefile)
set -uo pipefail

cd "$(dirname "$0")/.." || exit
logs=target/test
rm -rf "$logs" && mkdir -p "$logs"

table="" failed=""
began_all=$SECONDS
for part in "$@"; do
    echo "== make $part"
    began=$SECONDS
    if make --no-print-directory "$part" 2>&1 | tee "$logs/$part.log"; then
        verdict=passed
    else
        verdict=FAILED
        # A part that keeps more than its output says where: "evidence: PATH".
        evidence=$(sed -n 's/^.*evidence: //p' "$logs/$part.log" | sort -u | tr '\n' ' ')
        failed="$failed; $part ($(scripts/failures.sh "$logs/$part.log"); evidence: ${evidence:+$evidence}$logs/$part.log)"
    fi
    took=$((SECONDS - began))
    table="$table$(printf '%-9s %6s  %s' "$part" "$((took / 60)):$(printf %02d $((took % 60)))" $verdict)"$'\n'
done
took=$((SECONDS - began_all))

echo
echo "part      minutes"
printf '%s' "$table"
printf '%-9s %6s\n' all "$((took / 60)):$(printf %02d $((took % 60)))"
grep -h '^left out: ' "$logs"/*.log
if [ -n "$failed" ]; then
    echo "make test: FAILED: ${failed#; }"
    exit 1
fi
echo "make test: everything passed"
