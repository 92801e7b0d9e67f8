/* Where the templates of a manifest stand, which names each place allows, and which must be there together. */
#include <string.h>

#include "common/base/config.h"
#include "common/base/mem.h"
#include "drivers/kit/manifest_names.h"
#include "drivers/kit/subst.h"

/* One registration for each event: which of them there are only the partner's list says. */
static void check_each(struct manifest_reader *r, const struct manifest_webhooks *w)
{
	if (!request_path(&w->list, NULL) || !request_path(&w->unenrol, NULL) || !w->enrol_id)
		reader_problem_at(
			r, "webhooks.register",
			"one call for each {event} needs \"list\", \"remove\" and \"id\", to see which of them there are");
}

/* "reservation/created" has both. */
static void check_event_parts(struct manifest_reader *r, const struct manifest_webhooks *w)
{
	for (int i = 0; i < w->n_events; i++) {
		const char *name = w->events[i].name;
		size_t n = strcspn(name, "/.:");

		if (w->events[i].act != EVENT_IGNORE && (!n || !name[n] || !name[n + 1]))
			reader_problem_at(
				r, arena_printf(r->arena, "webhooks.events.%s", name),
				"has no {event.object} and {event.action}, which \"register\" names: they are apart by / . or :");
	}
}

static void check_webhooks(struct manifest_reader *r)
{
	struct manifest_webhooks *w = &r->owner->m.webhooks;
	struct template_place t = { .allowed = IN_WEBHOOKS | IN_WEBHOOK };
	unsigned seen;

	t.path = "webhooks.verify.secret";
	if ((names_check_request(r, t, &w->verify.secret) & IN_WEBHOOK) && !w->enrol_id)
		reader_problem_at(r, t.path,
				  "{webhook.id} needs \"register\" with \"id\", the path of it");
	t.path = "webhooks.register";
	t.allowed = IN_WEBHOOKS | IN_WEBHOOK_SECRET | IN_EVENT;
	seen = names_check_request(r, t, &w->enrol);
	w->enrol_each = (seen & IN_EVENT) != 0;
	if (w->enrol_each)
		check_each(r, w);
	if (seen & IN_EVENT_PART)
		check_event_parts(r, w);
	t.allowed = IN_WEBHOOKS;
	t.path = "webhooks.register.list";
	names_check_request(r, t, &w->list);
	t.path = "webhooks.register.remove";
	t.allowed |= IN_WEBHOOK;
	names_check_request(r, t, &w->unenrol);
}

static void check_action(struct manifest_reader *r, const struct manifest_action *a)
{
	struct template_place t = { .allowed = IN_ONCE, .action = a };

	t.path = arena_printf(r->arena, "actions.%s.once", a->name);
	names_check(r, &t, a->once);
	t.allowed = IN_ACTION;
	t.steps = a->n_steps;
	for (int i = 0; i < a->n_then; i++) {
		t.path = arena_printf(r->arena, "actions.%s.then[%d].args", a->name, i);
		names_check_json(r, t, a->then[i].args);
		t.path = arena_printf(r->arena, "actions.%s.then[%d].when", a->name, i);
		names_check(r, &t, a->then[i].when);
	}
	for (int i = 0; i < a->n_steps; i++) {
		const struct manifest_step *s = &a->steps[i];
		const char *path = arena_printf(r->arena, "actions.%s.steps[%d]", a->name, i);

		t.steps = i;
		t.path = path;
		t.allowed = IN_STEP;
		if ((names_check_request(r, t, &s->request) & IN_CALLBACK) &&
		    !r->owner->m.webhooks.callback_param)
			reader_problem_at(
				r, path,
				"{callback_url} needs \"webhooks.callback\", the parameter that it has our reference in");
		t.path = arena_printf(r->arena, "%s.find_first", path);
		t.allowed = IN_ACTION | IN_REFERENCE;
		names_check_request(r, t, &s->find_first);
		t.allowed = IN_ACTION;
		t.path = arena_printf(r->arena, "%s.idempotency.key", path);
		names_check(r, &t, s->idempotency_key);
		t.steps = i + 1; /* what is undone was done, and kept */
		t.path = arena_printf(r->arena, "%s.undo", path);
		names_check_request(r, t, &s->undo);
	}
}

