/* longshore-scheduler: the control plane.  Starts, waits for Redis and Postgres (and says so), then runs its
 * parts as coroutines until TERM. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/apart.h"
#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/base/secret.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/io/target.h"
#include "common/store/store.h"
#include "drivers/kit/lookup_kinds.h"
#include "scheduler/api.h"
#include "scheduler/lookups.h"
#include "scheduler/oauth.h"
#include "scheduler/scheduler.h"
#include "scheduler/webhooks.h"

#define STOP_MS 10000

static struct scheduler scheduler;
static struct config_common common;
static const char *listen_at, *public_listen_at, *public_url, *import_every, *egress;
static struct httpd *http, *public_http; /* public_http NULL: not asked for */
static int exit_code;
static bool again; /* HUP: start anew */

/* ---- coroutines that stop together ---- */
#define SPAWNED_MAX (SCHEDULER_PARTNERS_MAX + 32)
static struct spawned {
	struct co *co;
	void (*fn)(void *);
	void *arg;
} spawned[SPAWNED_MAX];
static int n_spawned;

static void spawned_run(void *arg)
{
	struct spawned *sp = arg;

	sp->fn(sp->arg);
	sp->co = NULL;
}

int scheduler_spawn(struct scheduler *s, const char *name, void (*fn)(void *), void *arg)
{
	struct spawned *sp = &spawned[n_spawned];

	if (n_spawned == SPAWNED_MAX)
		return -ENOSPC;
	sp->fn = fn;
	sp->arg = arg;
	sp->co = co_spawn(name, spawned_run, sp);
	if (!sp->co)
		return -ENOMEM;
	n_spawned++;
	return 0;
}

int scheduler_sleep(struct scheduler *s, int64_t ms)
{
	if (s->stopping)
		return -ECANCELED;
	return co_sleep("pause", ms) == 0 && !s->stopping ? 0 : -ECANCELED;
}

static bool spawned_alive(void)
{
	for (int i = 0; i < n_spawned; i++)
		if (spawned[i].co)
			return true;
	return false;
}

struct queue *scheduler_queue(struct scheduler *s, const char *partner)
{
	for (int i = 0; i < s->n_queues; i++)
		if (!strcmp(queue_partner(s->queues[i]), partner))
			return s->queues[i];
	return NULL;
}

/* ---- start and stop ---- */
static void stop(void *arg)
{
	struct scheduler *s = arg;
	int64_t end = loop_now_ms() + STOP_MS;

	log_event(LOG_INFO, "stopping");
	for (int i = 0; i < n_spawned; i++)
		if (spawned[i].co)
			co_cancel(spawned[i].co);
	if (leader_leave(s) < 0)
		log_event(LOG_INFO, "lease_left_to_lapse");
	emergency_leave(s);
	lookups_stop(end);
	if ((http && httpd_drain(http, end) < 0) ||
	    (public_http && httpd_drain(public_http, end) < 0))
		log_event(LOG_WARN, "requests_cut_off");
	webhooks_stop(end);
	/* Each unwinds, so that nothing is cut off between two lines. */
	while (spawned_alive() && loop_now_ms() < end)
		if (co_sleep("stopping", 5) < 0)
			break;
	loop_stop();
}

static void on_signal(int signo, void *arg)
{
	struct scheduler *s = arg;

	if (s->stopping) {
		log_event(LOG_WARN, "stopped_at_once", LI("signal", signo));
		_exit(1);
	}
	s->stopping = true;
	if (!co_spawn("stop", stop, s))
		loop_stop();
}

static void print_co(const char *name, const char *why, int64_t waiting_ms, void *data, void *arg)
{
	log_write(LOG_INFO, "coroutine", /* asked for by name: whatever --log-level says */
		  (const struct log_kv[]){ LS("name", name),
					   LS("waits_for", why),
					   LI("since_ms", waiting_ms),
					   { 0 } });
}

static void on_usr1(int signo, void *arg)
{
	co_each(print_co, NULL);
}

static int fail(const char *text, int code)
{
	log_event(LOG_ERROR, "not_started", LS("reason", text));
	exit_code = code;
	loop_stop();
	return -1;
}

