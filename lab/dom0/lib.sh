# Functions for the scenarios: the daemon, guests, and the comparison of the heard sound. Runs in dom0.
# shellcheck shell=sh
# shellcheck disable=SC2034  # variables for the scenarios

WAVS=/run/lab/wav
DAEMON_LOG=/run/lab/vsndd.log
DAEMON_GROUP=/sys/fs/cgroup/vsndd
GUEST_LOGS=/var/log/xen/console

# --- results ---------------------------------------------------------------------------------------------

# note TEXT: adds a result to the scenario's line.
note() { printf '%s; ' "$*" | tr '\n' ' ' >> /run/lab/notes; }

# fail TEXT: ends the scenario.
fail() {
    note "$*"
    exit 1
}

# run_scenario NAME: runs a scenario; writes one line to share/results, and the evidence of a failure to
# share/failed/NAME.
run_scenario() {
    echo "lab: scenario $1"
    : > /run/lab/notes
    wavs_empty
    rm -f /run/lab/consoles
    dmesg -c > /run/lab/dmesg-before
    began=$(now_ms)
    ([ ! -e /share/trace ] || set -x && "scenario_$1") &
    scenario_pid=$!
    (sleep "$(scenario_seconds "$1")" && note "no end in sight" && kill -KILL $scenario_pid) &
    watchdog_pid=$!
    wait $scenario_pid
    status=$?
    kill $watchdog_pid 2>/dev/null
    took=$((($(now_ms) - began) / 100))
    if [ $status = 0 ] && guest_complains > /run/lab/complaints.log; then
        note "$(head -n 2 /run/lab/complaints.log)"
        status=1
    fi
    verdict=PASS
    if [ $status != 0 ]; then
        verdict=FAIL
        keep_evidence "/share/failed/$1"
        world_reset
    fi
    printf '%s %-10s %3s.%s s  %s\n' $verdict "$1" $((took / 10)) $((took % 10)) \
        "$(sed 's/; $//' /run/lab/notes)" >> /share/results
}

# The directory itself stays: the daemon's sandbox allows only the directory that existed when the daemon started.
wavs_empty() {
    mkdir -p "$WAVS"
    chown vsnd:vsndd "$WAVS"
    rm -rf "${WAVS:?}"/*
}

# scenario_seconds NAME: time limit of the scenario. An HVM guest takes 70 s to start.
scenario_seconds() {
    case "$GUEST_TYPE $1" in
        *_all | *" bench"*) echo 6000 ;;
        hvm*) echo 1200 ;;
        *) echo 240 ;;
    esac
}

# guest_complains: prints errors that the kernels of guests with our driver reported, if any. Our own commands, which
# look for the same words, are on the console, too.
guest_complains() {
    [ "$(guest_module)" = vsnd_front ] &&
        { cat /run/lab/consoles; for one in "$GUEST_LOGS"/guest-*.log; do console_with_driver "$one"; done; } 2>/dev/null |
        grep -v '^lab: ' | grep -A 40 -E 'BUG|WARNING|Oops|blocked for more|locking (bug|dependency)|unreferenced|suspicious RCU'
}

# console_with_driver LOG: prints a guest's console if it was to load the driver. Linux 6.1 on arm64 warns of its own
# memory (vmemmap_populate) in a domain that maps grants, such as a driver domain.
console_with_driver() { grep -q '^lab: ready without a driver' "$1" || cat "$1"; }

keep_evidence() {
    mkdir -p "$1"
    xenstore-ls -fp > "$1/xenstore" 2>&1
    dmesg > "$1/dom0-dmesg"
    xl dmesg > "$1/xen-dmesg"
    for one in /run/lab/*.log "$GUEST_LOGS"/* /var/log/xen/qemu-dm-*.log "$WAVS"; do
        cp -r "$one" "$1/" 2>/dev/null
    done
}

# --- the daemon ------------------------------------------------------------------------------------------

# The daemon runs as with its package's unit, with its whole sandbox. A scenario sets its own rules in $DAEMON_RULES
# before it starts the daemon.
daemon_config() {
    cat << END
sink = "wav:$WAVS/{domain}-{card}-{pcm}-{stream}.wav"
source = "wav:/run/lab/source.wav"
capture = true
${DAEMON_RULES:-}
END
}

daemon_start() {
    [ -e /run/lab/source.wav ] || vsnd-lab make --frames 480000 --seed 100 /run/lab/source.wav
    daemon_config > /run/lab/vsndd.toml
    daemon_launch --user vsnd
}

# daemon_launch OPTION...: starts the daemon in its sandbox and in a control group of its own, as under systemd, with
# the configuration in /run/lab/vsndd.toml.
daemon_launch() {
    : > /run/lab/vsndd.out
    in_daemon_group vsndd --sandbox on --config /run/lab/vsndd.toml --log "${VSND_LOG:-vsndd=debug}" "$@" \
        > /run/lab/vsndd.out 2>> "$DAEMON_LOG" &
    echo $! > /run/lab/vsndd.pid
    soon 30 grep -q serving /run/lab/vsndd.out || fail "the daemon does not start: $(tail -n1 "$DAEMON_LOG")"
}

# in_daemon_group COMMAND...: replaces the shell, one in the background, by a command in the daemon's control group.
in_daemon_group() {
    mkdir -p "$DAEMON_GROUP"
    leaf=$DAEMON_GROUP/broker
    [ -d "$leaf" ] || leaf=$DAEMON_GROUP
    # shellcheck disable=SC2016 # variables of the inner shell
    exec sh -c 'echo $$ > "$0/cgroup.procs" && exec "$@"' "$leaf" "$@"
}

daemon_pid() { cat /run/lab/vsndd.pid 2>/dev/null; }

# workers: processes of the daemon's workers, one for each guest.
workers() { cat "/proc/$(daemon_pid)/task/"*/children; }

