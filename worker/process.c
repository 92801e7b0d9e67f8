#include "worker/process.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rss.h"
#include "common/io/co.h"
#include "common/io/http.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "drivers/kit/lookup_kinds.h"
#include "worker/home.h"
#include "worker/integrations.h"
#include "worker/pool.h"
#include "worker/run.h"
#include "worker/sink.h"
#include "worker/tasks/units.h"
#include "worker/waits.h"

#define BEAT_MS 1000
#define FLEET_MS 2000 /* worker:{longshore}:EPOCH lives 8 s */

static struct {
	const struct settings *s;
	struct worker w;
	struct queue *queues[WORKER_PARTNERS_MAX];
	int signals, exit_code;
	bool pool_up;
	struct co *start, *beat;
	char host[64];
	int64_t rss_bytes;
} self;

/* ---- heartbeats ---- */
static void print_info(struct buf *out)
{
	buf_puts(out, "{\"host\":");
	json_quote(out, self.host, strlen(self.host));
	buf_printf(
		out,
		",\"pid\":%d,\"version\":\"%s\",\"in_flight\":%d,\"concurrency\":%d,\"rss_bytes\":%lld,\"partners\":[",
		(int)getpid(), LONGSHORE_VERSION, pool_running(), (int)self.s->concurrency,
		(long long)self.rss_bytes);
	for (int i = 0; i < self.s->n_names; i++)
		buf_printf(out, "%s\"%s\"", i ? "," : "", self.s->names[i]);
	/* which key it encrypts with, and which it can read: a rotation waits for all to have the new one */
	buf_puts(out, "],\"keys\":[");
	for (int i = 0; keyring_id(self.w.keyring, i); i++)
		buf_printf(out, "%s\"%s\"", i ? "," : "", keyring_id(self.w.keyring, i));
	buf_puts(out, "],\"waits\":");
	waits_print(out);
	if (self.s->jobs) /* so that nobody takes it for one that stays */
		buf_printf(out, ",\"ends_after\":%lld", (long long)self.s->jobs);
	buf_puts(out, ",\"tasks\":");
	run_print_tasks(out);
	buf_puts(out, ",\"actions\":");
	run_print_actions(self.w.drivers, self.s->names, self.s->n_names, out);
	buf_puts(out, ",\"lookup_kinds\":");
	lookup_kinds_print(out);
	buf_puts(out, ",\"egress\":");
	json_quote(out, door_egress(self.w.door), strlen(door_egress(self.w.door)));
	buf_puts(out, ",\"permits_awaited\":");
	door_print_waiting(self.w.door, out);
	buf_putc(out, '}');
}

static void beat_fleet(void)
{
	struct buf info = BUF_INIT;
	struct err err = { 0 };

	print_info(&info);
	if (fleet_beat(self.w.redis, self.w.epoch, info.data, loop_now_ms() + FLEET_MS, &err) == 0)
		pool_note_touch();
	buf_clear(&info);
}

static void measure(void)
{
	struct rusage ru;
	const char *who = "";
	int64_t lag = loop_lag_ms(&who);

	getrusage(RUSAGE_SELF, &ru);
	self.rss_bytes = rss_watch();
	metric_set(metrics_gauge("longshore_worker_max_rss_bytes", "Peak resident memory.", NULL),
		   ru.ru_maxrss * 1024.0);
	metric_set(metrics_gauge("longshore_loop_lag_seconds",
				 "Longest time one turn of the loop took.", NULL),
		   lag / 1000.0);
	if (lag > 500)
		log_event(LOG_WARN, "loop_lag", LI("ms", lag), LS("held_by", who));
}

static void beat_run(void *arg)
{
	int64_t fleet_ms = 0;

	do {
		if (redis_is_up(self.w.redis)) {
			pool_beat();
			if (loop_now_ms() - fleet_ms >= FLEET_MS) {
				fleet_ms = loop_now_ms();
				beat_fleet();
			}
		}
		measure();
	} while (co_sleep("beat", BEAT_MS) == 0);
	self.beat = NULL;
}

