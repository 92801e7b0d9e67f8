/* Rows a second into `resources`, twelve columns of content each, in four passes over the same keys: fresh, changed, unchanged (read again
 * later) and stale (older news).
 *   bench_sink sink URL ROWS PAGE COROUTINES HISTORY   worker/sink, each coroutine storing page after page
 *   bench_sink raw URL ROWS CONNECTIONS                a plain guarded upsert into a plain table, over plain libpq, 500 rows at once,
 *                                                      pipelined: no partitions, no outcomes, no versions, no history
 *   bench_sink copy URL ROWS                           COPY of the fresh rows into that table
 * Each empties its table first, and ends with an error if any row's outcome is not the one expected. */
#include <poll.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/store/rows.h"
#include "tests/bench/bench.h"
#include "worker/sink.h"

#define BATCH 500
#define DEPTH 4              /* batches under way on a connection */
#define WORKER_CONNECTIONS 3 /* as a worker process has */
#define CONNECTIONS_MAX 8
#define PASSES 4
#define STATISTICS_MS 1200 /* sessions of Postgres tell theirs once a second */
#define ID_BYTES 24
#define NAME_BYTES 40

static const char *const names[] = { "kind",     "name",         "type",     "status",
				     "city",     "country_code", "lat",      "lng",
				     "currency", "price_minor",  "capacity", "extra" };
static int numbers[ARRAY_LEN(names)]; /* of the columns above */
static uint64_t columns;

struct texts {
	char id[ID_BYTES], name[NAME_BYTES], extra[NAME_BYTES];
};

static void columns_find(void)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		numbers[i] = row_column_find(ROW_RESOURCES, names[i]);
		if (numbers[i] < 0)
			bench_die("resources has no column %s", names[i]);
		columns |= (uint64_t)1 << numbers[i];
	}
}

static void put_text(struct row *r, int at, const char *s)
{
	struct row_value *v = &r->values[numbers[at]];

	v->set = true;
	v->v.s.p = s;
	v->v.s.n = strlen(s);
}

static void put_int(struct row *r, int at, int64_t n)
{
	r->values[numbers[at]] = (struct row_value){ .set = true, .v.i = n };
}

static void put_number(struct row *r, int at, double d)
{
	r->values[numbers[at]] = (struct row_value){ .set = true, .v.d = d };
}

/* Row n as the partner has it in this pass: price and time move on, then stand, then are those of the first pass. */
static void row_make(struct row *r, struct texts *t, int64_t n, int pass)
{
	snprintf(t->id, sizeof(t->id), "key-%010lld", (long long)n);
	snprintf(t->name, sizeof(t->name), "Bench listing %lld by the sea", (long long)n);
	snprintf(t->extra, sizeof(t->extra), "{\"tags\":[\"a\",\"b\"],\"n\":%lld}", (long long)n);
	r->integration_id = 1;
	r->external_id = t->id;
	r->has_partner_updated = true;
	int news = pass == 2 ? 1 : pass % 3;

	r->partner_updated_us = 1700000000000000 + news * 1000000;
	r->observed_us = clock_real_us();
	put_text(r, 0, "listing");
	put_text(r, 1, t->name);
	put_text(r, 2, "apartment");
	put_text(r, 3, "active");
	put_text(r, 4, "Lisbon");
	put_text(r, 5, "PT");
	put_number(r, 6, 38.7223 + (double)(n % 1000) * 0.001);
	put_number(r, 7, -9.1393 - (double)(n % 1000) * 0.001);
	put_text(r, 8, "EUR");
	put_int(r, 9, 10000 + n % 500 + news);
	put_int(r, 10, 1 + n % 8);
	put_text(r, 11, t->extra);
}

static const char *const pass_names[PASSES] = { "added", "updated", "unchanged", "stale" };
static const enum row_outcome expected[PASSES] = { ROW_ADDED, ROW_UPDATED, ROW_UNCHANGED,
						   ROW_STALE };

/* ---- what a pass costs, Postgres' share of it through a session of our own ---- */
struct spent {
	double wall_us, cpu_us, server_us, wal, updates, hot;
};

static struct {
	PGconn *c;
	int64_t rows;
	struct spent at, pass[PASSES];
} watch;

