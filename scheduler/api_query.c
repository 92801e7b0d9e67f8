/* What an address asks for.  A parameter that is mistyped would be left out in silence: the list would be of everything, the answer would
 * not be waited for. */
#include <string.h>

#include "common/base/config.h"
#include "drivers/kit/form.h"
#include "scheduler/api.h"

static bool is_text(const char *s, size_t n)
{
	return !memchr(s, '\0', n) && utf8_is_valid(s, n);
}

cJSON *api_query_read(struct api_call *c)
{
	const char *raw = httpd_raw_query(c->q);
	struct buf text = BUF_INIT;
	struct form form = { 0 };
	cJSON *params = NULL;
	bool reads = true;

	if (form_read(&form, raw, strlen(raw)) == 0) {
		for (int i = 0; i < form.n; i++)
			reads = reads && is_text(form.v[i].name, form.v[i].name_len) &&
				is_text(form.v[i].value, form.v[i].value_len);
		form_json(&form, &text);
		if (!reads || json_parse(buf_str(&text), text.len, text.len + 1, &params, NULL) < 0)
			params = NULL;
		form_clear(&form);
	}
	buf_clear(&text);
	if (!params)
		api_problem(c, 400, NULL,
			    "the address's parameters do not read (as UTF-8, escaped)");
	return params;
}

bool api_query_check(struct api_call *c, const char *const *names, int n)
{
	const cJSON *v;

	c->query = api_query_read(c);
	cJSON_ArrayForEach (v, c->query) {
		const char *near = config_nearest(v->string, names, n);
		bool known = false;

		for (int i = 0; i < n; i++)
			known = known || strcmp(names[i], v->string) == 0;
		if (known && cJSON_IsString(v))
			continue;
		near = known ? NULL : near;
		api_problem(c, 400, v->string, "%.60s: %s%s%s%s", v->string,
			    known ? "is given twice" : "there is no such parameter",
			    near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
		return false;
	}
	return c->query != NULL;
}

const char *api_query(const struct api_call *c, const char *name)
{
	return c->query ? json_str(c->query, name) : NULL;
}

bool api_is_repeated(const cJSON *object, const cJSON *member)
{
	return cJSON_GetObjectItemCaseSensitive(object, member->string) != member;
}
