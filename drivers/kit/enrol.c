#include "drivers/kit/enrol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/io/target.h"
#include "drivers/kit/body.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/callback.h"
#include "drivers/kit/enrol_parts.h"
#include "drivers/kit/subst.h"

#define DAY_MS 86400000LL
#define SOON_MS 600000
#define NAME_MS 2000 /* a name that is not looked up within this is not known here */

const char *enrolment_name(enum enrolment e)
{
	static const char *const names[] = { "registered", "found", "replaced", "unseen" };

	return names[e];
}

static const struct manifest_webhooks *hooks_of(const struct enrol *e)
{
	return &e->c->driver->manifest->webhooks;
}

/* ---- where it is to be sent ---- */

/* Without the secret that an unsigned partner's address ends with. */
static char *address(const struct enrol *e)
{
	struct buf url = BUF_INIT;

	callback_address(e->c->driver->manifest, e->c->integration->id, e->public_url, &url);
	return buf_detach(&url);
}

/* ---- one request ---- */

/* "reservation/created" is the action created of the object reservation. */
static const char *event_part(struct enrolling *r, const char *name)
{
	const char *event = r->event ? r->event->name : NULL;
	size_t n = event ? strcspn(event, "/.:") : 0;

	if (!event || strcmp(name, "event") == 0)
		return event;
	if (!n || !event[n] || !event[n + 1])
		return NULL;
	if (strcmp(name, "event.action") == 0)
		return event + n + 1;
	buf_reset(&r->keep);
	buf_append(&r->keep, event, n);
	return buf_str(&r->keep);
}

static const char *value(const char *name, void *arg)
{
	struct enrolling *r = arg;

	if (strcmp(name, "callback_url") == 0)
		return r->url;
	if (strcmp(name, "webhook.id") == 0)
		return r->id;
	if (strcmp(name, "webhook.secret") == 0)
		return r->secret.len ? secret_reveal(&r->secret) : NULL;
	if (strcmp(name, "events") == 0)
		return buf_str(&r->events);
	if (strncmp(name, "event", 5) == 0)
		return event_part(r, name);
	buf_reset(&r->keep);
	return strncmp(name, "cfg.", 4) == 0 ? cfg_text(r->e->c->driver->manifest,
							r->e->c->integration, name + 4, &r->keep)
					     : NULL;
}

bool enrolling_listens_to(const struct manifest_event *e)
{
	return e->act != EVENT_IGNORE;
}

static cJSON *event_list(const struct manifest_webhooks *w)
{
	cJSON *list = cJSON_CreateArray();

	for (int i = 0; i < w->n_events; i++)
		if (enrolling_listens_to(&w->events[i]))
			cJSON_AddItemToArray(list, cJSON_CreateString(w->events[i].name));
	return list;
}

/* A text that is "{events}" and nothing else becomes the list of them. */
static void put_events(cJSON *v, const struct manifest_webhooks *w)
{
	cJSON *next;

	for (cJSON *c = v->child; c; c = next) {
		next = c->next;
		if (!cJSON_IsString(c) || strcmp(c->valuestring, "{events}") != 0)
			put_events(c, w);
		else if (c->string)
			cJSON_ReplaceItemInObjectCaseSensitive(v, c->string, event_list(w));
		else
			cJSON_ReplaceItemViaPointer(v, c, event_list(w));
	}
}

struct sending {
	struct call_spec spec;
	struct arena *arena; /* of the query */
	struct buf path, body;
};

static int fill(struct enrolling *r, const struct manifest_request *q, struct sending *s,
		struct err *err)
{
	const struct manifest *m = r->e->c->driver->manifest;
	cJSON *template, *body = NULL;
	int rc;

	s->spec.endpoint = request_path(q, &s->spec.method);
	s->spec.repeatable = strcmp(s->spec.method, "GET") == 0;
	rc = subst(s->spec.endpoint, SUBST_PATH, value, r, &s->path, err);
	s->spec.path = buf_str(&s->path);
	s->spec.n_query = q->query.n;
	if (rc == 0)
		rc = subst_pairs(&q->query, value, r, s->arena, &s->spec.query, err);
	if (rc < 0 || !q->json)
		return rc;
	template = cJSON_Duplicate(q->json, 1);
	put_events(template, &m->webhooks);
	rc = subst_json(template, value, r, NULL, &body, err);
	cJSON_Delete(template);
	if (rc < 0)
		return rc;
	s->spec.content_type = body_write(m, body, &s->body);
	s->spec.body = buf_str(&s->body);
	s->spec.body_len = s->body.len;
	cJSON_Delete(body);
	return 0;
}