# worker_of GUEST: the guest's worker process.
worker_of() {
    for worker in $(workers); do
        [ "$(cat "/proc/$worker/comm")" != "vsndd-$(guest_id "$1")" ] || echo "$worker"
    done
}

daemon_lives() { [ -e /run/lab/vsndd.pid ] && kill -0 "$(daemon_pid)" 2>/dev/null; }

daemon_kill() {
    kill -"${1:-TERM}" "$(daemon_pid)" 2>/dev/null
    soon 5 daemon_gone || fail "the daemon does not end"
}

daemon_gone() { ! daemon_lives || grep -q '^State:.Z' "/proc/$(daemon_pid)/status" 2>/dev/null; }

daemon_ensure() { daemon_lives || daemon_start; }

# watched_soon SECONDS COMMAND...: like `soon`, but repeats the command only when the node $watch_path changes, since
# polling takes the processor away from the guests.
watched_soon() {
    watch_until=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$watch_until" ] || return 1
        # The first event comes immediately. A change between our command and the watch is noticed a second later.
        timeout 1 xenstore-watch -n 2 "$watch_path" > /dev/null 2>&1
    done
    return 0
}

# --- guests ----------------------------------------------------------------------------------------------

# The default card of a guest.
CARD="[['CARD, short-name=Lab',
  'PCM, name=first', 'STREAM, unique-id=p0, type=p', 'STREAM, unique-id=p1, type=p', 'STREAM, unique-id=p2, type=p',
    'STREAM, unique-id=c0, type=c',
  'PCM, name=second', 'STREAM, unique-id=p3, type=p', 'STREAM, unique-id=p4, type=p', 'STREAM, unique-id=p5, type=p',
    'STREAM, unique-id=c1, type=c']]"

# guest_config NAME [VSND-VALUE [KERNEL-ARGUMENTS]]: prints a guest's configuration.
guest_config() {
    cat << END
name = "$1"
type = "$GUEST_TYPE"
kernel = "/lab/vmlinux"
ramdisk = "${GUEST_RAMDISK:-/lab/guest.cpio}"
memory = ${GUEST_MB:-$(cat /share/guest-memory)}
vcpus = 1
extra = "console=hvc0 quiet loglevel=4 mitigations=off random.trust_cpu=on cryptomgr.notests initcall_blacklist=jent_mod_init $(cat /share/guest-arguments 2>/dev/null) ${3:-}"
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
END
    [ "$GUEST_TYPE" != hvm ] || printf '%s\n' 'vga = "none"' 'vnc = 0' 'nographic = 1' 'usb = 0'
    # After a restore the stock driver closes the channels that have its old channels' numbers: the keyboard's.
    [ "$GUEST_TYPE $(guest_module)" != "hvm snd_xen_front" ] || echo 'vkb_device = 0'
    [ -z "${GUEST_TSC:-}" ] || echo "tsc_mode = \"$GUEST_TSC\""
    [ -z "${2:-}" ] || echo "vsnd = $2"
}

