#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/zone.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/subst.h"

/* In a zone, with its offset: a form with % may say %z, and iso8601 does. */
static void format_there(const char *format, const struct zone *tz, int64_t us, struct buf *out)
{
	int64_t off = zone_offset_s(tz, us / 1000000), ms = us / 1000 % 1000;
	time_t s = (time_t)(us / 1000000 + off);
	char text[128], fraction[8] = "";
	struct tm tm;

	if (!gmtime_r(&s, &tm))
		return;
	tm.tm_gmtoff = off;
	if (strchr(format, '%')) {
		if (strftime(text, sizeof(text), format, &tm) > 0)
			buf_puts(out, text);
		return;
	}
	if (strcmp(format, "iso8601_ms") == 0)
		snprintf(fraction, sizeof(fraction), ".%03d", (int)ms);
	if (strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) > 0)
		buf_printf(out, "%s%s%c%02d:%02d", text, fraction, off < 0 ? '-' : '+',
			   (int)(llabs(off) / 3600), (int)(llabs(off) / 60 % 60));
}

void format_time(const char *format, int64_t us, struct buf *out)
{
	char text[128];
	time_t s = (time_t)(us / 1000000);
	struct tm tm;

	if (!format)
		format = "iso8601";
	if (strcmp(format, "epoch") == 0) {
		buf_putint(out, us / 1000000);
		return;
	}
	if (strcmp(format, "epoch_ms") == 0) {
		buf_putint(out, us / 1000);
		return;
	}
	if (strcmp(format, "iso8601_ms") == 0) {
		buf_puts(out, clock_iso(us / 1000, text));
		return;
	}
	if (gmtime_r(&s, &tm) &&
	    strftime(text, sizeof(text), strchr(format, '%') ? format : "%Y-%m-%dT%H:%M:%SZ", &tm) >
		    0)
		buf_puts(out, text);
}

struct names {
	struct caller *c;
	const struct pager_options *o; /* NULL: of items by their ids */
	const char *id, *ids;          /* ids: joined */
	struct buf keep;
};

static const char *parent_value(struct names *l, const char *name)
{
	const cJSON *v = l->o->parent ? cJSON_GetObjectItemCaseSensitive(l->o->parent, name) : NULL;

	if (strcmp(name, "id") == 0 && l->o->parent_id)
		return l->o->parent_id;
	return v && json_scalar_text(v, &l->keep) ? buf_str(&l->keep) : NULL;
}

static const char *time_value(struct names *l, int64_t us)
{
	const struct manifest_incremental *inc = &l->o->collection->incremental;
	const char *format = inc->format ? inc->format : "iso8601";

	if (us < 0)
		us = 0;
	if (inc->tz && strncmp(format, "epoch", 5) != 0)
		format_there(format, inc->tz, us, &l->keep);
	else
		format_time(format, us, &l->keep);
	return buf_str(&l->keep);
}

static const char *name_value(const char *name, void *arg)
{
	struct names *l = arg;

	buf_reset(&l->keep);
	if (strcmp(name, "id") == 0)
		return l->id;
	if (strcmp(name, "ids") == 0)
		return l->ids;
	if (strncmp(name, "cfg.", 4) == 0)
		return cfg_text(l->c->driver->manifest, l->c->integration, name + 4, &l->keep);
	if (!l->o)
		return NULL;
	if (strncmp(name, "parent.", 7) == 0)
		return parent_value(l, name + 7);
	if (strcmp(name, "since") == 0 && l->o->since_us > 0)
		return time_value(l,
				  l->o->since_us - l->o->collection->incremental.overlap_ms * 1000);
	if (strcmp(name, "until") == 0 && l->o->until_us)
		return time_value(l, l->o->until_us);
	if (strcmp(name, "now") == 0 || strcmp(name, "until") == 0)
		return time_value(l, door_asked_us(l->c->door));
	return NULL;
}

void page_query_clear(struct page_query *q)
{
	for (int i = 0; i < q->n; i++)
		free((char *)q->v[i].value);
	free(q->v);
	cJSON_Delete(q->body);
	buf_clear(&q->path);
	buf_clear(&q->tail);
	*q = (struct page_query){ 0 };
}

/* What looks like JSON is JSON: a quote in a value must not end its string. */
static enum subst_escape escape_for(const char *template)
{
	return template[0] == '[' || template[0] == '{' ? SUBST_JSON : SUBST_RAW;
}

static int add_value(struct page_query *q, const char *name, const char *template, struct names *l,
		     struct err *err)
{
	/* what joins ids may be quotes */
	enum subst_escape escape = l->ids ? SUBST_RAW : escape_for(template);
	struct buf value = BUF_INIT;
	int rc = subst(template, escape, name_value, l, &value, err);

