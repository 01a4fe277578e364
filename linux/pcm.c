// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * ALSA's PCM operations, each handed to the Rust half.
 *
 * The PCM is nonatomic: trigger, pointer and ack run with the PCM stream's
 * mutex held, everything else without it.
 */
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <sound/control.h>
#include <sound/core.h>
#include <sound/pcm.h>
#include <sound/pcm_params.h>

#include "card.h"
#include "pcm.h"
#include "vsnd.h"

#ifndef SNDRV_PCM_INFO_PERFECT_DRAIN
#define SNDRV_PCM_INFO_PERFECT_DRAIN 0
#endif

/* How long a transfer waits for a backend that is away. */
#define VSND_WAIT_MS 10000

/* ---- who is told of a substream ---- */

struct vsnd_listener {
	/*
	 * Protects what follows, and is held while ALSA is told something of it:
	 * close() waits for that. Taken by threaded interrupt handlers, by the
	 * bus, and by open and close, always before the PCM stream's mutex.
	 */
	struct mutex lock;
	struct snd_pcm_substream *substream;
	struct snd_card *card;
	struct snd_kcontrol *volume;
};

struct vsnd_listener *vsnd_listener_new(void)
{
	struct vsnd_listener *listener = kzalloc(sizeof(*listener), GFP_KERNEL);

	if (listener)
		mutex_init(&listener->lock);
	return listener;
}

void vsnd_listener_free(struct vsnd_listener *listener)
{
	mutex_destroy(&listener->lock);
	kfree(listener);
}

static void vsnd_listener_set(struct vsnd_listener *listener, struct snd_pcm_substream *substream)
{
	mutex_lock(&listener->lock);
	listener->substream = substream;
	mutex_unlock(&listener->lock);
}

void vsnd_listener_elapsed(struct vsnd_listener *listener)
{
	mutex_lock(&listener->lock);
	if (listener->substream)
		snd_pcm_period_elapsed(listener->substream);
	mutex_unlock(&listener->lock);
}

void vsnd_listener_stop(struct vsnd_listener *listener, bool xrun)
{
	struct snd_pcm_substream *substream;

	mutex_lock(&listener->lock);
	substream = listener->substream;
	if (substream && xrun) {
		snd_pcm_stop_xrun(substream);
	} else if (substream) {
		snd_pcm_stream_lock(substream);
		if (snd_pcm_running(substream))
			snd_pcm_stop(substream, SNDRV_PCM_STATE_SETUP);
		snd_pcm_stream_unlock(substream);
	}
	mutex_unlock(&listener->lock);
}

void vsnd_listener_set_volume(struct vsnd_listener *listener, struct snd_card *card,
			      struct snd_kcontrol *volume)
{
	mutex_lock(&listener->lock);
	listener->card = card;
	listener->volume = volume;
	mutex_unlock(&listener->lock);
}

void vsnd_listener_volume_changed(struct vsnd_listener *listener)
{
	mutex_lock(&listener->lock);
	if (listener->volume)
		snd_ctl_notify(listener->card, SNDRV_CTL_EVENT_MASK_VALUE, &listener->volume->id);
	mutex_unlock(&listener->lock);
}

/* ---- an open substream ---- */

struct vsnd_open {
	const struct vsnd_stream *stream;
	struct snd_pcm_hw_constraint_list rates;
};

static const struct vsnd_stream *vsnd_pcm_stream(struct snd_pcm_substream *substream)
{
	struct vsnd_open *open = substream->runtime->private_data;

	return open->stream;
}

static struct snd_interval vsnd_interval(u32 min, u32 max)
{
	return (struct snd_interval) { .min = min, .max = max, .integer = 1 };
}

static void vsnd_params_interval(const struct snd_pcm_hw_params *params, snd_pcm_hw_param_t var,
				 u32 *min, u32 *max)
{
	const struct snd_interval *i = hw_param_interval_c(params, var);

	*min = i->min + i->openmin;
	*max = i->max - i->openmax;
}

