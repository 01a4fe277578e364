# A desktop's session in a guest: udev, PipeWire and its session manager, as Debian configures them. Sourced by the
# guest's init; the programs are in the session's initrd.
# shellcheck shell=sh

# session_start: starts them, and waits until the session manager has made a sink and a source of the card. Sets the
# volume to 0 dB, which changes no sample: the card's, or PipeWire's own with the stock driver, which has none.
session_start() {
    session_environment
    /bin/systemd-udevd --daemon
    udevadm trigger --action=add --subsystem-match=sound
    udevadm settle
    # PipeWire logs its own xruns at level 3.
    PIPEWIRE_DEBUG=2,pw.node:3 pipewire > /run/lab/pipewire.log 2>&1 &
    soon 10 [ -e /run/lab/pipewire-0 ] || { echo "PipeWire does not start: $(tail -n1 /run/lab/pipewire.log)"; return 1; }
    wireplumber > /run/lab/wireplumber.log 2>&1 &
    soon 20 session_has_card || { cat /run/lab/nodes; tail -n 5 /run/lab/wireplumber.log; return 1; }
    # Our driver has volumes where the backend has them.
    amixer -q -c 0 cset name='PCM Playback Volume' 10000 2> /dev/null ||
        { wpctl set-volume @DEFAULT_AUDIO_SINK@ 1.0 && wpctl set-volume @DEFAULT_AUDIO_SOURCE@ 1.0; }
}

session_environment() { export XDG_RUNTIME_DIR=/run/lab XDG_STATE_HOME=/run/lab/state; }

session_has_card() {
    pw-cli ls Node > /run/lab/nodes && grep -q alsa_output /run/lab/nodes && grep -q alsa_input /run/lab/nodes
}

# session_set KEY VALUE: changes a setting of the running PipeWire.
session_set() { pw-metadata -n settings 0 "$1" "$2" > /dev/null; }

# session_sleeps: checks that the card is closed: the session manager has suspended sink and source.
session_sleeps() { grep -qx closed /proc/asound/card0/pcm0p/sub0/hw_params && grep -qx closed /proc/asound/card0/pcm0c/sub0/hw_params; }

# session_suspend: suspends them now, so that the next stream opens the card again.
session_suspend() {
    for session_node in $(pw-cli ls Node | awk '/^[ \t]*id / { id = $2 } /node.name = "alsa_/ { print id }' | tr -d ,); do
        pw-cli send-command "$session_node" Suspend '{}' > /dev/null 2>&1
    done
    soon 2 session_sleeps
}

# session_made SEED FRAMES [RATE]: makes a recording; sets $session_file. Takes the only processor for a while, so it is
# done while nothing plays.
session_made() {
    session_file=/run/lab/$1-$2-${3:-48000}.wav
    [ -e "$session_file" ] || vsnd-lab make --rate "${3:-48000}" --frames "$2" --seed "$1" "$session_file"
}

# session_play SEED FRAMES: plays a recording; waits until the server has written all of it to the card.
session_play() {
    session_made "$@"
    pw-play "$session_file" && sleep 0.3
}

# session_record SECONDS [OPTION...]: records, and compares with the host's recording, with options for the comparison: all
# but half a second has come. The card has lost nothing.
session_record() {
    session_seconds=$1 session_overruns=$(session_card_overruns)
    shift
    rm -f /run/lab/session.wav
    timeout -s INT "$session_seconds" pw-record --rate 48000 --channels 2 --format s16 /run/lab/session.wav
    vsnd-lab compare --late --frames 480000 --at-least $((session_seconds * 48000 - 24000)) --seed 100 "$@" /run/lab/session.wav || return
    session_overruns=$(($(session_card_overruns) - session_overruns))
    [ $session_overruns = 0 ] || { echo "$session_overruns overruns of the card"; return 1; }
}

# session_card_overruns: number of overruns of the card's capture stream since the driver connected; the stock driver
# counts none.
session_card_overruns() { [ ! -e /proc/asound/card0/vsnd ] && echo 0 || grep -o '[0-9]* xruns' /proc/asound/card0/vsnd | sed -n '$ s/ .*//p'; }

# session_captures: checks that the card records. Two programs that start at once delay each other: PipeWire has a cycle
# of silence for the later one.
session_captures() {
    read -r captures < /proc/asound/card0/pcm0c/sub0/status
    [ "$captures" = "state: RUNNING" ]
}

# session_xruns: number of xruns that PipeWire has counted.
session_xruns() { grep -c 'XRun!' /run/lab/pipewire.log; }

# session_top SECONDS: runs pw-top for so long; prints its last screen, and fails if no node runs, or if one has an error
# that it did not have on the first screen: a server counts on for ever, and two programs that start at once may have been
# late. pw-top draws all lines each time, and each begins with the state of its node; "+" is before a driver's followers.
session_top() {
    mkfifo /run/lab/keys
    { sleep "$1"; printf q; } > /run/lab/keys &
    TERM=linux LINES=24 COLUMNS=120 pw-top < /run/lab/keys | tr -d '\n\r\017' | tr '\033' '\n' > /run/lab/top
    rm /run/lab/keys
    # One sequence for the terminal in each line: [J clears the screen, [2;1H and [3d begin a line, others leave out cells.
    awk '/^\[J/ { print "\ncleared" }
        { text = $0; sub(/^[][()]?[0-9;]*[A-Za-z]?/, "", text); printf "%s%s", /^\[[0-9]*(;1H|d)/ ? "\n" : /^\[[0-9;]*[GH]/ ? " " : "", text }
        END { print "\ncleared" }' /run/lab/top > /run/lab/screens
    # The first figures have come where each driver has a follower.
    awk '$1 == "R" { running++; errors += $9; rows = rows $0 "\n" }
        $1 == "R" && / \+ / { followers++ }
        $1 == "cleared" {
            if (followers && followers * 2 == running) { if (!screens++) before = errors; last = rows running " run, " before " errors before, " errors - before " since" }
            good = running && screens > 1 && errors == before
            running = errors = followers = 0; rows = ""
        }
        END { print last; exit !good }' /run/lab/screens
}

# session_shortest_quantum: the shortest quantum, in frames, at which PipeWire counts no error in ten seconds of playback
# and capture at once; 0 if even 1024 is too short. Plays $session_file.
session_shortest_quantum() {
    session_shortest=0
    for quantum in 1024 512 256 128 64; do
        session_set clock.force-quantum $quantum
        # The card is opened again, with the period that PipeWire chooses for this quantum.
        session_suspend
        pw-record /run/lab/session.wav &
        recorder=$!
        pw-play "$session_file" &
        player=$!
        sleep 2
        session_top 10 > /run/lab/said
        good=$?
        kill $recorder $player
        wait $recorder $player
        [ $good = 0 ] || break
        session_shortest=$quantum
    done
    session_set clock.force-quantum 0
    echo $session_shortest
}

# session_level DIRECTION: the card's volume, as the mixer shows it.
session_level() { amixer -c 0 cget name="PCM $1 Volume" | sed -n 's/^  : values=//p'; }

# session_shows SINK|SOURCE VOLUME: checks the volume in the settings.
session_shows() { wpctl get-volume "@DEFAULT_AUDIO_$1@" | grep -q " $2\$"; }
