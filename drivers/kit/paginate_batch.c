/* Many items by their ids, in one call. */
#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/subst.h"

struct names {
	struct caller *c;
	const char *ids; /* joined */
	struct buf keep;
};

static const char *name_value(const char *name, void *arg)
{
	struct names *l = arg;

	buf_reset(&l->keep);
	if (strcmp(name, "ids") == 0)
		return l->ids;
	return strncmp(name, "cfg.", 4) == 0 ? setting_text(l->c->integration, name + 4, &l->keep)
					     : NULL;
}

static void join(const char *const *ids, int n, const char *by, struct buf *out)
{
	for (int i = 0; i < n; i++) {
		if (i)
			buf_puts(out, by);
		buf_puts(out, ids[i]);
	}
}

static void query_free(struct manifest_pair *v, int n)
{
	for (int i = 0; i < n; i++)
		free((char *)v[i].value);
	free(v);
}

/* The values are the caller's, with query_free. */
static int fill(const struct manifest_batch *b, struct names *l, struct buf *path,
		struct manifest_pair **query, int *n, struct err *err)
{
	struct manifest_pair *v = mem_zalloc((size_t)(b->query.n + 1) * sizeof(*v));
	int rc = subst(b->get, SUBST_PATH, name_value, l, path, err);

	*n = 0;
	for (int i = 0; i < b->query.n && rc == 0; i++) {
		struct buf value = BUF_INIT;

		rc = subst(b->query.v[i].value, SUBST_RAW, name_value, l, &value, err);
		if (rc == 0)
			v[(*n)++] =
				(struct manifest_pair){ b->query.v[i].name, buf_detach(&value) };
		buf_clear(&value);
	}
	*query = v;
	return rc < 0 ? -EINVAL : 0;
}

int fetch_items(struct caller *c, const struct manifest_collection *coll, const char *const *ids,
		int n, struct page *out, struct err *err)
{
	const struct manifest_batch *b = &coll->batch;
	struct buf joined = BUF_INIT, path = BUF_INIT;
	struct names l = { .c = c };
	struct call_spec spec = {
		.endpoint = b->get, .method = "GET", .group = coll->group, .repeatable = true
	};
	struct manifest_pair *query = NULL;
	int rc;

	page_init(out, 1);
	out->last = true;
	join(ids, n, b->join, &joined);
	l.ids = buf_str(&joined);
	rc = fill(b, &l, &path, &query, &spec.n_query, err);
	if (rc == 0) {
		spec.path = buf_str(&path);
		spec.query = query;
		rc = call(c, &spec, &out->result, err);
		out->observed_us = out->result.observed_us;
		if (rc == 0)
			rc = page_records(out, coll, err);
		out->text_bytes = (int64_t)out->result.http.body.len;
		if (rc == -EREMOTEIO || rc == -EBADMSG)
			call_exchange_print(c, &spec, &out->result, &out->exchange);
	}
	if (rc < 0 && err)
		snprintf(err->where, sizeof(err->where), "%s, %d from %.60s on", coll->name, n,
			 ids[0]);
	query_free(query, spec.n_query);
	buf_clear(&l.keep);
	buf_clear(&joined);
	buf_clear(&path);
	return rc;
}
