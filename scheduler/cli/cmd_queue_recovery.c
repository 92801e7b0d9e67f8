#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/store/store.h"
#include "scheduler/cli/jobs.h"

static const char *over_text;

int options_queue_recovery(struct config_option *out)
{
	out[0] =
		(struct config_option){ .name = "over",
					.value_name = "N",
					.help = "jobs that could run over which it begins (default:"
						" the scheduler's --recovery-over)",
					.out = &over_text };
	return 1;
}

struct gather {
	cJSON *rows;
	const struct queue_name *name; /* partner "": all */
};

static void add_time(cJSON *row, const char *key, int64_t ms)
{
	char text[CLOCK_ISO_MAX];

	json_add_text(row, key, ms ? clock_iso(ms, text) : NULL);
}

static void add_row(const struct recovery *r, void *arg)
{
	struct gather *g = arg;
	enum lane lane;

	if (*g->name->partner && strcmp(g->name->partner, r->partner) != 0)
		return;
	if (lane_parse(r->lane, &lane) < 0 || (g->name->lane && g->name->lane != lane))
		return;
	char *queue = lane == LANE_NORMAL ? mem_strdup(r->partner)
					  : mem_printf("%s:%s", r->partner, r->lane);
	cJSON *row = cJSON_CreateObject();
	json_add_text(row, "queue", queue);
	free(queue);
	json_add_text(row, "strategy", r->strategy ? r->strategy : "default");
	if (r->over)
		json_add_int(row, "over", r->over);
	else
		cJSON_AddNullToObject(row, "over");
	cJSON_AddBoolToObject(row, "under_way", r->under_way);
	add_time(row, "since", r->since_ms);
	add_time(row, "ended_at", r->ended_ms);
	json_add_int(row, "deepest", r->deepest);
	json_add_int(row, "shed", r->shed);
	json_add_int(row, "fresh", r->fresh);
	cJSON_AddItemToArray(g->rows, row);
}

static int show(struct cli *c, const struct queue_name *name)
{
	static const struct out_column columns[] = {
		{ "QUEUE", "queue", false },    { "STRATEGY", "strategy", false },
		{ "OVER", "over", true },       { "UNDER WAY", "under_way", false },
		{ "SINCE", "since", false },    { "ENDED", "ended_at", false },
		{ "DEEPEST", "deepest", true }, { "TAKEN OUT", "shed", true },
		{ "FRESH", "fresh", true },
	};
	struct gather g = { cJSON_CreateArray(), name };
	struct err err = { 0 };
	int rc = recovery_each(c->pg, add_row, &g, &err);

	if (rc < 0) {
		cJSON_Delete(g.rows);
		return cli_error(c, rc, &err, "queue recovery");
	}
	return out_list(c, g.rows, columns, 9,
			"none was needed, and nothing is set: normal lanes purge, low ones drain,"
			" high ones and partners without imports pause");
}

static int set(struct cli *c, const struct queue_name *name, const char *strategy, int64_t over)
{
	struct err err = { 0 };
	enum lane first = name->lane ? name->lane : LANE_HIGH,
		  last = name->lane ? name->lane : LANE_LOW;
	int rc = 0;

	if (strcmp(strategy, "default") == 0)
		strategy = NULL;
	for (enum lane lane = first; lane <= last && rc == 0; lane++)
		rc = recovery_set(c->pg, name->partner, lane_name(lane), strategy, over, &err);
	return rc < 0 ? cli_error(c, rc, &err, "queue recovery") : 0;
}

static bool is_strategy(const char *word)
{
	static const char *const known[] = { "purge", "drain", "pause", "off", "default" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(word, known[i]) == 0)
			return true;
	return false;
}

int cmd_queue_recovery(struct cli *c)
{
	struct queue_name name = { .partner = "" };
	int64_t over = 0;
	int rc = 0;

	if (over_text && c->n_words < 2)
		return cli_misused(c,
				   "--over goes with a strategy: purge, drain, pause or default");
	if (c->n_words > 1 && !is_strategy(c->words[1]))
		return cli_misused(c, "\"%s\": purge, drain, pause, off or default is expected",
				   c->words[1]);
	if (over_text)
		rc = parse_id(c, "--over", over_text, &over);
	if (rc == 0 && c->n_words > 0)
		rc = parse_queue(c, c->words[0], &name);
	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0 && c->n_words > 1)
		rc = set(c, &name, c->words[1], over);
	return rc ? rc : show(c, &name);
}
