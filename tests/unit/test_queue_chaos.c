/* Workers killed with SIGKILL or frozen at random instants, while an audit script looks at the invariants: every
 * job is done, every child queued exactly once, no cap is ever exceeded, and nothing is left in any key. */
#include "common/queue/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_redis.h"

#define WORKERS 3
#define PARENTS 3000
#define INTEGRATIONS 20
#define PARTNER_CAP 60
#define CAP 8
#define CHAOS_MS 6000
#define FINISH_MS 40000

/* ---- a worker ---- */

static struct {
	struct queue *q, *other;
	int running;
} self;

static void say(const char *command, const char *key, const char *value)
{
	struct err err;

	if (redis_callv(conn, NULL, soon(), &err, command, key, value, NULL) < 0)
		return; /* the connection went: the job runs again or was already counted */
}

static void on_settled(bool held, void *arg)
{
	struct redis_args a;

	redis_args_init(&a);
	redis_arg(&a, "INCR");
	redis_arg(&a, held ? "test:held" : "test:refused");
	redis_send(conn, &a, NULL, NULL);
	redis_args_clear(&a);
}

static void parent_settle(struct lease *l, int64_t n)
{
	struct settlement *s;
	char payload[96];
	struct queue_push child = { .lane = LANE_LOW,
				    .integration = l->integration,
				    .payload = payload };

	if (l->header.attempts == 0 && random() % 10 == 0) {
		struct job_header h = l->header;

		h.attempts = 1;
		s = settlement_new(l, SETTLE_DELAY);
		settlement_set_header(s, &h);
		settlement_set_due(s, redis_now_ms(conn) + random() % 50);
	} else {
		child.len =
			(size_t)snprintf(payload, sizeof(payload),
					 "{\"task\":\"child\",\"integration_id\":%lld,\"n\":%lld}",
					 (long long)l->integration, (long long)n);
		s = settlement_new(l, SETTLE_DONE);
		settlement_add_child(s, n % 3 ? "p" : "o", &child);
	}
	queue_settle(self.q, s, on_settled, NULL);
}

static void work(void *arg)
{
	struct lease *l = arg;
	struct queue *q = l->queue;
	struct job j;
	int64_t n = -1;
	char ledger[128];

	CHECK(co_sleep("work", random() % 15) == 0);
	CHECK(job_parse(l->payload, l->payload_len, &j, NULL) == 0);
	CHECK(json_int(j.tree, "n", &n));
	bool child = strcmp(j.task, "child") == 0;
	snprintf(ledger, sizeof(ledger), "%lld %s", (long long)n, child ? l->header.id : "");
	say("SADD", child ? "test:children" : "test:parents", ledger);
	if (random() % 50 == 0)
		queue_settle(q, settlement_new(l, SETTLE_AGAIN), on_settled, NULL);
	else if (child)
		queue_settle(q, settlement_new(l, SETTLE_DONE), on_settled, NULL);
	else
		parent_settle(l, n);
	job_clear(&j);
	free(l);
	self.running--;
}

static void serve(void *arg)
{
	struct queue *q = arg;
	struct err err;

	for (;;) {
		struct claim_result r = { 0 };

		if (redis_wait_up(conn, CO_NO_DEADLINE) == 0 && self.running < 30)
			(void)!queue_claim(q, 30 - self.running, &r, soon(), &err);
		for (int i = 0; i < r.n; i++) {
			struct lease *l = mem_alloc(sizeof(*l));

			*l = r.leases[i];
			self.running++;
			CHECK(co_spawn("work", work, l) != NULL);
		}
		free(r.leases);
		if (!r.n)
			CHECK(co_sleep("idle", 3) == 0);
	}
}

static void connect_here(void)
{
	struct redis_options o = { .url = server.url };
	struct err err;

	redisFree(server.plain);
	server.plain = NULL;
	srandom((unsigned)getpid());
	if (loop_init() < 0 || redis_new(&o, &conn, &err) < 0)
		_exit(1);
}

