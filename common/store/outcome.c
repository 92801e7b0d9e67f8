#include "common/store/outcome.h"

#include <string.h>

static const char upsert_sql[] =
	"INSERT INTO outcomes (queue, job_id, task, integration_id, run_id, state, why, class, error,"
	" result, attempts, worker, first_seen, ended_at)"
	" SELECT DISTINCT ON (f.queue, f.job_id) f.queue, f.job_id, f.task, f.integration_id, f.run_id,"
	" f.state, f.why, f.class, f.error, f.result::json, f.attempts, f.worker, f.first_seen,"
	" f.ended_at"
	" FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::text[],"
	" $7::text[], $8::text[], $9::text[], $10::text[], $11::int8[], $12::text[],"
	" $13::timestamptz[], $14::timestamptz[]) WITH ORDINALITY"
	" AS f (queue, job_id, task, integration_id, run_id, state, why, class, error, result,"
	" attempts, worker, first_seen, ended_at, place)"
	" ORDER BY f.queue, f.job_id, f.place DESC"
	" ON CONFLICT (queue, job_id) DO UPDATE SET task = excluded.task, integration_id ="
	" excluded.integration_id, run_id = excluded.run_id, state = excluded.state, why ="
	" excluded.why, class = excluded.class, error = excluded.error, result = excluded.result,"
	" attempts = excluded.attempts, worker = excluded.worker, first_seen ="
	" excluded.first_seen, ended_at = excluded.ended_at";

const char *outcome_upsert_sql(void)
{
	return upsert_sql;
}

static void add_text(struct pg_array *a, const char *s)
{
	if (s && *s)
		pg_array_text(a, s, strlen(s));
	else
		pg_array_null(a);
}

static void add_number(struct pg_array *a, int64_t n)
{
	if (n)
		pg_array_int8(a, n);
	else
		pg_array_null(a);
}

enum {
	QUEUE,
	JOB,
	TASK,
	INTEGRATION,
	RUN,
	STATE,
	WHY,
	CLASS,
	ERROR,
	RESULT,
	ATTEMPTS,
	WORKER,
	FIRST_SEEN,
	ENDED,
	COUNT
};

static void add_row(struct pg_array a[COUNT], const struct outcome *o)
{
	add_text(&a[QUEUE], o->queue);
	add_text(&a[JOB], o->job_id);
	add_text(&a[TASK], o->task);
	add_number(&a[INTEGRATION], o->integration_id);
	add_number(&a[RUN], o->run_id);
	add_text(&a[STATE], o->state);
	add_text(&a[WHY], o->why);
	add_text(&a[CLASS], o->class);
	add_text(&a[ERROR], o->error);
	add_text(&a[RESULT], o->result);
	pg_array_int8(&a[ATTEMPTS], o->attempts);
	add_text(&a[WORKER], o->worker);
	pg_array_time_us(&a[FIRST_SEEN], o->first_seen_ms * 1000);
	pg_array_time_us(&a[ENDED], o->ended_ms * 1000);
}

void outcome_upsert_params(struct pg_params *out, const struct outcome *v, int n)
{
	struct pg_array a[COUNT];

	for (int c = 0; c < COUNT; c++)
		pg_array_init(&a[c], c == INTEGRATION || c == RUN || c == ATTEMPTS ? PG_INT8
				     : c >= FIRST_SEEN                             ? PG_TIMESTAMPTZ
										   : PG_TEXT);
	for (int i = 0; i < n; i++)
		add_row(a, &v[i]);
	for (int c = 0; c < COUNT; c++)
		pg_array_param(out, &a[c]);
}
