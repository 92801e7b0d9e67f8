#include "worker/oncpu.h"

#include <stdio.h>
#include <string.h>

#include "common/io/co.h"
#include "worker/attempt.h"

static struct oncpu_page *shared;
static const char *shown_wait; /* what waited_for was copied from: most waits repeat */

static void show_wait(const char *why)
{
	shown_wait = why;
	/* Not ended when it is too long: the reader takes no more than there is. */
	memccpy(shared->waited_for, why, '\0', sizeof(shared->waited_for));
}

/* Twice a switch.  `busy` is written last and cleared first: a crash in between charges nobody. */
static void on_switch(void *data, const char *why)
{
	const struct attempt *a = data;

	shared->busy = 0;
	if (!a)
		return;
	shared->job = a->oncpu;
	if (why != shown_wait)
		show_wait(why);
	__asm__ volatile("" ::: "memory");
	shared->busy = 1;
}

void oncpu_start(struct oncpu_page *page)
{
	shared = page;
	show_wait("");
	co_on_switch(on_switch);
}

void oncpu_init(struct oncpu *o, int queue, const char *lease)
{
	memset(o, 0, sizeof(*o));
	o->queue = queue;
	snprintf(o->lease, sizeof(o->lease), "%s", lease);
}

void oncpu_tell(struct oncpu *o, const char *job_id, const char *task)
{
	snprintf(o->job_id, sizeof(o->job_id), "%s", job_id);
	snprintf(o->task, sizeof(o->task), "%s", task);
	if (shared)
		shared->job = *o;
}
