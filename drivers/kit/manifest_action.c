/* errors[].action, and the call that proves a credential. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

#define DAY_MS INT64_C(86400000)

/* "hold(30s)" */
static bool read_hold(struct manifest_reader *r, const char *s, struct manifest_rule *u)
{
	size_t n = strlen(s);
	int64_t ms = 0;
	char *word;
	bool good;

	if (strncmp(s, "hold", 4) != 0 || (s[4] && s[4] != '('))
		return false;
	word = mem_strndup(s + 4, n - 4);
	good = n > 6 && s[n - 1] == ')';
	if (good) {
		word[n - 5] = '\0';
		good = clock_parse_duration(word + 1, &ms) == 0 && ms > 0 && ms <= DAY_MS;
	}
	free(word);
	if (good) {
		u->action = ACT_HOLD;
		u->action_ms = ms;
	} else {
		reader_problem(r,
			       "expected \"hold(30s)\", with how long (at most 24h), found \"%s\"",
			       s);
	}
	return true;
}

void read_action(struct manifest_reader *r, const cJSON *node, void *base)
{
	const char *names[ACT_COUNT], *s = reader_text(r, node, 0);
	struct manifest_rule *u = base;
	int n = 0;

	if (!s || read_hold(r, s, u))
		return;
	for (int a = ACT_NONE + 1; a < ACT_COUNT; a++) {
		names[n++] = err_action_name((enum err_action)a);
		if (a != ACT_HOLD && strcmp(s, names[n - 1]) == 0)
			u->action = (enum err_action)a;
	}
	if (!u->action)
		reader_problem(r, "unknown word \"%s\"%s", s, reader_nearest(r, s, names, n));
}

bool print_action(const void *base, struct buf *out)
{
	const struct manifest_rule *u = base;
	struct buf ms = BUF_INIT;

	if (u->action == ACT_HOLD) {
		print_ms(u->action_ms, &ms);
		buf_printf(out, "\"hold(%.*s)\"", (int)ms.len - 2, buf_str(&ms) + 1);
		buf_clear(&ms);
	} else if (u->action) {
		buf_printf(out, "\"%s\"", err_action_name(u->action));
	}
	return u->action != ACT_NONE;
}

/* ---- auth.verify ---- */

#define AT(member) .at = offsetof(struct manifest_proof, member)

static const struct manifest_key verify_keys[] = {
	{ "get", KEY_TEXT, AT(get), .flags = KEY_REQUIRED },
	{ "query", KEY_PAIRS, AT(query) },
};
static bool verify_present(const void *base)
{
	return ((const struct manifest_proof *)base)->get != NULL;
}
const struct key_table manifest_proof_table = { TABLE(verify_keys), .present = verify_present };
