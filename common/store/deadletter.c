#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/request.h"
#include "common/store/store.h"

#define LETTER_MAX_BYTES (8 * 1024 * 1024) /* a payload of 1 MiB, escaped, and the exchange */
#define LIST_DEFAULT 100
#define UNREADABLE \
	"no letter" /* its rule: its time is when it was copied, so it never counts as newer */

enum {
	ID,
	PARTNER,
	INTEGRATION,
	TASK,
	CLASS,
	RULE,
	ERROR,
	AT_STEP,
	ATTEMPTS,
	WORKER,
	LANE,
	FAILED_AT,
	LETTER,
	JOB, /* whose outcome is to be kept, else NULL */
	FIRST_SEEN,
	EVENT_ID, /* of the partner's event that its job was of, else NULL */
	HEADER,   /* the job's id in its queue; of what may be an outbound request */
	ORIGIN,   /* before any replay */
	REQUEST,  /* that it was queued for, and … */
	TIMES,    /* … the how manieth time; else NULL */
	COLUMNS
};

/* A letter of a job that died again after its replay has the same id and a later time: it is
 * dead once more.  Anything else that is there already is left alone.
 * Who ended no job of its own (a crashed process, an operator) wrote no outcome: that is made up for here, and so is what became of
 * a partner's event, where no attempt at it could say so itself, and once, when the letter is new: a later replay does not end with it.
 * So too an outbound request whose job died before it came to its row, or crashed its processes: it has failed, or nobody knows, and then
 * a person is told. */
static const char copy_sql[] =
	"WITH f AS (SELECT * FROM unnest($1::text[], $2::text[], $3::int8[], $4::text[],"
	" $5::text[], $6::text[], $7::text[], $8::text[], $9::int8[],"
	" $10::text[], $11::text[], $12::timestamptz[], $13::text[], $14::text[], $15::timestamptz[],"
	" $16::text[], $17::text[], $18::text[], $19::int8[], $20::int8[])"
	" AS f (id, partner, integration_id, task, class, rule, error, at_step, attempts, worker,"
	" lane, failed_at, letter, job, first_seen, event_id, header, origin, request, times)),"
	" ended AS (INSERT INTO outcomes AS o (queue, job_id, task, integration_id, state, why,"
	" class, error, attempts, worker, first_seen, ended_at)"
	" SELECT DISTINCT ON (f.partner, f.job) f.partner, f.job, f.task, f.integration_id,"
	" CASE WHEN f.class IN ('cancelled', 'purged') THEN 'dropped' ELSE 'dead' END,"
	" CASE WHEN f.class IN ('cancelled', 'purged') THEN f.class END,"
	" CASE WHEN f.class NOT IN ('cancelled', 'purged') THEN f.class END, f.error,"
	" coalesce(f.attempts, 0), f.worker, coalesce(f.first_seen, f.failed_at), f.failed_at"
	" FROM f WHERE f.job IS NOT NULL ORDER BY f.partner, f.job, f.failed_at DESC"
	" ON CONFLICT (queue, job_id) DO UPDATE SET task = excluded.task, integration_id ="
	" excluded.integration_id, run_id = NULL, state = excluded.state, why = excluded.why,"
	" class = excluded.class, error = excluded.error, result = NULL, attempts ="
	" excluded.attempts, worker = excluded.worker, first_seen = excluded.first_seen, ended_at"
	" = excluded.ended_at WHERE excluded.ended_at > o.ended_at AND (o.state, o.class, o.why)"
	" IS DISTINCT FROM (excluded.state, excluded.class, excluded.why)),"
	" put AS (INSERT INTO dead_letters AS d (id, partner, integration_id, task, class, rule, error,"
	" at_step, attempts, worker, lane, failed_at, letter)"
	" SELECT DISTINCT ON (f.id) f.id, f.partner, f.integration_id, f.task, f.class, f.rule,"
	" f.error, f.at_step, f.attempts, f.worker,"
	" f.lane, f.failed_at, f.letter::json"
	" FROM f"
	" ORDER BY f.id, f.failed_at DESC"
	" ON CONFLICT (id) DO UPDATE SET integration_id = excluded.integration_id, task ="
	" excluded.task, class = excluded.class,"
	" rule = excluded.rule, error = excluded.error, at_step = excluded.at_step, attempts ="
	" excluded.attempts,"
	" worker = excluded.worker, lane = excluded.lane, failed_at = excluded.failed_at, letter"
	" = excluded.letter,"
	" state = 'dead', state_since = now() WHERE excluded.failed_at > d.failed_at AND d.rule"
	" IS DISTINCT FROM '" UNREADABLE "' RETURNING d.id, d.failed_at),"
	" events AS (SELECT w.integration_id, w.event_id, f.class, f.error, f.failed_at"
	" FROM f JOIN put ON put.id = f.id AND put.failed_at = f.failed_at JOIN webhook_events w ON"
	" w.integration_id = f.integration_id AND w.event_id = f.event_id WHERE f.class IN"
	" ('poison', 'purged', 'cancelled', 'bad_job') AND w.state IN ('received', 'waiting')"
	" ORDER BY w.integration_id, w.event_id FOR UPDATE OF w),"
	" found AS (SELECT o.id, f.id AS letter FROM f JOIN outbound_requests o ON o.id = f.request"
	" WHERE o.partner = f.partner AND o.queued_times = f.times AND (o.state = 'pending' OR"
	" o.job_id = f.header) UNION SELECT o.id, f.id FROM f JOIN outbound_requests o ON o.partner ="
	" f.partner AND o.entry = 'job:' || f.origin WHERE o.job_id IS NULL"
	" UNION SELECT o.id, f.id FROM f JOIN outbound_requests o ON o.partner = f.partner AND"
	" o.job_id = f.header WHERE f.request IS NULL AND o.state IN ('pending', 'running')),"
	" closed AS (UPDATE outbound_requests o SET state = CASE WHEN EXISTS (SELECT FROM"
	" outbound_steps s WHERE s.request_id = o.id AND (s.state = 'sent' OR s.doubt_since IS NOT"
	" NULL)) THEN 'unknown' ELSE 'failed' END, class = f.class, rule = f.rule, error = f.error,"
	" letter_id = f.id, next_try_at = NULL, updated_at = now(), finished_at = CASE WHEN EXISTS"
	" (SELECT FROM outbound_steps s WHERE s.request_id = o.id AND (s.state = 'sent' OR"
	" s.doubt_since IS NOT NULL)) THEN NULL ELSE now() END FROM found JOIN f ON f.id ="
	" found.letter JOIN put ON put.id = f.id AND put.failed_at = f.failed_at WHERE o.id = found.id"
	" AND o.state IN ('pending', 'running') AND o.queued_at IS NOT NULL RETURNING o.*),"
	" told AS (INSERT INTO alerts AS a (kind, severity, scope, what, todo) SELECT 'outbound_unknown',"
	" 'critical', 'request:' || c.id, format('request %s (%s of %s, integration %s): its job died,"
	" and nobody knows whether step %s was done: %s', c.id, c.action, c.partner, c.integration_id,"
	" coalesce(c.at_step, '?'), c.error), 'look at the partner whether it was done, then: longshore"
	" request resolve ' || c.id || ' done|retry|undo' FROM closed c WHERE c.state = 'unknown'"
	" ORDER BY c.id" ALERT_AGAIN ")"
	" UPDATE webhook_events w SET state = CASE WHEN e.class IN ('cancelled', 'purged') THEN"
	" 'ignored' ELSE 'failed' END, reason = e.class || coalesce(': ' || e.error, ''),"
	" attempts = w.attempts + 1, processed_at = e.failed_at FROM events e"
	" WHERE w.integration_id = e.integration_id AND w.event_id = e.event_id";