/* A daemon that is started before its Redis or Postgres waits for it and says so. */
static int wait_for_servers(struct scheduler *s)
{
	struct err err = { 0 };

	while (redis_wait_up(s->redis, loop_now_ms() + 5000) < 0) {
		log_event(LOG_WARN, "waiting_for_redis", LS("url", redis_url_shown(s->redis)));
		if (s->stopping)
			return -1;
	}
	while (pg_wait_up(s->pg, loop_now_ms() + 5000, &err) < 0) {
		log_event(LOG_WARN, "waiting_for_postgres", LS("url", pg_url_shown(s->pg)),
			  LS("reason", err.text));
		if (s->stopping)
			return -1;
	}
	int rc = migrate_check(s->pg, &err);
	while (rc < 0 && rc != -ENODATA && !s->stopping) {
		if (co_sleep("postgres", 1000) < 0)
			return -1;
		rc = migrate_check(s->pg, &err);
	}
	return rc == -ENODATA ? fail(err.text, EXIT_FAILED) : rc;
}

static void start(void *arg)
{
	struct scheduler *s = arg;

	if (wait_for_servers(s) < 0)
		return;
	if (leader_start(s) < 0 || upkeep_start(s) < 0 || beat_start(s) < 0 ||
	    letters_start(s) < 0 || runs_start(s) < 0 || breakers_start(s) < 0 ||
	    watch_start(s) < 0 || standing_start(s) < 0 || grants_start(s) < 0 ||
	    contracts_start(s) < 0 || pauses_start(s) < 0 || recovery_start(s) < 0 ||
	    emergency_start(s) < 0 || history_start(s) < 0 || events_start(s) < 0 ||
	    registrations_start(s) < 0 || requests_start(s) < 0 || credentials_start(s) < 0) {
		fail("out of memory for coroutines", EXIT_FAILED);
		return;
	}
	log_event(LOG_INFO, "started", LS("version", LONGSHORE_VERSION), LS("listen", listen_at),
		  LI("port", httpd_port(http)),
		  LI("public_port", public_http ? httpd_port(public_http) : 0),
		  LI("partners", s->n_queues - 1));
}

/* strict: a broken manifest is a reason not to start, and printed. */
static int load_drivers(struct scheduler *s, bool strict)
{
	struct buf problems = BUF_INIT;
	struct err err = { 0 };
	int rc = driver_set_load(common.drivers, &s->drivers, &problems, &err);

	if (rc < 0)
		fprintf(stderr, "longshore-scheduler: %s\n", err.text);
	else
		lookup_kinds_check(s->drivers, &problems);
	if (problems.len && strict)
		fputs(buf_str(&problems), stderr);
	else if (problems.len)
		log_event(LOG_ERROR, "manifest_refused", LS("problems", buf_str(&problems)));
	if (rc == 0 && problems.len && strict)
		rc = -EINVAL;
	buf_clear(&problems);
	return rc;
}

static int make_queues(struct scheduler *s)
{
	s->queues[s->n_queues++] = queue_new(s->redis, LONGSHORE_PARTNER, NULL);
	for (int i = 0; i < driver_set_count(s->drivers); i++) {
		if (s->n_queues == SCHEDULER_PARTNERS_MAX) {
			fprintf(stderr, "longshore-scheduler: more than %d partners\n",
				SCHEDULER_PARTNERS_MAX - 1);
			return -E2BIG;
		}
		s->queues[s->n_queues++] =
			queue_new(s->redis, driver_at(s->drivers, i)->manifest->partner, NULL);
	}
	return 0;
}

static int connect_servers(struct scheduler *s, struct err *err)
{
	struct redis_options ro = { .url = common.redis_url, .client_name = "longshore-scheduler" };
	struct pg_options po = { .url = common.database_url,
				 .application_name = "longshore-scheduler",
				 .max_connections = 3 };

	if (redis_new(&ro, &s->redis, err) < 0 || pg_new(&po, &s->pg, err) < 0)
		return -EINVAL;
	return 0;
}

/* Signing in needs the key, the rest does not: without one it is told where it is asked for. */
static int open_door(struct scheduler *s, struct err *err)
{
	struct door_options o = { .redis = s->redis, .pg = s->pg, .egress = egress };
	int rc = keyring_load(common.secret_key_file, &s->keyring, err);

	if (rc < 0 && rc != -ENOKEY)
		return rc;
	o.keyring = s->keyring;
	s->door = door_new(&o);
	return 0;
}

