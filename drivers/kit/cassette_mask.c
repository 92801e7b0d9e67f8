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

static void mask_item(const struct manifest *m, const struct manifest_collection *coll,
		      const cJSON *item)
{
	for (int i = 0; i < coll->n_personal; i++)
		blank_path(item, coll->personal[i]);
	for (int i = 0; i < m->n_collections; i++) {
		const struct manifest_collection *e = &m->collections[i];
		const cJSON *child;

		if (!e->embedded || !e->n_personal || strcmp(e->each, coll->name) != 0)
			continue;
		cJSON_ArrayForEach (child, json_path(item, e->embedded))
			mask_item(m, e, child);
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

	mask_item(k->m, k->coll, item);
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

/* Each text that blanking changed between two trees of one shape, wherever it stands in a body that is no JSON. */
static void replace_changed(const cJSON *was, const cJSON *is, struct buf *text)
{
	for (; was && is; was = was->next, is = is->next) {
		if (cJSON_IsString(was) && strlen(was->valuestring) >= SHORT_BYTES &&
		    strcmp(was->valuestring, is->valuestring) != 0)
			replace_all(text, was->valuestring, is->valuestring);
		replace_changed(was->child, is->child, text);
	}
}

static void mask_decoded(const struct driver *d, struct masking *k, const cJSON *exchange)
{
	cJSON *is = NULL, *was, *body;
	struct buf text = BUF_INIT;

	(void)answer_of(d, exchange, &is);
	if (!is)
		return;
	was = cJSON_Duplicate(is, true);
	items_in(k->coll, is, mask_record, k);
	body = cJSON_GetObjectItemCaseSensitive(json_path(exchange, "response"), "text");
	buf_puts(&text, body->valuestring);
	replace_changed(was, is, &text);
	free(body->valuestring);
	body->valuestring = buf_detach(&text);
	cJSON_Delete(was);
	cJSON_Delete(is);
}

void cassette_mask(const struct driver *d, const struct manifest_collection *coll,
		   const cJSON *exchanges)
{
	struct masking k = { d->manifest, coll };
	const cJSON *x;

	cJSON_ArrayForEach (x, exchanges) {
		if (json_path(x, "response.json"))
			cassette_items(d, coll, x, mask_record, &k);
		else
			mask_decoded(d, &k, x);
	}
}
