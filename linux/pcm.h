/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef VSND_PCM_H
#define VSND_PCM_H

struct snd_card;
struct snd_kcontrol;
struct vsnd_listener;
struct vsnd_sound;

int vsnd_pcm_new(struct snd_card *card, struct vsnd_sound *sound, int device, const char *name,
		 int playback, int capture, bool half_duplex);

/* The control of its volume; NULL when there is none any more. */
void vsnd_listener_set_volume(struct vsnd_listener *listener, struct snd_card *card,
			      struct snd_kcontrol *volume);

#endif /* VSND_PCM_H */