static void add_text(struct pg_array *a, const char *s)
{
	if (s && *s)
		pg_array_text(a, s, strlen(s));
	else
		pg_array_null(a);
}

static void add_number(struct pg_array *a, const cJSON *letter, const char *path)
{
	int64_t n;

	if (letter && json_int(letter, path, &n))
		pg_array_int8(a, n);
	else
		pg_array_null(a);
}

/* 0 is none. */
static void add_integration(struct pg_array *a, const cJSON *letter)
{
	int64_t id;

	if (letter && json_int(letter, "integration_id", &id) && id > 0)
		pg_array_int8(a, id);
	else
		pg_array_null(a);
}

/* Not a letter of ours (an operator's ZADD, say): kept all the same. */
static void add_unreadable(struct pg_array a[COLUMNS], const char *id, const char *text, size_t len)
{
	struct buf letter = BUF_INIT;

	buf_printf(&letter, "{\"id\":\"%s\",\"unreadable\":", id);
	json_quote(&letter, text, len);
	buf_putc(&letter, '}');
	add_text(&a[TASK], NULL);
	add_text(&a[CLASS], "bad_job");
	add_text(&a[RULE], UNREADABLE);
	add_text(&a[ERROR], "what stood in the dead-letter set is no JSON object with an id");
	pg_array_time_us(&a[FAILED_AT], clock_real_us());
	pg_array_text(&a[LETTER], letter.data, letter.len);
	buf_clear(&letter);
}

/* \u0000 and lone surrogates in a payload's text: allowed by JSON's grammar, so the letter is
 * kept as it is, but we read the columns from a copy without them.  Same length, and still JSON
 * where the backslash itself was escaped. */
