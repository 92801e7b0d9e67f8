/* What the partner has of ours, as its own list says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/enrol_parts.h"

/* ---- names ---- */

void enrolling_forget_ids(struct enrolling *r)
{
	while (r->n_ids > 0)
		free(r->ids[--r->n_ids]);
	r->id = NULL;
}

void enrolling_take_id(struct enrolling *r, const cJSON *v)
{
	const char *path = r->e->c->driver->manifest->webhooks.enrol_id;
	const cJSON *id = v && path ? json_path(v, path) : NULL;
	struct buf text = BUF_INIT;

	if (id && json_scalar_text(id, &text) && text.len && r->n_ids < ENROLLED_MAX)
		r->id = r->ids[r->n_ids++] = mem_strdup(buf_str(&text));
	buf_clear(&text);
}

/* ---- one of ours ---- */

static bool is_ours(const struct enrolling *r, const char *text)
{
	size_t n = strlen(r->address);

	if (!r->in_path)
		return strcmp(text, r->address) == 0;
	return strncmp(text, r->address, n) == 0 && text[n] == '/';
}

/* Our address wherever it stands in v; *url borrows it. */
static bool holds_ours(const struct enrolling *r, const cJSON *v, const char **url)
{
	const cJSON *c;

	if (cJSON_IsString(v) && is_ours(r, v->valuestring)) {
		*url = v->valuestring;
		return true;
	}
	cJSON_ArrayForEach (c, v)
		if (holds_ours(r, c, url))
			return true;
	return false;
}

static bool says(const cJSON *v, const char *text, size_t n)
{
	const cJSON *c;

	if (cJSON_IsString(v) && strncmp(v->valuestring, text, n) == 0 && !v->valuestring[n])
		return true;
	cJSON_ArrayForEach (c, v)
		if (says(c, text, n))
			return true;
	return false;
}

/* Whole, or in its parts: {"entity": "reservation", "action": "created"}. */
static bool names_event(const cJSON *v, const char *event)
{
	size_t n = strcspn(event, "/.:");

	return says(v, event, strlen(event)) ||
	       (event[n] && says(v, event, n) && says(v, event + n + 1, strlen(event + n + 1)));
}

static bool is_off(const cJSON *v)
{
	return cJSON_IsFalse(v) || (cJSON_IsNumber(v) && v->valuedouble == 0) ||
	       (cJSON_IsString(v) &&
		(strcmp(v->valuestring, "0") == 0 || strcmp(v->valuestring, "false") == 0));
}

/* ---- all of ours ---- */

struct found_all {
	struct enrolling *r;
	const struct manifest_webhooks *w;
	int n;
	bool *told; /* by event of the manifest */
	bool names_any;
};

static void is_wrong(struct enrolling *r, const char *why)
{
	if (r->seen != FOUND_WRONG)
		snprintf(r->why, sizeof(r->why), "%s", why);
	r->seen = FOUND_WRONG;
}

static void judge(struct found_all *f, const cJSON *v, const char *url)
{
	struct enrolling *r = f->r;

	f->n++;
	enrolling_take_id(r, v);
	if (f->w->enrol_on && is_off(json_path(v, f->w->enrol_on)))
		is_wrong(r, "the partner has switched it off");
	if (!enrolling_knows_secret(r, url))
		is_wrong(r, "nobody knows its secret any more");
	for (int i = 0; i < f->w->n_events; i++) {
		if (!enrolling_listens_to(&f->w->events[i]) ||
		    !names_event(v, f->w->events[i].name))
			continue;
		f->told[i] = f->names_any = true;
	}
}

/* The innermost object that holds our address is a registration; where each event has one there are many. */
static void judge_in(struct found_all *f, const cJSON *v)
{
	const cJSON *c;

	if (f->n && !f->w->enrol_each)
		return;
	cJSON_ArrayForEach (c, v) {
		if (cJSON_IsString(c) && cJSON_IsObject(v) && is_ours(f->r, c->valuestring)) {
			judge(f, v, c->valuestring);
			return;
		}
	}
	cJSON_ArrayForEach (c, v)
		judge_in(f, c);
}

static void judge_records(struct found_all *f, const cJSON *records)
{
	const cJSON *v;
	const char *url;

	cJSON_ArrayForEach (v, records)
		if ((!f->n || f->w->enrol_each) && holds_ours(f->r, v, &url))
			judge(f, v, url);
}

/* Of those that name events at all each of ours must be there. */
static void judge_events(struct found_all *f)
{
	char why[160];

	for (int i = 0; i < f->w->n_events && (f->names_any || f->w->enrol_each); i++) {
		if (f->told[i] || !enrolling_listens_to(&f->w->events[i]))
			continue;
		snprintf(why, sizeof(why), "it lacks the event %.100s", f->w->events[i].name);
		is_wrong(f->r, why);
	}
}

static void judge_all(struct enrolling *r, const cJSON *answer)
{
	struct found_all f = { .r = r, .w = &r->e->c->driver->manifest->webhooks };

	f.told = mem_zalloc((size_t)f.w->n_events + 1);
	enrolling_forget_ids(r);
	r->seen = FOUND_RIGHT;
	if (f.w->enrol_records)
		judge_records(&f, json_path(answer, f.w->enrol_records));
	else
		judge_in(&f, answer);
	if (f.n) {
		judge_events(&f);
	} else {
		r->seen = FOUND_NONE;
		snprintf(r->why, sizeof(r->why), "the partner has none with our address");
	}
	free(f.told);
}

int enrolling_look(struct enrolling *r, struct err *err)
{
	struct call_result answer;
	int rc = enrolling_ask(r, &r->e->c->driver->manifest->webhooks.list, &answer, err);

	if (rc == 0)
		judge_all(r, answer.json);
	call_result_clear(&answer);
	return rc;
}
