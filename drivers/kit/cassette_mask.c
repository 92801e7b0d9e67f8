/* What a cassette must not tell of people. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/cassette.h"
#include "drivers/kit/decode.h"

#define SHORT_BYTES \
	3 /* shorter values are not looked for in bodies that are no JSON: they are in every word */

/* Letters become x, digits 1: a date stays a date, an address of mail one of mail. */
static void blank_text(char *s)
{
	int64_t us;
	bool is_time = clock_parse_time(s, &us, NULL) == 0;
	char *to = s;

	for (const unsigned char *p = (unsigned char *)s; *p; p++) {
		if (isdigit(*p))
			*to++ = '1';
		else if (*p >= 0x80 && (*p & 0xc0) == 0x80)
			continue; /* the rest of a character that has its x */
		else if (*p >= 0x80 || (isalpha(*p) && !is_time))
			*to++ = isupper(*p) ? 'X' : 'x';
		else
			*to++ = (char)*p;
	}
	*to = '\0';
}

static void blank(cJSON *v)
{
	if (cJSON_IsString(v))
		blank_text(v->valuestring);
	else if (cJSON_IsNumber(v))
		cJSON_SetNumberValue(v, 0);
	for (cJSON *c = v->child; c; c = c->next)
		blank(c);
}

static int blank_one(const cJSON *v, const char *key, int index, void *arg)
{
	blank((cJSON *)v); /* the tree is ours */
	return 0;
}

static void blank_path(const cJSON *item, const char *path)
{
	const cJSON *v;

	if (strchr(path, '*')) {
		(void)json_path_each(item, path, blank_one, NULL);
		return;
	}
	v = json_path(item, path);
	if (v)
		blank((cJSON *)v);
}

void item_mask(const struct manifest *m, const struct manifest_collection *coll, const cJSON *item)
{
	for (int i = 0; i < coll->n_personal; i++)
		blank_path(item, coll->personal[i]);
	for (int i = 0; i < m->n_collections; i++) {
		const struct manifest_collection *e = &m->collections[i];
		const cJSON *child;

		if (!e->embedded || !e->n_personal || strcmp(e->each, coll->name) != 0)
			continue;
		cJSON_ArrayForEach (child, json_path(item, e->embedded))
			item_mask(m, e, child);
	}
}

/* ---- the items of an answer ---- */

static int decoded(const struct driver *d, const char *text, struct buf *out)
{
	struct err why;

	if (d->hooks && d->hooks->decode_body)
		return d->hooks->decode_body(text, strlen(text), out, &why);
	if (d->manifest->format == FORMAT_JSON)
		return -EINVAL;
	return decode_answer(d->manifest, text, strlen(text), CASSETTE_MAX_BYTES, out, &why);
}

/* What the manifest's paths address.  *owned is the caller's, where it had to be made. */
static const cJSON *answer_of(const struct driver *d, const cJSON *exchange, cJSON **owned)
{
	const cJSON *json = json_path(exchange, "response.json");
	const char *text = json_str(exchange, "response.text");
	struct buf out = BUF_INIT;

	if (text && decoded(d, text, &out) == 0 && out.len &&
	    json_parse(buf_str(&out), out.len, CASSETTE_MAX_BYTES, owned, NULL) == 0)
		json = *owned;
	buf_clear(&out);
	return json;
}

static void items_in(const struct manifest_collection *coll, const cJSON *json, json_each_fn fn,
		     void *arg)
{
	const char *path = coll->records ? coll->records : "@";
	const cJSON *list, *item;
	int i = 0;

	if (strchr(path, '*')) {
		(void)json_path_each(json, path, fn, arg);
		return;
	}
	list = json_path(json, path);
	if (cJSON_IsArray(list)) {
		cJSON_ArrayForEach (item, list)
			(void)fn(item, NULL, i++, arg);
	} else if (cJSON_IsObject(list) && json_path(list, coll->id)) {
		(void)fn(list, NULL, 0, arg); /* one item, wrapped like the many */
	} else if (cJSON_IsObject(json) && json_path(json, coll->id)) {
		(void)fn(json, NULL, 0, arg);
	}
}

void cassette_items(const struct driver *d, const struct manifest_collection *coll,
		    const cJSON *exchange, json_each_fn fn, void *arg)
{
	cJSON *owned = NULL;
	const cJSON *json = answer_of(d, exchange, &owned);

	if (json)
		items_in(coll, json, fn, arg);
	cJSON_Delete(owned);
}

/* ---- masking ---- */

struct masking {
	const struct manifest *m;
	const struct manifest_collection *coll;
};

static int mask_record(const cJSON *item, const char *key, int index, void *arg)
{
	const struct masking *k = arg;

	item_mask(k->m, k->coll, item);
	return 0;
}

static void replace_all(struct buf *text, const char *what, const char *with)
{
	struct buf out = BUF_INIT;
	const char *at = buf_str(text), *hit;

	while ((hit = strstr(at, what))) {
		buf_append(&out, at, (size_t)(hit - at));
		buf_puts(&out, with);
		at = hit + strlen(what);
	}
	buf_puts(&out, at);
	buf_clear(text);
	*text = out;
}

