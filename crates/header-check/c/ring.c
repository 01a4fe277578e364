/*
 * Both ends of a ring as xen/io/ring.h drives them, for comparison with ours.
 *
 * Reads commands of 5 + 4096 bytes: an operation, a number, and the shared page; answers with a
 * number and the page.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The latest version of the headers leaves the barriers to their users. */
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
#define xen_mb() __sync_synchronize()
#define xen_rmb() __sync_synchronize()
#define xen_wmb() __sync_synchronize()

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>
#include <xen/io/sndif.h>

#define PAGE 4096
#define TAKEN 0x10000u

static union {
    struct xen_sndif_sring sring;
    unsigned char bytes[PAGE];
} page;

static struct xen_sndif_front_ring front;
static struct xen_sndif_back_ring back;

static uint32_t run(unsigned char operation, uint32_t number)
{
    struct xensnd_req request;
    struct xensnd_resp response;
    int result = 0;

    switch (operation) {
    case 'F': /* frontend: initialise */
        XEN_FRONT_RING_INIT(&front, &page.sring, PAGE);
        return 0;
    case 'B': /* backend: attach */
        BACK_RING_INIT(&back, &page.sring, PAGE);
        return 0;
    case 'p': /* frontend: put a request */
        if (RING_FULL(&front))
            return 0;
        memset(&request, 0, sizeof(request));
        request.id = number;
        *RING_GET_REQUEST(&front, front.req_prod_pvt) = request;
        front.req_prod_pvt++;
        return 1;
    case 'P': /* frontend: publish */
        RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front, result);
        return result != 0;
    case 't': /* frontend: take a response */
        if (!RING_HAS_UNCONSUMED_RESPONSES(&front))
            return 0;
        RING_COPY_RESPONSE(&front, front.rsp_cons, &response);
        front.rsp_cons++;
        return TAKEN | response.id;
    case 'a': /* frontend: arm */
        RING_FINAL_CHECK_FOR_RESPONSES(&front, result);
        return result != 0;
    case 'g': /* backend: take a request */
        if (!RING_HAS_UNCONSUMED_REQUESTS(&back))
            return 0;
        RING_COPY_REQUEST(&back, back.req_cons, &request);
        back.req_cons++;
        return TAKEN | request.id;
    case 'r': /* backend: put a response */
        if (back.rsp_prod_pvt == back.req_cons)
            return 0;
        memset(&response, 0, sizeof(response));
        response.id = number;
        *RING_GET_RESPONSE(&back, back.rsp_prod_pvt) = response;
        back.rsp_prod_pvt++;
        return 1;
    case 'R': /* backend: publish */
        RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&back, result);
        return result != 0;
    case 'b': /* backend: arm */
        RING_FINAL_CHECK_FOR_REQUESTS(&back, result);
        return result != 0;
    case 'o': /* backend: is this producer index impossible? */
        return RING_REQUEST_PROD_OVERFLOW(&back, number) != 0;
    case 'O': /* frontend: is this producer index impossible? */
        return RING_RESPONSE_PROD_OVERFLOW(&front, number) != 0;
    }
    return ~0u;
}

int main(void)
{
    unsigned char operation;
    uint32_t number;

    while (fread(&operation, 1, 1, stdin) == 1 && fread(&number, 4, 1, stdin) == 1 &&
           fread(page.bytes, PAGE, 1, stdin) == 1) {
        number = run(operation, number);
        fwrite(&number, 4, 1, stdout);
        fwrite(page.bytes, PAGE, 1, stdout);
        fflush(stdout);
    }
    return 0;
}
