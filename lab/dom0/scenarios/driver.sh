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

# The shared buffer is the application's: written to and read from without a copy.
scenario_mmap() {
    world a
    must_run a "play 0,0 41 96000 s16_le 48000 2 -M"
    heard a 0-0 41
    note "aplay -M: $COMPARED"
    must_run a "play 0,0 42 96000 s16_le 48000 2 -M --period-size=240 --buffer-size=960"
    heard a 0-0 42
    note "periods of 5 ms: $COMPARED"
    must_run a "arecord -q -M -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 -s 96000 /run/lab/mmap.raw &&
        vsnd-lab compare --frames 96000 --seed 100 /run/lab/mmap.raw"
    note "arecord -M: $OUTPUT"
}

# Conversion, which alsa-lib does in the mapped buffer.
scenario_plug() {
    world a
    must_run a "vsnd-lab make --frames 44100 --seed 43 /run/lab/plug.raw &&
        aplay -q -D plughw:0,0 -t raw -f S16_LE -r 44100 -c 2 /run/lab/plug.raw"
    note "plughw at 44.1 kHz: played"
    must_run a "head -c 88200 /dev/urandom > /run/lab/plug.raw; timed 1500 2000 aplay -q -D plughw:0,0 -t raw -f S32_BE -r 11025 -c 1 /run/lab/plug.raw"
    note "s32_be, 11025 Hz, mono through plughw: played in its time"
}

# Formats and rates of the protocol that the stock driver does not know.
scenario_rates() {
    world
    rates="12000;24000;88200;176400;192000;384000"
    guest_start a "[['CARD, short-name=Rates, sample-rates=$rates, buffer-size=262144',
        'PCM, name=all', 'STREAM, unique-id=p0, type=p']]"
    for rate in 12000 24000 88200 176400 192000 384000; do
        must_run a "play 0,0 44 $rate s16_le $rate 2"
        heard a 0-0 44 --frames $rate
    done
    note "12, 24, 88.2, 176.4, 192, 384 kHz: identical"
    guest_stop a
}
