/* What a partner that takes mails (api.body "mail") may be: a server of SMTP, and actions that send one each. */
#include <string.h>
#include <strings.h>

#include "drivers/kit/auth_store.h"
#include "drivers/kit/mail.h"
#include "drivers/kit/manifest_read.h"

bool manifest_takes_url(const struct manifest *m, const char *url)
{
	const char *tls = m->body == BODY_MAIL ? "smtps://" : "https://";
	const char *plain = m->body == BODY_MAIL ? "smtp://" : "http://";

	return strncmp(url, tls, strlen(tls)) == 0 || strncmp(url, plain, strlen(plain)) == 0;
}

const char *manifest_schemes(const struct manifest *m)
{
	return m->body == BODY_MAIL ? "smtp:// nor smtps://" : "http:// nor https://";
}

static void check_step(struct manifest_reader *r, const struct manifest_step *s, const char *path)
{
	static const char *const needed[] = { "from", "to", "subject", "text" };
	const cJSON *c;
	bool required;

	if (!s->request.post || request_path(&s->undo, NULL) ||
	    request_path(&s->find_first, NULL) || s->idempotency_header)
		reader_problem_at(
			r, path,
			"a mail is a \"post\", and no server tells what became of it: no undo, find_first or idempotency");
	if (!s->request.json) {
		reader_problem_at(r, path, "a mail needs \"json\": from, to, subject and text");
		return;
	}
	cJSON_ArrayForEach (c, s->request.json)
		if (strcmp(c->string, "//") != 0 && !mail_knows(c->string, &required))
			reader_problem_at(
				r, arena_printf(r->arena, "%s.json.%s", path, c->string),
				"a mail has from, from_name, to, reply_to, subject, text and html");
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!cJSON_GetObjectItemCaseSensitive(s->request.json, needed[i]))
			reader_problem_at(r, arena_printf(r->arena, "%s.json", path),
					  "a mail needs \"%s\"", needed[i]);
}

void manifest_check_mail(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;

	if (m->body != BODY_MAIL)
		return;
	if (m->n_collections || m->n_lookups)
		reader_problem_at(
			r, "api.body",
			"a server of mail has nothing to ask for: no collections, no lookups");
	if (m->auth.kind != AUTH_NONE && m->auth.kind != AUTH_BASIC && !auth_has_token(m))
		reader_problem_at(
			r, "auth.kind",
			"a server of mail knows \"basic\" (a user and a password), tokens (oauth2_*, two_step) and \"none\"");
	if (auth_has_token(m) && m->auth.place != AUTH_IN_HEADER)
		reader_problem_at(r, "auth.in", "a server of mail takes a token as SASL has it");
	for (int i = 0; i < m->n_actions; i++)
		for (int k = 0; k < m->actions[i].n_steps; k++)
			check_step(r, &m->actions[i].steps[k],
				   arena_printf(r->arena, "actions.%s.steps[%d]",
						m->actions[i].name, k));
}
