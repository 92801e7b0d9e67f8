#include "scheduler/lookups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "scheduler/lookup_home.h"

#define UNDER_WAY_MAX 2000  /* coroutines; over it who asks is refused */
#define WHOLE_MS 120000     /* no question takes longer, whoever waits */
#define KEPT_MS 1000        /* for a last look at what is kept */
#define PERMIT_PAUSE_MS 100 /* between two tries for a permit, at least */
#define NAMES_MAX 64

/* One question; of the one who asked and of the coroutine that asks. */
struct asked {
	struct caller caller;
	struct lookup_home *home;
	struct lookup_ask ask;
	cJSON *params;
	int64_t until_ms; /* so long a limit is waited for */
	struct co *co;    /* NULL: it has ended */
	struct completion done;
	struct lookup_answer answer, late; /* late: for who could not wait longer */
	struct err err;
	int rc;
	int refs;
	struct asked *next;
};

static struct asked *under_way;
static int n_under_way;

void asked_put(struct asked *a)
{
	if (!a || --a->refs > 0)
		return;
	lookup_answer_clear(&a->answer);
	lookup_answer_clear(&a->late);
	lookup_home_put(a->home);
	cJSON_Delete(a->params);
	free(a);
}

bool asked_is_critical(const struct asked *a)
{
	return a->caller.driver->manifest->critical;
}

/* ---- asking ---- */

/* How long until a permit is worth another try; -1: it is not within our time. */
static int64_t permit_pause(const struct asked *a)
{
	int64_t ms = a->err.retry_after_ms;

	if (a->rc != -EAGAIN || !a->ask.patient)
		return -1;
	ms = ms > PERMIT_PAUSE_MS ? ms : PERMIT_PAUSE_MS;
	return loop_now_ms() + ms < a->until_ms ? ms : -1;
}

static void ask_until_permitted(struct asked *a)
{
	int64_t pause = 0, retry_ms;

	a->ask.patient = !a->ask.refresh && !a->ask.kept_only;
	while (pause >= 0) {
		memset(&a->err, 0, sizeof(a->err));
		a->rc = lookup(&a->caller, &a->ask, &a->answer, NULL, &a->err);
		pause = permit_pause(a);
		if (pause >= 0 && co_sleep("permit", pause) < 0)
			return;
	}
	if (a->rc != -EAGAIN || !a->ask.patient)
		return;
	a->ask.patient = false; /* what there is without a call */
	a->ask.kept_only = a->err.text;
	retry_ms = a->err.retry_after_ms;
	a->rc = lookup(&a->caller, &a->ask, &a->answer, NULL, &a->err);
	a->err.retry_after_ms = retry_ms;
}

static struct asked *start(const struct asked *like, bool refresh, struct err *err);

static void end(struct asked *a)
{
	struct asked **p = &under_way;

	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	n_under_way--;
	a->co = NULL;
	completion_done(&a->done);
	asked_put(a);
}

static void run(void *arg)
{
	struct asked *a = arg;

	co_set_deadline(co_self(), loop_now_ms() + WHOLE_MS);
	ask_until_permitted(a);
	if (a->rc == 0 && a->answer.refresh && !co_is_cancelled())
		asked_put(start(a, true, &a->err)); /* nobody waits for it */
	end(a);
}

static struct asked *start(const struct asked *like, bool refresh, struct err *err)
{
	struct asked *a;

	if (n_under_way >= UNDER_WAY_MAX) {
		err_set(err, -EBUSY, ERR_HOLD, "lookups", "%d lookups are under way already",
			n_under_way);
		return NULL;
	}
	a = mem_new(struct asked);
	a->caller = like->caller;
	a->caller.integration = &like->home->row;
	a->caller.high = !refresh;
	a->home = like->home;
	a->home->refs++;
	a->params = cJSON_Duplicate(like->params, true);
	a->until_ms = like->until_ms;
	a->ask = (struct lookup_ask){ .lookup = like->ask.lookup,
				      .params = a->params,
				      .kept_only = like->home->held,
				      .refresh = refresh };
	a->refs = 2;
	a->co = co_spawn("lookup", run, a);
	if (!a->co) {
		err_set(err, -EBUSY, ERR_HOLD, "lookups", "there is no room for a coroutine");
		a->refs = 1;
		asked_put(a);
		return NULL;
	}
	a->next = under_way;
	under_way = a;
	n_under_way++;
	return a;
}

