#include "worker/tasks/schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/store.h"

#define KIND "schema_changed"
#define FIELDS_MAX 16  /* of a page; more are counted with the last */
#define ITEMS_MIN 3    /* one bad item of two is no change of contract */
#define KEEP_MS 60000  /* what is open is looked up so often at most, by a process */
#define SCOPES_MAX 200 /* open alerts that are watched for their end */

struct schema_faults {
	struct {
		const char *field, *id, *reason; /* of the first such item */
		int n;
	} v[FIELDS_MAX];
	int n;
};

/* The open alerts of the fleet, as this process saw them last. */
static struct {
	char *v[SCOPES_MAX];
	int n;
	int64_t read_ms;
	bool read, reading;
} open_now;

static void forget(void)
{
	for (int i = 0; i < open_now.n; i++)
		free(open_now.v[i]);
	open_now.n = 0;
	open_now.read = false;
}

void schema_note(struct import *im, struct arena *arena, const char *field, const char *id,
		 const char *reason)
{
	struct schema_faults *f = im->faults;
	int i = 0;

	if (!f)
		f = im->faults = arena_new_of(arena, struct schema_faults);
	while (i < f->n && strcmp(f->v[i].field, field) != 0)
		i++;
	if (i == FIELDS_MAX)
		return;
	if (i == f->n) {
		f->n++;
		f->v[i].n = 0;
		f->v[i].field = arena_strdup(arena, field);
		f->v[i].id = id ? arena_strdup(arena, id) : NULL;
		f->v[i].reason = arena_strdup(arena, reason);
	}
	f->v[i].n++;
}

static const char *endpoint_of(const struct manifest_collection *c)
{
	return c->post ? c->post : c->get ? c->get : c->name;
}

static char *scope_of(const struct import *im, const char *field)
{
	return mem_printf("partner:%s %s %s", im->a->partner, endpoint_of(im->collection), field);
}

/* ---- what is open ---- */

static void see_open(const char *scope, void *arg)
{
	if (open_now.n < SCOPES_MAX)
		open_now.v[open_now.n++] = mem_strdup(scope);
}

/* One job asks, the others go by what was known before. */
static void look(struct import *im)
{
	struct err err = { 0 };

	if (open_now.reading || (open_now.read && loop_now_ms() - open_now.read_ms < KEEP_MS))
		return;
	open_now.reading = true;
	forget();
	if (alert_each_open(im->a->worker->pg, KIND, see_open, NULL, &err) == 0) {
		open_now.read = true;
		open_now.read_ms = loop_now_ms();
	}
	open_now.reading = false;
}

static void add_open(const char *scope)
{
	for (int i = 0; i < open_now.n; i++)
		if (strcmp(open_now.v[i], scope) == 0)
			return;
	if (open_now.n < SCOPES_MAX)
		open_now.v[open_now.n++] = mem_strdup(scope);
}

static void drop_open(const char *scope)
{
	for (int i = 0; i < open_now.n; i++) {
		if (strcmp(open_now.v[i], scope) != 0)
			continue;
		free(open_now.v[i]);
		open_now.v[i] = open_now.v[--open_now.n];
		return;
	}
}

/* ---- telling ---- */

static void raise_alert(struct import *im, const char *field, const char *what)
{
	struct attempt *a = im->a;
	char *scope = scope_of(im, field);
	char *todo = mem_printf(
		"compare what %s sends with %s; `longshore driver show %s` prints what is expected",
		a->partner, a->driver->manifest->path, a->partner);
	struct err err = { 0 };

	log_event(LOG_WARN, "schema_changed", LS("collection", im->collection->name),
		  LS("field", field), LS("what", what));
	if (alert_raise(a->worker->pg, KIND, a->driver->manifest->critical ? "critical" : "warning",
			scope, what, todo, &err) < 0)
		log_event(LOG_WARN, "alert_not_raised", LS("scope", scope), LS("reason", err.text));
	else
		add_open(scope);
	free(scope);
	free(todo);
}

static void resolve(struct import *im, const char *scope)
{
	char *kept = mem_strdup(scope); /* the list may change while we wait */
	struct err err = { 0 };

	if (alert_resolve(im->a->worker->pg, KIND, kept, &err) < 0)
		log_event(LOG_WARN, "alert_not_resolved", LS("scope", kept),
			  LS("reason", err.text));
	else
		log_event(LOG_INFO, "schema_is_back", LS("scope", kept));
	drop_open(kept);
	free(kept);
}

static bool is_broken(int bad, int n)
{
	return bad >= ITEMS_MIN && bad * 2 >= n;
}

static int bad_in(const struct import *im, const char *field)
{
	const struct schema_faults *f = im->faults;

	for (int i = 0; f && i < f->n; i++)
		if (strcmp(f->v[i].field, field) == 0)
			return f->v[i].n;
	return 0;
}

/* The first open alert of this endpoint whose field this page has right; NULL: none. */
static const char *mended(const struct import *im, int n)
{
	char *head = scope_of(im, "");
	size_t len = strlen(head);
	const char *found = NULL;

	for (int i = 0; i < open_now.n && !found; i++) {
		const char *field = open_now.v[i] + len;

		if (strncmp(open_now.v[i], head, len) != 0)
			continue;
		/* a whole page says more than an item or two; that it is a page at all, any says */
		if (strcmp(field, "records") == 0 || (n >= ITEMS_MIN && bad_in(im, field) == 0))
			found = open_now.v[i];
	}
	free(head);
	return found;
}

void schema_judge(struct import *im, int n)
{
	struct schema_faults *f = im->faults;
	const char *scope;

	for (int i = 0; f && i < f->n; i++) {
		char *what;

		if (!is_broken(f->v[i].n, n))
			continue;
		what = mem_printf("%d of %d items of a page do not fit, such as %s: %s", f->v[i].n,
				  n, f->v[i].id ? f->v[i].id : "one without an id", f->v[i].reason);
		raise_alert(im, f->v[i].field, what);
		free(what);
	}
	look(im);
	while ((scope = mended(im, n)))
		resolve(im, scope);
	im->faults = NULL;
}

void schema_broken(struct import *im)
{
	struct err first = im->a->err;

	if (first.class == ERR_DATA && strcmp(first.rule, "records") == 0)
		raise_alert(im, "records", first.text);
	im->a->err = first;
}