/* Both listeners, and what each serves. */
static int open_listeners(struct scheduler *s, struct err *err)
{
	struct httpd_options inside = { .listen = listen_at },
			     outside = { .listen = public_listen_at };
	int rc = httpd_new(&inside, &http, err);

	if (rc < 0)
		return rc;
	if (public_listen_at && *public_listen_at)
		rc = httpd_new(&outside, &public_http, err);
	if (rc < 0)
		return rc;
	oauth_routes(s, http, false);
	webhooks_routes(s, http);
	if (public_http) {
		oauth_routes(s, public_http, true);
		webhooks_routes(s, public_http);
	}
	api_routes(s, http);
	return pages_start(s, http);
}

static int read_public_url(struct scheduler *s)
{
	struct err err = { 0 };
	char *url = NULL;

	if (target_allow(common.private_targets, &err) < 0) {
		fprintf(stderr, "longshore-scheduler: --private-targets: %s\n", err.text);
		return EXIT_MISUSED;
	}
	if (target_public_url(public_url, &url, &err) < 0) {
		fprintf(stderr, "longshore-scheduler: %s\n", err.text);
		return EXIT_MISUSED;
	}
	s->public_url = url;
	return 0;
}

static int read_import_every(struct scheduler *s)
{
	s->import_every_ms = -1;
	if (strcmp(import_every, "auto") == 0 ||
	    clock_parse_duration(import_every, &s->import_every_ms) == 0)
		return 0;
	fprintf(stderr,
		"longshore-scheduler: --import-every \"%s\": a duration (15m, 4h), auto or 0\n",
		import_every);
	return EXIT_MISUSED;
}

static int read_lookup_kinds(void)
{
	struct buf problem = BUF_INIT;
	int rc = lookup_kinds_read(&problem);

	if (rc < 0)
		fprintf(stderr, "longshore-scheduler: %s\n", buf_str(&problem));
	buf_clear(&problem);
	return rc < 0 ? EXIT_MISUSED : 0;
}

static void name_self(struct scheduler *s)
{
	char host[32] = "host", id[ID_LEN + 1];

	gethostname(host, sizeof(host) - 1);
	id_new(id);
	snprintf(s->name, sizeof(s->name), "%s-%d-%s", host, (int)getpid(), id + ID_LEN - 6);
}

static void close_all(struct scheduler *s)
{
	httpd_free(http);
	httpd_free(public_http);
	door_free(s->door);
	keyring_free(s->keyring);
	for (int i = 0; i < s->n_queues; i++)
		queue_free(s->queues[i]);
	pg_free(s->pg);
	redis_free(s->redis);
	webhooks_free();
	lookups_free();
	lookup_kinds_free();
	driver_set_free(s->drivers);
	loop_close();
}

#define OWN_OPTIONS_MAX 24
/* How many. */
static int own_options(struct scheduler *s, struct config_option *out)
{
	const struct config_option own[] = {
		{ "listen", "LONGSHORE_LISTEN", "HOST:PORT",
		  "where webhooks, the API, /metrics, /healthz and /readyz are served",
		  CONFIG_STRING, "127.0.0.1:8700", 0, 0, &listen_at },
		{ "import-every", "LONGSHORE_IMPORT_EVERY", "DURATION",
		  "time between two imports of integrations that have no `every` of their own; auto:"
		  " what fits their partner; 0: none by the clock",
		  CONFIG_STRING, "auto", 0, 0, &import_every },
		{ "lane-bound", "LONGSHORE_LANE_BOUND", "N",
		  "jobs in a lane at which starts by the clock are skipped, and an alert is raised",
		  CONFIG_INT, "10000", 1, 100000000, &s->lane_bound },
		{ "public-listen", "LONGSHORE_PUBLIC_LISTEN", "HOST:PORT",
		  "where webhooks and signing in at partners alone are served, for the outside",
		  CONFIG_STRING, NULL, 0, 0, &public_listen_at },
		{ "public-url", "LONGSHORE_PUBLIC_URL", "URL",
		  "its address as partners and their users see it", CONFIG_STRING, NULL, 0, 0,
		  &public_url },
		{ "egress", "LONGSHORE_EGRESS", "NAME",
		  "who shares this host's outgoing address: limits that count by it are shared"
		  " (default: the host's name)",
		  CONFIG_STRING, "", 0, 0, &egress },
	};
	int n = ARRAY_LEN(own);

	memcpy(out, own, sizeof(own));
	n += recovery_options(s, out + n);
	n += emergency_options(s, out + n);
	n += events_options(s, out + n);
	return n + lookup_kinds_options(out + n);
}

