# Prints the table of the race from lines of GUEST HOST ROW NAME VALUE, and writes what its picture shows into the file
# `panels`: for each panel lines of CONTENDER VALUE... (playback and recording in periods of 10 ms, or one value), and two
# empty lines after them.
BEGIN {
    contenders = split("vsnd vsndd,stock vsndd,vsnd other,stock other,virtio qemu,hda qemu,ac97 qemu", contender, ",")
    called["vsnd"] = "vsnd_front"
    called["stock"] = "snd_xen_front"
    called["virtio"] = "virtio_snd"
    called["hda"] = "snd_hda_intel"
    called["ac97"] = "snd_intel8x0"
}

{
    value[$1 " " $2, $3, $4] = $5
    there[$1 " " $2]
}

# cell: notifications per period, or milliseconds of processor time for each second of sound.
function cell(who, row, what) {
    if (what ~ /cpu/) return value[who, row, what] / value[who, row, "seconds"] * 1000
    if (what == "to-host" && who !~ /qemu/) what = "to-daemon"
    return value[who, row, what] / value[who, row, "periods"]
}

# records: true if a recorder of 16-bit stereo has got nine tenths of what it was to get, as far as that was counted.
function records(who, row) { return !((who, row, "bytes") in value) || value[who, row, "bytes"] > value[who, row, "seconds"] * 48000 * 4 * 0.9 }

function line(row, who,    word) {
    split(who, word, " ")
    printf "%-15s  %-13s  %-5s", row, called[word[1]], word[2]
    if (!records(who, row)) { print "  records nothing, or not all"; return }
    if (row == "idle") printf "  %8s  %8s", "", ""
    else printf "  %8.2f  %8.2f", cell(who, row, "to-host"), cell(who, row, "to-guest")
    printf "  %8.2f", cell(who, row, "guest-cpu")
    if (word[2] == "qemu") printf "  %8s\n", "-"
    else printf "  %8.2f\n", cell(who, row, "daemon-cpu")
}

# panel: costs of the STREAMS play-… and record-…, or (with ROW) one value of each contender, of those with the given hosts.
function panel(hosts, what, streams, row,    c, word, name) {
    for (c = 1; c <= contenders; c++) {
        split(contender[c], word, " ")
        if (!(contender[c] in there) || word[2] !~ hosts) continue
        name = called[word[1]]
        if (hosts ~ /other/) name = "\"" (word[2] == "other" ? "other backend" : word[2]) "\\n" name "\""
        if (row) print name, value[contender[c], row, what] > panels
        else print name, cell(contender[c], "play-" streams, what), records(contender[c], "record-" streams) ? cell(contender[c], "record-" streams, what) : "-" > panels
    }
    print "\n" > panels
}

# goal: a line that says whether a number is at most what is wanted.
function goal(name, number, most) {
    printf "%-7s %s: %.2f (at most %s)\n", number <= most ? "met" : "NOT MET", name, number, most
}

# goals: those of our driver and of the daemon, as far as they were measured.
function goals(    drivers, driver, most, streams, stream, d, s, name) {
    most["vsnd"] = 0.33
    most["stock"] = 0.5
    drivers = split("vsnd stock", driver, " ")
    streams = split("play-10ms record-10ms play-100ms record-100ms", stream, " ")
    for (d = 1; d <= drivers; d++)
        for (s = 1; s <= streams; s++) {
            name = called[driver[d]] ", " stream[s]
            if ((driver[d] " other", stream[s], "daemon-cpu") in value)
                goal("processor time of vsndd, ratio to the other backend, " name, \
                    cell(driver[d] " vsndd", stream[s], "daemon-cpu") / cell(driver[d] " other", stream[s], "daemon-cpu"), most[driver[d]])
            if (driver[d] == "vsnd") goal("notifications of the host per period, " name, cell("vsnd vsndd", stream[s], "to-host"), 0.1)
        }
    goal("position, 99 of 100 looks, ms off a straight line", value["vsnd vsndd", "position", "us"] / 1000, 0.5)
    goal("shortest buffer of two periods, ms", value["vsnd vsndd", "buffer", "ms"], 10)
    for (s = split("play-pipewire record-pipewire", stream, " "); s > 0; s--)
        goal("PipeWire, interrupts and notifications in a second, " stream[s], \
            (value["vsnd vsndd", stream[s], "to-daemon"] + value["vsnd vsndd", stream[s], "to-guest"]) / value["vsnd vsndd", stream[s], "seconds"], 4)
}

END {
    print "per period (with PipeWire: per 1,024 frames): what the guest tells the host, and interrupts; milliseconds of processor time for each second of sound"
    printf "%-15s  %-13s  %-5s  %8s  %8s  %8s  %8s\n", "stream", "guest", "host", "to host", "to guest", "guest", "host"
    rows = split("idle play-10ms record-10ms play-100ms record-100ms play-pipewire record-pipewire", row, " ")
    for (r = 1; r <= rows; r++)
        for (c = 1; c <= contenders; c++)
            if ((contender[c], row[r], "seconds") in value) line(row[r], contender[c])
    print "\nthe position, in periods of 10 ms, off a straight line: half and 99 of 100 looks, in us; the shortest buffer of two periods, in ms;"
    print "the shortest quantum of PipeWire without an error, in frames"
    for (c = 1; c <= contenders; c++)
        if (contender[c] in there) {
            split(contender[c], word, " ")
            printf "%-13s  %-5s  %6d  %6d  %4d  %5d\n", called[word[1]], word[2], value[contender[c], "position", "us-half"],
                value[contender[c], "position", "us"], value[contender[c], "buffer", "ms"], value[contender[c], "quantum", "frames"]
        }
    print ""
    goals()
    panel("vsndd|qemu", "to-host", "10ms")
    panel("vsndd|qemu", "to-guest", "10ms")
    panel("vsndd|qemu", "us", "", "position")
    panel("vsndd|qemu", "ms", "", "buffer")
    panel("vsndd|qemu", "to-guest", "pipewire")
    panel("vsndd|qemu", "frames", "", "quantum")
    panel("vsndd", "guest-cpu", "10ms")
    panel("vsndd|other", "daemon-cpu", "10ms")
}
