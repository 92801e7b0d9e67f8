#include "tests/sandbox/query.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define FILTERS_MAX_BYTES 65536

static int flag_read(const char *text)
{
	return !text ? -1 : strcmp(text, "true") == 0 ? 1 : 0;
}

static int number_read(const struct httpd_request *q, const char *name, int fallback, int min,
		       int max, int *out)
{
	const char *text = httpd_query(q, name);
	char *end;
	long n;

	*out = fallback;
	if (!text)
		return 0;
	n = strtol(text, &end, 10);
	if (end == text || *end || n < min || n > max)
		return -EINVAL;
	*out = (int)n;
	return 0;
}

int query_read(struct query *out, const struct httpd_request *q, char problem[160])
{
	const char *filters = httpd_query(q, "filters");
	struct query made = { .ids = httpd_query(q, "ids"),
			      .sort = httpd_query(q, "sort"),
			      .fields = httpd_query(q, "fields"),
			      .active = flag_read(httpd_query(q, "active")),
			      .listed = flag_read(httpd_query(q, "listed")) };
	struct json_error error;

	if (number_read(q, "limit", QUERY_PAGE_DEFAULT, 1, QUERY_PAGE_MAX, &made.limit) < 0) {
		snprintf(problem, 160, "limit must be a number from 1 to %d", QUERY_PAGE_MAX);
		return -EINVAL;
	}
	if (number_read(q, "skip", 0, 0, INT32_MAX, &made.skip) < 0) {
		snprintf(problem, 160, "skip must be a number from 0 on");
		return -EINVAL;
	}
	if (filters &&
	    json_parse(filters, strlen(filters), FILTERS_MAX_BYTES, &made.filters, &error) < 0) {
		snprintf(problem, 160, "filters is no JSON: %.100s", error.text);
		return -EINVAL;
	}
	if (made.filters && !cJSON_IsArray(made.filters)) {
		cJSON_Delete(made.filters);
		snprintf(problem, 160, "filters must be a JSON array");
		return -EINVAL;
	}
	*out = made;
	return 0;
}

void query_clear(struct query *query)
{
	cJSON_Delete(query->filters);
	query->filters = NULL;
}

/* ---- filters ---- */

/* Orders two values: dates as instants, numbers as numbers, texts by their bytes; 2 = not comparable. */
static int compare(const cJSON *a, const cJSON *b)
{
	int64_t at, bt;
	int by_text;

	if (!a || !b)
		return 2;
	if (cJSON_IsNumber(a) && cJSON_IsNumber(b))
		return (a->valuedouble > b->valuedouble) - (a->valuedouble < b->valuedouble);
	if (cJSON_IsBool(a) && cJSON_IsBool(b))
		return cJSON_IsTrue(a) - cJSON_IsTrue(b);
	if (!cJSON_IsString(a) || !cJSON_IsString(b))
		return 2;
	if (clock_parse_time(a->valuestring, &at, NULL) == 0 &&
	    clock_parse_time(b->valuestring, &bt, NULL) == 0)
		return (at > bt) - (at < bt);
	by_text = strcmp(a->valuestring, b->valuestring);
	return (by_text > 0) - (by_text < 0);
}

static bool is_in(const cJSON *v, const cJSON *list)
{
	const cJSON *one;

	cJSON_ArrayForEach (one, list)
		if (compare(v, one) == 0)
			return true;
	return false;
}

static bool contains(const cJSON *v, const cJSON *wanted)
{
	if (cJSON_IsArray(v))
		return is_in(wanted, v);
	return cJSON_IsString(v) && cJSON_IsString(wanted) &&
	       strstr(v->valuestring, wanted->valuestring);
}

/* 1 passes, 0 does not, -EINVAL: no such operator. */
static int filter_passes(const cJSON *filter, const cJSON *tree)
{
	const char *operator= json_str(filter, "operator"), *field = json_str(filter, "field");
	const cJSON *wanted = cJSON_GetObjectItemCaseSensitive(filter, "value");
	const cJSON *v;
	int order;

	if (!operator|| !field)
		return -EINVAL;
	v = json_path(tree, field);
	order = compare(v, wanted);
	if (strcmp(operator, "$eq") == 0)
		return order == 0;
	if (strcmp(operator, "$ne") == 0)
		return order != 0;
	if (strcmp(operator, "$gt") == 0)
		return order == 1;
	if (strcmp(operator, "$gte") == 0)
		return order == 0 || order == 1;
	if (strcmp(operator, "$lt") == 0)
		return order == -1;
	if (strcmp(operator, "$lte") == 0)
		return order == 0 || order == -1;
	if (strcmp(operator, "$contains") == 0)
		return contains(v, wanted);
	if (strcmp(operator, "$in") == 0)
		return is_in(v, wanted);
	if (strcmp(operator, "$between") == 0) {
		int from = compare(v, cJSON_GetObjectItemCaseSensitive(filter, "from"));
		int to = compare(v, cJSON_GetObjectItemCaseSensitive(filter, "to"));

		return (from == 0 || from == 1) && (to == 0 || to == -1);
	}
	return -EINVAL;
}

