#!/bin/sh
# Says in a few words what failed in the log of a part of `make test`: tests, scenarios, or the first error.
# usage: failures.sh LOG
set -eu

# Tests as nextest and cargo name them, scenarios of the lab ("6.12 vsnd  FAIL delay  ...").
names=$({
    sed -nE 's/^ +(FAIL|TIMEOUT|SIG[A-Z]+|ABORT) .*\] +(\([^)]*\) )?(.*)$/\3/p' "$1"
    sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$1"
    sed -nE 's/^([^ ]+ [a-z]+)  FAIL:? +([^ ]+).*$/\2 on \1/p' "$1"
} | sort -u | head -n 8 | paste -s -d, | sed 's/,/, /g')
[ -n "$names" ] || names=$(grep -m1 -E '^error|(ERROR|WARNING|CHECK):|Error|warns$' "$1" | cut -c1-160 || true)
echo "${names:-see its log}"
