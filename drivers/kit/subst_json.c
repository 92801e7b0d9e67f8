/* {name}s in the body of a request. */
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/subst.h"

static int fill_text(cJSON *v, subst_lookup fn, void *arg, struct err *err)
{
	struct buf text = BUF_INIT;
	int rc = subst(v->valuestring, SUBST_RAW, fn, arg, &text, err);

	if (rc == 0)
		cJSON_SetValuestring(v, buf_str(&text));
	buf_clear(&text);
	return rc;
}

static bool is_ids(const cJSON *v, const cJSON *ids)
{
	return ids && cJSON_IsString(v) && strcmp(v->valuestring, "{ids}") == 0;
}

static void replace(cJSON *in, cJSON *old, const cJSON *by)
{
	if (old->string)
		cJSON_ReplaceItemInObjectCaseSensitive(in, old->string, cJSON_Duplicate(by, 1));
	else
		cJSON_ReplaceItemViaPointer(in, old, cJSON_Duplicate(by, 1));
}

/* As deep as a manifest is, which json_parse bounds.  What stands in a list that came in is no template. */
static int fill(cJSON *v, subst_lookup fn, void *arg, const cJSON *ids, struct err *err)
{
	cJSON *next;
	int rc = cJSON_IsString(v) ? fill_text(v, fn, arg, err) : 0;

	for (cJSON *c = v->child; c && rc == 0; c = next) {
		next = c->next;
		if (is_ids(c, ids))
			replace(v, c, ids);
		else
			rc = fill(c, fn, arg, ids, err);
	}
	return rc;
}

int subst_json(const cJSON *template, subst_lookup fn, void *arg, const cJSON *ids, cJSON **out,
	       struct err *err)
{
	cJSON *v = cJSON_Duplicate(is_ids(template, ids) ? ids : template, 1);
	int rc = is_ids(template, ids) ? 0 : fill(v, fn, arg, ids, err);

	if (rc < 0)
		cJSON_Delete(v);
	else
		*out = v;
	return rc;
}
