# What is played is heard, what is heard is recorded, bit for bit.
# shellcheck shell=sh

world() {
    daemon_ensure
    for world_name in "$@"; do guest_ensure "$world_name"; done
}

scenario_playback() {
    world a
    must_run a "play 0,0 1"
    heard a 0-0 1
    note "$COMPARED"
}

scenario_capture() {
    world a
    must_run a "record 0,0 100"
    note "$OUTPUT"
}
