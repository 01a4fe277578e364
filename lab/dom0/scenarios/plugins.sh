# alsa-lib's plugins with a guest's card: plugins that convert, mix or divide a stream. Several applications on one
# stream need mmap (DRIVER=vsnd).
# shellcheck shell=sh

# The guest's configuration: dmix, dsnoop and dshare share the first stream of a direction. If a device has several, the
# stream must be named, since alsa-lib opens it again for the next player.
plugins_configure() {
    # Recordings of earlier scenarios fill the guest's memory.
    must_run a "rm -f /run/lab/*.raw; cat > /etc/asound.conf << END
pcm.lab { type hw card 0 device 0 }
pcm.first { type hw card 0 device 0 subdevice 0 }
pcm.mix { type dmix ipc_key 7001 slave { pcm first format S16_LE rate 48000 channels 2 period_size 1024 buffer_size 8192 } }
pcm.snoop { type dsnoop ipc_key 7002 slave { pcm first format S16_LE rate 48000 channels 2 period_size 1024 buffer_size 8192 } }
pcm.part { type dshare ipc_key 7003 slave { pcm first format S16_LE rate 48000 channels 2 period_size 1024 buffer_size 8192 }
    bindings { 0 0 1 1 } }
pcm_slave.halves { pcm first format S16_LE rate 48000 channels 2 period_size 1024 buffer_size 8192 }
pcm.left { type dshare ipc_key 7004 slave halves bindings { 0 0 } }
pcm.right { type dshare ipc_key 7004 slave halves bindings { 0 1 } }
pcm.straight { type route slave { pcm lab } ttable { 0.0 1 1.1 1 } }
pcm.plugged { type plug slave { pcm lab format S16_LE rate 48000 channels 2 } }
pcm.soft { type softvol slave { pcm lab } control { name 'Lab Volume' card 0 } max_dB 0.0 }
pcm.softmix { type softvol slave { pcm mix } control { name 'Mix Volume' card 0 } max_dB 0.0 }
pcm.rated { type rate slave { pcm lab rate 48000 } }
pcm.hooked { type hooks slave { pcm lab } hooks.0 { type ctl_elems hook_args [ { name 'PCM Playback Switch' index 0 value [ true true ] optional true } ] } }
pcm.second { type hw card 0 device 0 subdevice 1 }
pcm.both { type multi slaves { a { pcm first channels 2 } b { pcm second channels 2 } }
    bindings { 0 { slave a channel 0 } 1 { slave a channel 1 } 2 { slave b channel 0 } 3 { slave b channel 1 } } }
END"
}

# through NAME SEED [FRAMES]: prints the command with which the guest plays a recording through that PCM.
through() {
    echo "{ vsnd-lab make --frames ${3:-96000} --seed $2 /run/lab/p-$2.raw &&
        aplay -q -D $1 -t raw -f S16_LE -r 48000 -c 2 /run/lab/p-$2.raw; }"
}

# dmix starts the card before any player writes, and never reports how far it has written: the ring runs freely.
scenario_dmix() {
    world a
    plugins_configure
    must_run a "$(through mix 151)"
    heard a 0-0 151 --late
    note "one player: $COMPARED"
    # Made in advance, since making the recording takes the guest's only processor.
    must_run a "vsnd-lab make --frames 144000 --seed 152 /run/lab/p-152.raw
        aplay -q -D mix -t raw -f S16_LE -r 48000 -c 2 /run/lab/p-152.raw &
        sleep 1; aplay -q -D mix -t raw -f S16_LE -r 48000 -c 2 /run/lab/p-151.raw && wait \$!"
    both=$(newest "$WAVS/$(guest_id a)-0-0-0")
    vsnd-lab mixed --frames 144000 --seed 152 --other-frames 96000 --other-seed 151 "$both" > /run/lab/compared 2>&1 ||
        fail "two players: $(cat /run/lab/compared)"
    note "two players: $(cat /run/lab/compared)"
    must_run a "aplay -q -D softmix -t raw -f S16_LE -r 48000 -c 2 /run/lab/p-152.raw &
        sleep 1; aplay -q -D softmix -t raw -f S16_LE -r 48000 -c 2 /run/lab/p-151.raw && wait \$!"
    both=$(newest "$WAVS/$(guest_id a)-0-0-0")
    vsnd-lab mixed --frames 144000 --seed 152 --other-frames 96000 --other-seed 151 "$both" > /run/lab/compared 2>&1 ||
        fail "two players through softvol: $(cat /run/lab/compared)"
    note "two players through softvol: $(cat /run/lab/compared)"
}