# guest_module: the sound driver that guests load.
guest_module() {
    case $(cat /share/guest-arguments 2>/dev/null) in
        *driver=vsnd*) echo vsnd_front ;;
        *) echo snd_xen_front ;;
    esac
}

# guest_start NAME [VSND-VALUE [KERNEL-ARGUMENTS]]: creates a guest and waits until it accepts commands.
guest_start() {
    if [ "$GUEST_TYPE" = dom0less ]; then
        guest_furnish "$1" "${2-$CARD}" "${3:-}"
        return
    fi
    guest_config "$1" "${2-$CARD}" "${3:-}" > "/run/lab/$1.cfg"
    console_with_driver "$GUEST_LOGS/guest-$1.log" >> /run/lab/consoles 2>/dev/null
    rm -f "$GUEST_LOGS/guest-$1.log" "/run/lab/$1.number"
    xl create "/run/lab/$1.cfg" > "/run/lab/$1-create.log" 2>&1 ||
        fail "xl create: $(tail -n1 "/run/lab/$1-create.log")"
    guest_remember "$1"
    watch_path=$(guest_path "$1")/data/lab/status
    watched_soon 120 guest_ready "$1" || fail "guest $1 does not come up"
}

# guest_furnish NAME VSND-VALUE KERNEL-ARGUMENTS: gives the guest that Xen started a name and its cards.
guest_furnish() {
    [ -z "$3" ] || fail "there is one guest here, which runs already"
    if [ ! -e /run/lab/furnished ]; then
        init-dom0less > /run/lab/init-dom0less.log 2>&1 || fail "init-dom0less: $(tail -n1 /run/lab/init-dom0less.log)"
        xl rename 1 "$1" || fail "xl rename: status $?"
        echo "$1" > /run/lab/furnished
    fi
    [ "$(cat /run/lab/furnished)" = "$1" ] || fail "there is no guest $1 here"
    guest_remember "$1"
    watch_path=$(guest_path "$1")/data/lab/status
    watched_soon 120 guest_ready "$1" || fail "guest $1 does not come up"
    # A card's items are in quotes; each becomes an argument of vsnd-attach.
    printf '%s' "$2" | tr -d '\n' | sed 's/\], *\[/\n/g' > /run/lab/cards
    while read -r furnish_card || [ -n "$furnish_card" ]; do
        echo "$furnish_card" | grep -o "'[^']*'" | tr -d "'" > /run/lab/items
        set -- "$1"
        while read -r furnish_item; do set -- "$@" "$furnish_item"; done < /run/lab/items
        xl vsnd-attach "$@" > /run/lab/attach.log 2>&1 || fail "vsnd-attach: $(cat /run/lab/attach.log)"
        card_back "$1"
    done < /run/lab/cards
}

# guest_remember NAME: stores a guest's domain id, so that xl is not called each time.
guest_remember() { xl domid "$1" > "/run/lab/$1.id"; }

guest_forget() { rm -f "/run/lab/$1.id"; }

guest_id() { cat "/run/lab/$1.id" 2>/dev/null; }

guest_path() { echo "/local/domain/$(guest_id "$1")"; }

guest_ready() { xenstore-read "$(guest_path "$1")/data/lab/status" > /dev/null 2>&1; }

guest_ensure() { [ -e "/run/lab/$1.id" ] || guest_start "$@"; }

# card_back NAME: waits until a guest's card is connected again. Until then the guest may still show its old card.
card_back() {
    watch_path=$(guest_path "$1")/device/vsnd/0/state
    watched_soon 20 card_connected "$1" || fail "the card of guest $1 does not come back"
}

card_connected() {
    [ "$(xenstore-read "$watch_path" "/local/domain/0/backend/vsnd/$(guest_id "$1")/0/state" 2>/dev/null | tr '\n' ' ')" = "4 4 " ]
}

# guest_stop NAME...: destroys guests.
guest_stop() {
    for stop_name in "$@"; do
        guest_forget "$stop_name"
        if [ "$GUEST_TYPE" = dom0less ]; then
            # The guest cannot be started again: only its cards are detached.
            for stop_card in $(xl vsnd-list "$stop_name" | sed -n 's/^devid: *\([0-9]*\),.*/\1/p'); do
                xl vsnd-detach "$stop_name" "$stop_card"
            done
        else
            xl destroy "$stop_name"
        fi
    done
}