static void check_ack(struct manifest_reader *r, const struct manifest_paging *p, const char *path)
{
	struct template_place t = { .path = arena_printf(r->arena, "%s.pagination.ack", path),
				    .allowed = IN_CFG | IN_ID | IN_IDS | IN_TIME };

	names_check(r, &t, p->ack.post ? p->ack.post : p->ack.put);
	t.path = arena_printf(r->arena, "%s.pagination.ack.json", path);
	names_check_json(r, t, p->ack.json);
}

static void check_batch(struct manifest_reader *r, const struct manifest_batch *b, const char *path)
{
	struct template_place t = { .path = arena_printf(r->arena, "%s.detail.batch", path),
				    .allowed = IN_CFG | IN_IDS };
	unsigned seen = names_check(r, &t, b->get);
	const char *at = t.path;

	if (!b->get)
		return;
	if (b->get[0] != '/')
		reader_problem_at(r, at, "a path begins with /");
	t.path = arena_printf(r->arena, "%s.query", at);
	seen |= names_check_pairs(r, t, &b->query);
	if (!(seen & IN_IDS))
		reader_problem_at(r, at, "needs {ids}");
}

static void check_detail(struct manifest_reader *r, const struct manifest_collection *c,
			 const char *path)
{
	struct template_place t = { .path = arena_printf(r->arena, "%s.detail.get", path),
				    .allowed = IN_CFG | IN_ID };
	const char *at = t.path;
	unsigned seen = names_check(r, &t, c->detail);

	t.path = arena_printf(r->arena, "%s.detail.query", path);
	seen |= names_check_pairs(r, t, &c->detail_query);
	if (c->detail && !(seen & IN_ID))
		reader_problem_at(r, at, "needs {id}, here or in \"query\"");
}

static void check_collection(struct manifest_reader *r, const struct manifest_collection *c)
{
	const char *path = arena_printf(r->arena, "collections.%s", c->name);
	const struct manifest_collection *parent =
		c->each ? manifest_collection(&r->owner->m, c->each) : NULL;
	struct template_place t = { .allowed = IN_CFG | (c->each ? IN_PARENT : 0),
				    .parent = parent,
				    .parent_columns =
					    &((struct manifest_collection *)c)->parent_columns };
	unsigned seen;

	if (c->paging.in == PAGING_IN_PATH)
		t.allowed |= IN_CURSOR;
	t.path = arena_printf(r->arena, "%s.%s", path, c->post ? "post" : "get");
	seen = names_check(r, &t, c->post ? c->post : c->get);
	t.path = arena_printf(r->arena, "%s.query", path);
	t.allowed = (t.allowed | IN_TIME | IN_UNTIL) & ~(unsigned)IN_CURSOR;
	seen |= names_check_pairs(r, t, &c->query);
	t.path = arena_printf(r->arena, "%s.json", path);
	seen |= names_check_json(r, t, c->json);
	check_ack(r, &c->paging, path);
	check_detail(r, c, path);
	check_batch(r, &c->batch, path);
	if (c->each && (c->get || c->post) && !(seen & IN_PARENT))
		reader_problem_at(
			r, path,
			"each call would be the same: \"get\", \"query\" or \"json\" needs a {parent.X}");
	t = (struct template_place){ .path = arena_printf(r->arena, "%s.incremental.value", path),
				     .allowed = IN_CFG | IN_TIME | IN_SINCE | IN_UNTIL };
	seen = names_check(r, &t, c->incremental.value);
	if (c->incremental.value && !(seen & IN_SINCE))
		reader_problem_at(r, t.path, "needs {since}");
}

static bool names_param(const char *template, const char *param)
{
	char name[SUBST_NAME_MAX];

	while (template && subst_next(&template, name))
		if (strncmp(name, "in.", 3) == 0 && strcmp(name + 3, param) == 0)
			return true;
	return false;
}

/* A param that nothing names would tell answers apart that are the same; a path cannot leave one out. */
static void check_used(struct manifest_reader *r, const struct manifest_lookup *l,
		       const struct manifest_param *p)
{
	const char *path = arena_printf(r->arena, "lookups.%s.params.%s", l->name, p->name);
	bool in_path = names_param(l->get, p->name), used = in_path;

	for (int i = 0; i < l->query.n; i++)
		used = used || names_param(l->query.v[i].value, p->name);
	if (!used)
		reader_problem_at(r, path, "neither \"get\" nor \"query\" names {in.%s}", p->name);
	if (in_path && p->optional)
		reader_problem_at(r, path, "stands in \"get\" and cannot be left out");
}