/* As a text stands in a body of the format; false: just as it is. */
static bool escaped(enum body_format f, const char *s, struct buf *out)
{
	const char *special = f == FORMAT_XML ? "&<>" : f == FORMAT_CSV ? "\"" : "";
	bool any = false;

	for (; *s; s++) {
		bool hit = strchr(special, *s) != NULL;

		any |= hit;
		if (!hit)
			buf_putc(out, *s);
		else
			buf_puts(out, *s == '&'   ? "&amp;"
				      : *s == '<' ? "&lt;"
				      : *s == '>' ? "&gt;"
						  : "\"\"");
	}
	return any;
}

/* A text that blanking changes. */
struct change {
	const char *was, *is;
};
struct changes {
	struct change *v;
	int n;
};

/* Between two trees of one shape. */
static void find_changes(const cJSON *was, const cJSON *is, struct changes *out)
{
	for (; was && is; was = was->next, is = is->next) {
		if (cJSON_IsString(was) && strlen(was->valuestring) >= SHORT_BYTES &&
		    strcmp(was->valuestring, is->valuestring) != 0) {
			out->v = mem_realloc(out->v, (size_t)(out->n + 1) * sizeof(*out->v));
			out->v[out->n++] = (struct change){ was->valuestring, is->valuestring };
		}
		find_changes(was->child, is->child, out);
	}
}

/* Of two that begin alike the longer one goes first, or its end would stay. */
static int by_length(const void *a, const void *b)
{
	size_t x = strlen(((const struct change *)a)->was),
	       y = strlen(((const struct change *)b)->was);

	return x < y ? 1 : x > y ? -1 : 0;
}

/* Wherever they stand in a body that is no JSON. */
static void replace_changes(enum body_format f, struct changes *c, struct buf *text)
{
	if (c->n)
		qsort(c->v, (size_t)c->n, sizeof(*c->v), by_length);
	for (int i = 0; i < c->n; i++) {
		struct buf was = BUF_INIT, is = BUF_INIT;

		replace_all(text, c->v[i].was, c->v[i].is);
		if (escaped(f, c->v[i].was, &was)) {
			(void)escaped(f, c->v[i].is, &is);
			replace_all(text, was.data, buf_str(&is));
		}
		buf_clear(&was);
		buf_clear(&is);
	}
}

/* What blanking changes in the tree of an answer.  The trees are the caller's; false: there is none. */
static bool changes_in(const struct driver *d, struct masking *k, const cJSON *exchange,
		       cJSON *trees[2], struct changes *out)
{
	trees[1] = NULL;
	(void)answer_of(d, exchange, &trees[1]);
	if (!trees[1])
		return false;
	trees[0] = cJSON_Duplicate(trees[1], true);
	items_in(k->coll, trees[1], mask_record, k);
	find_changes(trees[0], trees[1], out);
	return true;
}

static void changes_clear(cJSON *trees[2], struct changes *c)
{
	cJSON_Delete(trees[0]);
	cJSON_Delete(trees[1]);
	free(c->v);
}

/* Written in a way that was not looked for, it is there still. */
static bool nothing_left(const struct driver *d, struct masking *k, const cJSON *exchange)
{
	cJSON *trees[2] = { NULL, NULL };
	struct changes left = { NULL, 0 };
	bool ok = changes_in(d, k, exchange, trees, &left) && left.n == 0;

	changes_clear(trees, &left);
	return ok;
}

static bool mask_decoded(const struct driver *d, struct masking *k, const cJSON *exchange)
{
	cJSON *trees[2] = { NULL, NULL }, *body;
	struct changes changes = { NULL, 0 };
	struct buf text = BUF_INIT;
	bool any = changes_in(d, k, exchange, trees, &changes) && changes.n > 0;

	if (any) {
		body = cJSON_GetObjectItemCaseSensitive(json_path(exchange, "response"), "text");
		buf_puts(&text, body->valuestring);
		replace_changes(d->manifest->format, &changes, &text);
		free(body->valuestring);
		body->valuestring = buf_detach(&text);
	}
	changes_clear(trees, &changes);
	return !any || nothing_left(d, k, exchange);
}

static bool has_personal(const struct manifest *m, const struct manifest_collection *coll)
{
	for (int i = 0; i < m->n_collections; i++) {
		const struct manifest_collection *e = &m->collections[i];

		if (e->n_personal &&
		    (e == coll || (e->embedded && strcmp(e->each, coll->name) == 0)))
			return true;
	}
	return false;
}

bool cassette_mask(const struct driver *d, const struct manifest_collection *coll,
		   const cJSON *exchanges)
{
	struct masking k = { d->manifest, coll };
	bool ok = true;
	const cJSON *x;

	if (!has_personal(d->manifest, coll))
		return true;
	cJSON_ArrayForEach (x, exchanges) {
		if (json_path(x, "response.json"))
			cassette_items(d, coll, x, mask_record, &k);
		else if (json_path(x, "response.base64"))
			ok = false; /* nobody can look into it */
		else
			ok = mask_decoded(d, &k, x) && ok;
	}
	return ok;
}
