#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/subst.h"

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
	const struct pager_options *o; /* NULL: of one item */
	const char *id;
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
	format_time(l->o->collection->incremental.format, us > 0 ? us : 0, &l->keep);
	return buf_str(&l->keep);
}

static const char *name_value(const char *name, void *arg)
{
	struct names *l = arg;

	buf_reset(&l->keep);
	if (strcmp(name, "id") == 0)
		return l->id;
	if (strncmp(name, "cfg.", 4) == 0)
		return setting_text(l->c->integration, name + 4, &l->keep);
	if (!l->o)
		return NULL;
	if (strncmp(name, "parent.", 7) == 0)
		return parent_value(l, name + 7);
	if (strcmp(name, "since") == 0 && l->o->since_us > 0)
		return time_value(l,
				  l->o->since_us - l->o->collection->incremental.overlap_ms * 1000);
	if (strcmp(name, "now") == 0 || strcmp(name, "until") == 0)
		return time_value(l, door_asked_us(l->c->door));
	return NULL;
}

void page_query_clear(struct page_query *q)
{
	for (int i = 0; i < q->n; i++)
		free((char *)q->v[i].value);
	free(q->v);
	buf_clear(&q->path);
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
	struct buf value = BUF_INIT;
	int rc = subst(template, escape_for(template), name_value, l, &value, err);

	if (rc < 0) {
		buf_clear(&value);
		return -EINVAL;
	}
	q->v[q->n++] = (struct manifest_pair){ name, buf_detach(&value) };
	return 0;
}

int page_query_init(struct page_query *q, struct caller *c, const struct pager_options *o,
		    int extra, struct err *err)
{
	const struct manifest_collection *coll = o->collection;
	const struct manifest_incremental *inc = &coll->incremental;
	bool since = inc->on && inc->param && o->since_us > 0;
	struct names l = { c, o, NULL, BUF_INIT };
	int rc;

	*q = (struct page_query){ 0 };
	q->v = mem_zalloc((size_t)(coll->query.n + 1 + extra) * sizeof(*q->v));
	rc = subst(coll->get, SUBST_PATH, name_value, &l, &q->path, err) < 0 ? -EINVAL : 0;
	for (int i = 0; i < coll->query.n && rc == 0; i++)
		if (!since || strcmp(coll->query.v[i].name, inc->param) != 0)
			rc = add_value(q, coll->query.v[i].name, coll->query.v[i].value, &l, err);
	if (rc == 0 && since)
		rc = add_value(q, inc->param, inc->value ? inc->value : "{since}", &l, err);
	buf_clear(&l.keep);
	if (rc < 0)
		page_query_clear(q);
	return rc;
}

int item_path(struct caller *c, const struct manifest_collection *coll, const char *id,
	      struct buf *out, struct err *err)
{
	struct names l = { c, NULL, id, BUF_INIT };
	int rc = subst(coll->detail, SUBST_PATH, name_value, &l, out, err);

	buf_clear(&l.keep);
	return rc < 0 ? -EINVAL : 0;
}