static void blank_odd_escapes(char *s)
{
	while ((s = strstr(s, "\\u"))) {
		if (strncmp(s + 2, "0000", 4) == 0 ||
		    ((s[2] | 0x20) == 'd' && s[3] > '7' && s[4] && s[5]))
			memcpy(s + 2, "fffd", 4);
		s += 2;
	}
}

static cJSON *parse(const char *text, size_t len)
{
	cJSON *letter = NULL;
	char *mended;

	if (json_parse(text, len, LETTER_MAX_BYTES, &letter, NULL) == 0)
		return letter;
	mended = mem_strndup(text, len);
	if (strlen(mended) == len) {
		blank_odd_escapes(mended);
		if (json_parse(mended, len, LETTER_MAX_BYTES, &letter, NULL) < 0)
			letter = NULL;
	}
	free(mended);
	return letter;
}

cJSON *deadletter_read(const char *text, size_t len, char id[DEADLETTER_ID_MAX])
{
	cJSON *letter = parse(text, len);
	const char *own = letter ? json_str(letter, "id") : NULL;

	if (own && *own && strlen(own) < DEADLETTER_ID_MAX) {
		memcpy(id, own, strlen(own) + 1);
		return letter;
	}
	cJSON_Delete(letter);
	crypto_sha1_hex(text, len, id);
	return NULL;
}

/* The job's name where it asked for a row of its end ("record": true), and the event where it was of one. */
static void add_record(struct pg_array a[COLUMNS], const cJSON *letter)
{
	const char *text = letter ? json_str(letter, "payload") : NULL;
	const char *id = letter ? json_str(letter, "job") : NULL,
		   *task = letter ? json_str(letter, "task") : NULL;
	bool of_event = task && strcmp(task, "process_webhook") == 0;
	int64_t seen_ms;
	cJSON *job = NULL;

	if (text && (of_event || strstr(text, "\"record\"")) &&
	    json_parse(text, strlen(text), strlen(text), &job, NULL) < 0)
		job = NULL;
	add_text(&a[JOB],
		 cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(job, "record")) ? id : NULL);
	add_text(&a[EVENT_ID], of_event && job ? json_str(job, "args.event_id") : NULL);
	cJSON_Delete(job);
	if (letter && json_int(letter, "first_seen", &seen_ms))
		pg_array_time_us(&a[FIRST_SEEN], seen_ms * 1000);
	else
		pg_array_null(&a[FIRST_SEEN]);
}

/* What Longshore itself does is no action of a manifest. */
static bool may_be_request(const char *task)
{
	static const char *const ours[] = { "import_", "process_webhook", "lookup", "notify",
					    "noop" };

	for (size_t i = 0; task && i < ARRAY_LEN(ours); i++)
		if (strncmp(task, ours[i], strlen(ours[i])) == 0)
			return false;
	return task != NULL;
}

static void add_request(struct pg_array a[COLUMNS], const cJSON *letter)
{
	bool may = letter && may_be_request(json_str(letter, "task"));
	const char *header = may ? json_str(letter, "header") : NULL,
		   *origin = may ? json_str(letter, "origin") : NULL;
	long long request = 0, times = 0;

	if (may && !header)
		header = json_str(letter, "job");
	add_text(&a[HEADER], header);
	add_text(&a[ORIGIN], origin ? origin : header);
	if (header && sscanf(header, REQUEST_JOB, &request, &times) == 2) {
		pg_array_int8(&a[REQUEST], request);
		pg_array_int8(&a[TIMES], times);
		return;
	}
	pg_array_null(&a[REQUEST]);
	pg_array_null(&a[TIMES]);
}

static void add_letter(struct pg_array a[COLUMNS], const char *text, size_t len)
{
	char id[DEADLETTER_ID_MAX];
	cJSON *letter = deadletter_read(text, len, id);
	int64_t failed_ms = 0;

	add_text(&a[ID], id);
	if (letter) {
		json_int(letter, "failed_at", &failed_ms);
		add_text(&a[TASK], json_str(letter, "task"));
		add_text(&a[CLASS],
			 json_str(letter, "class") ? json_str(letter, "class") : "internal");
		add_text(&a[RULE], json_str(letter, "rule"));
		add_text(&a[ERROR], json_str(letter, "error"));
		pg_array_time_us(&a[FAILED_AT], failed_ms * 1000);
		pg_array_text(&a[LETTER], text, len);
	} else {
		add_unreadable(a, id, text, len);
	}
	add_integration(&a[INTEGRATION], letter);
	add_number(&a[ATTEMPTS], letter, "attempts");
	add_text(&a[AT_STEP], letter ? json_str(letter, "where") : NULL);
	add_text(&a[WORKER], letter ? json_str(letter, "worker") : NULL);
	add_text(&a[LANE], letter ? json_str(letter, "lane") : NULL);
	add_record(a, letter);
	add_request(a, letter);
	cJSON_Delete(letter);
}

