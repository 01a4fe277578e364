/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef VSND_PCM_H
#define VSND_PCM_H

struct snd_card;
struct snd_kcontrol;
struct vsnd_listener;
struct vsnd_sound;

/**
 * vsnd_pcm_new() - Adds a PCM device to a card.
 * @card: The card.
 * @sound: Sound of the card, which holds the reference.
 * @device: ALSA's number of the PCM device.
 * @name: Name; terminated.
 * @playback: Number of playback substreams.
 * @capture: Number of capture substreams.
 * @half_duplex: One application at a time plays or records.
 *
 * Context: Process context, with the lock of the fronts held.
 * Return: 0, or a negative error number.
 */
int vsnd_pcm_new(struct snd_card *card, struct vsnd_sound *sound, int device, const char *name,
		 int playback, int capture, bool half_duplex);

/**
 * vsnd_listener_set_volume() - Sets the volume's control of a listener.
 * @listener: The listener.
 * @card: Card of the control.
 * @volume: The control; NULL once there is none.
 *
 * Context: Process context; takes the listener's mutex. When ALSA frees the
 * control, the card's controls_rwsem may be held.
 */
void vsnd_listener_set_volume(struct vsnd_listener *listener, struct snd_card *card,
			      struct snd_kcontrol *volume);

#endif /* VSND_PCM_H */
