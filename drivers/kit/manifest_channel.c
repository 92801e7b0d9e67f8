/* Format 1: `channel`, what makes a partner one that people are told things by. */
#include <stddef.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/message.h"

#define AT(member) .at = offsetof(struct manifest_part, member)

static const struct key_word escape_words[] = { { "line", MESSAGE_LINE },
						{ "plain", MESSAGE_PLAIN },
						{ "html", MESSAGE_HTML },
						{ "mrkdwn", MESSAGE_MRKDWN },
						{ NULL, MESSAGE_PLAIN } };
static const struct manifest_key part_keys[] = {
	{ "escape", KEY_WORD, AT(escape), .words = escape_words, .flags = KEY_REQUIRED },
	{ "max", KEY_INT, AT(max_bytes), .fallback = "65536", .min = 1, .max = MESSAGE_MAX_BYTES },
};
static const struct key_table part_table = { TABLE(part_keys), .size = sizeof(struct manifest_part),
					     .name_at = offsetof(struct manifest_part, name),
					     .shorthand = "escape" };
#undef AT

#define AT(member) .at = offsetof(struct manifest_channel, member)

static const struct key_word address_words[] = { { "none", ADDRESS_NEEDLESS },
						 { "email", ADDRESS_EMAIL },
						 { "phone", ADDRESS_PHONE },
						 { "token", ADDRESS_TOKEN },
						 { NULL, ADDRESS_NEEDLESS } };
static const struct manifest_key channel_keys[] = {
	{ "kind", KEY_TEXT, AT(kind), .flags = KEY_REQUIRED },
	{ "action", KEY_TEXT, AT(action), .fallback = "\"send\"" },
	{ "address", KEY_WORD, AT(address), .words = address_words, .flags = KEY_REQUIRED },
	{ "parts", KEY_NAMED, AT(parts), .n_at = offsetof(struct manifest_channel, n_parts),
	  .of = &part_table, .flags = KEY_REQUIRED },
};
static bool channel_present(const void *base)
{
	return ((const struct manifest_channel *)base)->kind != NULL;
}
const struct key_table manifest_channel_table = { TABLE(channel_keys), .present = channel_present };
#undef AT

static const struct manifest_param *param_of(const struct manifest_action *a, const char *name)
{
	for (int i = 0; i < a->n_params; i++)
		if (strcmp(a->params[i].name, name) == 0)
			return &a->params[i];
	return NULL;
}

/* Whatever the action must have is given: by a part, or by us. */
static void check_given(struct manifest_reader *r, const struct manifest_channel *c,
			const struct manifest_action *a)
{
	for (int i = 0; i < a->n_params; i++) {
		const struct manifest_param *p = &a->params[i];
		int k = 0;

		while (k < c->n_parts && strcmp(c->parts[k].name, p->name) != 0)
			k++;
		if (k == c->n_parts && !p->optional && !p->fallback && strcmp(p->name, "to") != 0)
			reader_problem_at(r, "channel.parts",
					  "nothing fills the param \"%s\" of the action \"%s\"",
					  p->name, a->name);
	}
}

void manifest_check_channel(struct manifest_reader *r)
{
	const struct manifest_channel *c = &r->owner->m.channel;
	const struct manifest_action *a;

	if (!c->kind)
		return;
	if (!manifest_name_is_valid(c->kind))
		reader_problem_at(r, "channel.kind", "a name is 1 to 40 of a-z, 0-9 and _");
	if (c->n_parts > CHANNEL_PARTS_MAX)
		reader_problem_at(r, "channel.parts", "more than %d parts", CHANNEL_PARTS_MAX);
	a = c->action ? manifest_action(&r->owner->m, c->action) : NULL;
	if (!a) {
		reader_problem_at(r, "channel.action", "there is no action \"%s\"",
				  c->action ? c->action : "");
		return;
	}
	if ((c->address != ADDRESS_NEEDLESS) != (param_of(a, "to") != NULL))
		reader_problem_at(r, "channel.address",
				  c->address ? "the action \"%s\" has no param \"to\""
					     : "the action \"%s\" has a param \"to\"",
				  a->name);
	for (int i = 0; i < c->n_parts; i++)
		if (!param_of(a, c->parts[i].name))
			reader_problem_at(r,
					  arena_printf(r->arena, "channel.parts.%s",
						       c->parts[i].name),
					  "the action \"%s\" has no such param", a->name);
	check_given(r, c, a);
}
