/* Format 1 as tables: actions, what we do at a partner in steps (see manifest_keys.c). */
#include <stddef.h>

#include "common/base/mem.h"
#include "common/queue/job.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/manifest_request.h"

#define DAY_MS INT64_C(86400000)

#define AT(member) .at = offsetof(struct manifest_step, member)

static const struct manifest_key find_keys[] = {
	REQUEST_KEYS(offsetof(struct manifest_step, find_first)),
	{ "records", KEY_PATH, AT(find_records), .fallback = "\"@\"", .flags = KEY_WILD },
	{ "id", KEY_PATH, AT(find_id), .flags = KEY_REQUIRED },
	{ "keep", KEY_PAIRS, AT(find_keep) },
	{ "after", KEY_DURATION, AT(find_after_ms), .fallback = "\"60s\"", .max = DAY_MS },
};
static bool find_present(const void *base)
{
	return request_path(&((const struct manifest_step *)base)->find_first, NULL) != NULL;
}
static void find_finish(struct manifest_reader *r, void *base)
{
	request_finish(r, &((const struct manifest_step *)base)->find_first);
}
static const struct key_table find_table = { TABLE(find_keys), .present = find_present,
					     .finish = find_finish };

static const struct manifest_key idempotency_keys[] = {
	{ "header", KEY_HEADER, AT(idempotency_header), .flags = KEY_REQUIRED },
	{ "key", KEY_TEXT, AT(idempotency_key), .fallback = "\"{key}\"" },
	{ "keeps", KEY_DURATION, AT(keeps_ms), .max = 366 * DAY_MS },
	{ "replayed", KEY_HEADER, AT(replayed) },
};
static bool idempotency_present(const void *base)
{
	return ((const struct manifest_step *)base)->idempotency_header != NULL;
}
static const struct key_table idempotency_table = { TABLE(idempotency_keys),
						    .present = idempotency_present };

static const struct manifest_key step_keys[] = {
	{ "name", KEY_TEXT, AT(name), .flags = KEY_REQUIRED },
	REQUEST_KEYS(offsetof(struct manifest_step, request)),
	{ "keep", KEY_PAIRS, AT(keep) },
	{ "find_first", KEY_OBJECT, .of = &find_table },
	{ "idempotency", KEY_OBJECT, .of = &idempotency_table },
	{ "repeatable", KEY_BOOL, AT(repeatable) },
	{ "undo", KEY_OBJECT, AT(undo), .of = &manifest_request_table },
};
static void step_finish(struct manifest_reader *r, void *base)
{
	request_finish(r, &((const struct manifest_step *)base)->request);
}
static const struct key_table step_table = { TABLE(step_keys), .size = sizeof(struct manifest_step),
					     .finish = step_finish };
#undef AT

static const struct key_word then_lanes[] = {
	{ "high", LANE_HIGH }, { "normal", LANE_NORMAL }, { "low", LANE_LOW }, { NULL, LANE_NORMAL }
};
static const struct manifest_key then_keys[] = {
	{ "action", KEY_TEXT, .at = offsetof(struct manifest_then, action), .flags = KEY_REQUIRED },
	{ "args", KEY_JSON_OBJECT, .at = offsetof(struct manifest_then, args),
	  .flags = KEY_REQUIRED },
	{ "when", KEY_TEXT, .at = offsetof(struct manifest_then, when) },
	{ "lane", KEY_WORD, .at = offsetof(struct manifest_then, lane), .fallback = "\"normal\"",
	  .words = then_lanes },
};
static const struct key_table then_table = { TABLE(then_keys),
					     .size = sizeof(struct manifest_then) };

#define AT(member) .at = offsetof(struct manifest_action, member)
#define COUNT(member) .n_at = offsetof(struct manifest_action, member)

static const struct manifest_key action_keys[] = {
	{ "params", KEY_NAMED, AT(params), COUNT(n_params), .of = &manifest_param_table },
	{ "once", KEY_TEXT, AT(once) },
	{ "steps", KEY_LIST, AT(steps), COUNT(n_steps), .of = &step_table, .flags = KEY_REQUIRED },
	{ "external_id", KEY_TEXT, AT(external) },
	{ "deadline", KEY_DURATION, AT(deadline_ms), .fallback = "\"72h\"", .min = 1000,
	  .max = 366 * DAY_MS },
	{ "retries", KEY_INT, AT(retries), .fallback = "-1", .min = -1, .max = 1000 },
	{ "then", KEY_LIST, AT(then), COUNT(n_then), .of = &then_table },
};
const struct key_table manifest_action_table = { TABLE(action_keys),
						 .size = sizeof(struct manifest_action),
						 .name_at =
							 offsetof(struct manifest_action, name) };
#undef AT
#undef COUNT
