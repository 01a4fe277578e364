# First steps of every domain of the lab. Sourced by the init scripts.
# shellcheck shell=sh

export PATH=/bin LD_LIBRARY_PATH=/lib HOME=/
for programs in /usr/lib/xen-*/bin; do PATH=$PATH:$programs; done
# Sets GUEST_TYPE and BUS.
. /lab/platform

mount_all() {
    busybox mount -t proc proc /proc
    # Only the shell exists so far. Programs that are not busybox's stay.
    busybox --install -s /bin 2>/dev/null
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev 2>/dev/null
    mkdir -p /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t tmpfs tmpfs /run
    mkdir -p /run/xen /run/xenstored /run/lock /run/lab
    for module in xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs; do
        modprobe "$module"
    done
    mount -t xenfs xenfs /proc/xen
    # Warnings go to the console, where guest_complains looks for them.
    echo 5 > /proc/sys/kernel/printk
}

# soon SECONDS COMMAND...: repeats the command until it succeeds; fails after that time.
soon() {
    soon_until=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$soon_until" ] || return 1
        sleep 0.05
    done
}

# now_ms: milliseconds since the domain was started, in steps of 10.
now_ms() {
    read -r uptime _ < /proc/uptime
    # The digits of a fraction may begin with 0, which would make them octal.
    echo "$((${uptime%.*} * 1000 + 1${uptime#*.} * 10 - 1000))"
}

# Removes silence from samples that are signed integers: all bytes that are 0.
unsilenced() { tr -d '\000'; }

# pulse_start MODULE...: starts PulseAudio with these modules in a domain that has its programs; sets $pulse_pid.
pulse_start() {
    export XDG_RUNTIME_DIR=/run/lab LD_LIBRARY_PATH=/lib:/lib/pulse PULSE_SERVER=unix:/run/lab/pulse.socket
    for pulse_module; do
        shift
        set -- "$@" -L "$pulse_module"
    done
    pulseaudio -n --dl-search-path=/lib/pulse --exit-idle-time=-1 --use-pid-file=no --disable-shm \
        --log-target=newfile:/run/lab/pulse.log "$@" -L "module-native-protocol-unix socket=/run/lab/pulse.socket" &
    pulse_pid=$!
    soon 20 pactl info > /run/lab/pactl 2>&1 || { cat /run/lab/pulse.log* /run/lab/pactl; kill $pulse_pid; return 1; }
}

# pipewire_start CONFIGURATION: starts PipeWire and its session manager in a domain that has their programs; sets
# $pipewire_pids.
pipewire_start() {
    export XDG_RUNTIME_DIR=/run/lab PIPEWIRE_RUNTIME_DIR=/run/lab WIREPLUMBER_CONFIG_DIR=/etc/pipewire
    pipewire -c "$1" > /run/lab/pipewire.log 2>&1 &
    pipewire_pids=$!
    soon 10 [ -e /run/lab/pipewire-0 ] || { echo "PipeWire does not start: $(tail -n1 /run/lab/pipewire.log)"; return 1; }
    wireplumber -c /etc/pipewire/wireplumber.conf >> /run/lab/pipewire.log 2>&1 &
    pipewire_pids="$! $pipewire_pids"
}
