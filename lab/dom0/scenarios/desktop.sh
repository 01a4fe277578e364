# Programs of a desktop between applications and the card: a sound server, and a mixer on the screen (DRIVER=vsnd: with
# the stock driver PulseAudio rewinds frames that the host has already taken).
# shellcheck shell=sh

scenario_desktop() {
    world
    cat /lab/guest.cpio /lab/desktop.cpio > /run/lab/desktop.cpio
    GUEST_RAMDISK=/run/lab/desktop.cpio GUEST_MB=280 guest_start a
    rm /run/lab/desktop.cpio
    sound="--raw --rate=48000 --format=s16le --channels=2"
    # PulseAudio sleeps by its own clock, unless it recognises a virtual machine, which it does on x86 only: then it asks
    # for four periods of 25 ms, and wants an interrupt for each. (Its source would have interrupts, too, until it is
    # suspended.)
    must_run a "vsnd-lab make --frames 192000 --seed 90 /run/lab/90.raw && with_pulse_sink 2 interrupts_in 1 pacat $sound /run/lab/90.raw
        cat /run/lab/pulse.log*" 60
    case $OUTPUT in
        *"running inside a VM"*) most=44 told="40 periods" ;;
        *) most=5 told="one second by its own clock" ;;
    esac
    interrupts=$(echo "$OUTPUT" | sed -n 's/^interrupts //p')
    heard a 0-0 90 --frames 192000 --late
    [ "$interrupts" -le $most ] || fail "$interrupts interrupts while PulseAudio played $told"
    note "played through PulseAudio: $COMPARED, $interrupts interrupts in $told"
    must_run a "with_pulse timeout -s INT 4 parecord $sound > /run/lab/recorded.raw
        vsnd-lab compare --from-any --frames 480000 --at-least 96000 --seed 100 /run/lab/recorded.raw" 60
    note "recorded through PulseAudio: $OUTPUT"
    guest_run a "on_screen alsamixer -c 0 -V all"
    gain=$(tr -s '\033' '\n' < "$GUEST_LOGS/guest-a.log" | grep -o 'PCM \[dB gain: [^]]*\]' | head -n 1)
    [ -n "$gain" ] || fail "alsamixer shows no PCM: $(tail -c 300 "$GUEST_LOGS/guest-a.log" | tr -dc ' -~')"
    note "alsamixer: $gain"
    guest_stop a
}

# Sound servers in a guest map each channel of 7.1 to the card's channel: PulseAudio by ALSA's default order, PipeWire
# by the card's channel maps.
scenario_theatre() {
    world
    cat /lab/guest.cpio /lab/desktop.cpio /lab/pipewire.cpio > /run/lab/theatre.cpio
    GUEST_RAMDISK=/run/lab/theatre.cpio GUEST_MB=360 guest_start a "[['CARD, short-name=Theatre, channels-max=8', 'PCM, name=all',
        'STREAM, unique-id=p0, type=p']]"
    rm /run/lab/theatre.cpio
    map=front-left,front-right,front-center,lfe,rear-left,rear-right,side-left,side-right
    must_run a "vsnd-lab make --channels 8 --frames 96000 --seed 91 /run/lab/91.raw &&
        with_pulse_sink 8 pacat --raw --rate=48000 --format=s16le --channels=8 --channel-map=$map /run/lab/91.raw" 60
    heard_in_file_order a 0-0 91 --channels 8 --frames 96000 --late
    note "7.1 through PulseAudio: $COMPARED"
    # Whole cycles of PipeWire's graph, since pw-play loses a remainder; and a pause, since pw-play ends before its
    # server has written all frames to the card.
    must_run a "vsnd-lab make --channels 8 --frames 98304 --seed 92 /run/lab/92.wav &&
        with_pipewire sh -c 'pw-play /run/lab/92.wav && sleep 1'" 60
    heard a 0-0 92 --channels 8 --frames 98304 --late
    note "through PipeWire: $COMPARED"
    guest_stop a
}
