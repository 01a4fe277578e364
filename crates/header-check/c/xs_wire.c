/* xen/io/xs_wire.h. */
#include "say.h"

#include <xen/io/xs_wire.h>

int main(void)
{
    size_t i;

    NUMBER(XS_CONTROL);
    NUMBER(XS_DIRECTORY);
    NUMBER(XS_READ);
    NUMBER(XS_GET_PERMS);
    NUMBER(XS_WATCH);
    NUMBER(XS_UNWATCH);
    NUMBER(XS_TRANSACTION_START);
    NUMBER(XS_TRANSACTION_END);
    NUMBER(XS_INTRODUCE);
    NUMBER(XS_RELEASE);
    NUMBER(XS_GET_DOMAIN_PATH);
    NUMBER(XS_WRITE);
    NUMBER(XS_MKDIR);
    NUMBER(XS_RM);
    NUMBER(XS_SET_PERMS);
    NUMBER(XS_WATCH_EVENT);
    NUMBER(XS_ERROR);
    NUMBER(XS_IS_DOMAIN_INTRODUCED);
    NUMBER(XS_RESUME);
    NUMBER(XS_SET_TARGET);
    NUMBER(XS_RESET_WATCHES);
    NUMBER(XS_DIRECTORY_PART);
    NUMBER(XS_INVALID);
    NUMBER(XS_TYPE_COUNT);
    NUMBER(XENSTORE_PAYLOAD_MAX);
    NUMBER(XENSTORE_ABS_PATH_MAX);
    NUMBER(XENSTORE_REL_PATH_MAX);
    SIZE(xsd_sockmsg);
    OFFSET(xsd_sockmsg, type);
    OFFSET(xsd_sockmsg, req_id);
    OFFSET(xsd_sockmsg, tx_id);
    OFFSET(xsd_sockmsg, len);
    for (i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
        printf("error %s=%d\n", xsd_errors[i].errstring, xsd_errors[i].errnum);
    return 0;
}
