/* longshore doctor: looks at everything that has to be right, live, and says what to do about what is not.  Goes on after a
 * failure as far as it can. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/cli/doctor.h"

static bool repair;

int options_doctor(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "repair",
		.help = "correct the queues' counts and rings where they are wrong",
		.type = CONFIG_BOOL,
		.out = &repair
	};
	return 1;
}

void doctor_say(struct doctor *d, enum verdict verdict, const char *check, const char *todo,
		const char *fmt, ...)
{
	static const char *const names[] = { "ok", "warn", "fail" };
	struct buf text = BUF_INIT;
	cJSON *row = cJSON_CreateObject();
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	json_add_text(row, "check", check);
	json_add_text(row, "state", names[verdict]);
	json_add_text(row, "found", buf_str(&text));
	json_add_text(row, "todo", verdict == DOCTOR_OK ? NULL : todo);
	cJSON_AddItemToArray(d->rows, row);
	if (verdict == DOCTOR_FAIL)
		d->failed++;
	buf_clear(&text);
}

static void look_drivers(struct doctor *d)
{
	struct err err = { 0 };

	if (driver_set_load(d->cli->common.drivers, &d->cli->drivers, &d->cli->driver_problems,
			    &err) < 0) {
		d->cli->drivers = NULL;
		doctor_say(d, DOCTOR_FAIL, "drivers", "correct --drivers or LONGSHORE_DRIVERS",
			   "%s", err.text);
		return;
	}
	if (d->cli->driver_problems.len)
		doctor_say(d, DOCTOR_FAIL, "drivers", "see `longshore driver check`",
			   "some manifests have errors: %.*s",
			   (int)strcspn(buf_str(&d->cli->driver_problems), "\n"),
			   buf_str(&d->cli->driver_problems));
	else
		doctor_say(d, DOCTOR_OK, "drivers", NULL, "%d partners, all valid",
			   driver_set_count(d->cli->drivers));
}

/* ---- queues ---- */

static void look_books(struct doctor *d, const char *partner)
{
	struct queue *q = queue_new(d->cli->redis, partner, NULL);
	struct queue_check k;
	struct err err = { 0 };
	int rc = queue_check(q, repair, &k, &err);
	enum verdict bad = repair ? DOCTOR_WARN : DOCTOR_FAIL;
	const char *todo = repair ? "repaired" : "run `longshore doctor --repair`";

	queue_free(q);
	if (rc < 0) {
		doctor_say(d, DOCTOR_FAIL, "queue",
			   "see the error; is a key of another type there?", "%s: %s", partner,
			   err.text);
		return;
	}
	d->queues++;
	if (k.miscounted)
		doctor_say(
			d, bad, "busy", todo,
			"%s: the count of jobs in flight is wrong for %lld integrations: they run"
			" fewer or more than their cap",
			partner, (long long)k.miscounted);
	if (k.stranded)
		doctor_say(
			d, bad, "ring", todo,
			"%s: %lld integrations have jobs that could run, and stand in no ring: they"
			" would wait for ever",
			partner, (long long)k.stranded);
	if (k.odd_leases)
		doctor_say(d, DOCTOR_WARN, "flight",
			   "see HKEYS of flight: nothing of ours made these",
			   "%s: %lld leases have names that are not ours", partner,
			   (long long)k.odd_leases);
	if (!k.miscounted && !k.stranded && !k.odd_leases)
		d->sound++;
}

struct serving {
	struct doctor *doctor;
	bool *served;
	int workers;
};

