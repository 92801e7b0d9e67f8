/* Queues that nobody serves (S7): while no live worker serves a partner, over --emergency-over of its jobs could run and the
 * oldest has waited for --emergency-age, up to --emergency-jobs of them are done every --emergency-every, and people are told.
 *
 * The leader starts a longshore-worker for it, beside itself, which ends after so many jobs of each partner; one at a time in the
 * fleet (a role that is held while it lives), a round a partner (a role that lasts as long as the pause).  It is a worker like any
 * other: leases, limits and fencing hold, and whatever becomes of it or of this scheduler its jobs go on.  It is stopped, its jobs
 * handed back, as soon as a real worker serves one of its partners, this scheduler leads no more, or its time is over. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/config.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "drivers/kit/call.h"
#include "drivers/kit/lookup_kinds.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 1000
#define STEP_MS 5000
#define ROLE "emergency"
#define ROLE_MS 20000 /* renewed at each look: outlasts the grace of a child whose scheduler died */
#define CHILD_GRACE "5s" /* it hands back what does not end by then */
#define KILL_MS 25000    /* after TERM; then it is not what it should be */
#define CHILD_MIN_MS 60000
#define LEAVE_MS 8000
#define ALERT_MS 60000
#define CONCURRENCY "20"

extern char **environ;

static struct {
	char program[PATH_MAX]; /* "": none */
	pid_t child;            /* 0: none */
	int64_t started_ms, termed_ms;
	bool of[SCHEDULER_PARTNERS_MAX];   /* partners that the child was started for */
	bool open[SCHEDULER_PARTNERS_MAX]; /* an emergency, as the last look had it */
	char owner[96];                    /* of the roles that the present round holds */
	int64_t told_ms;                   /* alerts; 0: unknown what stands there */
	struct serving serving;
} self;

int emergency_options(struct scheduler *s, struct config_option *out)
{
	const struct config_option own[] = {
		{ "emergency-worker", "LONGSHORE_EMERGENCY_WORKER", "PATH|off",
		  "started for a queue that no worker serves (default: longshore-worker beside"
		  " this program)",
		  CONFIG_STRING, "", 0, 0, &s->emergency.program },
		{ "emergency-over", "LONGSHORE_EMERGENCY_OVER", "N",
		  "jobs of a partner over which that is an emergency", CONFIG_INT, "1000", 1,
		  100000000, &s->emergency.over },
		{ "emergency-age", "LONGSHORE_EMERGENCY_AGE", "DURATION",
		  "the oldest has waited for so long", CONFIG_DURATION_MS, "10m", 1, 86400000,
		  &s->emergency.age_ms },
		{ "emergency-every", "LONGSHORE_EMERGENCY_EVERY", "DURATION",
		  "time between two rounds of a partner", CONFIG_DURATION_MS, "5m", 1000, 86400000,
		  &s->emergency.every_ms },
		{ "emergency-jobs", "LONGSHORE_EMERGENCY_JOBS", "N",
		  "jobs of a partner that a round does at most", CONFIG_INT, "100", 1, 10000,
		  &s->emergency.jobs },
	};

	memcpy(out, own, sizeof(own));
	return sizeof(own) / sizeof(own[0]);
}

/* ---- the program ---- */
static void find_program(struct scheduler *s)
{
	const char *given = s->emergency.program;
	static char own[PATH_MAX - 32]; /* too large for a stack; once, at the start */
	ssize_t n;

	if (!strcmp(given, "off"))
		return;
	if (*given) {
		snprintf(self.program, sizeof(self.program), "%s", given);
	} else {
		n = readlink("/proc/self/exe", own, sizeof(own) - 1);
		own[n > 0 ? n : 0] = '\0';
		if (strrchr(own, '/'))
			strrchr(own, '/')[1] = '\0';
		snprintf(self.program, sizeof(self.program), "%slongshore-worker", own);
	}
	if (access(self.program, X_OK) == 0)
		return;
	log_event(LOG_WARN, "no_emergency_worker", LS("program", self.program),
		  LS("reason", strerror(errno)),
		  LS("todo", "give its path with --emergency-worker, or \"off\""));
	self.program[0] = '\0';
}

