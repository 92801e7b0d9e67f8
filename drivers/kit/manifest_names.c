/* What the {name}s of templates mean, and the check of one template: each name against what is known where it stands, and against the
 * setting, column, param or kept value that it is one of. */
#include "drivers/kit/manifest_names.h"

#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/subst.h"

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

void names_add_setting(struct manifest_reader *r, const struct template_place *t, const char *name)
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

unsigned names_check(struct manifest_reader *r, const struct template_place *t,
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
			names_add_setting(r, t, name + 4);
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

unsigned names_check_pairs(struct manifest_reader *r, struct template_place t,
			   const struct manifest_pairs *p)
{
	const char *base = t.path;
	unsigned seen = 0;

	for (int i = 0; i < p->n; i++) {
		t.path = arena_printf(r->arena, "%s.%s", base, p->v[i].name);
		seen |= names_check(r, &t, p->v[i].value);
	}
	return seen;
}

unsigned names_check_json(struct manifest_reader *r, struct template_place t, const cJSON *v)
{
	const char *base = t.path;
	unsigned seen = 0;
	const cJSON *c;
	int i = 0;

	if (cJSON_IsString(v))
		return names_check(r, &t, v->valuestring);
	cJSON_ArrayForEach (c, v) {
		t.path = c->string ? arena_printf(r->arena, "%s.%s", base, c->string)
				   : arena_printf(r->arena, "%s[%d]", base, i++);
		if (!c->string || !is_comment(c->string))
			seen |= names_check_json(r, t, c);
	}
	return seen;
}

unsigned names_check_request(struct manifest_reader *r, struct template_place t,
			     const struct manifest_request *q)
{
	static const char *const keys[] = { "GET", "get",   "POST",  "post",   "PUT",
					    "put", "PATCH", "patch", "DELETE", "delete" };
	const char *base = t.path, *method = "", *path = request_path(q, &method);
	unsigned seen;

	for (size_t i = 0; i < ARRAY_LEN(keys); i += 2)
		if (strcmp(keys[i], method) == 0)
			t.path = arena_printf(r->arena, "%s.%s", base, keys[i + 1]);
	seen = names_check(r, &t, path);
	t.path = arena_printf(r->arena, "%s.query", base);
	seen |= names_check_pairs(r, t, &q->query);
	t.path = arena_printf(r->arena, "%s.json", base);
	return seen | names_check_json(r, t, q->json);
}
