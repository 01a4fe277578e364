/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The boundary between the C half of the module, which knows Linux, and the
 * Rust half, which knows the protocol.
 *
 * Each side sees the other's structures as opaque pointers. Unless its comment
 * says otherwise, a function returns 0 or a negative error number and may
 * sleep. Text from Rust has a length and no terminator.
 *
 * Lifetimes
 *
 * The bus decides when a device goes, applications decide when a card goes,
 * and the backend decides when a page goes. The order of these three events is
 * arbitrary, so what each of them ends is kept apart:
 *
 * xenbus_device (the bus's): longer than the vsnd_device, which is the only
 *   one to use it.
 *
 * vsnd_device (Rust): from probe to remove. While it is on the list of fronts,
 *   the bus and the module's works call for it, one at a time, under the lock
 *   of the list. remove takes it off the list first; from then on nobody else
 *   can find it. Nothing that ALSA or an interrupt calls has a pointer to it.
 *
 * snd_card (ALSA's): from the connection to a backend until vsnd_card_free(),
 *   which takes it away from applications. ALSA frees it when the last of them
 *   has closed it, which may be long after remove. Until then the module
 *   cannot be unloaded.
 *
 * vsnd_sound (Rust, counted): the device has a reference while there is a
 *   transport or a card; the card has one, and gives it back when ALSA frees
 *   the card. Whatever ALSA calls uses the sound and never the device.
 *
 * vsnd_stream and its vsnd_listener: they are part of a sound, as long as it
 *   exists, and do not move. Pointers to them from substreams, rules, controls
 *   and event channels need no reference, since each of those ends first.
 *
 * snd_pcm_substream (ALSA's): a listener knows it from open to close. close
 *   takes the listener's mutex, so no interrupt handler uses a substream that
 *   ALSA has closed.
 *
 * vsnd_channel: from the connection until the transport is freed, which is
 *   before the device gives back its reference to the sound.
 *   vsnd_channel_free() waits for the handler; no lock that the handler takes
 *   may be held.
 *
 * vsnd_pages: owned by a stream. A page that the backend still maps when its
 *   grant ends is not freed with them: vsnd_kept holds a reference to it until
 *   the backend lets go, and passes it to the kernel when the module is
 *   unloaded.
 */
#ifndef VSND_H
#define VSND_H

#include <linux/types.h>

struct completion;
struct mutex;
struct page;
struct snd_card;
struct snd_info_buffer;
struct snd_pcm_substream;
struct xenbus_device;

/* Rust: one card's connection, from probe to remove. */
struct vsnd_device;
/* Rust: the streams of a card that ALSA knows; references to it are counted. */
struct vsnd_sound;
/* Rust: one substream. */
struct vsnd_stream;

/* ---- Rust, called by C (kmod/src/device.rs) ---- */

/**
 * vsnd_device_new() - Creates the Rust half of a device.
 * @dev: Device of the bus; it outlives the result.
 * @model: Model from the module's parameter; may be empty.
 * @model_length: Bytes of @model.
 * @device: Set to the new device on success.
 *
 * Context: Process context, from probe, before the device is on the list of fronts.
 * Return: 0, -EINVAL for an unknown model, or -ENOMEM.
 */
int vsnd_device_new(struct xenbus_device *dev, const char *model, size_t model_length,
		    struct vsnd_device **device);
/**
 * vsnd_device_backend_is() - Tells a device the state of its backend.
 * @device: The device.
 * @state: enum xenbus_state; XenbusStateUnknown when the backend is gone.
 *
 * Context: Process context, with the lock of the fronts held.
 */
void vsnd_device_backend_is(struct vsnd_device *device, int state);
/**
 * vsnd_device_let_go() - Has a device look at its card and at the time.
 * @device: The device.
 *
 * Called after applications have closed its card, and when the time of
 * vsnd_device_look_in() is over.
 *
 * Context: Process context (work), with the lock of the fronts held.
 */
void vsnd_device_let_go(struct vsnd_device *device);
/**
 * vsnd_device_detach() - Takes the card of a device away and begins to close.
 * @device: The device.
 *
 * Context: Process context, from remove, once the device is off the list.
 * Return: true if the backend has to follow before the device is freed.
 */
bool vsnd_device_detach(struct vsnd_device *device);
/**
 * vsnd_device_free() - Frees a device, whether or not its backend has followed.
 * @device: The device; this is its last use.
 *
 * Context: Process context, from remove, once the device is off the list.
 */
void vsnd_device_free(struct vsnd_device *device);

/* ---- Rust, called by C (kmod/src/sound.rs) ---- */

/* Configurations that a substream allows; buffer and period in frames. */
struct vsnd_space {
	u64 formats;
	u32 rate_min, rate_max;
	u32 channels_min, channels_max;
	u32 buffer_min, buffer_max;
	u32 period_min, period_max;
};

/* A vsnd_space with those limits of the substream that do not depend on others. */
struct vsnd_hardware {
	struct vsnd_space space;
	/* SNDRV_PCM_RATE_* */
	u32 rates;
	u32 buffer_bytes_max;
	u32 period_bytes_min, period_bytes_max;
	u32 periods_min, periods_max;
	bool pauses;
	/* True if the position moves once a period. */
	bool batches;
	/* True if applications cannot do without a wake-up per period. */
	bool wakes_always;
};

/**
 * vsnd_sound_put() - Drops a reference to a sound; the last one frees the streams.
 * @sound: The sound.
 *
 * Context: Process context, when ALSA frees the card or vsnd_card_new() fails.
 */
void vsnd_sound_put(struct vsnd_sound *sound);
/**
 * vsnd_sound_stream() - Finds a stream by ALSA's numbers.
 * @sound: The sound.
 * @device: Number of the PCM device.
 * @capture: Direction.
 * @substream: Number of the substream.
 *
 * Context: From open. Does not sleep.
 * Return: The stream, which lives as long as @sound, or NULL.
 */
const struct vsnd_stream *vsnd_sound_stream(const struct vsnd_sound *sound, unsigned int device,
					    bool capture, unsigned int substream);
/**
 * vsnd_sound_hold() - Counts the substreams that applications have open.
 * @sound: The sound.
 * @hold: true when one is opened, false when one is closed.
 *
 * Context: From open and close. Does not sleep.
 * Return: true while any substream is open.
 */
bool vsnd_sound_hold(const struct vsnd_sound *sound, bool hold);

/**
 * vsnd_stream_listener() - Returns ALSA's side of a stream.
 * @stream: The stream.
 *
 * Context: Any context.
 * Return: The listener, which lives as long as @stream.
 */
struct vsnd_listener *vsnd_stream_listener(const struct vsnd_stream *stream);
/**
 * vsnd_stream_rates() - Returns the rates that a list in the store names.
 * @stream: The stream.
 * @list: Set to the rates in Hz, which live as long as @stream.
 *
 * Context: From open. Does not sleep.
 * Return: Number of rates; 0 when there is no list.
 */
u32 vsnd_stream_rates(const struct vsnd_stream *stream, const u32 **list);
/**
 * vsnd_stream_open() - ALSA's open: returns the configurations that a stream allows.
 * @stream: The stream.
 * @capture: Direction, for a stream that has both.
 * @hardware: Written on success.
 *
 * Context: Process context, with the PCM device's open_mutex held and the PCM
 * stream not locked. Waits some seconds for a backend that is away.
 * Return: 0, -ENODEV without a backend, -EINTR when killed, or another error.
 */
int vsnd_stream_open(const struct vsnd_stream *stream, bool capture,
		     struct vsnd_hardware *hardware);
/**
 * vsnd_stream_refine() - Narrows period and buffer to those that the backend offers.
 * @stream: The stream.
 * @space: Narrowed once format, rate and channels are settled.
 *
 * Context: Process context, from ALSA's hw_refine and hw_params, with the PCM
 * stream not locked. May wait for the backend.
 * Return: 0, or a negative error number when nothing is left or the request fails.
 */
int vsnd_stream_refine(const struct vsnd_stream *stream, struct vsnd_space *space);
/**
 * vsnd_stream_hw_params() - ALSA's hw_params: allocates the buffer.
 * @stream: The stream.
 * @format: ALSA's number of the format.
 * @channels: Channels.
 * @rate: Rate in Hz.
 * @period_frames: Frames of a period.
 * @buffer_frames: Frames of the buffer.
 * @attended: True if the application wants to be woken for each period; false if it
 * sleeps by a clock of its own and asks for the position.
 * @area: Set to the buffer's memory, which is valid until the next call of this
 * function or of vsnd_stream_hw_free().
 *
 * Context: Process context, with the PCM stream not locked. Closes an open stream
 * first, and may wait for the backend.
 * Return: 0, -EINVAL, -ENOMEM, -ENODEV without a backend, or -EINTR when killed.
 */
int vsnd_stream_hw_params(const struct vsnd_stream *stream, u32 format, u32 channels, u32 rate,
			  u32 period_frames, u32 buffer_frames, bool attended, void **area);
/**
 * vsnd_stream_hw_free() - ALSA's hw_free: closes the stream and frees the buffer.
 * @stream: The stream.
 *
 * Context: Process context, with the PCM stream not locked. May wait for the
 * backend.
 */
void vsnd_stream_hw_free(const struct vsnd_stream *stream);
/**
 * vsnd_stream_prepare() - ALSA's prepare: opens the stream if needed, begins a run.
 * @stream: The stream.
 *
 * Context: Process context, with the PCM stream not locked. May wait for the
 * backend.
 * Return: 0, -ENODEV without a backend, -ETIMEDOUT, -EINTR, or another error.
 */
int vsnd_stream_prepare(const struct vsnd_stream *stream);

/* Operations of ALSA's trigger. It is called with the PCM stream locked, which is a mutex here. */
enum vsnd_trigger { VSND_START, VSND_PAUSE, VSND_STOP, VSND_RESUME, VSND_DRAIN };
/**
 * vsnd_stream_trigger() - ALSA's trigger.
 * @stream: The stream.
 * @trigger: enum vsnd_trigger.
 *
 * Context: With the PCM stream's mutex held. VSND_PAUSE waits for its answer;
 * VSND_START waits where nothing was written. The others do not wait.
 * Return: 0, -EPIPE when the stream has to be prepared again, or another error.
 */
int vsnd_stream_trigger(const struct vsnd_stream *stream, u32 trigger);
/**
 * vsnd_stream_ack() - Tells a stream how far the application has written.
 * @stream: The stream.
 * @appl_frames: ALSA's application pointer.
 * @boundary_frames: Count at which @appl_frames wraps.
 *
 * Context: With the PCM stream's mutex held. Does not wait for the backend.
 * Return: 0, -EPIPE when the stream has to be prepared again, or another error.
 */
int vsnd_stream_ack(const struct vsnd_stream *stream, u64 appl_frames, u64 boundary_frames);
/**
 * vsnd_stream_pointer() - Returns the position of a stream.
 * @stream: The stream.
 * @delay_frames: Set to the frames between that position and the device.
 *
 * Context: With the PCM stream's mutex held. Does not wait for the backend.
 * Return: Position in the ring, in frames; U32_MAX when the run has ended as with an
 * xrun, which is only returned where the application wants no wake-ups.
 */
u32 vsnd_stream_pointer(const struct vsnd_stream *stream, u32 *delay_frames);

/**
 * vsnd_stream_get_control() - Reads a volume or switch.
 * @stream: The stream.
 * @capture: Direction, for a stream that has both.
 * @is_switch: Switch rather than volume.
 * @values: Written: a value for each of the first channels.
 * @count: Number of @values.
 *
 * Context: Process context, with the card's controls_rwsem held. Does not wait for
 * the backend.
 */
void vsnd_stream_get_control(const struct vsnd_stream *stream, bool capture, bool is_switch,
			     long *values, u32 count);
/**
 * vsnd_stream_put_control() - Sets a volume or switch.
 * @stream: The stream.
 * @capture: Direction, for a stream that has both.
 * @is_switch: Switch rather than volume.
 * @values: A value for each of the first channels.
 * @count: Number of @values.
 *
 * Context: Process context, with the card's controls_rwsem held. Does not wait for
 * the backend.
 * Return: 1 if a value changed, 0 if none did, -EINVAL for one out of range.
 */
int vsnd_stream_put_control(const struct vsnd_stream *stream, bool capture, bool is_switch,
			    const long *values, u32 count);

/**
 * vsnd_sound_show() - Writes the state of all streams, with vsnd_show().
 * @sound: The sound.
 * @buffer: File of /proc that is read.
 *
 * Context: Process context.
 */
void vsnd_sound_show(const struct vsnd_sound *sound, struct snd_info_buffer *buffer);
/**
 * vsnd_sound_show_limits() - Writes limits of streams, as lines that can be set.
 * @sound: The sound.
 * @text: Written; zeroed before.
 * @size: Bytes of @text.
 *
 * Context: Process context.
 * Return: Bytes written.
 */
size_t vsnd_sound_show_limits(const struct vsnd_sound *sound, char *text, size_t size);
/**
 * vsnd_sound_set_limits() - Sets limits of streams, from lines of text.
 * @sound: The sound.
 * @text: Lines as vsnd_sound_show_limits() writes them.
 * @length: Bytes of @text.
 *
 * Context: Process context.
 * Return: 0, or -EINVAL with a line in the log.
 */
int vsnd_sound_set_limits(const struct vsnd_sound *sound, const char *text, size_t length);

/**
 * vsnd_stream_on_ring() - Takes answers from the ring.
 * @stream: The stream.
 *
 * Context: Threaded interrupt handler of the ring's channel, with no lock held.
 * Return: true if there was a reason for the interrupt.
 */
bool vsnd_stream_on_ring(const struct vsnd_stream *stream);
/**
 * vsnd_stream_on_events() - Takes events from the event page.
 * @stream: The stream.
 *
 * Context: Threaded interrupt handler of the events' channel, with no lock held.
 * Return: true if there was a reason for the interrupt.
 */
bool vsnd_stream_on_events(const struct vsnd_stream *stream);

/* ---- kernel.c, called by Rust ---- */

/* Zeroed memory; NULL when there is none. */
void *vsnd_alloc(size_t bytes);
void vsnd_free(void *memory);
/* Warns; limited in rate. */
void vsnd_log(const char *text, size_t length);

/* Classes of mutexes, for lockdep. */
enum vsnd_mutex_class { VSND_MUTEX_ASKING, VSND_MUTEX_STATE };
struct mutex *vsnd_mutex_new(u32 class);
void vsnd_mutex_free(struct mutex *mutex);
void vsnd_mutex_lock(struct mutex *mutex);
/* Returns 0, or -EINTR when the task was killed while it waited. */
int vsnd_mutex_lock_killable(struct mutex *mutex);
void vsnd_mutex_unlock(struct mutex *mutex);

struct completion *vsnd_signal_new(void);
void vsnd_signal_free(struct completion *signal);
void vsnd_signal_reset(struct completion *signal);
void vsnd_signal_raise(struct completion *signal);
/* Waits at most this long. Returns true if the task was killed while it waited. */
bool vsnd_signal_wait(struct completion *signal, u32 ms);
/* Monotonic clocks; the one in milliseconds wraps. Neither sleeps. */
u32 vsnd_now_ms(void);
u64 vsnd_now_ns(void);

/* ---- main.c, called by Rust ---- */

/* Has vsnd_device_let_go() called for every device, after at most this time. */
void vsnd_device_look_in(u32 ms);

/* ---- xen.c, called by Rust ---- */

/*
 * Zeroed pages, consecutive in the kernel's addresses. Their size is that of
 * Xen's pages, 4 KiB, whatever the size of the kernel's.
 */
struct vsnd_pages {
	void *address;
	size_t count;
	/* Number of granted pages: all or none, from refs[0] on. */
	size_t granted;
	u32 refs[];
};

/* Makes pages that are granted to a domain. */
struct vsnd_pages *vsnd_pages_new(u32 domain, size_t count);
/* Makes pages that are granted to nobody. */
struct vsnd_pages *vsnd_pages_ordinary(size_t count);
int vsnd_pages_grant_again(struct vsnd_pages *pages, u32 domain);
/* Frees the pages. A page that the backend still maps is kept until it is unmapped. */
void vsnd_pages_free(struct vsnd_pages *pages);
/* Looks at all kept pages again, and returns how many are left, of all devices. */
size_t vsnd_pages_kept(void);
/*
 * Gives kept pages to Linux. Called by main.c when the module goes, after the
 * last pages were freed.
 */
void vsnd_kept_hand_over(void);

/* The channel's event calls vsnd_stream_on_events() or vsnd_stream_on_ring(). */
struct vsnd_channel *vsnd_channel_new(struct xenbus_device *dev, const struct vsnd_stream *stream,
				      bool events, u32 *port);
/* Closes the channel, after the call that is under way. */
void vsnd_channel_free(struct vsnd_channel *channel);
void vsnd_channel_notify(struct vsnd_channel *channel);

/* Returns the device's number in the store. */
u32 vsnd_bus_number(struct xenbus_device *dev);
u32 vsnd_bus_backend_id(struct xenbus_device *dev);
void vsnd_bus_set_state(struct xenbus_device *dev, u32 state);

/* A node of our own directory or of the backend's. */
struct vsnd_node {
	bool backend;
	/* Directory below that directory; may be empty. */
	const char *path;
	size_t path_length;
	const char *name;
	size_t name_length;
};

/* Returns the length of the value; negative when the value is missing or longer than size. */
ssize_t vsnd_bus_read(struct xenbus_device *dev, const struct vsnd_node *node, void *value,
		      size_t size);
/* Returns the entries of a directory, each terminated; freed with vsnd_free(). */
char **vsnd_bus_list(struct xenbus_device *dev, const struct vsnd_node *node, u32 *count);
int vsnd_bus_begin(u32 *transaction);
int vsnd_bus_write(struct xenbus_device *dev, u32 transaction, const struct vsnd_node *node,
		   u32 value);
int vsnd_bus_remove(struct xenbus_device *dev, u32 transaction, const struct vsnd_node *node);
/* Returns -EAGAIN when somebody else wrote meanwhile: begin again. */
int vsnd_bus_end(u32 transaction, bool abort);

/* ---- pcm.c and card.c, called by Rust ---- */

/* ALSA's side of a substream: the open file, if there is one, and the control of its volume. */
struct vsnd_listener *vsnd_listener_new(void);
void vsnd_listener_free(struct vsnd_listener *listener);
void vsnd_listener_elapsed(struct vsnd_listener *listener);
/* Stops a running stream: with an xrun, to be prepared again; otherwise for good. */
void vsnd_listener_stop(struct vsnd_listener *listener, bool xrun);
/* Notifies the mixer's readers. */
void vsnd_listener_volume_changed(struct vsnd_listener *listener);

struct vsnd_names {
	const char *driver;
	size_t driver_length;
	const char *short_name;
	size_t short_length;
	const char *long_name;
	size_t long_length;
	const char *mixer;
	size_t mixer_length;
};

/* Takes over the reference to sound, also on failure. */
int vsnd_card_new(struct xenbus_device *dev, struct vsnd_sound *sound,
		  const struct vsnd_names *names, struct snd_card **card);
/* Half duplex: one application at a time has the PCM, to play or to record. */
int vsnd_card_add_pcm(struct snd_card *card, struct vsnd_sound *sound, u32 device,
		      const char *name, size_t name_length, u32 playback, u32 capture,
		      bool half_duplex);

/* Volume or switch of a stream; index counts the controls of the same name. */
struct vsnd_control {
	const struct vsnd_stream *stream;
	bool capture;
	bool is_switch;
	bool min_is_silence;
	u32 index;
	u32 channels;
	s32 min, max;
	/* Volume: value of min, and a step, in hundredths of a decibel. */
	s32 min_millibel;
	u32 step_millibel;
};

int vsnd_card_add_control(struct snd_card *card, const struct vsnd_control *control,
			  const char *name, size_t name_length);
/* Adds the file of /proc in which limits are shown and set. */
int vsnd_card_add_limits(struct snd_card *card);
void vsnd_show(struct snd_info_buffer *buffer, const char *text, size_t length);
int vsnd_card_register(struct snd_card *card);
/* Takes the card away; ALSA frees it when the last application closes it. */
void vsnd_card_free(struct snd_card *card);

#endif /* VSND_H */
