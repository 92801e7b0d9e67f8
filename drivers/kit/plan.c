/* What the settings and the manifest make of a schedule. */
#include "drivers/kit/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/mem.h"

#define MINUTE_MS (60 * 1000LL)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define EVERY_MIN_MS 1000
#define EVERY_MAX_MS (90 * DAY_MS)
#define CRON_JITTER_MS MINUTE_MS

static const char *const names[] = { "none", "webhook", "incremental", "full", "daily" };
static const char *const catch_ups[] = { "one", "skip", "all" };
static const char *const settings_known[] = { "strategy", "every",      "zone", "jitter",
					      "catch_up", "full_every", NULL };

const char *strategy_name(enum strategy s)
{
	return names[s];
}

const char *plan_setting(int i)
{
	return settings_known[i];
}

bool plan_has_setting(const char *name)
{
	for (int i = 0; settings_known[i]; i++)
		if (strcmp(settings_known[i], name) == 0)
			return true;
	return false;
}

bool plan_can_be_full(const struct plan *p)
{
	return p->always_full || p->full_every_ms;
}

void plan_print_ms(int64_t ms, struct buf *out)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = {
		{ DAY_MS, "d" }, { HOUR_MS, "h" }, { MINUTE_MS, "m" }, { 1000, "s" }, { 1, "ms" }
	};

	if (ms == 0)
		buf_puts(out, "0");
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (ms >= units[i].ms)
			buf_printf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
		ms %= units[i].ms;
	}
}

void plan_print(const struct plan *p, struct buf *out)
{
	buf_puts(out, names[p->strategy]);
	if (p->strategy == STRATEGY_NONE)
		return;
	buf_printf(out, " every %s", p->every);
	if (p->zone)
		buf_printf(out, " in %s", zone_name(p->zone));
	buf_puts(out, ", jitter ");
	plan_print_ms(p->jitter_ms, out);
	if (p->full_every_ms) {
		buf_puts(out, ", full every ");
		plan_print_ms(p->full_every_ms, out);
	}
	buf_printf(out, ", catch up %s", catch_ups[p->catch_up]);
	for (int i = 0; i < p->n_tasks; i++)
		buf_printf(out, ", %s", p->tasks[i]);
}

/* ---- what the manifest can do ---- */

struct abilities {
	int alone, since, queues; /* collections that stand by themselves; of them … */
	int64_t every_ms;         /* as often a queue wants to be read; 0: none says so */
	bool total, deletes;      /* all say how many there are; webhooks tell of deletions */
	int events;
};

int plan_tasks(const struct manifest *m, const char *out[PLAN_TASKS_MAX])
{
	static const struct {
		enum row_table table;
		const char *task;
	} tasks[] = { { ROW_RESOURCES, "import_resources" },
		      { ROW_TRANSACTIONS, "import_transactions" },
		      { ROW_MEDIA, "import_media" } };
	bool has[ARRAY_LEN(tasks)] = { false };
	int n = 0;

	for (int i = 0; i < m->n_collections; i++)
		for (size_t t = 0; t < ARRAY_LEN(tasks); t++)
			has[t] |= !m->collections[i].each &&
				  tasks[t].table == m->collections[i].table;
	/* import_resources queues the others itself. */
	for (size_t t = 0; t < ARRAY_LEN(tasks) && !(t && has[0]); t++)
		if (has[t])
			out[n++] = tasks[t].task;
	return n;
}

static void look(const struct manifest *m, struct abilities *a, struct plan *p)
{
	a->total = true;
	for (int i = 0; i < m->n_collections; i++) {
		const struct manifest_collection *c = &m->collections[i];

		if (c->each)
			continue;
		a->alone++;
		a->since += c->incremental.on;
		a->queues += c->paging.kind == PAGING_ACK_QUEUE;
		if (c->paging.every_ms && (!a->every_ms || c->paging.every_ms < a->every_ms))
			a->every_ms = c->paging.every_ms;
		a->total = a->total && c->paging.total;
	}
	if (m->webhooks.verify.scheme != VERIFY_NO_WEBHOOKS)
		a->events = m->webhooks.n_events;
	for (int i = 0; i < a->events; i++)
		a->deletes |= m->webhooks.events[i].act == EVENT_DELETE;
	p->n_tasks = plan_tasks(m, p->tasks);
}