static int read_log_level(enum log_level *level)
{
	if (log_level_parse(common.log_level, level) == 0)
		return 0;
	fprintf(stderr, "longshore-scheduler: --log-level \"%s\": debug, info, warn or error\n",
		common.log_level);
	return EXIT_MISUSED;
}

/* 0, or an exit code after one clear line. */
static int load_settings(struct scheduler *s, int argc, char **argv)
{
	/* too large for a stack under the sanitizers; filled once */
	static struct config_option options[CONFIG_COMMON_COUNT + OWN_OPTIONS_MAX];
	enum log_level level;
	int rest, rc, n;

	s->common = &common;
	config_common_options(&common, options);
	n = own_options(s, options + CONFIG_COMMON_COUNT);
	rc = config_load(
		"longshore-scheduler",
		"longshore-scheduler [flags]: starts what is due, promotes, reaps, watches",
		options, CONFIG_COMMON_COUNT + n, argc, argv, &common.config_file, &rest);
	if (rc != 0)
		return rc;
	if (rest < argc) {
		fprintf(stderr,
			"longshore-scheduler: unexpected word \"%s\": it takes only flags (--help)\n",
			argv[rest]);
		return EXIT_MISUSED;
	}
	rc = read_log_level(&level);
	if (rc != 0)
		return rc;
	log_init("longshore-scheduler", level, !strcmp(common.log_format, "json"));
	rc = read_import_every(s);
	if (rc == 0)
		rc = read_lookup_kinds();
	return rc == 0 ? read_public_url(s) : rc;
}

/* ---- HUP ---- */
static char **arguments;

static int check(void *s)
{
	struct keyring *keys = NULL;
	struct err err = { 0 };
	int n = 0, rc;

	while (arguments[n])
		n++;
	rc = load_settings(s, n, arguments);
	if (rc == 0 && load_drivers(s, true) < 0)
		rc = EXIT_MISUSED;
	if (rc != 0)
		return rc;
	rc = keyring_load(common.secret_key_file, &keys, &err);
	if (rc == 0 || rc == -ENOKEY)
		return 0;
	fprintf(stderr, "longshore-scheduler: %s\n", err.text);
	return EXIT_MISUSED;
}

/* Manifests, settings and keys are read anew by starting anew; what would not be taken at that start leaves what runs as it is. */
static void on_hup(int signo, void *s)
{
	struct buf problems = BUF_INIT;

	if (scheduler.stopping)
		return;
	if (apart_run(check, s, &problems) != 0) {
		log_event(LOG_ERROR, "reload_refused", LS("problems", buf_str(&problems)),
			  LS("effect", "what was running goes on unchanged"));
	} else {
		log_event(LOG_INFO, "reloading");
		again = true;
		on_signal(SIGTERM, s);
	}
	buf_clear(&problems);
}

/* A partner's connection each. */
static void raise_limits(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

int main(int argc, char **argv)
{
	struct scheduler *s = &scheduler;
	struct err err = { 0 };
	int rc;

	secret_harden_process();
	arguments = argv;
	raise_limits();
	prctl(PR_SET_NAME, program_invocation_short_name); /* not "exe", after a HUP */
	rc = load_settings(s, argc, argv);
	if (rc != 0)
		return rc;
	metrics_init(NULL);
	name_self(s);
	if (load_drivers(s, false) < 0)
		return EXIT_MISUSED;
	loop_merge_changes();
	if (loop_init() < 0 || http_global_init() < 0)
		return EXIT_FAILED;
	if (connect_servers(s, &err) < 0 || open_door(s, &err) < 0 || open_listeners(s, &err) < 0) {
		fprintf(stderr, "longshore-scheduler: %s\n", err.text);
		return EXIT_MISUSED;
	}
	if (make_queues(s) < 0)
		return EXIT_MISUSED;
	if (loop_on_signal(SIGTERM, on_signal, s) < 0 || loop_on_signal(SIGINT, on_signal, s) < 0 ||
	    loop_on_signal(SIGUSR1, on_usr1, s) < 0 || loop_on_signal(SIGHUP, on_hup, s) < 0 ||
	    webhooks_start(s) < 0 || scheduler_spawn(s, "start", start, s) < 0)
		return EXIT_FAILED;
	loop_run();
	close_all(s);
	log_event(LOG_INFO, "stopped");
	if (again) {
		execv("/proc/self/exe", argv);
		log_event(LOG_ERROR, "not_started_anew", LS("reason", strerror(errno)));
		return EXIT_FAILED;
	}
	return exit_code;
}
