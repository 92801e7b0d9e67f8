/* The call of a page: its address, its parameters, its body. */
#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "drivers/kit/body.h"

void body_set(cJSON *body, const char *name, cJSON *v)
{
	const char *dot = strchr(name, '.');
	char part[128];
	cJSON *in;

	if (!dot || (size_t)(dot - name) >= sizeof(part)) {
		cJSON_DeleteItemFromObjectCaseSensitive(body, name);
		cJSON_AddItemToObject(body, name, v);
		return;
	}
	memcpy(part, name, (size_t)(dot - name));
	part[dot - name] = '\0';
	in = cJSON_GetObjectItemCaseSensitive(body, part);
	if (!cJSON_IsObject(in)) {
		cJSON_DeleteItemFromObjectCaseSensitive(body, part);
		in = cJSON_AddObjectToObject(body, part);
	}
	body_set(in, dot + 1, v);
}

static bool has_address(const struct pager *p)
{
	return p->cursor && (p->p->kind == PAGING_NEXT_URL || p->p->kind == PAGING_LINK);
}

static bool is_counted(const struct pager *p)
{
	return p->p->kind == PAGING_OFFSET || p->p->kind == PAGING_PAGE;
}

/* What leads to this page, and the name it goes by; NULL: the first page has none. */
static const char *position(struct page_request *out, const struct pager *p, const char **name)
{
	const struct manifest_paging *g = p->p;

	*name = g->kind == PAGING_OFFSET   ? g->offset_param
		: g->kind == PAGING_PAGE   ? g->page_param
		: g->kind == PAGING_KEYSET ? g->param
					   : g->cursor_param;
	if (is_counted(p)) {
		snprintf(out->next, sizeof(out->next), "%lld", (long long)p->next);
		return out->next;
	}
	if (g->kind != PAGING_CURSOR && g->kind != PAGING_KEYSET)
		return NULL;
	return p->cursor ? p->cursor : g->first_cursor;
}

static int path_of(struct page_request *out, const struct pager *p, const char *at, struct err *err)
{
	if (p->p->in != PAGING_IN_PATH)
		return 0;
	if (!at || !*at || strcmp(at, ".") == 0 || strcmp(at, "..") == 0)
		return err_set(err, -EINVAL, ERR_DATA, "paging",
			       "the cursor \"%s\" in a path would lead to another address",
			       at ? at : "");
	buf_append(&out->path, buf_str(&p->query.path), p->query.path.len);
	http_escape(&out->path, at, strlen(at));
	buf_append(&out->path, buf_str(&p->query.tail), p->query.tail.len);
	out->spec.path = buf_str(&out->path);
	return 0;
}

static void body_of(struct page_request *out, const struct pager *p, const char *name,
		    const char *at)
{
	cJSON *body;

	if (!p->query.body)
		return;
	body = cJSON_Duplicate(p->query.body, 1);
	if (p->p->in == PAGING_IN_BODY && pager_has_size(p))
		body_set(body, p->p->limit_param, cJSON_CreateNumber(p->size));
	if (p->p->in == PAGING_IN_BODY && name && at)
		body_set(body, name,
			 is_counted(p) ? cJSON_CreateNumber((double)p->next)
				       : cJSON_CreateString(at));
	out->spec.content_type = body_write(p->c->driver->manifest, body, &out->body);
	cJSON_Delete(body);
	out->spec.body = buf_str(&out->body);
	out->spec.body_len = out->body.len;
}

static void query_of(struct page_request *out, struct pager *p, const char *name, const char *at)
{
	struct manifest_pair *v = p->query.v; /* has room for two more */
	int n = p->query.n;

	snprintf(out->size, sizeof(out->size), "%d", p->size);
	if (pager_has_size(p) && p->p->in != PAGING_IN_BODY)
		v[n++] = (struct manifest_pair){ p->p->limit_param, out->size };
	if (p->p->in == PAGING_IN_QUERY && name && at)
		v[n++] = (struct manifest_pair){ name, at };
	out->spec.query = v;
	out->spec.n_query = n;
}

int page_request_init(struct page_request *out, struct pager *p, struct err *err)
{
	const char *name, *at;
	int rc = 0;

	*out = (struct page_request){ .spec = { .endpoint = p->coll->post ? p->coll->post
									  : p->coll->get,
						.method = p->coll->post ? "POST" : "GET",
						.group = p->coll->group,
						.path = buf_str(&p->query.path),
						.repeatable = true } };
	at = position(out, p, &name);
	if (has_address(p)) {
		out->spec.path = p->cursor; /* with all its parameters */
	} else {
		query_of(out, p, name, at);
		rc = path_of(out, p, at, err);
	}
	body_of(out, p, name, at);
	return rc;
}

void page_request_clear(struct page_request *q)
{
	buf_clear(&q->path);
	buf_clear(&q->body);
}