# plays_through NAME SEED: checks that a recording through that PCM is heard. The stock driver has no mmap, which
# alsa-lib requires of a plugin's slave unless the plugin only passes frames on: with it, the other plugins are refused,
# in one of three ways.
plays_through() {
    if guest_run a "$(through "$1" "$2")"; then
        heard a 0-0 "$2" --late
        note "$1: $COMPARED"
        return
    fi
    plugin_said=$(echo "$OUTPUT" | tail -n2 | tr '\n' ' ')
    case $(guest_module):$1 in
        snd_xen_front:hooked | snd_xen_front:plugged | vsnd_front:*) fail "$1: $plugin_said" ;;
    esac
    echo "$OUTPUT" | grep -q 'Invalid argument\|not available\|no configurations available' || fail "$1: $plugin_said"
    note "$1: refused"
}

# One application on one stream.
scenario_plugins() {
    world a
    plugins_configure
    for name in hooked plugged straight soft rated; do
        plays_through $name 153
    done
    if [ "$(guest_module)" != vsnd_front ]; then
        for name in mix part softmix; do
            plays_through $name 153
        done
        return 0
    fi
    # A rate other than the card's: checks the length, and that the sound is not silent.
    must_run a "vsnd-lab make --frames 44100 --seed 154 /run/lab/p-154.raw &&
        timed 1000 1000 aplay -q -D rated -t raw -f S16_LE -r 44100 -c 2 /run/lab/p-154.raw"
    rated_file=$(newest "$WAVS/$(guest_id a)-0-0-0")
    rated_frames=$(($(tail -c +81 "$rated_file" | wc -c) / 4))
    [ "$rated_frames" -ge 48000 ] || fail "rate: only $rated_frames frames came of 44100 at 44.1 kHz"
    [ "$(tail -c +81 "$rated_file" | unsilenced | wc -c)" -gt 180000 ] || fail "rate: silence"
    note "rated, from 44.1 kHz: $rated_frames frames"
    # A stream of four channels uses two streams of the card.
    must_run a "vsnd-lab make --channels 4 --frames 96000 --seed 155 /run/lab/p-155.raw &&
        aplay -q -D both -t raw -f S16_LE -r 48000 -c 4 /run/lab/p-155.raw"
    heard a 0-0 155 --channels 4 --only 0-1 --late
    heard a 0-1 155 --channels 4 --only 2-3 --late
    note "multi, each of two streams: $COMPARED"
}

# together NAME: runs a player of 3 s through that PCM and, a second later, one of 1 s. The recordings are made in
# advance, since making them takes the guest's only processor.
together() {
    must_run a "cd /run/lab; [ -e p-157.raw ] || vsnd-lab make --frames 144000 --seed 157 p-157.raw
        [ -e p-158.raw ] || vsnd-lab make --frames 48000 --seed 158 p-158.raw
        sound='-q -t raw -f S16_LE -r 48000 -c 2'
        aplay \$sound -D $1 p-157.raw & sleep 1; aplay \$sound -D $1 p-158.raw && wait \$!"
}

# Two applications through a plugin that does not share: each gets a stream of the card while one is free. The next
# application is then refused because the card is busy, and the playing ones are not disturbed.
scenario_together() {
    world a
    plugins_configure
    names="hooked plugged straight soft rated"
    # The other plugins refuse the stock driver, see plays_through.
    [ "$(guest_module)" = vsnd_front ] || names="hooked plugged"
    for name in $names; do
        together "$name"
        heard a 0-0 157 --frames 144000
        heard a 0-1 158 --frames 48000
        note "$name, two: both identical"
    done
    sound="-q -t raw -f S16_LE -r 48000 -c 2"
    must_run a "cd /run/lab; pids=; for n in 1 2 3; do aplay $sound -D plugged p-157.raw & pids=\"\$pids \$!\"; done; sleep 1
        aplay $sound -D plugged p-158.raw; echo status \$?; for pid in \$pids; do wait \$pid || exit; done"
    refused_busy
    for stream in 0 1 2; do heard a 0-$stream 157 --frames 144000; done
    note "plugged, three of three streams: identical; a fourth: $busy_said"
    [ "$(guest_module)" = vsnd_front ] || return 0
    must_run a "cd /run/lab; for n in 159 160; do vsnd-lab make --channels 4 --frames 144000 --seed \$n p-\$n.raw; done
        aplay -q -t raw -f S16_LE -r 48000 -c 4 -D both p-159.raw & sleep 1
        aplay -q -t raw -f S16_LE -r 48000 -c 4 -D both p-160.raw; echo status \$?; wait \$!"
    refused_busy
    heard a 0-0 159 --frames 144000 --channels 4 --only 0-1 --late
    heard a 0-1 159 --frames 144000 --channels 4 --only 2-3 --late
    note "multi, of two streams: identical; a second: $busy_said"
    rated_together
}