int enrolling_ask(struct enrolling *r, const struct manifest_request *q, struct call_result *out,
		  struct err *err)
{
	struct sending *s = mem_new(struct sending);
	int rc;

	s->arena = arena_new();
	rc = fill(r, q, s, err);

	memset(out, 0, sizeof(*out));
	if (rc == 0)
		rc = call(r->e->c, &s->spec, out, err);
	arena_free(s->arena);
	buf_clear(&s->path);
	secret_free_buf(&s->body);
	free(s);
	return rc;
}

/* ---- begin and end ---- */

static bool can_look(const struct enrol *e)
{
	return request_path(&hooks_of(e)->list, NULL) != NULL;
}

static void put_event_names(struct enrolling *r)
{
	const struct manifest_webhooks *w = hooks_of(r->e);

	for (int i = 0; i < w->n_events; i++)
		if (enrolling_listens_to(&w->events[i]))
			buf_printf(&r->events, "%s%s", r->events.len ? "," : "", w->events[i].name);
}

static int begin(struct enrolling *r, struct enrol *e, struct err *err)
{
	const struct manifest *m = e->c->driver->manifest;
	int rc;

	*r = (struct enrolling){ .e = e,
				 .in_path = m->webhooks.verify.scheme == VERIFY_URL_SECRET };
	if (!request_path(&m->webhooks.enrol, NULL))
		return err_set(
			err, -EINVAL, ERR_CLIENT, "webhooks.register",
			"the manifest of %s registers no webhooks: do it at the partner, with the address"
			" %s/webhooks/%s/%lld",
			m->partner, e->public_url ? e->public_url : "https://YOURS", m->partner,
			(long long)e->c->integration->id);
	if (!e->public_url)
		return err_set(
			err, -EINVAL, ERR_CLIENT, "public-url",
			"--public-url is missing: the scheduler's address as partners see it");
	r->address = address(e);
	r->url = mem_strdup(r->address);
	put_event_names(r);
	rc = webhook_registration_get(e->pg, e->c->integration->id, &r->noted, err);
	if (rc == 0 && r->noted.webhook_id)
		r->id = r->ids[r->n_ids++] = mem_strdup(r->noted.webhook_id);
	return rc == -ENOENT ? 0 : rc;
}

static void end(struct enrolling *r)
{
	free(r->address);
	if (r->url)
		secret_zero(r->url, strlen(r->url));
	free(r->url);
	enrolling_forget_ids(r);
	buf_clear(&r->events);
	buf_clear(&r->keep);
	secret_clear(&r->secret);
	secret_clear(&r->url_secret);
	webhook_registration_clear(&r->noted);
}

static int note(struct enrolling *r, const char *state, const char *why, int64_t again_ms,
		struct err *err)
{
	char *shown = r->in_path ? mem_printf("%s/*", r->address) : mem_strdup(r->address);
	struct buf ids = BUF_INIT;
	int rc;

	for (int i = 0; i < r->n_ids; i++)
		buf_printf(&ids, "%s%s", i ? "," : "", r->ids[i]);
	rc = webhook_registration_put(r->e->pg, r->e->c->integration->id, shown,
				      ids.len ? buf_str(&ids) : NULL, state, why, again_ms, err);
	buf_clear(&ids);
	free(shown);
	return rc;
}

/* ---- told ---- */

static int take_back_one(struct enrolling *r, const char *id, struct err *err)
{
	struct call_result answer;
	int rc;

	r->id = id;
	rc = enrolling_ask(r, &hooks_of(r->e)->unenrol, &answer, err);
	if (call_found_none(rc, &answer, err))
		rc = 0;
	call_result_clear(&answer);
	return rc;
}

static int take_back(struct enrolling *r, struct err *err)
{
	int rc = 0;

	if (!request_path(&hooks_of(r->e)->unenrol, NULL))
		return err_set(
			err, -EINVAL, ERR_CLIENT, "webhooks.register.remove",
			"the partner has a registration of ours that is not right (%.100s), and the manifest"
			" has no call to remove it: remove it there, and register again",
			r->why);
	if (r->n_ids == 0)
		rc = take_back_one(r, NULL, err); /* says that it has no name */
	for (int i = 0; rc == 0 && i < r->n_ids; i++)
		rc = take_back_one(r, r->ids[i], err);
	if (rc == 0)
		enrolling_forget_ids(r);
	return rc;
}

