#include "drivers/kit/contract.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/cassette.h"

#define ITEMS 10 /* of each collection */

struct contract {
	struct caller *c;
	cJSON *steps;
	cJSON *limits; /* the step of the limit headers */
	cJSON *recorded; /* exchanges of all cassettes, by collection; those of single items as "NAME.item" */
	cJSON *answers; /* of lookups, as they were recorded */
	int failed;
};

/* ---- the report ---- */

static cJSON *step(cJSON *steps, const char *what)
{
	cJSON *s = cJSON_CreateObject();

	cJSON_AddStringToObject(s, "what", what);
	cJSON_AddArrayToObject(s, "problems");
	cJSON_AddArrayToObject(s, "notes");
	cJSON_AddItemToArray(steps, s);
	return s;
}

static cJSON *__attribute__((format(printf, 3, 4)))
problem(cJSON *s, const char *path, const char *fmt, ...)
{
	cJSON *p = cJSON_CreateObject();
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	cJSON_AddStringToObject(p, "path", path);
	cJSON_AddStringToObject(p, "text", buf_str(&text));
	cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(s, "problems"), p);
	buf_clear(&text);
	return p;
}

static void __attribute__((format(printf, 2, 3))) note(cJSON *s, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(s, "notes"),
			     cJSON_CreateString(buf_str(&text)));
	buf_clear(&text);
}

/* ---- what items look like ---- */

enum { IS_TEXT = 1, IS_NUMBER = 2, IS_BOOL = 4, IS_LIST = 8, IS_OBJECT = 16 };

static unsigned type_of(const cJSON *v)
{
	return !v || cJSON_IsNull(v) ? 0
	       : cJSON_IsString(v)   ? IS_TEXT
	       : cJSON_IsNumber(v)   ? IS_NUMBER
	       : cJSON_IsBool(v)     ? IS_BOOL
	       : cJSON_IsArray(v)    ? IS_LIST
				     : IS_OBJECT;
}

struct look {
	const char *path;
	unsigned types;
	int items;
};

static int look_at_value(const cJSON *v, const char *key, int index, void *arg)
{
	((struct look *)arg)->types |= type_of(v);
	return 0;
}

static int look_at_item(const cJSON *item, const char *key, int index, void *arg)
{
	struct look *l = arg;

	l->items++;
	if (strchr(l->path, '*'))
		(void)json_path_each(item, l->path, look_at_value, l);
	else
		l->types |= type_of(json_path(item, l->path));
	return 0;
}

static void look_at(const struct driver *d, const struct manifest_collection *coll,
		    const cJSON *exchanges, struct look *l)
{
	const cJSON *x;

	cJSON_ArrayForEach (x, exchanges)
		cassette_items(d, coll, x, look_at_item, l);
}

static void type_names(unsigned types, struct buf *out)
{
	static const char *const names[] = { "text", "number", "true or false", "list", "object" };

	for (int i = 0; i < 5; i++)
		if (types & 1u << i)
			buf_printf(out, "%s%s", out->len ? " or " : "", names[i]);
}

/* A path that names a place and not a field says nothing. */
static bool is_field(const char *path)
{
	return path && path[0] != '@' && strncmp(path, "header:", 7) != 0;
}

/* An item by itself often has more fields than one of a list: like is compared with like, where it was recorded. */
static const cJSON *recorded_of(const struct contract *k, const struct scenario *o)
{
	char *name = mem_printf("%s.item", o->collection->name);
	const cJSON *v = o->item ? cJSON_GetObjectItemCaseSensitive(k->recorded, name) : NULL;

	free(name);
	return v ? v : cJSON_GetObjectItemCaseSensitive(k->recorded, o->collection->name);
}

static void compare_path(struct contract *k, cJSON *s, const struct scenario *o, const char *path,
			 const cJSON *live)
{
	const struct manifest_collection *coll = o->collection;
	const cJSON *then = recorded_of(k, o);
	struct look before = { .path = path }, now = { .path = path };
	struct buf was = BUF_INIT, is = BUF_INIT;

	if (!is_field(path))
		return;
	look_at(k->c->driver, coll, then, &before);
	look_at(k->c->driver, coll, live, &now);
	type_names(before.types, &was);
	type_names(now.types, &is);
	if (before.types && !now.types && now.items)
		problem(s, path, "was %s when it was recorded, and is in none of %d items now",
			buf_str(&was), now.items);
	else if (before.types && now.types & ~before.types)
		problem(s, path, "was %s when it was recorded, and is %s now", buf_str(&was),
			buf_str(&is));
	buf_clear(&was);
	buf_clear(&is);
}

