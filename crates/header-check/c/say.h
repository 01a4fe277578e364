/* Prints the compiler's values of a header, one name=value line each. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NUMBER(x) printf("%s=%llu\n", #x, (unsigned long long)(x))
#define TEXT(x) printf("%s=%s\n", #x, (x))
#define SIZE(type) printf("sizeof %s=%zu\n", #type, sizeof(struct type))
#define OFFSET(type, member) printf("%s.%s=%zu\n", #type, #member, offsetof(struct type, member))
