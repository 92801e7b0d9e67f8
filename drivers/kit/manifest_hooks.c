/* Hooks that the rest of the manifest needs, and those that it never calls. */
#include "drivers/kit/manifest_read.h"

static bool pages_by_cursor(const struct manifest *m)
{
	bool any = m->paging.kind == PAGING_CURSOR;

	for (int i = 0; i < m->n_collections; i++)
		any |= m->collections[i].paging.kind == PAGING_CURSOR;
	return any;
}

void manifest_check_hooks(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;
	const struct manifest_auth *a = &m->auth;
	bool own = a->kind == AUTH_HOOK ||
		   (a->kind == AUTH_SIGNED && !a->sign.template && m->hooks.sign_request);

	if (a->kind == AUTH_HOOK && !m->hooks.login)
		reader_problem_at(r, "auth.kind", "\"hook\" needs hooks.login");
	if (a->kind != AUTH_HOOK && m->hooks.login)
		reader_problem_at(r, "hooks.login", "is called with auth.kind \"hook\" alone");
	if (a->kind == AUTH_NONE && m->hooks.sign_request)
		reader_problem_at(r, "hooks.sign_request",
				  "needs a credential to sign with: auth.kind \"signed\"");
	if (own && !a->n_needs)
		reader_problem_at(r, "auth.needs",
				  "missing: only the manifest knows what the hook needs");
	if (m->hooks.next_page && !pages_by_cursor(m))
		reader_problem_at(
			r, "hooks.next_page",
			"is called with pagination.kind \"cursor\" alone, and nothing has that");
}
