# Features that only our own driver has (DRIVER=vsnd).
# shellcheck shell=sh

# Shows which driver the guest has: a run with the wrong one would prove nothing.
scenario_driver() {
    world a
    must_run a "lsmod | grep -Eo '^(vsnd_front|snd_xen_front)'"
    note "$OUTPUT"
    must_run a "cat /proc/asound/cards; aplay -l | grep ^card"
    note "$(echo "$OUTPUT" | tr '\n' ' ')"
}

# The application accesses the shared buffer directly, without a copy.
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

# Conversion by alsa-lib in the mapped buffer.
scenario_plug() {
    world a
    must_run a "vsnd-lab make --frames 44100 --seed 43 /run/lab/plug.raw &&
        aplay -q -D plughw:0,0 -t raw -f S16_LE -r 44100 -c 2 /run/lab/plug.raw"
    note "plughw at 44.1 kHz: played"
    must_run a "head -c 88200 /dev/urandom > /run/lab/plug.raw; timed 1500 2000 aplay -q -D plughw:0,0 -t raw -f S32_BE -r 11025 -c 1 /run/lab/plug.raw"
    note "s32_be, 11025 Hz, mono through plughw: played in its time"
}

# Rates of the protocol that the stock driver does not know.
scenario_rates() {
    world
    rates="12000;24000;88200;176400;192000;384000"
    guest_start a "[['CARD, short-name=Rates, sample-rates=$rates, buffer-size=262144',
        'PCM, name=all', 'STREAM, unique-id=p0, type=p']]"
    for rate in 12000 24000 88200 176400 192000 384000; do
        must_run a "play 0,0 44 $((rate / 4)) s16_le $rate 2 --buffer-time=60000"
        heard a 0-0 44 --frames $((rate / 4))
    done
    note "12, 24, 88.2, 176.4, 192, 384 kHz: identical"
    guest_stop a
}

# Channels have positions: a player with a WAV file's order maps each to the card's channel, and the daemon's file has
# the original order again.
scenario_speakers() {
    world
    guest_start a "[['CARD, short-name=Speakers, channels-min=1, channels-max=8, buffer-size=262144',
        'PCM, name=all', 'STREAM, unique-id=p0, type=p']]"
    must_run a "play 0,0 45 24000 s16_le 48000 5 --buffer-time=60000 --chmap=FL,FR,RL,RR,FC"
    heard a 0-0 45 --channels 5 --frames 24000
    # Not with five channels: aplay applies the map in the wrong direction, which matters if the inverse map differs.
    for map in FL,FR,FC,LFE,RL,RR FL,FR,FC,LFE,RL,RR,SL,SR; do
        channels=$(echo $map | tr , '\n' | wc -l)
        must_run a "play 0,0 $((40 + channels)) 24000 s16_le 48000 $channels --buffer-time=60000 --chmap=$map"
        heard_in_file_order a 0-0 $((40 + channels)) --channels "$channels" --frames 24000
    done
    must_run a "speaker-test -D hw:0,0 -c8 -r 48000 -t sine -l1 -p 20000" 60
    echo "$OUTPUT" | grep -q 'Side Left' || fail "speaker-test knows no side pair: $OUTPUT"
    note "5.1 and 7.1 put in the card's order by its map: identical; speaker-test -c8: $(echo "$OUTPUT" | grep -c '^ [0-7] - ') speakers by name"
    guest_stop a
}

# silent GUEST PCM-STREAM: checks that the newest recording is silent.
silent() {
    silent_file=$(newest "$WAVS/$(guest_id "$1")-0-$2")
    soon 3 [ -s "$silent_file" ] || fail "$silent_file: there is none"
    [ "$(tail -c +81 "$silent_file" | unsilenced | wc -c)" = 0 ] || fail "${silent_file#"$WAVS"/} is not silent"
}

# Volume and mute, set while the stream is closed and sent when it is opened.
scenario_mixer() {
    world a
    must_run a "amixer -c0 sget PCM,0 | grep -E 'Limits|Left:'"
    note "$(echo "$OUTPUT" | tr -s ' \n' ' ')"
    must_run a "play 0,0 50 24000 && amixer -c0 sget PCM,0 | grep -o 'Left:.*'"
    note "asked of the backend: $(echo "$OUTPUT" | tail -n1)"
    must_run a "amixer -q -c0 sset PCM,0 mute && play 0,0 51 24000"
    silent a 0-0
    must_run a "amixer -q -c0 sset PCM,0 unmute && play 0,0 52 24000"
    heard a 0-0 52 --frames 24000
    must_run a "amixer -q -c0 sset PCM,0 0 && play 0,0 53 24000"
    silent a 0-0
    must_run a "amixer -q -c0 sset PCM,0 0dB && play 0,0 54 24000"
    heard a 0-0 54 --frames 24000
    note "muted: silent; unmuted: identical; -100 dB: silent; 0 dB: identical"
    must_run a "play 0,0 55 & sleep 1; amixer -q -c0 sset PCM,0 mute; wait \$!; amixer -q -c0 sset PCM,0 unmute"
    guest_run a "play 0,0 56 24000"
    heard a 0-0 56 --frames 24000
    note "muted while playing, unmuted while closed"
}

