# Says what each row of the lab runs: reads platforms.list and scenarios.list, prints "ROW SECONDS SCENARIO...".
#
# platforms, drivers: lists of words; a row is PLATFORM-DRIVER. shared=1: each scenario runs once with each driver that it is about,
# with different drivers on different platforms where there are two, and on the row that has the least to do; otherwise all that
# concern a row's driver and make sense on its platform run there. short=1: only those that tell platforms apart, and on each
# platform with one driver. only: a list of scenarios that run on every row, whatever the lists say.
BEGIN {
    platform_count = split(platforms, platform, " ")
    driver_count = split(drivers, driver, " ")
    only_count = split(only, named, " ")
    for (n = 1; n <= only_count; n++) add_to_all(named[n])
}

/^#/ || NF == 0 || only_count { next }

FILENAME ~ /platforms.list$/ {
    if ($8 == "vsnd") no_stock[$1] = 1
    for (n = 2; n <= 7; n++) is[$1, $n] = 1
    short_with[$1] = $9
    for (n = 10; n <= NF; n++) {
        limited[$1] = 1
        sensible[$1, $n] = 1
    }
    next
}

{
    about = $2
    where = $4
    tells_apart = sub(/\*$/, "", about)
    everywhere = sub(/\+$/, "", about) || !shared || about == "alone"
    if (short && !tells_apart) next
    for (d = 1; d <= driver_count; d++) {
        if (everywhere) {
            for (p = 1; p <= platform_count; p++)
                if (makes_sense(platform[p], driver[d], $1)) add(platform[p], driver[d], $1, $3)
        } else {
            chosen = least_busy(driver[d], $1, about == "driver" ? taken[$1] : "")
            if (chosen != "") add(chosen, driver[d], $1, $3)
        }
    }
}

END {
    for (d = 1; d <= driver_count; d++)
        for (p = 1; p <= platform_count; p++) {
            row = platform[p] "-" driver[d]
            if (row in scenarios) print row, seconds[row] + 0, scenarios[row]
        }
}

# Whether the scenario that is being read, which is `about` something and wants to be somewhere, is for a row.
function makes_sense(on, of_driver, name) {
    if (short && short_with[on] != of_driver) return 0
    if (where != "" && !((on, where) in is)) return 0
    if (on in limited ? !((on, name) in sensible) : about == "alone") return 0
    if (of_driver == "stock" && (on in no_stock)) return 0
    if (about == "vsnd" || about == "stock") return of_driver == about
    # No driver has a part in what is about the daemon: once is enough.
    return about != "daemon" || of_driver == "stock" || on in no_stock
}

function add(on, of_driver, name, takes,    row) {
    row = on "-" of_driver
    scenarios[row] = scenarios[row] " " name
    seconds[row] += takes
    taken[name] = on
}

function add_to_all(name,    d, p) {
    for (d = 1; d <= driver_count; d++)
        for (p = 1; p <= platform_count; p++) add(platform[p], driver[d], name, 0)
}

# The platform whose row with this driver has the least to do; `avoided` only if there is no other.
function least_busy(of_driver, name, avoided,    p, best) {
    for (p = 1; p <= platform_count; p++) {
        if (!makes_sense(platform[p], of_driver, name) || platform[p] == avoided) continue
        if (best == "" || seconds[platform[p] "-" of_driver] < seconds[best "-" of_driver]) best = platform[p]
    }
    return best == "" && avoided != "" && makes_sense(avoided, of_driver, name) ? avoided : best
}
