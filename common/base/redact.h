/* The values that logs and records must not show, shared by secret.c (which knows them) and
 * redact.c (which finds them).  Nobody else includes this.  Counted: as many removals as
 * registrations. */
#ifndef COMMON_BASE_REDACT_H
#define COMMON_BASE_REDACT_H

#include <stddef.h>

void redact_register(const char *bytes,
		     size_t len); /* with its encoded forms; under 6 bytes: nothing */
void redact_unregister(const char *bytes, size_t len);

#endif