# Information about a stream in /proc/asound.
scenario_view() {
    world a
    must_run a "play 0,0 57 & sleep 1; sed -n '1,/violation\|^pcm 0 stream 1/p' /proc/asound/card0/vsnd | head -n 8; wait \$!"
    note "$(echo "$OUTPUT" | grep -v Playing | tr -s ' \n' ' ')"
}

# The device is detached while an application has the card open: nothing waits for the application.
scenario_removed() {
    world a
    guest_begin a "play 0,0 58 960000; echo status \$?"
    sleep 2
    began=$(now_ms)
    xl vsnd-detach a 0 > /run/lab/detach.log 2>&1 || fail "vsnd-detach: $(cat /run/lab/detach.log)"
    note "vsnd-detach while playing: $(($(now_ms) - began)) ms"
    guest_wait a 20
    note "the player: $(echo "$OUTPUT" | tail -n2 | tr '\n' ' ')"
    must_run a "soon 5 [ ! -e /proc/asound/card0 ] && rmmod vsnd_front && modprobe vsnd_front"
    xl vsnd-attach a "card, short-name=Again" "pcm, name=hot" "stream, unique-id=p, type=p" ||
        fail "vsnd-attach again: status $?"
    must_run a "soon 10 [ -e /proc/asound/card0/pcm0p ]; play 0,0 59"
    heard a 0-0 59
    note "attached again: $COMPARED"
    must_run a no_complaints
    guest_stop a
}

# An administrator unbinds the device from the driver while it plays, and binds it again.
scenario_unbound() {
    world a
    must_run a "play 0,0 65 960000 > /run/lab/65 2>&1 & sleep 2; cd /sys/bus/xen/drivers/vsnd_front
        echo vsnd-0 > unbind && ! aplay -l > /dev/null 2>&1; wait; tail -n1 /run/lab/65
        echo vsnd-0 > bind && soon 10 [ -e /proc/asound/card0/pcm1c ] && play 0,0 66"
    heard a 0-0 66
    note "unbound: $(echo "$OUTPUT" | grep error); bound again: $COMPARED"
    mapped=$(mapped_pages)
    [ "$mapped" = 16 ] || fail "$mapped pages of the guest are mapped, expected 16"
}

# The kernel refuses to make the threads of the channels' interrupts, since it has as many threads as it allows: what was
# bound before is undone, and nothing is freed that was not requested. Bound again, the driver connects.
scenario_threads() {
    world a
    must_run a "cd /sys/bus/xen/drivers/vsnd_front && most=\$(cat /proc/sys/kernel/threads-max) && dmesg -c > /dev/null
        (sleep 3; echo \$most > /proc/sys/kernel/threads-max) & sleep 1
        echo vsnd-0 > unbind; echo 20 > /proc/sys/kernel/threads-max; echo vsnd-0 > bind; wait; dmesg | tail -n 5"
    note "without threads: $(echo "$OUTPUT" | tr '\n' ' ')"
    must_run a "no_complaints && cd /sys/bus/xen/drivers/vsnd_front && echo vsnd-0 > unbind; echo vsnd-0 > bind
        soon 10 [ -e /proc/asound/card0/pcm1c ] && play 0,0 67"
    heard a 0-0 67
    note "bound again: $COMPARED"
    guest_stop a
}

# goes_on GUEST SEED FRAMES FILE [MISSING]: checks that a player's sound is complete: FILE has the part from the first
# connection, the newest recording the part from the next one. At most MISSING frames (4800) may be lost, because the
# first daemon took them without writing them, or be heard twice, because it had not reported their period.
goes_on() {
    vsnd-lab compare --seed "$2" --frames "$3" --at-least 4800 "$4" > /run/lab/compared ||
        fail "what was heard before: $(cat /run/lab/compared)"
    before=$(cat /run/lab/compared)
    heard "$1" 0-0 "$2" --frames "$3" --from-any
    note "heard before: $before, after: $COMPARED"
    until_frame=$(echo "$before" | sed 's/first \([0-9]*\) .*/\1/')
    from_frame=$(echo "$COMPARED" | sed 's/from \([0-9]*\) .*/\1/')
    missing=$((from_frame - until_frame))
    [ "${missing#-}" -le "${5:-4800}" ] || fail "$missing frames are missing"
}

# when_put_down FILE: waits until the daemon has written to the file. The file's thread collects frames for 50 ms: if
# the daemon is killed within that time after a period's end, the file lacks a period that was reported to the guest;
# immediately after a write, the file is complete.
when_put_down() {
    put_down=$(wc -c < "$1")
    for _ in $(seq 100); do
        [ "$(wc -c < "$1")" = "$put_down" ] || return 0
        sleep 0.01
    done
    fail "nothing is written to ${1#"$WAVS"/}"
}

