/* A function in a process of its own, for what must not end or change this one: the checks of a new start before the old
 * one gives way (HUP).  The caller stands still until it ends.  Not from a coroutine: it is forked, stack and all. */
#ifndef COMMON_BASE_APART_H
#define COMMON_BASE_APART_H

#include "common/base/buf.h"

#define APART_SAID_MAX_BYTES 8192
#define APART_MAX_S 30 /* a file that is a pipe must not hold it for ever: it dies */

/* What fn returned (0 to 255), or -errno where it could not be run, -ECHILD where it died.  said has gained the beginning of what it
 * wrote to stderr. */
int apart_run(int (*fn)(void *arg), void *arg, struct buf *said)
	__attribute__((warn_unused_result));

#endif
