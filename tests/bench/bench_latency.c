/* How soon an idle worker claims a raw push.
 *   bench_latency worker PORT SAMPLES PID…
 *   bench_latency bare PORT SAMPLES PID…    the same of a child of this program that does nothing else: what the
 *                                           machine, its scheduler and Redis cost
 * From the LPUSH's departure to the news that the claim has happened, which Redis brings over a second connection
 * (client-side tracking of fence:{longshore}, which every claim that gets jobs increments): nothing polls, so
 * nothing but the worker and Redis is measured.  The news itself is part of the figure, once.
 * PIDs (Redis, the worker): how long they, and this program, waited for a core during a sample is read from /proc.  Where that
 * was over DISTURBED_US, somebody else had the machine; the rest are told apart as "undisturbed". */
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "tests/bench/bench.h"

#define GAP_MIN_MS 10 /* between samples: the worker has armed its doorbell anew, and sleeps */
#define GAP_MAX_MS 20
#define WARM_UP 5
#define DISTURBED_US 500
#define PIDS_MAX 4

struct sample {
	double us, waited_us;
};

static int pids[PIDS_MAX], n_pids;

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

static void tracking_on(redisContext *c, redisContext *news, const char *how)
{
	char track[80];

	snprintf(track, sizeof(track), "CLIENT TRACKING ON REDIRECT %lld %s",
		 run_int(news, "CLIENT ID"), how);
	run(news, "SUBSCRIBE __redis__:invalidate");
	run(c, track);
}

/* As a worker does it, and no more: wakes at the news of the list, takes the job, says so, arms itself anew. */
static void bare_worker(int64_t port)
{
	redisContext *c = bench_redis(port), *news = bench_redis(port);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	tracking_on(c, news, "OPTIN NOLOOP");
	for (;;) {
		run(c, "CLIENT CACHING YES");
		if (!run_int(c, "EXISTS bench:queue"))
			freeReplyObject(bench_reply(news));
		redisAppendCommand(c, "RPOP bench:queue");
		run(c, "INCR bench:fence");
		freeReplyObject(bench_reply(c));
	}
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

/* Time that the processes were ready to run and had no core, so far. */
static double waited_us(void)
{
	double sum = 0;

	for (int i = 0; i < n_pids; i++) {
		char path[40], line[100] = "";
		unsigned long long ran, waited;

		snprintf(path, sizeof(path), "/proc/%d/schedstat", pids[i]);
		FILE *f = fopen(path, "r");
		if (!f || !fgets(line, sizeof(line), f) ||
		    sscanf(line, "%llu %llu", &ran, &waited) != 2)
			bench_die("%s tells no times", path);
		fclose(f);
		sum += (double)waited / 1000;
	}
	return sum;
}

static struct sample sample(redisContext *c, redisContext *news, bool bare)
{
	struct sample s;
	double began, waited;

	wait_idle(c);
	run(c, bare ? "GET bench:fence" : "GET fence:{longshore}");
	waited = waited_us();
	began = (double)clock_mono_us();
	run(c, bare ? "LPUSH bench:queue x" : "LPUSH queue:{longshore} {\"task\":\"noop\"}");
	freeReplyObject(bench_reply(news));
	s.us = (double)clock_mono_us() - began;
	s.waited_us = waited_us() - waited;
	return s;
}

static int by_time(const void *a, const void *b)
{
	double x = ((const struct sample *)a)->us, y = ((const struct sample *)b)->us;

	return (x > y) - (x < y);
}

static void print(struct sample *v, int n)
{
	int quiet = 0;

	qsort(v, (size_t)n, sizeof(*v), by_time);
	printf("{\"median_us\": %.0f, \"p99_us\": %.0f, \"max_us\": %.0f", v[n / 2].us,
	       v[n * 99 / 100].us, v[n - 1].us);
	for (int i = 0; i < n; i++)
		if (v[i].waited_us < DISTURBED_US)
			v[quiet++] = v[i];
	printf(", \"undisturbed\": %.3f, \"undisturbed_p99_us\": %.0f, \"undisturbed_max_us\": %.0f}\n",
	       (double)quiet / n, quiet ? v[quiet * 99 / 100].us : 0, quiet ? v[quiet - 1].us : 0);
}

int main(int argc, char **argv)
{
	bool bare = argc >= 4 && strcmp(argv[1], "bare") == 0;

	if (argc < 4 || argc > 4 + PIDS_MAX - 2 || (!bare && strcmp(argv[1], "worker") != 0))
		bench_die("usage: bench_latency worker|bare PORT SAMPLES PID...");
	int64_t port = bench_int(argv[2]);
	int n = (int)bench_int(argv[3]);
	struct sample *v = mem_zalloc((size_t)n * sizeof(*v));
	pid_t child = bare ? fork() : -1;

	if (child == 0)
		bare_worker(port);
	redisContext *c = bench_redis(port), *news = bench_redis(port);
	pids[n_pids++] = (int)getpid();
	if (bare)
		pids[n_pids++] = (int)child;
	for (int i = 4; i < argc; i++)
		pids[n_pids++] = (int)bench_int(argv[i]);
	tracking_on(c, news, "");
	for (int i = 0; i < WARM_UP; i++)
		sample(c, news, bare);
	for (int i = 0; i < n; i++)
		v[i] = sample(c, news, bare);
	if (bare)
		kill(child, SIGKILL);
	print(v, n);
	free(v);
	redisFree(news);
	redisFree(c);
	return 0;
}
