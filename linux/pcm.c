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

/* Time that a transfer waits for a backend that is away. */
#define VSND_WAIT_MS 10000

/* ---- listeners: ALSA's side of a substream ---- */

struct vsnd_listener {
	/*
	 * Protects the fields below. It is held while ALSA is notified of the
	 * substream: close() waits for that. Taken by threaded interrupt
	 * handlers, by the bus, and by open and close, always before the PCM
	 * stream's mutex.
	 */
	struct mutex lock;
	struct snd_pcm_substream *substream;
	struct snd_card *card;
	struct snd_kcontrol *volume;
};

/**
 * vsnd_listener_new() - Creates a listener, with no substream open.
 *
 * Context: Process context, with the lock of the fronts held; may sleep.
 * Return: The listener, or NULL.
 */
struct vsnd_listener *vsnd_listener_new(void)
{
	struct vsnd_listener *listener = kzalloc(sizeof(*listener), GFP_KERNEL);

	if (listener)
		mutex_init(&listener->lock);
	return listener;
}

/**
 * vsnd_listener_free() - Frees a listener.
 * @listener: The listener; no event channel and no open substream uses it.
 *
 * Context: Process context.
 */
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

/**
 * vsnd_listener_elapsed() - Tells ALSA that a period elapsed.
 * @listener: The listener.
 *
 * Context: Process context (threaded interrupt handlers), with no state mutex held.
 * Takes the listener's mutex and then the PCM stream's; ALSA calls
 * vsnd_pcm_pointer() meanwhile.
 */
void vsnd_listener_elapsed(struct vsnd_listener *listener)
{
	mutex_lock(&listener->lock);
	if (listener->substream)
		snd_pcm_period_elapsed(listener->substream);
	mutex_unlock(&listener->lock);
}

/**
 * vsnd_listener_stop() - Stops an open stream.
 * @listener: The listener.
 * @xrun: With an xrun, so that the application prepares the stream again;
 * otherwise a running stream is stopped for good.
 *
 * Context: Process context (threaded interrupt handlers, or the bus), with no state
 * mutex held. Takes the listener's mutex and then the PCM stream's.
 */
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

/**
 * vsnd_listener_volume_changed() - Notifies ALSA's readers of the volume's control.
 * @listener: The listener.
 *
 * Context: Process context (threaded interrupt handlers, or the bus), with no state
 * mutex held. Takes the listener's mutex.
 */
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

/**
 * vsnd_pcm_rule() - ALSA's rule for period and buffer.
 * @params: Parameters; narrowed.
 * @rule: The rule, of period or buffer.
 *
 * Period and buffer depend on format, rate and channels, and only the backend
 * knows how.
 *
 * Context: Process context, with the PCM stream not locked; may wait for the backend.
 * Return: 1 when the rule narrowed a parameter, 0, or a negative error number.
 */
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

/**
 * vsnd_pcm_open() - ALSA's open.
 * @substream: The substream.
 *
 * Context: Process context, with the PCM device's open_mutex held and the PCM stream
 * not locked. Waits some seconds for a backend that is away.
 * Return: 0, -ENODEV without a backend, or another error.
 */
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
	/* Counted before the wait for a backend that is away, so that the card stays meanwhile. */
	vsnd_sound_hold(sound, true);
	err = open->stream ? vsnd_stream_open(open->stream, capture, &hw) : -ENODEV;
	if (err)
		goto out_free;
	runtime->hw = (struct snd_pcm_hardware) {
		.info = SNDRV_PCM_INFO_MMAP | SNDRV_PCM_INFO_MMAP_VALID |
			SNDRV_PCM_INFO_INTERLEAVED | SNDRV_PCM_INFO_BLOCK_TRANSFER |
			(hw.batches ? SNDRV_PCM_INFO_BATCH : 0) |
			(hw.wakes_always ? 0 : SNDRV_PCM_INFO_NO_PERIOD_WAKEUP) |
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
	/* The backend must be told of every frame that is written, and gives none back. */
	if (!capture)
		runtime->hw.info |= SNDRV_PCM_INFO_SYNC_APPLPTR | SNDRV_PCM_INFO_NO_REWINDS |
				    SNDRV_PCM_INFO_DRAIN_TRIGGER | SNDRV_PCM_INFO_PERFECT_DRAIN;
	err = vsnd_pcm_constrain(runtime, open, &hw.space);
	if (err < 0)
		goto out_free;
	runtime->private_data = open;
	/*
	 * ALSA's own time is as short as the buffer; a restarted backend needs
	 * longer, but less than this.
	 */
	substream->wait_time = VSND_WAIT_MS;
	vsnd_listener_set(vsnd_stream_listener(open->stream), substream);
	return 0;

out_free:
	vsnd_pcm_let_go(substream);
	kfree(open);
	return err;
}

/**
 * vsnd_pcm_close() - ALSA's close.
 * @substream: The substream.
 *
 * Context: Process context, with the PCM device's open_mutex held and the PCM stream
 * not locked. Waits while ALSA is notified of the substream.
 * Return: 0.
 */
static int vsnd_pcm_close(struct snd_pcm_substream *substream)
{
	struct vsnd_open *open = substream->runtime->private_data;

	vsnd_listener_set(vsnd_stream_listener(open->stream), NULL);
	vsnd_pcm_let_go(substream);
	kfree(open);
	return 0;
}

