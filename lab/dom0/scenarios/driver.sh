# What only our own driver does (DRIVER=vsnd).
# shellcheck shell=sh

# Which driver the guest has: a run for the wrong one proves nothing.
scenario_driver() {
    world a
    must_run a "lsmod | grep -Eo '^(vsnd_front|snd_xen_front)'"
    note "$OUTPUT"
    must_run a "cat /proc/asound/cards; aplay -l | grep ^card"
    note "$(echo "$OUTPUT" | tr '\n' ' ')"
}
