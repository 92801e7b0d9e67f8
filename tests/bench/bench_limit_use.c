/* How much of what is allowed is used: bench_limit_use PORT SECONDS PROCESSES
 * So many processes with 50 coroutines each take permits of two tiers as fast as they come.  Beside it what the tiers as stated, without
 * the limiter's margins, would let one take at most who knows it all.  Ends with 1 if a window was over. */
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/limiter.h"
#include "tests/bench/bench.h"

#define WAITERS 50
#define CALLS_MAX 100000

static const struct limit_tier tiers[] = { { .limit = 50, .window_ms = 1000 },
					   { .limit = 200, .window_ms = 5000 } };

static struct limiter *limiter;
static struct limit_set set;
static int64_t at[CALLS_MAX], best[CALLS_MAX];
static int to;

static void caller_run(void *arg)
{
	for (;;) {
		struct permit p;

		if (limiter_acquire(limiter, &set, 60000, &p, NULL, NULL, CO_NO_DEADLINE, NULL) < 0)
			continue;
		if (write(to, &p.granted_us, sizeof(p.granted_us)) != sizeof(p.granted_us))
			_exit(1);
		limiter_release(limiter, &p);
	}
}

static void caller(int64_t port)
{
	char url[64], epoch[24];
	struct err err = { 0 };
	struct redis_options o = { .url = url, .client_name = "bench" };
	struct redis *redis;

	snprintf(url, sizeof(url), "redis://127.0.0.1:%lld", (long long)port);
	snprintf(epoch, sizeof(epoch), "bench-%d", (int)getpid());
	if (loop_init() < 0 || redis_new(&o, &redis, &err) < 0)
		bench_die("redis: %s", err.text);
	limiter = limiter_new(redis, epoch);
	set.partner = "bench";
	set.n_scopes = 1;
	snprintf(set.scopes[0].name, sizeof(set.scopes[0].name), "127.0.0.1:1:use");
	set.scopes[0].n_tiers = (int)ARRAY_LEN(tiers);
	memcpy(set.scopes[0].tiers, tiers, sizeof(tiers));
	for (int i = 0; i < WAITERS; i++)
		if (!co_spawn("caller", caller_run, NULL))
			bench_die("no coroutine");
	loop_run();
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int over(int n)
{
	int bad = 0;

	for (size_t k = 0; k < ARRAY_LEN(tiers); k++)
		for (int i = (int)tiers[k].limit; i < n; i++)
			bad += at[i] - at[i - tiers[k].limit] < tiers[k].window_ms * 1000;
	return bad;
}

/* Each as soon as all tiers have room. */
static int allowed(int64_t from_us, int64_t to_us)
{
	int n = 0;

	for (int64_t now = from_us; n < CALLS_MAX; n++) {
		for (size_t k = 0; k < ARRAY_LEN(tiers); k++) {
			int64_t limit = tiers[k].limit, window_us = tiers[k].window_ms * 1000;

			if (n >= limit && best[n - limit] + window_us > now)
				now = best[n - limit] + window_us;
		}
		if (now > to_us)
			break;
		best[n] = now;
	}
	return n;
}

static int gather(int from, pid_t *pids, int processes, int64_t seconds)
{
	int n = 0;

	usleep((useconds_t)seconds * 1000000);
	for (int i = 0; i < processes; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	while (n < CALLS_MAX && read(from, &at[n], sizeof(at[0])) == sizeof(at[0]))
		n++;
	qsort(at, (size_t)n, sizeof(at[0]), by_value);
	return n;
}

int main(int argc, char **argv)
{
	pid_t pids[16];
	int ends[2], n, most, processes = argc == 4 ? (int)bench_int(argv[3]) : 0;

	if (processes < 1 || processes > 16)
		bench_die("usage: bench_limit_use PORT SECONDS PROCESSES");
	redisContext *c = bench_redis(bench_int(argv[1]));
	freeReplyObject(redisCommand(c, "SET limit:{bench}:since 1"));
	if (pipe(ends) < 0)
		bench_die("no pipe");
	to = ends[1];
	for (int i = 0; i < processes; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			caller(bench_int(argv[1]));
	}
	close(ends[1]);
	n = gather(ends[0], pids, processes, bench_int(argv[2]));
	most = n > 0 ? allowed(at[0], at[n - 1]) : 1;
	printf("{\"calls\": %d, \"allowed\": %d, \"over\": %d}\n", n, most, over(n));
	redisFree(c);
	return n == 0 || over(n) > 0;
}
