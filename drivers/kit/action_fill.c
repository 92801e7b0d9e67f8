/* What stands for the {name}s of an action, in its texts and in the bodies that are made of them. */
#include <stdlib.h>
#include <string.h>

#include "drivers/kit/action_parts.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/callback.h"
#include "drivers/kit/paginate_parts.h"
#include "drivers/kit/subst.h"

/* ---- names ---- */

/* The value itself; NULL: there is none. */
static const cJSON *value_of(const struct action_values *v, const char *name)
{
	const cJSON *found = NULL;

	if (strncmp(name, "in.", 3) == 0)
		found = json_path(v->in, name + 3);
	else if (strncmp(name, "kept.", 5) == 0)
		found = json_path(v->kept, name + 5);
	return found && !cJSON_IsNull(found) ? found : NULL;
}

const char *action_text(const char *name, void *arg)
{
	struct action_naming *n = arg;
	const cJSON *v;

	buf_reset(&n->keep);
	if (strcmp(name, "key") == 0)
		return n->v->key;
	if (strcmp(name, "reference") == 0)
		return n->v->reference;
	if (strcmp(name, "callback_url") == 0)
		return callback_url(n->v->c, n->v->reference, &n->keep);
	if (strcmp(name, "now") == 0) {
		format_time(NULL, n->v->now_us, &n->keep);
		return buf_str(&n->keep);
	}
	if (strncmp(name, "cfg.", 4) == 0)
		return cfg_text(n->v->c->driver->manifest, n->v->c->integration, name + 4,
				&n->keep);
	v = value_of(n->v, name);
	if (v && !json_scalar_text(v, &n->keep))
		json_print(v, &n->keep);
	return v ? buf_str(&n->keep) : NULL;
}

/* "{in.X}" and nothing else: the value as it is, a number or a list too. */
static bool whole_name(const char *text, char name[SUBST_NAME_MAX])
{
	const char *p = text;

	return text[0] == '{' && subst_next(&p, name) && !*p && strlen(text) == strlen(name) + 2 &&
	       (strncmp(name, "in.", 3) == 0 || strncmp(name, "kept.", 5) == 0);
}

/* A setting that need not be there, and is not. */
static bool is_unset(const struct action_values *v, const char *name)
{
	const struct manifest_setting *s = manifest_setting(v->c->driver->manifest, name);
	struct buf keep = BUF_INIT;
	bool unset = s && !s->required &&
		     !cfg_text(v->c->driver->manifest, v->c->integration, name, &keep);

	buf_clear(&keep);
	return unset;
}

/* Nobody outside can reach us, or it is not known where. */
static bool has_no_callback(const struct action_values *v)
{
	struct buf keep = BUF_INIT;
	bool none = !callback_url(v->c, v->reference, &keep);

	buf_clear(&keep);
	return none;
}

/* A param, a setting or an address of ours that is not there takes along what names it. */
bool action_leaves_out(const struct action_values *v, const char *template)
{
	char name[SUBST_NAME_MAX];

	while (subst_next(&template, name))
		if ((strncmp(name, "in.", 3) == 0 && !value_of(v, name)) ||
		    (strncmp(name, "cfg.", 4) == 0 && is_unset(v, name + 4)) ||
		    (strcmp(name, "callback_url") == 0 && has_no_callback(v)))
			return true;
	return false;
}

/* The same, and of what earlier steps kept. */
bool action_names_nothing(const struct action_values *v, const char *template)
{
	const char *p = template;
	char name[SUBST_NAME_MAX];

	while (subst_next(&p, name))
		if (strncmp(name, "kept.", 5) == 0 && !value_of(v, name))
			return true;
	return action_leaves_out(v, template);
}

/* Whether all that the texts name is there. */
bool action_has_all(const cJSON *t, const struct action_values *v)
{
	const cJSON *c;

	if (cJSON_IsString(t))
		return !action_leaves_out(v, t->valuestring);
	cJSON_ArrayForEach (c, t)
		if (!action_has_all(c, v))
			return false;
	return true;
}

/* ---- bodies ---- */

static int fill_text(const char *text, struct action_naming *n, cJSON **out, struct err *err)
{
	char name[SUBST_NAME_MAX];
	struct buf filled = BUF_INIT;
	int rc = 0;

	if (whole_name(text, name) && value_of(n->v, name)) {
		*out = cJSON_Duplicate(value_of(n->v, name), true);
	} else {
		rc = subst(text, SUBST_RAW, action_text, n, &filled, err);
		if (rc == 0)
			*out = cJSON_CreateString(buf_str(&filled));
	}
	buf_clear(&filled);
	return rc;
}

static int fill_members(const cJSON *t, struct action_naming *n, cJSON *out, struct err *err)
{
	const cJSON *c;
	int rc = 0;

	cJSON_ArrayForEach (c, t) {
		cJSON *v = NULL;

		if (cJSON_IsString(c) && action_leaves_out(n->v, c->valuestring))
			continue;
		if (!c->string && !action_has_all(c, n->v))
			continue; /* an element of a list goes whole */
		if (c->string && strcmp(c->string, "//") == 0)
			continue;
		rc = action_fill(c, n, &v, err);
		if (rc < 0)
			return rc;
		if (c->string)
			cJSON_AddItemToObject(out, c->string, v);
		else
			cJSON_AddItemToArray(out, v);
	}
	return 0;
}

/* As deep as a manifest is, which json_parse bounds. */
int action_fill(const cJSON *t, struct action_naming *n, cJSON **out, struct err *err)
{
	cJSON *v;
	int rc;

	if (cJSON_IsString(t))
		return fill_text(t->valuestring, n, out, err);
	if (!cJSON_IsObject(t) && !cJSON_IsArray(t)) {
		*out = cJSON_Duplicate(t, true);
		return 0;
	}
	v = cJSON_IsObject(t) ? cJSON_CreateObject() : cJSON_CreateArray();
	rc = fill_members(t, n, v, err);
	if (rc < 0)
		cJSON_Delete(v);
	else
		*out = v;
	return rc;
}
