/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The boundary between the C half of the module, which knows Linux, and the
 * Rust half, which knows the protocol.
 *
 * Each side sees the other's structures as opaque pointers. Functions return 0
 * or a negative error number, unless they say otherwise, and may sleep, unless
 * they say otherwise. Text from Rust is not terminated and comes with a length.
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
/* Rust: the streams of a card that ALSA knows; counted references. */
struct vsnd_sound;
/* Rust: one substream. */
struct vsnd_stream;

/* ---- Rust, called by C (kmod/src/device.rs) ---- */

/* With the model of the module's parameter, which may be empty. */
int vsnd_device_new(struct xenbus_device *dev, const char *model, size_t model_length,
		    struct vsnd_device **device);
/* The backend's state is now this one; 0 when it is gone. */
void vsnd_device_backend_is(struct vsnd_device *device, int state);
/* Applications have let go of its card, or the time of vsnd_device_look_in() is over. */
void vsnd_device_let_go(struct vsnd_device *device);
/* Starts going away; returns whether the backend has to follow. */
bool vsnd_device_detach(struct vsnd_device *device);
/* Frees it, whether or not the backend has followed. */
void vsnd_device_free(struct vsnd_device *device);

/* ---- Rust, called by C (kmod/src/sound.rs) ---- */

/* What a substream may be configured to; buffer and period in frames. */
struct vsnd_space {
	u64 formats;
	u32 rate_min, rate_max;
	u32 channels_min, channels_max;
	u32 buffer_min, buffer_max;
	u32 period_min, period_max;
};

/* The same with what does not depend on each other. */
struct vsnd_hardware {
	struct vsnd_space space;
	/* SNDRV_PCM_RATE_* */
	u32 rates;
	u32 buffer_bytes_max;
	u32 period_bytes_min, period_bytes_max;
	u32 periods_min, periods_max;
	bool pauses;
	/* The position moves once a period. */
	bool batches;
};

void vsnd_sound_put(struct vsnd_sound *sound);
const struct vsnd_stream *vsnd_sound_stream(const struct vsnd_sound *sound, unsigned int device,
					    bool capture, unsigned int substream);
/* Counts those who have a substream open; returns whether anybody has. */
bool vsnd_sound_hold(const struct vsnd_sound *sound, bool hold);

struct vsnd_listener *vsnd_stream_listener(const struct vsnd_stream *stream);
/* The rates that a list names; 0 when there is no list. */
u32 vsnd_stream_rates(const struct vsnd_stream *stream, const u32 **list);
int vsnd_stream_open(const struct vsnd_stream *stream, bool capture,
		     struct vsnd_hardware *hardware);
int vsnd_stream_refine(const struct vsnd_stream *stream, struct vsnd_space *space);
int vsnd_stream_hw_params(const struct vsnd_stream *stream, u32 format, u32 channels, u32 rate,
			  u32 period_frames, u32 buffer_frames, void **area);
void vsnd_stream_hw_free(const struct vsnd_stream *stream);
int vsnd_stream_prepare(const struct vsnd_stream *stream);

/* Called with the PCM stream locked, which is a mutex here. */
enum vsnd_trigger { VSND_START, VSND_PAUSE, VSND_STOP, VSND_RESUME, VSND_DRAIN };
int vsnd_stream_trigger(const struct vsnd_stream *stream, u32 trigger);
int vsnd_stream_ack(const struct vsnd_stream *stream, u64 appl_frames, u64 boundary_frames);
u32 vsnd_stream_pointer(const struct vsnd_stream *stream, u32 *delay_frames);

/* Volume or switch of the first channels. */
void vsnd_stream_get_control(const struct vsnd_stream *stream, bool capture, bool is_switch,
			     long *values, u32 count);
/* Returns whether anything changed. Does not wait for the backend. */
int vsnd_stream_put_control(const struct vsnd_stream *stream, bool capture, bool is_switch,
			    const long *values, u32 count);

/* Writes what there is to know of the streams, with vsnd_show(). */
void vsnd_sound_show(const struct vsnd_sound *sound, struct snd_info_buffer *buffer);
/* What streams may be opened with, as lines of text that can be set. Returns their length. */
size_t vsnd_sound_show_limits(const struct vsnd_sound *sound, char *text, size_t size);
int vsnd_sound_set_limits(const struct vsnd_sound *sound, const char *text, size_t length);

/* An event channel fired, in a thread. Returns whether there was a reason. */
bool vsnd_stream_on_ring(const struct vsnd_stream *stream);
bool vsnd_stream_on_events(const struct vsnd_stream *stream);

/* ---- kernel.c, called by Rust ---- */

/* Zeroed memory; NULL when there is none. */
void *vsnd_alloc(size_t bytes);
void vsnd_free(void *memory);
/* Warns, not too often. */
void vsnd_log(const char *text, size_t length);

enum vsnd_mutex_class { VSND_MUTEX_ASKING, VSND_MUTEX_STATE };
struct mutex *vsnd_mutex_new(u32 class);
void vsnd_mutex_free(struct mutex *mutex);
void vsnd_mutex_lock(struct mutex *mutex);
/* Returns 0, or -EINTR when the task was killed meanwhile. */
int vsnd_mutex_lock_killable(struct mutex *mutex);
void vsnd_mutex_unlock(struct mutex *mutex);

