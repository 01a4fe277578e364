/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef VSND_PCM_H
#define VSND_PCM_H

struct snd_card;
struct vsnd_sound;

int vsnd_pcm_new(struct snd_card *card, struct vsnd_sound *sound, int device, const char *name,
		 int playback, int capture);

#endif /* VSND_PCM_H */
