/* What the files of the simulated Guesty share. */
#ifndef TESTS_SANDBOX_GUESTY_H
#define TESTS_SANDBOX_GUESTY_H

#include "tests/sandbox/exchange.h"

/* Token, limits, calls in flight; then the latency.  Waits.  false: answered. */
bool guesty_admit(struct exchange *x);
void guesty_webhook_routes(struct httpd *h, struct sandbox *s);

#endif
