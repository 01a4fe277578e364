/*
 * Reads packets through the structures of xen/io/sndif.h and prints their fields.
 *
 * 'q', 'r', 'e' and 64 bytes: a request, a response, an event. 'p', an index and 4096 bytes: an
 * event page and the event at that index.
 */
#include <stdint.h>
#include <stdio.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>
#include <xen/io/sndif.h>

static void say(unsigned long long number)
{
    printf("%llu ", number);
}

static void say_params(const struct xensnd_query_hw_param *params)
{
    say(params->formats);
    say(params->rates.min);
    say(params->rates.max);
    say(params->channels.min);
    say(params->channels.max);
    say(params->buffer.min);
    say(params->buffer.max);
    say(params->period.min);
    say(params->period.max);
}

static void say_request(const struct xensnd_req *request)
{
    say(request->id);
    say(request->operation);
    switch (request->operation) {
    case XENSND_OP_OPEN:
        say(request->op.open.pcm_rate);
        say(request->op.open.pcm_format);
        say(request->op.open.pcm_channels);
        say(request->op.open.buffer_sz);
        say(request->op.open.gref_directory);
        say(request->op.open.period_sz);
        break;
    case XENSND_OP_READ:
    case XENSND_OP_WRITE:
    case XENSND_OP_SET_VOLUME:
    case XENSND_OP_GET_VOLUME:
    case XENSND_OP_MUTE:
    case XENSND_OP_UNMUTE:
        say(request->op.rw.offset);
        say(request->op.rw.length);
        break;
    case XENSND_OP_TRIGGER:
        say(request->op.trigger.type);
        break;
    case XENSND_OP_HW_PARAM_QUERY:
        say_params(&request->op.hw_param);
        break;
    }
}

static void say_event(const struct xensnd_evt *event)
{
    say(event->id);
    say(event->type);
    say(event->op.cur_pos.position);
}

static int read_packet(void *packet)
{
    return fread(packet, 64, 1, stdin) == 1;
}

int main(void)
{
    static union {
        struct xensnd_req request;
        struct xensnd_resp response;
        struct xensnd_evt event;
        struct xensnd_event_page header;
        unsigned char bytes[XENSND_EVENT_PAGE_SIZE];
    } memory;
    uint32_t index;
    int kind;

    while ((kind = getchar()) != EOF) {
        switch (kind) {
        case 'q':
            if (read_packet(&memory))
                say_request(&memory.request);
            break;
        case 'r':
            if (read_packet(&memory)) {
                say(memory.response.id);
                say(memory.response.operation);
                say((uint32_t)memory.response.status);
                say_params(&memory.response.resp.hw_param);
            }
            break;
        case 'e':
            if (read_packet(&memory))
                say_event(&memory.event);
            break;
        case 'p':
            if (fread(&index, 4, 1, stdin) == 1 && fread(memory.bytes, sizeof(memory.bytes), 1, stdin) == 1) {
                say(memory.header.in_cons);
                say(memory.header.in_prod);
                say_event(&XENSND_IN_RING_REF(memory.bytes, index));
            }
            break;
        }
        putchar('\n');
        fflush(stdout);
    }
    return 0;
}
