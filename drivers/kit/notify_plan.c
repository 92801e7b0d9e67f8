/* What one recipient is told: of each channel of the company that has an address of his and a text in the template, what its action is
 * given; and what a template must be. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/action.h"
#include "drivers/kit/message.h"
#include "drivers/kit/notify_parts.h"

static const char *const address_names[] = { "email", "phone", "token" };

static const char *address_problem(int k, const char *s)
{
	return k == 0   ? message_email_problem(s)
	       : k == 1 ? message_phone_problem(s)
			: message_token_problem(s);
}

/* Each address that is given must be one, whether or not a channel will need it. */
static int check_recipient(struct notify *n, struct notify_recipient *r)
{
	const cJSON *c;

	if (!cJSON_IsObject(r->to))
		return notify_wrong(
			n,
			"args.%s must be an object: {\"email\": …, \"phone\": …, \"token\": …, \"id\": …}",
			r->place);
	cJSON_ArrayForEach (c, r->to) {
		size_t k = 0;
		const char *bad;

		while (k < ARRAY_LEN(address_names) && strcmp(address_names[k], c->string) != 0)
			k++;
		if (k == ARRAY_LEN(address_names) && strcmp(c->string, "id") != 0)
			return err_set(n->err, -EINVAL, ERR_BAD_JOB, "args",
				       "args.%s.%.60s is not known: id, email, phone and token are",
				       r->place, c->string);
		if (!cJSON_IsString(c) || !*c->valuestring)
			bad = "must be a text";
		else if (k == ARRAY_LEN(address_names))
			bad = strlen(c->valuestring) > NOTIFY_RECIPIENT_MAX
				      ? "is too long: at most 255 bytes"
				      : NULL;
		else
			bad = address_problem((int)k, c->valuestring);
		if (bad)
			return err_set(n->err, -EINVAL, ERR_BAD_JOB, "args", "args.%s.%s %s",
				       r->place, c->string, bad);
	}
	r->who = json_str(r->to, "id");
	for (size_t k = 0; k < ARRAY_LEN(address_names) && !r->who; k++)
		r->who = json_str(r->to, address_names[k]);
	return 0;
}

static bool is_known_part(const struct manifest_channel *c, const char *name)
{
	for (int i = 0; i < c->n_parts; i++)
		if (strcmp(c->parts[i].name, name) == 0)
			return true;
	return false;
}

static int fill_part(struct notify *n, const struct notify_choice *c,
		     const struct manifest_part *part, cJSON *args)
{
	const cJSON *text = cJSON_GetObjectItemCaseSensitive(c->section, part->name);
	struct buf filled = BUF_INIT;
	char place[96];
	int rc;

	if (!text)
		return 0; /* what must be there is the action's to say */
	snprintf(place, sizeof(place), "template %.40s: %s.%s", n->template,
		 c->manifest->channel.kind, part->name);
	if (!cJSON_IsString(text))
		return notify_wrong(n, "%s must be a text", place);
	rc = message_fill(place, text->valuestring, (enum message_escape)part->escape,
			  (size_t)part->max_bytes, n->values, &filled, n->err);
	if (rc == 0)
		cJSON_AddStringToObject(args, part->name, buf_str(&filled));
	buf_clear(&filled);
	return rc;
}