static void __attribute__((format(printf, 4, 5)))
choose(struct plan *p, enum strategy s, int64_t every_ms, const char *fmt, ...)
{
	va_list ap;

	p->strategy = s;
	p->every_ms = every_ms;
	va_start(ap, fmt);
	vsnprintf(p->why, sizeof(p->why), fmt, ap);
	va_end(ap);
}

static void choose_by(const struct abilities *a, struct plan *p)
{
	if (a->alone == 0)
		choose(p, STRATEGY_NONE, 0, "the partner lists nothing: it answers questions");
	else if (a->queues == a->alone)
		choose(p, STRATEGY_INCREMENTAL, a->every_ms ? a->every_ms : 5 * MINUTE_MS,
		       "the partner hands out a queue, which wants to be read often");
	else if (a->events)
		choose(p, STRATEGY_WEBHOOK, DAY_MS,
		       "the partner sends webhooks (%d kinds of events), a daily import finds what they missed",
		       a->events);
	else if (a->since == a->alone)
		choose(p, STRATEGY_INCREMENTAL, 15 * MINUTE_MS,
		       "all that the partner lists can be asked for since a time");
	else if (a->since)
		choose(p, STRATEGY_INCREMENTAL, HOUR_MS,
		       "%d of %d lists of the partner can be asked for since a time, the others are read whole",
		       a->since, a->alone);
	else if (a->total)
		choose(p, STRATEGY_FULL, 4 * HOUR_MS,
		       "the partner's lists are read whole (there is no asking since a time), and say how long they are");
	else
		choose(p, STRATEGY_DAILY, DAY_MS,
		       "the partner's lists are read whole (there is no asking since a time), and do not say how long they are");
}

/* ---- what the settings say ---- */

static int wrong(struct err *err, const char *name, const char *value, const char *wanted)
{
	return err_set(err, -EINVAL, ERR_CLIENT, name, "%s: %s, not \"%.120s\"", name, wanted,
		       value);
}

