/* Checkpoints of scans, as JSON in `checkpoints.state`: what earlier scans cover (since_us), and of the scan under way
 * where it stands, with the counts of its run, so that they are those of what is stored.  They belong to one push of
 * a job (the header's id): the "id" in a payload may be used again every night. */
#include <errno.h>
#include <string.h>

#include "common/base/log.h"
#include "common/io/redis.h"
#include "worker/tasks/import.h"

#define TAKEN_MS \
	120000 /* a scan moves with every page: one that has not for so long lost its turn */
#define TAKEN_WAIT_MS 2000

static int64_t number_at(const cJSON *o, const char *key)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(n) ? (int64_t)n->valuedouble : 0;
}

/* ---- the run's counts ---- */
struct counter {
	const char *name;
	int64_t *value;
};
#define COUNTERS 11

static void counters(struct import *im, struct counter out[COUNTERS])
{
	struct run_counts *c = &im->run.counts;
	const struct counter all[COUNTERS] = {
		{ "processed", &im->run.processed },
		{ "added", &c->added },
		{ "updated", &c->updated },
		{ "unchanged", &c->unchanged },
		{ "stale", &c->stale },
		{ "undeleted", &c->undeleted },
		{ "deleted", &c->deleted },
		{ "failed", &c->failed },
		{ "pages", &c->pages },
		{ "calls", &im->calls_before },
		{ "started_ms", &im->run.started_ms },
	};

	memcpy(out, all, sizeof(all));
}

static cJSON *run_state(struct import *im)
{
	struct counter v[COUNTERS];
	cJSON *o = cJSON_CreateObject();

	counters(im, v);
	cJSON_AddNumberToObject(o, "id", (double)im->run.id);
	for (int i = 0; i < COUNTERS; i++) {
		int64_t n = *v[i].value;

		if (v[i].value == &im->calls_before)
			n += im->a->caller.calls;
		cJSON_AddNumberToObject(o, v[i].name, (double)n);
	}
	if (im->note)
		cJSON_AddStringToObject(o, "note", im->note);
	return o;
}

/* An attempt that died left no word of its run but this. */
static void run_take(struct import *im, const cJSON *o)
{
	struct counter v[COUNTERS];
	int64_t id = number_at(o, "id");
	const char *note = o ? json_str(o, "note") : NULL;

	if (!id)
		return;
	im->run.id = im->a->run_id = id;
	im->resumed = true;
	counters(im, v);
	for (int i = 0; i < COUNTERS; i++)
		*v[i].value = number_at(o, v[i].name);
	if (note)
		im->note = arena_strdup(im->a->arena, note);
}

/* What an earlier attempt did not see whole is not whole because it died. */
static void ended_take(struct import *im, bool ended_short)
{
	if (im->place.complete && ended_short)
		im->place.ended_short = im->incomplete = true;
}

/* ---- finding ---- */
static bool is_ours(const struct import *im, const struct checkpoint *c)
{
	return c->job_id && !strcmp(c->job_id, im->a->lease.header.id);
}

static int held(struct import *im)
{
	im->taken = true;
	return err_hold(&im->a->err, TAKEN_WAIT_MS, "taken",
			"another job is scanning %s of this integration", im->collection->name);
}

/* Zeros where there is none. */
static int look(struct import *im, struct checkpoint *out)
{
	struct attempt *a = im->a;
	int64_t now = redis_now_ms(a->worker->redis);
	int rc = checkpoint_get(a->worker->pg, a->integration->id, im->collection->name, out,
				&a->err);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	if (!is_ours(im, out) && cJSON_GetObjectItemCaseSensitive(out->state, "scan") &&
	    now - number_at(out->state, "at_ms") < TAKEN_MS) {
		checkpoint_clear(out);
		return held(im);
	}
	im->place.looked = true;
	return 0;
}

/* Where to start: what an earlier attempt at this very job stored, and since when to ask for changes. */
int place_find(struct import *im)
{
	struct place *p = &im->place;
	struct checkpoint c = { 0 };
	int rc = 0;

	place_clear(p);
	if (!attempt_ran_before(im->a) && !im->collection->incremental.on && !im->proving)
		return 0;
	rc = look(im, &c);
	if (rc < 0)
		return rc;
	p->since_us = number_at(c.state, "since_us");
	if (attempt_ran_before(im->a) && is_ours(im, &c)) {
		p->scan = cJSON_DetachItemFromObjectCaseSensitive(c.state, "scan");
		p->complete = !p->scan;
		p->written = true;
		p->asked_us = number_at(c.state, "asked_us");
		p->began_us = number_at(c.state, "began_us");
		p->newest_us = number_at(c.state, "newest_us");
		p->looks = (int)number_at(c.state, "looks");
		p->unnamed = number_at(c.state, "unnamed");
		run_take(im, cJSON_GetObjectItemCaseSensitive(c.state, "run"));
		ended_take(im, cJSON_GetObjectItemCaseSensitive(c.state, "ended_short"));
	}
	checkpoint_clear(&c);
	return 0;
}

