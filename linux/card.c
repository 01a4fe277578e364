// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* ALSA's card of a device, and the module parameters that every ALSA driver has. */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <sound/core.h>
#include <sound/info.h>
#include <sound/initval.h>
#include <xen/xenbus.h>

#include "card.h"
#include "pcm.h"
#include "vsnd.h"

/* Parameters of each device; the index is its number in the store. */
static int index[SNDRV_CARDS] = SNDRV_DEFAULT_IDX;
static char *id[SNDRV_CARDS] = SNDRV_DEFAULT_STR;
static bool enable[SNDRV_CARDS] = SNDRV_DEFAULT_ENABLE_PNP;
static char *model[SNDRV_CARDS];

module_param_array(index, int, NULL, 0444);
MODULE_PARM_DESC(index, "Index of the card, for each device.");
module_param_array(id, charp, NULL, 0444);
MODULE_PARM_DESC(id, "ID string of the card, for each device.");
module_param_array(enable, bool, NULL, 0444);
MODULE_PARM_DESC(enable, "Whether a device gets a card.");
module_param_array(model, charp, NULL, 0444);
MODULE_PARM_DESC(model, "Model of the card, for each device of protocol version 0: ac97.");

/* Returns the device's index in the parameters; -1 beyond them, where the defaults hold. */
static int vsnd_card_place(struct xenbus_device *dev)
{
	u32 place = vsnd_bus_number(dev);

	return place < SNDRV_CARDS ? place : -1;
}

bool vsnd_card_enabled(struct xenbus_device *dev)
{
	int place = vsnd_card_place(dev);

	return place < 0 || enable[place];
}

const char *vsnd_card_model(struct xenbus_device *dev)
{
	int place = vsnd_card_place(dev);

	return place < 0 || !model[place] ? "" : model[place];
}

static void vsnd_card_private_free(struct snd_card *card)
{
	vsnd_sound_put(card->private_data);
}

static void vsnd_card_name(char *into, size_t size, const char *name, size_t length)
{
	snprintf(into, size, "%.*s", (int)length, name);
}

/**
 * vsnd_card_new() - Creates ALSA's card of a device.
 * @dev: The device.
 * @sound: Sound of the card; its reference is taken over, also on failure.
 * @names: Names of the card.
 * @card: Set to the card on success; freed by vsnd_card_free().
 *
 * Context: Process context, with the lock of the fronts held.
 * Return: 0, or a negative error number.
 */
int vsnd_card_new(struct xenbus_device *dev, struct vsnd_sound *sound,
		  const struct vsnd_names *names, struct snd_card **card)
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
	vsnd_card_name(new->driver, sizeof(new->driver), names->driver, names->driver_length);
	vsnd_card_name(new->shortname, sizeof(new->shortname), names->short_name,
		       names->short_length);
	vsnd_card_name(new->longname, sizeof(new->longname), names->long_name, names->long_length);
	vsnd_card_name(new->mixername, sizeof(new->mixername), names->mixer, names->mixer_length);
	*card = new;
	return 0;
}

/**
 * vsnd_card_add_pcm() - Adds a PCM device to a card that is not registered yet.
 * @card: The card.
 * @sound: Sound of the card.
 * @device: ALSA's number of the PCM device.
 * @name: Name; not terminated.
 * @name_length: Bytes of @name.
 * @playback: Number of playback substreams.
 * @capture: Number of capture substreams.
 * @half_duplex: One application at a time plays or records.
 *
 * Context: Process context, with the lock of the fronts held.
 * Return: 0, or a negative error number.
 */
int vsnd_card_add_pcm(struct snd_card *card, struct vsnd_sound *sound, u32 device,
		      const char *name, size_t name_length, u32 playback, u32 capture,
		      bool half_duplex)
{
	char id[64];

	vsnd_card_name(id, sizeof(id), name, name_length);
	return vsnd_pcm_new(card, sound, device, id, playback, capture, half_duplex);
}

static void vsnd_card_show(struct snd_info_entry *entry, struct snd_info_buffer *buffer)
{
	vsnd_sound_show(entry->private_data, buffer);
}

/**
 * vsnd_show() - Appends text to a file of /proc.
 * @buffer: The file; too long text is cut off.
 * @text: Text; not terminated.
 * @length: Bytes of @text.
 *
 * Context: Process context, within vsnd_sound_show().
 */
void vsnd_show(struct snd_info_buffer *buffer, const char *text, size_t length)
{
	snd_iprintf(buffer, "%.*s", (int)length, text);
}

/* ---- limits, of protocol version 0 ---- */

/* Size of the file of limits, which has few lines. */
#define VSND_LIMITS_MAX 2048

static ssize_t vsnd_limits_read(struct snd_info_entry *entry, void *private, struct file *file,
				char __user *buf, size_t count, loff_t pos)
{
	char *text = kzalloc(VSND_LIMITS_MAX, GFP_KERNEL);
	ssize_t done;

	if (!text)
		return -ENOMEM;
	done = simple_read_from_buffer(buf, count, &pos, text,
				       vsnd_sound_show_limits(entry->private_data, text,
							      VSND_LIMITS_MAX));
	kfree(text);
	return done;
}

/* Sets all lines of one write, or none. */
static ssize_t vsnd_limits_write(struct snd_info_entry *entry, void *private, struct file *file,
				 const char __user *buf, size_t count, loff_t pos)
{
	char *text = memdup_user(buf, count);
	int err;

	if (IS_ERR(text))
		return PTR_ERR(text);
	err = vsnd_sound_set_limits(entry->private_data, text, count);
	kfree(text);
	return err ? err : (ssize_t)count;
}

static const struct snd_info_entry_ops vsnd_limits_ops = {
	.read = vsnd_limits_read,
	.write = vsnd_limits_write,
};

/**
 * vsnd_card_add_limits() - Adds the file of /proc in which limits are shown and set.
 * @card: The card; not registered yet.
 *
 * Context: Process context, with the lock of the fronts held.
 * Return: 0, or a negative error number.
 */
int vsnd_card_add_limits(struct snd_card *card)
{
	struct snd_info_entry *entry;
	int err = snd_card_proc_new(card, "virtualcard_pcm", &entry);

	if (err)
		return err;
	entry->content = SNDRV_INFO_CONTENT_DATA;
	entry->private_data = card->private_data;
	entry->c.ops = &vsnd_limits_ops;
	entry->size = VSND_LIMITS_MAX;
	entry->mode |= 0200;
	return 0;
}

/**
 * vsnd_card_register() - Makes a card visible to applications.
 * @card: The card, complete.
 *
 * Context: Process context, with the lock of the fronts held. Applications may use
 * the card before this function returns.
 * Return: 0, or a negative error number.
 */
int vsnd_card_register(struct snd_card *card)
{
	int err = snd_card_ro_proc_new(card, "vsnd", card->private_data, vsnd_card_show);

	return err ? err : snd_card_register(card);
}

/**
 * vsnd_card_free() - Takes a card away from applications.
 * @card: The card; ALSA frees it when the last application closes it.
 *
 * Context: Process context, with no mutex held that an open or close of the card
 * takes.
 */
void vsnd_card_free(struct snd_card *card)
{
	snd_card_free_when_closed(card);
}
