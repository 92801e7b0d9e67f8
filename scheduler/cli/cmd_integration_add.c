#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/store/store.h"
#include "drivers/kit/call_chaos.h"
#include "drivers/kit/plan.h"
#include "scheduler/cli/cli.h"

#define SETTINGS_KNOWN_MAX 64

static const char *company, *partner, *environment, *base_url, *credentials_file;

int options_integration_add(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "company",
		.value_name = "C",
		.help = "whose account it is (id or name); none for a lookup partner",
		.out = &company
	};
	out[1] = (struct config_option){
		.name = "partner", .value_name = "P", .help = "with whom", .out = &partner
	};
	out[2] = (struct config_option){ .name = "environment",
					 .value_name = "E",
					 .help = "production or sandbox",
					 .fallback = "production",
					 .out = &environment };
	out[3] = (struct config_option){ .name = "base-url",
					 .value_name = "URL",
					 .help = "replaces the API host of the manifest",
					 .out = &base_url };
	out[4] = (struct config_option){ .name = "credentials",
					 .value_name = "FILE|-",
					 .help = "a JSON object of what the partner needs",
					 .out = &credentials_file };
	return 5;
}

static int check_environment(const struct cli *c, const struct manifest *m)
{
	if (strcmp(environment, "production") != 0 && strcmp(environment, "sandbox") != 0)
		return cli_misused(c, "--environment: production or sandbox, not \"%s\"",
				   environment);
	if (strcmp(environment, "sandbox") == 0 && !m->base_sandbox && !base_url)
		return cli_misused(c,
				   "--environment: %s has no sandbox of its own; give --base-url",
				   partner);
	if (base_url && !manifest_takes_url(m, base_url))
		return cli_misused(c, "--base-url: \"%s\" begins with neither %s", base_url,
				   manifest_schemes(m));
	return 0;
}

#define EVERY_MIN_MS 60000

/* Whether it means anything is told by plan_make, which knows the manifest (settings_fit); `default` takes it back. */
static int set_schedule(const struct cli *c, cJSON *settings, const char *name, const char *value)
{
	bool durations = strcmp(name, "every") == 0 || strcmp(name, "full_every") == 0;
	int64_t ms;

	if (strcmp(value, "default") == 0) {
		cJSON_AddNullToObject(settings, name);
		return 0;
	}
	if (durations && clock_parse_duration(value, &ms) == 0 && ms < EVERY_MIN_MS)
		return cli_misused(c, "--set %s: at least 60s, not \"%s\"", name, value);
	json_add_text(settings, name, value);
	return 0;
}

static int set_in_flight(const struct cli *c, cJSON *settings, const char *value)
{
	int64_t n;
	int rc = parse_id(c, "--set in_flight", value, &n);

	if (rc == 0 && n > 100000)
		rc = cli_misused(c, "--set in_flight: at most 100000, got %s", value);
	if (rc == 0)
		json_add_int(settings, "in_flight", n);
	return rc;
}

static int set_chaos(const struct cli *c, cJSON *settings, const char *value)
{
	double share;

	if (chaos_parse(value, &share) < 0)
		return cli_misused(c, "--set chaos: a share of the calls, over 0 to 1, not \"%s\"",
				   value);
	json_add_text(settings, CHAOS_SETTING, value);
	return 0;
}

/* As the manifest's deletes.brake and .few, for all collections. */
static int set_brake(const struct cli *c, cJSON *settings, const char *value)
{
	char *end;
	double share = strtod(value, &end);

	if (!*value || *end || !(share > 0 && share <= 1))
		return cli_misused(
			c, "--set deletes_brake: a share of the rows, over 0 to 1, not \"%s\"",
			value);
	json_add_text(settings, "deletes_brake", value);
	return 0;
}

static int set_few(const struct cli *c, cJSON *settings, const char *value)
{
	if (!*value || value[strspn(value, "0123456789")] || strlen(value) > 9)
		return cli_misused(c, "--set deletes_few: a number of rows, not \"%s\"", value);
	json_add_text(settings, "deletes_few", value);
	return 0;
}

/* Which adapters there are is the manifest's to say: settings_fit asks it. */
static int set_adapter(const struct cli *c, cJSON *settings, const char *value)
{
	json_add_text(settings, "adapter", value);
	return 0;
}