/* Period and buffer depend on format, rate and channels, in a way that the backend knows. */
static int vsnd_pcm_rule(struct snd_pcm_hw_params *params, struct snd_pcm_hw_rule *rule)
{
	const struct snd_mask *formats = hw_param_mask_c(params, SNDRV_PCM_HW_PARAM_FORMAT);
	bool buffer = rule->var == SNDRV_PCM_HW_PARAM_BUFFER_SIZE;
	const struct vsnd_stream *stream = rule->private;
	struct vsnd_space space = {
		.formats = formats->bits[0] | (u64)formats->bits[1] << 32,
	};
	struct snd_interval refined;
	int err;

	vsnd_params_interval(params, SNDRV_PCM_HW_PARAM_RATE, &space.rate_min, &space.rate_max);
	vsnd_params_interval(params, SNDRV_PCM_HW_PARAM_CHANNELS,
			     &space.channels_min, &space.channels_max);
	vsnd_params_interval(params, SNDRV_PCM_HW_PARAM_PERIOD_SIZE,
			     &space.period_min, &space.period_max);
	vsnd_params_interval(params, SNDRV_PCM_HW_PARAM_BUFFER_SIZE,
			     &space.buffer_min, &space.buffer_max);
	err = vsnd_stream_refine(stream, &space);
	if (err)
		return err;
	refined = buffer ? vsnd_interval(space.buffer_min, space.buffer_max) :
			   vsnd_interval(space.period_min, space.period_max);
	return snd_interval_refine(hw_param_interval(params, rule->var), &refined);
}

static int vsnd_pcm_constrain(struct snd_pcm_runtime *runtime, struct vsnd_open *open,
			      const struct vsnd_space *space)
{
	static const snd_pcm_hw_param_t ruled[] = {
		SNDRV_PCM_HW_PARAM_PERIOD_SIZE, SNDRV_PCM_HW_PARAM_BUFFER_SIZE,
	};
	unsigned int i;
	int err;

	open->rates.count = vsnd_stream_rates(open->stream, &open->rates.list);
	if (open->rates.count) {
		err = snd_pcm_hw_constraint_list(runtime, 0, SNDRV_PCM_HW_PARAM_RATE, &open->rates);
		if (err < 0)
			return err;
	}
	err = snd_pcm_hw_constraint_minmax(runtime, SNDRV_PCM_HW_PARAM_PERIOD_SIZE,
					   space->period_min, space->period_max);
	if (err < 0)
		return err;
	err = snd_pcm_hw_constraint_minmax(runtime, SNDRV_PCM_HW_PARAM_BUFFER_SIZE,
					   space->buffer_min, space->buffer_max);
	if (err < 0)
		return err;
	for (i = 0; i < ARRAY_SIZE(ruled); i++) {
		err = snd_pcm_hw_rule_add(runtime, 0, ruled[i], vsnd_pcm_rule, (void *)open->stream,
					  SNDRV_PCM_HW_PARAM_FORMAT, SNDRV_PCM_HW_PARAM_RATE,
					  SNDRV_PCM_HW_PARAM_CHANNELS, -1);
		if (err < 0)
			return err;
	}
	return 0;
}

static void vsnd_pcm_let_go(struct snd_pcm_substream *substream)
{
	if (!vsnd_sound_hold(snd_pcm_substream_chip(substream), false))
		vsnd_card_let_go();
}

static int vsnd_pcm_open(struct snd_pcm_substream *substream)
{
	bool capture = substream->stream == SNDRV_PCM_STREAM_CAPTURE;
	struct vsnd_sound *sound = snd_pcm_substream_chip(substream);
	struct snd_pcm_runtime *runtime = substream->runtime;
	struct vsnd_hardware hw;
	struct vsnd_open *open;
	int err;

	open = kzalloc(sizeof(*open), GFP_KERNEL);
	if (!open)
		return -ENOMEM;
	open->stream = vsnd_sound_stream(sound, substream->pcm->device, capture, substream->number);
	/* Before it waits for a backend that is away: the card stays meanwhile. */
	vsnd_sound_hold(sound, true);
	err = open->stream ? vsnd_stream_open(open->stream, capture, &hw) : -ENODEV;
	if (err)
		goto out_free;
	runtime->hw = (struct snd_pcm_hardware) {
		.info = SNDRV_PCM_INFO_MMAP | SNDRV_PCM_INFO_MMAP_VALID |
			SNDRV_PCM_INFO_INTERLEAVED | SNDRV_PCM_INFO_BLOCK_TRANSFER |
			(hw.batches ? SNDRV_PCM_INFO_BATCH : 0) |
			(hw.pauses ? SNDRV_PCM_INFO_PAUSE : 0),
		.formats = hw.space.formats,
		.rates = hw.rates,
		.rate_min = hw.space.rate_min,
		.rate_max = hw.space.rate_max,
		.channels_min = hw.space.channels_min,
		.channels_max = hw.space.channels_max,
		.buffer_bytes_max = hw.buffer_bytes_max,
		.period_bytes_min = hw.period_bytes_min,
		.period_bytes_max = hw.period_bytes_max,
		.periods_min = hw.periods_min,
		.periods_max = hw.periods_max,
	};
	/* The backend has to be told of every frame that is written, and takes none back. */
	if (!capture)
		runtime->hw.info |= SNDRV_PCM_INFO_SYNC_APPLPTR | SNDRV_PCM_INFO_NO_REWINDS |
				    SNDRV_PCM_INFO_DRAIN_TRIGGER | SNDRV_PCM_INFO_PERFECT_DRAIN;
	err = vsnd_pcm_constrain(runtime, open, &hw.space);
	if (err < 0)
		goto out_free;
	runtime->private_data = open;
	/* A restarted backend is back sooner; ALSA's own time is as short as the buffer. */
	substream->wait_time = VSND_WAIT_MS;
	vsnd_listener_set(vsnd_stream_listener(open->stream), substream);
	return 0;

out_free:
	vsnd_pcm_let_go(substream);
	kfree(open);
	return err;
}

