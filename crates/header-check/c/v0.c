/* The structures of the 2015 sound driver, as its text describes them; xen/io/ring.h makes the ring of them. */
#include "say.h"

#include <stddef.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>

enum { PAGES = 10 };

struct params {
    uint32_t format, channels, rate;
};

struct request {
    uint8_t operation;
    union {
        struct {
            uint64_t id;
            struct params params;
            uint32_t stream, unused;
        } open;
        struct {
            uint64_t id;
            struct params unused1;
            uint32_t len, unused2;
            grant_ref_t gref[PAGES];
        } rw;
        struct {
            uint64_t id;
            struct params unused;
            uint32_t left, right;
        } vol;
    } u;
};

struct response {
    uint64_t id;
    uint8_t operation;
    int16_t status;
};

DEFINE_RING_TYPES(v0, struct request, struct response);

static struct v0_sring sring;

int main(void)
{
    printf("request=%zu\n", sizeof(struct request));
    printf("response=%zu\n", sizeof(struct response));
    printf("pages=%d\n", PAGES);
    printf("slots=%u\n", (unsigned)__RING_SIZE(&sring, 4096));
    printf("slot0=%zu\n", offsetof(struct v0_sring, ring));
    printf("slot1=%zu\n", (size_t)((char *)&sring.ring[1] - (char *)&sring));

    /* Every field has a value of its own, and the packet is printed byte by byte. */
    struct request open = { .operation = 0 }, rw = { .operation = 3 }, vol = { .operation = 4 };
    open.u.open.id = 0x0102030405060708ull;
    open.u.open.params = (struct params){ 2, 6, 44100 };
    rw.u.rw.id = 0x0102030405060708ull;
    rw.u.rw.len = 40960;
    for (int i = 0; i < PAGES; i++)
        rw.u.rw.gref[i] = 0x1000 + i;
    vol.u.vol.id = 0x0102030405060708ull;
    vol.u.vol.left = (uint32_t)-50;
    vol.u.vol.right = 99;
    struct response failed = { 0x0102030405060708ull, 3, -1 };
    const struct { const char *name; const void *at; size_t size; } all[] = {
        { "open", &open, sizeof(open) },
        { "rw", &rw, sizeof(rw) },
        { "vol", &vol, sizeof(vol) },
        { "failed", &failed, sizeof(failed) },
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        printf("%s=", all[i].name);
        for (size_t at = 0; at < all[i].size; at++)
            printf("%02x", ((const unsigned char *)all[i].at)[at]);
        printf("\n");
    }
    return 0;
}
