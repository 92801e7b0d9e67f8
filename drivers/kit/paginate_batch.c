/* Many items by their ids, in one call. */
#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <stdio.h>

static void join(const char *const *ids, int n, const char *by, struct buf *out)
{
	for (int i = 0; i < n; i++) {
		if (i)
			buf_puts(out, by);
		buf_puts(out, ids[i]);
	}
}

int fetch_items(struct caller *c, const struct manifest_collection *coll, const char *const *ids,
		int n, struct page *out, struct err *err)
{
	const struct manifest_batch *b = &coll->batch;
	struct buf joined = BUF_INIT;
	struct page_query query;
	struct call_spec spec = {
		.endpoint = b->get, .method = "GET", .group = coll->group, .repeatable = true
	};
	int rc;

	page_init(out, 1);
	out->last = true;
	join(ids, n, b->join, &joined);
	rc = batch_query_init(&query, c, b, buf_str(&joined), err);
	if (rc == 0) {
		spec.path = buf_str(&query.path);
		spec.query = query.v;
		spec.n_query = query.n;
		rc = call(c, &spec, &out->result, err);
		out->observed_us = out->result.observed_us;
		if (rc == 0)
			rc = page_records(out, coll, err);
		out->text_bytes = (int64_t)out->result.http.body.len;
		if (rc == -EREMOTEIO || rc == -EBADMSG)
			call_exchange_print(c, &spec, &out->result, &out->exchange);
		page_query_clear(&query);
	}
	if (rc < 0 && err)
		snprintf(err->where, sizeof(err->where), "%s, %d from %.60s on", coll->name, n,
			 ids[0]);
	buf_clear(&joined);
	return rc;
}
