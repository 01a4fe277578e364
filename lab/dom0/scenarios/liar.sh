# A host that lies to the guest's driver (DRIVER=vsnd; the stock driver believes everything).
# shellcheck shell=sh

LIES="answers ids producer results params silence positions events storm states keep"

scenario_liar() {
    world a
    must_run a "play 0,0 70"
    for lie in $LIES; do
        daemon_kill KILL
        vsnd-lab-liar "$(guest_id a)" "$lie" > /run/lab/liar.log 2>&1 &
        liar=$!
        # What the player gets out of it is open; it ends when it is told to, and the guest lives.
        guest_run a "soon 3 [ -e /proc/asound/card0/pcm0p ]
            timeout -s INT 3 aplay -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 /dev/zero
            echo \$?
            timeout -s INT 3 arecord -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 -d 1 /dev/null; true" 40
        note "$lie: aplay ends with $(echo "$OUTPUT" | grep -x '[0-9]*')"
        kill -0 $liar 2>/dev/null || fail "the liar is gone: $(tail -n1 /run/lab/liar.log)"
        kill -KILL $liar
        wait $liar 2>/dev/null
        daemon_start
        card_back a
        must_run a "play 0,0 71 24000"
        heard a 0-0 71 --frames 24000
    done
    note "after each: $COMPARED"
    mapped=$(mapped_pages)
    [ "$mapped" = 16 ] || fail "$mapped pages of the guest are mapped, expected 16"
    guest_stop a
}