/* What the action is given, checked as a job's args are. */
static int fill_args(struct notify *n, const struct notify_choice *c, const char *to, cJSON **out)
{
	const struct manifest_channel *channel = &c->manifest->channel;
	cJSON *args = cJSON_CreateObject(), *in = NULL;
	struct err bad = { 0 };
	const cJSON *t;
	int rc = 0;

	cJSON_ArrayForEach (t, c->section)
		if (rc == 0 && !is_known_part(channel, t->string))
			rc = err_set(n->err, -EINVAL, ERR_BAD_JOB, "template",
				     "template %.40s: %s.%.40s: %s has no such part", n->template,
				     channel->kind, t->string, c->integration.partner);
	if (to)
		cJSON_AddStringToObject(args, "to", to);
	for (int i = 0; i < channel->n_parts && rc == 0; i++)
		rc = fill_part(n, c, &channel->parts[i], args);
	if (rc == 0 && action_in(c->action, args, &in, &bad) < 0)
		rc = err_set(n->err, -EINVAL, ERR_BAD_JOB, "template", "template %.40s: %s: %.300s",
			     n->template, channel->kind, bad.text);
	cJSON_Delete(in);
	if (rc == 0)
		*out = args;
	else
		cJSON_Delete(args);
	return rc;
}

/* Appends a channel to the plan, where the template and the recipient have what it takes. */
static int plan_choice(struct notify *n, const struct notify_recipient *r,
		       const struct notify_choice *c, cJSON *plan)
{
	int address = c->manifest->channel.address;
	const char *to = address ? json_str(r->to, address_names[address - 1]) : NULL;
	cJSON *args = NULL, *one;
	int rc;

	if (!cJSON_IsObject(c->section) || (address && !to))
		return 0;
	rc = fill_args(n, c, to, &args);
	if (rc < 0)
		return rc;
	one = cJSON_CreateObject();
	cJSON_AddStringToObject(one, "channel", c->manifest->channel.kind);
	cJSON_AddStringToObject(one, "partner", c->integration.partner);
	cJSON_AddNumberToObject(one, "integration_id", (double)c->integration.id);
	cJSON_AddStringToObject(one, "action", c->action->name);
	cJSON_AddNumberToObject(one, "steps", c->action->n_steps);
	cJSON_AddItemToObject(one, "args", args);
	cJSON_AddItemToArray(plan, one);
	return 0;
}

int notify_plan(struct notify *n, struct notify_recipient *r, cJSON *plan)
{
	struct buf kinds = BUF_INIT;
	int rc = check_recipient(n, r);

	for (int i = 0; i < n->n_choices && rc == 0; i++) {
		rc = plan_choice(n, r, &n->choices[i], plan);
		buf_printf(&kinds, "%s%s", i ? ", " : "", n->choices[i].manifest->channel.kind);
	}
	if (rc == 0 && cJSON_GetArraySize(plan) == 0)
		rc = err_set(
			n->err, -EINVAL, ERR_BAD_JOB, "args",
			"args.%s: none of the company's channels (%s) has both an address there and a text in the template",
			r->place, buf_str(&kinds));
	if (rc == 0 && !r->who)
		r->who = "all"; /* of a channel without addresses: the company's room */
	buf_clear(&kinds);
	return rc;
}

/* ---- templates ---- */

int notify_check_parts(const cJSON *parts, struct err *err)
{
	const cJSON *section, *text;

	if (!cJSON_IsObject(parts) || !parts->child)
		return err_set(
			err, -EINVAL, ERR_CLIENT, "template",
			"a template is an object such as {\"email\": {\"subject\": \"…\", \"text\": \"…\"}, \"sms\": {\"text\": \"…\"}}");
	cJSON_ArrayForEach (section, parts) {
		if (!cJSON_IsObject(section) || !section->child)
			return err_set(err, -EINVAL, ERR_CLIENT, "template",
				       "%.40s must be an object of texts", section->string);
		cJSON_ArrayForEach (text, section) {
			struct buf filled = BUF_INIT;
			char place[96];
			int rc = 0;

			snprintf(place, sizeof(place), "%.40s.%.40s", section->string,
				 text->string);
			if (!cJSON_IsString(text))
				return err_set(err, -EINVAL, ERR_CLIENT, "template",
					       "%s must be a text", place);
			rc = message_fill(place, text->valuestring, MESSAGE_PLAIN,
					  MESSAGE_MAX_BYTES, NULL, &filled, err);
			buf_clear(&filled);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}