/* ---- starting ---- */
static void fail(const char *reason, int code)
{
	log_event(LOG_ERROR, "not_started", LS("reason", reason));
	self.exit_code = code;
	loop_stop();
}

static int wait_for_servers(void)
{
	struct err err = { 0 };
	int rc;

	while ((rc = redis_wait_up(self.w.redis, loop_now_ms() + 5000)) < 0) {
		if (rc == -ECANCELED)
			return rc;
		log_event(LOG_WARN, "waiting_for_redis", LS("url", redis_url_shown(self.w.redis)));
	}
	while ((rc = pg_wait_up(self.w.pg, loop_now_ms() + 5000, &err)) < 0) {
		if (rc == -ECANCELED)
			return rc;
		log_event(LOG_WARN, "waiting_for_postgres", LS("url", pg_url_shown(self.w.pg)),
			  LS("reason", err.text));
	}
	while ((rc = migrate_check(self.w.pg, &err)) < 0 && rc != -ENODATA)
		if (rc == -ECANCELED || co_sleep("postgres", 1000) < 0)
			return -ECANCELED;
	if (rc == -ENODATA)
		fail(err.text, EXIT_FAILED);
	return rc;
}

static void on_over(void)
{
	log_event(LOG_INFO, "jobs_over", LI("bound", self.s->jobs));
	raise(SIGTERM);
}

static void start_run(void *arg)
{
	struct pool_options po = { .worker = &self.w,
				   .queues = self.queues,
				   .n_queues = self.s->n_names,
				   .redis_url = self.s->common.redis_url,
				   .concurrency = (int)self.s->concurrency,
				   .jobs = (int)self.s->jobs,
				   .on_over = on_over };

	if (wait_for_servers() < 0)
		goto out;
	if (pool_start(&po) < 0) {
		fail("out of memory for coroutines", EXIT_FAILED);
		goto out;
	}
	self.pool_up = true;
	self.beat = co_spawn("beat", beat_run, NULL);
	log_event(LOG_INFO, "started", LS("version", LONGSHORE_VERSION), LS("epoch", self.w.epoch),
		  LI("partners", self.s->n_names), LI("concurrency", self.s->concurrency));
out:
	self.start = NULL;
}

static void on_redis_up(struct redis *r, void *arg)
{
	if (self.pool_up)
		pool_on_redis_up();
}

static int open_key(struct err *err)
{
	int rc = keyring_load(self.s->common.secret_key_file, &self.w.keyring, err);

	/* Partners without credentials need none; those with are refused at the call, with this very hint. */
	return rc == -ENOKEY ? 0 : rc;
}

static int make_worker(struct err *err)
{
	struct redis_options ro = { .url = self.s->common.redis_url,
				    .client_name = "longshore-worker",
				    .on_up = on_redis_up };
	struct pg_options po = { .url = self.s->common.database_url,
				 .application_name = "longshore-worker",
				 .max_connections = 3 };
	struct door_options dopt = { 0 };
	struct worker *w = &self.w;
	int rc = open_key(err);

	if (rc == 0)
		rc = redis_new(&ro, &w->redis, err);
	if (rc == 0)
		rc = pg_new(&po, &w->pg, err);
	if (rc < 0)
		return rc;
	dopt = (struct door_options){ .redis = w->redis,
				      .pg = w->pg,
				      .keyring = w->keyring,
				      .epoch = w->epoch,
				      .beats = true,
				      .public_url = self.s->public_url,
				      .egress = self.s->egress };
	w->door = door_new(&dopt);
	w->sink = sink_new(w->pg);
	w->drivers = self.s->drivers;
	w->soft_limit_ms = self.s->soft_limit_ms;
	w->hard_limit_ms = self.s->hard_limit_ms;
	w->concurrency = (int)self.s->concurrency;
	w->lane_bound = self.s->lane_bound;
	w->job_memory_bytes = self.s->job_memory_mib << 20;
	for (int i = 0; i < self.s->n_names; i++)
		self.queues[i] = queue_new(w->redis, self.s->names[i], w->epoch);
	return 0;
}