/* ---- moving ---- */
static cJSON *state_of(struct import *im, const cJSON *scan, int64_t at_ms)
{
	const struct place *p = &im->place;
	cJSON *state = cJSON_CreateObject();

	if (p->since_us)
		cJSON_AddNumberToObject(state, "since_us", (double)p->since_us);
	if (scan) {
		cJSON_AddItemToObject(state, "scan", cJSON_Duplicate(scan, 1));
		cJSON_AddNumberToObject(state, "at_ms", (double)at_ms);
		cJSON_AddNumberToObject(state, "asked_us", (double)p->asked_us);
		cJSON_AddNumberToObject(state, "began_us", (double)p->began_us);
		cJSON_AddNumberToObject(state, "newest_us", (double)p->newest_us);
		if (p->looks)
			cJSON_AddNumberToObject(state, "looks", p->looks);
		if (p->unnamed)
			cJSON_AddNumberToObject(state, "unnamed", (double)p->unnamed);
	}
	if (!scan && p->ended_short)
		cJSON_AddStringToObject(state, "ended_short", im->note ? im->note : "");
	cJSON_AddItemToObject(state, "run", run_state(im));
	return state;
}

static int put(struct import *im, const cJSON *scan, int64_t at_ms)
{
	struct attempt *a = im->a;
	cJSON *state = state_of(im, scan, at_ms);
	int rc = checkpoint_put(a->worker->pg, a->integration->id, im->collection->name,
				a->lease.header.id, state, a->lease.generation, a->lease.fence,
				&a->err);

	cJSON_Delete(state);
	return rc;
}

/* A newer claim has written: of this job, which is then lost to us, or of another one, which goes first. */
static int overtaken(struct import *im)
{
	struct checkpoint c = { 0 };
	int rc = look(im, &c);

	if (rc == 0)
		rc = is_ours(im, &c) ? -ESTALE : held(im);
	checkpoint_clear(&c);
	return rc;
}

int place_move(struct import *im, cJSON *scan)
{
	struct place *p = &im->place;
	struct checkpoint c = { 0 };
	int rc = p->looked ? 0 : look(im, &c);

	checkpoint_clear(&c);
	cJSON_Delete(p->scan);
	p->scan = scan;
	if (rc == 0)
		rc = put(im, scan, redis_now_ms(im->a->worker->redis));
	if (rc == -ESTALE)
		return overtaken(im);
	p->written = p->written || rc == 0;
	return rc;
}

int place_restart(struct import *im, const char *why)
{
	cJSON *start = cJSON_CreateObject();

	import_note(im, "%s: began anew: %s", im->collection->name, why);
	im->place.began_us = 0;
	cJSON_AddBoolToObject(start, "restart", true);
	return place_move(im, start);
}

/* What changed while the scan ran may stand on a page that was read before, so it covers no more than what was there when it
 * began, whatever newer it saw. */
static void advance(struct place *p)
{
	int64_t covered = p->newest_us < p->began_us ? p->newest_us : p->began_us;

	if (covered > p->since_us)
		p->since_us = covered;
}

int place_end(struct import *im, bool complete)
{
	struct place *p = &im->place;
	int rc;

	p->ended_short = !complete;
	if (complete)
		advance(p);
	cJSON_Delete(p->scan);
	p->scan = NULL;
	if (!p->written && !im->collection->incremental.on)
		return 0; /* a scan of one page, whose end nobody asks for */
	rc = put(im, NULL, 0);
	return rc == -ESTALE ? overtaken(im) : rc;
}

/* Without it the checkpoint says what it said before: no reason to fail. */
static void put_again(struct import *im, int64_t at_ms, const char *event)
{
	struct err err = im->a->err;

	if (im->place.written && im->place.scan && put(im, im->place.scan, at_ms) < 0)
		log_event(LOG_WARN, event, LS("collection", im->collection->name),
			  LS("reason", im->a->err.text));
	im->a->err = err;
}

void place_keep(struct import *im)
{
	put_again(im, redis_now_ms(im->a->worker->redis), "place_not_kept");
}

void place_release(struct import *im)
{
	put_again(im, 0, "place_not_released");
}

void place_clear(struct place *p)
{
	cJSON_Delete(p->scan);
	*p = (struct place){ 0 };
}
