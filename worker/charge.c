#include "worker/charge.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/co.h"
#include "worker/outcome.h"
#include "worker/settle.h"

static bool own_fault(int signo)
{
	return signo == SIGSEGV || signo == SIGABRT || signo == SIGBUS || signo == SIGFPE ||
	       signo == SIGILL;
}

/* Up to the first NUL, or all of it; what is no UTF-8 is cut. */
static void text_read(char *out, const char *in, size_t size)
{
	size_t n = strnlen(in, size - 1);

	n = utf8_valid_prefix(in, n);
	memcpy(out, in, n);
	out[n] = '\0';
}

bool crash_read(struct crash *c, const struct shared_page *page, int n_queues, int signo)
{
	const struct oncpu *job = &page->oncpu.job;
	size_t n;

	if (!own_fault(signo) || page->oncpu.busy != 1 || job->queue < 0 || job->queue >= n_queues)
		return false;
	c->signo = signo;
	text_read(c->epoch, page->epoch, sizeof(c->epoch));
	text_read(c->oncpu.lease, job->lease, sizeof(job->lease));
	text_read(c->oncpu.job_id, job->job_id, sizeof(job->job_id));
	text_read(c->oncpu.task, job->task, sizeof(job->task));
	text_read(c->waited_for, page->oncpu.waited_for, sizeof(c->waited_for));
	c->oncpu.queue = job->queue;
	n = strlen(c->epoch);
	return n && !strncmp(c->oncpu.lease, c->epoch, n) && c->oncpu.lease[n] == ':';
}

/* ---- the answer may come after nobody waits for it any more ---- */
struct answer {
	struct completion c;
	bool held, orphan;
};

static void on_answer(bool held, void *arg)
{
	struct answer *a = arg;

	if (a->orphan) {
		free(a);
		return;
	}
	a->held = held;
	completion_done(&a->c);
}

static int settle_and_wait(struct queue *q, struct settlement *s, int64_t deadline_ms, bool *held)
{
	struct answer *a = mem_new(struct answer);
	int rc;

	queue_settle(q, s, on_answer, a);
	rc = completion_wait(&a->c, "settle", deadline_ms);
	if (rc < 0) {
		a->orphan = true;
		return rc;
	}
	*held = a->held;
	free(a);
	return 0;
}

/* ---- what is written ---- */
/* The header's words with this epoch added to those of " crash=". */
static void words_print(const struct job_header *h, const char *epoch, struct buf *out)
{
	const char *end = h->extra + h->extra_len, *at;
	bool added = false;

	for (const char *p = h->extra; p < end; p = at) {
		at = memchr(p + 1, ' ', (size_t)(end - p - 1));
		if (!at)
			at = end;
		buf_append(out, p, (size_t)(at - p));
		if ((size_t)(at - p) > strlen(RAN_CRASH) &&
		    !memcmp(p, RAN_CRASH, strlen(RAN_CRASH))) {
			buf_printf(out, ",%s", epoch);
			added = true;
		}
	}
	if (!added)
		buf_printf(out, RAN_CRASH "%s", epoch);
}

/* The epochs as people read them. */
static void workers_print(const struct buf *words, struct buf *out)
{
	const char *p = strstr(buf_str(words), RAN_CRASH) + strlen(RAN_CRASH);

	for (; *p && *p != ' '; p++) {
		if (*p == ',')
			buf_puts(out, ", then ");
		else
			buf_putc(out, *p);
	}
}

static void tell(struct attempt *a, const struct crash *c, const struct buf *words)
{
	struct buf workers = BUF_INIT;

	workers_print(words, &workers);
	err_set(&a->err, -EFAULT, ERR_POISON, "crashed",
		"%d worker processes died while this job was on the CPU: %s (signal %d, %s); it was running %s, %s%s",
		a->lease.header.crashes, buf_str(&workers), c->signo, strsignal(c->signo),
		c->oncpu.task[0] ? c->oncpu.task : "the parser of its payload",
		c->waited_for[0] ? "after it had waited for: " : "before its first wait",
		c->waited_for);
	snprintf(a->err.where, sizeof(a->err.where), "%s", c->waited_for);
	buf_clear(&workers);
}