static void compare_paths(struct contract *k, cJSON *s, const struct scenario *o, const cJSON *live)
{
	const struct manifest_collection *coll = o->collection;

	compare_path(k, s, o, coll->id, live);
	compare_path(k, s, o, coll->updated_at, live);
	compare_path(k, s, o, coll->belongs_id, live);
	for (int i = 0; i < coll->n_map; i++) {
		compare_path(k, s, o, coll->map[i].path, live);
		compare_path(k, s, o, coll->map[i].hash, live);
	}
}

/* ---- limit headers ---- */

static int64_t rate_of(const struct manifest *m, int64_t window_ms)
{
	for (int i = 0; i < m->n_limits; i++)
		if (m->limits[i].window_ms == window_ms)
			return m->limits[i].rate;
	return 0;
}

static const char *header_of(const cJSON *exchange, const char *name)
{
	const cJSON *headers = json_path(exchange, "response.headers");
	const cJSON *v = name && headers ? cJSON_GetObjectItemCaseSensitive(headers, name) : NULL;

	return v ? v->valuestring : NULL;
}

static void check_limits(struct contract *k, const cJSON *exchange)
{
	const struct manifest *m = k->c->driver->manifest;

	for (int i = 0; i < m->n_limit_headers; i++) {
		const struct manifest_limit_header *h = &m->limit_headers[i];
		const char *said = header_of(exchange, h->limit);
		int64_t rate = rate_of(m, h->window_ms), now = said ? strtoll(said, NULL, 10) : 0;

		if (h->limit && !said)
			note(k->limits, "%s was not sent", h->limit);
		if (h->remaining && !header_of(exchange, h->remaining))
			note(k->limits, "%s was not sent", h->remaining);
		if (now > 0 && rate > 0 && now < rate)
			problem(k->limits, h->limit, "the partner says %lld, `limits` says %lld",
				(long long)now, (long long)rate);
		else if (now > rate && rate > 0)
			note(k->limits, "%s says %lld, `limits` says %lld: more could be used",
			     h->limit, (long long)now, (long long)rate);
	}
}

/* ---- one collection ---- */

static void count_items(struct contract *k, cJSON *s, const struct scenario *o, const cJSON *rows)
{
	const cJSON *aside = cJSON_GetObjectItemCaseSensitive(rows, "set_aside");
	int n = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(rows, "rows"));
	int bad = cJSON_GetArraySize(aside);
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(rows, "error");

	cJSON_AddNumberToObject(s, "rows", n);
	if (error)
		cJSON_AddStringToObject(problem(s, o->collection->name, "%s",
						json_str(error, "text")),
					"class", json_str(error, "class"));
	else if (bad > n)
		problem(s, json_str(aside->child, "field"),
			"%d of %d items were set aside; the first: %s", bad, bad + n,
			json_str(aside->child, "reason"));
	else if (bad)
		note(s, "%d of %d items were set aside; the first: %s", bad, bad + n,
		     json_str(aside->child, "reason"));
	else if (n == 0)
		note(s, "there are no items to look at");
	if (!recorded_of(k, o))
		note(s, "no cassette to compare with: `longshore driver record`");
}

/* ---- one lookup ---- */

static void compare_field(cJSON *s, const cJSON *was, const cJSON *now)
{
	unsigned before = type_of(was), is = type_of(now);
	struct buf a = BUF_INIT, b = BUF_INIT;
	const char *path = was->string ? was->string : "@";

	type_names(before, &a);
	type_names(is, &b);
	if (before && !is)
		problem(s, path, "was %s when it was recorded, and is not there now", buf_str(&a));
	else if (before && before != is)
		problem(s, path, "was %s when it was recorded, and is %s now", buf_str(&a),
			buf_str(&b));
	buf_clear(&a);
	buf_clear(&b);
}