/* host-pid-random: a process that takes a dead one's pid is still another epoch. */
static void name_self(struct shared_page *page)
{
	char id[ID_LEN + 1], host[20];
	size_t n = 0;

	gethostname(self.host, sizeof(self.host) - 1);
	for (const char *p = self.host; *p && *p != '.' && n < sizeof(host) - 1; p++)
		host[n++] = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
					    (*p >= '0' && *p <= '9')
				    ? *p
				    : '-';
	host[n] = '\0';
	id_new(id);
	snprintf(self.w.epoch, sizeof(self.w.epoch), "%s-%d-%s", host, (int)getpid(),
		 id + ID_LEN - 8);
	if (page)
		memcpy(page->epoch, self.w.epoch, sizeof(page->epoch));
}

/* ---- stopping ---- */
static void stop_run(void *arg)
{
	struct err err = { 0 };

	if (self.start)
		co_cancel(self.start);
	pool_stop(self.s->grace_ms);
	if (self.beat)
		co_cancel(self.beat);
	if (redis_is_up(self.w.redis) &&
	    fleet_leave(self.w.redis, self.w.epoch, loop_now_ms() + 1000, &err) < 0)
		log_event(LOG_INFO, "fleet_not_left", LS("reason", err.text));
	loop_stop();
}

static void on_term(int signo, void *arg)
{
	if (++self.signals > 1) {
		log_event(LOG_WARN, "stopped_at_once", LI("running", pool_running()));
		_exit(EXIT_FAILED);
	}
	if (!co_spawn("stop", stop_run, NULL))
		loop_stop();
}

static void on_usr1(int signo, void *arg)
{
	waits_log();
}

static void close_all(void)
{
	for (int i = 0; i < self.s->n_names; i++)
		queue_free(self.queues[i]);
	door_free(self.w.door);
	integrations_free_all();
	home_free_all();
	pg_free(self.w.pg); /* ends what is under way, which the sink's batches hear */
	sink_free(self.w.sink);
	redis_free(self.w.redis);
	keyring_free(self.w.keyring);
	lookup_kinds_free();
	driver_set_free(self.w.drivers);
	loop_close();
}

static void raise_limits(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	/* Replies and bodies come and go in bursts: give their pages back instead of keeping every arena's peak. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TRIM_THRESHOLD, 4 << 20);
}

int process_main(const struct settings *s, struct shared_page *page)
{
	struct err err = { 0 };

	self.s = s;
	raise_limits();
	metrics_init(page ? (char *)page + SHARED_HEAD_BYTES : NULL);
	name_self(page);
	if (page)
		oncpu_start(&page->oncpu);
	if (loop_init() < 0 || http_global_init() < 0)
		return EXIT_FAILED;
	units_set_branches((int)s->concurrency);
	co_set_limit((int)s->concurrency + UNITS_BRANCHES_MAX + WORKER_PARTNERS_MAX + 256);
	if (make_worker(&err) < 0) {
		fprintf(stderr, "longshore-worker: %s\n", err.text);
		return EXIT_MISUSED;
	}
	/* Ctrl-C and HUP may reach the whole group; the supervisor turns them into the one TERM that counts here. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (loop_on_signal(SIGTERM, on_term, NULL) < 0 ||
	    loop_on_signal(SIGUSR1, on_usr1, NULL) < 0)
		return EXIT_FAILED;
	self.start = co_spawn("start", start_run, NULL);
	if (!self.start)
		return EXIT_FAILED;
	loop_run();
	close_all();
	log_event(LOG_INFO, "stopped");
	return self.exit_code;
}
