/* /healthz (alive), /readyz (progressing: Redis and Postgres answered lately), /metrics. */
#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/metrics.h"
#include "common/base/rss.h"
#include "common/io/loop.h"
#include "scheduler/scheduler.h"

#define LATELY_MS 15000

static void healthz(struct httpd_request *q, void *arg)
{
	httpd_reply_text(q, 200, "ok\n");
}

static void readyz(struct httpd_request *q, void *arg)
{
	struct scheduler *s = arg;
	struct err err = { 0 };
	PGresult *res = NULL;
	bool redis = redis_is_up(s->redis);
	bool pg = loop_now_ms() - pg_last_ok_ms(s->pg) < LATELY_MS;

	if (!pg) {
		pg = pg_execv(s->pg, &res, loop_now_ms() + 2000, &err, "select 1", NULL) == 0;
		PQclear(res);
	}
	if (redis && pg && !s->stopping) {
		httpd_reply_text(q, 200, "ready\n");
		return;
	}
	char text[256];
	snprintf(text, sizeof(text), "not ready: Redis %s, Postgres %s%s\n",
		 redis ? "answers" : "does not answer", pg ? "answers" : "does not answer",
		 s->stopping ? ", stopping" : "");
	httpd_reply_text(q, 503, text);
}

/* Lanes are named as in `longshore status`: guesty:high, guesty, guesty:low. */
static void lane_metrics(const char *partner, const struct queue_look *look)
{
	static const char *const suffix[] = { "", ":high", "", ":low" };
	char name[64];

	for (int l = LANE_HIGH; l <= LANE_LOW; l++) {
		snprintf(name, sizeof(name), "%s%s", partner, suffix[l]);
		metric_set(metrics_gauge("integration_queue_length",
					 "Jobs of a lane that could run, wherever they stand.",
					 "queue_name", name, NULL),
			   look->depth.ready[l] - look->depth.held_in[l]);
		metric_set(metrics_gauge("integration_queue_held", "Ready jobs of what is paused.",
					 "queue_name", name, NULL),
			   look->depth.held_in[l]);
		metric_set(metrics_gauge("integration_queue_oldest_age_seconds",
					 "Age of the lane's oldest ready job.", "queue_name", name,
					 NULL),
			   look->depth.oldest_age_ms[l] / 1000.0);
	}
}

static void fill(struct scheduler *s)
{
	const char *who;

	for (int i = 0; i < s->n_queues; i++) {
		const struct queue_look *look = upkeep_look(i);
		const char *p = queue_partner(s->queues[i]);

		if (!look->at_ms)
			continue;
		lane_metrics(p, look);
		metric_set(metrics_gauge("integration_queue_delayed",
					 "Jobs that wait for their time.", "partner", p, NULL),
			   look->depth.delayed);
		metric_set(metrics_gauge("integration_queue_in_flight", "Jobs leased by workers.",
					 "partner", p, NULL),
			   look->depth.in_flight);
		metric_set(metrics_gauge("integration_queue_dead", "Dead letters in Redis.",
					 "partner", p, NULL),
			   look->depth.dead);
	}
	rss_watch();
	metric_set(metrics_gauge("longshore_loop_lag_seconds",
				 "Longest time one turn of the loop took.", NULL),
		   loop_lag_ms(&who) / 1000.0);
}

static void metrics(struct httpd_request *q, void *arg)
{
	struct buf out = BUF_INIT;

	fill(arg);
	metrics_print_own(&out);
	httpd_reply(q, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&out), out.len);
	buf_clear(&out);
}

int pages_start(struct scheduler *s, struct httpd *h)
{
	httpd_route(h, "GET", "/healthz", healthz, s);
	httpd_route(h, "GET", "/readyz", readyz, s);
	httpd_route(h, "GET", "/metrics", metrics, s);
	return 0;
}
