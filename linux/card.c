// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * ALSA's card for a device, and the module parameters that every ALSA driver has.
 */
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <sound/core.h>
#include <sound/info.h>
#include <sound/initval.h>
#include <xen/xenbus.h>

#include "card.h"
#include "pcm.h"
#include "vsnd.h"

/* One place for each device, by its number in the store. */
static int index[SNDRV_CARDS] = SNDRV_DEFAULT_IDX;
static char *id[SNDRV_CARDS] = SNDRV_DEFAULT_STR;
static bool enable[SNDRV_CARDS] = SNDRV_DEFAULT_ENABLE;

module_param_array(index, int, NULL, 0444);
MODULE_PARM_DESC(index, "Index of the card, for each device.");
module_param_array(id, charp, NULL, 0444);
MODULE_PARM_DESC(id, "ID string of the card, for each device.");
module_param_array(enable, bool, NULL, 0444);
MODULE_PARM_DESC(enable, "Whether a device gets a card.");

/* The device's place in the parameters; devices beyond have what nobody set. */
static int vsnd_card_place(struct xenbus_device *dev)
{
	unsigned int place;

	if (kstrtouint(kbasename(dev->nodename), 10, &place) || place >= SNDRV_CARDS)
		return -1;
	return place;
}

bool vsnd_card_enabled(struct xenbus_device *dev)
{
	int place = vsnd_card_place(dev);

	return place < 0 || enable[place];
}

static void vsnd_card_private_free(struct snd_card *card)
{
	vsnd_sound_put(card->private_data);
}

int vsnd_card_new(struct xenbus_device *dev, struct vsnd_sound *sound, const char *short_name,
		  size_t short_length, const char *long_name, size_t long_length,
		  struct snd_card **card)
{
	int place = vsnd_card_place(dev);
	struct snd_card *new;
	int err;

	err = snd_card_new(&dev->dev, place < 0 ? -1 : index[place], place < 0 ? NULL : id[place],
			   THIS_MODULE, 0, &new);
	if (err) {
		vsnd_sound_put(sound);
		return err;
	}
	new->private_data = sound;
	new->private_free = vsnd_card_private_free;
	strscpy(new->driver, "vsnd", sizeof(new->driver));
	snprintf(new->shortname, sizeof(new->shortname), "%.*s", (int)short_length, short_name);
	snprintf(new->longname, sizeof(new->longname), "%.*s", (int)long_length, long_name);
	*card = new;
	return 0;
}

int vsnd_card_add_pcm(struct snd_card *card, struct vsnd_sound *sound, u32 device,
		      const char *name, size_t name_length, u32 playback, u32 capture)
{
	char id[64];

	snprintf(id, sizeof(id), "%.*s", (int)name_length, name);
	return vsnd_pcm_new(card, sound, device, id, playback, capture);
}

static void vsnd_card_show(struct snd_info_entry *entry, struct snd_info_buffer *buffer)
{
	vsnd_sound_show(entry->private_data, buffer);
}

void vsnd_show(struct snd_info_buffer *buffer, const char *text, size_t length)
{
	snd_iprintf(buffer, "%.*s", (int)length, text);
}

int vsnd_card_register(struct snd_card *card)
{
	int err = snd_card_ro_proc_new(card, "vsnd", card->private_data, vsnd_card_show);

	return err ? err : snd_card_register(card);
}

void vsnd_card_free(struct snd_card *card)
{
	snd_card_free_when_closed(card);
}