static void worker_main(const char *epoch)
{
	connect_here();
	self.q = queue_new(conn, "p", epoch);
	self.other = queue_new(conn, "o", epoch);
	if (!co_spawn("p", serve, self.q) || !co_spawn("o", serve, self.other))
		_exit(1);
	loop_run();
	_exit(1);
}

/* ---- what schedulers and supervisors do ---- */

static char dead_epochs[4096][40];
static int n_dead_epochs;

static void keep(void *arg)
{
	struct queue *q[] = { queue_new(conn, "p", NULL), queue_new(conn, "o", NULL) };
	struct err err;
	int reaped_upto = 0;

	for (;;) {
		char line[40];

		while (fgets(line, sizeof(line), stdin)) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(dead_epochs[n_dead_epochs++], sizeof(line), "%s", line);
		}
		clearerr(stdin);
		for (int i = 0; i < 2; i++) {
			(void)!queue_promote(q[i], NULL, NULL, soon(), &err);
			(void)!queue_relay(q[i], NULL, soon(), &err);
			(void)!queue_reap(q[i], NULL, NULL, soon(), &err);
			for (int k = reaped_upto; k < n_dead_epochs; k++)
				(void)!queue_reap(q[i], dead_epochs[k], NULL, soon(), &err);
		}
		/* A killed process's last bytes may be read after its end: the latest are looked at again. */
		reaped_upto = n_dead_epochs > 5 ? n_dead_epochs - 5 : 0;
		CHECK(co_sleep("keep", 10) == 0);
	}
}

static void keeper_main(int in)
{
	if (dup2(in, 0) < 0)
		_exit(1);
	connect_here();
	if (!co_spawn("keep", keep, NULL))
		_exit(1);
	loop_run();
	_exit(1);
}

/* ---- the test ---- */

/* Atomic: caps, busy = leases, and who could run is in the ring.  -> "" or what is wrong */
static const char audit_source[] =
	"local p = ARGV[1]\n"
	"local flight, busy = redis.call('HKEYS', 'flight:'..p), redis.call('HGETALL', 'busy:'..p)\n"
	"if #flight > tonumber(ARGV[2]) then return 'partner cap: '..#flight end\n"
	"local count, seen = {}, {}\n"
	"for _, f in ipairs(flight) do local i = f:match(':(%d+)$'); count[i] = (count[i] or 0) + 1 end\n"
	"for j = 1, #busy, 2 do seen[busy[j]] = tonumber(busy[j + 1]) end\n"
	"for i, n in pairs(count) do\n"
	"  if n > tonumber(ARGV[3]) then return 'cap of '..i..': '..n end\n"
	"  if seen[i] ~= n then return 'busy of '..i..': '..tostring(seen[i])..' but '..n end\n"
	"end\n"
	"for i, n in pairs(seen) do if not count[i] then return 'busy of '..i..': '..n..' but none' end end\n"
	"for _, lane in ipairs({':high', ':normal', ':low'}) do\n"
	"  for i = 1, tonumber(ARGV[4]) do\n"
	"    if redis.call('ZCOUNT', 'ready:'..p..lane, i, i) > 0 and (count[tostring(i)] or 0) < tonumber(ARGV[3])\n"
	"       and not redis.call('ZSCORE', 'ring:'..p..lane, i) then return 'not in the ring'..lane..': '..i end\n"
	"  end\n"
	"end\n"
	"return ''";

static int audits, audit_failures;

static void audit(const char *tag)
{
	redisReply *r =
		plain("EVAL %s 0 %s %d %d %d", audit_source, tag, PARTNER_CAP, CAP, INTEGRATIONS);

	audits++;
	if (r->type != REDIS_REPLY_STRING || r->len > 0) {
		if (audit_failures++ < 5)
			fprintf(stderr, "audit %s: %s\n", tag, r->str ? r->str : "?");
	}
	freeReplyObject(r);
}

static struct {
	pid_t pid;
	char epoch[40];
} worker[WORKERS];
static int started, killed;

static void worker_start(int i)
{
	snprintf(worker[i].epoch, sizeof(worker[i].epoch), "w%d-%d", i, started++);
	worker[i].pid = fork();
	if (worker[i].pid == 0)
		worker_main(worker[i].epoch);
}

