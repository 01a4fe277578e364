/* xen/io/sndif.h, with the ring of xen/io/ring.h, xen/io/xenbus.h and xen/errno.h. */
#include "say.h"

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>
#include <xen/io/sndif.h>
#include <xen/io/xenbus.h>
#include <xen/errno.h>

static struct xen_sndif_sring sring;

static void numbers(void)
{
    NUMBER(XENSND_PROTOCOL_VERSION);
    NUMBER(XENSND_PCM_FORMAT_S8);
    NUMBER(XENSND_PCM_FORMAT_U8);
    NUMBER(XENSND_PCM_FORMAT_S16_LE);
    NUMBER(XENSND_PCM_FORMAT_S16_BE);
    NUMBER(XENSND_PCM_FORMAT_U16_LE);
    NUMBER(XENSND_PCM_FORMAT_U16_BE);
    NUMBER(XENSND_PCM_FORMAT_S24_LE);
    NUMBER(XENSND_PCM_FORMAT_S24_BE);
    NUMBER(XENSND_PCM_FORMAT_U24_LE);
    NUMBER(XENSND_PCM_FORMAT_U24_BE);
    NUMBER(XENSND_PCM_FORMAT_S32_LE);
    NUMBER(XENSND_PCM_FORMAT_S32_BE);
    NUMBER(XENSND_PCM_FORMAT_U32_LE);
    NUMBER(XENSND_PCM_FORMAT_U32_BE);
    NUMBER(XENSND_PCM_FORMAT_F32_LE);
    NUMBER(XENSND_PCM_FORMAT_F32_BE);
    NUMBER(XENSND_PCM_FORMAT_F64_LE);
    NUMBER(XENSND_PCM_FORMAT_F64_BE);
    NUMBER(XENSND_PCM_FORMAT_IEC958_SUBFRAME_LE);
    NUMBER(XENSND_PCM_FORMAT_IEC958_SUBFRAME_BE);
    NUMBER(XENSND_PCM_FORMAT_MU_LAW);
    NUMBER(XENSND_PCM_FORMAT_A_LAW);
    NUMBER(XENSND_PCM_FORMAT_IMA_ADPCM);
    NUMBER(XENSND_PCM_FORMAT_MPEG);
    NUMBER(XENSND_PCM_FORMAT_GSM);
    NUMBER(XENSND_OP_OPEN);
    NUMBER(XENSND_OP_CLOSE);
    NUMBER(XENSND_OP_READ);
    NUMBER(XENSND_OP_WRITE);
    NUMBER(XENSND_OP_SET_VOLUME);
    NUMBER(XENSND_OP_GET_VOLUME);
    NUMBER(XENSND_OP_MUTE);
    NUMBER(XENSND_OP_UNMUTE);
    NUMBER(XENSND_OP_TRIGGER);
    NUMBER(XENSND_OP_HW_PARAM_QUERY);
    NUMBER(XENSND_OP_TRIGGER_START);
    NUMBER(XENSND_OP_TRIGGER_PAUSE);
    NUMBER(XENSND_OP_TRIGGER_STOP);
    NUMBER(XENSND_OP_TRIGGER_RESUME);
    NUMBER(XENSND_EVT_CUR_POS);
    NUMBER(XENSND_SAMPLE_RATE_MAX_LEN);
    NUMBER(XENSND_SAMPLE_FORMAT_MAX_LEN);
    NUMBER(XENSND_EVENT_PAGE_SIZE);
    NUMBER(XENSND_IN_RING_OFFS);
    NUMBER(XENSND_IN_RING_SIZE);
    NUMBER(XENSND_IN_RING_LEN);
}

static void texts(void)
{
    TEXT(XENSND_DRIVER_NAME);
    TEXT(XENSND_LIST_SEPARATOR);
    TEXT(XENSND_FIELD_BE_VERSIONS);
    TEXT(XENSND_FIELD_FE_VERSION);
    TEXT(XENSND_FIELD_VCARD_SHORT_NAME);
    TEXT(XENSND_FIELD_VCARD_LONG_NAME);
    TEXT(XENSND_FIELD_RING_REF);
    TEXT(XENSND_FIELD_EVT_CHNL);
    TEXT(XENSND_FIELD_EVT_RING_REF);
    TEXT(XENSND_FIELD_EVT_EVT_CHNL);
    TEXT(XENSND_FIELD_DEVICE_NAME);
    TEXT(XENSND_FIELD_TYPE);
    TEXT(XENSND_FIELD_STREAM_UNIQUE_ID);
    TEXT(XENSND_FIELD_CHANNELS_MIN);
    TEXT(XENSND_FIELD_CHANNELS_MAX);
    TEXT(XENSND_FIELD_SAMPLE_RATES);
    TEXT(XENSND_FIELD_SAMPLE_FORMATS);
    TEXT(XENSND_FIELD_BUFFER_SIZE);
    TEXT(XENSND_STREAM_TYPE_PLAYBACK);
    TEXT(XENSND_STREAM_TYPE_CAPTURE);
    TEXT(XENSND_PCM_FORMAT_S8_STR);
    TEXT(XENSND_PCM_FORMAT_U8_STR);
    TEXT(XENSND_PCM_FORMAT_S16_LE_STR);
    TEXT(XENSND_PCM_FORMAT_S16_BE_STR);
    TEXT(XENSND_PCM_FORMAT_U16_LE_STR);
    TEXT(XENSND_PCM_FORMAT_U16_BE_STR);
    TEXT(XENSND_PCM_FORMAT_S24_LE_STR);
    TEXT(XENSND_PCM_FORMAT_S24_BE_STR);
    TEXT(XENSND_PCM_FORMAT_U24_LE_STR);
    TEXT(XENSND_PCM_FORMAT_U24_BE_STR);
    TEXT(XENSND_PCM_FORMAT_S32_LE_STR);
    TEXT(XENSND_PCM_FORMAT_S32_BE_STR);
    TEXT(XENSND_PCM_FORMAT_U32_LE_STR);
    TEXT(XENSND_PCM_FORMAT_U32_BE_STR);
    TEXT(XENSND_PCM_FORMAT_F32_LE_STR);
    TEXT(XENSND_PCM_FORMAT_F32_BE_STR);
    TEXT(XENSND_PCM_FORMAT_F64_LE_STR);
    TEXT(XENSND_PCM_FORMAT_F64_BE_STR);
    TEXT(XENSND_PCM_FORMAT_IEC958_SUBFRAME_LE_STR);
    TEXT(XENSND_PCM_FORMAT_IEC958_SUBFRAME_BE_STR);
    TEXT(XENSND_PCM_FORMAT_MU_LAW_STR);
    TEXT(XENSND_PCM_FORMAT_A_LAW_STR);
    TEXT(XENSND_PCM_FORMAT_IMA_ADPCM_STR);
    TEXT(XENSND_PCM_FORMAT_MPEG_STR);
    TEXT(XENSND_PCM_FORMAT_GSM_STR);
}