/* What this process was told, by flag or file too; as environment, since others can read arguments. */
static char **child_env(const struct scheduler *s)
{
	const struct config_common *c = s->common;
	const char *const set[][2] = {
		{ "LONGSHORE_REDIS_URL", c->redis_url },
		{ "LONGSHORE_DATABASE_URL", c->database_url },
		{ "LONGSHORE_DRIVERS", c->drivers },
		{ "LONGSHORE_FLAGS", c->flags },
		{ "LONGSHORE_LOG_LEVEL", c->log_level },
		{ "LONGSHORE_LOG_FORMAT", c->log_format },
		{ "LONGSHORE_SECRET_KEY_FILE", c->secret_key_file },
		{ "LONGSHORE_PRIVATE_TARGETS", c->private_targets },
		{ "LONGSHORE_LOOKUP_KINDS", lookup_kinds_setting() },
		{ "LONGSHORE_EGRESS", door_egress(s->door) },
		{ "LONGSHORE_PUBLIC_URL", s->public_url },
		{ "LONGSHORE_CONFIG", NULL }, /* a scheduler's file is none for a worker */
	};
	int n = 0, kept = 0;
	char **env;

	while (environ[n])
		n++;
	env = mem_zalloc((size_t)(n + (int)ARRAY_LEN(set) + 1) * sizeof(*env));
	for (int i = 0; i < n; i++) {
		bool ours = false;

		for (size_t k = 0; k < ARRAY_LEN(set) && !ours; k++)
			ours = !strncmp(environ[i], set[k][0], strlen(set[k][0])) &&
			       environ[i][strlen(set[k][0])] == '=';
		if (!ours)
			env[kept++] = mem_strdup(environ[i]);
	}
	for (size_t k = 0; k < ARRAY_LEN(set); k++)
		if (set[k][1] && *set[k][1])
			env[kept++] = mem_printf("%s=%s", set[k][0], set[k][1]);
	return env;
}

static void env_free(char **env)
{
	for (int i = 0; env[i]; i++) {
		secret_zero(env[i], strlen(env[i]));
		free(env[i]);
	}
	free(env);
}

/* Between fork and exec only system calls are safe. */
static void child_exec(char *const *argv, char *const *env, pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Whoever kills this scheduler ends its worker, which hands its jobs back. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	close_range(3, ~0U, 0); /* no port of ours outlives us in it */
	execve(argv[0], argv, env);
	_exit(127);
}

static int start_child(struct scheduler *s, const char *partners)
{
	char jobs[24];
	char *argv[] = { self.program,
			 "--partners",
			 (char *)partners,
			 "--jobs",
			 jobs,
			 "--concurrency",
			 CONCURRENCY,
			 "--processes",
			 "1",
			 "--metrics",
			 "",
			 "--grace",
			 CHILD_GRACE,
			 NULL };
	char **env = child_env(s);
	pid_t parent = getpid(), pid;

	snprintf(jobs, sizeof(jobs), "%lld", (long long)s->emergency.jobs);
	pid = fork();
	if (pid == 0)
		child_exec(argv, env, parent);
	env_free(env);
	if (pid < 0)
		return -errno;
	self.child = pid;
	self.started_ms = loop_now_ms();
	self.termed_ms = 0;
	log_event(LOG_WARN, "emergency_worker_started", LS("partners", partners), LI("pid", pid),
		  LI("jobs", s->emergency.jobs));
	return 0;
}

static void term(const char *why)
{
	if (!self.child || self.termed_ms)
		return;
	self.termed_ms = loop_now_ms();
	kill(self.child, SIGTERM);
	log_event(LOG_INFO, "emergency_worker_stopped", LI("pid", self.child), LS("reason", why));
}