static void see_worker(const char *epoch, int64_t last_beat_ms, const char *info_json, void *arg)
{
	struct serving *s = arg;
	struct driver_set *drivers = s->doctor->cli->drivers;
	cJSON *info = NULL;
	const cJSON *p;

	if (!info_json ||
	    json_parse(info_json, strlen(info_json), FLEET_INFO_MAX_BYTES, &info, NULL) < 0)
		return;
	s->workers++;
	cJSON_ArrayForEach (p, json_path(info, "partners")) {
		for (int i = 0; i < driver_set_count(drivers); i++) {
			if (cJSON_IsString(p) &&
			    strcmp(p->valuestring, driver_at(drivers, i)->manifest->partner) == 0)
				s->served[i] = true;
		}
	}
	cJSON_Delete(info);
}

static void look_fleet(struct doctor *d)
{
	bool served[512] = { false };
	struct serving s = { .doctor = d, .served = served };
	struct err err = { 0 };
	int unserved = 0;

	if (driver_set_count(d->cli->drivers) > 512 ||
	    fleet_each(d->cli->redis, see_worker, &s, cli_deadline(), &err) < 0)
		return;
	for (int i = 0; i < driver_set_count(d->cli->drivers); i++) {
		if (s.workers && !served[i]) {
			unserved++;
			doctor_say(
				d, DOCTOR_WARN, "workers",
				"start a longshore-worker with it in --partners, or without --partners",
				"no live worker serves %s",
				driver_at(d->cli->drivers, i)->manifest->partner);
		}
	}
	if (!s.workers)
		doctor_say(d, DOCTOR_WARN, "workers", "start a longshore-worker", "none is alive");
	else if (!unserved)
		doctor_say(d, DOCTOR_OK, "workers", NULL, "%d processes, every partner is served",
			   s.workers);
}

/* ---- names ---- */

#define ODD_SHOWN 20

static bool is_partner(const char *partner, void *arg)
{
	struct doctor *d = arg;

	return strcmp(partner, LONGSHORE_PARTNER) == 0 || driver_find(d->cli->drivers, partner);
}

static void odd_key(const char *key, const char *what, void *arg)
{
	struct doctor *d = arg;

	if (d->odd++ < ODD_SHOWN)
		doctor_say(
			d, DOCTOR_WARN, "keys",
			"if jobs were pushed there, move them with redis-cli RPOPLPUSH and correct the"
			" pusher; else DEL it",
			"%.120s: %s", key, what);
}

static void look_keys(struct doctor *d)
{
	struct err err = { 0 };
	int64_t looked = 0;
	int rc = keys_check(d->cli->redis, is_partner, odd_key, d, &looked, &err);

	if (rc < 0)
		doctor_say(d, DOCTOR_WARN, "keys", "try again", "%s", err.text);
	else if (d->odd > ODD_SHOWN)
		doctor_say(d, DOCTOR_WARN, "keys", "as above", "%d more of such keys",
			   d->odd - ODD_SHOWN);
	else if (!d->odd)
		doctor_say(d, DOCTOR_OK, "keys", NULL,
			   "%lld keys, none with a name that is not known", (long long)looked);
}

static void look_queues(struct doctor *d)
{
	if (!d->cli->drivers)
		return;
	look_books(d, LONGSHORE_PARTNER);
	for (int i = 0; i < driver_set_count(d->cli->drivers); i++)
		look_books(d, driver_at(d->cli->drivers, i)->manifest->partner);
	if (d->sound)
		doctor_say(d, DOCTOR_OK, "queues", NULL,
			   "the counts and rings of %d of %d queues are right", d->sound,
			   d->queues);
	look_fleet(d);
	look_keys(d);
}

int cmd_doctor(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "STATE", "state", false },
		{ "CHECK", "check", false },
		{ "FOUND", "found", false },
		{ "TO DO", "todo", false },
	};
	struct doctor d = { .cli = c, .rows = cJSON_CreateArray() };

	look_drivers(&d);
	if (doctor_redis(&d))
		look_queues(&d);
	doctor_postgres(&d);
	out_list(c, d.rows, columns, 4, "nothing was looked at");
	if (d.failed)
		return cli_fail(c, EXIT_FAILED, "%d checks failed", d.failed);
	return EXIT_OK;
}
