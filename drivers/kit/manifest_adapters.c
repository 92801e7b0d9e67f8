/* Versions of a driver side by side: "adapters" has what each of them has otherwise, and what comes of it is a
 * manifest of its own, checked as any.  "rollout" says who gets which. */
#include "drivers/kit/manifest_adapters.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/paginate_link.h"

/* What all integrations of a partner share, whatever version they have. */
static const char *const shared[] = { "partner", "manifest", "auth",     "limits",  "limit_headers",
				      "breaker", "jobs",     "adapters", "rollout", "critical" };

/* ---- keys ---- */

void read_adapters(struct manifest_reader *r, const cJSON *node, void *base)
{
	struct manifest *m = base;
	const cJSON *c;
	int n = 0;

	if (!cJSON_IsObject(node)) {
		reader_expected(r, "an object", node);
		return;
	}
	m->adapters = arena_alloc(r->arena,
				  sizeof(*m->adapters) * (size_t)(cJSON_GetArraySize(node) + 1));
	cJSON_ArrayForEach (c, node) {
		size_t mark;

		if (is_comment(c->string))
			continue;
		mark = reader_down(r, c->string, 0);
		if (!manifest_name_is_valid(c->string) || strcmp(c->string, ADAPTER_FIRST) == 0)
			reader_problem(
				r,
				"a name is 1 to 40 of a-z, 0-9 and _, and \"%s\" is the manifest itself",
				ADAPTER_FIRST);
		if (!cJSON_IsObject(c))
			reader_expected(r, "an object", c);
		m->adapters[n++] = (struct manifest_adapter){ .name = c->string, .overlay = c };
		reader_up(r, mark);
	}
	m->n_adapters = n;
}

bool print_adapters(const void *base, struct buf *out)
{
	const struct manifest *m = base;

	for (int i = 0; i < m->n_adapters; i++) {
		buf_putc(out, i ? ',' : '{');
		json_quote(out, m->adapters[i].name, strlen(m->adapters[i].name));
		buf_putc(out, ':');
		json_print(m->adapters[i].overlay, out);
	}
	if (m->n_adapters)
		buf_putc(out, '}');
	return m->n_adapters > 0;
}

static struct manifest_adapter *adapter_named(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->n_adapters; i++)
		if (strcmp(m->adapters[i].name, name) == 0)
			return &m->adapters[i];
	return NULL;
}

static void read_share(struct manifest_reader *r, const cJSON *node, struct manifest_adapter *a)
{
	const cJSON *percent =
		cJSON_IsObject(node) ? cJSON_GetObjectItemCaseSensitive(node, "percent") : node;
	const cJSON *c;

	if (percent && (!cJSON_IsNumber(percent) || !(percent->valuedouble >= 0) ||
			percent->valuedouble > 100))
		reader_problem(r, "expected 0 to 100 percent");
	else if (percent)
		a->percent = percent->valuedouble;
	for (c = cJSON_IsObject(node) ? node->child : NULL; c; c = c->next) {
		size_t mark = reader_down(r, c->string, 0);

		if (strcmp(c->string, "flag") == 0)
			a->flag = reader_text(r, c, 0);
		else if (strcmp(c->string, "percent") != 0 && !is_comment(c->string))
			reader_problem(r, "unknown key (percent, flag)");
		reader_up(r, mark);
	}
	if (a->flag && !manifest_name_is_valid(a->flag))
		reader_problem(r, "\"%s\" cannot name a flag: 1 to 40 of a-z, 0-9 and _", a->flag);
}

void read_rollout(struct manifest_reader *r, const cJSON *node, void *base)
{
	struct manifest *m = base;
	double all = 0;
	const cJSON *c;

	if (!cJSON_IsObject(node)) {
		reader_expected(r, "an object", node);
		return;
	}
	cJSON_ArrayForEach (c, node) {
		struct manifest_adapter *a = adapter_named(m, c->string);
		size_t mark;

		if (is_comment(c->string))
			continue;
		mark = reader_down(r, c->string, 0);
		if (!a)
			reader_problem(r, "\"adapters\" has no \"%s\"", c->string);
		else
			read_share(r, c, a);
		reader_up(r, mark);
	}
	for (int i = 0; i < m->n_adapters; i++)
		all += m->adapters[i].percent;
	if (all > 100)
		reader_problem(r, "%g percent in all", all);
}

bool print_rollout(const void *base, struct buf *out)
{
	const struct manifest *m = base;
	cJSON *o = cJSON_CreateObject();
	bool any;

	for (int i = 0; i < m->n_adapters; i++) {
		const struct manifest_adapter *a = &m->adapters[i];
		cJSON *share;

		if (!a->percent && !a->flag)
			continue;
		share = cJSON_AddObjectToObject(o, a->name);
		cJSON_AddNumberToObject(share, "percent", a->percent);
		if (a->flag)
			cJSON_AddStringToObject(share, "flag", a->flag);
	}
	any = o->child != NULL;
	if (any)
		json_print(o, out);
	cJSON_Delete(o);
	return any;
}

