#include "worker/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/apart.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/httpd.h"
#include "common/io/loop.h"
#include "common/queue/limiter.h"
#include "worker/charge.h"

#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 30000
#define STEADY_MS 10000 /* a process that lived this long starts the backoff anew */
#define GIVE_BACK_MS 10000
#define STOPPING_MS \
	1000 /* a supervisor that stops waits no longer for Redis: the reaper sees to it */

extern char **environ;

struct process {
	int index;
	pid_t pid; /* 0: not running */
	int64_t started_ms, backoff_ms;
	struct loop_timer *restart;
	char *page;
};

static struct {
	const struct settings *s;
	char **argv;
	int fd; /* the shared pages */
	struct process *p;
	int n;
	bool stopping;
	int giving_back; /* dead processes whose jobs are on their way back */
	bool again;      /* HUP: start anew when all have ended */
	bool ran;        /* a process was at work, so what it was started with was right then */
	int exit_code;
	struct redis *redis;
	struct queue **queues;
	char *retired; /* counters of processes that died, and the supervisor's own */
	struct httpd *http;
} sup;

/* ---- starting a process ---- */
/* The child's environment is made before the fork: between fork and exec only system calls are safe. */
static char **child_env(const struct process *p, char *own, size_t cap)
{
	int n = 0;
	char **env;

	while (environ[n])
		n++;
	env = mem_zalloc((n + 2) * sizeof(*env));
	memcpy(env, environ, n * sizeof(*env));
	snprintf(own, cap, CHILD_ENV "=%d:%d", p->index, sup.fd);
	env[n] = own;
	return env;
}

static void child_exec(char **env, pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A supervisor that is killed takes its processes with it, gracefully: they hand their jobs back. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	execve("/proc/self/exe", sup.argv, env);
	_exit(127);
}

static void process_start(struct process *p)
{
	char own[64];
	char **env = child_env(p, own, sizeof(own));
	pid_t parent = getpid();

	metrics_fold(sup.retired, p->page + SHARED_HEAD_BYTES);
	memset(p->page, 0, SHARED_HEAD_BYTES);
	p->started_ms = loop_now_ms();
	p->pid = fork();
	if (p->pid == 0)
		child_exec(env, parent);
	free(env);
	if (p->pid < 0) {
		log_event(LOG_ERROR, "process_not_started", LI("index", p->index),
			  LS("reason", strerror(errno)));
		p->pid = 0;
		loop_timer_set(p->restart, BACKOFF_MAX_MS);
	}
}

static void on_restart(void *arg)
{
	struct process *p = arg;

	if (!sup.stopping && !p->pid)
		process_start(p);
}

/* ---- a process died ---- */
struct give_back {
	char epoch[64];
	bool charges;
	struct crash crash;
};

/* Before the rest: what is charged must not have been given back unharmed already. */
static void charge_job(struct give_back *g)
{
	struct err err = { 0 };
	struct queue *q = sup.queues[g->crash.oncpu.queue];

	const struct driver *d = driver_find(sup.s->drivers, queue_partner(q));

	if (charge(q, sup.redis, d, &g->crash, loop_now_ms() + GIVE_BACK_MS, &err) < 0)
		log_event(LOG_WARN, "crash_not_charged", LS("partner", queue_partner(q)),
			  LS("reason", err.text));
}

static int running(void)
{
	int n = 0;

	for (int i = 0; i < sup.n; i++)
		n += sup.p[i].pid != 0;
	return n;
}

static void stop_when_done(void)
{
	if (sup.stopping && !running() && !sup.giving_back)
		loop_stop();
}

/* Its jobs run again at once: the supervisor saw it die, so no heartbeat has to lapse. */
static void give_back_run(void *arg)
{
	struct give_back *g = arg;
	struct err err = { 0 };
	int total = 0;

	if (redis_wait_up(sup.redis, loop_now_ms() + (sup.stopping ? STOPPING_MS : GIVE_BACK_MS)) <
	    0)
		goto out;
	if (g->charges)
		charge_job(g);
	for (int i = 0; i < sup.s->n_names; i++) {
		int n = 0;
		if (queue_reap(sup.queues[i], g->epoch, &n, loop_now_ms() + GIVE_BACK_MS, &err) < 0)
			log_event(LOG_WARN, "jobs_not_given_back", LS("partner", sup.s->names[i]),
				  LS("reason", err.text));
		total += n;
		if (limiter_gone(sup.redis, sup.s->names[i], g->epoch, loop_now_ms() + GIVE_BACK_MS,
				 &err) < 0)
			log_event(LOG_WARN, "calls_not_given_up", LS("partner", sup.s->names[i]),
				  LS("reason", err.text));
	}
	if (fleet_leave(sup.redis, g->epoch, loop_now_ms() + GIVE_BACK_MS, &err) < 0)
		log_event(LOG_WARN, "fleet_not_left", LS("epoch", g->epoch),
			  LS("reason", err.text));
	if (total)
		log_event(LOG_WARN, "jobs_given_back", LS("epoch", g->epoch), LI("jobs", total));
out:
	free(g);
	sup.giving_back--;
	stop_when_done();
}