/* Whether it lives still. */
static bool reap(void)
{
	int status = 0;

	if (!self.child || waitpid(self.child, &status, WNOHANG) == 0)
		return self.child != 0;
	log_event(WIFEXITED(status) && !WEXITSTATUS(status) ? LOG_INFO : LOG_WARN,
		  "emergency_worker_ended", LI("pid", self.child),
		  LI("code", WIFEXITED(status) ? WEXITSTATUS(status) : 0),
		  LI("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
	self.child = 0;
	return false;
}

/* ---- when ---- */
static int64_t could_run(int i, int64_t *oldest_ms)
{
	const struct queue_depth *d = &upkeep_look(i)->depth;
	int64_t n = -d->held;

	*oldest_ms = 0;
	for (enum lane lane = LANE_HIGH; lane <= LANE_LOW; lane++) {
		n += d->ready[lane];
		if (d->oldest_age_ms[lane] > *oldest_ms)
			*oldest_ms = d->oldest_age_ms[lane];
	}
	return n;
}

/* One that was found stays until it is over, not until a round has taken its oldest jobs. */
static bool is_emergency(const struct scheduler *s, int i)
{
	int64_t oldest_ms, n;

	if (!upkeep_look(i)->at_ms || self.serving.by[i])
		return false;
	n = could_run(i, &oldest_ms);
	return n > s->emergency.over && (self.open[i] || oldest_ms > s->emergency.age_ms);
}

static void raise_alert(struct scheduler *s, int i)
{
	const char *p = queue_partner(s->queues[i]);
	struct err err = { 0 };
	int64_t oldest_ms, n = could_run(i, &oldest_ms);
	char what[400], does[120];

	snprintf(does, sizeof(does), "the scheduler has up to %lld of them done every %lld s",
		 (long long)s->emergency.jobs, (long long)s->emergency.every_ms / 1000);
	snprintf(what, sizeof(what),
		 "%lld jobs of %s could run, the oldest has waited for %lld min, and no live worker"
		 " serves it: %s",
		 (long long)n, p, (long long)oldest_ms / 60000,
		 self.program[0] ? does : "nothing is done (--emergency-worker)");
	if (alert_raise(s->pg, "emergency", "critical", p, what,
			"start longshore-worker for this partner, or see why it stopped: this keeps"
			" the worst off, no more. It ends by itself once a worker serves the queue",
			&err) < 0)
		log_event(LOG_WARN, "alert_not_written", LS("kind", "emergency"),
			  LS("reason", err.text));
}

/* Each change at once, what lasts once a minute; whoever raised what is so no more. */
static void tell(struct scheduler *s, bool changed)
{
	struct err err = { 0 };
	struct pg_array scopes;

	if (!pg_is_up(s->pg) ||
	    (!changed && self.told_ms && loop_now_ms() - self.told_ms < ALERT_MS))
		return;
	pg_array_init(&scopes, PG_TEXT);
	for (int i = 0; i < s->n_queues; i++) {
		const char *p = queue_partner(s->queues[i]);

		if (!self.open[i])
			continue;
		raise_alert(s, i);
		pg_array_text(&scopes, p, strlen(p));
	}
	if (alert_resolve_others(s->pg, "emergency", &scopes, &err) < 0)
		log_event(LOG_WARN, "alert_not_resolved", LS("kind", "emergency"),
			  LS("reason", err.text));
	else
		self.told_ms = loop_now_ms();
	pg_array_clear(&scopes);
}

static bool look(struct scheduler *s)
{
	bool changed = false;

	for (int i = 0; i < s->n_queues; i++) {
		bool is = is_emergency(s, i);

		changed = changed || is != self.open[i];
		self.open[i] = is;
	}
	return changed;
}

/* ---- a round ---- */
/* 1: it is ours. */
static int hold(struct scheduler *s, const char *role, int64_t ms)
{
	struct err err = { 0 };
	int rc = role_hold(s->redis, role, self.owner, ms, NULL, loop_now_ms() + STEP_MS, &err);

	if (rc < 0)
		log_event(LOG_WARN, "emergency_put_off", LS("role", role), LS("reason", err.text));
	return rc;
}

/* The partners whose turn it is; each has its next one after the pause, whoever leads then. */
static void choose(struct scheduler *s, struct buf *partners)
{
	char role[80];

	memset(self.of, 0, sizeof(self.of));
	for (int i = 0; i < s->n_queues; i++) {
		const char *p = queue_partner(s->queues[i]);

		if (!self.open[i])
			continue;
		snprintf(role, sizeof(role), ROLE "-%s", p);
		if (hold(s, role, s->emergency.every_ms) != 1)
			continue;
		self.of[i] = true;
		buf_printf(partners, "%s%s", partners->len ? "," : "", p);
	}
}

static void leave_role(struct scheduler *s)
{
	struct err ignored = { 0 };

	if (redis_is_up(s->redis) &&
	    role_leave(s->redis, ROLE, self.owner, loop_now_ms() + 1000, &ignored) < 0)
		log_event(LOG_DEBUG, "role_left_to_lapse", LS("role", ROLE));
}

static void start_round(struct scheduler *s)
{
	struct buf partners = BUF_INIT;
	bool any = false;
	int rc = 0;

	for (int i = 0; i < s->n_queues; i++)
		any = any || self.open[i];
	if (!any || !self.program[0])
		return;
	/* Another name each time, or it would hold the pause of its last round itself. */
	snprintf(self.owner, sizeof(self.owner), "%s-%lld", s->name, (long long)loop_now_ms());
	if (hold(s, ROLE, ROLE_MS) != 1)
		return;
	choose(s, &partners);
	if (partners.len && leader_is_me(s))
		rc = start_child(s, partners.data);
	if (rc < 0)
		log_event(LOG_ERROR, "emergency_worker_not_started", LS("reason", strerror(-rc)));
	if (!self.child)
		leave_role(s);
	buf_clear(&partners);
}

/* NULL: it may go on. */
static const char *reason_to_stop(struct scheduler *s)
{
	int64_t most = s->emergency.every_ms > CHILD_MIN_MS ? s->emergency.every_ms : CHILD_MIN_MS;

	if (!leader_is_me(s))
		return "this scheduler does not lead any more";
	if (loop_now_ms() - self.started_ms > most)
		return "its time is over";
	for (int i = 0; i < s->n_queues; i++)
		if (self.of[i] && self.serving.by[i])
			return "a worker serves the queue";
	return NULL;
}

static void look_after(struct scheduler *s)
{
	const char *why = reason_to_stop(s);

	if (self.termed_ms && loop_now_ms() - self.termed_ms > KILL_MS)
		kill(self.child, SIGKILL); /* its processes get a TERM of their own */
	else if (why)
		term(why);
	if (redis_is_up(s->redis) && hold(s, ROLE, ROLE_MS) == 0)
		term("another scheduler has the role");
}

static void turn(struct scheduler *s)
{
	bool leads = leader_is_me(s), lived = self.child != 0;
	bool seen = redis_is_up(s->redis) &&
		    serving_look(s, &self.serving, loop_now_ms() + STEP_MS) == 0;

	if (reap())
		look_after(s);
	else if (lived)
		leave_role(s);
	if (!leads) {
		memset(self.open, 0, sizeof(self.open));
		self.told_ms = 0;
	} else if (seen) {
		tell(s, look(s));
		if (!self.child)
			start_round(s);
	}
}

static void run(void *arg)
{
	struct scheduler *s = arg;

	do
		turn(s);
	while (scheduler_sleep(s, LOOK_MS) == 0);
}

int emergency_start(struct scheduler *s)
{
	find_program(s);
	return scheduler_spawn(s, "emergency", run, s);
}

void emergency_leave(struct scheduler *s)
{
	int64_t end = loop_now_ms() + LEAVE_MS;

	term("the scheduler stops");
	while (reap() && loop_now_ms() < end)
		if (co_sleep("emergency worker", 50) < 0)
			break;
}
