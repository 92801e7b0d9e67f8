#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/mem.h"
#include "common/store/notification.h"
#include "drivers/kit/notify.h"
#include "scheduler/cli/cli.h"

#define TEMPLATE_MAX_BYTES (1024 * 1024)
#define NAME_MAX_BYTES 100
#define YEAR_MS (366LL * 24 * 3600 * 1000)

static const char *company, *list_state, *quiet, *tz, *rate_text;
static int64_t limit, patience_ms;
static bool removes;

static struct config_option company_option(const char *help)
{
	return (struct config_option){
		.name = "company", .value_name = "C", .help = help, .out = &company
	};
}

int options_notify_template(struct config_option *out)
{
	out[0] = company_option("of this company alone, before everybody's");
	out[1] = (struct config_option){
		.name = "remove", .help = "it is no more", .type = CONFIG_BOOL, .out = &removes
	};
	return 2;
}

int options_notify_channels(struct config_option *out)
{
	out[0] = company_option("whose they are");
	out[1] = (struct config_option){ .name = "patience",
					 .value_name = "DURATION",
					 .help = "how long one channel is tried before the next is",
					 .type = CONFIG_DURATION_MS,
					 .fallback = "15m",
					 .min = 1000,
					 .max = YEAR_MS,
					 .out = &patience_ms };
	out[2] = (struct config_option){ .name = "quiet",
					 .value_name = "FROM-UNTIL",
					 .help = "22:00-07:00: then only what is urgent is sent",
					 .out = &quiet };
	out[3] = (struct config_option){ .name = "tz",
					 .value_name = "ZONE",
					 .help = "by whose clocks it is quiet, as Europe/Lisbon",
					 .fallback = "UTC",
					 .out = &tz };
	out[4] = (struct config_option){ .name = "rate",
					 .value_name = "N/DURATION",
					 .help = "5/1h: at most so many to one recipient",
					 .out = &rate_text };
	return 5;
}

int options_notify_list(struct config_option *out)
{
	out[0] = company_option("of one company");
	out[1] = (struct config_option){ .name = "state",
					 .value_name = "S",
					 .help = "sending, sent, failed, unknown",
					 .out = &list_state };
	out[2] = (struct config_option){ .name = "limit",
					 .value_name = "N",
					 .help = "at most so many attempts, newest first",
					 .type = CONFIG_INT,
					 .fallback = "50",
					 .min = 1,
					 .max = 10000,
					 .out = &limit };
	return 3;
}

/* 0, or the exit code.  *id 0: none was named. */
static int company_id(struct cli *c, int64_t *id)
{
	struct err err = { 0 };
	int rc = cli_pg(c);

	*id = 0;
	if (rc || !company)
		return rc;
	rc = company_find(c->pg, company, id, &err);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
}

/* ---- templates ---- */

static int read_parts(struct cli *c, const char *file, cJSON **out)
{
	struct buf text = BUF_INIT;
	struct json_error why = { 0 };
	struct err err = { 0 };
	int rc = read_input(c, "template", file, TEMPLATE_MAX_BYTES, &text);

	if (rc == 0 && json_parse(buf_str(&text), text.len, TEMPLATE_MAX_BYTES, out, &why) < 0)
		rc = cli_misused(c, "%s: not JSON: %s, line %d, column %d", file, why.text,
				 why.line, why.column);
	if (rc == 0 && notify_check_parts(*out, &err) < 0)
		rc = cli_misused(c, "%s: %s", file, err.text);
	buf_clear(&text);
	return rc;
}

/* A channel is what a manifest says: what none says would never be sent, and nobody told. */
static int check_channels(struct cli *c, const cJSON *parts)
{
	const char *names[64], *near;
	const cJSON *part;
	int n = 0, rc = cli_drivers(c);

	for (int i = 0; rc == 0 && i < driver_set_count(c->drivers) && n < 64; i++)
		if (driver_at(c->drivers, i)->manifest->channel.kind)
			names[n++] = driver_at(c->drivers, i)->manifest->channel.kind;
	cJSON_ArrayForEach (part, parts) {
		bool known = rc != 0;

		for (int i = 0; i < n && !known; i++)
			known = strcmp(names[i], part->string) == 0;
		if (known)
			continue;
		near = config_nearest(part->string, names, n);
		return cli_misused(c, "no manifest has a channel \"%.60s\"%s%s%s", part->string,
				   near ? "; did you mean " : "", near ? near : "",
				   near ? "?" : "");
	}
	return rc;
}

