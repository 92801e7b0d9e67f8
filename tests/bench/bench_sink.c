/* Rows a second into `resources`, twelve columns of content each: fresh keys first, then the same keys with changed content.
 *   bench_sink sink URL ROWS PAGE COROUTINES    worker/sink, each coroutine storing page after page
 *   bench_sink raw URL ROWS CONNECTIONS         the same statement over plain libpq, 500 rows at once, pipelined
 * Both empty the table first, and end with an error if any row's outcome is not the one expected. */
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

/* Row n as the partner has it in this pass: price and time move on. */
static void row_make(struct row *r, struct texts *t, int64_t n, int pass)
{
	snprintf(t->id, sizeof(t->id), "key-%010lld", (long long)n);
	snprintf(t->name, sizeof(t->name), "Bench listing %lld by the sea", (long long)n);
	snprintf(t->extra, sizeof(t->extra), "{\"tags\":[\"a\",\"b\"],\"n\":%lld}", (long long)n);
	r->integration_id = 1;
	r->external_id = t->id;
	r->has_partner_updated = true;
	r->partner_updated_us = 1700000000000000 + pass * 1000000;
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
	put_int(r, 9, 10000 + n % 500 + pass);
	put_int(r, 10, 1 + n % 8);
	put_text(r, 11, t->extra);
}

static enum row_outcome expected(int pass)
{
	return pass == 0 ? ROW_ADDED : ROW_UPDATED;
}

struct timed {
	double began_us, cpu_us, per_s[2], cpu_a_row[2];
};

static void timed_begin(struct timed *t)
{
	t->began_us = (double)clock_mono_us();
	t->cpu_us = bench_cpu_us();
}

static void timed_end(struct timed *t, int pass, int64_t rows)
{
	t->per_s[pass] = (double)rows * 1e6 / ((double)clock_mono_us() - t->began_us);
	t->cpu_a_row[pass] = (bench_cpu_us() - t->cpu_us) / (double)rows;
}

static void timed_print(const struct timed *t)
{
	printf("{\"added_per_s\": %.0f, \"updated_per_s\": %.0f, \"added_cpu_us\": %.2f, \"updated_cpu_us\": %.2f}\n",
	       t->per_s[0], t->per_s[1], t->cpu_a_row[0], t->cpu_a_row[1]);
}

/* ---- the sink ---- */
static struct {
	struct pg *pg;
	struct sink *sink;
	int page, coroutines, alive, pass;
	int64_t rows, next;
	struct co *main;
	struct timed time;
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
	const struct row_set set = { .table = ROW_RESOURCES, .columns = columns };
	if (sink_rows(run.sink, &set, ptrs, n, outcomes, NULL, CO_NO_DEADLINE, &err) < 0)
		bench_die("sink: %s", err.text);
	for (int i = 0; i < n; i++)
		if (outcomes[i] != expected(run.pass))
			bench_die("row %s: outcome %d, not %d", ptrs[i]->external_id, outcomes[i],
				  expected(run.pass));
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
	timed_begin(&run.time);
	for (run.alive = 0; run.alive < run.coroutines; run.alive++)
		if (!co_spawn("storer", storer_run, NULL))
			bench_die("no coroutine");
	while (run.alive > 0 && rc == 0)
		rc = co_wait("storers", CO_NO_DEADLINE);
	timed_end(&run.time, pass, run.rows);
}

static void sink_main(void *arg)
{
	struct err err = { 0 };

	run.main = co_self();
	if (pg_execv(run.pg, NULL, CO_NO_DEADLINE, &err, "TRUNCATE resources", NULL) < 0)
		bench_die("postgres: %s", err.text);
	pass_run(0);
	pass_run(1);
	loop_stop();
}

static void sink_measure(const char *url, int64_t rows, int64_t page, int64_t coroutines)
{
	struct pg_options o = { .url = url,
				.application_name = "bench",
				.max_connections = WORKER_CONNECTIONS };
	struct err err = { 0 };

	if (page < 1 || coroutines < 1 || loop_init() < 0 || pg_new(&o, &run.pg, &err) < 0)
		bench_die("sink: %s", err.text);
	run.sink = sink_new(run.pg);
	run.rows = rows;
	run.page = (int)page;
	run.coroutines = (int)coroutines;
	if (!co_spawn("main", sink_main, NULL))
		bench_die("no coroutine");
	loop_run();
	timed_print(&run.time);
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
	int64_t rows, sent, stored;
	struct row *batch;
	const struct row **ptrs;
	struct texts *texts;
} raw;

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
	if (!PQsendQueryParams(l->c, row_upsert_sql(ROW_RESOURCES, columns, 0), p.n, types, values,
			       lengths, formats, 0) ||
	    !PQpipelineSync(l->c))
		bench_die("postgres: %s", PQerrorMessage(l->c));
	pg_params_clear(&p);
	raw.sent += n;
	l->under_way++;
}

static void check(const PGresult *res)
{
	int n = PQntuples(res);

	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		bench_die("postgres: %s", PQresultErrorMessage(res));
	for (int i = 0; i < n; i++)
		if (pg_get_int(res, i, 2) != (int64_t)expected(raw.pass))
			bench_die("row %s: outcome %s", PQgetvalue(res, i, 1),
				  PQgetvalue(res, i, 2));
	raw.stored += n;
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
	raw.sent = raw.stored = 0;
	while (raw.stored < raw.rows) {
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
	if (raw.stored != raw.rows)
		bench_die("%lld rows stored, not %lld", (long long)raw.stored, (long long)raw.rows);
}

static void raw_measure(const char *url, int64_t rows, int64_t connections)
{
	struct timed time = { 0 };

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
	PQclear(PQexec(raw.lanes[0].c, "TRUNCATE resources"));
	for (int i = 0; i < raw.n; i++)
		if (PQsetnonblocking(raw.lanes[i].c, 1) || !PQenterPipelineMode(raw.lanes[i].c))
			bench_die("postgres: %s", PQerrorMessage(raw.lanes[i].c));
	for (int pass = 0; pass < 2; pass++) {
		timed_begin(&time);
		raw_pass(pass);
		timed_end(&time, pass, rows);
	}
	timed_print(&time);
	for (int i = 0; i < raw.n; i++)
		PQfinish(raw.lanes[i].c);
	free(raw.texts);
	free(raw.ptrs);
	free(raw.batch);
}

int main(int argc, char **argv)
{
	columns_find();
	if (argc == 6 && strcmp(argv[1], "sink") == 0)
		sink_measure(argv[2], bench_int(argv[3]), bench_int(argv[4]), bench_int(argv[5]));
	else if (argc == 5 && strcmp(argv[1], "raw") == 0)
		raw_measure(argv[2], bench_int(argv[3]), bench_int(argv[4]));
	else
		bench_die(
			"usage: bench_sink sink URL ROWS PAGE COROUTINES | raw URL ROWS CONNECTIONS");
	return 0;
}
