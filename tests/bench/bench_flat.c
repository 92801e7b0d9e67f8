/* What a claim costs Redis beside how much lies around it.
 *   bench_flat PORT QUEUES INTEGRATIONS QUEUED
 * QUEUES partners; jobs of INTEGRATIONS integrations in each.  A sample: 10 jobs come to the first partner, 10 are claimed,
 * and finished; Redis' own time for the claim (commandstats) is what counts, the median of SAMPLES.  First with nothing else, then with
 * 10,000 other jobs in flight, then with QUEUED jobs waiting in all queues together, with and without those in flight. */
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/queue.h"
#include "tests/bench/bench.h"

#define PAYLOAD "{\"task\":\"noop\",\"integration_id\":7}"
#define WANT 10
#define SAMPLES 201
#define FLYING 10000
#define CAP 1000000
#define QUEUES_MAX 512
#define SLICE 400

static struct {
	redisContext *info;
	struct redis *redis;
	struct queue *queues[QUEUES_MAX];
	struct queue
		*other; /* the first partner's, of another worker, which holds what is in flight */
	struct lease *flying;
	int n_flying, n_queues, integrations;
	int64_t queued, next_integration;
} t;

static int64_t soon(void)
{
	return loop_now_ms() + 60000;
}

static void check(int rc, const struct err *err)
{
	if (rc < 0)
		bench_die("%s", err->text);
}

static void fill(struct queue *q, int64_t n)
{
	static struct queue_push v[SLICE];
	struct err err = { 0 };

	while (n > 0) {
		int k = n < SLICE ? (int)n : SLICE;

		for (int i = 0; i < k; i++)
			v[i] = (struct queue_push){ .lane = LANE_NORMAL,
						    .integration = 1 + t.next_integration++ %
									       t.integrations,
						    .payload = PAYLOAD,
						    .len = sizeof(PAYLOAD) - 1 };
		check(queue_enqueue(q, v, k, soon(), &err), &err);
		n -= k;
	}
}

static struct claim_result claim(struct queue *q, int want)
{
	struct claim_result r = { 0 };
	struct err err = { 0 };

	check(queue_claim(q, want, &r, soon(), &err), &err);
	return r;
}

static void wait_settled(struct queue *q)
{
	while (queue_unsettled(q))
		if (co_sleep("settled", 1) < 0)
			bench_die("stopped");
}

static void finish(struct lease *leases, int n)
{
	struct queue *q = n ? leases[0].queue : NULL;

	for (int i = 0; i < n; i++)
		queue_settle(q, settlement_new(&leases[i], SETTLE_DONE), NULL, NULL);
	if (q)
		wait_settled(q);
}

static void fly(void)
{
	t.flying = mem_zalloc(FLYING * sizeof(*t.flying));
	fill(t.other, FLYING);
	while (t.n_flying < FLYING) {
		struct claim_result r =
			claim(t.other, FLYING - t.n_flying < 500 ? FLYING - t.n_flying : 500);

		if (!r.n)
			bench_die("nothing to claim at %d in flight", t.n_flying);
		memcpy(t.flying + t.n_flying, r.leases, (size_t)r.n * sizeof(*r.leases));
		t.n_flying += r.n;
		free(r.leases);
	}
}

static void land(void)
{
	finish(t.flying, t.n_flying);
	free(t.flying);
	t.n_flying = 0;
}

/* ---- samples ---- */
static double info_number(const char *section, const char *field)
{
	redisAppendCommand(t.info, "INFO %s", section);
	redisReply *reply = bench_reply(t.info);
	const char *at = strstr(reply->str, field);
	double n = at ? strtod(at + strlen(field), NULL) : 0;

	freeReplyObject(reply);
	return n;
}

static double scripts_us(void)
{
	redisAppendCommand(t.info, "INFO commandstats");
	redisReply *reply = bench_reply(t.info);
	const char *at = strstr(reply->str, "cmdstat_evalsha:");

	at = at ? strstr(at, "usec=") : NULL;
	double us = at ? strtod(at + 5, NULL) : 0;
	freeReplyObject(reply);
	return us;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Returns Redis' time a claimed job. */
static double claim_us(void)
{
	double us[SAMPLES];

	for (int i = 0; i < SAMPLES; i++) {
		fill(t.queues[0], WANT);
		us[i] = scripts_us();
		struct claim_result r = claim(t.queues[0], WANT);
		us[i] = scripts_us() - us[i];
		if (r.n < 1)
			bench_die("a claim got nothing");
		us[i] /= r.n;
		finish(r.leases, r.n);
		free(r.leases);
	}
	qsort(us, SAMPLES, sizeof(us[0]), by_size);
	return us[SAMPLES / 2];
}

static void set_caps(void)
{
	struct queue_control c = { .generation = 1, .partner_cap = CAP, .default_cap = CAP };
	struct err err = { 0 };

	for (int i = 0; i < t.n_queues; i++)
		check(queue_control_set(t.queues[i], &c, soon(), &err), &err);
}

static void measure(void *arg)
{
	double few[2], many[2], bytes;

	if (redis_wait_up(t.redis, soon()) < 0)
		bench_die("redis does not answer");
	set_caps();
	claim_us(); /* scripts are loaded, pages are there */
	few[0] = claim_us();
	fly();
	few[1] = claim_us();
	bytes = info_number("memory", "used_memory:");
	for (int i = 0; i < t.n_queues; i++)
		fill(t.queues[i], t.queued / t.n_queues);
	bytes = info_number("memory", "used_memory:") - bytes;
	many[1] = claim_us();
	land();
	many[0] = claim_us();
	printf("{\"few_0\": %.2f, \"few_10000\": %.2f, \"many_0\": %.2f, \"many_10000\": %.2f, \"bytes_a_job\": %.0f}\n",
	       few[0], few[1], many[0], many[1],
	       bytes / (double)(t.queued / t.n_queues * t.n_queues));
	loop_stop();
}

static void queues_make(void)
{
	char name[16];

	for (int i = 0; i < t.n_queues; i++) {
		snprintf(name, sizeof(name), "bench%d", i);
		t.queues[i] = queue_new(t.redis, name, "bench-1-00000000");
	}
	t.other = queue_new(t.redis, "bench0", "bench-2-00000000");
}

int main(int argc, char **argv)
{
	struct redis_options o = { .client_name = "bench" };
	struct err err = { 0 };

	if (argc != 5)
		bench_die("usage: bench_flat PORT QUEUES INTEGRATIONS QUEUED");
	char *url = mem_printf("redis://127.0.0.1:%lld/0", (long long)bench_int(argv[1]));
	log_init("bench_flat", LOG_WARN, false);
	t.n_queues = (int)bench_int(argv[2]);
	t.integrations = (int)bench_int(argv[3]);
	t.queued = bench_int(argv[4]);
	if (t.n_queues < 1 || t.n_queues > QUEUES_MAX || t.integrations < 1)
		bench_die("1 to %d queues, at least one integration", QUEUES_MAX);
	t.info = bench_redis(bench_int(argv[1]));
	o.url = url;
	if (loop_init() < 0 || redis_new(&o, &t.redis, &err) < 0)
		bench_die("redis: %s", err.text);
	queues_make();
	if (!co_spawn("measure", measure, NULL))
		bench_die("no coroutine");
	loop_run();
	queue_free(t.other);
	for (int i = 0; i < t.n_queues; i++)
		queue_free(t.queues[i]);
	redis_free(t.redis);
	loop_close();
	redisFree(t.info);
	free(url);
	return 0;
}