static bool id_is_listed(const char *id, const char *ids)
{
	size_t len = id ? strlen(id) : 0;

	for (const char *p = ids; len && (p = strstr(p, id)); p += len) {
		bool starts = p == ids || p[-1] == ',' || p[-1] == ' ';

		if (starts && (p[len] == '\0' || p[len] == ',' || p[len] == ' '))
			return true;
	}
	return false;
}

static int item_passes(const struct query *query, const cJSON *tree)
{
	const cJSON *filter;

	if (query->ids && !id_is_listed(json_str(tree, "_id"), query->ids))
		return 0;
	if (query->active >= 0 && json_bool(tree, "active", true) != (query->active == 1))
		return 0;
	if (query->listed >= 0 && json_bool(tree, "isListed", true) != (query->listed == 1))
		return 0;
	cJSON_ArrayForEach (filter, query->filters) {
		int passes = filter_passes(filter, tree);

		if (passes != 1)
			return passes;
	}
	return 1;
}

/* ---- order ---- */

struct sort_key {
	const char *path;
	int direction;
};

static int by_key(const void *pa, const void *pb, void *arg)
{
	const struct item *a = *(const struct item *const *)pa,
			  *b = *(const struct item *const *)pb;
	const struct sort_key *key = arg;
	int order = compare(json_path(a->tree, key->path), json_path(b->tree, key->path));

	if (order == 2)
		order = 0;
	return order ? order * key->direction : (a > b) - (a < b);
}

int query_select(const struct query *query, const struct collection *c, const struct item ***out,
		 int *n, char problem[160])
{
	const struct item **v = mem_alloc(((size_t)c->n + 1) * sizeof(*v));
	int kept = 0;

	for (int i = 0; i < c->n; i++) {
		int passes = item_passes(query, c->v[i].tree);

		if (passes < 0) {
			free(v);
			snprintf(
				problem, 160,
				"a filter needs field, operator ($eq $ne $gt $gte $lt $lte $in $between "
				"$contains) and value, or from and to");
			return -EINVAL;
		}
		if (passes)
			v[kept++] = &c->v[i];
	}
	if (query->sort && *query->sort) {
		bool descending = *query->sort == '-';
		struct sort_key key = { query->sort + descending, descending ? -1 : 1 };

		qsort_r(v, (size_t)kept, sizeof(*v), by_key, &key);
	}
	*out = v;
	*n = kept;
	return 0;
}

/* ---- fields ---- */

/* Copies the value at a dotted path to the same place in `to`, making the objects on the way. */
static void field_copy(const cJSON *from, cJSON *to, char *path)
{
	char *save = NULL, *key = strtok_r(path, ".", &save), *next;

	while (key && cJSON_IsObject(from)) {
		cJSON *v = cJSON_GetObjectItemCaseSensitive(from, key),
		      *at = cJSON_GetObjectItemCaseSensitive(to, key);

		next = strtok_r(NULL, ".", &save);
		if (!v || (at && !next))
			return;
		if (!next || !cJSON_IsObject(v)) {
			if (!at)
				cJSON_AddItemReferenceToObject(to, key, v);
			return;
		}
		if (!at)
			at = cJSON_AddObjectToObject(to, key);
		if (at->type & cJSON_IsReference)
			return; /* the whole of it was asked for already */
		from = v;
		to = at;
		key = next;
	}
}

void item_print(const struct item *item, const char *fields, struct buf *out)
{
	char *copy, *save = NULL;
	cJSON *some;

	if (!fields || !*fields) {
		json_print(item->tree, out);
		return;
	}
	some = cJSON_CreateObject();
	cJSON_AddItemReferenceToObject(some, "_id",
				       cJSON_GetObjectItemCaseSensitive(item->tree, "_id"));
	copy = mem_strdup(fields);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *path = mem_strdup(word);

		field_copy(item->tree, some, path);
		free(path);
	}
	free(copy);
	json_print(some, out);
	cJSON_Delete(some);
}
