# Runs docs/xen.md word for word: its fenced blocks in order, each in the place that its first line names.
#
#   ```sh PLACE           commands, in dom0 or in the guest of that name; a failing one fails the block
#   ```toml PLACE FILE    the text of a file there
#   ```cfg dom0 FILE      lines for the guest's configuration FILE; the lab adds the other lines
#
# Blocks that name no place do not run. Domains with a daemon have snd-aloop as a sound card: sound played to its first
# device is heard at its second one, and the other way round.
# shellcheck shell=sh
# shellcheck disable=SC2034  # variables for the functions of lib.sh

MANUAL=/run/lab/manual

scenario_manual() {
    world
    daemon_kill
    rm -rf /run/lab/vsndd.pid $MANUAL /etc/vsnd && mkdir -p $MANUAL /var/log
    manual_split < /lab/xen.md
    commands=0
    for manual_text in "$MANUAL"/*.text; do
        read -r kind place file < "${manual_text%.text}.where"
        case $kind in
            sh) manual_commands ;;
            *) manual_file ;;
        esac
    done
    note "$commands commands ran"
    # shellcheck disable=SC2046  # words
    kill $(pidof arecord vsndd)
    guest_stop_all
    rm -rf /run/lab/*.id /etc/vsnd
}

# manual_split: extracts the blocks that name a place: NUMBER.where has the words of the first line, NUMBER.text the
# rest.
manual_split() {
    awk -v directory=$MANUAL '
        /^```/ && inside { inside = 0; next }
        /^```/ {
            inside = 1
            file = ""
            if (NF > 1) {
                file = sprintf("%s/%02d", directory, ++count)
                print substr($0, 4) > (file ".where")
            }
            next
        }
        inside && file != "" { print > (file ".text") }'
}

# manual_in COMMANDS [SECONDS]: runs commands in the block's place; sets $OUTPUT to their output.
manual_in() {
    if [ "$place" = dom0 ]; then
        printf '. /lab/common.sh\n%s\n' "$1" > $MANUAL/commands
        (cd / && sh -e $MANUAL/commands) > $MANUAL/output 2>&1
        manual_status=$?
        OUTPUT=$(cat $MANUAL/output)
        return $manual_status
    fi
    guest_run "$place" "set -e; $1" "${2:-60}"
}

manual_must() { manual_in "$@" || fail "in $place, $1: status $?: $(echo "$OUTPUT" | tail -n 3)"; }

manual_file() {
    [ "$kind" != cfg ] || guest_config "$(basename "$file" .cfg)" "" lab.nodriver > $MANUAL/base
    [ "$kind" = cfg ] || : > $MANUAL/base
    manual_must "mkdir -p $(dirname "$file"); cat > $file << 'END'
$(cat $MANUAL/base "$manual_text")
END"
}

manual_commands() {
    text=$(cat "$manual_text")
    # Like a person who types: programs that were started before are running by now.
    sleep 2
    case $text in
        *vsndd*) manual_listen ;;
        *"xl create"*) manual_make_room ;;
    esac
    heard_before=$(manual_heard)
    case $text in
        *arecord* | *"vsnd record"*) manual_sing ;;
    esac
    manual_must "$text"
    commands=$((commands + $(grep -c . "$manual_text")))
    case $text in
        *"xl create"*) manual_await ;;
        *"aplay "*.wav* | *"vsnd play"*)
            heard_more=$(($(manual_heard) - heard_before))
            [ $heard_more -gt 20000 ] || fail "in $place, $text: $heard_more bytes were heard in $listener"
            note "played in $place, heard in $listener: $heard_more bytes"
            ;;
        *arecord* | *"vsnd record"*) manual_recorded ;;
        *"aplay -l"*) echo "$OUTPUT" | grep -q 'card 0' || fail "aplay -l: $OUTPUT" ;;
        *vsndd*) manual_serving ;;
    esac
}

# Before a daemon starts: its domain gets a sound card, and the played sound is collected.
manual_listen() {
    listener=$place
    manual_must "modprobe snd-aloop
        (arecord -q -D hw:Loopback,1 -t raw -f S16_LE -r 48000 -c 2 | unsilenced > /run/lab/heard) \
            > /run/lab/listener.log 2>&1 &"
}

manual_serving() {
    sleep 1
    manual_must "pidof vsndd"
}

# manual_heard: number of heard bytes that are not silence.
manual_heard() {
    case ${listener:-} in
        "") echo 0 ;;
        dom0) wc -c < /run/lab/heard ;;
        *) (place=$listener manual_in "wc -c < /run/lab/heard" && echo "$OUTPUT") ;;
    esac
}

# Plays noise to record, while this block runs.
manual_sing() {
    aplay -q -D hw:Loopback,1 -t raw -f S16_LE -r 48000 -c 2 /dev/urandom > /run/lab/singer.log 2>&1 &
    singer=$!
}

manual_recorded() {
    kill "$singer"
    file=$(sed -n 's/^\(arecord\|vsnd record\) .* //p' "$manual_text")
    manual_must "unsilenced < $file | wc -c"
    [ "$OUTPUT" -gt 20000 ] || fail "in $place, $text: $OUTPUT bytes were recorded"
    note "recorded in $place: $OUTPUT bytes"
}

# The lab has no memory for many guests: only the one with the daemon stays.
manual_make_room() {
    for one in /run/lab/*.id; do
        [ -e "$one" ] && one=$(basename "$one" .id) && [ "$one" != "$listener" ] && guest_stop "$one"
    done
}

# After `xl create`: waits until the guest accepts commands.
manual_await() {
    name=$(sed -n 's/^xl create .*\/\(.*\)\.cfg$/\1/p' "$manual_text")
    rm -f "/run/lab/$name.number"
    guest_remember "$name"
    watch_path=$(guest_path "$name")/data/lab/status
    watched_soon 40 guest_ready "$name" || fail "guest $name does not come up"
}
