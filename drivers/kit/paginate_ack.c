/* Queues: what was read is confirmed, once it is stored. */
#include "drivers/kit/paginate_parts.h"

#include <errno.h>
#include <string.h>

#include "drivers/kit/call_door.h"
#include "drivers/kit/body.h"
#include "drivers/kit/subst.h"

struct confirm {
	struct pager *p;
	const cJSON *ids;
	const char *id, *joined; /* of {id}, one item; of {ids} within a text */
	struct buf keep;
};

static const char *name_value(const char *name, void *arg)
{
	struct confirm *f = arg;

	buf_reset(&f->keep);
	if (strcmp(name, "id") == 0)
		return f->id;
	if (strcmp(name, "ids") == 0)
		return f->joined;
	if (strcmp(name, "now") == 0) {
		format_time(NULL, door_asked_us(f->p->c->door), &f->keep);
		return buf_str(&f->keep);
	}
	if (strncmp(name, "cfg.", 4) == 0)
		return cfg_text(f->p->c->driver->manifest, f->p->c->integration, name + 4,
				&f->keep);
	return NULL;
}

/* Waits. */
static int confirm(struct confirm *f, struct page *page, struct err *err)
{
	struct pager *p = f->p;
	const struct manifest_ack *a = &p->p->ack;
	struct buf path = BUF_INIT, body = BUF_INIT;
	struct call_result r;
	cJSON *json = NULL;
	struct call_spec spec = { .endpoint = a->post ? a->post : a->put,
				  .method = a->post ? "POST" : "PUT",
				  .group = p->coll->group };
	int rc = subst(spec.endpoint, SUBST_PATH, name_value, f, &path, err);

	if (rc == 0 && a->json)
		rc = subst_json(a->json, name_value, f, f->ids, &json, err);
	if (rc < 0) {
		buf_clear(&path);
		return -EINVAL;
	}
	if (json) {
		spec.content_type = body_write(p->c->driver->manifest, json, &body);
		spec.body = body.data;
		spec.body_len = body.len;
	}
	spec.path = buf_str(&path);
	rc = call(p->c, &spec, &r, err);
	if (rc == -EREMOTEIO) {
		buf_reset(&page->exchange);
		call_exchange_print(p->c, &spec, &r, &page->exchange);
	}
	call_result_clear(&r);
	cJSON_Delete(json);
	buf_clear(&path);
	buf_clear(&body);
	return rc;
}

/* Items without an id cannot be confirmed: they come again, and the guard of the same page tells. */
static cJSON *ids_of(const struct pager *p, const struct page *page)
{
	const char *path = p->p->ack.id ? p->p->ack.id : p->coll->id;
	cJSON *ids = cJSON_CreateArray();
	struct buf id = BUF_INIT;

	for (int i = 0; i < page->n; i++) {
		const cJSON *v = json_path(page->records[i], path);

		buf_reset(&id);
		if (v && json_scalar_text(v, &id) && id.len)
			cJSON_AddItemToArray(ids, cJSON_CreateString(id.data));
	}
	buf_clear(&id);
	return ids;
}

static void join(const cJSON *ids, struct buf *out)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, ids) {
		if (out->len)
			buf_putc(out, ',');
		buf_puts(out, v->valuestring);
	}
}

static bool names_id(const cJSON *v, const char *text)
{
	char name[SUBST_NAME_MAX];

	if (cJSON_IsString(v))
		text = v->valuestring;
	while (text && subst_next(&text, name))
		if (strcmp(name, "id") == 0)
			return true;
	for (const cJSON *c = v ? v->child : NULL; c; c = c->next)
		if (names_id(c, NULL))
			return true;
	return false;
}

static bool one_by_one(const struct manifest_ack *a)
{
	return names_id(NULL, a->post ? a->post : a->put) || names_id(a->json, NULL);
}

int pager_ack(struct pager *p, struct page *page, struct err *err)
{
	struct confirm f = { .p = p };
	struct buf joined = BUF_INIT;
	cJSON *ids;
	const cJSON *v;
	int rc = 0;

	if (p->p->kind != PAGING_ACK_QUEUE || page->n == 0)
		return 0;
	ids = ids_of(p, page);
	join(ids, &joined);
	f.ids = ids;
	f.joined = buf_str(&joined);
	if (one_by_one(&p->p->ack)) {
		for (v = ids->child; v && rc == 0; v = v->next) {
			f.id = v->valuestring;
			rc = confirm(&f, page, err);
		}
	} else if (ids->child) {
		rc = confirm(&f, page, err);
	}
	if (rc < 0)
		pager_where(p, err);
	cJSON_Delete(ids);
	buf_clear(&joined);
	buf_clear(&f.keep);
	return rc;
}
