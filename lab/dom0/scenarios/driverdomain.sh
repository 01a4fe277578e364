# The daemon in a driver domain, a guest with the sound hardware; dom0 has none.
# shellcheck shell=sh

scenario_driverdomain() {
    world
    daemon_kill
    rm -f /run/lab/vsndd.pid
    guest_start d "" "lab.nodriver"
    must_run d "mkdir -p /run/lab/wav; (vsndd --sink wav:/run/lab/wav/{domain}.wav > /run/lab/out 2> /run/lab/log &)
        soon 10 grep -q serving /run/lab/out || { cat /run/lab/log; exit 1; }"
    guest_start a "[['CARD, backend=d, short-name=Away', 'PCM, name=main', 'STREAM, unique-id=p, type=p']]"
    must_run a "soon 10 [ -e /proc/asound/card0/pcm0p ]; play 0,0 60"
    must_run d "soon 5 vsnd-lab compare --seed 60 /run/lab/wav/$(guest_id a).wav"
    note "played in domain $(guest_id a), heard in domain $(guest_id d): $(echo "$OUTPUT" | tail -n1)"
    backend=$(guest_path d)/backend/vsnd/$(guest_id a)
    xenstore-read "$backend/0/versions" > /dev/null || fail "no card in $backend"
    began=$(now_ms)
    guest_stop a
    note "xl destroy: $(($(now_ms) - began)) ms"
    must_run d "soon 5 grep -q removed /run/lab/log; ! grep ERROR /run/lab/log"
    [ -z "$(xenstore-list "$backend")" ] || fail "left in $backend: $(xenstore-list "$backend")"
    guest_stop d
}