	if (rc < 0) {
		buf_clear(&value);
		return -EINVAL;
	}
	q->v[q->n++] = (struct manifest_pair){ name, buf_detach(&value) };
	return 0;
}

/* With a cursor in the path the two sides of it are filled in. */
static int add_path(struct page_query *q, const struct manifest_collection *coll, struct names *l,
		    struct err *err)
{
	const char *template = coll->post ? coll->post : coll->get;
	const char *mark = coll->paging.in == PAGING_IN_PATH ? strstr(template, "{cursor}") : NULL;
	char *head = mark ? mem_strndup(template, (size_t)(mark - template)) : NULL;
	int rc = subst(head ? head : template, SUBST_PATH, name_value, l, &q->path, err);

	if (rc == 0 && mark)
		rc = subst(mark + strlen("{cursor}"), SUBST_PATH, name_value, l, &q->tail, err);
	free(head);
	return rc < 0 ? -EINVAL : 0;
}

/* What looks like JSON is JSON, and an epoch is a number. */
static cJSON *body_value(const struct manifest_incremental *inc, const struct buf *text)
{
	const char *s = buf_str(text);
	cJSON *v = NULL;

	if ((*s == '[' || *s == '{') && json_parse(s, text->len, text->len, &v, NULL) == 0)
		return v;
	if (inc->format && strncmp(inc->format, "epoch", 5) == 0 && *s &&
	    s[strspn(s, "0123456789")] == '\0')
		return cJSON_CreateNumber(strtod(s, NULL));
	return cJSON_CreateString(s);
}

static int add_body(struct page_query *q, const struct manifest_collection *coll, bool since,
		    struct names *l, struct err *err)
{
	const struct manifest_incremental *inc = &coll->incremental;
	const char *template = inc->value ? inc->value : "{since}";
	struct buf text = BUF_INIT;
	int rc = 0;

	if (coll->json)
		rc = subst_json(coll->json, name_value, l, NULL, &q->body, err);
	else
		q->body = cJSON_CreateObject();
	if (rc == 0 && since) {
		rc = subst(template, escape_for(template), name_value, l, &text, err);
		if (rc == 0)
			body_set(q->body, inc->param, body_value(inc, &text));
		buf_clear(&text);
	}
	return rc < 0 ? -EINVAL : 0;
}

int page_query_init(struct page_query *q, struct caller *c, const struct pager_options *o,
		    int extra, struct err *err)
{
	const struct manifest_collection *coll = o->collection;
	const struct manifest_incremental *inc = &coll->incremental;
	bool since = inc->on && inc->param && o->since_us > 0, in_query = since && !coll->post;
	struct names l = { .c = c, .o = o };
	int rc;

	*q = (struct page_query){ 0 };
	q->v = mem_zalloc((size_t)(coll->query.n + 1 + extra) * sizeof(*q->v));
	rc = add_path(q, coll, &l, err);
	for (int i = 0; i < coll->query.n && rc == 0; i++)
		if (!in_query || strcmp(coll->query.v[i].name, inc->param) != 0)
			rc = add_value(q, coll->query.v[i].name, coll->query.v[i].value, &l, err);
	if (rc == 0 && in_query)
		rc = add_value(q, inc->param, inc->value ? inc->value : "{since}", &l, err);
	if (rc == 0 && coll->post)
		rc = add_body(q, coll, since, &l, err);
	buf_clear(&l.keep);
	if (rc < 0)
		page_query_clear(q);
	return rc;
}

/* get and query with the names of l filled in. */
static int by_id(struct page_query *q, struct names *l, const char *get,
		 const struct manifest_pairs *query, struct err *err)
{
	int rc;

	*q = (struct page_query){ 0 };
	q->v = mem_zalloc((size_t)(query->n + 1) * sizeof(*q->v));
	rc = subst(get, SUBST_PATH, name_value, l, &q->path, err);
	for (int i = 0; i < query->n && rc == 0; i++)
		rc = add_value(q, query->v[i].name, query->v[i].value, l, err);
	buf_clear(&l->keep);
	if (rc < 0)
		page_query_clear(q);
	return rc < 0 ? -EINVAL : 0;
}

int item_query_init(struct page_query *q, struct caller *c, const struct manifest_collection *coll,
		    const char *id, struct err *err)
{
	struct names l = { .c = c, .id = id };

	return by_id(q, &l, coll->detail, &coll->detail_query, err);
}

int batch_query_init(struct page_query *q, struct caller *c, const struct manifest_batch *b,
		     const char *ids, struct err *err)
{
	struct names l = { .c = c, .ids = ids };

	return by_id(q, &l, b->get, &b->query, err);
}
