#!/bin/bash
# Installs the packages in a Debian 12 of its own, under systemd in a container; starts the service over the emulated Xen, plays
# through it, has it hang and die, upgrades it while it plays, removes all, and looks for what is left. Then the module's package,
# lintian, and what systemd says of the unit.
# usage: test.sh      (as root, or with sudo; needs the network the first time)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
project=$(dirname "$here")
deb=$project/target/deb
base=$deb/debian-12.tar
lab=${PROGRAMS:-$project/target/release}/vsnd-lab
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$project/Cargo.toml" | head -n1)
# The figure that docs/service.md has, in tenths.
exposure=26
[ "$(id -u)" = 0 ] || exec sudo --preserve-env=PROGRAMS "$0"

work=$(mktemp -d -p "$deb")
root=$work/root
container=
finish() {
    status=$?
    if [ -n "$container" ]; then
        [ $status = 0 ] || in_it journalctl --no-pager -n 60 -u vsndd -u emu 2>/dev/null || true
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
# in_it COMMAND...: within the container.
in_it() { nsenter --target "$leader" --mount --uts --ipc --pid --cgroup -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
apt_in_it() { in_it apt-get -qq -o Dpkg::Use-Pty=0 "$@" > "$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; fail "apt-get $*"; }; }

# --- what needs no container -------------------------------------------------------------------------------

# Nobody's mail stands for these packages: they are not Debian's.
lintian --fail-on error,warning --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$deb"/{vsndd,vsnd-tools,vsnd-dkms}_"$version"_*.deb || fail "lintian"
systemd-analyze security --offline=true --threshold=$exposure "$here/vsndd.service" > "$work/security" || {
    cat "$work/security"
    fail "the unit is more exposed than docs/service.md says"
}
say "lintian is content; $(tail -n1 "$work/security" | sed 's/^[^A-Z]*//')"

# --- a Debian of its own -----------------------------------------------------------------------------------

if [ ! -e "$base" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Created-By: Packages' | head -n1)
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,udev,kmod,libasound2,dkms,linux-headers-amd64 bookworm \
        "$work/base" "${mirror:-http://deb.debian.org/debian}" > "$work/debootstrap.log" 2>&1 ||
        { tail -n 20 "$work/debootstrap.log" >&2; fail "debootstrap"; }
    rm -f "$work/base/var/cache/apt/archives"/*.deb
    tar -C "$work/base" -cf "$base.new" . && mv "$base.new" "$base" && rm -rf "$work/base"
    say "made a Debian 12, $(du -m "$base" | cut -f1) MB, kept in target/deb"
fi
mkdir "$root"
tar -C "$root" -xf "$base"
mkdir "$root/packages"
cp "$deb"/{vsndd,vsnd-tools,vsnd-dkms}_"$version"_*.deb "$root/packages/"
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

# everything: files, users and groups; without what apt, the journal and systemd keep for themselves.
everything() {
    in_it find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /packages -o -path /var/cache \
        -o -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /var/tmp \) -prune -o -print | sort
    in_it cat /etc/passwd /etc/group | cut -d: -f1,4 | sort
}
# left_over: what there is now and was not before; backups of the user files are passwd's own.
left_over() { comm -13 "$work/before" <(everything) | grep -vE '^/etc/(passwd|group|shadow|gshadow)-$|^/etc/\.pwd\.lock$|/__pycache__' || true; }
# The indexes of modules, which DKMS has made anew.
in_it sh -c 'for kernel in /lib/modules/*; do depmod "${kernel##*/}" 2>/dev/null; done'
everything > "$work/before"

# --- the service -------------------------------------------------------------------------------------------

apt_in_it install "/packages/vsndd_${version}_amd64.deb" "/packages/vsnd-tools_${version}_amd64.deb"
left_over | grep -qx /usr/sbin/vsndd || fail "what is left over would not be seen"
[ "$(in_it systemctl is-enabled vsndd)" = enabled ] || fail "the service is not enabled"
[ "$(in_it systemctl show -P ActiveState -P ConditionResult vsndd | sort | tr '\n' ' ')" = "inactive no " ] ||
    fail "without Xen the service is to stay away: $(in_it systemctl status vsndd)"
in_it vsndd --check-config || fail "the configuration as installed"
in_it id vsnd | grep -q '(audio)' || fail "user vsnd is not in group audio"
for page in man8/vsndd.8 man5/vsndd.toml.5 man1/vsnd.1 man1/vsnd-play.1; do
    in_it test -e "/usr/share/man/$page.gz" || fail "no manual page $page"
done
say "installed; without Xen the service stays away"

# The daemon of an emulation listens in its directory, unless the configuration has the real one's place.
sed -i 's|^# socket = "/run/vsnd/control.sock".*|socket = "/run/vsnd/control.sock"|' "$root/etc/vsnd/vsndd.toml"
# The emulated Xen in the real one's place, and a watchdog that is quicker to bite; all else as the unit has it.
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
# Whether a daemon runs in the container.
runs() { pgrep --ns "$leader" --nslist pid -x vsndd > /dev/null; }
runs || fail "no daemon is seen"
say "started: $(cat "$work/status")"

play() { in_it vsnd play --xen emu:/run/emu "/packages/$1.wav"; }
newest() { find "$root/var/lib/vsnd" -name 'heard*.wav' -printf '%T@ %p\n' | sort -n | tail -n1 | cut -d' ' -f2; }
play short > "$work/play" 2>&1 || fail "play: $(cat "$work/play")"
eventually "what was heard is not what was played" "$lab" compare --frames 96000 --seed 1 "$(newest)"
say "played: $("$lab" compare --frames 96000 --seed 1 "$(newest)")"

# Seen through the control socket, and told to read its configuration again.
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

# over_it TEXT COMMAND...: a player plays over what the command does to the daemon; both parts of what was heard are right. The
# recording is long enough for an upgrade on a busy machine, two minutes: the player is stopped when the new daemon is heard.
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
    eventually "the watchdog does not bite" in_it journalctl -u vsndd --grep 'Watchdog timeout' -q
}
over_it "hung" hang
over_it "upgraded" apt_in_it install "/packages/vsndd_$version+next_amd64.deb" "/packages/vsnd-tools_$version+next_amd64.deb"
[ "$(in_it dpkg-query -Wf '${Version}' vsndd)" = "$version+next" ] || fail "not upgraded"

apt_in_it remove vsndd vsnd-tools
! runs || fail "the daemon runs after its removal"
in_it test ! -e /run/vsnd || fail "/run/vsnd is left"
in_it test -e /etc/vsnd/vsndd.toml || fail "a removal is to keep the configuration"
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
apt_in_it install "/packages/vsnd-dkms_$version+next_all.deb"
in_it dkms status vsnd | grep -q installed || fail "dkms after the upgrade: $(in_it dkms status vsnd)"
apt_in_it purge vsnd-dkms
left_over | grep -v '^/var/lib/dkms$' > "$work/left" || true
[ ! -s "$work/left" ] || fail "left over: $(cat "$work/left")"
say "upgraded and removed: nothing is left"
