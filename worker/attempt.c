#include "worker/attempt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "worker/pool.h"
#include "worker/runs.h"
#include "worker/settle.h"

/* The header is followed by a newline, which ends the last number too. */
int64_t header_number(const struct job_header *h, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = h->extra; p && p + n < h->extra + h->extra_len; p++)
		if (!memcmp(p, word, n))
			return strtoll(p + n, NULL, 10);
	return 0;
}

void header_origin(const struct job_header *h, char out[JOB_ID_MAX])
{
	static const char word[] = HEADER_ORIGIN;
	const size_t n = sizeof(word) - 1;
	size_t k = 0;

	for (size_t i = 0; h->extra && i + n < h->extra_len; i++)
		if (!memcmp(h->extra + i, word, n)) {
			for (const char *p = h->extra + i + n;
			     p<h->extra + h->extra_len && * p> ' ' && k < JOB_ID_MAX - 1; p++)
				out[k++] = *p;
			break;
		}
	out[k] = '\0';
	if (!k)
		snprintf(out, JOB_ID_MAX, "%s", h->id);
}

static struct attempt_child *child_add(struct attempt *a)
{
	if ((a->n_children & (a->n_children + 1)) == 0) /* full at 0, 1, 3, 7 …: double */
		a->children =
			mem_realloc(a->children, (2 * a->n_children + 1) * sizeof(*a->children));
	struct attempt_child *c = &a->children[a->n_children++];
	memset(c, 0, sizeof(*c));
	return c;
}

void attempt_child(struct attempt *a, const char *partner, enum lane lane, const char *task,
		   int64_t integration_id, const cJSON *args, int64_t run_id)
{
	struct attempt_child *c = child_add(a);

	c->partner = arena_strdup(a->arena, partner ? partner : queue_partner(a->lease.queue));
	c->push.lane = lane;
	c->push.integration = integration_id;
	job_print(&c->payload, task, integration_id, args, run_id, a->job_id);
	c->kin = runs_home(a, run_id);
	if (c->kin)
		job_print_run_home(&c->payload, runs_home(a, run_id));
}

void attempt_continue(struct attempt *a)
{
	a->goes_on = true;
}

void attempt_put_off(struct attempt *a, int64_t ms)
{
	a->goes_on = true;
	a->later_ms = ms;
}

bool attempt_ran_before(const struct attempt *a)
{
	const struct job_header *h = &a->lease.header;

	/* Given back or reaped jobs begin with '0'; one that was delayed has RAN in its header. */
	return a->lease.member[0] == '0' || h->attempts > 0 || header_number(h, RAN);
}

void attempt_children_clear(struct attempt *a)
{
	for (int i = 0; i < a->n_children; i++)
		buf_clear(&a->children[i].payload);
	free(a->children);
	a->children = NULL;
	a->n_children = 0;
}

bool attempt_should_yield(const struct attempt *a)
{
	int64_t ran = loop_now_ms() - a->started_ms - a->caller.permit_waited_ms;

	return ran >= a->worker->soft_limit_ms || pool_is_stopping() || co_is_cancelled();
}

bool attempt_holds_lease(const struct attempt *a)
{
	return pool_in_touch();
}

int64_t attempt_began_ms(const struct attempt *a)
{
	const struct redis *r = a->worker->redis;
	int64_t ms = (redis_now_us(r) - redis_clock_error_us(r)) / 1000 -
		     (loop_now_ms() - a->started_ms);

	return ms > a->lease.header.born_ms ? ms : a->lease.header.born_ms;
}

int64_t attempt_integration(const struct attempt *a)
{
	return a->called_id ? a->called_id : a->job.integration_id;
}

int64_t attempt_deadline_ms(const struct attempt *a)
{
	return co_deadline(co_self());
}
