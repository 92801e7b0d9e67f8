/* Checks of the {name}s, each against what is known where it stands; and the settings that they name. */
#include <string.h>

#include "common/base/config.h"
#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/subst.h"

#define SETTINGS_MAX 32

enum {
	IN_CFG = 1,
	IN_CRED = 2,
	IN_PARENT = 4,
	IN_ID = 8,
	IN_TIME = 16, /* now */
	IN_SINCE = 32,
	IN_CURSOR = 64,
	IN_IDS = 128,
	IN_UNTIL = 256,
	IN_IN = 512,
	IN_KEPT = 1024,
	IN_KEY = 2048,
	IN_CALLBACK = 4096,
	IN_EVENTS = 8192,
	IN_WEBHOOK = 16384,
	IN_REQUEST = 32768, /* of one that is signed */
	IN_STAMP = 65536,   /* ts, nonce, the body's hash */
	IN_SIGNATURE = 131072,
	IN_WEBHOOK_SECRET = 262144,
	IN_EVENT = 524288, /* of one registration for each */
	IN_EVENT_PART = 1048576,
	IN_REFERENCE = 2097152,
	IN_WEBHOOKS = IN_CFG | IN_CALLBACK | IN_EVENTS,
	IN_ONCE = IN_IN,
	IN_ACTION = IN_CFG | IN_IN | IN_KEPT | IN_KEY | IN_TIME,
	IN_STEP = IN_ACTION | IN_REFERENCE | IN_CALLBACK,
};

static const struct {
	const char *name; /* a prefix where it ends in a dot */
	unsigned bit;
} places[] = {
	{ "cfg.", IN_CFG },
	{ "cred.", IN_CRED },
	{ "parent.", IN_PARENT },
	{ "id", IN_ID },
	{ "now", IN_TIME },
	{ "since", IN_SINCE },
	{ "in.", IN_IN },
	{ "kept.", IN_KEPT },
	{ "until", IN_UNTIL },
	{ "key", IN_KEY },
	{ "events", IN_EVENTS },
	{ "event", IN_EVENT },
	{ "event.object", IN_EVENT | IN_EVENT_PART },
	{ "event.action", IN_EVENT | IN_EVENT_PART },
	{ "callback_url", IN_CALLBACK },
	{ "reference", IN_REFERENCE },
	{ "webhook.id", IN_WEBHOOK },
	{ "webhook.secret", IN_WEBHOOK_SECRET },
	{ "cursor", IN_CURSOR },
	{ "ids", IN_IDS },
	{ "method", IN_REQUEST },
	{ "path", IN_REQUEST },
	{ "query", IN_REQUEST },
	{ "body", IN_REQUEST },
	{ "ts", IN_STAMP },
	{ "nonce", IN_STAMP },
	{ "body_sha256", IN_STAMP },
	{ "signature", IN_SIGNATURE },
};

struct template_place {
	const char *path;
	unsigned allowed;
	const struct manifest_collection *parent; /* of {parent.X}; or NULL */
	uint64_t *parent_columns;                 /* which of them are named */
	const struct manifest_action *action; /* of {in.X}, and {kept.X} with the steps before */
	int steps;
};

static unsigned bit_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		size_t n = strlen(places[i].name);

		if (places[i].name[n - 1] == '.' ? strncmp(name, places[i].name, n) == 0
						 : strcmp(name, places[i].name) == 0)
			return places[i].bit;
	}
	return 0;
}

static const char *allowed_text(struct manifest_reader *r, unsigned allowed)
{
	const char *text = "";

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (allowed & places[i].bit)
			text = arena_printf(r->arena, "%s%s{%s%s}", text, *text ? " " : "",
					    places[i].name,
					    places[i].name[strlen(places[i].name) - 1] == '.' ? "X"
											      : "");
	return text;
}

static void unknown_name(struct manifest_reader *r, const struct template_place *t,
			 const char *name)
{
	static const char *const known[] = { "id",          "ids",       "since",    "until",
					     "now",         "cursor",    "key",      "callback_url",
					     "events",      "event",     "method",   "path",
					     "query",       "body",      "ts",       "nonce",
					     "body_sha256", "signature", "reference" };

	reader_problem_at(r, t->path, "{%s} is not known%s", name,
			  reader_nearest(r, name, known, ARRAY_LEN(known)));
}

