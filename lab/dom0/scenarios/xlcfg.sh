# What xl makes of a configuration: the words of its manual, and those of products in the field.
# shellcheck shell=sh

# same_nodes NAME VALUE: xl and `vsnd emu attach` make the same nodes of a value, and the daemon takes the card.
# The guest stays paused: nothing of it has to run for that.
same_nodes() {
    guest_config "$1" "$2" > "/run/lab/$1.cfg"
    rm -f /run/lab/xl-create.log
    xl create -p "/run/lab/$1.cfg" > /run/lab/xl-create.log 2>&1 || return
    guest_remember "$1"
    id=$(guest_id "$1")
    vsnd emu --dir /run/lab/emu > /run/lab/emu.out 2> /run/lab/emu.log &
    emu=$!
    soon 5 grep -q emulated /run/lab/emu.out || fail "vsnd emu: $(cat /run/lab/emu.log)"
    vsnd emu --dir /run/lab/emu attach --domain "$id" "$2" > /run/lab/emu-attach.log 2>&1 ||
        fail "vsnd emu attach: $(cat /run/lab/emu-attach.log)"
    card_nodes > /run/lab/nodes-xl
    (export XENSTORED_PATH=/run/lab/emu/xenstored.sock && card_nodes) > /run/lab/nodes-emu
    kill $emu
    wait $emu
    guest_stop "$1"
    diff /run/lab/nodes-xl /run/lab/nodes-emu > /run/lab/nodes-diff.log ||
        fail "xl (-) and vsnd emu (+) differ: $(grep '^[-+]' /run/lab/nodes-diff.log | tail -n +3 | head -n 6)"
}

# A guest's cards, both halves, with values and permissions; not what a backend adds.
card_nodes() {
    for card_path in "/local/domain/$id/device/vsnd" "/local/domain/0/backend/vsnd/$id"; do
        echo "$card_path"
        xenstore-ls -p "$card_path" | grep -vE '^ *(state|versions|feature-[a-z-]*) = ' | sort
    done
}

# accepted TEXT VALUE
accepted() {
    same_nodes probe "$2" || fail "xl refuses $1: $(grep -v '^Parsing' /run/lab/xl-create.log | head -n 2)"
    note "$1: accepted, $(grep -c . /run/lab/nodes-xl) nodes as vsnd emu makes them"
}

scenario_xlcfg() {
    world
    # xl.cfg(5), "vsnd"; `id=` became `unique-id=` when the code was merged, and the manual was not told.
    manual="[['CARD, short-name=Main, sample-formats=s16_le;s8;u32_be', 'PCM, name=Main',
        'STREAM, ID=0, type=p', 'STREAM, ID=1, type=c, channels-max=2'],
        ['CARD, short-name=Second', 'PCM, name=Second, buffer-size=1024',
        'STREAM, ID=2, type=p', 'STREAM, ID=3, type=c']]"
    if same_nodes probe "$(echo "$manual" | sed 's/ID=/id=/g')"; then
        fail "xl takes the manual's id="
    fi
    note "xl.cfg(5)'s example: xl answers $(grep -v '^Parsing' /run/lab/xl-create.log | head -n 1)"
    accepted "the same with unique-id=" "$(echo "$manual" | sed 's/ID=/unique-id=/g')"
    for unique in pulse 'alsa<hw:0;0>' 'pulse<sink>prop:value'; do
        accepted "unique-id=$unique" "[['CARD, short-name=Main', 'PCM, name=Main', 'STREAM, unique-id=$unique, type=p']]"
    done
}