static void compare_answer(struct contract *k, cJSON *s, const char *name, const cJSON *rows)
{
	const cJSON *then = cJSON_GetObjectItemCaseSensitive(k->answers, name);
	const cJSON *was = cJSON_GetObjectItemCaseSensitive(then, "data"), *v;
	const cJSON *now = cJSON_GetObjectItemCaseSensitive(rows, "data");
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(rows, "error");

	if (error)
		problem(s, name, "%s", json_str(error, "text"));
	else if (!was)
		note(s, "no cassette to compare with: `longshore driver record`");
	else if (!cJSON_IsObject(was) || !cJSON_IsObject(now))
		compare_field(s, was, now);
	else
		cJSON_ArrayForEach (v, was)
			compare_field(s, v, cJSON_GetObjectItemCaseSensitive(now, v->string));
}

static int look_at_scenario(const char *name, const struct scenario *o, cJSON *rows,
			    cJSON *exchanges, void *arg)
{
	struct contract *k = arg;
	char *what = mem_printf("schema of %s", name);
	cJSON *s = step(k->steps, what);

	if (o->lookup) {
		compare_answer(k, s, o->lookup->name, rows);
	} else {
		count_items(k, s, o, rows);
		compare_paths(k, s, o, exchanges);
	}
	if (!k->limits && k->c->driver->manifest->n_limit_headers && exchanges->child) {
		k->limits = step(k->steps, "limit headers");
		check_limits(k, exchanges->child);
	}
	cJSON_Delete(rows);
	cJSON_Delete(exchanges);
	free(what);
	return 0;
}

/* ---- what was recorded ---- */

static void remember_exchanges(struct contract *k, const struct scenario *s,
			       const struct cassette *tape)
{
	char *name = mem_printf("%s%s", s->collection->name, s->item ? ".item" : "");
	cJSON *list = cJSON_GetObjectItemCaseSensitive(k->recorded, name);
	const cJSON *x;

	if (!list)
		list = cJSON_AddArrayToObject(k->recorded, name);
	cJSON_ArrayForEach (x, cJSON_GetObjectItemCaseSensitive(tape->tree, "exchanges"))
		cJSON_AddItemToArray(list, cJSON_Duplicate(x, true));
	free(name);
}

static void remember_answer(struct contract *k, const char *name, const struct cassette *tape)
{
	struct buf why = BUF_INIT;
	cJSON *rows = NULL;

	if (!cJSON_GetObjectItemCaseSensitive(k->answers, name) &&
	    json_read_file(tape->rows_file, &rows, &why) == 0)
		cJSON_AddItemToObject(k->answers, name, rows);
	buf_clear(&why);
}

static void remember(struct contract *k, const char *file)
{
	struct cassette tape = { 0 };
	struct scenario s;
	struct buf why = BUF_INIT;

	if (cassette_read(file, &tape, &why) == 0 && !tape.auth &&
	    cassette_scenario(&tape, k->c->driver->manifest, &s, NULL) == 0) {
		if (s.lookup)
			remember_answer(k, s.lookup->name, &tape);
		else if (s.collection)
			remember_exchanges(k, &s, &tape);
	}
	cassette_clear(&tape);
	buf_clear(&why);
}

static int one_file(const char *file, void *arg)
{
	remember(arg, file);
	return 0;
}

int contract_check(struct caller *c, struct tape *t, const char *only, cJSON *steps,
		   struct err *err)
{
	struct contract k = { .c = c,
			      .steps = steps,
			      .recorded = cJSON_CreateObject(),
			      .answers = cJSON_CreateObject() };
	const struct rehearsal r = { .c = c,
				     .tape = t,
				     .only = only,
				     .pages = 1,
				     .size = ITEMS,
				     .parents = 1,
				     .done = look_at_scenario,
				     .arg = &k };
	struct err why = { 0 };
	cJSON *auth = step(steps, "auth");
	const cJSON *s;
	int rc;

	rc = cassettes_each(c->driver, one_file, &k);
	if (rc == 0 || rc == -ENOENT)
		rc = rehearse(&r, &why);
	if (c->driver->manifest->auth.kind == AUTH_NONE)
		note(auth, "none is needed");
	if (rc < 0 && (rc == -EACCES || why.class == ERR_AUTH)) {
		problem(auth, c->driver->manifest->partner, "%s", why.text);
		rc = 0;
	}
	cJSON_ArrayForEach (s, steps)
		k.failed += cJSON_GetObjectItemCaseSensitive(s, "problems")->child != NULL;
	cJSON_Delete(k.recorded);
	cJSON_Delete(k.answers);
	if (rc < 0 && err)
		*err = why;
	return rc < 0 ? rc : k.failed;
}