# The daemon is killed and comes back after two seconds; later it stays away.
scenario_recovers() {
    world a
    guest_begin a "play 0,0 60 480000 s16_le 48000 2 -M & one=\$!
        arecord -q -D hw:0,0 -t raw -f S16_LE -r 48000 -c 2 -s 384000 /run/lab/r.raw & wait \$one; a=\$?; wait \$!
        echo statuses \$a \$?; wc -c < /run/lab/r.raw; vsnd-lab compare --frames 384000 --at-least 48000 --seed 100 /run/lab/r.raw"
    sleep 2
    first=$(newest "$WAVS/$(guest_id a)-0-0-0")
    when_put_down "$first"
    daemon_kill KILL
    sleep 2
    daemon_start
    guest_wait a 40
    note "over a restart of 2 s: $(echo "$OUTPUT" | tail -n3 | tr '\n' ' ')"
    echo "$OUTPUT" | grep -q '^statuses 0 0$' || fail "not both ended well"
    ! echo "$OUTPUT" | grep -q 'run!!!' || fail "there was an xrun: $OUTPUT"
    goes_on a 60 480000 "$first"
    # Debian 13's aplay asks for the position while the daemon is away. The answer is an estimate less than a period (4096)
    # ahead, and makes aplay write over so many frames of the ring.
    [ $missing -lt 4096 ] || fail "$missing frames are missing"
    must_run a "play 0,0 61"
    heard a 0-0 61
    guest_begin a "play 0,0 62 480000"
    sleep 2
    daemon_kill KILL
    began=$(now_ms)
    guest_wait a 60
    note "a player whose daemon stays away: status $? after $(($(now_ms) - began)) ms ($(echo "$OUTPUT" | tail -n1))"
    daemon_start
    card_back a
    must_run a "play 0,0 63"
    heard a 0-0 63
    note "and the next: $COMPARED"
}

# The daemon is restarted like by its unit, by an administrator or after its death: measures the time of silence.
scenario_service() {
    world a
    service_seed=67
    for signal in TERM KILL; do
        guest_begin a "play 0,0 $service_seed 480000"
        sleep 2
        first=$(newest "$WAVS/$(guest_id a)-0-0-0")
        began=$(now_ms)
        daemon_kill $signal
        # The unit's RestartSec.
        [ $signal = TERM ] || sleep 0.1
        daemon_start
        soon 10 heard_another || fail "after SIG$signal nothing is heard"
        took=$(($(now_ms) - began))
        guest_wait a 40 || fail "the player: status $?: $OUTPUT"
        ! echo "$OUTPUT" | grep -q 'run!!!' || fail "there was an xrun: $OUTPUT"
        goes_on a $service_seed 480000 "$first"
        note "SIG$signal: $took ms from the old daemon's end to the new one's first frame"
        [ $took -le 1000 ] || fail "more than a second"
        service_seed=$((service_seed + 1))
    done
}

# heard_another: true if a newer recording than $first has frames after its header.
heard_another() {
    another=$(newest "$WAVS/$(guest_id a)-0-0-0")
    [ "$another" != "$first" ] && [ "$(wc -c < "$another")" -gt 80 ]
}

# Two cards in one domain, with the indices and ids from the module's parameters, and a third that is disabled.
scenario_cards() {
    world
    guest_start a "[['CARD, short-name=One', 'PCM, name=x', 'STREAM, unique-id=p, type=p'],
        ['CARD, short-name=Two', 'PCM, name=y', 'STREAM, unique-id=p, type=p'],
        ['CARD, short-name=Three', 'PCM, name=z', 'STREAM, unique-id=p, type=p']]" lab.nodriver
    must_run a "modprobe vsnd_front index=4,2 id=Uno,Due enable=1,1,0
        soon 10 [ -e /proc/asound/card2/pcm0p ] && soon 10 [ -e /proc/asound/card4/pcm0p ] && cat /proc/asound/cards"
    note "$(echo "$OUTPUT" | grep -v '^$' | tr -s ' \n' ' ')"
    sound="-q -t raw -f S16_LE -r 48000 -c 2"
    must_run a "for n in 1 2; do vsnd-lab make --frames 48000 --seed 8\$n /run/lab/\$n.raw; done
        aplay $sound -D hw:Uno /run/lab/1.raw & aplay $sound -D hw:2 /run/lab/2.raw; wait \$!"
    for card in 0 1; do
        heard_file=$(newest "$WAVS/$(guest_id a)-$card-0-0")
        heard_seed=8$((card + 1))
        soon 3 heard_compare --frames 48000 || fail "card $card: $(cat /run/lab/compared)"
    done
    note "both: $(cat /run/lab/compared)"
    guest_stop a
}
