/* What an answer says of whether a step was done, and what follows where nobody can tell: the rules of a job (worker/tasks/flow_step.c) and
 * of a cassette (scenario_action.c) alike. */
#include <errno.h>
#include <string.h>

#include "drivers/kit/action.h"

/* Nothing of it may have reached the partner: so the door says. */
static bool was_kept_back(const struct call_mark *mark)
{
	return mark && mark->written && !mark->handed;
}

bool action_is_repeatable(const struct manifest_step *s, bool undo)
{
	const char *method = "";

	request_path(undo ? &s->undo : &s->request, &method);
	return strcmp(method, "GET") == 0 || (undo ? strcmp(method, "DELETE") == 0 : s->repeatable);
}

bool action_is_replayed_failure(const struct manifest_step *s, const struct call_result *r)
{
	return s->replayed && r->http.status >= 500 && http_response_header(&r->http, s->replayed);
}

enum action_known action_judge(bool undo, const struct call_mark *mark, const struct call_result *r,
			       int rc, const struct err *e)
{
	const struct http_response *h = &r->http;
	bool ours = strncmp(e->rule, "errors[", 7) == 0; /* the manifest's word goes first */

	if (rc == 0)
		return KNOWN_DONE;
	/* The server's word, whichever it is; one that says that it has it, and could not be read, says nothing else. */
	if (h->mail && (h->status >= 400 || ours))
		return e->class == ERR_TRANSIENT || rc == -EAGAIN ? KNOWN_NOT : KNOWN_REFUSED;
	if (was_kept_back(mark) || h->unsent)
		return KNOWN_NOT;
	if (h->status == 0)
		return h->failure || (mark && mark->handed) ? KNOWN_NOTHING : KNOWN_NOT;
	if (undo && (h->status == 404 || h->status == 410))
		return KNOWN_DONE; /* what is not there is undone */
	if (h->status >= 500 || h->status == 408)
		return KNOWN_NOTHING;
	if (h->status < 300 && !ours)
		return KNOWN_NOTHING; /* an answer that cannot be read */
	if (rc == -EAGAIN || e->class == ERR_TRANSIENT || e->class == ERR_RATE_LIMIT)
		return KNOWN_NOT;
	return KNOWN_REFUSED;
}

enum action_next action_in_doubt(const struct manifest_step *s, bool undo, bool kept, bool replayed)
{
	if (action_is_repeatable(s, undo) || (kept && !replayed))
		return NEXT_SEND;
	return !undo && request_path(&s->find_first, NULL) ? NEXT_LOOK : NEXT_PERSON;
}

enum action_next action_looked(const struct manifest_step *s, const struct call_result *r, int rc,
			       bool replayed, cJSON *kept, struct err *err)
{
	if (rc == -EREMOTEIO && r->http.status == 404)
		rc = 0; /* none is there */
	else if (rc == 0)
		rc = action_found(s, r, kept, err);
	if (rc == -EEXIST || rc == -EBADMSG)
		return NEXT_PERSON;
	if (rc < 0)
		return NEXT_AGAIN;
	*err = (struct err){ 0 };
	if (rc == 1)
		return NEXT_DONE;
	if (!replayed)
		return NEXT_SEND;
	err_set(err, 0, ERR_TRANSIENT, "replayed",
		"the partner keeps a failure for its key, and its list does not have it");
	return NEXT_PERSON;
}