static void add_setting(struct manifest_reader *r, const struct template_place *t, const char *name)
{
	struct manifest *m = &r->owner->m;
	const char **v = (const char **)m->settings;

	if (!manifest_name_is_valid(name)) {
		reader_problem_at(r, t->path,
				  "\"%s\" cannot name a setting: 1 to 40 of a-z, 0-9 and _", name);
		return;
	}
	for (int i = 0; i < m->n_settings; i++)
		if (strcmp(v[i], name) == 0)
			return;
	if (m->n_settings == SETTINGS_MAX)
		reader_problem_at(r, t->path, "more than %d settings", SETTINGS_MAX);
	else
		v[m->n_settings++] = arena_strdup(r->arena, name);
}

/* {parent.id} is in the job; a column is read from the parent's row, where its map puts it. */
static void check_parent(struct manifest_reader *r, const struct template_place *t,
			 const char *column)
{
	const struct manifest_collection *p = t->parent;
	const char **names;
	int n = 0;

	if (!p || strcmp(column, "id") == 0)
		return;
	names = arena_alloc(r->arena, sizeof(*names) * (size_t)(p->n_map + 1));
	for (int i = 0; i < p->n_map; i++) {
		names[n] = p->map[i].name;
		if (strcmp(names[n++], column) != 0)
			continue;
		if (p->map[i].column >= 0)
			*t->parent_columns |= UINT64_C(1) << p->map[i].column;
		return;
	}
	names[n++] = "id";
	reader_problem_at(r, t->path, "{parent.%s}: no mapped column of \"%s\"%s", column, p->name,
			  reader_nearest(r, column, names, n));
}

static void check_kept(struct manifest_reader *r, const struct template_place *t, const char *name)
{
	const char *names[SETTINGS_MAX];
	int n = 0;

	for (int i = 0; t->action && i < t->steps; i++)
		for (int k = 0; k < t->action->steps[i].keep.n && n < SETTINGS_MAX; k++) {
			names[n] = t->action->steps[i].keep.v[k].name;
			if (strcmp(names[n++], name) == 0)
				return;
		}
	reader_problem_at(r, t->path, "{kept.%s}: no step before keeps it%s", name,
			  reader_nearest(r, name, names, n));
}

/* A param, or a path into one. */
static void check_in(struct manifest_reader *r, const struct template_place *t, const char *name)
{
	const char *names[ACTION_PARAMS_MAX];
	size_t len = strcspn(name, ".");
	int n = 0;

	if (!t->action || !t->action->n_params)
		return;
	for (int i = 0; i < t->action->n_params && n < ACTION_PARAMS_MAX; i++) {
		names[n] = t->action->params[i].name;
		if (strlen(names[n]) == len && memcmp(names[n], name, len) == 0)
			return;
		n++;
	}
	reader_problem_at(r, t->path, "{in.%s}: none of its params%s", name,
			  reader_nearest(r, name, names, n));
}

/* Returns what the template names. */
static unsigned check_template(struct manifest_reader *r, const struct template_place *t,
			       const char *template)
{
	char name[SUBST_NAME_MAX];
	unsigned seen = 0;

	while (template && subst_next(&template, name)) {
		unsigned place = bit_of(name);

		if (!subst_name_is_known(name))
			unknown_name(r, t, name);
		else if (!(place & t->allowed) && !t->allowed)
			reader_problem_at(
				r, t->path,
				"{%s}: an address of the partner holds no names; `--base-url` of an integration moves it",
				name);
		else if (!(place & t->allowed))
			reader_problem_at(r, t->path, "{%s} cannot be used here (%s can)", name,
					  allowed_text(r, t->allowed));
		else if (place == IN_CFG)
			add_setting(r, t, name + 4);
		else if (place == IN_PARENT)
			check_parent(r, t, name + 7);
		else if (place == IN_KEPT)
			check_kept(r, t, name + 5);
		else if (place == IN_IN)
			check_in(r, t, name + 3);
		seen |= place;
	}
	return seen;
}

static unsigned check_pairs(struct manifest_reader *r, struct template_place t,
			    const struct manifest_pairs *p)
{
	const char *base = t.path;
	unsigned seen = 0;

	for (int i = 0; i < p->n; i++) {
		t.path = arena_printf(r->arena, "%s.%s", base, p->v[i].name);
		seen |= check_template(r, &t, p->v[i].value);
	}
	return seen;
}

/* The texts of a body. */
static unsigned check_json(struct manifest_reader *r, struct template_place t, const cJSON *v)
{
	const char *base = t.path;
	unsigned seen = 0;
	const cJSON *c;
	int i = 0;

	if (cJSON_IsString(v))
		return check_template(r, &t, v->valuestring);
	cJSON_ArrayForEach (c, v) {
		t.path = c->string ? arena_printf(r->arena, "%s.%s", base, c->string)
				   : arena_printf(r->arena, "%s[%d]", base, i++);
		if (!c->string || !is_comment(c->string))
			seen |= check_json(r, t, c);
	}
	return seen;
}

