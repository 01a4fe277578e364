#!/bin/bash
# Tests the packages in a separate Debian 12, under systemd in a container. The service runs over the emulated Xen. The test plays
# through the service, also into the session of an ordinary user; makes the service hang and die; upgrades it while it plays; makes it
# end with each exit status; removes everything and looks for leftovers. The module's package is tested, too, lintian checks all
# packages, and systemd-analyze checks the units.
# usage: test.sh      (as root, or with sudo; needs the network the first time)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
project=$(dirname "$here")
deb=$project/target/deb
base=$deb/debian-12-sessions.tar
lab=${PROGRAMS:-$project/target/release}/vsnd-lab
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$project/Cargo.toml" | head -n1)
# The exposures in docs/service.md and docs/desktop.md, in tenths.
exposure=26
desktop_exposure=7
[ "$(id -u)" = 0 ] || exec sudo --preserve-env=PROGRAMS "$0"

work=$(mktemp -d -p "$deb")
root=$work/root
container=
finish() {
    status=$?
    if [ -n "$container" ]; then
        [ $status = 0 ] || in_it journalctl --no-pager -n 60 -u vsndd -u emu -u own-daemon -u own-emu 2>/dev/null || true
        kill -TERM "$container" 2>/dev/null && sleep 1
        kill -KILL "$container" 2>/dev/null || true
        wait "$container" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "FAIL: $*" >&2
    exit 1
}
say() { printf '%4d s  %s\n' $SECONDS "$*"; }
# eventually TEXT COMMAND...: the command succeeds within a minute.
eventually() {
    local what=$1 end=$((SECONDS + 60))
    shift
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what"
        sleep 0.05
    done
}
# in_it COMMAND...: runs the command in the container.
in_it() { nsenter --target "$leader" --mount --uts --ipc --pid --cgroup -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
apt_in_it() { in_it apt-get -qq -o Dpkg::Use-Pty=0 "$@" > "$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; fail "apt-get $*"; }; }

# --- what needs no container -------------------------------------------------------------------------------

# The packages have no real mail address, because they are not Debian's.
lintian --fail-on error,warning --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$deb"/{vsndd,vsndd-pipewire,vsnd-tools,vsnd-dkms}_"$version"_*.deb || fail "lintian"
systemd-analyze security --offline=true --threshold=$exposure "$here/vsndd.service" > "$work/security" || {
    cat "$work/security"
    fail "the unit is more exposed than docs/service.md says"
}
cp "$here/vsnd-desktop@.service" "$work/vsnd-desktop@alice.service"
systemd-analyze security --offline=true --threshold=$desktop_exposure "$work/vsnd-desktop@alice.service" > "$work/desktop-security" || {
    cat "$work/desktop-security"
    fail "vsnd-desktop@.service is more exposed than docs/desktop.md says"
}
say "lintian is content; $(tail -n1 "$work/security" | sed 's/^[^A-Z]*//')"

# --- a Debian of its own -----------------------------------------------------------------------------------

if [ ! -e "$base" ]; then
    packages=systemd,systemd-sysv,dbus,udev,kmod,libasound2,libpipewire-0.3-0,dkms,linux-headers-amd64
    # For the sessions of a desktop.
    packages=$packages,dbus-user-session,libpam-systemd,pulseaudio,pulseaudio-utils,pipewire-pulse,wireplumber
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Created-By: Packages' | head -n1)
    debootstrap --variant=minbase --include="$packages" bookworm \
        "$work/base" "${mirror:-http://deb.debian.org/debian}" > "$work/debootstrap.log" 2>&1 ||
        { tail -n 20 "$work/debootstrap.log" >&2; fail "debootstrap"; }
    rm -f "$work/base/var/cache/apt/archives"/*.deb
    tar -C "$work/base" -cf "$base.new" . && mv "$base.new" "$base" && rm -rf "$work/base"
    say "made a Debian 12, $(du -m "$base" | cut -f1) MB, kept in target/deb"
fi
mkdir "$root"
tar -C "$root" -xf "$base"
mkdir "$root/packages"
cp "$deb"/{vsndd,vsndd-pipewire,vsnd-tools,vsnd-dkms}_"$version"_*.deb "$root/packages/"
"$here/deb.sh" "$version+next" > /dev/null
mv "$deb"/*_"$version+next"_*.deb "$root/packages/"
"$lab" make --frames 96000 --seed 1 "$root/packages/short.wav"
"$lab" make --frames 5760000 --seed 2 "$root/packages/long.wav"

setpriv --pdeathsig KILL systemd-nspawn --quiet --directory "$root" --boot --register=no --keep-unit --console=pipe \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
    < /dev/null > "$work/console" 2>&1 &
container=$!
eventually "the container does not start" pgrep -P "$container"
leader=$(pgrep -P "$container")
eventually "systemd does not run in the container: $(tail -n3 "$work/console")" in_it systemctl is-system-running --wait
say "systemd $(in_it systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p') runs in a container"

# everything: lists files, users and groups, except data that apt, the journal and systemd keep.
everything() {
    in_it find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /packages -o -path /home -o -path /var/cache \
        -o -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /var/tmp \) -prune -o -print | sort
    in_it cat /etc/passwd /etc/group | cut -d: -f1,4 | sort
}
# left_over: lists what exists now and did not before, except passwd's backups of its files.
left_over() { comm -13 "$work/before" <(everything) | grep -vE '^/etc/(passwd|group|shadow|gshadow)-$|^/etc/\.pwd\.lock$|/__pycache__' || true; }
# DKMS remakes the indexes of modules, so they are made before the list.
in_it sh -c 'for kernel in /lib/modules/*; do depmod "${kernel##*/}" 2>/dev/null; done'
# An ordinary user; the packages change nothing in this user's session.
in_it useradd --create-home --uid 1000 alice
# Debian's own packages that ours recommend may stay.
apt_in_it install alsa-utils libasound2-data
everything > "$work/before"

# --- the service -------------------------------------------------------------------------------------------

apt_in_it install "/packages/vsndd_${version}_amd64.deb" "/packages/vsnd-tools_${version}_amd64.deb"
left_over | grep -qx /usr/sbin/vsndd || fail "what is left over would not be seen"
[ "$(in_it systemctl is-enabled vsndd)" = enabled ] || fail "the service is not enabled"
[ "$(in_it systemctl show -P ActiveState -P ConditionResult vsndd | sort | tr '\n' ' ')" = "inactive no " ] ||
    fail "without Xen the service must not start: $(in_it systemctl status vsndd)"
in_it vsndd --check-config || fail "the configuration as installed"
in_it id vsnd | grep -q '(audio)' || fail "user vsnd is not in group audio"
for page in man8/vsndd.8 man5/vsndd.toml.5 man1/vsnd.1 man1/vsnd-play.1; do
    in_it test -e "/usr/share/man/$page.gz" || fail "no manual page $page"
done
say "installed; without Xen the service does not start"

# The daemon of an emulation listens in the emulation's directory, unless the configuration names the real daemon's socket.
sed -i 's|^# socket = "/run/vsnd/control.sock".*|socket = "/run/vsnd/control.sock"|' "$root/etc/vsnd/vsndd.toml"
# The emulated Xen in place of the real one, and a shorter watchdog time; everything else is as in the unit.
mkdir -p "$root/run" "$work/drop-in"
cat > "$work/test.conf" << 'END'
[Unit]
ConditionPathIsDirectory=
[Service]
ExecStart=
ExecStart=/usr/sbin/vsndd --user vsnd --sandbox on --config /etc/vsnd/vsndd.toml --xen emu:/run/emu --sink wav:/var/lib/vsnd/heard.wav
WatchdogSec=2
END
in_it mkdir -p /run/systemd/system/vsndd.service.d
in_it tee /run/systemd/system/vsndd.service.d/test.conf < "$work/test.conf" > /dev/null
in_it systemctl daemon-reload
in_it systemd-run --quiet --unit=emu vsnd emu --dir /run/emu
eventually "no emulated Xen" in_it test -S /run/emu/xenstored.sock
in_it vsnd emu --dir /run/emu attach --domain 1 "vsnd=[['CARD, short-name=C', 'PCM, name=p', 'STREAM, unique-id=o, type=p']]" > /dev/null
in_it systemctl start vsndd || fail "the service does not start"
main_pid() { in_it systemctl show -P MainPID vsndd; }
in_it systemctl show -P StatusText vsndd | grep -q '^serving emu:/run/emu' || fail "no status"
in_it grep -E '^(Uid|CapEff|CapBnd|Seccomp|NoNewPrivs):' "/proc/$(main_pid)/status" | tr -s '\t\n' '  ' > "$work/status"
grep -qE 'Uid: ([1-9][0-9]*) \1 \1 \1 CapEff: 0+ .*NoNewPrivs: 1 Seccomp: 2' "$work/status" || fail "not confined: $(cat "$work/status")"
# Succeeds if a daemon runs in the container.
runs() { pgrep --ns "$leader" --nslist pid -x vsndd > /dev/null; }
runs || fail "no daemon is seen"
say "started: $(cat "$work/status")"

play() { in_it vsnd play --xen emu:/run/emu "${@:2}" "/packages/$1.wav"; }
newest() { find "$root/var/lib/vsnd" -name 'heard*.wav' -printf '%T@ %p\n' | sort -n | tail -n1 | cut -d' ' -f2; }
play short > "$work/play" 2>&1 || fail "play: $(cat "$work/play")"
eventually "what was heard is not what was played" "$lab" compare --frames 96000 --seed 1 "$(newest)"
say "played: $("$lab" compare --frames 96000 --seed 1 "$(newest)")"

# The control socket shows the guest; a reload makes the daemon read its configuration again.
in_it vsnd list | grep -q '^1 guest' || fail "vsnd list: $(in_it vsnd list 2>&1)"
in_it stat -c '%U:%G %a' /run/vsnd/control.sock | grep -qx 'root:vsnd 660' || fail "$(in_it ls -l /run/vsnd)"
before=$(main_pid)
echo '#' >> "$root/etc/vsnd/vsndd.toml"
in_it systemctl reload vsndd || fail "reload"
eventually "no reload" in_it journalctl -q -u vsndd --grep 'configuration read again'
[ "$(main_pid)" = "$before" ] || fail "a reload is no restart"
sed -i '$d' "$root/etc/vsnd/vsndd.toml"
# A file that the next start would refuse is refused by the reload, with line and column in the journal.
echo 'snik = 1' >> "$root/etc/vsnd/vsndd.toml"
if in_it systemctl reload vsndd; then fail "a reload of a broken file is to fail"; fi
eventually "no line and column" in_it journalctl -q -u vsndd --grep 'unknown key .snik.'
sed -i '$d' "$root/etc/vsnd/vsndd.toml"
say "seen with vsnd list, reloaded"

# What was set for a guest outlives the service, in the directory that systemd makes for it.
kept() { in_it vsnd forget | sed 's/^[^:]*: //' | sort | tr '\n' ' '; }
in_it vsnd volume 1 =-12dB > /dev/null || fail "vsnd volume"
in_it vsnd mute 1 > /dev/null || fail "vsnd mute"
[ "$(kept)" = "muted volume -12 dB " ] || fail "kept: $(kept)"
in_it stat -c '%U %a' /var/lib/vsnd/overrides.json | grep -qx 'vsnd 600' || fail "$(in_it ls -l /var/lib/vsnd)"
before=$(main_pid)
in_it systemctl restart vsndd || fail "restart"
[ "$(main_pid)" != "$before" ] || fail "it is the same daemon"
[ "$(kept)" = "muted volume -12 dB " ] || fail "after a restart is kept: $(kept)"
# samples: counts the bytes in the newest recording that are not silence; those of the file's header are no samples.
samples() { tail -c +81 "$(newest)" | tr -d '\0' | wc -c; }
play short > "$work/play" 2>&1 || fail "play muted: $(cat "$work/play")"
eventually "the muted guest is not recorded" sh -c "[ \$(wc -c < '$(newest)') -ge 384000 ]"
[ "$(samples)" = 0 ] || fail "a muted guest is heard: $(newest)"
in_it vsnd forget '*' > /dev/null || fail "vsnd forget"
play short > "$work/play" 2>&1 || fail "play: $(cat "$work/play")"
eventually "it is still not heard" "$lab" compare --frames 96000 --seed 1 "$(newest)"
say "volume and mute hold after a restart of the service, until they are forgotten"

# --- a user's session --------------------------------------------------------------------------------------

as_alice() {
    in_it runuser -u alice -- env HOME=/home/alice XDG_RUNTIME_DIR=/run/user/1000 \
        DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus "$@"
}
has_sink() { as_alice pactl list short sinks | grep -q .; }
# session SERVER WITHOUT: alice logs in, and her session has SERVER and not WITHOUT.
session() {
    local unit
    in_it systemctl stop user@1000.service
    as_alice rm -rf /home/alice/.config
    as_alice mkdir -p /home/alice/.config/systemd/user /home/alice/.config/pulse
    echo 'default-sample-rate = 48000' | as_alice tee /home/alice/.config/pulse/daemon.conf > /dev/null
    for unit in "$2.socket" "$2.service"; do as_alice ln -s /dev/null "/home/alice/.config/systemd/user/$unit"; done
    in_it systemctl start user@1000.service || fail "alice cannot log in: $(in_it journalctl -q -n 20 -u user@1000)"
    eventually "$1 has no sink" has_sink
    as_alice pactl info > "$work/server"
}
# heard_part: checks that the longest stretch of alice's recording is from the sound of seed 1 and at least a tenth of a second long. On a
# busy machine her server or its recorder loses cycles.
heard_part() {
    local heard=$root/home/alice/heard.raw from most
    read -r from most < <("$lab" stretches "$heard" |
        awk -v RS=', ' '{ if ($1 == "sound" && $2 > most) { most = $2; from = at } at += $2 } END { print from + 0, most + 0 }')
    dd if="$heard" of="$work/part.raw" iflag=skip_bytes,count_bytes skip=$((from * 4)) count=$((most * 4)) status=none
    "$lab" compare --frames 96000 --seed 1 --from-any --jumps 100 --at-least 4800 "$work/part.raw"
}
# heard_by_alice TEXT COMMAND...: the command plays the sound of seed 1, which is heard at the default sink of her session.
heard_by_alice() {
    local what=$1 heard=$root/home/alice/heard.raw
    shift
    rm -f "$heard"
    in_it systemd-run --quiet --collect --unit=recorder --uid=alice --setenv=XDG_RUNTIME_DIR=/run/user/1000 --setenv=HOME=/home/alice \
        sh -c 'exec parec --device=@DEFAULT_MONITOR@ --raw --format=s16le --rate=48000 --channels=2 > /home/alice/heard.raw'
    eventually "$what: nothing is recorded" test -s "$heard"
    "$@" > "$work/play" 2>&1 || fail "$what: $(cat "$work/play") $(in_it journalctl -q -n 30 -u 'vsnd-desktop@*')"
    eventually "$what: it is not heard" heard_part
    say "$what: heard by alice: $(heard_part)"
    in_it systemctl stop recorder
}
# at_the_door USER COMMAND...: runs a PulseAudio client as USER on the socket that is for the workers.
at_the_door() { in_it runuser -u "$1" -- env HOME=/nonexistent PULSE_SERVER=unix:/run/vsnd-desktop/alice "${@:2}"; }
# denied COMMAND...: checks that the command is denied to the workers' user.
denied() {
    if at_the_door vsnd "$@" > "$work/denied" 2>&1; then fail "$* is not denied"; fi
    grep -q 'Access denied' "$work/denied" || fail "$*: $(cat "$work/denied")"
}

cp "$root/etc/vsnd/vsndd.toml" "$work/vsndd.toml"
cat >> "$root/etc/vsnd/vsndd.toml" << 'END'
[[rule]]
domain = 2
sink = "pulse@unix:/run/vsnd-desktop/alice"
source = "pulse@unix:/run/vsnd-desktop/alice"
capture = true
[[rule]]
domain = 3
sink = "pulse@unix:/run/user/1000/pulse/native"
END
for domain in 2 3; do
    in_it vsnd emu --dir /run/emu attach --domain $domain \
        "vsnd=[['CARD, short-name=C', 'PCM, name=p', 'STREAM, unique-id=o, type=p', 'STREAM, unique-id=i, type=c']]" > /dev/null
done
in_it systemctl reload vsndd || fail "reload with sessions"
session pulseaudio pipewire-pulse
grep -q '^Server Name: pulseaudio' "$work/server" || fail "another server: $(cat "$work/server")"
if play short --domain 2 > "$work/play" 2>&1; then fail "nobody has let guests into the session"; fi
if play short --domain 3 > "$work/play" 2>&1; then fail "the service must not reach a session by itself"; fi
eventually "the log does not say what to do" in_it journalctl -q -u vsndd --grep 'enable --now vsnd-desktop@USER.socket'

in_it systemctl enable --quiet --now vsnd-desktop@alice.socket
in_it stat -c '%U %a' /run/vsnd-desktop/alice | grep -qx 'vsnd 600' || fail "$(in_it ls -l /run/vsnd-desktop)"
# The first connection starts the program behind the socket, which may take longer than a guest waits for OPEN.
at_the_door vsnd pactl info > "$work/info" 2>&1 || fail "the way is closed: $(cat "$work/info")"
heard_by_alice "PulseAudio" play short --domain 2
if at_the_door nobody pactl info > /dev/null 2>&1; then fail "anybody reaches the session"; fi
denied pactl load-module module-null-sink
denied pactl list short clients
denied parec --raw
record() { in_it rm -f /run/recorded.wav; in_it timeout 60 vsnd record --xen emu:/run/emu --domain 2 --seconds 0.2 /run/recorded.wav; }
if record > "$work/record" 2>&1; then fail "capture is not allowed in the session"; fi
eventually "the log does not say what to do" in_it journalctl -q -u vsndd --grep 'run .vsnd-desktop. with .--allow-capture'
in_it mkdir -p /etc/systemd/system/vsnd-desktop@alice.service.d
printf '[Service]\nEnvironment=VSND_DESKTOP=--allow-capture\n' > "$root/etc/systemd/system/vsnd-desktop@alice.service.d/capture.conf"
in_it systemctl daemon-reload
in_it systemctl restart vsnd-desktop@alice
record > "$work/record" 2>&1 || fail "capture: $(cat "$work/record")"
denied pactl load-module module-null-sink
say "alice's server can be played to, captured from where that is allowed, and nothing else"

session pipewire-pulse pulseaudio
grep -q '^Server Name: PulseAudio (on PipeWire' "$work/server" || fail "another server: $(cat "$work/server")"
heard_by_alice "PipeWire" play short --domain 2
denied pactl load-module module-null-sink
# By PipeWire's own protocol, with a daemon that runs in the session.
own=emu:/home/alice/xen
alices() {
    in_it systemd-run --quiet --collect --unit="$1" --uid=alice --setenv=XDG_RUNTIME_DIR=/run/user/1000 --setenv=HOME=/home/alice "${@:2}"
}
alices own-emu vsnd emu --dir /home/alice/xen
as_alice vsnd emu --dir /home/alice/xen attach --domain 1 "vsnd=[['CARD, short-name=C', 'PCM, name=p', 'STREAM, unique-id=o, type=p']]" > /dev/null
if as_alice vsndd --check-config --sink pipewire 2> "$work/check"; then fail "PipeWire is built in, so its package has no effect"; fi
grep -q 'the package .vsndd-pipewire. has them' "$work/check" || fail "$(cat "$work/check")"
as_alice vsnd devices > "$work/devices"
sed -n '/^PipeWire/,$p' "$work/devices" | grep -q 'the package .vsndd-pipewire. has them' ||
    fail "the list of devices does not mention PipeWire: $(cat "$work/devices")"
before=$(main_pid)
apt_in_it install "/packages/vsndd-pipewire_${version}_amd64.deb"
[ "$(main_pid)" != "$before" ] || fail "the service is still the one without PipeWire"
in_it readlink "/proc/$(main_pid)/exe" | grep -qx /usr/libexec/vsndd-pipewire || fail "the service is not the one with PipeWire"
as_alice vsndd --check-config --sink pipewire || fail "the package has no PipeWire"
as_alice vsnd devices --json > "$work/devices"
grep -q '"device":"pipewire:[^"]*"' "$work/devices" || fail "no nodes among the devices: $(cat "$work/devices")"
in_it cat "/proc/$(main_pid)/comm" | grep -qx vsndd || fail "the service has another name"
alices own-daemon vsndd --xen "$own" --sink pipewire
eventually "alice's own daemon does not serve: $(in_it journalctl -q -n 20 -u own-daemon)" in_it test -S /home/alice/xen/control.sock
heard_by_alice "PipeWire's own protocol" as_alice vsnd play --xen "$own" /packages/short.wav
in_it systemctl stop own-daemon own-emu user@1000.service
apt_in_it purge vsndd-pipewire
in_it readlink "/proc/$(main_pid)/exe" | grep -qx /usr/sbin/vsndd || fail "the service is still the one with PipeWire"
cp "$work/vsndd.toml" "$root/etc/vsnd/vsndd.toml"
in_it systemctl reload vsndd

# over_it TEXT COMMAND...: a player plays while the command acts on the daemon, and both parts of the sound are right. The sound is two
# minutes long, enough for an upgrade on a busy machine: the player is stopped when the new daemon is heard.
over_it() {
    local what=$1 first=$root/var/lib/vsnd/heard.wav second=$root/var/lib/vsnd/heard-2.wav before
    local long=("$lab" compare --frames 5760000 --seed 2)
    shift
    in_it find /var/lib/vsnd -name 'heard*.wav' -delete
    before=$(main_pid)
    in_it systemd-run --quiet --collect --unit=player \
        vsnd play --xen emu:/run/emu /packages/long.wav
    eventually "nothing is heard" "${long[@]}" --at-least 48000 "$first"
    "$@" || fail "$what"
    eventually "$what: nothing is heard afterwards" "${long[@]}" --from-any --at-least 1 "$second"
    in_it systemctl is-active --quiet player || fail "$what: the player: $(in_it journalctl -q -u player)"
    in_it systemctl stop player
    [ "$(main_pid)" != "$before" ] || fail "$what: it is the same daemon"
    [ "$(in_it systemctl is-active vsndd)" = active ] || fail "$what: the service is not active"
    say "$what: heard before: $("${long[@]}" --at-least 48000 "$first")," \
        "after: $("${long[@]}" --from-any --at-least 1 "$second")"
}
over_it "killed" in_it systemctl kill -s KILL vsndd
hang() {
    in_it systemctl kill -s STOP vsndd
    eventually "the watchdog does not act" in_it journalctl -u vsndd --grep 'Watchdog timeout' -q
}
over_it "hung" hang
over_it "upgraded" apt_in_it install "/packages/vsndd_$version+next_amd64.deb" "/packages/vsnd-tools_$version+next_amd64.deb"
[ "$(in_it dpkg-query -Wf '${Version}' vsndd)" = "$version+next" ] || fail "not upgraded"

# --- the ends of the daemon ----------------------------------------------------------------------------------

is_active() { [ "$(in_it systemctl show -P ActiveState vsndd)" = "$1" ]; }
# ends STATUS TEXT: the service, when started, ends with STATUS and is not started again.
ends() {
    in_it systemctl stop vsndd
    in_it systemctl reset-failed vsndd
    if in_it systemctl start vsndd 2> /dev/null; then fail "$2: it starts"; fi
    [ "$(in_it systemctl show -P ExecMainStatus vsndd)" = "$1" ] || fail "$2: not $1: $(in_it systemctl status vsndd)"
    [ "$(in_it systemctl show -P NRestarts vsndd)" = 0 ] && is_active failed || fail "$2: it is started again"
    say "$2: ends with $1 and is not started again"
}
# started_with OPTIONS: sets the service's options from now on.
started_with() {
    printf '[Service]\nExecStart=\nExecStart=/usr/sbin/vsndd %s\n' "$1" |
        in_it tee /run/systemd/system/vsndd.service.d/zz-ends.conf > /dev/null
    in_it systemctl daemon-reload
}
started_with "--user vsnd --nonsense"
ends 2 "a command line with a mistake"
started_with "--user vsnd --config /etc/vsnd/vsndd.toml --xen emu:/run/emu --sink nonsense"
ends 2 "a device that does not exist"
started_with "--user vsnd --config /etc/vsnd/vsndd.toml --xen emu:/run/emu"
echo 'snik = 1' >> "$root/etc/vsnd/vsndd.toml"
ends 3 "a configuration with a mistake"
sed -i '$d' "$root/etc/vsnd/vsndd.toml"
started_with "--user nobody-of-that-name --config /etc/vsnd/vsndd.toml --xen emu:/run/emu"
ends 3 "a user that does not exist"
started_with "--user vsnd --config /etc/vsnd/vsndd.toml --xen emu:/run/emu"
in_it systemctl stop vsndd
in_it systemd-run --quiet --collect --unit=other-emu vsnd emu --dir /run/other-emu
printf 'sink = "null"\ncontrol = { socket = "/run/vsnd/control.sock" }\n' > "$root/run-other.toml"
in_it systemd-run --quiet --collect --unit=other vsndd --xen emu:/run/other-emu --config /run-other.toml
eventually "no other daemon" in_it test -S /run/vsnd/control.sock
ends 12 "another daemon in its place"
in_it systemctl stop other other-emu
rm "$root/run-other.toml"
# An error that a restart may mend leads to restarts, but not without end.
started_with "--user vsnd --xen dev"
in_it systemctl reset-failed vsndd
in_it systemctl start vsndd 2> /dev/null || true
limit=$((SECONDS + 300))
until is_active failed; do [ $SECONDS -lt $limit ] || fail "without Xen it is started again and again"; sleep 0.2; done
restarts=$(in_it systemctl show -P NRestarts vsndd)
[ "$(in_it systemctl show -P ExecMainStatus vsndd)" = 4 ] && [ "$restarts" -gt 5 ] && [ "$restarts" -le 50 ] ||
    fail "without Xen: $restarts restarts, $(in_it systemctl status vsndd)"
say "without Xen: ends with 4, and after $restarts restarts for good"
in_it rm /run/systemd/system/vsndd.service.d/zz-ends.conf
in_it systemctl daemon-reload
in_it systemctl reset-failed vsndd
in_it systemctl start vsndd || fail "it does not start any more"
in_it systemctl stop emu
eventually "it goes on without Xen" in_it journalctl -q -u vsndd --grep 'status=10'
in_it systemd-run --quiet --unit=emu vsnd emu --dir /run/emu
eventually "it does not come back with its Xen" is_active active
say "Xen went away and came back: ended with 10, started again"

apt_in_it remove vsndd vsnd-tools
! runs || fail "the daemon runs after its removal"
in_it test ! -e /run/vsnd || fail "/run/vsnd is left"
in_it test -e /etc/vsnd/vsndd.toml || fail "a removal must keep the configuration"
in_it find /var/lib/vsnd -name 'heard*.wav' -delete
apt_in_it purge vsndd vsnd-tools
in_it systemctl stop emu
[ -z "$(left_over)" ] || fail "left over: $(left_over)"
say "removed and purged: nothing is left"

# --- the guest's module --------------------------------------------------------------------------------------

apt_in_it install "/packages/vsnd-dkms_${version}_all.deb"
in_it dkms status vsnd | grep -q installed || fail "dkms: $(in_it dkms status vsnd) $(cat "$work/apt.log")"
module=$(in_it find /lib/modules -name 'vsnd_front.ko*')
in_it modinfo -F alias "$module" | grep -qx xen:vsnd || fail "no module: $module"
say "built by DKMS: $module"
for file in udev/rules.d/90-vsnd.rules alsa-card-profile/mixer/{profile-sets/vsnd,paths/vsnd-output}.conf; do
    in_it dpkg -L vsnd-dkms | grep -q "/$file$" || fail "no $file in vsnd-dkms"
done
apt_in_it install "/packages/vsnd-dkms_$version+next_all.deb"
in_it dkms status vsnd | grep -q installed || fail "dkms after the upgrade: $(in_it dkms status vsnd)"
apt_in_it purge vsnd-dkms
left_over | grep -v '^/var/lib/dkms$' > "$work/left" || true
[ ! -s "$work/left" ] || fail "left over: $(cat "$work/left")"
say "upgraded and removed: nothing is left"