struct completion *vsnd_signal_new(void);
void vsnd_signal_free(struct completion *signal);
void vsnd_signal_reset(struct completion *signal);
void vsnd_signal_raise(struct completion *signal);
/* Waits so long at most. Returns whether the task was killed meanwhile. */
bool vsnd_signal_wait(struct completion *signal, u32 ms);
/* A monotonic clock, which wraps. Does not sleep. */
u32 vsnd_now_ms(void);
u64 vsnd_now_ns(void);

/* ---- main.c, called by Rust ---- */

/* Has vsnd_device_let_go() called for every device, in so long at most. */
void vsnd_device_look_in(u32 ms);

/* ---- xen.c, called by Rust ---- */

/*
 * Zeroed pages, one behind the other in the kernel's addresses. They are Xen's,
 * of 4 KiB, whatever the size of the kernel's.
 */
struct vsnd_pages {
	void *address;
	size_t count;
	/* As many are granted: all or none, from refs[0] on. */
	size_t granted;
	u32 refs[];
};

/* Granted to a domain. */
struct vsnd_pages *vsnd_pages_new(u32 domain, size_t count);
/* Granted to nobody. */
struct vsnd_pages *vsnd_pages_ordinary(size_t count);
int vsnd_pages_grant_again(struct vsnd_pages *pages, u32 domain);
/* A page that the backend still maps stays with us until it does not. */
void vsnd_pages_free(struct vsnd_pages *pages);
/* How many of those there are, in all devices; looks once more. */
size_t vsnd_pages_kept(void);
/* Called by main.c when the module goes, and nobody frees pages any more: leaves them to Linux. */
void vsnd_kept_hand_over(void);

/* Its event calls vsnd_stream_on_events() or vsnd_stream_on_ring(). */
struct vsnd_channel *vsnd_channel_new(struct xenbus_device *dev, const struct vsnd_stream *stream,
				      bool events, u32 *port);
/* Waits for the call that is under way. */
void vsnd_channel_free(struct vsnd_channel *channel);
void vsnd_channel_notify(struct vsnd_channel *channel);

/* The device's number in the store. */
u32 vsnd_bus_number(struct xenbus_device *dev);
u32 vsnd_bus_backend_id(struct xenbus_device *dev);
void vsnd_bus_set_state(struct xenbus_device *dev, u32 state);

/* A node of our own directory, or the backend's. */
struct vsnd_node {
	bool backend;
	/* Directory below that one; may be empty. */
	const char *path;
	size_t path_length;
	const char *name;
	size_t name_length;
};

/* Returns the length of the value, negative when it is missing or longer. */
ssize_t vsnd_bus_read(struct xenbus_device *dev, const struct vsnd_node *node, void *value,
		      size_t size);
/* The entries of a directory, each terminated; freed with vsnd_free(). */
char **vsnd_bus_list(struct xenbus_device *dev, const struct vsnd_node *node, u32 *count);
int vsnd_bus_begin(u32 *transaction);
int vsnd_bus_write(struct xenbus_device *dev, u32 transaction, const struct vsnd_node *node,
		   u32 value);
int vsnd_bus_remove(struct xenbus_device *dev, u32 transaction, const struct vsnd_node *node);
/* -EAGAIN: somebody else wrote meanwhile, begin again. */
int vsnd_bus_end(u32 transaction, bool abort);

/* ---- pcm.c and card.c, called by Rust ---- */

/* ALSA's side of a substream: who has it open, if anybody has; and its volume's control. */
struct vsnd_listener *vsnd_listener_new(void);
void vsnd_listener_free(struct vsnd_listener *listener);
void vsnd_listener_elapsed(struct vsnd_listener *listener);
/* Stops a running stream: to be prepared anew, or for good. */
void vsnd_listener_stop(struct vsnd_listener *listener, bool xrun);
/* Tells whoever looks at the mixer. */
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

/* Takes the reference to sound over, also when it fails. */
int vsnd_card_new(struct xenbus_device *dev, struct vsnd_sound *sound,
		  const struct vsnd_names *names, struct snd_card **card);
/* Half duplex: one application at a time has it, to play or to record. */
int vsnd_card_add_pcm(struct snd_card *card, struct vsnd_sound *sound, u32 device,
		      const char *name, size_t name_length, u32 playback, u32 capture,
		      bool half_duplex);

/* Volume or switch of a stream; index counts those of the same name. */
struct vsnd_control {
	const struct vsnd_stream *stream;
	bool capture;
	bool is_switch;
	bool min_is_silence;
	u32 index;
	u32 channels;
	s32 min, max;
	/* Of a volume: what min is, and a step, in hundredths of a decibel. */
	s32 min_centibel;
	u32 step_centibel;
};

int vsnd_card_add_control(struct snd_card *card, const struct vsnd_control *control,
			  const char *name, size_t name_length);
/* The file of /proc in which limits are seen and set. */
int vsnd_card_add_limits(struct snd_card *card);
void vsnd_show(struct snd_info_buffer *buffer, const char *text, size_t length);
int vsnd_card_register(struct snd_card *card);
/* Takes the card away; it goes when the last application lets go of it. */
void vsnd_card_free(struct snd_card *card);

#endif /* VSND_H */
