/* The least that a queue with leases costs: lists, one hash of what is in flight, a cap on it, a heartbeat; no fairness.
 *   bench_bare PORT N BYTES
 * Pushes N payloads, then times: a script moves a batch into bench:flight under fresh lease ids, one HDEL ends it.
 * Pipelined, nothing is done with the jobs.  This is the limit that the worker is measured against. */
#include "tests/bench/bench.h"

#define BATCH 100
#define BATCHES_OUT 4
#define EPOCH "bench-1-00000000"

static struct redis_script take = {
	.name = "take",
	.source =
		"redis.call('SET', KEYS[5], '1', 'PX', 8000)\n"
		"local n = math.min(tonumber(ARGV[1]), 100000 - redis.call('HLEN', KEYS[4]))\n"
		"local out, flight, number = {0, 0, 0}, {}, tonumber(ARGV[3])\n"
		"for lane = 1, 3 do\n"
		"	local got = n > 0 and redis.call('RPOP', KEYS[lane], n)\n"
		"	if got then\n"
		"		out[lane], n = #got, n - #got\n"
		"		for j = 1, #got do\n"
		"			flight[#flight + 1] = ARGV[2] .. ':' .. number .. ':' .. lane\n"
		"			flight[#flight + 1] = got[j]\n"
		"			out[#out + 1] = got[j]\n"
		"			number = number + 1\n"
		"		end\n"
		"	end\n"
		"end\n"
		"if #flight > 0 then redis.call('HSET', KEYS[4], unpack(flight)) end\n"
		"return out\n",
};

static void append_take(redisContext *c, int64_t first)
{
	struct redis_args a;

	redis_args_init(&a);
	redis_arg(&a, "bench:high");
	redis_arg(&a, "bench:list");
	redis_arg(&a, "bench:low");
	redis_arg(&a, "bench:flight");
	redis_arg(&a, "bench:worker");
	redis_arg_int(&a, BATCH);
	redis_arg(&a, EPOCH);
	redis_arg_int(&a, first);
	bench_script(c, &take, 5, &a);
	redis_args_clear(&a);
}

static void append_end(redisContext *c, int64_t first, size_t n)
{
	static char ids[BATCH][48];
	const char *v[BATCH + 2] = { "HDEL", "bench:flight" };
	size_t len[BATCH + 2] = { 4, 12 };

	for (size_t i = 0; i < n; i++) {
		len[i + 2] = (size_t)snprintf(ids[i], sizeof(ids[i]), EPOCH ":%lld:2",
					      (long long)(first + (int64_t)i));
		v[i + 2] = ids[i];
	}
	redisAppendCommandArgv(c, (int)n + 2, v, len);
}

/* One batch's answer is read while the others are under way; its HDEL follows at once, with the next script. */
static int64_t take_all(redisContext *c)
{
	int64_t sent = 1, read = 1, done = 0;
	bool ending[BATCHES_OUT] = { false };

	for (int i = 0; i < BATCHES_OUT; i++, sent += BATCH)
		append_take(c, sent);
	for (int i = 0, out = BATCHES_OUT; out > 0; i = (i + 1) % BATCHES_OUT, read += BATCH) {
		redisReply *reply = bench_reply(c);
		size_t n = reply->elements - 3;

		freeReplyObject(reply);
		if (ending[i]) {
			reply = bench_reply(c);
			done += reply->integer;
			freeReplyObject(reply);
		}
		ending[i] = n > 0;
		if (n > 0) {
			append_take(c, sent);
			append_end(c, read, n);
			sent += BATCH;
		} else {
			out--;
		}
	}
	return done;
}

static void fill(redisContext *c, int64_t n, const struct buf *payload)
{
	const char *v[] = { "LPUSH", "bench:list", payload->data };
	size_t len[] = { 5, 10, payload->len };

	for (int64_t i = 0; i < n; i++) {
		redisAppendCommandArgv(c, 3, v, len);
		if (i % BATCH == BATCH - 1 || i == n - 1)
			for (int64_t k = i % BATCH; k >= 0; k--)
				freeReplyObject(bench_reply(c));
	}
}

/* Redis packs a hash of short values into an array that it searches from the front: a long one prevents it, as the
 * queue's own members do, which carry a header. */
static void keep_hashed(redisContext *c)
{
	redisAppendCommand(c, "HSET bench:flight long %0100d", 0);
	freeReplyObject(bench_reply(c));
}

int main(int argc, char **argv)
{
	struct buf payload = BUF_INIT;

	if (argc != 4)
		bench_die("usage: bench_bare PORT N BYTES");
	redisContext *c = bench_redis(bench_int(argv[1]));
	int64_t n = bench_int(argv[2]), bytes = bench_int(argv[3]);

	for (int64_t i = 0; i < bytes; i++)
		buf_putc(&payload, 'x');
	bench_load(c, &take);
	fill(c, n, &payload);
	keep_hashed(c);
	double cpu = bench_cpu_us(), redis = bench_redis_cpu_us(c), began = (double)clock_mono_us();
	if (take_all(c) != n)
		bench_die("other than %lld jobs were ended", (long long)n);
	double us = (double)clock_mono_us() - began;
	printf("{\"jobs_per_s\": %.0f, \"cpu_us\": %.2f, \"redis_us\": %.2f}\n",
	       (double)n * 1e6 / us, (bench_cpu_us() - cpu) / (double)n,
	       (bench_redis_cpu_us(c) - redis) / (double)n);
	buf_clear(&payload);
	redisFree(c);
	return 0;
}