static Oid type_of(int c)
{
	switch (c) {
	case INTEGRATION:
	case ATTEMPTS:
	case REQUEST:
	case TIMES:
		return PG_INT8;
	case FAILED_AT:
	case FIRST_SEEN:
		return PG_TIMESTAMPTZ;
	default:
		return PG_TEXT;
	}
}

static int copy(struct pg *p, const char *partner, const char *const *letters, const size_t *lens,
		int n, struct err *err)
{
	struct pg_params params;
	struct pg_array a[COLUMNS];

	for (int c = 0; c < COLUMNS; c++)
		pg_array_init(&a[c], type_of(c));
	for (int i = 0; i < n; i++) {
		add_text(&a[PARTNER], partner);
		add_letter(a, letters[i], lens[i]);
	}
	pg_params_init(&params);
	for (int c = 0; c < COLUMNS; c++)
		pg_array_param(&params, &a[c]);
	return query(p, copy_sql, &params, NULL, err);
}

/* One that Postgres does not take must not keep the others out.  Goes through them all, stops
 * where Postgres is gone. */
static int copy_one_by_one(struct pg *p, const char *partner, const char *const *letters,
			   const size_t *lens, int n, struct err *err)
{
	int rc = 0;

	for (int i = 0; i < n && (rc == 0 || rc == -EPROTO); i++) {
		int one = copy(p, partner, &letters[i], &lens[i], 1, err);

		if (one < 0)
			rc = one;
	}
	return rc;
}

int deadletter_copy(struct pg *p, const char *partner, const char *const *letters,
		    const size_t *lens, int n, struct err *err)
{
	struct err why = { 0 };
	int rc = copy(p, partner, letters, lens, n, &why);

	if (rc == -EPROTO && why.class == ERR_DATA && n > 1)
		rc = copy_one_by_one(p, partner, letters, lens, n, &why);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

int deadletter_each(struct pg *p, const struct deadletter_filter *f, deadletter_fn fn, void *arg,
		    struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, f->id);
	pg_text(&params, f->class);
	pg_text(&params, f->partner);
	query_id(&params, f->integration_id);
	query_id(&params, f->since_ms);
	pg_text(&params, f->state ? f->state : "dead");
	pg_int(&params, f->limit ? f->limit : LIST_DEFAULT);
	rc = query(p,
		   "SELECT partner, id, letter, (extract(epoch FROM failed_at) * 1000)::int8 FROM"
		   " dead_letters"
		   " WHERE ($1::text IS NULL OR id = $1) AND ($2::text IS NULL OR class = $2) AND"
		   " ($3::text IS NULL OR partner = $3)"
		   " AND ($4::int8 IS NULL OR integration_id = $4)"
		   " AND ($5::int8 IS NULL OR failed_at >= to_timestamp($5 / 1000.0)) AND ($6::text"
		   " = 'any' OR state = $6)"
		   " ORDER BY failed_at DESC, id LIMIT $7",
		   &params, &res, err);
	if (rc < 0)
		return rc;
	for (int i = 0; i < PQntuples(res); i++)
		fn(pg_get(res, i, 0), pg_get(res, i, 1), pg_get(res, i, 2), pg_get_int(res, i, 3),
		   arg);
	PQclear(res);
	return 0;
}

int deadletter_set_state(struct pg *p, const char *id, const char *state, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, id);
	pg_text(&params, state);
	return query_some(p,
			  "UPDATE dead_letters SET state = $2, state_since = now() WHERE id = $1",
			  &params, NULL, err);
}

int deadletter_claim(struct pg *p, const char *id, const char *state, bool in_redis,
		     struct err *err)
{
	struct pg_params params;
	int rc;

	pg_params_init(&params);
	pg_text(&params, id);
	pg_text(&params, state);
	pg_bool(&params, in_redis);
	rc = query_some(
		p,
		"UPDATE dead_letters SET state = $2, state_since = clock_timestamp() WHERE id ="
		" $1 AND (state = 'dead'"
		" OR ($3 AND state_since < clock_timestamp() - interval '60 seconds'))",
		&params, NULL, err);
	if (rc == -ENOENT)
		return err_set(err, rc, ERR_CLIENT, "state",
			       "dead letter %s was replayed or discarded already", id);
	return rc;
}

int deadletter_discard(struct pg *p, const char *const *ids, int n, struct err *err)
{
	struct pg_params params;
	struct pg_array a;

	pg_array_init(&a, PG_TEXT);
	for (int i = 0; i < n; i++)
		pg_array_text(&a, ids[i], strlen(ids[i]));
	pg_params_init(&params);
	pg_array_param(&params, &a);
	return query(p,
		     "UPDATE dead_letters SET state = 'discarded', state_since = clock_timestamp()"
		     " WHERE id = ANY ($1) AND state = 'dead'",
		     &params, NULL, err);
}