static int vsnd_pcm_close(struct snd_pcm_substream *substream)
{
	struct vsnd_open *open = substream->runtime->private_data;

	vsnd_listener_set(vsnd_stream_listener(open->stream), NULL);
	vsnd_pcm_let_go(substream);
	kfree(open);
	return 0;
}

/* The memory that the backend maps is the memory that applications use. */
static int vsnd_pcm_hw_params(struct snd_pcm_substream *substream, struct snd_pcm_hw_params *params)
{
	struct snd_pcm_runtime *runtime = substream->runtime;
	void *area;
	int err;

	runtime->dma_area = NULL;
	runtime->dma_bytes = 0;
	err = vsnd_stream_hw_params(vsnd_pcm_stream(substream), (__force u32)params_format(params),
				    params_channels(params), params_rate(params),
				    params_period_size(params), params_buffer_size(params), &area);
	if (err)
		return err;
	runtime->dma_area = area;
	runtime->dma_bytes = params_buffer_bytes(params);
	return 0;
}

static int vsnd_pcm_hw_free(struct snd_pcm_substream *substream)
{
	substream->runtime->dma_area = NULL;
	substream->runtime->dma_bytes = 0;
	vsnd_stream_hw_free(vsnd_pcm_stream(substream));
	return 0;
}

static int vsnd_pcm_prepare(struct snd_pcm_substream *substream)
{
	return vsnd_stream_prepare(vsnd_pcm_stream(substream));
}

/* Not every backend can pause; one that cannot is not asked again. */
static int vsnd_pcm_pause(struct snd_pcm_substream *substream)
{
	struct snd_pcm_runtime *runtime = substream->runtime;
	int err = vsnd_stream_trigger(vsnd_pcm_stream(substream), VSND_PAUSE);

	if (err) {
		runtime->info &= ~SNDRV_PCM_INFO_PAUSE;
		runtime->hw.info &= ~SNDRV_PCM_INFO_PAUSE;
	}
	return err;
}

/*
 * ALSA disbelieves a position that moves faster than the clock, unless the
 * hardware is one of batches. Applications are not told that it is: they find
 * a position that is right between periods. A backend that was held up for a
 * while makes it jump all the same.
 */
static void vsnd_pcm_believe(struct snd_pcm_runtime *runtime, bool running)
{
	if (running)
		runtime->hw.info |= SNDRV_PCM_INFO_BATCH;
	else if (!(runtime->info & SNDRV_PCM_INFO_BATCH))
		runtime->hw.info &= ~SNDRV_PCM_INFO_BATCH;
}

static int vsnd_pcm_trigger(struct snd_pcm_substream *substream, int cmd)
{
	const struct vsnd_stream *stream = vsnd_pcm_stream(substream);

	switch (cmd) {
	case SNDRV_PCM_TRIGGER_START:
		vsnd_pcm_believe(substream->runtime, true);
		return vsnd_stream_trigger(stream, VSND_START);
	case SNDRV_PCM_TRIGGER_PAUSE_PUSH:
		return vsnd_pcm_pause(substream);
	case SNDRV_PCM_TRIGGER_PAUSE_RELEASE:
		return vsnd_stream_trigger(stream, VSND_RESUME);
	case SNDRV_PCM_TRIGGER_STOP:
		vsnd_pcm_believe(substream->runtime, false);
		return vsnd_stream_trigger(stream, VSND_STOP);
	case SNDRV_PCM_TRIGGER_DRAIN:
		return vsnd_stream_trigger(stream, VSND_DRAIN);
	default:
		return -EINVAL;
	}
}

