#include <string.h>

#include "common/base/card.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/queue.h"
#include "common/store/store.h"
#include "drivers/kit/letter.h"
#include "scheduler/cli/push_wait.h"

static const char *integration, *args_text, *lane_text, *run_at;
static const char *unique, *unique_mode, *idempotency_key;
static int64_t wait_ms;

int options_push(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "integration",
		.value_name = "ID",
		.help = "whose account; needed by tasks that call the partner",
		.out = &integration
	};
	out[1] = (struct config_option){
		.name = "args",
		.value_name = "JSON",
		.help = "an object, as the third word: {\"mode\": \"full\"}",
		.out = &args_text
	};
	out[2] = (struct config_option){ .name = "lane",
					 .value_name = "LANE",
					 .help = "high, normal or low",
					 .fallback = "normal",
					 .out = &lane_text };
	out[3] = (struct config_option){ .name = "run-at",
					 .value_name = "TIME",
					 .help = "not before: a time, or 15m from now",
					 .out = &run_at };
	out[4] =
		(struct config_option){ .name = "unique",
					.value_name = "KEY",
					.help = "not while another job with this key waits or runs",
					.out = &unique };
	out[5] = (struct config_option){ .name = "unique-mode",
					 .value_name = "MODE",
					 .help = "reject: the older job wins; replace: the newer",
					 .fallback = "reject",
					 .out = &unique_mode };
	out[6] = (struct config_option){ .name = "idempotency-key",
					 .value_name = "KEY",
					 .help = "not if a job with this key succeeded within 24h",
					 .out = &idempotency_key };
	out[7] = push_wait_option(&wait_ms);
	return 8;
}

static int read_args(const struct cli *c, cJSON **out)
{
	const char *text = c->n_words > 2 ? c->words[2] : args_text;
	struct json_error why = { 0 };

	if (c->n_words > 2 && args_text)
		return cli_misused(c, "--args: given already, after the task");
	if (!text)
		return 0;
	if (json_parse(text, strlen(text), JOB_MAX_BYTES, out, &why) < 0)
		return cli_misused(c, "--args: not JSON: %s at column %d", why.text, why.column);
	if (!cJSON_IsObject(*out))
		return cli_misused(
			c, "--args: a JSON object is expected, such as {\"mode\": \"full\"}");
	return 0;
}

/* A job for another partner's integration would only become a dead letter. */
static int check_integration(struct cli *c, const char *partner, int64_t id)
{
	struct integration i;
	struct err err = { 0 };
	int rc = cli_pg(c);

	if (rc)
		return rc;
	rc = integration_get(c->pg, id, &i, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, "--integration");
	if (strcmp(i.partner, partner) != 0)
		rc = cli_misused(c, "--integration: %lld is an integration with %s, not %s",
				 (long long)id, i.partner, partner);
	integration_clear(&i);
	return rc;
}

static int enqueue(struct cli *c, const char *partner, const struct queue_push *push)
{
	struct queue *q = queue_new(c->redis, partner, NULL);
	struct err err = { 0 };
	int rc = queue_enqueue(q, push, 1, cli_deadline(), &err);

	if (rc < 0)
		rc = cli_error(c, rc, &err, "push");
	else if (wait_ms)
		rc = push_wait(c, q, push->id, wait_ms);
	else
		rc = out_value(c, "id", cJSON_CreateString(push->id));
	queue_free(q);
	return rc;
}

static int read_push(struct cli *c, struct queue_push *push)
{
	const struct driver *d;
	int rc = cli_driver(c, c->words[0], &d);

	if (rc == 0 && lane_parse(lane_text, &push->lane) < 0)
		rc = cli_misused(c, "--lane: high, normal or low, not \"%s\"", lane_text);
	if (rc == 0 && run_at)
		rc = parse_run_at(c, run_at, &push->run_at_ms);
	if (rc == 0 && integration)
		rc = parse_id(c, "--integration", integration, &push->integration);
	if (rc == 0 && integration)
		rc = check_integration(c, c->words[0], push->integration);
	return rc;
}

static int check_keys(const struct cli *c)
{
	bool replace = strcmp(unique_mode, "replace") == 0;

	if (!replace && strcmp(unique_mode, "reject") != 0)
		return cli_misused(c, "--unique-mode: reject or replace, not \"%s\"", unique_mode);
	if (replace && !unique)
		return cli_misused(c, "--unique-mode needs --unique KEY");
	if ((unique && !*unique) || (idempotency_key && !*idempotency_key))
		return cli_misused(c, "a key is a text that is not empty");
	return 0;
}

/* No card number comes in: refused here, it gets no further (O2); the action's name may be mistyped. */
static int refuse_card(struct cli *c, const cJSON *args)
{
	const char *const keys[] = { idempotency_key, unique };
	bool found = args && card_is_in_json(args);

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		found = found || (keys[i] && card_is_in(keys[i], strlen(keys[i])));
	if (!found || !letter_hides_cards(c->words[1]))
		return 0;
	return cli_misused(
		c,
		"a card number stands in it: have the partner make a token of the card, and send that");
}

int cmd_push(struct cli *c)
{
	struct queue_push push = { .lane = LANE_NORMAL };
	struct buf payload = BUF_INIT;
	char id[ID_LEN + 1];
	cJSON *args = NULL;
	int rc = read_args(c, &args);

	if (rc == 0)
		rc = check_keys(c);
	if (rc == 0)
		rc = read_push(c, &push);
	if (rc == 0)
		rc = refuse_card(c, args);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0) {
		id_new(id);
		job_print(&payload, c->words[1], push.integration, args, 0, NULL);
		job_print_keys(&payload, unique, strcmp(unique_mode, "replace") == 0,
			       idempotency_key);
		if (wait_ms)
			job_print_result_ttl(&payload, wait_ms / 1000 + PUSH_RESULT_MORE_S);
		push.id = id;
		push.payload = payload.data;
		push.len = payload.len;
		rc = enqueue(c, c->words[0], &push);
	}
	buf_clear(&payload);
	cJSON_Delete(args);
	return rc;
}
