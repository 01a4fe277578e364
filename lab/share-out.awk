# Prints the scenarios of each row of the lab, "ROW SECONDS SCENARIO...", from platforms.list and scenarios.list.
#
# platforms, drivers: lists of words; a row is PLATFORM-DRIVER. shared=1: each scenario runs once with each driver that
# it concerns, or once in all (`any`), with different drivers on different platforms if there are two, and on the row
# with the least work;
# otherwise all scenarios that concern a row's driver and make sense on its platform run on that row. short=1: only
# scenarios whose result differs between platforms, and on each platform with one driver. only: a list of scenarios that
# run on every row, without regard to the lists.
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
        } else if (about != "any") {
            chosen = least_busy(driver[d], $1, about == "driver" ? taken[$1] : "")
            if (chosen != "") add(chosen, driver[d], $1, $3)
        }
    }
    if (about == "any" && !everywhere) add_once($1, $3)
    follows = about == "any"
}

END {
    for (d = 1; d <= driver_count; d++)
        for (p = 1; p <= platform_count; p++) {
            row = platform[p] "-" driver[d]
            if (row in scenarios) print row, seconds[row] + 0, scenarios[row]
        }
}

# makes_sense: true if the current scenario, with its `about` and `where`, can run on a row.
function makes_sense(on, of_driver, name) {
    if (short && short_with[on] != of_driver) return 0
    if (where != "" && !((on, where) in is)) return 0
    if (on in limited ? !((on, name) in sensible) : about == "alone") return 0
    if (of_driver == "stock" && (on in no_stock)) return 0
    if (about == "vsnd" || about == "stock") return of_driver == about
    # Scenarios about the daemon do not depend on the driver: one run is enough.
    return about != "daemon" || of_driver == "stock" || on in no_stock
}

function add(on, of_driver, name, takes,    row) {
    row = on "-" of_driver
    scenarios[row] = scenarios[row] " " name
    seconds[row] += takes
    taken[name] = on
}

# add_once: adds a scenario to one row of all: that of the scenario before if that one was added in this way, since such
# scenarios share guests; otherwise the row with the least work.
function add_once(name, takes,    d, on, best) {
    if (!follows || !makes_sense(once_on, once_with, name)) {
        once_on = best = ""
        for (d = 1; d <= driver_count; d++) {
            on = least_busy(driver[d], name, "")
            if (on != "" && (best == "" || seconds[on "-" driver[d]] < best)) {
                best = seconds[on "-" driver[d]] + 0
                once_on = on
                once_with = driver[d]
            }
        }
    }
    if (once_on != "") add(once_on, once_with, name, takes)
}

function add_to_all(name,    d, p) {
    for (d = 1; d <= driver_count; d++)
        for (p = 1; p <= platform_count; p++) add(platform[p], driver[d], name, 0)
}

# The platform whose row with this driver has the least work; `avoided` only if there is no other.
function least_busy(of_driver, name, avoided,    p, best) {
    for (p = 1; p <= platform_count; p++) {
        if (!makes_sense(platform[p], of_driver, name) || platform[p] == avoided) continue
        if (best == "" || seconds[platform[p] "-" of_driver] < seconds[best "-" of_driver]) best = platform[p]
    }
    return best == "" && avoided != "" && makes_sense(avoided, of_driver, name) ? avoided : best
}
