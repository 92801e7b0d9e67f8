/* Permits a second, nobody denied.
 *   bench_limiter agent PORT SECONDS WAITERS    common/queue/limiter, coroutines that wait in its row
 *   bench_limiter script PORT SECONDS           the bare acquire script, one permit a call, pipelined
 *   bench_limiter filled PORT ENTRIES           the same on a log of so many entries: Redis' own time a call, and the log's bytes
 * The first two with the same three tiers, with limits that are never reached and windows short enough that the log stays
 * at some ten thousand entries: what is measured is the way, not the size.  The third with limits that are nearly reached:
 * each tier has to be counted. */
#include <unistd.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/limiter.h"
#include "common/queue/scripts.h"
#include "tests/bench/bench.h"

#define LIMIT 1000000
#define PIPELINE 100
#define WARM_UP_US 300000

static int64_t windows_ms[] = { 50, 100, 200 };
static int64_t limits[] = { LIMIT, LIMIT, LIMIT };

static struct {
	struct redis *redis;
	struct limiter *limiter;
	struct limit_set set;
	int waiters, alive;
	int64_t from_us, until_us; /* permits in between count */
	int64_t permits, first_us, last_us;
	double cpu_us;
} agent;

/* A partner whose past is unknown would start with two seconds of its rate used up. */
static void known_since_long(redisContext *c)
{
	freeReplyObject(redisCommand(c, "SET limit:{bench}:since 1"));
}

static void report(double permits, double us, double cpu_us)
{
	if (permits <= 0)
		bench_die("no permit was granted");
	printf("{\"permits_per_s\": %.0f, \"cpu_us\": %.2f}\n", permits * 1e6 / us,
	       cpu_us / permits);
}

/* ---- the limiter ---- */
static void taken(void)
{
	int64_t now_us = clock_mono_us();

	if (now_us < agent.from_us)
		return;
	if (!agent.permits) {
		agent.first_us = now_us;
		agent.cpu_us = bench_cpu_us();
	}
	agent.permits++;
	agent.last_us = now_us;
}

static void waiter_run(void *arg)
{
	struct err err = { 0 };

	while (clock_mono_us() < agent.until_us) {
		struct permit p;
		int rc = limiter_acquire(agent.limiter, &agent.set, 10000, &p, NULL, NULL,
					 CO_NO_DEADLINE, &err);

		if (rc < 0)
			bench_die("limiter: %s", err.text);
		taken();
		limiter_release(agent.limiter, &p);
	}
	if (--agent.alive == 0)
		loop_stop();
}

static void begin(void *arg)
{
	if (redis_wait_up(agent.redis, loop_now_ms() + 5000) < 0)
		bench_die("no Redis");
	for (agent.alive = 0; agent.alive < agent.waiters; agent.alive++)
		if (!co_spawn("waiter", waiter_run, NULL))
			bench_die("no coroutine");
}

static void set_make(struct limit_set *set)
{
	struct limit_scope *s = &set->scopes[0];

	set->partner = "bench";
	set->n_scopes = 1;
	snprintf(s->name, sizeof(s->name), "127.0.0.1:1:agent");
	s->n_tiers = (int)ARRAY_LEN(windows_ms);
	for (int i = 0; i < s->n_tiers; i++)
		s->tiers[i] = (struct limit_tier){ .limit = LIMIT, .window_ms = windows_ms[i] };
}

static void run_agent(int64_t port, int64_t seconds, int64_t waiters)
{
	char url[64], epoch[24];
	struct err err = { 0 };
	struct redis_options o = { .url = url, .client_name = "bench" };

	snprintf(url, sizeof(url), "redis://127.0.0.1:%lld", (long long)port);
	snprintf(epoch, sizeof(epoch), "bench-%d", (int)getpid());
	if (loop_init() < 0 || redis_new(&o, &agent.redis, &err) < 0)
		bench_die("redis: %s", err.text);
	agent.limiter = limiter_new(agent.redis, epoch);
	agent.waiters = (int)waiters;
	set_make(&agent.set);
	agent.from_us = clock_mono_us() + WARM_UP_US;
	agent.until_us = agent.from_us + seconds * 1000000;
	if (!co_spawn("begin", begin, NULL))
		bench_die("no coroutine");
	loop_run();
	report((double)agent.permits, (double)(agent.last_us - agent.first_us),
	       bench_cpu_us() - agent.cpu_us);
	limiter_free(agent.limiter);
	redis_free(agent.redis);
	loop_close();
}

/* ---- the bare script ---- */
static void append_acquire(redisContext *c, int64_t number)
{
	static const char *const keys[] = {
		"limit:{bench}:since",         "limit:{bench}:script",
		"limit:{bench}:script:flight", "limit:{bench}:script:hold",
		"limit:{bench}:script:run",    "limit:{bench}:script:sum",
		"limit:{bench}:script:set",    "limit:{bench}:gone"
	};
	struct redis_args a;
	char token[32];

	snprintf(token, sizeof(token), "bench.%llx", (unsigned long long)number);
	redis_args_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		redis_arg(&a, keys[i]);
	redis_arg_int(&a, 1);
	redis_arg(&a, token);
	redis_arg(&a, "run");
	redis_arg_int(&a, 0);
	redis_arg_int(&a, 1);
	redis_arg(&a, "i1");
	redis_arg_int(&a, 1);
	redis_arg_int(&a, 0);
	redis_arg_int(&a, 0);
	redis_arg_int(&a, 60000);
	redis_arg_int(&a, 0);
	redis_arg_int(&a, (int64_t)ARRAY_LEN(windows_ms));
	for (size_t i = 0; i < ARRAY_LEN(windows_ms); i++) {
		redis_arg_int(&a, 0);
		redis_arg_int(&a, limits[i]);
		redis_arg_int(&a, windows_ms[i] * 1000);
		redis_arg_int(&a, limit_margin_ms(windows_ms[i]) * 1000);
		redis_arg_int(&a, 1);
		redis_arg_int(&a, 0);
	}
	bench_script(c, &lua_acquire, (int)ARRAY_LEN(keys), &a);
	redis_args_clear(&a);
}