guest_stop_all() {
    # shellcheck disable=SC2046  # words
    guest_stop $(xl list | awk 'NR > 2 { print $1 }')
}

# world GUEST...: makes sure that the daemon and exactly these guests run.
world() {
    [ ! -e /run/lab/devices ] || devices_end
    daemon_ensure
    for world_other in /run/lab/*.id; do
        [ -e "$world_other" ] || continue
        world_other=$(basename "$world_other" .id)
        case " $* " in
            *" $world_other "*) ;;
            *) guest_stop "$world_other" ;;
        esac
    done
    for world_name in "$@"; do guest_ensure "$world_name"; done
}

# guest_begin NAME COMMAND: starts a command in a guest, and does not wait for it.
guest_begin() {
    number=$(($(cat "/run/lab/$1.number" 2>/dev/null || echo 0) + 1))
    echo $number > "/run/lab/$1.number"
    xenstore-write "$(guest_path "$1")/data/lab/command" "$number $2"
}

# guest_wait NAME SECONDS: waits for the command; returns its status, and sets $OUTPUT to its output.
guest_wait() {
    wait_path=$(guest_path "$1")/data/lab
    wait_number=$(cat "/run/lab/$1.number")
    watch_path=$wait_path/status
    watched_soon "$2" guest_answered || fail "guest $1 does not answer: $(xenstore-read "$wait_path/command")"
    OUTPUT=$(xenstore-read -R "$wait_path/output")
    return "${answer#* }"
}

guest_answered() {
    answer=$(xenstore-read "$wait_path/status") && [ "${answer%% *}" = "$wait_number" ]
}

# guest_run NAME COMMAND [SECONDS]: runs a command in a guest.
guest_run() {
    guest_begin "$1" "$2"
    guest_wait "$1" "${3:-30}"
}

# must_run NAME COMMAND [SECONDS]: runs a command that must succeed.
must_run() {
    guest_run "$@" || fail "in guest $1, $2: status $?: $(echo "$OUTPUT" | tail -n2 | tr '\n' ' ')"
}

# After a failure no state is reliable: everything is started again.
world_reset() {
    guest_stop_all
    kill -KILL "$(daemon_pid)" 2>/dev/null
    rm -f /run/lab/vsndd.pid /run/lab/devices
}

# --- what was heard --------------------------------------------------------------------------------------

# heard GUEST PCM-STREAM SEED [options of `vsnd-lab compare`]: compares the newest recording of a stream; sets
# $COMPARED.
heard() {
    heard_file=$(newest "$WAVS/$(guest_id "$1")-0-$2")
    shift 2
    heard_seed=$1
    shift
    soon 3 heard_compare "$@" || fail "${heard_file#"$WAVS"/}: $(cat /run/lab/compared)"
    COMPARED=$(cat /run/lab/compared)
}

heard_compare() { vsnd-lab compare --seed "$heard_seed" "$@" "$heard_file" > /run/lab/compared 2>&1; }

# heard_in_file_order GUEST PCM-STREAM SEED [options of `vsnd-lab compare`]: like `heard`, for 16 bits and three
# channels or more, in the order of a WAV file and not of the card.
heard_in_file_order() {
    heard_file=$(newest "$WAVS/$(guest_id "$1")-0-$2")
    heard_seed=$3
    shift 3
    soon 3 heard_samples "$@" || fail "${heard_file#"$WAVS"/}, in its own order: $(cat /run/lab/compared)"
    COMPARED=$(cat /run/lab/compared)
}

heard_samples() {
    tail -c +105 "$heard_file" > /run/lab/heard.raw
    vsnd-lab compare --seed "$heard_seed" "$@" /run/lab/heard.raw > /run/lab/compared 2>&1
}

# newest PREFIX: name of the last of PREFIX.wav, PREFIX-2.wav, PREFIX-3.wav, …
newest() {
    newest_file=$1.wav
    newest_number=2
    while [ -e "$1-$newest_number.wav" ]; do
        newest_file=$1-$newest_number.wav
        newest_number=$((newest_number + 1))
    done
    echo "$newest_file"
}