static struct settlement *bury(struct attempt *a, const struct crash *c, const struct buf *words)
{
	struct worker w = { .redis = a->worker->redis };
	int64_t now = redis_now_ms(w.redis);
	struct buf letter = BUF_INIT;
	char id[ID_LEN + 1];

	snprintf(w.epoch, sizeof(w.epoch), "%s", c->epoch);
	struct job_header header = a->lease.header;

	a->worker = &w;
	/* A payload that the parser survived there, it survives here. */
	if (c->oncpu.task[0] &&
	    job_parse(a->lease.payload, a->lease.payload_len, &a->job, &a->err) < 0)
		log_event(LOG_WARN, "payload_not_read", LS("reason", a->err.text));
	a->run_id = header_number(&header, RAN_RUN);
	a->job.task = c->oncpu.task;
	snprintf(a->job_id, sizeof(a->job_id), "%s",
		 c->oncpu.job_id[0] ? c->oncpu.job_id : a->lease.header.id);
	tell(a, c, words);
	id_new(id);
	letter_print(a, id, now, &letter);
	log_event(LOG_ERROR, "job_dead", LS("job", a->job_id), LS("task", c->oncpu.task),
		  LS("class", err_class_name(ERR_POISON)), LS("error", a->err.text));
	struct queue *q = a->lease.queue;
	struct settlement *s = settlement_new(&a->lease, SETTLE_DEAD);
	a->lease.queue = q;
	a->lease.header = header;
	settlement_set_letter(s, now, id, letter.data, letter.len);
	outcome_settle(a, s, JOB_DEAD);
	buf_clear(&letter);
	return s;
}

static struct settlement *again(struct attempt *a, const struct crash *c, const struct buf *words)
{
	struct job_header h = a->lease.header;
	struct settlement *s;

	h.extra = words->data;
	h.extra_len = words->len;
	log_event(LOG_WARN, "job_charged", LS("job", c->oncpu.job_id), LS("task", c->oncpu.task),
		  LS("waited_for", c->waited_for), LI("crashes", h.crashes),
		  LI("signal", c->signo));
	s = settlement_new(&a->lease, SETTLE_AGAIN);
	settlement_set_header(s, &h);
	return s;
}

/* As worker/settle.c counts its outcomes: here, since the process that would have is dead. */
static void count_dead(struct queue *q, const struct crash *c)
{
	const char *task = task_find(c->oncpu.task) ? c->oncpu.task : "unknown";

	metric_add(metrics_counter("integration_tasks_total", "Attempts by outcome.", "partner",
				   queue_partner(q), "task", task, "outcome", "dead", NULL),
		   1);
}

int charge(struct queue *q, struct redis *r, const struct driver *d, const struct crash *c,
	   int64_t deadline_ms, struct err *err)
{
	struct worker w = { .redis = r };
	struct attempt a = { .worker = &w, .driver = d };
	struct buf words = BUF_INIT;
	struct settlement *s;
	bool held = false, dies;
	int rc = queue_lease_find(q, c->oncpu.lease, &a.lease, deadline_ms, err);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	words_print(&a.lease.header, c->epoch, &words);
	a.lease.header.crashes++;
	dies = a.lease.header.crashes >= POISON_CRASHES;
	s = dies ? bury(&a, c, &words) : again(&a, c, &words);
	buf_clear(&words);
	job_clear(&a.job);
	rc = settle_and_wait(q, s, deadline_ms, &held);
	if (rc < 0)
		return err_set(err, rc, ERR_INTERNAL, "redis", "Redis did not answer in time");
	if (held && dies)
		count_dead(q, c);
	if (!held)
		log_event(LOG_INFO, "crash_not_charged", LS("job", c->oncpu.job_id),
			  LS("reason", "the job was settled or given back already"));
	return 0;
}