/* ---- one over the other ---- */

/* RFC 7396: objects are merged, null takes away, all else is replaced. */
static void merge(cJSON *to, const cJSON *patch)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, patch) {
		cJSON *old = cJSON_GetObjectItemCaseSensitive(to, c->string);

		if (cJSON_IsObject(c) && cJSON_IsObject(old)) {
			merge(old, c);
			continue;
		}
		if (old)
			cJSON_DeleteItemFromObjectCaseSensitive(to, c->string);
		if (!cJSON_IsNull(c))
			cJSON_AddItemToObject(to, c->string, cJSON_Duplicate(c, 1));
	}
}

static void check_overlay(struct manifest_reader *r, const struct manifest_adapter *a)
{
	for (size_t i = 0; i < ARRAY_LEN(shared); i++)
		if (cJSON_GetObjectItemCaseSensitive(a->overlay, shared[i]))
			reader_problem_at(
				r, arena_printf(r->arena, "adapters.%s.%s", a->name, shared[i]),
				"is of the partner, and cannot differ between its adapters");
}

/* Limits, breakers and credentials are those of a host. */
static bool same_host(const char *a, const char *b)
{
	size_t n = a ? url_origin_len(a) : 0;

	return (!a && !b) || (a && b && url_origin_len(b) == n && strncasecmp(a, b, n) == 0);
}

static int make(struct manifest_reader *r, const cJSON *tree, struct manifest_adapter *a)
{
	const struct manifest *m = &r->owner->m;
	const char *shown = arena_printf(r->arena, "%s (adapter %s)", r->file, a->name);
	cJSON *merged = cJSON_Duplicate(tree, 1);
	struct buf text = BUF_INIT;
	int rc;

	cJSON_DeleteItemFromObjectCaseSensitive(merged, "adapters");
	cJSON_DeleteItemFromObjectCaseSensitive(merged, "rollout");
	merge(merged, a->overlay);
	json_print(merged, &text);
	cJSON_Delete(merged);
	rc = manifest_parse(shown, buf_str(&text), text.len, &a->manifest, r->problems);
	buf_clear(&text);
	if (rc == 0 && (!same_host(m->base_production, a->manifest->base_production) ||
			!same_host(m->base_sandbox, a->manifest->base_sandbox)))
		reader_problem_at(r, arena_printf(r->arena, "adapters.%s.api.base", a->name),
				  "is on another host than the manifest's own");
	return rc;
}

static const struct manifest_event *event_of(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->webhooks.n_events; i++)
		if (strcmp(m->webhooks.events[i].name, name) == 0)
			return &m->webhooks.events[i];
	return NULL;
}

/* Its body is sealed for every version where one takes credentials from it: another could do nothing with it. */
static void check_credentials(struct manifest_reader *r, const struct manifest *a,
			      const struct manifest *b)
{
	for (int i = 0; i < a->webhooks.n_events; i++) {
		const struct manifest_event *e = &a->webhooks.events[i],
					    *other = event_of(b, e->name);

		if (other && (e->act == EVENT_CREDENTIALS_ROTATED) !=
				     (other->act == EVENT_CREDENTIALS_ROTATED))
			reader_problem_at(
				r, arena_printf(r->arena, "webhooks.events.%s.do", e->name),
				"is \"credentials_rotated\" in one adapter and not in another: give one of them another name");
	}
}

static void check_all_credentials(struct manifest_reader *r, const struct manifest *m)
{
	for (int i = 0; i < m->n_adapters; i++) {
		check_credentials(r, m, m->adapters[i].manifest);
		for (int k = 0; k < i; k++)
			check_credentials(r, m->adapters[k].manifest, m->adapters[i].manifest);
	}
}

int manifest_make_adapters(struct manifest_reader *r)
{
	struct manifest *m = &r->owner->m;
	const struct kept_tree *k = r->owner->trees;
	int rc = 0;

	while (k->next) /* the file's own is the first that was kept */
		k = k->next;
	for (int i = 0; i < m->n_adapters; i++)
		check_overlay(r, &m->adapters[i]);
	for (int i = 0; i < m->n_adapters && r->n_problems == 0 && rc == 0; i++)
		rc = make(r, k->tree, &m->adapters[i]);
	if (rc == 0 && r->n_problems == 0)
		check_all_credentials(r, m);
	return r->n_problems ? -EINVAL : rc;
}

void manifest_free_adapters(struct manifest *m)
{
	for (int i = 0; i < m->n_adapters; i++)
		manifest_free(m->adapters[i].manifest);
}
