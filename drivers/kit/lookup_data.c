/* A partner's answer to the data that a lookup gives, and those to the text that people see. */
#include <errno.h>
#include <string.h>

#include "drivers/kit/lookup_parts.h"
#include "drivers/kit/map_find.h"
#include "drivers/kit/map_value.h"

static bool is_nothing(const cJSON *v)
{
	return json_is_nothing(v) || json_is_empty_text(v) || (cJSON_IsArray(v) && !v->child);
}

static cJSON *converted(const struct manifest_field *f, const struct row_value *v)
{
	switch (f->as) {
	case FIELD_NUMBER:
		return cJSON_CreateNumber(v->v.d);
	case FIELD_INT:
		return cJSON_CreateNumber((double)v->v.i);
	case FIELD_BOOL:
		return cJSON_CreateBool(v->v.b);
	default:
		return NULL;
	}
}

static cJSON *text_of(const cJSON *v)
{
	struct buf text = BUF_INIT;
	cJSON *out = json_scalar_text(v, &text) ? cJSON_CreateString(buf_str(&text)) : NULL;

	buf_clear(&text);
	return out;
}

static int not_so(const struct manifest_field *f, struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, ERR_DATA, "map", "%s: %s", f->name, what);
}

/* NULL where it is not what it should be. */
static cJSON *field_value(const struct manifest_field *f, const cJSON *v, struct arena *arena,
			  const char **why)
{
	static const enum map_as ways[] = {
		[FIELD_NUMBER] = MAP_NUMBER, [FIELD_INT] = MAP_INT, [FIELD_BOOL] = MAP_BOOL
	};
	struct manifest_column column = { .name = f->name, .path = f->path };
	struct row_value value = { 0 };
	int rc;

	if (f->as == FIELD_AS_IT_IS)
		return cJSON_Duplicate(v, true);
	if (f->as == FIELD_TEXT) {
		*why = "is no text";
		return text_of(v);
	}
	column.as = ways[f->as];
	rc = map_value(&column, v, NULL, arena, &value, why);
	return rc == 0 ? converted(f, &value) : rc > 0 ? cJSON_CreateNull() : NULL;
}

static int add_field(const struct manifest_field *f, const cJSON *data, cJSON *out,
		     struct arena *arena, struct err *err)
{
	const cJSON *v = json_path(data, f->path);
	const char *why = "cannot be read";
	cJSON *value;

	if (json_is_nothing(v) || json_is_empty_text(v)) {
		if (f->required)
			return not_so(f, err, "is missing in the answer");
		cJSON_AddNullToObject(out, f->name);
		return 0;
	}
	value = field_value(f, v, arena, &why);
	if (!value)
		return not_so(f, err, why);
	cJSON_AddItemToObject(out, f->name, value);
	return 0;
}

static int mapped(const struct manifest_lookup *l, const cJSON *data, struct buf *out,
		  struct err *err)
{
	struct arena *arena = arena_new();
	cJSON *o = cJSON_CreateObject();
	int rc = 0;

	for (int i = 0; i < l->n_map && rc == 0; i++)
		rc = add_field(&l->map[i], data, o, arena, err);
	if (rc == 0)
		json_print(o, out);
	cJSON_Delete(o);
	arena_free(arena);
	return rc;
}

int lookup_data(const struct manifest_lookup *l, const cJSON *json, struct buf *out,
		struct err *err)
{
	const cJSON *data = json ? json_path(json, l->result) : NULL;

	if (is_nothing(data) || (l->found && is_nothing(json_path(json, l->found))))
		return -ENODATA;
	if (l->n_map)
		return mapped(l, data, out, err);
	json_print(data, out);
	return 0;
}

/* ---- printing ---- */

static const char *const states[] = { [LOOKUP_FRESH] = "fresh",
				      [LOOKUP_STALE] = "stale",
				      [LOOKUP_PLACEHOLDER] = "placeholder",
				      [LOOKUP_MISSING] = "missing" };

void lookup_answer_clear(struct lookup_answer *a)
{
	buf_clear(&a->data);
	memset(a, 0, sizeof(*a));
}

void lookup_print(const struct caller *c, const struct lookup_ask *ask,
		  const struct lookup_answer *a, struct buf *out)
{
	buf_printf(out, "{\"partner\":\"%s\",\"name\":\"%s\",\"state\":\"%s\",\"fresh\":%s",
		   c->driver->manifest->partner, ask->lookup->name, states[a->state],
		   a->state == LOOKUP_FRESH ? "true" : "false");
	if (a->state <= LOOKUP_STALE)
		buf_printf(out, ",\"age_s\":%lld", (long long)a->age_ms / 1000);
	buf_printf(out, ",\"cached\":%s", a->cached ? "true" : "false");
	if (a->reason[0]) {
		buf_puts(out, ",\"reason\":");
		json_quote(out, a->reason, strlen(a->reason));
	}
	buf_puts(out, ",\"data\":");
	buf_puts(out, a->data.len ? buf_str(&a->data) : "null");
	buf_putc(out, '}');
}