static void layouts(void)
{
    SIZE(xensnd_req);
    OFFSET(xensnd_req, id);
    OFFSET(xensnd_req, operation);
    OFFSET(xensnd_req, op);
    OFFSET(xensnd_req, op.open.pcm_rate);
    OFFSET(xensnd_req, op.open.pcm_format);
    OFFSET(xensnd_req, op.open.pcm_channels);
    OFFSET(xensnd_req, op.open.buffer_sz);
    OFFSET(xensnd_req, op.open.gref_directory);
    OFFSET(xensnd_req, op.open.period_sz);
    OFFSET(xensnd_req, op.rw.offset);
    OFFSET(xensnd_req, op.rw.length);
    OFFSET(xensnd_req, op.trigger.type);
    OFFSET(xensnd_req, op.hw_param.formats);
    OFFSET(xensnd_req, op.hw_param.rates.min);
    OFFSET(xensnd_req, op.hw_param.rates.max);
    OFFSET(xensnd_req, op.hw_param.channels.min);
    OFFSET(xensnd_req, op.hw_param.channels.max);
    OFFSET(xensnd_req, op.hw_param.buffer.min);
    OFFSET(xensnd_req, op.hw_param.buffer.max);
    OFFSET(xensnd_req, op.hw_param.period.min);
    OFFSET(xensnd_req, op.hw_param.period.max);
    SIZE(xensnd_resp);
    OFFSET(xensnd_resp, id);
    OFFSET(xensnd_resp, operation);
    OFFSET(xensnd_resp, status);
    OFFSET(xensnd_resp, resp);
    OFFSET(xensnd_resp, resp.hw_param.formats);
    SIZE(xensnd_evt);
    OFFSET(xensnd_evt, id);
    OFFSET(xensnd_evt, type);
    OFFSET(xensnd_evt, op);
    OFFSET(xensnd_evt, op.cur_pos.position);
    SIZE(xensnd_page_directory);
    OFFSET(xensnd_page_directory, gref_dir_next_page);
    OFFSET(xensnd_page_directory, gref);
    SIZE(xensnd_event_page);
    OFFSET(xensnd_event_page, in_cons);
    OFFSET(xensnd_event_page, in_prod);
    SIZE(xen_sndif_sring);
    OFFSET(xen_sndif_sring, req_prod);
    OFFSET(xen_sndif_sring, req_event);
    OFFSET(xen_sndif_sring, rsp_prod);
    OFFSET(xen_sndif_sring, rsp_event);
    OFFSET(xen_sndif_sring, ring);
    printf("ring slots=%u\n", (unsigned)__RING_SIZE(&sring, 4096));
    printf("ring slot=%zu\n", sizeof(union xen_sndif_sring_entry));
}

static void others(void)
{
    NUMBER(XEN_EPERM);
    NUMBER(XEN_EIO);
    NUMBER(XEN_ENOMEM);
    NUMBER(XEN_EACCES);
    NUMBER(XEN_EFAULT);
    NUMBER(XEN_EBUSY);
    NUMBER(XEN_ENODEV);
    NUMBER(XEN_EINVAL);
    NUMBER(XEN_EOPNOTSUPP);
    NUMBER(XenbusStateUnknown);
    NUMBER(XenbusStateInitialising);
    NUMBER(XenbusStateInitWait);
    NUMBER(XenbusStateInitialised);
    NUMBER(XenbusStateConnected);
    NUMBER(XenbusStateClosing);
    NUMBER(XenbusStateClosed);
    NUMBER(XenbusStateReconfiguring);
    NUMBER(XenbusStateReconfigured);
}

int main(void)
{
    numbers();
    texts();
    layouts();
    others();
    return 0;
}