/* Each {in.X} is one of the params. */
static void check_ins(struct manifest_reader *r, const struct manifest_lookup *l, const char *path,
		      const char *template)
{
	const char **names = arena_alloc(r->arena, sizeof(*names) * (size_t)(l->n_params + 1));
	char name[SUBST_NAME_MAX];

	for (int i = 0; i < l->n_params; i++)
		names[i] = l->params[i].name;
	while (template && subst_next(&template, name)) {
		int i = 0;

		if (strncmp(name, "in.", 3) != 0)
			continue;
		while (i < l->n_params && strcmp(names[i], name + 3) != 0)
			i++;
		if (i == l->n_params)
			reader_problem_at(r, path, "{%s} is none of \"params\"%s", name,
					  reader_nearest(r, name + 3, names, l->n_params));
	}
}

static void check_lookup(struct manifest_reader *r, const struct manifest_lookup *l)
{
	struct template_place t = { .allowed = IN_CFG | IN_IN };

	t.path = arena_printf(r->arena, "lookups.%s.get", l->name);
	names_check(r, &t, l->get);
	check_ins(r, l, t.path, l->get);
	t.path = arena_printf(r->arena, "lookups.%s.query", l->name);
	names_check_pairs(r, t, &l->query);
	for (int i = 0; i < l->query.n; i++)
		check_ins(r, l, t.path, l->query.v[i].value);
	for (int i = 0; i < l->n_params; i++)
		check_used(r, l, &l->params[i]);
}

static void check_auth(struct manifest_reader *r, const struct manifest_auth *a)
{
	struct template_place t = { .path = "auth.token_url" };

	names_check(r, &t, a->token_url);
	t.path = "auth.authorize_url";
	names_check(r, &t, a->authorize_url);
	t.path = "auth.device_url";
	names_check(r, &t, a->device_url);
	t = (struct template_place){ .path = "auth.verify.get", .allowed = IN_CFG };
	names_check(r, &t, a->verify.get);
	t.path = "auth.verify.query";
	names_check_pairs(r, t, &a->verify.query);
	t = (struct template_place){ .path = "auth.params", .allowed = IN_CFG | IN_CRED };
	names_check_pairs(r, t, &a->params);
	t.path = "auth.authorize_params";
	names_check_pairs(r, t, &a->authorize_params);
	t.path = "auth.headers";
	names_check_pairs(r, t, &a->headers);
	t.path = "auth.sign.signed";
	t.allowed = IN_CFG | IN_CRED | IN_REQUEST | IN_STAMP;
	names_check(r, &t, a->sign.template);
	t.path = "auth.sign.headers";
	t.allowed = IN_CFG | IN_CRED | IN_STAMP | IN_SIGNATURE;
	names_check_pairs(r, t, &a->sign.headers);
}

void manifest_check_templates(struct manifest_reader *r)
{
	struct manifest *m = &r->owner->m;

	m->settings = arena_alloc(r->arena, sizeof(*m->settings) * SETTINGS_MAX);
	for (int i = 0; i < m->n_typed; i++)
		names_add_setting(r,
				  &(struct template_place){
					  .path = arena_printf(r->arena, "settings.%s",
							       m->typed[i].name) },
				  m->typed[i].name);
	if (m->webhooks.callback_setting)
		names_add_setting(r,
				  &(struct template_place){ .path = "webhooks.callback.setting" },
				  m->webhooks.callback_setting);
	if (m->webhooks.whose_setting)
		names_add_setting(r,
				  &(struct template_place){
					  .path = "webhooks.integration.setting" },
				  m->webhooks.whose_setting);
	names_check(r, &(struct template_place){ .path = "api.base.production" },
		    m->base_production);
	names_check(r, &(struct template_place){ .path = "api.base.sandbox" }, m->base_sandbox);
	names_check_pairs(r, (struct template_place){ .path = "api.headers", .allowed = IN_CFG },
			  &m->headers);
	check_auth(r, &m->auth);
	check_webhooks(r);
	for (int i = 0; i < m->n_actions; i++)
		check_action(r, &m->actions[i]);
	for (int i = 0; i < m->n_collections; i++)
		check_collection(r, &m->collections[i]);
	for (int i = 0; i < m->n_lookups; i++)
		check_lookup(r, &m->lookups[i]);
}