/**
 * vsnd_pcm_hw_params() - ALSA's hw_params.
 * @substream: The substream.
 * @params: Its parameters.
 *
 * Applications use the same memory that the Rust half made, which the backend
 * maps in version 2 of the protocol.
 *
 * Context: Process context, with the PCM stream not locked; may wait for the backend.
 * Return: 0, or a negative error number.
 */
static int vsnd_pcm_hw_params(struct snd_pcm_substream *substream, struct snd_pcm_hw_params *params)
{
	struct snd_pcm_runtime *runtime = substream->runtime;
	/* ALSA's condition for runtime->no_period_wakeup, which is set after this. */
	bool attended = !(params->info & SNDRV_PCM_INFO_NO_PERIOD_WAKEUP) ||
			!(params->flags & SNDRV_PCM_HW_PARAMS_NO_PERIOD_WAKEUP);
	void *area;
	int err;

	runtime->dma_area = NULL;
	runtime->dma_bytes = 0;
	err = vsnd_stream_hw_params(vsnd_pcm_stream(substream), (__force u32)params_format(params),
				    params_channels(params), params_rate(params),
				    params_period_size(params), params_buffer_size(params),
				    attended, &area);
	if (err)
		return err;
	runtime->dma_area = area;
	runtime->dma_bytes = params_buffer_bytes(params);
	return 0;
}

/**
 * vsnd_pcm_hw_free() - ALSA's hw_free.
 * @substream: The substream.
 *
 * Context: Process context, with the PCM stream not locked; may wait for the backend.
 * Return: 0.
 */
static int vsnd_pcm_hw_free(struct snd_pcm_substream *substream)
{
	substream->runtime->dma_area = NULL;
	substream->runtime->dma_bytes = 0;
	vsnd_stream_hw_free(vsnd_pcm_stream(substream));
	return 0;
}

/**
 * vsnd_pcm_prepare() - ALSA's prepare.
 * @substream: The substream.
 *
 * Context: Process context, with the PCM stream not locked; may wait for the backend.
 * Return: 0, or a negative error number.
 */
static int vsnd_pcm_prepare(struct snd_pcm_substream *substream)
{
	return vsnd_stream_prepare(vsnd_pcm_stream(substream));
}

/* Pauses; a backend that cannot pause is not asked again. */
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
 * ALSA rejects a position that moves faster than the clock, unless the hardware
 * has SNDRV_PCM_INFO_BATCH. A backend that was held up for a while makes the
 * position jump, so a running stream has the flag. Applications do not see it:
 * for them the position is right between periods.
 */
static void vsnd_pcm_believe(struct snd_pcm_runtime *runtime, bool running)
{
	if (running)
		runtime->hw.info |= SNDRV_PCM_INFO_BATCH;
	else if (!(runtime->info & SNDRV_PCM_INFO_BATCH))
		runtime->hw.info &= ~SNDRV_PCM_INFO_BATCH;
}

/**
 * vsnd_pcm_trigger() - ALSA's trigger.
 * @substream: The substream.
 * @cmd: SNDRV_PCM_TRIGGER_*.
 *
 * Context: With the PCM stream's mutex held. PAUSE_PUSH waits for the backend, and
 * START does where nothing was written.
 * Return: 0, -EPIPE when the stream has to be prepared again, or another error.
 */
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

/**
 * vsnd_pcm_pointer() - ALSA's pointer.
 * @substream: The substream.
 *
 * Context: With the PCM stream's mutex held.
 * Return: Position in the ring, in frames, or SNDRV_PCM_POS_XRUN.
 */
static snd_pcm_uframes_t vsnd_pcm_pointer(struct snd_pcm_substream *substream)
{
	u32 delay;
	u32 pointer = vsnd_stream_pointer(vsnd_pcm_stream(substream), &delay);

	substream->runtime->delay = delay;
	return pointer == U32_MAX ? SNDRV_PCM_POS_XRUN : pointer;
}

/**
 * vsnd_pcm_ack() - ALSA's ack: the application has moved its pointer.
 * @substream: The substream.
 *
 * Context: With the PCM stream's mutex held.
 * Return: 0, -EPIPE when the stream has to be prepared again, or another error.
 */
static int vsnd_pcm_ack(struct snd_pcm_substream *substream)
{
	struct snd_pcm_runtime *runtime = substream->runtime;

	return vsnd_stream_ack(vsnd_pcm_stream(substream), runtime->control->appl_ptr,
			       runtime->boundary);
}

/**
 * vsnd_pcm_page() - ALSA's page: finds a page of the buffer, for mmap.
 * @substream: The substream.
 * @offset: Bytes from the start of the buffer.
 *
 * Context: Process context; does not sleep.
 * Return: The page.
 */
static struct page *vsnd_pcm_page(struct snd_pcm_substream *substream, unsigned long offset)
{
	return vmalloc_to_page(substream->runtime->dma_area + offset);
}

/*
 * There is no sync_stop: hw_params, hw_free and prepare, which follow it, wait
 * themselves until STOP is answered. With both, the wait would be twice as
 * long.
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

/*
 * Positions of the channels, in the order of the protocol. Other counts have no
 * defined positions.
 */
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
	/*
	 * The next backend of a restored domain takes the streams up, as after
	 * any other restart.
	 */
	pcm->no_device_suspend = true;
	strscpy(pcm->name, name, sizeof(pcm->name));
	if (playback)
		err = vsnd_pcm_add_direction(pcm, SNDRV_PCM_STREAM_PLAYBACK);
	if (!err && capture)
		err = vsnd_pcm_add_direction(pcm, SNDRV_PCM_STREAM_CAPTURE);
	return err;
}