static int set_template(struct cli *c)
{
	struct buf text = BUF_INIT;
	struct err err = { 0 };
	cJSON *parts = NULL;
	int64_t id = 0;
	int rc;

	if (!*c->words[0] || strlen(c->words[0]) > NAME_MAX_BYTES)
		return cli_misused(c, "a template's name has 1 to %d bytes", NAME_MAX_BYTES);
	rc = read_parts(c, c->words[1], &parts);
	if (rc == 0)
		rc = check_channels(c, parts);
	if (rc == 0)
		rc = company_id(c, &id);
	if (rc == 0) {
		json_print(parts, &text);
		rc = notify_template_put(c->pg, id, c->words[0], buf_str(&text), &err);
		rc = rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
	}
	cJSON_Delete(parts);
	buf_clear(&text);
	return rc ? rc : out_value(c, "template", cJSON_CreateString(c->words[0]));
}

static int show_template(struct cli *c)
{
	struct err err = { 0 };
	cJSON *parts = NULL;
	int64_t id = 0;
	int rc = company_id(c, &id);

	if (rc)
		return rc;
	rc = notify_template_get(c->pg, id, c->words[0], &parts, &err);
	if (rc == -ENOENT)
		return cli_fail(c, EXIT_NOT_FOUND, "there is no template \"%s\"", c->words[0]);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	out_json(parts);
	cJSON_Delete(parts);
	return 0;
}

static int remove_template(struct cli *c)
{
	struct err err = { 0 };
	int64_t id = 0;
	int rc = company_id(c, &id);

	if (rc)
		return rc;
	rc = notify_template_drop(c->pg, id, c->words[0], &err);
	if (rc == -ENOENT)
		return cli_fail(c, EXIT_NOT_FOUND, "there is no template \"%s\"%s", c->words[0],
				company ? " of that company" : " for everybody");
	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
}

int cmd_notify_template(struct cli *c)
{
	if (removes && c->n_words > 1)
		return cli_misused(c, "--remove needs no file");
	return removes ? remove_template(c) : c->n_words > 1 ? set_template(c) : show_template(c);
}

/* ---- channels ---- */

static bool is_clock(const char *s)
{
	return strlen(s) == 5 && s[2] == ':' && strspn(s, "0123456789") == 2 &&
	       strspn(s + 3, "0123456789") == 2 && strncmp(s, "24", 2) < 0 && s[3] < '6';
}

static int read_quiet(struct cli *c, struct notify_settings *s, char from[8], char until[8])
{
	if (!quiet)
		return 0;
	if (strlen(quiet) != 11 || quiet[5] != '-')
		return cli_misused(c, "--quiet: 22:00-07:00 is expected, not \"%s\"", quiet);
	snprintf(from, 8, "%.5s", quiet);
	snprintf(until, 8, "%.5s", quiet + 6);
	if (!is_clock(from) || !is_clock(until) || strcmp(from, until) == 0)
		return cli_misused(c, "--quiet: 22:00-07:00 is expected, not \"%s\"", quiet);
	s->quiet_from = from;
	s->quiet_until = until;
	return 0;
}

static int read_rate(struct cli *c, struct notify_settings *s)
{
	size_t n = rate_text ? strspn(rate_text, "0123456789") : 0;

	if (!rate_text)
		return 0;
	if (n == 0 || n > 6 || rate_text[n] != '/' ||
	    clock_parse_duration(rate_text + n + 1, &s->rate_ms) < 0 || s->rate_ms < 1000 ||
	    s->rate_ms > YEAR_MS || (s->rate = strtoll(rate_text, NULL, 10)) < 1)
		return cli_misused(c, "--rate: 5/1h is expected, not \"%s\"", rate_text);
	return 0;
}

