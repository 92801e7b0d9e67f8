/* What breaker.c and breaker_look.c share; nobody else includes it. */
#ifndef COMMON_QUEUE_BREAKER_IMPL_H
#define COMMON_QUEUE_BREAKER_IMPL_H

#include "common/queue/breaker.h"
#include "common/queue/impl.h"

#define BREAKER_KEY_MAX (KEY_MAX + BREAKER_HOST_MAX)

enum breaker_state breaker_state_parse(const char *s, size_t n);
/* "STATE UNTIL", a value of the index. */
void breaker_entry_parse(const char *text, enum breaker_state *state, int64_t *until_ms);

#endif
