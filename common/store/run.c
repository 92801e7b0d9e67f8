#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/store/query.h"
#include "common/store/store.h"

#define BLOCK 200     /* as the sequence's INCREMENT BY */
#define BLOCKS_MAX 16 /* of one question, when they go fast */
#define FAST_MS 1000

/* Ids kept in the process.  One asks at a time, or all who start in one claim ask, each with a commit; the faster they go
 * the more blocks a question brings, and the next are asked for before these are at an end, or all jobs would stand still for it. */
static struct {
	int64_t next, end;
	int64_t blocks[2 * BLOCKS_MAX]; /* a ring of their first ids */
	unsigned first;
	int n, want, waiting;
	int64_t asked_ms;
	struct gate gate;
	bool ready, ahead; /* ahead: asked for, nobody waits */
} ids;

static void take_block(void)
{
	ids.next = ids.blocks[ids.first++ % ARRAY_LEN(ids.blocks)];
	ids.end = ids.next + BLOCK;
	ids.n--;
}

static const char ids_sql[] = "SELECT nextval('run_ids') FROM generate_series(1, $1)";

static void ids_ask(struct pg_params *params)
{
	int64_t now = loop_now_ms();
	bool fast = ids.asked_ms && now - ids.asked_ms < FAST_MS;

	ids.want = fast ? 2 * ids.want : 1;
	if (ids.want <= ids.waiting / BLOCK)
		ids.want = ids.waiting / BLOCK + 1;
	if (ids.want > BLOCKS_MAX)
		ids.want = BLOCKS_MAX;
	ids.asked_ms = now;
	pg_params_init(params);
	pg_int(params, ids.want);
}

static void ids_take(PGresult *res)
{
	for (int i = 0; i < PQntuples(res) && ids.n < (int)ARRAY_LEN(ids.blocks); i++)
		ids.blocks[(ids.first + ids.n++) % ARRAY_LEN(ids.blocks)] = pg_get_int(res, i, 0);
	PQclear(res);
}

static int load_ids(struct pg *p, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	ids_ask(&params);
	rc = query(p, ids_sql, &params, &res, err);
	pg_params_clear(&params);
	if (rc == 0)
		ids_take(res);
	return rc;
}

static void on_ahead(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	ids.ahead = false;
	if (rc == 0)
		ids_take(results[0]);
}

/* An answer that does not come is asked for again by who has no id left. */
static void load_ahead(struct pg *p)
{
	struct pg_params params;
	struct pg_statement st = { ids_sql, &params };

	if (ids.ahead || ids.n * BLOCK + ids.end - ids.next > ids.want * BLOCK / 2)
		return;
	ids.ahead = true;
	ids_ask(&params);
	pg_send(p, &st, 1, on_ahead, NULL);
	pg_params_clear(&params);
}

static int next_block(struct pg *p, struct err *err)
{
	int rc;

	ids.waiting++;
	rc = gate_enter(&ids.gate, "run id", CO_NO_DEADLINE);
	ids.waiting--;
	if (rc < 0)
		return rc;
	if (ids.next >= ids.end && !ids.n)
		rc = load_ids(p, err);
	if (rc == 0 && ids.next >= ids.end && ids.n)
		take_block();
	gate_leave(&ids.gate);
	return rc;
}

/* By the index of started_at: what began since one job did. */
int run_find(struct pg *p, const char *task, const char *job_id, int64_t since_ms, int64_t *id,
	     bool *done, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, task);
	pg_text(&params, job_id);
	pg_int(&params, since_ms);
	rc = query(p,
		   "SELECT id, (state = 'done')::int FROM runs WHERE task = $1 AND job_id = $2"
		   " AND started_at >= to_timestamp($3 / 1000.0) ORDER BY id DESC LIMIT 1",
		   &params, &res, err);
	pg_params_clear(&params);
	if (rc < 0)
		return rc;
	*id = PQntuples(res) ? pg_get_int(res, 0, 0) : 0;
	*done = *id && pg_get_int(res, 0, 1);
	PQclear(res);
	return 0;
}

int run_new_id(struct pg *p, int64_t *id, struct err *err)
{
	if (!ids.ready)
		gate_init(&ids.gate, 1);
	ids.ready = true;
	while (ids.next >= ids.end) {
		int rc = next_block(p, err);

		if (rc < 0)
			return rc;
	}
	*id = ids.next++;
	load_ahead(p);
	return 0;
}

/* A run that is done stays so: the last report of an attempt that lost its job must not open it
 * again. */
