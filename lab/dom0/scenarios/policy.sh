# Policy changes of the host while a guest plays and records.
# shellcheck shell=sh

# Capture is denied and allowed while a guest records, with immediate effect. Neither that nor a reload of the
# configuration disturbs the guest's playback. Where configured, OPEN is refused until capture is allowed.
scenario_policy() {
    world a
    config=/run/lab/vsndd.toml
    cp $config /run/lab/vsndd.toml.kept
    { echo 'when-denied = "silence"'; cat /run/lab/vsndd.toml.kept; } > $config
    guest_begin a "play 0,0 61 288000 & arecord -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 -s 240000 /run/lab/policy.raw || exit 1
        wait \$! && vsnd-lab stretches /run/lab/policy.raw"
    sleep 1.5
    vsnd reload || fail "the configuration is not read again"
    vsnd deny-capture a || fail "vsnd deny-capture"
    sleep 1
    echo 'capture = perhaps' >> $config
    if vsnd reload > /run/lab/reload 2>&1; then fail "a broken configuration was taken"; fi
    grep -q "vsndd.toml:[0-9]*:[0-9]*$" /run/lab/reload || fail "it is not said where it is broken: $(cat /run/lab/reload)"
    { echo 'when-denied = "silence"'; cat /run/lab/vsndd.toml.kept; } > $config
    kill -HUP "$(daemon_pid)"
    vsnd allow-capture a || fail "vsnd allow-capture"
    guest_wait a 30 || fail "$OUTPUT"
    echo "$OUTPUT" | grep -qE '^sound [0-9]{5,}, silence [0-9]{5,}, sound [0-9]{5,}$' || fail "recorded: $OUTPUT"
    note "recorded: $(echo "$OUTPUT" | grep ^sound)"
    heard a 0-0 61 --frames 288000
    note "played meanwhile: $COMPARED"
    sed 's/^capture = true/capture = false/' /run/lab/vsndd.toml.kept > $config
    vsnd deny-capture a && vsnd reload || fail "vsnd"
    if guest_run a "record 0,0 100 4800"; then fail "capture was not refused"; fi
    vsnd allow-capture a
    must_run a "record 0,0 100 48000"
    note "refused, then allowed: $OUTPUT"
    vsnd list | grep -q "^.*\<a\>" || fail "vsnd list: $(vsnd list)"
    # Overrides live as long as the guest.
    guest_stop a
    daemon_kill
    rm -f /run/lab/vsndd.pid
}