/* ---- what is asked ---- */

static const struct driver *find_partner(struct scheduler *s, const char *name, struct err *err)
{
	const struct driver *d = driver_find(s->drivers, name);
	const char *names[NAMES_MAX], *near;
	int n = 0;

	if (d && d->manifest->n_lookups)
		return d;
	for (int i = 0; i < driver_set_count(s->drivers) && n < NAMES_MAX; i++)
		if (driver_at(s->drivers, i)->manifest->n_lookups)
			names[n++] = driver_at(s->drivers, i)->manifest->partner;
	near = config_nearest(name, names, n);
	err_set(err, -ENOENT, ERR_BAD_JOB, "partner", "%s \"%.60s\"%s%s%s",
		d ? "there are no lookups of partner" : "there is no partner", name,
		near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return NULL;
}

static const struct manifest_lookup *find_lookup(const struct driver *d, const char *name,
						 struct err *err)
{
	const struct manifest *m = d->manifest;
	const struct manifest_lookup *l = manifest_lookup(m, name);
	const char *names[NAMES_MAX], *near;
	int n = m->n_lookups < NAMES_MAX ? m->n_lookups : NAMES_MAX;

	if (l)
		return l;
	for (int i = 0; i < n; i++)
		names[i] = m->lookups[i].name;
	near = config_nearest(name, names, n);
	err_set(err, -ENOENT, ERR_BAD_JOB, "name", "%s has no lookup \"%.60s\"; %s \"%s\"%s",
		m->partner, name, near ? "did you mean" : "it has", near ? near : names[0],
		near ? "?" : "");
	return NULL;
}

int lookups_ask(struct scheduler *s, const struct lookup_question *q, int64_t until_ms,
		struct asked **out, struct err *err)
{
	struct asked like = { .params = (cJSON *)q->params, .until_ms = until_ms };
	const struct driver *d = find_partner(s, q->partner, err);
	int rc;

	if (!d)
		return -ENOENT;
	if (s->stopping)
		return err_set(err, -ECANCELED, ERR_CANCELLED, "stop", "stopping");
	rc = lookup_home_get(s, d, q->integration_id, &like.home, err);
	if (rc < 0)
		return rc;
	like.caller = (struct caller){ .door = s->door, .driver = like.home->driver };
	like.ask.lookup = find_lookup(like.home->driver, q->name, err);
	rc = like.ask.lookup ? 0 : -ENOENT;
	*out = rc == 0 ? start(&like, false, err) : NULL;
	if (rc == 0 && !*out)
		rc = -EBUSY;
	lookup_home_put(like.home);
	return rc;
}

/* ---- waiting ---- */

/* The time is over, and the call goes on: what is kept beside it. */
static int look_at_kept(struct asked *a, struct err *err)
{
	struct lookup_ask ask = { .lookup = a->ask.lookup, .params = a->params };
	struct caller caller = a->caller;
	int64_t before = co_deadline(co_self());
	int rc;

	ask.kept_only =
		"it was not answered within the time of this call, and is still being asked";
	co_set_deadline(co_self(), loop_now_ms() + KEPT_MS);
	rc = lookup(&caller, &ask, &a->late, NULL, err);
	co_set_deadline(co_self(), before);
	return rc == -EAGAIN ? -ETIME : rc;
}

int asked_wait(struct asked *a, int64_t until_ms, const struct lookup_answer **answer,
	       struct buf *text, struct err *err)
{
	int rc = 0;

	while (!a->done.done && rc == 0)
		rc = completion_wait(&a->done, "lookup", until_ms);
	if (a->done.done) {
		*answer = &a->answer;
		*err = a->err;
		rc = a->rc;
	} else if (rc == -ETIMEDOUT) {
		*answer = &a->late;
		rc = look_at_kept(a, err);
	}
	if (rc == 0)
		lookup_print(&a->caller, &a->ask, *answer, text);
	return rc;
}

/* ---- the end ---- */

void lookups_stop(int64_t deadline_ms)
{
	for (struct asked *a = under_way; a; a = a->next)
		co_cancel(a->co);
	while (under_way && loop_now_ms() < deadline_ms)
		if (co_sleep("lookups", 5) < 0)
			break;
}

void lookups_free(void)
{
	lookup_home_free_all();
}