static const char upsert_sql[] =
	"INSERT INTO runs AS r (id, root_id, integration_id, task, collection, mode, job_id,"
	" worker, state, note, started_at,"
	" finished_at, total, processed, added, updated, unchanged, stale, undeleted, deleted,"
	" failed, pages, calls, worker_peak_bytes)"
	" SELECT DISTINCT ON (f.id) f.id, f.root_id, f.integration_id, f.task, f.collection,"
	" f.mode, f.job_id, f.worker,"
	" f.state, f.note, f.started_at, f.finished_at, f.total, f.processed, f.added, f.updated,"
	" f.unchanged, f.stale,"
	" f.undeleted, f.deleted, f.failed, f.pages, f.calls, f.worker_peak_bytes"
	" FROM (SELECT generate_subscripts($1::int8[], 1) AS place, unnest($1::int8[]) AS id,"
	" unnest($2::int8[]) AS root_id, unnest($3::int8[]) AS integration_id,"
	" unnest($4::text[]) AS task, unnest($5::text[]) AS collection,"
	" unnest($6::text[]) AS mode, unnest($7::text[]) AS job_id,"
	" unnest($8::text[]) AS worker, unnest($9::text[]) AS state,"
	" unnest($10::text[]) AS note, unnest($11::timestamptz[]) AS started_at,"
	" unnest($12::timestamptz[]) AS finished_at, unnest($13::int8[]) AS total,"
	" unnest($14::int8[]) AS processed, unnest($15::int8[]) AS added,"
	" unnest($16::int8[]) AS updated, unnest($17::int8[]) AS unchanged,"
	" unnest($18::int8[]) AS stale, unnest($19::int8[]) AS undeleted,"
	" unnest($20::int8[]) AS deleted, unnest($21::int8[]) AS failed,"
	" unnest($22::int8[]) AS pages, unnest($23::int8[]) AS calls,"
	" unnest($24::int8[]) AS worker_peak_bytes) AS f"
	" ORDER BY f.id, f.place DESC"
	" ON CONFLICT (id) DO UPDATE SET root_id = excluded.root_id, integration_id ="
	" excluded.integration_id,"
	" task = excluded.task, collection = excluded.collection, mode = excluded.mode, job_id ="
	" excluded.job_id,"
	" worker = excluded.worker, state = excluded.state, note = excluded.note, started_at ="
	" excluded.started_at,"
	" finished_at = excluded.finished_at, updated_at = now(), total = excluded.total,"
	" processed = excluded.processed,"
	" added = excluded.added, updated = excluded.updated, unchanged = excluded.unchanged,"
	" stale = excluded.stale,"
	" undeleted = excluded.undeleted, deleted = excluded.deleted, failed = excluded.failed,"
	" pages = excluded.pages,"
	" calls = excluded.calls,"
	" worker_peak_bytes = greatest(r.worker_peak_bytes, excluded.worker_peak_bytes) WHERE r.state <> 'done' OR excluded.state = 'done'";

const char *run_upsert_sql(void)
{
	return upsert_sql;
}

static void add_ids(struct pg_params *out, const struct run *v, int n)
{
	struct pg_array id, root, integration;

	pg_array_init(&id, PG_INT8);
	pg_array_init(&root, PG_INT8);
	pg_array_init(&integration, PG_INT8);
	for (int i = 0; i < n; i++) {
		pg_array_int8(&id, v[i].id);
		pg_array_int8(&root, v[i].root_id ? v[i].root_id : v[i].id);
		if (v[i].integration_id)
			pg_array_int8(&integration, v[i].integration_id);
		else
			pg_array_null(&integration);
	}
	pg_array_param(out, &id);
	pg_array_param(out, &root);
	pg_array_param(out, &integration);
}

static void add_texts(struct pg_params *out, const struct run *v, int n, size_t member)
{
	struct pg_array a;

	pg_array_init(&a, PG_TEXT);
	for (int i = 0; i < n; i++) {
		const char *s;

		memcpy(&s, (const char *)&v[i] + member, sizeof(s));
		if (s)
			pg_array_text(&a, s, strlen(s));
		else
			pg_array_null(&a);
	}
	pg_array_param(out, &a);
}

static void add_times(struct pg_params *out, const struct run *v, int n)
{
	struct pg_array started, finished;

	pg_array_init(&started, PG_TIMESTAMPTZ);
	pg_array_init(&finished, PG_TIMESTAMPTZ);
	for (int i = 0; i < n; i++) {
		pg_array_time_us(&started, v[i].started_ms * 1000);
		if (v[i].finished_ms)
			pg_array_time_us(&finished, v[i].finished_ms * 1000);
		else
			pg_array_null(&finished);
	}
	pg_array_param(out, &started);
	pg_array_param(out, &finished);
}

static void add_counts(struct pg_params *out, const struct run *v, int n, size_t member)
{
	struct pg_array a;

	pg_array_init(&a, PG_INT8);
	for (int i = 0; i < n; i++) {
		int64_t c;

		memcpy(&c, (const char *)&v[i] + member, sizeof(c));
		if (c < 0)
			pg_array_null(&a); /* a total that is unknown */
		else
			pg_array_int8(&a, c);
	}
	pg_array_param(out, &a);
}

void run_upsert_params(struct pg_params *out, const struct run *v, int n)
{
	static const size_t texts[] = {
		offsetof(struct run, task),   offsetof(struct run, collection),
		offsetof(struct run, mode),   offsetof(struct run, job_id),
		offsetof(struct run, worker), offsetof(struct run, state),
		offsetof(struct run, note)
	};
	static const size_t counts[] = {
		offsetof(struct run, total),
		offsetof(struct run, processed),
		offsetof(struct run, counts.added),
		offsetof(struct run, counts.updated),
		offsetof(struct run, counts.unchanged),
		offsetof(struct run, counts.stale),
		offsetof(struct run, counts.undeleted),
		offsetof(struct run, counts.deleted),
		offsetof(struct run, counts.failed),
		offsetof(struct run, counts.pages),
		offsetof(struct run, counts.calls),
		offsetof(struct run, worker_peak_bytes),
	};

	add_ids(out, v, n);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		add_texts(out, v, n, texts[i]);
	add_times(out, v, n);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		add_counts(out, v, n, counts[i]);
}