/* Each is a channel, and this company's or nobody's. */
static int check_channel(struct cli *c, int64_t company_number, int64_t id)
{
	struct integration i = { 0 };
	struct err err = { 0 };
	const struct driver *d;
	int rc = integration_get(c->pg, id, &i, &err);

	if (rc == -ENOENT)
		rc = cli_fail(c, EXIT_NOT_FOUND, "no integration %lld", (long long)id);
	else if (rc < 0)
		rc = cli_error(c, rc, &err, c->command->name);
	else if (i.company_id && i.company_id != company_number)
		rc = cli_fail(c, EXIT_FAILED, "integration %lld is %s's", (long long)id, i.company);
	else if (!(d = driver_find(c->drivers, i.partner)) || !d->manifest->channel.kind)
		rc = cli_fail(c, EXIT_FAILED,
			      "integration %lld is one with %s, whose manifest has no \"channel\"",
			      (long long)id, i.partner);
	integration_clear(&i);
	return rc;
}

int cmd_notify_channels(struct cli *c)
{
	struct notify_settings s = { .patience_ms = patience_ms, .tz = tz };
	char from[8], until[8];
	struct err err = { 0 };
	int64_t id = 0;
	int rc = read_quiet(c, &s, from, until);

	if (rc == 0)
		rc = read_rate(c, &s);
	if (rc == 0 && !company)
		rc = cli_misused(c, "--company says whose channels these are");
	if (rc == 0)
		rc = cli_drivers(c);
	if (rc == 0)
		rc = company_id(c, &id);
	for (int k = 0; k < c->n_words && rc == 0; k++) {
		rc = parse_id(c, "integration", c->words[k], &s.channels[s.n_channels]);
		for (int l = 0; l < s.n_channels && rc == 0; l++)
			if (s.channels[l] == s.channels[s.n_channels])
				rc = cli_misused(c, "integration %s is named twice", c->words[k]);
		if (rc == 0)
			rc = check_channel(c, id, s.channels[s.n_channels++]);
	}
	if (rc)
		return rc;
	rc = notify_settings_put(c->pg, id, &s, &err);
	if (rc == -EINVAL)
		return cli_misused(c, "--tz or --quiet: %s", err.text);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name)
		      : out_value(c, "company", cJSON_CreateNumber((double)id));
}

/* ---- looking ---- */

static void add(const cJSON *row, void *arg)
{
	cJSON_AddItemToArray(arg, cJSON_Duplicate(row, true));
}

static int list(struct cli *c, const struct notification_filter *f, const char *none)
{
	static const struct out_column columns[] = {
		{ "NOTIFICATION", "id", true },    { "COMPANY", "company", false },
		{ "TEMPLATE", "template", false }, { "TO", "recipient", false },
		{ "STATE", "state", false },       { "ATTEMPT", "attempt", true },
		{ "CHANNEL", "channel", false },   { "OUTCOME", "outcome", false },
		{ "DELIVERY", "delivery", false }, { "REQUEST", "request_id", true },
		{ "WHY", "error", false },
	};
	cJSON *rows = cJSON_CreateArray();
	struct err err = { 0 };
	int rc = notification_each(c->pg, f, add, rows, &err);

	if (rc < 0) {
		cJSON_Delete(rows);
		return cli_error(c, rc, &err, c->command->name);
	}
	return out_list(c, rows, columns, ARRAY_LEN(columns), none);
}

int cmd_notify_list(struct cli *c)
{
	static const char *const states[] = { "sending", "sent", "failed", "unknown" };
	struct notification_filter f = { .state = list_state, .limit = (int)limit };
	size_t i = 0;
	int rc;

	while (list_state && i < ARRAY_LEN(states) && strcmp(states[i], list_state) != 0)
		i++;
	if (i == ARRAY_LEN(states))
		return cli_misused(c, "--state: sending, sent, failed or unknown, not \"%s\"",
				   list_state);
	rc = company_id(c, &f.company_id);
	return rc ? rc : list(c, &f, "no notifications");
}

int cmd_notify_show(struct cli *c)
{
	struct notification_filter f = { .limit = 10 };
	int rc = parse_id(c, "notification", c->words[0], &f.id);

	if (rc == 0)
		rc = cli_pg(c);
	return rc ? rc : list(c, &f, "there is no such notification");
}