# refused_busy: checks that the last player of the guest's command was refused as busy; sets $busy_said to its message.
refused_busy() {
    echo "$OUTPUT" | grep -q '^status 1$' || fail "the last player was not refused: $OUTPUT"
    busy_said=$(echo "$OUTPUT" | grep -o 'Device or resource busy' | head -n 1)
    [ -n "$busy_said" ] || fail "refused, and not as busy: $OUTPUT"
}

# Converted from 44.1 kHz, each of two simultaneous players sounds like a single one.
rated_together() {
    sound="-q -t raw -f S16_LE -r 44100 -c 2"
    must_run a "cd /run/lab; vsnd-lab make --frames 88200 --seed 154 p-154.raw; aplay $sound -D rated p-154.raw"
    alone=$(newest "$WAVS/$(guest_id a)-0-0-0")
    rated_bytes=$(tail -c +81 "$alone" | unsilenced | wc -c)
    [ "$rated_bytes" -gt 360000 ] || fail "rated: $rated_bytes bytes that are not silence"
    must_run a "cd /run/lab; aplay $sound -D rated p-154.raw & sleep 0.5; aplay $sound -D rated p-154.raw && wait \$!"
    for stream in 0 1; do
        rated_file=$(newest "$WAVS/$(guest_id a)-0-0-$stream")
        [ "$rated_file" != "$alone" ] && soon 3 same_sound "$alone" "$rated_file" || fail "rated, two: $rated_file is not what one alone had"
    done
    note "rated from 44.1 kHz, two: each as one alone, $rated_bytes bytes that are not 0"
}

same_sound() { [ "$(tail -c +81 "$1" | unsilenced | md5sum)" = "$(tail -c +81 "$2" | unsilenced | md5sum)" ]; }

# Channels of one stream for different applications, and one stream from which two record; the second begins later.
scenario_shared() {
    world a
    plugins_configure
    plays_through part 156
    must_run a "cd /run/lab; vsnd-lab make --channels 1 --frames 144000 --seed 161 p-161.raw
        vsnd-lab make --channels 1 --frames 48000 --seed 162 p-162.raw
        sound='-q -t raw -f S16_LE -r 48000 -c 1'
        aplay \$sound -D left p-161.raw & sleep 1; aplay \$sound -D right p-162.raw && wait \$!"
    heard a 0-0 161 --channels 1 --frames 144000 --late --among 0-0/2
    note "dshare, two: $COMPARED"
    heard a 0-0 162 --channels 1 --frames 48000 --late --among 1-1/2
    shared_before=$(echo "$COMPARED" | sed -n 's/.*after, \([0-9]*\) before$/\1/p')
    [ "${shared_before:-0}" -gt 24000 ] && [ "$shared_before" -lt 144000 ] || fail "the second did not begin while the first played: $COMPARED"
    note "and $COMPARED"
    must_run a "arecord -q -D snoop -t raw -f S16_LE -r 48000 -c 2 -s 96000 /run/lab/s1.raw & sleep 0.5
        arecord -q -D snoop -t raw -f S16_LE -r 48000 -c 2 -s 48000 /run/lab/s2.raw && wait \$! &&
        vsnd-lab compare --frames 480000 --at-least 96000 --from-any --seed 100 /run/lab/s1.raw &&
        vsnd-lab compare --frames 480000 --at-least 48000 --from-any --seed 100 /run/lab/s2.raw"
    note "dsnoop, two: $(echo "$OUTPUT" | tr '\n' ',')"
}