static double asked(const char *sql)
{
	PGresult *res = PQexec(watch.c, sql);
	double d;

	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		bench_die("%s: %s", sql, PQerrorMessage(watch.c));
	d = strtod(PQgetvalue(res, 0, 0), NULL);
	PQclear(res);
	return d;
}

/* Processor time of all other sessions; Postgres runs on this host. */
static double server_us(void)
{
	PGresult *res = PQexec(
		watch.c,
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
	double us = 0;

	for (int i = 0; i < PQntuples(res); i++) {
		char path[64];
		long long ns = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/schedstat", PQgetvalue(res, i, 0));
		f = fopen(path, "r");
		if (f && fscanf(f, "%lld", &ns) == 1)
			us += (double)ns / 1000;
		if (f)
			fclose(f);
	}
	PQclear(res);
	return us;
}

static struct spent spent_now(void)
{
	return (struct spent){
		.wal = asked("SELECT pg_current_wal_insert_lsn() - '0/0'"),
		.updates = asked(
			"SELECT sum(n_tup_upd) FROM pg_stat_user_tables WHERE relname ~ '^(resources_[0-9]+|bench_raw)$'"),
		.hot = asked(
			"SELECT sum(n_tup_hot_upd) FROM pg_stat_user_tables WHERE relname ~ '^(resources_[0-9]+|bench_raw)$'"),
		.server_us = server_us(),
		.cpu_us = bench_cpu_us(),
		.wall_us = (double)clock_mono_us(),
	};
}

static void watch_open(const char *url, int64_t rows)
{
	watch.c = PQconnectdb(url);
	watch.rows = rows;
	if (PQstatus(watch.c) != CONNECTION_OK)
		bench_die("postgres: %s", PQerrorMessage(watch.c));
	PQclear(PQexec(
		watch.c,
		"SET client_min_messages = warning; DROP TABLE IF EXISTS bench_raw;"
		" CREATE TABLE bench_raw (LIKE resources INCLUDING DEFAULTS, PRIMARY KEY (integration_id, external_id))"
		" WITH (fillfactor = 50); TRUNCATE resources, resource_changes; CHECKPOINT"));
}

static void pass_begin(void)
{
	watch.at = spent_now();
}

/* Time first; then what Postgres' sessions tell with a delay. */
static void pass_end(int pass)
{
	double wall = (double)clock_mono_us(), cpu = bench_cpu_us();
	struct spent now, *p = &watch.pass[pass];

	poll(NULL, 0, STATISTICS_MS);
	now = spent_now();
	p->wall_us = wall - watch.at.wall_us;
	p->cpu_us = cpu - watch.at.cpu_us;
	p->server_us = now.server_us - watch.at.server_us;
	p->wal = now.wal - watch.at.wal;
	p->updates = now.updates - watch.at.updates;
	p->hot = now.hot - watch.at.hot;
}

static void print_passes(int n)
{
	double rows = (double)watch.rows;

	for (int i = 0; i < n; i++) {
		const struct spent *p = &watch.pass[i];

		printf("%s\"%s_per_s\": %.0f, \"%s_cpu_us\": %.2f, \"%s_server_us\": %.2f, \"%s_wal\": %.0f, \"%s_hot\": %.3f",
		       i ? ", " : "{", pass_names[i], rows * 1e6 / p->wall_us, pass_names[i],
		       p->cpu_us / rows, pass_names[i], p->server_us / rows, pass_names[i],
		       p->wal / rows, pass_names[i], p->updates > 0 ? p->hot / p->updates : 0);
	}
	printf("}\n");
	PQfinish(watch.c);
}

/* ---- the sink ---- */
static struct {
	struct pg *pg;
	struct sink *sink;
	int page, coroutines, alive, pass;
	int64_t rows, next;
	struct co *main;
} run;

static void store_page(struct row *rows, const struct row **ptrs, struct texts *texts,
		       enum row_outcome *outcomes)
{
	int64_t first = run.next;
	int n = run.rows - first < run.page ? (int)(run.rows - first) : run.page;
	struct err err = { 0 };

	run.next += n;
	for (int i = 0; i < n; i++) {
		row_make(&rows[i], &texts[i], first + i, run.pass);
		ptrs[i] = &rows[i];
	}
	const struct row_set set = { ROW_RESOURCES, columns, { ROW_FULL, 1 } };
	if (sink_rows(run.sink, &set, ptrs, n, outcomes, NULL, CO_NO_DEADLINE, &err) < 0)
		bench_die("sink: %s", err.text);
	for (int i = 0; i < n; i++)
		if (outcomes[i] != expected[run.pass])
			bench_die("row %s: outcome %d, not %d", ptrs[i]->external_id, outcomes[i],
				  expected[run.pass]);
}

static void storer_run(void *arg)
{
	struct row *rows = mem_zalloc((size_t)run.page * sizeof(*rows));
	const struct row **ptrs = mem_zalloc((size_t)run.page * sizeof(*ptrs));
	struct texts *texts = mem_zalloc((size_t)run.page * sizeof(*texts));
	enum row_outcome *outcomes = mem_zalloc((size_t)run.page * sizeof(*outcomes));

	while (run.next < run.rows)
		store_page(rows, ptrs, texts, outcomes);
	free(outcomes);
	free(texts);
	free(ptrs);
	free(rows);
	if (--run.alive == 0)
		co_wake(run.main);
}

static void pass_run(int pass)
{
	int rc = 0;

	run.pass = pass;
	run.next = 0;
	pass_begin();
	for (run.alive = 0; run.alive < run.coroutines; run.alive++)
		if (!co_spawn("storer", storer_run, NULL))
			bench_die("no coroutine");
	while (run.alive > 0 && rc == 0)
		rc = co_wait("storers", CO_NO_DEADLINE);
	pass_end(pass);
}

/* The sink looks by itself; its first batch may still go by what it assumes. */
static void sink_wait_history(void)
{
	struct row *r = mem_zalloc(sizeof(*r));
	const struct row *ptr = r;
	struct texts t;
	enum row_outcome out;
	const struct row_set set = { ROW_RESOURCES, columns, { ROW_FULL, 1 } };

	row_make(r, &t, run.rows, 0);
	for (int i = 0; i < 3; i++)
		if (sink_rows(run.sink, &set, &ptr, 1, &out, NULL, CO_NO_DEADLINE, NULL) < 0 ||
		    co_sleep("history", 50) < 0)
			bench_die("sink: not ready");
	free(r);
}

static void sink_main(void *arg)
{
	struct err err = { 0 };

	run.main = co_self();
	if (pg_execv(run.pg, NULL, CO_NO_DEADLINE, &err, "SELECT 1", NULL) < 0)
		bench_die("postgres: %s", err.text);
	sink_wait_history();
	for (int pass = 0; pass < PASSES; pass++)
		pass_run(pass);
	loop_stop();
}

static void sink_measure(const char *url, int64_t rows, int64_t page, int64_t coroutines,
			 bool history)
{
	struct pg_options o = { .url = url,
				.application_name = "bench",
				.max_connections = WORKER_CONNECTIONS };
	struct err err = { 0 };

	if (page < 1 || coroutines < 1 || loop_init() < 0 || pg_new(&o, &run.pg, &err) < 0)
		bench_die("sink: %s", err.text);
	watch_open(url, rows);
	PQclear(PQexec(
		watch.c,
		history ? "UPDATE history_settings SET enabled = true WHERE table_name = 'resources'"
			: "UPDATE history_settings SET enabled = false WHERE table_name = 'resources'"));
	run.sink = sink_new(run.pg);
	run.rows = rows;
	run.page = (int)page;
	run.coroutines = (int)coroutines;
	if (!co_spawn("main", sink_main, NULL))
		bench_die("no coroutine");
	loop_run();
	if (asked("SELECT count(*) FROM resource_changes") < (history ? 2.0 * (double)rows : 0))
		bench_die("the history is not what was written");
	print_passes(PASSES);
	sink_free(run.sink);
	pg_free(run.pg);
	loop_close();
}

/* ---- plain libpq ---- */
struct lane {
	PGconn *c;
	int under_way;
};

static struct {
	struct lane lanes[CONNECTIONS_MAX];
	int n, pass;
	int64_t rows, sent, stored, touched, answered;
	struct row *batch;
	const struct row **ptrs;
	struct texts *texts;
} raw;

static const char *raw_type(size_t i)
{
	int n;

	switch (row_columns(ROW_RESOURCES, &n)[numbers[i]].type) {
	case ROW_INT:
		return "int8[]";
	case ROW_NUMBER:
		return "float8[]";
	case ROW_JSON:
		return "jsonb[]";
	default:
		return "text[]";
	}
}

/* What anybody would write, with the guard and nothing else. */
static const char *raw_sql(void)
{
	static char *sql;
	struct buf b = BUF_INIT;

	if (sql)
		return sql;
	buf_puts(
		&b,
		"INSERT INTO bench_raw AS r (integration_id, external_id, partner_updated_at, observed_at");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		buf_printf(&b, ", %s", names[i]);
	buf_puts(
		&b,
		") SELECT unnest($1::int8[]), unnest($2::text[]), unnest($3::timestamptz[]), unnest($4::timestamptz[])");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		buf_printf(&b, ", unnest($%zu::%s)", i + 5, raw_type(i));
	buf_puts(
		&b,
		" ON CONFLICT (integration_id, external_id) DO UPDATE SET partner_updated_at = excluded.partner_updated_at,"
		" observed_at = excluded.observed_at");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		buf_printf(&b, ", %s = excluded.%s", names[i], names[i]);
	buf_puts(
		&b,
		" WHERE excluded.partner_updated_at > r.partner_updated_at OR (excluded.partner_updated_at ="
		" r.partner_updated_at AND excluded.observed_at > r.observed_at)");
	sql = buf_detach(&b);
	return sql;
}

static void lane_send(struct lane *l)
{
	int n = raw.rows - raw.sent < BATCH ? (int)(raw.rows - raw.sent) : BATCH;
	struct pg_params p;
	const char *values[64];
	int lengths[64], formats[64];
	Oid types[64];

	for (int i = 0; i < n; i++) {
		row_make(&raw.batch[i], &raw.texts[i], raw.sent + i, raw.pass);
		raw.ptrs[i] = &raw.batch[i];
	}
	pg_params_init(&p);
	row_upsert_params(ROW_RESOURCES, columns, 0, raw.ptrs, NULL, n, &p);
	for (int i = 0; i < p.n; i++) {
		values[i] = p.v[i].bytes;
		lengths[i] = p.v[i].len;
		formats[i] = p.v[i].format;
		types[i] = p.v[i].type;
	}
	if (!PQsendQueryParams(l->c, raw_sql(), p.n, types, values, lengths, formats, 0) ||
	    !PQpipelineSync(l->c))
		bench_die("postgres: %s", PQerrorMessage(l->c));
	pg_params_clear(&p);
	raw.sent += n;
	raw.touched += raw.pass == 3 ? 0 : n;
	l->under_way++;
}

static void check(const PGresult *res)
{
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		bench_die("postgres: %s", PQresultErrorMessage(res));
	raw.answered++;
	raw.stored += strtoll(PQcmdTuples((PGresult *)res), NULL, 10);
}

static void lane_read(struct lane *l)
{
	if (!PQconsumeInput(l->c))
		bench_die("postgres: %s", PQerrorMessage(l->c));
	while (l->under_way && !PQisBusy(l->c)) {
		PGresult *res = PQgetResult(l->c);

		if (!res)
			continue; /* the end of one statement's results */
		if (PQresultStatus(res) == PGRES_PIPELINE_SYNC)
			l->under_way--;
		else
			check(res);
		PQclear(res);
	}
}

static void raw_pass(int pass)
{
	struct pollfd fds[CONNECTIONS_MAX];

	raw.pass = pass;
	raw.sent = raw.stored = raw.touched = raw.answered = 0;
	while (raw.answered < (raw.rows + BATCH - 1) / BATCH) {
		for (int i = 0; i < raw.n; i++) {
			struct lane *l = &raw.lanes[i];

			while (raw.sent < raw.rows && l->under_way < DEPTH)
				lane_send(l);
			fds[i] = (struct pollfd){ .fd = PQsocket(l->c), .events = POLLIN };
			if (PQflush(l->c))
				fds[i].events |= POLLOUT;
		}
		if (poll(fds, (nfds_t)raw.n, 10000) <= 0)
			bench_die("postgres did not answer for 10 s");
		for (int i = 0; i < raw.n; i++)
			if (fds[i].revents)
				lane_read(&raw.lanes[i]);
	}
	if (raw.stored != raw.touched)
		bench_die("%lld rows stored, not %lld", (long long)raw.stored,
			  (long long)raw.touched);
}

static void raw_measure(const char *url, int64_t rows, int64_t connections)
{
	watch_open(url, rows);
	raw.rows = rows;
	raw.n = connections < CONNECTIONS_MAX ? (int)connections : CONNECTIONS_MAX;
	raw.batch = mem_zalloc(BATCH * sizeof(*raw.batch));
	raw.ptrs = mem_zalloc(BATCH * sizeof(*raw.ptrs));
	raw.texts = mem_zalloc(BATCH * sizeof(*raw.texts));
	for (int i = 0; i < raw.n; i++) {
		raw.lanes[i].c = PQconnectdb(url);
		if (PQstatus(raw.lanes[i].c) != CONNECTION_OK)
			bench_die("postgres: %s", PQerrorMessage(raw.lanes[i].c));
	}
	for (int i = 0; i < raw.n; i++)
		if (PQsetnonblocking(raw.lanes[i].c, 1) || !PQenterPipelineMode(raw.lanes[i].c))
			bench_die("postgres: %s", PQerrorMessage(raw.lanes[i].c));
	for (int pass = 0; pass < PASSES; pass++) {
		pass_begin();
		raw_pass(pass);
		pass_end(pass);
	}
	print_passes(PASSES);
	for (int i = 0; i < raw.n; i++)
		PQfinish(raw.lanes[i].c);
	free(raw.texts);
	free(raw.ptrs);
	free(raw.batch);
}

/* ---- COPY ---- */
static void copy_measure(const char *url, int64_t rows)
{
	struct row *r = mem_zalloc(sizeof(*r));
	PGconn *c = PQconnectdb(url);
	struct buf line = BUF_INIT;
	struct texts t;

	watch_open(url, rows);
	pass_begin();
	PQclear(PQexec(
		c,
		"COPY bench_raw (integration_id, external_id, partner_updated_at, observed_at, kind, name, type, status, city,"
		" country_code, lat, lng, currency, price_minor, capacity, extra) FROM STDIN"));
	for (int64_t n = 0; n < rows; n++) {
		row_make(r, &t, n, 0);
		buf_reset(&line);
		buf_printf(
			&line,
			"1\t%s\t2023-11-14 22:13:20+00\t2023-11-14 22:13:20.123456+00\tlisting\t%s\tapartment\tactive\tLisbon\tPT\t%.4f\t%.4f\tEUR\t%lld\t%lld\t%s\n",
			t.id, t.name, r->values[numbers[6]].v.d, r->values[numbers[7]].v.d,
			(long long)r->values[numbers[9]].v.i, (long long)r->values[numbers[10]].v.i,
			t.extra);
		if (PQputCopyData(c, line.data, (int)line.len) != 1)
			bench_die("postgres: %s", PQerrorMessage(c));
	}
	if (PQputCopyEnd(c, NULL) != 1)
		bench_die("postgres: %s", PQerrorMessage(c));
	PGresult *res = PQgetResult(c);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		bench_die("postgres: %s", PQerrorMessage(c));
	PQclear(res);
	pass_end(0);
	print_passes(1);
	buf_clear(&line);
	PQfinish(c);
	free(r);
}

int main(int argc, char **argv)
{
	columns_find();
	if (argc == 7 && strcmp(argv[1], "sink") == 0)
		sink_measure(argv[2], bench_int(argv[3]), bench_int(argv[4]), bench_int(argv[5]),
			     bench_int(argv[6]));
	else if (argc == 4 && strcmp(argv[1], "copy") == 0)
		copy_measure(argv[2], bench_int(argv[3]));
	else if (argc == 5 && strcmp(argv[1], "raw") == 0)
		raw_measure(argv[2], bench_int(argv[3]), bench_int(argv[4]));
	else
		bench_die(
			"usage: bench_sink sink URL ROWS PAGE COROUTINES HISTORY | raw URL ROWS CONNECTIONS | copy URL ROWS");
	return 0;
}
