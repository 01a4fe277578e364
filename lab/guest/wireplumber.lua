-- Settings of WirePlumber in the lab's guest, which has no D-Bus, and no sequencer for MIDI. All others are Debian's.
default_access.properties["enable-flatpak-portal"] = false
alsa_monitor.properties["alsa.reserve"] = false
alsa_monitor.properties["alsa.midi"] = false
