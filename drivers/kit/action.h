/* The steps of an action as calls (action_call.c; what stands for their {name}s: action_fill.c), and what their answers leave: the
 * manifest's words alone, no state, no rows.  Whether a step is to be sent, sent again, or looked for is the caller's
 * (worker/tasks/flow.c). */
#ifndef DRIVERS_KIT_ACTION_H
#define DRIVERS_KIT_ACTION_H

#include "drivers/kit/call.h"

/* What the templates of a step may name.  Borrowed. */
struct action_values {
	const struct caller *c;
	const cJSON *in, *kept; /* objects */
	const char *key;        /* of this step: the same at each attempt */
	const char *reference;  /* of the request, as the partner is told it */
	int64_t now_us; /* the same at each attempt too: a key may be tied to the very body */
};

/* One call, ready to be sent; clear it whatever action_call_make returned. */
struct action_call {
	struct arena *arena;
	struct buf body;
	struct call_spec spec;
	struct http_header header;
};
/* q: a step's request, its find_first or undo.  s: whose idempotency header goes along; NULL: none.  -EINVAL with ERR_BAD_JOB:
 * a name has no value. */
int action_call_make(const struct manifest_request *q, const struct manifest_step *s,
		     const struct action_values *v, struct action_call *out, struct err *err)
	__attribute__((warn_unused_result));
void action_call_clear(struct action_call *c);

/* What the job's args say, by the action's params: an object, the caller's.  -EINVAL with ERR_BAD_JOB. */
int action_in(const struct manifest_action *a, const cJSON *args, cJSON **out, struct err *err)
	__attribute__((warn_unused_result));
/* What an action's "once" says of this input; appends.  -EINVAL: a name has no value. */
int action_once(const struct manifest_action *a, const cJSON *in, struct buf *out, struct err *err)
	__attribute__((warn_unused_result));
/* The args of a request that is to follow.  *out NULL: it does not, for what `when` names has no value, or, then *missing is its name,
 * an arg that must be there.  With `when` an arg of a param that may be left out is, by itself. */
int action_then(const struct manifest_action *of, const struct manifest_then *t,
		const struct action_values *v, cJSON **out, const char **missing, struct err *err)
	__attribute__((warn_unused_result));

/* What the step keeps of its answer, into the object.  -EBADMSG with ERR_DATA: one of them is not there. */
int action_keep(const struct manifest_step *s, const struct call_result *r, cJSON *kept,
		struct err *err) __attribute__((warn_unused_result));
/* The same of a list that was asked by find_first.  1: the one that is there; 0: none; -EEXIST: several. */
int action_found(const struct manifest_step *s, const struct call_result *r, cJSON *kept,
		 struct err *err) __attribute__((warn_unused_result));

/* Whether a step was done, by how its call ended (action_judge.c).  mark: what the door says of it; NULL: it went without one. */
enum action_known { KNOWN_DONE, KNOWN_REFUSED, KNOWN_NOT, KNOWN_NOTHING };
enum action_known action_judge(bool undo, const struct call_mark *mark, const struct call_result *r,
			       int rc, const struct err *e);
/* What a repetition of does no harm: so the manifest says, or HTTP. */
bool action_is_repeatable(const struct manifest_step *s, bool undo);
/* A stored answer that was a failure is the only one there will ever be under this key. */
bool action_is_replayed_failure(const struct manifest_step *s, const struct call_result *r);

/* What comes next of a step that may have been done. */
enum action_next {
	NEXT_SEND,   /* again: it does no harm, or it was not done */
	NEXT_LOOK,   /* by find_first */
	NEXT_DONE,   /* it was found */
	NEXT_PERSON, /* nobody knows, and there is no way to find out */
	NEXT_AGAIN,  /* the look itself failed */
};
/* kept: the partner still knows the key under which it was sent; replayed: and gives an old failure for it.  SEND, LOOK or PERSON. */
enum action_next action_in_doubt(const struct manifest_step *s, bool undo, bool kept,
				 bool replayed);
/* What the look brought, rc and err the call's: what is found is kept.  err says why, of PERSON and AGAIN; the others clear it.  SEND, DONE,
 * PERSON or AGAIN. */
enum action_next action_looked(const struct manifest_step *s, const struct call_result *r, int rc,
			       bool replayed, cJSON *kept, struct err *err);

/* 64 hex digits that name one step of one request, at the partner and for ever. */
#define ACTION_KEY_BYTES 65
void action_key(const char *partner, int64_t integration, const char *action, const char *entry,
		const char *step, char out[ACTION_KEY_BYTES]);

#endif