static unsigned check_request(struct manifest_reader *r, struct template_place t,
			      const struct manifest_request *q)
{
	static const char *const keys[] = { "GET", "get",   "POST",  "post",   "PUT",
					    "put", "PATCH", "patch", "DELETE", "delete" };
	const char *base = t.path, *method = "", *path = request_path(q, &method);
	unsigned seen;

	for (size_t i = 0; i < ARRAY_LEN(keys); i += 2)
		if (strcmp(keys[i], method) == 0)
			t.path = arena_printf(r->arena, "%s.%s", base, keys[i + 1]);
	seen = check_template(r, &t, path);
	t.path = arena_printf(r->arena, "%s.query", base);
	seen |= check_pairs(r, t, &q->query);
	t.path = arena_printf(r->arena, "%s.json", base);
	return seen | check_json(r, t, q->json);
}

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
	if ((check_request(r, t, &w->verify.secret) & IN_WEBHOOK) && !w->enrol_id)
		reader_problem_at(r, t.path,
				  "{webhook.id} needs \"register\" with \"id\", the path of it");
	t.path = "webhooks.register";
	t.allowed = IN_WEBHOOKS | IN_WEBHOOK_SECRET | IN_EVENT;
	seen = check_request(r, t, &w->enrol);
	w->enrol_each = (seen & IN_EVENT) != 0;
	if (w->enrol_each)
		check_each(r, w);
	if (seen & IN_EVENT_PART)
		check_event_parts(r, w);
	t.allowed = IN_WEBHOOKS;
	t.path = "webhooks.register.list";
	check_request(r, t, &w->list);
	t.path = "webhooks.register.remove";
	t.allowed |= IN_WEBHOOK;
	check_request(r, t, &w->unenrol);
}

static void check_action(struct manifest_reader *r, const struct manifest_action *a)
{
	struct template_place t = { .allowed = IN_ONCE, .action = a };

	t.path = arena_printf(r->arena, "actions.%s.once", a->name);
	check_template(r, &t, a->once);
	t.allowed = IN_ACTION;
	t.steps = a->n_steps;
	for (int i = 0; i < a->n_then; i++) {
		t.path = arena_printf(r->arena, "actions.%s.then[%d].args", a->name, i);
		check_json(r, t, a->then[i].args);
		t.path = arena_printf(r->arena, "actions.%s.then[%d].when", a->name, i);
		check_template(r, &t, a->then[i].when);
	}
	for (int i = 0; i < a->n_steps; i++) {
		const struct manifest_step *s = &a->steps[i];
		const char *path = arena_printf(r->arena, "actions.%s.steps[%d]", a->name, i);

		t.steps = i;
		t.path = path;
		t.allowed = IN_STEP;
		if ((check_request(r, t, &s->request) & IN_CALLBACK) &&
		    !r->owner->m.webhooks.callback_param)
			reader_problem_at(
				r, path,
				"{callback_url} needs \"webhooks.callback\", the parameter that it has our reference in");
		t.path = arena_printf(r->arena, "%s.find_first", path);
		t.allowed = IN_ACTION | IN_REFERENCE;
		check_request(r, t, &s->find_first);
		t.allowed = IN_ACTION;
		t.path = arena_printf(r->arena, "%s.idempotency.key", path);
		check_template(r, &t, s->idempotency_key);
		t.steps = i + 1; /* what is undone was done, and kept */
		t.path = arena_printf(r->arena, "%s.undo", path);
		check_request(r, t, &s->undo);
	}
}

static void check_ack(struct manifest_reader *r, const struct manifest_paging *p, const char *path)
{
	struct template_place t = { .path = arena_printf(r->arena, "%s.pagination.ack", path),
				    .allowed = IN_CFG | IN_ID | IN_IDS | IN_TIME };

	check_template(r, &t, p->ack.post ? p->ack.post : p->ack.put);
	t.path = arena_printf(r->arena, "%s.pagination.ack.json", path);
	check_json(r, t, p->ack.json);
}

static void check_batch(struct manifest_reader *r, const struct manifest_batch *b, const char *path)
{
	struct template_place t = { .path = arena_printf(r->arena, "%s.detail.batch", path),
				    .allowed = IN_CFG | IN_IDS };
	unsigned seen = check_template(r, &t, b->get);
	const char *at = t.path;

	if (!b->get)
		return;
	if (b->get[0] != '/')
		reader_problem_at(r, at, "a path begins with /");
	t.path = arena_printf(r->arena, "%s.query", at);
	seen |= check_pairs(r, t, &b->query);
	if (!(seen & IN_IDS))
		reader_problem_at(r, at, "needs {ids}");
}