int settings_fit(const struct cli *c, const struct driver *d, const char *of, const cJSON *settings)
{
	const char *partner_of = d->manifest->partner;
	struct plan plan;
	struct err err = { 0 };

	if (settings && json_str(settings, CHAOS_SETTING) && strcmp(of, "production") == 0)
		return cli_misused(c, "--set chaos: not in production (--environment sandbox)");
	d = driver_for(d, 0, settings, NULL, &err);
	if (!d)
		return cli_misused(c, "--set adapter: the manifest of %s does not have it",
				   partner_of);
	if (plan_make(d->manifest, settings, 0, &plan, &err) < 0)
		return cli_misused(c, "--set %s", err.text);
	return 0;
}

static const struct {
	const char *name;
	int (*set)(const struct cli *c, cJSON *settings, const char *value);
} own_settings[] = { { "in_flight", set_in_flight },
		     { "adapter", set_adapter },
		     { "deletes_brake", set_brake },
		     { "deletes_few", set_few },
		     { CHAOS_SETTING, set_chaos } };

static int unknown_setting(const struct cli *c, const struct manifest *m, const char *name)
{
	const char *known[SETTINGS_KNOWN_MAX], *near;
	struct buf all = BUF_INIT;
	int n = 0, rc;

	for (size_t i = 0; i < ARRAY_LEN(own_settings); i++)
		known[n++] = own_settings[i].name;
	for (int i = 0; plan_setting(i); i++)
		known[n++] = plan_setting(i);
	for (int i = 0; i < m->n_settings && n < SETTINGS_KNOWN_MAX; i++)
		known[n++] = m->settings[i];
	for (int i = 0; i < n; i++)
		buf_printf(&all, "%s%s", i ? ", " : "", known[i]);
	near = config_nearest(name, known, n);
	if (near)
		rc = cli_misused(c, "--set %s: unknown setting; did you mean %s?", name, near);
	else
		rc = cli_misused(c, "--set %s: unknown setting of %s; known: %s", name, m->partner,
				 all.data);
	buf_clear(&all);
	return rc;
}

/* A setting of the manifest's; of the type that it is declared with, if it is. */
static int set_declared(const struct cli *c, const struct manifest *m, cJSON *settings,
			const char *name, const char *value)
{
	const struct manifest_setting *s = manifest_setting(m, name);
	struct buf wanted = BUF_INIT;
	int rc = 0;

	if (s && !setting_fits(s, value, &wanted))
		rc = cli_misused(c, "--set %s: %s is expected, got \"%s\"", name, buf_str(&wanted),
				 value);
	else
		json_add_text(settings, name, value);
	buf_clear(&wanted);
	return rc;
}

static int check_required(const struct cli *c, const struct manifest *m, const cJSON *settings)
{
	for (int i = 0; i < m->n_typed; i++) {
		const struct manifest_setting *s = &m->typed[i];

		if (s->required && !cJSON_GetObjectItemCaseSensitive(settings, s->name))
			return cli_misused(c, "%s needs --set %s=...%s%s", m->partner, s->name,
					   s->about ? ": " : "", s->about ? s->about : "");
	}
	return 0;
}

static int set_one(const struct cli *c, const struct manifest *m, cJSON *settings, const char *name,
		   const char *value)
{
	for (size_t i = 0; i < ARRAY_LEN(own_settings); i++) {
		if (strcmp(own_settings[i].name, name) == 0)
			return own_settings[i].set(c, settings, value);
	}
	if (plan_has_setting(name))
		return set_schedule(c, settings, name, value);
	for (int i = 0; i < m->n_settings; i++)
		if (strcmp(m->settings[i], name) == 0)
			return set_declared(c, m, settings, name, value);
	return unknown_setting(c, m, name);
}

int settings_read(const struct cli *c, const struct manifest *m, cJSON *settings)
{
	int rc = 0;

	for (int i = 0; i < c->n_sets && rc == 0; i++) {
		const char *equals = strchr(c->sets[i], '=');
		char *name;

		if (!equals || equals == c->sets[i])
			return cli_misused(c, "--set: name=value is expected, got \"%s\"",
					   c->sets[i]);
		name = mem_strndup(c->sets[i], (size_t)(equals - c->sets[i]));
		cJSON_DeleteItemFromObjectCaseSensitive(settings, name); /* the last one counts */
		rc = set_one(c, m, settings, name, equals + 1);
		free(name);
	}
	return rc;
}

