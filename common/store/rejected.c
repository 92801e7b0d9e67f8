#include <string.h>

#include "common/store/query.h"
#include "common/store/store.h"

static const char insert_sql[] =
	"INSERT INTO rejected_items (integration_id, run_id, job_id, collection, page,"
	" external_id, parent_id, field, reason, item, fingerprint)"
	" SELECT f.integration_id, f.run_id, f.job_id, f.collection, f.page, f.external_id,"
	" f.parent_id, f.field, f.reason, f.item::json,"
	" md5(concat_ws(e'\\x1f', f.integration_id, coalesce(f.import_id, f.run_id::text), f.collection,"
	" coalesce(f.external_id, f.page::text), f.parent_id, f.field, f.reason, f.item))::uuid"
	" FROM unnest($1::int8[], $2::int8[], $3::text[], $4::text[], $5::int8[], $6::text[],"
	" $7::text[], $8::text[], $9::text[], $10::text[], $11::text[])"
	" AS f (integration_id, run_id, job_id, collection, page, external_id, parent_id, field,"
	" reason, item, import_id)"
	" ON CONFLICT (fingerprint) DO NOTHING";

const char *rejected_insert_sql(void)
{
	return insert_sql;
}

static void add_number(struct pg_array *a, int64_t n)
{
	if (n)
		pg_array_int8(a, n);
	else
		pg_array_null(a);
}

void rejected_insert_params(struct pg_params *out, const struct rejected *v, int n)
{
	enum {
		INTEGRATION,
		RUN,
		JOB,
		COLLECTION,
		PAGE,
		EXTERNAL_ID,
		PARENT_ID,
		FIELD,
		REASON,
		ITEM,
		IMPORT_ID,
		COUNT
	};
	struct pg_array a[COUNT];

	for (int c = 0; c < COUNT; c++)
		pg_array_init(&a[c], c == INTEGRATION || c == RUN || c == PAGE ? PG_INT8 : PG_TEXT);
	for (int i = 0; i < n; i++) {
		pg_array_int8(&a[INTEGRATION], v[i].integration_id);
		add_number(&a[RUN], v[i].run_id);
		query_add_text(&a[JOB], v[i].job_id);
		query_add_text(&a[COLLECTION], v[i].collection);
		pg_array_int8(&a[PAGE], v[i].page);
		query_add_text(&a[EXTERNAL_ID], v[i].external_id);
		query_add_text(&a[PARENT_ID], v[i].parent_id);
		query_add_text(&a[FIELD], v[i].field);
		query_add_text(&a[REASON], v[i].reason);
		query_add_json(&a[ITEM], v[i].item_json);
		query_add_text(&a[IMPORT_ID], v[i].import_id);
	}
	for (int c = 0; c < COUNT; c++)
		pg_array_param(out, &a[c]);
}