static int tell_one(struct enrolling *r, const struct manifest_event *event, struct err *err)
{
	struct call_result answer;
	int rc;

	r->event = event;
	rc = enrolling_ask(r, &hooks_of(r->e)->enrol, &answer, err);
	if (rc == 0)
		enrolling_take_id(r, answer.json);
	call_result_clear(&answer);
	return rc;
}

static int tell(struct enrolling *r, struct err *err)
{
	const struct manifest_webhooks *w = hooks_of(r->e);
	int rc = enrolling_make_secret(r, err);

	if (rc == 0)
		rc = note(r, "registering", NULL, SOON_MS, err);
	enrolling_forget_ids(r);
	if (rc == 0 && !w->enrol_each)
		return tell_one(r, NULL, err);
	for (int i = 0; rc == 0 && i < w->n_events; i++)
		if (enrolling_listens_to(&w->events[i]))
			rc = tell_one(r, &w->events[i], err);
	return rc;
}

/* What it answered need not name the registration, and what lists it does. */
static int name_it(struct enrolling *r, struct err *err)
{
	if (r->id || !hooks_of(r->e)->enrol_id || !can_look(r->e))
		return 0;
	return enrolling_look(r, err);
}

static int register_now(struct enrolling *r, enum enrolment *out, struct err *err)
{
	int rc = can_look(r->e) ? enrolling_look(r, err) : 0;

	if (rc < 0)
		return rc;
	if (!can_look(r->e) && r->noted.state && strcmp(r->noted.state, "registered") == 0 &&
	    enrolling_has_secret(r)) {
		*out = ENROLLED_UNSEEN;
		return note(r, "registered", NULL, DAY_MS, err);
	}
	*out = r->seen == FOUND_RIGHT   ? ENROLLED_FOUND
	       : r->seen == FOUND_WRONG ? ENROLLED_REPLACED
					: ENROLLED_NEW;
	if (r->seen == FOUND_WRONG)
		rc = take_back(r, err);
	if (rc == 0 && r->seen != FOUND_RIGHT)
		rc = tell(r, err);
	if (rc == 0)
		rc = name_it(r, err);
	if (rc == 0)
		rc = enrolling_fetch_secret(r, err);
	return rc < 0 ? rc : note(r, "registered", NULL, DAY_MS, err);
}

/* A name that is not known here may be known there. */
static int check_address(const struct enrol *e, struct err *err)
{
	struct err why = { 0 };
	int rc = target_check(e->public_url, loop_now_ms() + NAME_MS, &why);

	if (rc != -EACCES && rc != -EINVAL)
		return 0;
	return err_set(err, rc, ERR_CLIENT, "public-url", "--public-url: %s", why.text);
}

int enrol(struct enrol *e, enum enrolment *out, struct err *err)
{
	struct enrolling r;
	int rc = begin(&r, e, err);

	if (rc == 0)
		rc = check_address(e, err);
	if (rc == 0)
		rc = enrolling_read_secrets(&r, err);
	if (rc == 0)
		rc = register_now(&r, out, err);
	if (rc == 0)
		log_event(LOG_INFO, "webhook_registered",
			  LI("integration_id", e->c->integration->id),
			  LS("outcome", enrolment_name(*out)), LS("webhook_id", r.id));
	end(&r);
	return rc;
}

int enrol_look(struct enrol *e, bool *stands, char why[160], struct err *err)
{
	struct enrolling r;
	int rc = begin(&r, e, err);

	if (rc == 0)
		rc = enrolling_read_secrets(&r, err);
	if (rc == 0 && can_look(e)) {
		rc = enrolling_look(&r, err);
		*stands = r.seen == FOUND_RIGHT;
		snprintf(why, 160, "%s", *stands ? "" : r.why);
	} else if (rc == 0) {
		*stands = r.noted.state && strcmp(r.noted.state, "registered") == 0;
		snprintf(why, 160, "the partner lets nobody look: this is what was noted");
	}
	end(&r);
	return rc;
}

int enrol_remove(struct enrol *e, bool *told, struct err *err)
{
	struct enrolling r;
	int rc = begin(&r, e, err);

	*told = false;
	if (rc == 0 && request_path(&hooks_of(e)->unenrol, NULL)) {
		r.seen = FOUND_RIGHT;
		if (can_look(e))
			rc = enrolling_look(&r, err);
		if (rc == 0 && r.seen != FOUND_NONE)
			rc = take_back(&r, err);
		*told = rc == 0;
	}
	if (rc == 0)
		rc = webhook_registration_drop(e->pg, e->c->integration->id, err);
	end(&r);
	return rc == -ENOENT ? 0 : rc;
}