static void give_back(const struct process *p, int signo)
{
	const struct shared_page *page = (const void *)p->page;
	struct give_back *g;

	if (!page->epoch[0])
		return;
	g = mem_new(struct give_back);
	memcpy(g->epoch, page->epoch, sizeof(g->epoch));
	g->epoch[sizeof(g->epoch) - 1] = '\0';
	g->charges = crash_read(&g->crash, page, sup.s->n_names, signo);
	sup.giving_back++;
	if (!co_spawn("give back", give_back_run, g)) {
		free(g); /* the reaper does it when the heartbeat has lapsed */
		sup.giving_back--;
	}
}

static void process_ended(struct process *p, int status)
{
	const struct shared_page *page = (const void *)p->page;
	bool crashed = WIFSIGNALED(status);
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;

	p->pid = 0;
	if (crashed || (code != 0 && !sup.stopping))
		log_event(LOG_ERROR, "process_died", LI("index", p->index),
			  LI("signal", crashed ? WTERMSIG(status) : 0), LI("code", code));
	if (crashed || (code != 0 && code != EXIT_MISUSED))
		give_back(p, crashed ? WTERMSIG(status) : 0);
	if (sup.stopping)
		return;
	sup.ran = sup.ran || (crashed && page->epoch[0]);
	/* A setting or schema that is wrong does not get better by trying: the first process tells, and all stop.  But not where a
	 * file was changed under a running worker (a HUP is what would ask for that): the others go on, and it may be mended. */
	if ((code == EXIT_MISUSED && !sup.ran) || code == EXIT_FAILED) {
		sup.exit_code = code;
		raise(SIGTERM);
		return;
	}
	/* With --jobs its end is the end, and another one would go beyond the bound. */
	if (sup.s->jobs) {
		sup.exit_code = crashed || code ? EXIT_FAILED : sup.exit_code;
		sup.stopping = !running();
		return;
	}
	p->backoff_ms = loop_now_ms() - p->started_ms > STEADY_MS || !p->backoff_ms ? BACKOFF_MIN_MS
			: p->backoff_ms * 2 < BACKOFF_MAX_MS ? p->backoff_ms * 2
							     : BACKOFF_MAX_MS;
	loop_timer_set(p->restart, p->backoff_ms);
}

static void on_child(int signo, void *arg)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < sup.n; i++)
			if (sup.p[i].pid == pid)
				process_ended(&sup.p[i], status);
	stop_when_done();
}

/* ---- signals ---- */
static void forward(int signo)
{
	for (int i = 0; i < sup.n; i++)
		if (sup.p[i].pid)
			kill(sup.p[i].pid, signo);
}

static void on_term(int signo, void *arg)
{
	sup.stopping = true;
	forward(SIGTERM); /* a second TERM reaches them as their second: they stop at once */
	stop_when_done();
}

static int check(void *argv)
{
	int n = 0;

	while (sup.argv[n])
		n++;
	return settings_check(n, argv);
}

/* HUP: manifests, settings and keys are read anew by starting anew, once every process has handed its jobs back.  What would not
 * be taken at that start leaves what runs as it is. */
static void on_hup(int signo, void *arg)
{
	struct buf problems = BUF_INIT;

	if (sup.stopping)
		return;
	if (apart_run(check, sup.argv, &problems) != 0) {
		log_event(LOG_ERROR, "reload_refused", LS("problems", buf_str(&problems)),
			  LS("effect", "what was running goes on unchanged"));
	} else {
		log_event(LOG_INFO, "reloading");
		sup.again = true;
		on_term(SIGTERM, NULL);
	}
	buf_clear(&problems);
}

static void on_forward(int signo, void *arg)
{
	forward(signo);
}

