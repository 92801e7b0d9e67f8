/* How soon an idle worker claims a raw push.
 *   bench_latency PORT SAMPLES
 * From the LPUSH's departure to the news that the claim has happened, which Redis brings over a second connection
 * (client-side tracking of fence:{longshore}, which every claim that gets jobs increments): nothing polls, so
 * nothing but the worker and Redis is measured.  The news itself is part of the figure, once. */
#include <time.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "tests/bench/bench.h"

#define GAP_MIN_MS 10 /* between samples: the worker has armed its doorbell anew, and sleeps */
#define GAP_MAX_MS 50
#define WARM_UP 5

static void run(redisContext *c, const char *command)
{
	redisAppendCommand(c, command);
	freeReplyObject(bench_reply(c));
}

static long long run_int(redisContext *c, const char *command)
{
	redisAppendCommand(c, command);
	redisReply *reply = bench_reply(c);
	long long n = reply->integer;

	freeReplyObject(reply);
	return n;
}

static void sleep_ms(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static void wait_idle(redisContext *c)
{
	for (int i = 0; run_int(c, "HLEN flight:{longshore}") > 0; i++) {
		if (i == 5000)
			bench_die("a noop was not finished within 5 s");
		sleep_ms(1);
	}
	sleep_ms(GAP_MIN_MS + (long)random_below(GAP_MAX_MS - GAP_MIN_MS));
}

static double sample_us(redisContext *c, redisContext *news)
{
	double began;

	wait_idle(c);
	run(c, "GET fence:{longshore}");
	began = (double)clock_mono_us();
	run(c, "LPUSH queue:{longshore} {\"task\":\"noop\"}");
	freeReplyObject(bench_reply(news));
	return (double)clock_mono_us() - began;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		bench_die("usage: bench_latency PORT SAMPLES");
	redisContext *c = bench_redis(bench_int(argv[1])), *news = bench_redis(bench_int(argv[1]));
	int n = (int)bench_int(argv[2]);
	double *us = mem_zalloc((size_t)n * sizeof(*us));
	char track[80];

	snprintf(track, sizeof(track), "CLIENT TRACKING ON REDIRECT %lld",
		 run_int(news, "CLIENT ID"));
	run(news, "SUBSCRIBE __redis__:invalidate");
	run(c, track);
	for (int i = 0; i < WARM_UP; i++)
		sample_us(c, news);
	for (int i = 0; i < n; i++)
		us[i] = sample_us(c, news);
	qsort(us, (size_t)n, sizeof(*us), by_size);
	printf("{\"median_us\": %.0f, \"p99_us\": %.0f, \"max_us\": %.0f}\n", us[n / 2],
	       us[n * 99 / 100], us[n - 1]);
	free(us);
	redisFree(news);
	redisFree(c);
	return 0;
}
