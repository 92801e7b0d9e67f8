#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/log_hold.h"
#include "common/base/metrics.h"
#include "common/io/loop.h"
#include "scheduler/webhook_delivery.h"

#define RETRY_AFTER_S "5"
#define REFUSALS_LOGGED 50 /* a second: whoever floods us shall not flood the log */

static void delivery_free(struct delivery *d)
{
	webhook_clear(&d->events);
	free(d->jobs);
	free(d->queued);
	free(d);
}

static const char *partner_of(const struct delivery *d)
{
	return d->driver ? d->driver->manifest->partner : "unknown";
}

/* ---- metrics: labels are the manifest's words, so series are bounded ---- */

static void count_event(const char *partner, const char *type)
{
	static struct metrics_kept kept;
	struct metric **m = metrics_keep(&kept, partner, type, NULL);

	if (!*m)
		*m = metrics_counter("webhooks_received_total",
				     "Events that partners sent and that are in Redis.", "partner",
				     partner, "event_type", type, NULL);
	metric_add(*m, 1);
}

static void count_duplicate(const char *partner)
{
	static struct metrics_kept kept;
	struct metric **m = metrics_keep(&kept, partner, NULL, NULL);

	if (!*m)
		*m = metrics_counter("webhooks_duplicates_total",
				     "Of the events received those that had come before.",
				     "partner", partner, NULL);
	metric_add(*m, 1);
}

static void count_failure(const char *partner, const char *error)
{
	metric_add(metrics_counter("webhook_failures_total",
				   "Deliveries of partners that were refused.", "partner", partner,
				   "error_type", error, NULL),
		   1);
}

static void observe(const struct delivery *d)
{
	static struct metrics_kept kept;
	const char *partner = partner_of(d);
	struct metric **m = metrics_keep(&kept, partner, NULL, NULL);

	if (!*m)
		*m = metrics_histogram("webhook_intake_seconds",
				       "From a delivery's last byte to its 202.", "partner",
				       partner, NULL);
	metric_observe(*m, (double)(clock_mono_us() - d->began_us) / 1e6);
}

/* ---- the log ---- */

static bool lines_held;

static void release_lines(void *arg)
{
	lines_held = false;
	log_release();
}

/* After the answers of this turn: no partner waits for our disk. */
static void hold_lines(void)
{
	if (lines_held)
		return;
	lines_held = true;
	log_hold();
	loop_defer(release_lines, NULL);
}

static void log_events(const struct delivery *d, const char *fresh)
{
	int64_t us = clock_mono_us() - d->began_us;

	hold_lines();
	for (int i = 0; i < d->n_jobs; i++) {
		const struct job_of *j = &d->jobs[i];
		char id[INTAKE_HASH_CHARS + 4] = "wh-";

		memcpy(id + 3, d->queued[i].hash, sizeof(d->queued[i].hash));
		log_event(LOG_INFO, "webhook_received", LS("partner", partner_of(d)),
			  LI("integration", j->integration), LS("type", j->event->name),
			  LS("job", id), LB("duplicate", fresh[i] == '0'),
			  LI("bytes", j->event->body_len), LI("dur_us", us));
	}
}

/* Whether this second has room for another line. */
static bool may_log(void)
{
	static int64_t second, n, left_out;
	int64_t now = loop_now_ms() / 1000;

	if (now != second) {
		if (left_out)
			log_event(LOG_WARN, "webhook_refusals_not_logged", LI("count", left_out));
		second = now;
		n = left_out = 0;
	}
	if (++n <= REFUSALS_LOGGED)
		return true;
	left_out++;
	return false;
}

/* ---- answers ---- */

static void reply_json(struct delivery *d, int status, struct buf *body)
{
	buf_puts(body, "}\n");
	httpd_reply(d->q, status, "application/json", body->data, body->len);
	buf_clear(body);
}

void delivery_refuse(struct delivery *d, int status, const char *error, const char *text)
{
	struct buf body = BUF_INIT;

	count_failure(partner_of(d), error);
	if (may_log())
		log_event(LOG_WARN, "webhook_refused", LS("partner", partner_of(d)),
			  LI("integration", d->integration), LI("status", status),
			  LS("error", error), LS("reason", text), LS("peer", httpd_peer(d->q)));
	/* who forges is not told that nothing is there to be guessed */
	if (strcmp(error, verify_verdict_name(VERIFY_NO_SECRET)) == 0)
		error = verify_verdict_name(VERIFY_WRONG);
	buf_printf(&body, "{\"error\":\"%s\",\"message\":", error);
	json_quote(&body, text, strlen(text));
	if (status == 503)
		httpd_add_header(d->q, "Retry-After", RETRY_AFTER_S);
	if (status == 401 && d->driver &&
	    d->driver->manifest->webhooks.verify.scheme == VERIFY_BASIC)
		httpd_add_header(d->q, "WWW-Authenticate", "Basic realm=\"webhooks\"");
	reply_json(d, status, &body);
	delivery_free(d);
}

void delivery_accept(struct delivery *d, const char *fresh)
{
	struct buf body = BUF_INIT;
	int duplicates = 0;

	for (int i = 0; i < d->n_jobs; i++) {
		const struct webhook_event *e = d->jobs[i].event;

		count_event(partner_of(d), e->declared ? e->declared->name : "other");
		if (fresh[i] == '0') {
			count_duplicate(partner_of(d));
			duplicates++;
		}
	}
	observe(d);
	if (log_enabled(LOG_INFO))
		log_events(d, fresh);
	buf_puts(&body, "{\"accepted\":");
	buf_putint(&body, d->n_jobs);
	buf_puts(&body, ",\"duplicates\":");
	buf_putint(&body, duplicates);
	reply_json(d, 202, &body);
	delivery_free(d);
}

void delivery_reply(struct delivery *d, const char *text)
{
	log_event(LOG_INFO, "webhook_challenge", LS("partner", partner_of(d)),
		  LI("integration", d->integration));
	httpd_reply_text(d->q, 200, text);
	delivery_free(d);
}