/* ---- metrics for all ---- */
static void metrics(struct httpd_request *q, void *arg)
{
	void *pages[260];
	struct buf out = BUF_INIT;
	int n = 0;

	pages[n++] = sup.retired;
	for (int i = 0; i < sup.n; i++)
		pages[n++] = sup.p[i].page + SHARED_HEAD_BYTES;
	metrics_print(&out, pages, n);
	httpd_reply(q, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&out), out.len);
	buf_clear(&out);
}

static void healthz(struct httpd_request *q, void *arg)
{
	httpd_reply_text(q, running() ? 200 : 503,
			 running() ? "ok\n" : "no worker process is running\n");
}

static int serve_metrics(struct err *err)
{
	struct httpd_options o = { .listen = sup.s->metrics };
	int rc;

	if (!sup.s->metrics || !*sup.s->metrics)
		return 0;
	rc = httpd_new(&o, &sup.http, err);
	if (rc < 0)
		return rc;
	httpd_route(sup.http, "GET", "/metrics", metrics, NULL);
	httpd_route(sup.http, "GET", "/healthz", healthz, NULL);
	log_event(LOG_INFO, "metrics_served", LI("port", httpd_port(sup.http)));
	return 0;
}

/* ---- start ---- */
static int map_pages(void)
{
	sup.n = (int)sup.s->processes;
	sup.fd = memfd_create("longshore-worker", 0); /* not closed on exec: the processes map it */
	if (sup.fd < 0 || ftruncate(sup.fd, (off_t)sup.n * SHARED_BYTES) < 0)
		return -errno;
	sup.p = mem_zalloc(sup.n * sizeof(*sup.p));
	sup.retired = mem_zalloc(METRICS_PAGE_BYTES);
	for (int i = 0; i < sup.n; i++) {
		struct process *p = &sup.p[i];

		p->index = i;
		p->page = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, sup.fd,
			       (off_t)i * SHARED_BYTES);
		if (p->page == MAP_FAILED)
			return -errno;
		p->restart = loop_timer_new(on_restart, p);
	}
	return 0;
}

struct shared_page *supervisor_page(void)
{
	const char *own = getenv(CHILD_ENV);
	int index, fd;
	void *page;

	if (!own || sscanf(own, "%d:%d", &index, &fd) != 2)
		return NULL;
	page = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    (off_t)index * SHARED_BYTES);
	close(fd);
	unsetenv(CHILD_ENV);
	return page == MAP_FAILED ? NULL : page;
}

static int on_signals(void)
{
	return loop_on_signal(SIGCHLD, on_child, NULL) < 0 ||
	       loop_on_signal(SIGTERM, on_term, NULL) < 0 ||
	       loop_on_signal(SIGINT, on_term, NULL) < 0 ||
	       loop_on_signal(SIGUSR1, on_forward, NULL) < 0 ||
	       loop_on_signal(SIGHUP, on_hup, NULL) < 0;
}

static void close_all(void)
{
	httpd_free(sup.http);
	for (int i = 0; i < sup.s->n_names; i++)
		queue_free(sup.queues[i]);
	free(sup.queues);
	redis_free(sup.redis);
	for (int i = 0; i < sup.n; i++) {
		loop_timer_free(sup.p[i].restart);
		munmap(sup.p[i].page, SHARED_BYTES);
	}
	close(sup.fd);
	free(sup.p);
	free(sup.retired);
	driver_set_free(sup.s->drivers);
	loop_close();
}

int supervisor_main(const struct settings *s, char **argv)
{
	struct redis_options ro = { .url = s->common.redis_url,
				    .client_name = "longshore-supervisor" };
	struct err err = { 0 };

	sup.s = s;
	sup.argv = argv;
	if (loop_init() < 0 || map_pages() < 0)
		return EXIT_FAILED;
	metrics_init(sup.retired); /* its own counts beside those of the dead */
	if (redis_new(&ro, &sup.redis, &err) < 0 || serve_metrics(&err) < 0) {
		fprintf(stderr, "longshore-worker: %s\n", err.text);
		return EXIT_MISUSED;
	}
	sup.queues = mem_zalloc(s->n_names * sizeof(*sup.queues));
	for (int i = 0; i < s->n_names; i++)
		sup.queues[i] = queue_new(sup.redis, s->names[i], NULL);
	if (on_signals())
		return EXIT_FAILED;
	for (int i = 0; i < sup.n; i++)
		process_start(&sup.p[i]);
	loop_run();
	close_all();
	if (sup.again) {
		execv("/proc/self/exe", argv);
		log_event(LOG_ERROR, "not_started_anew", LS("reason", strerror(errno)));
		return EXIT_FAILED;
	}
	return sup.exit_code;
}
