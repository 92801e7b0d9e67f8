#include "drivers/kit/event.h"

#include <errno.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/cassette.h"

#define CREDENTIALS_MAX_BYTES (64 * 1024)
#define AHEAD_US (5 * 60 * 1000000LL)
#define AHEAD_UNREAD_US (24 * 3600 * 1000000LL)

const struct manifest_event *event_find(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->webhooks.n_events; i++)
		if (strcmp(m->webhooks.events[i].name, name) == 0)
			return &m->webhooks.events[i];
	return NULL;
}

static const struct manifest *version_of(const struct manifest *m, int i)
{
	return i == 0 ? m : m->adapters[i - 1].manifest;
}

bool event_brings_credentials(const struct manifest *m, const char *name)
{
	bool brings = false;

	for (int i = 0; i <= m->n_adapters; i++) {
		const struct manifest_event *e = event_find(version_of(m, i), name);

		brings |= e && e->act == EVENT_CREDENTIALS_ROTATED;
	}
	return brings;
}

const char *event_action(enum event_do act)
{
	static const char *const names[] = {
		[EVENT_FETCH] = "fetch",
		[EVENT_UPSERT] = "upsert",
		[EVENT_DELETE] = "delete",
		[EVENT_AUTH_REVOKED] = "auth_revoked",
		[EVENT_CREDENTIALS_ROTATED] = "credentials_rotated",
		[EVENT_IGNORE] = "ignore",
		[EVENT_DELIVERY] = "delivery",
	};

	return names[act];
}

bool event_id(const struct manifest_event *e, const cJSON *body, struct buf *out)
{
	const cJSON *v = json_path(body, e->id);

	return v && json_scalar_text(v, out) && out->len > 0;
}

bool event_id_of_job(const struct manifest_event *e, const struct manifest_collection *c,
		     const cJSON *args, struct buf *out)
{
	const char *said = json_str(args, "external_id"), *row = json_str(args, "row_id");
	const cJSON *body = cJSON_GetObjectItemCaseSensitive(args, "body");
	size_t prefix = strlen(c->id_prefix);

	if (said && *said) {
		buf_puts(out, said);
		return true;
	}
	if (body && event_id(e, body, out))
		return true;
	if (!row || strncmp(row, c->id_prefix, prefix) != 0 || !row[prefix])
		return false;
	buf_reset(out);
	buf_puts(out, row + prefix);
	return true;
}

int64_t event_happened_us(const struct manifest_collection *c, int64_t said_us, int64_t received_us)
{
	bool unread = c && !c->detail;

	if (said_us - received_us <= (unread ? AHEAD_UNREAD_US : AHEAD_US))
		return said_us;
	return unread ? received_us : 0;
}

/* What stands before `tail` in one alternative of the id's path: "listing" of "listing._id"; "" of "_id" itself. */
static const cJSON *holder(const cJSON *body, const char *path, size_t n, const char *tail)
{
	size_t len = strlen(tail);
	const cJSON *found;
	char *head;

	if (n == len && strncmp(path, tail, n) == 0)
		return body;
	if (n < len + 2 || path[n - len - 1] != '.' || strncmp(path + n - len, tail, len) != 0)
		return NULL;
	head = mem_strndup(path, n - len - 1);
	found = json_path(body, head);
	free(head);
	return found;
}

const cJSON *event_item(const struct manifest_event *e, const struct manifest_collection *c,
			const cJSON *body)
{
	const cJSON *item = e->item ? json_path(body, e->item) : NULL;

	if (!e->item && c->id && !strchr(c->id, '|'))
		for (const char *p = e->id; !item && *p;) {
			size_t n = strcspn(p, "|");

			item = holder(body, p, n, c->id);
			p += n + (p[n] == '|');
		}
	return cJSON_IsObject(item) ? item : NULL;
}

cJSON *event_masked(const struct manifest *m, const struct manifest_event *e, const cJSON *body)
{
	const struct manifest_collection *c =
		e && e->collection ? manifest_collection(m, e->collection) : NULL;
	cJSON *copy = cJSON_Duplicate(body, 1);
	const cJSON *item = c ? event_item(e, c, copy) : NULL, *child;

	if (item) {
		item_mask(m, c, item);
		return copy;
	}
	for (int i = 0; i < m->n_collections; i++) {
		item_mask(m, &m->collections[i], copy);
		cJSON_ArrayForEach (child, copy)
			if (cJSON_IsObject(child))
				item_mask(m, &m->collections[i], child);
	}
	return copy;
}

static void free_tree(cJSON *tree)
{
	cJSON *v;

	cJSON_ArrayForEach (v, tree)
		if (cJSON_IsString(v))
			secret_zero(v->valuestring, strlen(v->valuestring));
	cJSON_Delete(tree);
}

int event_credentials(const struct manifest_event *e, const cJSON *body, const struct secret *old,
		      struct secret *out, struct err *err)
{
	struct buf text = BUF_INIT;
	cJSON *tree = NULL;
	int rc = json_parse(secret_reveal(old), old->len, CREDENTIALS_MAX_BYTES, &tree, NULL);

	if (rc < 0 || !cJSON_IsObject(tree)) {
		free_tree(tree);
		return err_set(err, -EBADMSG, ERR_INTERNAL, "credentials",
			       "the stored credentials are no JSON object");
	}
	for (int i = 0; rc == 0 && i < e->credentials.n; i++) {
		const struct manifest_pair *p = &e->credentials.v[i];
		const cJSON *v = json_path(body, p->value);

		if (!v || !json_scalar_text(v, &text) || !text.len) {
			rc = err_set(err, -EBADMSG, ERR_DATA, "credentials",
				     "the event has no \"%s\" at %s", p->name, p->value);
			break;
		}
		cJSON_DeleteItemFromObjectCaseSensitive(tree, p->name);
		cJSON_AddStringToObject(tree, p->name, buf_str(&text));
		secret_zero(text.data, text.len);
		buf_reset(&text);
	}
	if (rc == 0) {
		json_print(tree, &text);
		secret_set(out, text.data, text.len);
	}
	secret_free_buf(&text);
	free_tree(tree);
	return rc;
}