static void worker_end(int i, int to_keeper)
{
	kill(worker[i].pid, SIGKILL);
	waitpid(worker[i].pid, NULL, 0);
	dprintf(to_keeper, "%s\n", worker[i].epoch);
	killed++;
}

/* Taken for dead while it only slept: its jobs go to others, and it must not be able to finish them. */
static void worker_freeze(int i, int to_keeper)
{
	kill(worker[i].pid, SIGSTOP);
	dprintf(to_keeper, "%s\n", worker[i].epoch);
	usleep(100000);
	kill(worker[i].pid, SIGCONT);
}

static void push_parents(int from, int to)
{
	for (int n = from; n < to && n < PARENTS; n++)
		freeReplyObject(plain(
			"LPUSH queue:{p} {\"task\":\"parent\",\"integration_id\":%d,\"n\":%d}",
			1 + (n * n) % INTEGRATIONS, n));
}

static bool all_done(void)
{
	return plain_int("SCARD test:parents") == PARENTS &&
	       plain_int("SCARD test:children") >= PARENTS &&
	       plain_int(
		       "EXISTS flight:{p} flight:{o} delayed:{p} delayed:{o} outbox:{p} ready:{p}:low ready:{p}:normal "
		       "ready:{o}:low queue:{p}") == 0;
}

static void caps_set(void)
{
	static const char *const tags[] = { "p", "o" };

	for (int i = 0; i < 2; i++)
		freeReplyObject(plain("HSET control:{%s} gen 1 partner %d default %d", tags[i],
				      PARTNER_CAP, CAP));
}

static void wreck(int to_keeper)
{
	int64_t begin = clock_mono_ms();
	int pushed = 0;

	while (clock_mono_ms() - begin < CHAOS_MS) {
		int i = (int)(random() % WORKERS);

		push_parents(pushed, pushed + PARENTS / 40);
		pushed += PARENTS / 40;
		for (int k = (int)(random() % 40); k >= 0; k--) {
			audit("{p}");
			audit("{o}");
			usleep(1000);
		}
		if (random() % 8 == 0) {
			worker_freeze(i, to_keeper);
		} else {
			worker_end(i, to_keeper);
			worker_start(i);
		}
	}
	push_parents(pushed, PARENTS);
}

static void chaos(void **state)
{
	int ends[2], flags = O_NONBLOCK;
	const char *const allowed[] = { "control:", "seq:",  "fence:", "worker:",
					"seen:",    "test:", NULL };

	assert_int_equal(pipe(ends), 0);
	assert_true(fcntl(ends[0], F_SETFL, flags) == 0);
	caps_set();
	pid_t keeper = fork();
	if (keeper == 0)
		keeper_main(ends[0]);
	for (int i = 0; i < WORKERS; i++)
		worker_start(i);
	wreck(ends[1]);
	int64_t begin = clock_mono_ms();
	while (!all_done() && clock_mono_ms() - begin < FINISH_MS) {
		audit("{p}");
		audit("{o}");
		usleep(2000);
	}
	usleep(50000);
	for (int i = 0; i < WORKERS; i++)
		worker_end(i, ends[1]);
	kill(keeper, SIGKILL);
	waitpid(keeper, NULL, 0);
	printf("%d kills, %d audits, %lld settled, %lld refused\n", killed, audits,
	       plain_int("GET test:held"), plain_int("GET test:refused"));
	assert_int_equal(audit_failures, 0);
	assert_true(audits > 30 && killed > 5);
	assert_int_equal(plain_int("SCARD test:parents"), PARENTS);
	/* Number and id of each: a child queued twice would have two ids. */
	assert_int_equal(plain_int("SCARD test:children"), PARENTS);
	freeReplyObject(plain("DEL ring:{p}:high ring:{p}:normal ring:{p}:low ring:{o}:low"));
	char *left = some_key_but(allowed);
	if (left)
		fail_msg("left over: %s", left);
}

static int setup(void **state)
{
	log_init("test_queue_chaos", LOG_ERROR, false);
	srandom((unsigned)getpid());
	return server_start(NULL, NULL);
}

static int teardown(void **state)
{
	server_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chaos),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
