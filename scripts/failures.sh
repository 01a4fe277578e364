#!/bin/sh
# Says in a few words what failed in the log of a part of `make test`: tests, scenarios with their reason, or the first error.
# usage: failures.sh LOG
set -eu

# Tests as nextest and cargo name them, scenarios of the lab ("6.12 vsnd  FAIL delay  ...").
names=$({
    sed -nE 's/^ +(FAIL|TIMEOUT|SIG[A-Z]+|ABORT) .*\] +(\([^)]*\) )?(.*)$/\3/p' "$1"
    sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$1"
    # The reason stands at the end: passed comparisons before it are noted in the same line.
    sed -nE 's/^([^ ]+ [a-z]+)  FAIL:? +([^ ]+) *([0-9.]+ s)? */\2 on \1: /p' "$1" |
        sed -E 's/: $//; s/^([^:]*: ).*(.{200})$/\1… \2/'
} | sort -u | head -n 8 | awk '{ printf "%s%s", separator, $0; separator = "; " }')
[ -n "$names" ] || names=$(grep -m1 -E '^(error|FAIL: )|(ERROR|WARNING|CHECK):|Error|warns$' "$1" | cut -c1-160 || true)
echo "${names:-see its log}"