static void check_detail(struct manifest_reader *r, const struct manifest_collection *c,
			 const char *path)
{
	struct template_place t = { .path = arena_printf(r->arena, "%s.detail.get", path),
				    .allowed = IN_CFG | IN_ID };
	const char *at = t.path;
	unsigned seen = check_template(r, &t, c->detail);

	t.path = arena_printf(r->arena, "%s.detail.query", path);
	seen |= check_pairs(r, t, &c->detail_query);
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
	seen = check_template(r, &t, c->post ? c->post : c->get);
	t.path = arena_printf(r->arena, "%s.query", path);
	t.allowed = (t.allowed | IN_TIME | IN_UNTIL) & ~(unsigned)IN_CURSOR;
	seen |= check_pairs(r, t, &c->query);
	t.path = arena_printf(r->arena, "%s.json", path);
	seen |= check_json(r, t, c->json);
	check_ack(r, &c->paging, path);
	check_detail(r, c, path);
	check_batch(r, &c->batch, path);
	if (c->each && (c->get || c->post) && !(seen & IN_PARENT))
		reader_problem_at(
			r, path,
			"each call would be the same: \"get\", \"query\" or \"json\" needs a {parent.X}");
	t = (struct template_place){ .path = arena_printf(r->arena, "%s.incremental.value", path),
				     .allowed = IN_CFG | IN_TIME | IN_SINCE | IN_UNTIL };
	seen = check_template(r, &t, c->incremental.value);
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
	check_template(r, &t, l->get);
	check_ins(r, l, t.path, l->get);
	t.path = arena_printf(r->arena, "lookups.%s.query", l->name);
	check_pairs(r, t, &l->query);
	for (int i = 0; i < l->query.n; i++)
		check_ins(r, l, t.path, l->query.v[i].value);
	for (int i = 0; i < l->n_params; i++)
		check_used(r, l, &l->params[i]);
}

static void check_auth(struct manifest_reader *r, const struct manifest_auth *a)
{
	struct template_place t = { .path = "auth.token_url" };

	check_template(r, &t, a->token_url);
	t.path = "auth.authorize_url";
	check_template(r, &t, a->authorize_url);
	t.path = "auth.device_url";
	check_template(r, &t, a->device_url);
	t = (struct template_place){ .path = "auth.verify.get", .allowed = IN_CFG };
	check_template(r, &t, a->verify.get);
	t.path = "auth.verify.query";
	check_pairs(r, t, &a->verify.query);
	t = (struct template_place){ .path = "auth.params", .allowed = IN_CFG | IN_CRED };
	check_pairs(r, t, &a->params);
	t.path = "auth.authorize_params";
	check_pairs(r, t, &a->authorize_params);
	t.path = "auth.headers";
	check_pairs(r, t, &a->headers);
	t.path = "auth.sign.signed";
	t.allowed = IN_CFG | IN_CRED | IN_REQUEST | IN_STAMP;
	check_template(r, &t, a->sign.template);
	t.path = "auth.sign.headers";
	t.allowed = IN_CFG | IN_CRED | IN_STAMP | IN_SIGNATURE;
	check_pairs(r, t, &a->sign.headers);
}

void manifest_check_templates(struct manifest_reader *r)
{
	struct manifest *m = &r->owner->m;

	m->settings = arena_alloc(r->arena, sizeof(*m->settings) * SETTINGS_MAX);
	for (int i = 0; i < m->n_typed; i++)
		add_setting(r,
			    &(struct template_place){ .path = arena_printf(r->arena, "settings.%s",
									   m->typed[i].name) },
			    m->typed[i].name);
	if (m->webhooks.callback_setting)
		add_setting(r, &(struct template_place){ .path = "webhooks.callback.setting" },
			    m->webhooks.callback_setting);
	if (m->webhooks.whose_setting)
		add_setting(r, &(struct template_place){ .path = "webhooks.integration.setting" },
			    m->webhooks.whose_setting);
	check_template(r, &(struct template_place){ .path = "api.base.production" },
		       m->base_production);
	check_template(r, &(struct template_place){ .path = "api.base.sandbox" }, m->base_sandbox);
	check_pairs(r, (struct template_place){ .path = "api.headers", .allowed = IN_CFG },
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
