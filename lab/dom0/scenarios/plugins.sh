# alsa-lib's plugins over a guest's card: several applications on one stream, whatever mixes or divides it (DRIVER=vsnd).
# shellcheck shell=sh

# The guest's configuration: dmix, dsnoop and dshare share the first stream of either direction, which has to be named where a device
# has several: alsa-lib opens it once more for the next player.
plugins_configure() {
    must_run a "cat > /etc/asound.conf << END
pcm.lab { type hw card 0 device 0 }
pcm.first { type hw card 0 device 0 subdevice 0 }
pcm.mix { type dmix ipc_key 7001 slave { pcm first format S16_LE rate 48000 channels 2 period_size 1024 buffer_size 8192 } }
pcm.snoop { type dsnoop ipc_key 7002 slave { pcm first format S16_LE rate 48000 channels 2 period_size 1024 buffer_size 8192 } }
pcm.part { type dshare ipc_key 7003 slave { pcm first format S16_LE rate 48000 channels 2 period_size 1024 buffer_size 8192 }
    bindings { 0 0 1 1 } }
pcm.straight { type route slave { pcm lab } ttable { 0.0 1 1.1 1 } }
pcm.plugged { type plug slave { pcm lab format S16_LE rate 48000 channels 2 } }
END"
}

# through NAME SEED [FRAMES]: the words by which the guest plays a recording through that PCM.
through() {
    echo "{ vsnd-lab make --frames ${3:-96000} --seed $2 /run/lab/p-$2.raw &&
        aplay -q -D $1 -t raw -f S16_LE -r 48000 -c 2 /run/lab/p-$2.raw; }"
}

# dmix starts the card before anybody writes, and never tells how far it has written: the ring goes round by itself.
scenario_dmix() {
    world a
    plugins_configure
    must_run a "$(through mix 151)"
    heard a 0-0 151 --late
    note "one player: $COMPARED"
    # Made before: what makes it takes the guest's only processor.
    must_run a "vsnd-lab make --frames 144000 --seed 152 /run/lab/p-152.raw
        aplay -q -D mix -t raw -f S16_LE -r 48000 -c 2 /run/lab/p-152.raw &
        sleep 1; aplay -q -D mix -t raw -f S16_LE -r 48000 -c 2 /run/lab/p-151.raw && wait \$!"
    both=$(newest "$WAVS/$(guest_id a)-0-0-0")
    vsnd-lab mixed --frames 144000 --seed 152 --other-frames 96000 --other-seed 151 "$both" > /run/lab/compared 2>&1 ||
        fail "two players: $(cat /run/lab/compared)"
    note "two players: $(cat /run/lab/compared)"
}

scenario_plugins() {
    world a
    plugins_configure
    for name in part straight plugged; do
        must_run a "$(through $name 153)"
        heard a 0-0 153 --late
        note "$name: $COMPARED"
    done
    # Two that record from one stream; the second begins in the middle.
    must_run a "arecord -q -D snoop -t raw -f S16_LE -r 48000 -c 2 -s 96000 /run/lab/s1.raw & sleep 0.5
        arecord -q -D snoop -t raw -f S16_LE -r 48000 -c 2 -s 48000 /run/lab/s2.raw && wait \$! &&
        vsnd-lab compare --frames 480000 --at-least 96000 --from-any --seed 100 /run/lab/s1.raw &&
        vsnd-lab compare --frames 480000 --at-least 48000 --from-any --seed 100 /run/lab/s2.raw"
    note "dsnoop, two: $(echo "$OUTPUT" | tr '\n' ',')"
}
