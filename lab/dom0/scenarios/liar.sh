# A host that lies to the guest's driver (DRIVER=vsnd; the stock driver checks nothing).
# shellcheck shell=sh

LIES="answers ids producer results params silence positions events storm states keep flood slow"

scenario_liar() {
    world a
    must_run a "play 0,0 70"
    for lie in $LIES; do
        daemon_kill KILL
        vsnd-lab-liar "$(guest_id a)" "$lie" > /run/lab/liar.log 2>&1 &
        liar=$!
        seconds=3 arguments="" told=true
        case $lie in
            # Spurious notifications are handled less and less often: the driver's limit may be reached after ten
            # seconds.
            flood) seconds=14 told="dmesg | grep 'events in a row that cannot be true' > /dev/null" ;;
            # Many requests are in flight when the player is told to end; the player must not wait for each of them.
            slow) arguments="--period-size=480 --buffer-size=13440" ;;
        esac
        # A recorder reports each overrun, and only the end of the output is sent here, so arecord's output is
        # discarded. The player's result is not checked; it must end when told to, and the guest must survive.
        guest_run a "soon 3 [ -e /proc/asound/card0/pcm0p ]
            began=\$(now_ms)
            timeout -s INT $seconds aplay -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 $arguments /dev/zero
            echo \$?
            echo took \$((\$(now_ms) - began)) ms
            $told || echo not told
            timeout -s INT 3 arecord -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 -d 1 /dev/null 2> /dev/null; true" 40
        took=$(echo "$OUTPUT" | sed -n 's/^took \([0-9]*\) ms$/\1/p')
        note "$lie: aplay ends with $(echo "$OUTPUT" | grep -x '[0-9]*') after $took ms"
        ! echo "$OUTPUT" | grep -q 'not told' || fail "$lie: the guest's kernel does not say what was wrong"
        # ALSA waits ten seconds for room in the buffer, and `prepare` eight for an absent backend; the limit for
        # answers is three seconds and the time of the buffer.
        [ "${took:-99999}" -lt $((seconds * 1000 + 16000)) ] || fail "$lie: aplay took ${took:-?} ms"
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
