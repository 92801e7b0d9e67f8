/* The queue without the worker.
 *   bench_queue push PORT N BYTES       N raw noop jobs into queue:{longshore}
 *   bench_queue list PORT N BYTES       the bare list: the same payloads, LPUSH then RPOP, 100 in the pipeline
 *   bench_queue scripts PORT N BYTES    admit, claim and finish as the worker sends them, in a plain loop
 * BYTES is the length of the payload, filled up in args. */
#include "common/queue/job.h"
#include "common/queue/scripts.h"
#include "tests/bench/bench.h"

#define PIPELINE 100
#define BATCH 200    /* jobs a claim, as the worker's pool asks */
#define ADMIT 400    /* jobs a slice, QUEUE_SLICE_JOBS */
#define CLAIMS_OUT 2 /* under way */
#define EPOCH "bench-1-00000000"

static const char *const lanes[] = { "high", "normal", "low" };

static void payload_make(struct buf *out, int64_t bytes)
{
	static const char bare[] = "{\"task\":\"noop\"}",
			  head[] = "{\"task\":\"noop\",\"args\":{\"pad\":\"";

	if (bytes < (int64_t)sizeof(head) + 4) {
		buf_puts(out, bare);
		return;
	}
	buf_puts(out, head);
	while ((int64_t)out->len < bytes - 3)
		buf_putc(out, 'x');
	buf_puts(out, "\"}}");
}

/* ---- lists ---- */
static void append_list(redisContext *c, const char *command, const char *key,
			const struct buf *payload)
{
	const char *v[] = { command, key, payload ? payload->data : NULL };
	size_t len[] = { strlen(command), strlen(key), payload ? payload->len : 0 };

	redisAppendCommandArgv(c, payload ? 3 : 2, v, len);
}

/* n commands, PIPELINE of them under way. */
static void run_list(redisContext *c, const char *command, const char *key,
		     const struct buf *payload, int64_t n)
{
	for (int64_t sent = 0; sent < n;) {
		int64_t k = n - sent < PIPELINE ? n - sent : PIPELINE;

		for (int64_t i = 0; i < k; i++)
			append_list(c, command, key, payload);
		for (int64_t i = 0; i < k; i++) {
			redisReply *reply = bench_reply(c);

			if (reply->type == REDIS_REPLY_NIL)
				bench_die("the list ended early");
			freeReplyObject(reply);
		}
		sent += k;
	}
}

static void push(redisContext *c, int64_t n, const struct buf *payload)
{
	run_list(c, "LPUSH", "queue:{longshore}", payload, n);
	printf("{\"pushed\": %lld}\n", (long long)n);
}

static void list(redisContext *c, int64_t n, const struct buf *payload)
{
	double began = (double)clock_mono_us(), middle, ended;

	run_list(c, "LPUSH", "bench:list", payload, n);
	middle = (double)clock_mono_us();
	run_list(c, "RPOP", "bench:list", NULL, n);
	ended = (double)clock_mono_us();
	printf("{\"push_per_s\": %.0f, \"pop_per_s\": %.0f, \"jobs_per_s\": %.0f}\n",
	       (double)n * 1e6 / (middle - began), (double)n * 1e6 / (ended - middle),
	       (double)n * 1e6 / (ended - began));
}

/* ---- scripts ---- */
static char keys[24][48];
static int n_keys;

static const char *key(const char *kind, const char *lane)
{
	char *k = keys[n_keys++];

	snprintf(k, sizeof(keys[0]), "%s:{longshore}%s%s", kind, lane ? ":" : "", lane ? lane : "");
	return k;
}

static void arg_lanes(struct redis_args *a, const char *kind)
{
	for (int i = 0; i < 3; i++)
		redis_arg(a, key(kind, lanes[i]));
}

static void arg_intake(struct redis_args *a)
{
	redis_arg(a, key("queue", "high"));
	redis_arg(a, key("queue", NULL));
	redis_arg(a, key("queue", "low"));
}

static void append_admit(redisContext *c)
{
	struct redis_args a;

	n_keys = 0;
	redis_args_init(&a);
	redis_arg(&a, key("queue", NULL));
	redis_arg(&a, key("ready", "normal"));
	redis_arg(&a, key("ring", "normal"));
	redis_arg(&a, key("seq", NULL));
	redis_arg(&a, key("packed", NULL));
	redis_arg_int(&a, ADMIT);
	redis_arg_int(&a, 256 * 1024);
	redis_arg(&a, "2");
	bench_script(c, &lua_admit, 5, &a);
	redis_args_clear(&a);
}

