#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/call_kept.h"

/* Where the manifest says; else at the root, or wrapped like the many.  A list of one is the one. */
static const cJSON *item_in(const cJSON *root, const struct manifest_collection *coll)
{
	const char *at = coll->detail_records;
	const cJSON *v;

	if (!root || (!at && (!coll->id || json_path(root, coll->id))))
		return cJSON_IsObject(root) ? root : NULL;
	if (!at && coll->records && !strchr(coll->records, '*'))
		at = coll->records;
	v = at ? json_path(root, at) : NULL;
	if (cJSON_IsArray(v))
		v = v->child;
	return cJSON_IsObject(v) && (!coll->id || json_path(v, coll->id)) ? v : NULL;
}

int fetch_item(struct caller *c, const struct manifest_collection *coll, const char *external_id,
	       struct page *out, struct err *err)
{
	struct call_spec spec = {
		.endpoint = coll->detail, .method = "GET", .group = coll->group, .repeatable = true
	};
	struct page_query query;
	const cJSON *item;
	int rc;

	page_init(out, 1);
	out->last = true;
	if (!coll->detail)
		return err_set(err, -EINVAL, ERR_BAD_JOB, "detail",
			       "%s has no \"detail\": one item cannot be fetched alone",
			       coll->name);
	rc = item_query_init(&query, c, coll, external_id, err);
	if (rc == 0) {
		spec.path = buf_str(&query.path);
		spec.query = query.v;
		spec.n_query = query.n;
		rc = coll->detail_ttl_ms ? call_kept(c, &spec, coll->name, coll->detail_ttl_ms,
						     &out->result, err)
					 : call(c, &spec, &out->result, err);
		out->observed_us = out->result.observed_us;
		out->text_bytes = (int64_t)out->result.http.body.len;
		item = rc == 0 ? item_in(out->result.json, coll) : NULL;
		if (rc == 0 && !item)
			rc = err_set(err, -EBADMSG, ERR_DATA, "records",
				     "the answer holds no item with an id at \"%s\"%s%s",
				     coll->id ? coll->id : "@", coll->detail_records ? " in " : "",
				     coll->detail_records ? coll->detail_records : "");
		if (rc == 0) {
			out->records = mem_alloc(sizeof(*out->records));
			out->records[out->n++] = item;
		}
		if (call_found_none(rc, &out->result, err)) {
			rc = -ENOENT;
			if (err && err->action == ACT_NOT_THERE)
				err->action = ACT_NONE; /* this was it */
		}
		if (rc == -EREMOTEIO || rc == -EBADMSG)
			call_exchange_print(c, &spec, &out->result, &out->exchange);
		page_query_clear(&query);
	}
	if (rc < 0 && err)
		snprintf(err->where, sizeof(err->where), "%s %.60s", coll->name, external_id);
	return rc;
}
