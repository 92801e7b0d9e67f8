#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define SEEN_MIN 64

void seen_clear(struct seen *s)
{
	free(s->v);
	*s = (struct seen){ 0 };
}

/* 0 marks a free place: a hash of 0 is kept as 1. */
static bool place(uint64_t *v, size_t cap, uint64_t hash)
{
	size_t i = hash & (cap - 1);

	while (v[i]) {
		if (v[i] == hash)
			return false;
		i = (i + 1) & (cap - 1);
	}
	v[i] = hash;
	return true;
}

bool seen_add(struct seen *s, uint64_t hash)
{
	if ((s->n + 1) * 2 > s->cap) {
		size_t cap = s->cap ? s->cap * 2 : SEEN_MIN;
		uint64_t *v = mem_zalloc(cap * sizeof(*v));

		for (size_t i = 0; i < s->cap; i++)
			if (s->v[i])
				(void)place(v, cap, s->v[i]);
		free(s->v);
		s->v = v;
		s->cap = cap;
	}
	if (!place(s->v, s->cap, hash ? hash : 1))
		return false;
	s->n++;
	return true;
}

static int add_record(const cJSON *value, const char *key, int index, void *arg)
{
	struct page *p = arg;

	if ((p->n & (p->n - 1)) == 0) /* full at each power of two */
		p->records = mem_realloc(p->records,
					 (size_t)(p->n ? p->n * 2 : 1) * sizeof(*p->records));
	p->records[p->n++] = value;
	return 0;
}

static const char *type_name(const cJSON *v)
{
	return !v                  ? "nothing"
	       : cJSON_IsObject(v) ? "an object"
	       : cJSON_IsArray(v)  ? "an array"
	       : cJSON_IsString(v) ? "a text"
	       : cJSON_IsNumber(v) ? "a number"
	       : cJSON_IsNull(v)   ? "null"
				   : "true or false";
}

/* Where nothing is paged there may be one item by nature, and no list around it: an account, a property. */
static bool is_the_one(const cJSON *v, const struct manifest_collection *coll)
{
	return coll->paging.kind == PAGING_NONE && cJSON_IsObject(v) && coll->id &&
	       json_path(v, coll->id);
}

int page_records(struct page *p, const struct manifest_collection *coll, struct err *err)
{
	const char *path = coll->records ? coll->records : "@";
	const cJSON *root = p->result.json, *list, *v;

	if (!root && p->result.http.status == 204)
		return 0;
	if (root && strchr(path, '*'))
		return json_path_each(root, path, add_record, p);
	list = root ? json_path(root, path) : NULL;
	if (is_the_one(list, coll))
		return add_record(list, NULL, 0, p);
	if (!cJSON_IsArray(list))
		return err_set(err, -EBADMSG, ERR_DATA, "records",
			       "the records should be an array at \"%s\"; there is %s", path,
			       root ? type_name(list) : "no body");
	cJSON_ArrayForEach (v, list)
		(void)add_record(v, NULL, 0, p);
	return 0;
}

bool answer_text(const struct call_result *r, const char *path, struct buf *out)
{
	const cJSON *v;

	buf_reset(out);
	if (strncmp(path, "header:", 7) == 0) {
		char name[128];
		size_t n = strlen(path + 7);
		const char *value;

		if (n >= sizeof(name))
			return false;
		for (size_t i = 0; i <= n; i++)
			name[i] = path[7 + i] >= 'A' && path[7 + i] <= 'Z'
					  ? (char)(path[7 + i] + 32)
					  : path[7 + i];
		value = http_response_header(&r->http, name);
		if (value)
			buf_puts(out, value);
		return out->len > 0;
	}
	v = r->json ? json_path(r->json, path) : NULL;
	return v && !cJSON_IsFalse(v) && json_scalar_text(v, out) &&
	       out->len > 0; /* "next": false is none */
}

int64_t answer_int(const struct call_result *r, const char *path, int64_t fallback)
{
	struct buf text = BUF_INIT;
	int64_t n = fallback;
	char *end;

	if (path && answer_text(r, path, &text)) {
		n = strtoll(text.data, &end, 10);
		if (end == text.data || *end != '\0' || n < 0)
			n = fallback;
	}
	buf_clear(&text);
	return n;
}

uint64_t page_hash(const struct page *p, const struct manifest_collection *coll)
{
	uint64_t h = (uint64_t)p->n;
	struct buf id = BUF_INIT;
	bool has_ids = coll->id && coll->id[0] != '@';

	for (int i = 0; i < p->n && has_ids; i++) {
		const cJSON *v = json_path(p->records[i], coll->id);

		buf_reset(&id);
		has_ids = v && json_scalar_text(v, &id);
		if (has_ids)
			h = crypto_hash64(id.data, id.len + 1, h);
	}
	buf_clear(&id);
	return has_ids ? h
		       : crypto_hash64(buf_str(&p->result.http.body), p->result.http.body.len, 0);
}