static void append_claim(redisContext *c, int64_t first)
{
	struct redis_args a;

	n_keys = 0;
	redis_args_init(&a);
	arg_intake(&a);
	arg_lanes(&a, "ready");
	arg_lanes(&a, "ring");
	redis_arg(&a, key("flight", NULL));
	redis_arg(&a, key("busy", NULL));
	redis_arg(&a, key("control", NULL));
	redis_arg(&a, key("worker", EPOCH));
	redis_arg(&a, key("fence", NULL));
	redis_arg(&a, key("breaker", NULL));
	redis_arg(&a, key("packed", NULL));
	redis_arg_int(&a, BATCH);
	redis_arg(&a, EPOCH);
	redis_arg_int(&a, first);
	redis_arg_int(&a, 8000);
	redis_arg_int(&a, 20);
	redis_arg(&a, "123");
	redis_arg(&a, "0");
	bench_script(c, &lua_claim, 16, &a);
	redis_args_clear(&a);
}

static void append_finish(redisContext *c, int64_t first, int64_t n)
{
	static char ids[BATCH][64];
	struct redis_args a;

	n_keys = 0;
	redis_args_init(&a);
	redis_arg(&a, key("flight", NULL));
	redis_arg(&a, key("busy", NULL));
	redis_arg(&a, key("control", NULL));
	arg_lanes(&a, "ready");
	arg_lanes(&a, "ring");
	redis_arg(&a, "0");
	redis_arg_int(&a, n);
	for (int64_t i = 0; i < n; i++) {
		snprintf(ids[i], sizeof(ids[i]), EPOCH ":%lld:2:0", (long long)(first + i));
		redis_arg(&a, ids[i]);
	}
	bench_script(c, &lua_finish, 9, &a);
	redis_args_clear(&a);
}

/* As the worker does: the raw list is emptied before anything is claimed. */
static void admit_all(redisContext *c)
{
	int64_t left = 1;

	for (int out = 0; left > 0 || out > 0;) {
		for (; left > 0 && out < CLAIMS_OUT; out++)
			append_admit(c);
		redisReply *reply = bench_reply(c);

		left = reply->element[1]->integer;
		out--;
		freeReplyObject(reply);
	}
}

/* Jobs in a claim's answer: header of 7, then lane, integration, count, members.  All are of integration 0. */
static int64_t claimed(const redisReply *reply)
{
	if (reply->elements < 7)
		bench_die("claim: nothing could be claimed (%zu elements)", reply->elements);
	return reply->elements > 9 ? reply->element[9]->integer : 0;
}

/* The answers come in the order that was asked: a claim, then the finish of the claim CLAIMS_OUT before it. */
static int64_t claim_all(redisContext *c)
{
	int64_t next = 1, oldest = 1, done = 0, finishing[CLAIMS_OUT] = { 0 };

	for (int i = 0; i < CLAIMS_OUT; i++, next += BATCH)
		append_claim(c, next);
	for (int i = 0;; i = (i + 1) % CLAIMS_OUT) {
		redisReply *reply = bench_reply(c);
		int64_t n = claimed(reply);

		freeReplyObject(reply);
		if (finishing[i]) {
			reply = bench_reply(c);
			done += reply->element[0]->integer;
			finishing[i] = 0;
			freeReplyObject(reply);
		}
		if (!n && !finishing[0] && !finishing[1])
			break;
		append_claim(c, next);
		if (n)
			append_finish(c, oldest, n);
		finishing[i] = n;
		oldest += BATCH;
		next += BATCH;
	}
	return done;
}

static void scripts(redisContext *c, int64_t n, const struct buf *payload)
{
	redisContext *info = bench_redis(c->tcp.port);
	double began, admitted, ended, cpu, redis;

	bench_load(c, &lua_admit);
	bench_load(c, &lua_claim);
	bench_load(c, &lua_finish);
	freeReplyObject(redisCommand(c, "HSET control:{longshore} gen 1 partner 2000 default 64"));
	run_list(c, "LPUSH", "queue:{longshore}", payload, n);
	redis = bench_redis_cpu_us(info);
	cpu = bench_cpu_us();
	began = (double)clock_mono_us();
	admit_all(c);
	admitted = (double)clock_mono_us();
	if (claim_all(c) != n)
		bench_die("other than %lld jobs were finished", (long long)n);
	ended = (double)clock_mono_us();
	printf("{\"jobs_per_s\": %.0f, \"admit_per_s\": %.0f, \"claim_finish_per_s\": %.0f, \"cpu_us\": %.2f, \"redis_us\": %.2f}\n",
	       (double)n * 1e6 / (ended - began), (double)n * 1e6 / (admitted - began),
	       (double)n * 1e6 / (ended - admitted), (bench_cpu_us() - cpu) / (double)n,
	       (bench_redis_cpu_us(info) - redis) / (double)n);
	redisFree(info);
}

int main(int argc, char **argv)
{
	struct buf payload = BUF_INIT;

	if (argc != 5)
		bench_die("usage: bench_queue push|list|scripts PORT N BYTES");
	redisContext *c = bench_redis(bench_int(argv[2]));
	int64_t n = bench_int(argv[3]);

	payload_make(&payload, bench_int(argv[4]));
	if (strcmp(argv[1], "push") == 0)
		push(c, n, &payload);
	else if (strcmp(argv[1], "list") == 0)
		list(c, n, &payload);
	else
		scripts(c, n, &payload);
	buf_clear(&payload);
	redisFree(c);
	return 0;
}