static snd_pcm_uframes_t vsnd_pcm_pointer(struct snd_pcm_substream *substream)
{
	u32 delay;
	u32 pointer = vsnd_stream_pointer(vsnd_pcm_stream(substream), &delay);

	substream->runtime->delay = delay;
	return pointer;
}

static int vsnd_pcm_ack(struct snd_pcm_substream *substream)
{
	struct snd_pcm_runtime *runtime = substream->runtime;

	return vsnd_stream_ack(vsnd_pcm_stream(substream), runtime->control->appl_ptr,
			       runtime->boundary);
}

static struct page *vsnd_pcm_page(struct snd_pcm_substream *substream, unsigned long offset)
{
	return vmalloc_to_page(substream->runtime->dma_area + offset);
}

/*
 * Without sync_stop: what follows it (hw_params, hw_free, prepare) waits itself
 * until STOP is answered, and both would be twice the time.
 */
static const struct snd_pcm_ops vsnd_pcm_ops = {
	.open = vsnd_pcm_open,
	.close = vsnd_pcm_close,
	.hw_params = vsnd_pcm_hw_params,
	.hw_free = vsnd_pcm_hw_free,
	.prepare = vsnd_pcm_prepare,
	.trigger = vsnd_pcm_trigger,
	.pointer = vsnd_pcm_pointer,
	.ack = vsnd_pcm_ack,
	.page = vsnd_pcm_page,
};

/* Where the channels belong, in the order of the protocol. Nobody knows of other counts. */
static const struct snd_pcm_chmap_elem vsnd_pcm_chmaps[] = {
	{ .channels = 1,
	  .map = { SNDRV_CHMAP_MONO } },
	{ .channels = 2,
	  .map = { SNDRV_CHMAP_FL, SNDRV_CHMAP_FR } },
	{ .channels = 4,
	  .map = { SNDRV_CHMAP_FL, SNDRV_CHMAP_FR, SNDRV_CHMAP_RL, SNDRV_CHMAP_RR } },
	{ .channels = 5,
	  .map = { SNDRV_CHMAP_FL, SNDRV_CHMAP_FR, SNDRV_CHMAP_RL, SNDRV_CHMAP_RR,
		   SNDRV_CHMAP_FC } },
	{ .channels = 6,
	  .map = { SNDRV_CHMAP_FL, SNDRV_CHMAP_FR, SNDRV_CHMAP_RL, SNDRV_CHMAP_RR,
		   SNDRV_CHMAP_FC, SNDRV_CHMAP_LFE } },
	{ .channels = 8,
	  .map = { SNDRV_CHMAP_FL, SNDRV_CHMAP_FR, SNDRV_CHMAP_RL, SNDRV_CHMAP_RR,
		   SNDRV_CHMAP_FC, SNDRV_CHMAP_LFE, SNDRV_CHMAP_SL, SNDRV_CHMAP_SR } },
	{ }
};

static int vsnd_pcm_add_direction(struct snd_pcm *pcm, int direction)
{
	snd_pcm_set_ops(pcm, direction, &vsnd_pcm_ops);
	return snd_pcm_add_chmap_ctls(pcm, direction, vsnd_pcm_chmaps, 8, 0, NULL);
}

int vsnd_pcm_new(struct snd_card *card, struct vsnd_sound *sound, int device, const char *name,
		 int playback, int capture, bool half_duplex)
{
	struct snd_pcm *pcm;
	int err;

	err = snd_pcm_new(card, name, device, playback, capture, &pcm);
	if (err)
		return err;
	pcm->private_data = sound;
	pcm->nonatomic = true;
	if (half_duplex)
		pcm->info_flags |= SNDRV_PCM_INFO_HALF_DUPLEX;
	/* A restored domain's next backend takes the streams up, as after any other end of one. */
	pcm->no_device_suspend = true;
	strscpy(pcm->name, name, sizeof(pcm->name));
	if (playback)
		err = vsnd_pcm_add_direction(pcm, SNDRV_PCM_STREAM_PLAYBACK);
	if (!err && capture)
		err = vsnd_pcm_add_direction(pcm, SNDRV_PCM_STREAM_CAPTURE);
	return err;
}
