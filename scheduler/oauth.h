/* Signing in at a partner: GET /oauth/start/{integration_id} sends a person there, GET /oauth/callback takes what comes back
 * (state, PKCE), stores the grant and lets the integration's jobs go on. */
#ifndef SCHEDULER_OAUTH_H
#define SCHEDULER_OAUTH_H

#include "scheduler/scheduler.h"

/* outside: whoever can reach this listener needs a ticket of `longshore integration authorize`; on our own they do not. */
void oauth_routes(struct scheduler *s, struct httpd *h, bool outside);

#endif
