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
	IN_REQUEST = 64, /* of one that is signed */
	IN_STAMP = 128,  /* ts, nonce, the body's hash */
	IN_SIGNATURE = 256,
};

static const struct {
	const char *name; /* a prefix where it ends in a dot */
	unsigned bit;
} places[] = {
	{ "cfg.", IN_CFG },          { "cred.", IN_CRED },
	{ "parent.", IN_PARENT },    { "id", IN_ID },
	{ "now", IN_TIME },          { "since", IN_SINCE },
	{ "method", IN_REQUEST },    { "path", IN_REQUEST },
	{ "query", IN_REQUEST },     { "body", IN_REQUEST },
	{ "ts", IN_STAMP },          { "nonce", IN_STAMP },
	{ "body_sha256", IN_STAMP }, { "signature", IN_SIGNATURE },
};

struct template_place {
	const char *path;
	unsigned allowed;
	const struct manifest_collection *parent; /* of {parent.X}; or NULL */
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
					    places[i].name, strchr(places[i].name, '.') ? "X" : "");
	return text;
}

static void unknown_name(struct manifest_reader *r, const struct template_place *t,
			 const char *name)
{
	static const char *const known[] = { "id",       "ids",    "since", "until",
					     "now",      "cursor", "key",   "callback_url",
					     "events",   "method", "path",  "query",
					     "body",     "ts",     "nonce", "body_sha256",
					     "signature" };

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

/* A job for children carries the ids of its parents, and nothing else of their rows. */
static void check_parent(struct manifest_reader *r, const struct template_place *t,
			 const char *column)
{
	if (strcmp(column, "id") == 0)
		return;
	if (t->parent && row_column_find(t->parent->table, column) < 0)
		reader_problem_at(r, t->path, "{parent.%s} is not known; did you mean {parent.id}?",
				  column);
	else
		reader_problem_at(r, t->path, "{parent.%s} is not supported yet, {parent.id} is",
				  column);
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
				"{%s}: a name in an address of the partner is not supported yet",
				name);
		else if (!(place & t->allowed))
			reader_problem_at(r, t->path, "{%s} cannot be used here (%s can)", name,
					  allowed_text(r, t->allowed));
		else if (place == IN_CFG)
			add_setting(r, t, name + 4);
		else if (place == IN_PARENT)
			check_parent(r, t, name + 7);
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

static void check_collection(struct manifest_reader *r, const struct manifest_collection *c)
{
	const char *path = arena_printf(r->arena, "collections.%s", c->name);
	const struct manifest_collection *parent =
		c->each ? manifest_collection(&r->owner->m, c->each) : NULL;
	struct template_place t = { .allowed = IN_CFG | (c->each ? IN_PARENT : 0),
				    .parent = parent };
	unsigned seen;

	t.path = arena_printf(r->arena, "%s.get", path);
	seen = check_template(r, &t, c->get);
	t.path = arena_printf(r->arena, "%s.query", path);
	t.allowed |= IN_TIME;
	seen |= check_pairs(r, t, &c->query);
	if (c->each && c->get && !(seen & IN_PARENT))
		reader_problem_at(
			r, path,
			"each call would be the same: \"get\" or \"query\" needs a {parent.X}");
	t = (struct template_place){ arena_printf(r->arena, "%s.detail.get", path), IN_CFG | IN_ID,
				     NULL };
	seen = check_template(r, &t, c->detail);
	if (c->detail && !(seen & IN_ID))
		reader_problem_at(r, t.path, "needs {id}");
	t = (struct template_place){ arena_printf(r->arena, "%s.incremental.value", path),
				     IN_CFG | IN_TIME | IN_SINCE, NULL };
	seen = check_template(r, &t, c->incremental.value);
	if (c->incremental.value && !(seen & IN_SINCE))
		reader_problem_at(r, t.path, "needs {since}");
}

void manifest_check_templates(struct manifest_reader *r)
{
	struct manifest *m = &r->owner->m;

	m->settings = arena_alloc(r->arena, sizeof(*m->settings) * SETTINGS_MAX);
	check_template(r, &(struct template_place){ "api.base.production", 0, NULL },
		       m->base_production);
	check_template(r, &(struct template_place){ "api.base.sandbox", 0, NULL }, m->base_sandbox);
	check_template(r, &(struct template_place){ "auth.token_url", 0, NULL }, m->auth.token_url);
	check_pairs(r, (struct template_place){ "api.headers", IN_CFG, NULL }, &m->headers);
	check_pairs(r, (struct template_place){ "auth.params", IN_CFG | IN_CRED, NULL },
		    &m->auth.params);
	check_template(r,
		       &(struct template_place){ "auth.sign.signed",
						 IN_CFG | IN_CRED | IN_REQUEST | IN_STAMP, NULL },
		       m->auth.sign.template);
	check_pairs(r,
		    (struct template_place){ "auth.sign.headers",
					     IN_CFG | IN_CRED | IN_STAMP | IN_SIGNATURE, NULL },
		    &m->auth.sign.headers);
	check_template(r, &(struct template_place){ "auth.authorize_url", 0, NULL },
		       m->auth.authorize_url);
	check_template(r, &(struct template_place){ "auth.device_url", 0, NULL },
		       m->auth.device_url);
	check_pairs(r, (struct template_place){ "auth.authorize_params", IN_CFG | IN_CRED, NULL },
		    &m->auth.authorize_params);
	check_pairs(r, (struct template_place){ "auth.headers", IN_CFG | IN_CRED, NULL },
		    &m->auth.headers);
	for (int i = 0; i < m->n_collections; i++)
		check_collection(r, &m->collections[i]);
}
