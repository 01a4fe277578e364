// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Volume and switch of each stream as ALSA's controls, each handed to the Rust
 * half.
 */
#include <sound/control.h>
#include <sound/core.h>
#include <sound/tlv.h>

#include "pcm.h"
#include "vsnd.h"

/* From -100 dB, which is silence, in steps of a hundredth of a decibel. */
static const DECLARE_TLV_DB_SCALE(vsnd_volume_scale, -10000, 1, 1);

/* What a control of ALSA can have. */
#define VSND_CONTROL_CHANNELS_MAX 128

/* private_value of a control. */
#define VSND_CONTROL(is_switch, channels) ((is_switch) | (channels) << 1)

static bool vsnd_control_is_switch(struct snd_kcontrol *control)
{
	return control->private_value & 1;
}

static u32 vsnd_control_channels(struct snd_kcontrol *control)
{
	return control->private_value >> 1;
}

static int vsnd_control_info(struct snd_kcontrol *control, struct snd_ctl_elem_info *info)
{
	bool is_switch = vsnd_control_is_switch(control);

	info->type = is_switch ? SNDRV_CTL_ELEM_TYPE_BOOLEAN : SNDRV_CTL_ELEM_TYPE_INTEGER;
	info->count = vsnd_control_channels(control);
	info->value.integer.min = 0;
	info->value.integer.max = is_switch ? 1 : VSND_VOLUME_MAX;
	return 0;
}

static int vsnd_control_get(struct snd_kcontrol *control, struct snd_ctl_elem_value *value)
{
	vsnd_stream_get_control(snd_kcontrol_chip(control), vsnd_control_is_switch(control),
				value->value.integer.value, vsnd_control_channels(control));
	return 0;
}

static int vsnd_control_put(struct snd_kcontrol *control, struct snd_ctl_elem_value *value)
{
	long most = vsnd_control_is_switch(control) ? 1 : VSND_VOLUME_MAX;
	u32 i, channels = vsnd_control_channels(control);

	for (i = 0; i < channels; i++)
		if (value->value.integer.value[i] < 0 || value->value.integer.value[i] > most)
			return -EINVAL;
	return vsnd_stream_put_control(snd_kcontrol_chip(control), vsnd_control_is_switch(control),
				       value->value.integer.value, channels);
}

static void vsnd_control_private_free(struct snd_kcontrol *control)
{
	vsnd_listener_set_volume(vsnd_stream_listener(snd_kcontrol_chip(control)), NULL, NULL);
}

int vsnd_card_add_control(struct snd_card *card, const struct vsnd_stream *stream, bool is_switch,
			  bool capture, u32 index, u32 channels)
{
	u32 shown = min_t(u32, channels, VSND_CONTROL_CHANNELS_MAX);
	struct snd_kcontrol_new new = {
		.iface = SNDRV_CTL_ELEM_IFACE_MIXER,
		.index = index,
		.access = SNDRV_CTL_ELEM_ACCESS_READWRITE,
		.info = vsnd_control_info,
		.get = vsnd_control_get,
		.put = vsnd_control_put,
		.private_value = VSND_CONTROL(is_switch, shown),
	};
	struct snd_kcontrol *control;

	if (is_switch) {
		new.name = capture ? "PCM Capture Switch" : "PCM Playback Switch";
	} else {
		new.name = capture ? "PCM Capture Volume" : "PCM Playback Volume";
		new.access |= SNDRV_CTL_ELEM_ACCESS_TLV_READ;
		new.tlv.p = vsnd_volume_scale;
	}
	control = snd_ctl_new1(&new, (void *)stream);
	if (control && !is_switch) {
		control->private_free = vsnd_control_private_free;
		vsnd_listener_set_volume(vsnd_stream_listener(stream), card, control);
	}
	return snd_ctl_add(card, control);
}
