/* control:{partner} in Redis, made from what Postgres says (pauses, caps of integrations) and
 * the manifest (caps of the partner); and the limits that Postgres has as set by hand.  Whoever changes either, or finds it missing, writes it
 * anew: the command, the worker, the scheduler. */
#ifndef DRIVERS_KIT_CONTROL_H
#define DRIVERS_KIT_CONTROL_H

#include "common/io/pg.h"
#include "common/io/redis.h"
#include "drivers/driver.h"

/* Waits.  d NULL: the jobs of no partner.  redis_lost: control was missing where it had been, so
 * fencing starts a new generation (more than one caller may find it so: the first to write wins,
 * and no generation is used twice). */
int control_mirror(struct redis *r, struct pg *p, const struct driver *d, const char *partner,
		   bool redis_lost, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

/* Waits.  control_seed.c: part of it where redis_lost. */
int control_seed(struct redis *r, struct pg *p, const struct driver *d, int64_t deadline_ms,
		 struct err *err) __attribute__((warn_unused_result));

#endif
