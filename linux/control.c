// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Volumes and switches of streams as ALSA's controls, each handed to the Rust half. */
#include <linux/slab.h>
#include <sound/control.h>
#include <sound/core.h>
#include <sound/tlv.h>

#include "pcm.h"
#include "vsnd.h"

/* Limit of ALSA's struct snd_ctl_elem_value. */
#define VSND_CONTROL_CHANNELS_MAX 128

/* A control that ALSA has, until ALSA frees it. */
struct vsnd_known {
	struct vsnd_control is;
	unsigned int scale[4];
};

static const struct vsnd_control *vsnd_control(struct snd_kcontrol *kcontrol)
{
	struct vsnd_known *known = snd_kcontrol_chip(kcontrol);

	return &known->is;
}

static int vsnd_control_info(struct snd_kcontrol *kcontrol, struct snd_ctl_elem_info *info)
{
	const struct vsnd_control *control = vsnd_control(kcontrol);

	info->type = control->is_switch ? SNDRV_CTL_ELEM_TYPE_BOOLEAN :
					  SNDRV_CTL_ELEM_TYPE_INTEGER;
	info->count = control->channels;
	info->value.integer.min = control->min;
	info->value.integer.max = control->max;
	return 0;
}

static int vsnd_control_get(struct snd_kcontrol *kcontrol, struct snd_ctl_elem_value *value)
{
	const struct vsnd_control *control = vsnd_control(kcontrol);

	vsnd_stream_get_control(control->stream, control->capture, control->is_switch,
				value->value.integer.value, control->channels);
	return 0;
}

static int vsnd_control_put(struct snd_kcontrol *kcontrol, struct snd_ctl_elem_value *value)
{
	const struct vsnd_control *control = vsnd_control(kcontrol);

	return vsnd_stream_put_control(control->stream, control->capture, control->is_switch,
				       value->value.integer.value, control->channels);
}

static void vsnd_control_private_free(struct snd_kcontrol *kcontrol)
{
	struct vsnd_known *known = snd_kcontrol_chip(kcontrol);

	if (!known->is.is_switch)
		vsnd_listener_set_volume(vsnd_stream_listener(known->is.stream), NULL, NULL);
	kfree(known);
}

/**
 * vsnd_card_add_control() - Adds a volume or switch to a card.
 * @card: The card; not registered yet.
 * @control: The control; copied.
 * @name: Name; not terminated.
 * @name_length: Bytes of @name.
 *
 * Context: Process context, with the lock of the fronts held.
 * Return: 0, or a negative error number.
 */
int vsnd_card_add_control(struct snd_card *card, const struct vsnd_control *control,
			  const char *name, size_t name_length)
{
	char shown[SNDRV_CTL_ELEM_ID_NAME_MAXLEN];
	struct snd_kcontrol_new new = {
		.iface = SNDRV_CTL_ELEM_IFACE_MIXER,
		.name = shown,
		.index = control->index,
		.access = SNDRV_CTL_ELEM_ACCESS_READWRITE,
		.info = vsnd_control_info,
		.get = vsnd_control_get,
		.put = vsnd_control_put,
	};
	struct snd_kcontrol *kcontrol;
	struct vsnd_known *known = kzalloc(sizeof(*known), GFP_KERNEL);

	if (!known)
		return -ENOMEM;
	known->is = *control;
	known->is.channels = min_t(u32, control->channels, VSND_CONTROL_CHANNELS_MAX);
	if (!control->is_switch) {
		known->scale[SNDRV_CTL_TLVO_TYPE] = SNDRV_CTL_TLVT_DB_SCALE;
		known->scale[SNDRV_CTL_TLVO_LEN] = 2 * sizeof(unsigned int);
		known->scale[SNDRV_CTL_TLVO_DB_SCALE_MIN] = control->min_millibel;
		known->scale[SNDRV_CTL_TLVO_DB_SCALE_MUTE_AND_STEP] = control->step_millibel |
			(control->min_is_silence ? TLV_DB_SCALE_MUTE : 0);
		new.access |= SNDRV_CTL_ELEM_ACCESS_TLV_READ;
		new.tlv.p = known->scale;
	}
	snprintf(shown, sizeof(shown), "%.*s", (int)name_length, name);
	kcontrol = snd_ctl_new1(&new, known);
	if (!kcontrol) {
		kfree(known);
		return -ENOMEM;
	}
	kcontrol->private_free = vsnd_control_private_free;
	if (!control->is_switch)
		vsnd_listener_set_volume(vsnd_stream_listener(control->stream), card, kcontrol);
	/* ALSA frees the control when this fails. */
	return snd_ctl_add(card, kcontrol);
}