static void see_home(const struct integration *i, void *arg)
{
	int64_t *id = arg;

	if (!i->company_id && !*id)
		*id = i->id;
}

/* Lookups that name no integration mean the one of no company: there is no telling two apart. */
static int check_home(struct cli *c, const struct manifest *m)
{
	struct err err = { 0 };
	int64_t id = 0;
	int rc;

	if (company || !m->n_lookups)
		return 0;
	rc = cli_pg(c);
	if (rc)
		return rc;
	rc = integration_each(c->pg, 0, partner, NULL, see_home, &id, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, "integration add");
	if (id)
		return cli_fail(c, EXIT_FAILED,
				"integration add: %s has integration %lld of no company already",
				partner, (long long)id);
	return 0;
}

/* Nothing can be fetched before somebody has signed in. */
static bool is_signed_in_to(const struct driver *d)
{
	return d->manifest->auth.kind == AUTH_OAUTH2_CODE ||
	       d->manifest->auth.kind == AUTH_OAUTH2_DEVICE;
}

/* For people: when it will be imported, and why then. */
static void tell_schedule(const struct driver *d, const cJSON *settings)
{
	const struct driver *own = driver_for(d, 0, settings, NULL, NULL);
	struct buf line = BUF_INIT;
	struct plan plan;

	if (!company || !own || plan_make(own->manifest, settings, 0, &plan, NULL) < 0 ||
	    plan.strategy == STRATEGY_NONE)
		return;
	plan_without_webhooks(&plan); /* nobody can have registered them yet */
	buf_printf(&line, "Imports: %s, every %s", strategy_name(plan.strategy), plan.every);
	if (plan.full_every_ms) {
		buf_puts(&line, ", a full one every ");
		plan_print_ms(plan.full_every_ms, &line);
	}
	fprintf(stderr, "%s (%s).\n", buf_str(&line), plan.why);
	buf_clear(&line);
}

static int add(struct cli *c, const struct driver *d, const struct secret *credentials,
	       const cJSON *settings)
{
	struct integration_new n = { .company = company,
				     .partner = partner,
				     .environment = environment,
				     .base_url = base_url,
				     .settings = settings,
				     .credentials = credentials->len ? credentials : NULL };
	struct keyring *keys = NULL;
	struct err err = { 0 };
	int64_t id;
	int rc = n.credentials ? keyring_load(c->common.secret_key_file, &keys, &err) : 0;

	if (rc < 0)
		return cli_error(c, rc, &err, "the secret key");
	rc = cli_pg(c);
	if (rc == 0) {
		rc = integration_add(c->pg, keys, &n, &id, &err);
		rc = rc < 0 ? cli_error(c, rc, &err, "integration add")
			    : out_value(c, "id", cJSON_CreateNumber((double)id));
		if (rc == 0 && !c->json)
			tell_schedule(d, settings);
		if (rc == 0 && !c->json && is_signed_in_to(d))
			fprintf(stderr, "Next: longshore integration authorize %lld\n",
				(long long)id);
	}
	keyring_free(keys);
	return rc;
}

/* Of no company, where one address takes in the webhooks of all: it has what its partner signs with, and calls nobody. */
static bool is_app(const struct manifest *m)
{
	return !company && m->webhooks.whose;
}

int cmd_integration_add(struct cli *c)
{
	struct secret credentials = SECRET_INIT;
	const struct driver *d = NULL;
	cJSON *settings;
	int rc;

	if (!partner)
		return cli_misused(c, "--partner is missing");
	rc = cli_driver(c, partner, &d);
	if (rc == 0 && !d)
		rc = cli_misused(c, "--partner: %s is the queue of jobs without a partner",
				 partner);
	if (rc)
		return rc;
	settings = cJSON_CreateObject();
	rc = check_environment(c, d->manifest);
	if (rc == 0)
		rc = settings_read(c, d->manifest, settings);
	if (rc == 0)
		rc = check_required(c, d->manifest, settings);
	if (rc == 0)
		rc = settings_fit(c, d, environment, settings);
	if (rc == 0)
		rc = credentials_read(c, d->manifest, is_app(d->manifest), credentials_file,
				      &credentials);
	if (rc == 0)
		rc = check_home(c, d->manifest);
	if (rc == 0)
		rc = add(c, d, &credentials, settings);
	secret_clear(&credentials);
	cJSON_Delete(settings);
	return rc;
}