static int read_name(const cJSON *settings, const char *name, const char *const *known, int n,
		     const char *wanted, int *out, struct err *err)
{
	const char *value = json_str(settings, name);

	for (int i = 0; value && i < n; i++) {
		if (strcmp(value, known[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	return value ? wrong(err, name, value, wanted) : 0;
}

static int read_ms(const cJSON *settings, const char *name, int64_t least, int64_t most,
		   const char *wanted, int64_t *out, struct err *err)
{
	const char *value = json_str(settings, name);
	int64_t ms;

	if (!value)
		return 0;
	if (clock_parse_duration(value, &ms) < 0 || ms < least || ms > most)
		return wrong(err, name, value, wanted);
	*out = ms;
	return 0;
}

/* A duration, or five fields. */
static int read_every(const cJSON *settings, struct plan *p, struct err *err)
{
	const char *value = json_str(settings, "every");
	char why[CRON_WHY_MAX];
	int64_t ms;

	if (!value)
		return 0;
	if (value[strcspn(value, " \t")]) {
		if (cron_parse(value, &p->cron, why) < 0)
			return err_set(err, -EINVAL, ERR_CLIENT, "every", "every: %s", why);
		p->is_cron = true;
		p->every_ms = 0;
		snprintf(p->every, sizeof(p->every), "%s", value);
		return 0;
	}
	if (clock_parse_duration(value, &ms) < 0 || ms < EVERY_MIN_MS || ms > EVERY_MAX_MS)
		return wrong(
			err, "every", value,
			"a duration (15m, 4h, 1d; at most 90d) or five fields as in crontab (\"30 4 * * *\") is expected");
	p->every_ms = ms;
	return 0;
}

static int read_zone(const cJSON *settings, struct plan *p, struct err *err)
{
	const char *value = json_str(settings, "zone");

	if (!value)
		return 0;
	if (!p->is_cron)
		return err_set(err, -EINVAL, ERR_CLIENT, "zone",
			       "zone: belongs to an every of five fields, such as \"30 4 * * *\"");
	p->zone = zone_get(value);
	return p->zone ? 0
		       : wrong(err, "zone", value,
			       "a time zone such as Europe/Berlin, UTC or +02:00 is expected");
}

static int read_strategy(const cJSON *settings, const struct abilities *a, struct plan *p,
			 struct err *err)
{
	int s = STRATEGY_NONE;
	struct plan by_manifest = *p;
	int rc = read_name(settings, "strategy", names, (int)ARRAY_LEN(names),
			   "webhook, incremental, full, daily or none is expected", &s, err);

	if (rc < 0 || !json_str(settings, "strategy") || a->alone == 0)
		return rc;
	if (s == STRATEGY_WEBHOOK && !a->events)
		return err_set(err, -EINVAL, ERR_CLIENT, "strategy",
			       "strategy: the partner's manifest has no webhooks; it would get %s",
			       names[by_manifest.strategy]);
	if (s == STRATEGY_INCREMENTAL && !a->since && !a->queues)
		return err_set(
			err, -EINVAL, ERR_CLIENT, "strategy",
			"strategy: none of the partner's lists can be asked for since a time, so that each import is a full one: full or daily");
	static const int64_t every[] = { 0, DAY_MS, 15 * MINUTE_MS, 4 * HOUR_MS, DAY_MS };
	choose(p, (enum strategy)s,
	       s == (int)by_manifest.strategy ? by_manifest.every_ms : every[s],
	       "set by hand; else %s: %s", names[by_manifest.strategy], by_manifest.why);
	return 0;
}

static int read_rest(const cJSON *settings, const struct abilities *a, struct plan *p,
		     struct err *err)
{
	int catch_up = CATCH_UP_ONE;
	bool queue = a->queues == a->alone, whole = !a->since && !queue;
	int rc = read_name(settings, "catch_up", catch_ups, (int)ARRAY_LEN(catch_ups),
			   "skip, one or all is expected", &catch_up, err);

	p->catch_up = (enum catch_up)catch_up;
	p->always_full = whole || p->strategy == STRATEGY_FULL || p->strategy == STRATEGY_DAILY;
	if (!p->always_full && !queue)
		p->full_every_ms =
			p->strategy == STRATEGY_WEBHOOK && a->deletes ? 7 * DAY_MS : DAY_MS;
	p->jitter_ms = p->is_cron ? CRON_JITTER_MS : p->every_ms;
	if (rc == 0)
		rc = read_ms(settings, "jitter", 0, p->is_cron ? HOUR_MS : p->every_ms,
			     p->is_cron ? "a duration of at most an hour is expected"
					: "a duration, at most that of every, is expected",
			     &p->jitter_ms, err);
	int64_t full = 0;
	if (rc == 0)
		rc = read_ms(settings, "full_every", EVERY_MIN_MS, EVERY_MAX_MS,
			     "a duration (24h, 7d; at most 90d) is expected", &full, err);
	if (p->full_every_ms && full)
		p->full_every_ms = full;
	return rc;
}

int plan_make(const struct manifest *m, const cJSON *settings, int64_t every_ms, struct plan *out,
	      struct err *err)
{
	struct abilities a = { 0 };
	struct plan p = { 0 };
	struct buf every = BUF_INIT;
	int rc;

	look(m, &a, &p);
	choose_by(&a, &p);
	rc = read_strategy(settings, &a, &p, err);
	if (rc < 0)
		return rc;
	if (p.strategy == STRATEGY_NONE) {
		*out = p;
		return 0;
	}
	if (every_ms)
		p.every_ms = every_ms;
	rc = read_every(settings, &p, err);
	if (rc == 0)
		rc = read_zone(settings, &p, err);
	if (rc == 0)
		rc = read_rest(settings, &a, &p, err);
	if (rc < 0)
		return rc;
	if (!p.is_cron) {
		plan_print_ms(p.every_ms, &every);
		snprintf(p.every, sizeof(p.every), "%s", buf_str(&every));
		buf_clear(&every);
	}
	*out = p;
	return 0;
}

void plan_without_webhooks(struct plan *p)
{
	size_t n = strlen(p->why);

	if (p->strategy != STRATEGY_WEBHOOK || p->is_cron || p->every_ms != DAY_MS)
		return;
	p->jitter_ms = p->jitter_ms < HOUR_MS ? p->jitter_ms : HOUR_MS;
	p->every_ms = HOUR_MS;
	snprintf(p->every, sizeof(p->every), "1h");
	snprintf(p->why + n, sizeof(p->why) - n,
		 "; it is hourly until they are registered: longshore webhook register");
}
