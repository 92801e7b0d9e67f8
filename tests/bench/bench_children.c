/* Children: jobs that a job leaves behind, enqueued by the script that settles it, all or nothing.
 *   bench_children settle PORT PARENTS CHILDREN    through common/queue; timed is the settling alone
 *   bench_children bare PORT PARENTS CHILDREN      one ZADD of as many members for each parent, pipelined: what Redis' own
 *                                                  sorted set costs
 * A child has 80 bytes, besides its header. */
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/queue.h"
#include "tests/bench/bench.h"

#define PAYLOAD \
	"{\"task\":\"import_resources\",\"integration_id\":7,\"args\":{\"parents\":[\"10001234567\"]}}"
#define BARE_OUT 8 /* commands under way */
#define PARENTS_OUT 2000
#define CHILDREN_OUT 100000

static struct {
	struct queue *queue;
	struct redis *redis;
	redisContext *info; /* a connection of its own */
	int64_t parents, children, done, lost;
	struct lease *leases;
	int64_t n_leases;
	double began_us, cpu_us, redis_us;
} run;

static void timed_begin(void)
{
	run.redis_us = bench_redis_cpu_us(run.info);
	run.cpu_us = bench_cpu_us();
	run.began_us = (double)clock_mono_us();
}

static void timed_print(void)
{
	double us = (double)clock_mono_us() - run.began_us;
	double n = (double)(run.parents * run.children);

	printf("{\"children_per_s\": %.0f, \"cpu_us\": %.2f, \"redis_us\": %.2f}\n", n * 1e6 / us,
	       (bench_cpu_us() - run.cpu_us) / n,
	       (bench_redis_cpu_us(run.info) - run.redis_us) / n);
}

static void want_count(const char *command, int64_t n)
{
	redisAppendCommand(run.info, command);
	redisReply *reply = bench_reply(run.info);

	if (reply->integer != n)
		bench_die("%s says %lld, not %lld", command, reply->integer, (long long)n);
	freeReplyObject(reply);
}

/* ---- through the queue ---- */
static int64_t soon(void)
{
	return loop_now_ms() + 60000;
}

static void push_parents(void)
{
	struct queue_control control = { .generation = 1,
					 .partner_cap = (int)run.parents + 1,
					 .default_cap = (int)run.parents + 1 };
	struct queue_push push = { .lane = LANE_NORMAL,
				   .integration = 7,
				   .payload = PAYLOAD,
				   .len = sizeof(PAYLOAD) - 1 };
	struct err err = { 0 };

	if (queue_control_set(run.queue, &control, soon(), &err) < 0)
		bench_die("control: %s", err.text);
	for (int64_t i = 0; i < run.parents; i++)
		if (queue_enqueue(run.queue, &push, 1, soon(), &err) < 0)
			bench_die("enqueue: %s", err.text);
}

static void claim_parents(void)
{
	struct err err = { 0 };

	run.leases = mem_zalloc((size_t)run.parents * sizeof(*run.leases));
	while (run.n_leases < run.parents) {
		struct claim_result r = { 0 };

		if (queue_claim(run.queue, 200, &r, soon(), &err) < 0 || !r.n)
			bench_die("claim: %s", err.text);
		memcpy(run.leases + run.n_leases, r.leases, (size_t)r.n * sizeof(*r.leases));
		run.n_leases += r.n;
		free(r.leases);
	}
}

static void on_settled(bool held, void *arg)
{
	run.done++;
	run.lost += !held;
}

static void settle_one(struct lease *l)
{
	struct queue_push push = { .lane = LANE_NORMAL,
				   .integration = 7,
				   .payload = PAYLOAD,
				   .len = sizeof(PAYLOAD) - 1 };
	struct settlement *s = settlement_new(l, SETTLE_DONE);

	for (int64_t i = 0; i < run.children; i++)
		settlement_add_child(s, "bench", &push);
	queue_settle(run.queue, s, on_settled, NULL);
}