static void run_script(redisContext *c, int64_t seconds)
{
	int64_t from_us = clock_mono_us() + WARM_UP_US, until_us = from_us + seconds * 1000000;
	int64_t now_us, first_us = 0, permits = 0, calls = 0;
	double cpu = 0;

	bench_load(c, &lua_acquire);
	for (int i = 0; i < PIPELINE; i++)
		append_acquire(c, ++calls);
	while ((now_us = clock_mono_us()) < until_us) {
		/* Half of what is under way is read, then as much is sent: Redis never runs dry. */
		for (int i = 0; i < PIPELINE / 2; i++) {
			redisReply *reply = bench_reply(c);

			if (reply->element[0]->integer != 1)
				bench_die("denied: %s", reply->element[3]->str);
			permits += first_us != 0;
			freeReplyObject(reply);
		}
		for (int i = 0; i < PIPELINE / 2; i++)
			append_acquire(c, ++calls);
		if (!first_us && now_us >= from_us) {
			first_us = clock_mono_us();
			cpu = bench_cpu_us();
		}
	}
	report((double)permits, (double)(now_us - first_us), bench_cpu_us() - cpu);
}

/* ---- a log that is full of entries ---- */
#define FILLED_CALLS 5000
#define ROOM 50 /* calls; then what they took is removed */

/* Redis' own microseconds a call since the last CONFIG RESETSTAT. */
static double evalsha_us(redisContext *c)
{
	redisReply *info = redisCommand(c, "INFO commandstats");
	const char *at = info ? strstr(info->str, "cmdstat_evalsha:") : NULL;

	at = at ? strstr(at, "usec_per_call=") : NULL;
	if (!at)
		bench_die("Redis tells no times");
	double us = strtod(at + strlen("usec_per_call="), NULL);
	freeReplyObject(info);
	return us;
}

static double empty_script_us(redisContext *c)
{
	struct redis_script nothing = { .name = "nothing", .source = "return 0" };
	struct redis_args none;

	redis_args_init(&none);
	bench_load(c, &nothing);
	freeReplyObject(redisCommand(c, "CONFIG RESETSTAT"));
	for (int i = 0; i < FILLED_CALLS; i++) {
		bench_script(c, &nothing, 0, &none);
		freeReplyObject(bench_reply(c));
	}
	redis_args_clear(&none);
	return evalsha_us(c);
}

static void run_filled(redisContext *c, int64_t entries)
{
	int64_t now_us = clock_real_us();
	double empty_us = empty_script_us(c);

	windows_ms[0] = 1000;
	windows_ms[1] = 60000;
	windows_ms[2] = 3600000;
	limits[0] = ROOM + 1;
	limits[1] = entries / 50 + ROOM + 1; /* of the last minute's */
	limits[2] = entries + ROOM + 1;
	bench_load(c, &lua_acquire);
	for (int64_t i = 0; i < entries; i++) {
		redisAppendCommand(c, "ZADD limit:{bench}:script %lld filled.%llx:1",
				   (long long)(now_us - 3600000000 +
					       (i + 1) * (3500000000 / entries)),
				   (unsigned long long)i);
		freeReplyObject(bench_reply(c));
	}
	redisReply *bytes = redisCommand(c, "MEMORY USAGE limit:{bench}:script SAMPLES 0");
	freeReplyObject(redisCommand(c, "CONFIG RESETSTAT"));
	for (int64_t i = 0; i < FILLED_CALLS; i++) {
		append_acquire(c, i);
		redisReply *reply = bench_reply(c);

		if (reply->element[0]->integer != 1)
			bench_die("denied: %s", reply->element[3]->str);
		freeReplyObject(reply);
		if (i % ROOM == ROOM - 1)
			freeReplyObject(
				redisCommand(c, "ZREMRANGEBYSCORE limit:{bench}:script %lld +inf",
					     (long long)now_us));
	}
	printf("{\"us\": %.2f, \"empty_us\": %.2f, \"bytes\": %lld}\n", evalsha_us(c), empty_us,
	       bytes->integer);
	freeReplyObject(bytes);
}

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 5)
		bench_die(
			"usage: bench_limiter agent PORT SECONDS WAITERS | script PORT SECONDS | filled PORT ENTRIES");
	redisContext *c = bench_redis(bench_int(argv[2]));

	known_since_long(c);
	if (strcmp(argv[1], "filled") == 0)
		run_filled(c, bench_int(argv[3]));
	else if (argc == 5)
		run_agent(bench_int(argv[2]), bench_int(argv[3]), bench_int(argv[4]));
	else
		run_script(c, bench_int(argv[3]));
	redisFree(c);
	return 0;
}