static void settle_main(void *arg)
{
	struct err err = { 0 };

	if (redis_wait_up(run.redis, soon()) < 0)
		bench_die("redis does not answer");
	push_parents();
	claim_parents();
	timed_begin();
	for (int64_t i = 0; i < run.parents; i++) {
		settle_one(&run.leases[i]);
		/* A worker has as many jobs at once; and Redis shall have something to do meanwhile. */
		while (i + 1 - run.done >= PARENTS_OUT ||
		       (i + 1 - run.done) * run.children >= CHILDREN_OUT)
			if (co_sleep("room", 1) < 0)
				bench_die("stopped: %s", err.text);
	}
	while (run.done < run.parents)
		if (co_sleep("settled", 1) < 0)
			bench_die("stopped");
	timed_print();
	if (run.lost)
		bench_die("%lld leases were lost", (long long)run.lost);
	struct queue_depth d = { 0 };
	if (queue_depth(run.queue, &d, loop_now_ms() + 10000, &err) < 0 ||
	    d.ready[LANE_NORMAL] != run.parents * run.children)
		bench_die("%lld children are ready, not %lld", (long long)d.ready[LANE_NORMAL],
			  (long long)(run.parents * run.children));
	free(run.leases);
	loop_stop();
}

static void settle(int64_t port)
{
	char *url = mem_printf("redis://127.0.0.1:%lld/0", (long long)port);
	struct redis_options o = { .url = url, .client_name = "bench" };
	struct err err = { 0 };

	if (loop_init() < 0 || redis_new(&o, &run.redis, &err) < 0)
		bench_die("redis: %s", err.text);
	run.queue = queue_new(run.redis, "bench", "bench-1-00000000");
	if (!co_spawn("main", settle_main, NULL))
		bench_die("no coroutine");
	loop_run();
	queue_free(run.queue);
	redis_free(run.redis);
	loop_close();
	free(url);
}

/* ---- Redis alone ---- */
static void append_zadd(redisContext *c, int64_t first)
{
	struct redis_args a;
	char(*members)[160] = mem_alloc((size_t)run.children * sizeof(*members));

	redis_args_init(&a);
	redis_arg(&a, "ZADD");
	redis_arg(&a, "bench:ready");
	for (int64_t i = 0; i < run.children; i++) {
		int n = snprintf(
			members[i], sizeof(members[i]),
			"1%014lld 7 0123456789abcdefghjkmnpqrs 0 0 1700000000000\n" PAYLOAD,
			(long long)(first + i));

		redis_arg(&a, "7");
		redis_arg_bytes(&a, members[i], (size_t)n);
	}
	redisAppendCommandArgv(c, a.n, a.v, a.len);
	redis_args_clear(&a);
	free(members);
}

static void bare(int64_t port)
{
	redisContext *c = bench_redis(port);
	int64_t answered = 0;

	timed_begin();
	for (int64_t sent = 0; sent < run.parents; sent++) {
		append_zadd(c, sent * run.children);
		for (; sent - answered >= BARE_OUT; answered++)
			freeReplyObject(bench_reply(c));
	}
	for (; answered < run.parents; answered++)
		freeReplyObject(bench_reply(c));
	timed_print();
	want_count("ZCARD bench:ready", run.parents * run.children);
	redisFree(c);
}

int main(int argc, char **argv)
{
	if (argc != 5 || (strcmp(argv[1], "settle") != 0 && strcmp(argv[1], "bare") != 0))
		bench_die("usage: bench_children settle|bare PORT PARENTS CHILDREN");
	int64_t port = bench_int(argv[2]);

	log_init("bench_children", LOG_WARN, false);
	run.parents = bench_int(argv[3]);
	run.children = bench_int(argv[4]);
	run.info = bench_redis(port);
	if (strcmp(argv[1], "settle") == 0)
		settle(port);
	else
		bare(port);
	redisFree(run.info);
	return 0;
}
