/* What the C of a driver's folder may do, where its manifest cannot say it: seven functions, all pure.  A hook gets parsed input and an
 * arena and returns data; it opens no socket, sleeps never, keeps nothing between two calls.  One that needs a call asks for it (HOOK_ASKS)
 * and is called again with the answer, which comes through the door: limits, timeouts, recording, redaction and breaker hold for it too.
 *
 * Unless it says otherwise a hook returns 0, or -EINVAL with err filled (class, rule and text; err_set). */
#ifndef DRIVERS_HOOKS_H
#define DRIVERS_HOOKS_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/io/http.h"

struct manifest_collection;

#define HOOK_FIELDS_MAX 8
#define HOOK_CALLS_MAX 16 /* of one dialogue: one that never ends is a fault of the hook's */

struct hook_field {
	const char *name, *value;
};
struct hook_fields {
	struct hook_field v[HOOK_FIELDS_MAX];
	int n;
};
/* -E2BIG beyond HOOK_FIELDS_MAX.  Strings are borrowed: of the arena, or constant. */
int hook_add(struct hook_fields *f, const char *name, const char *value)
	__attribute__((warn_unused_result));

/* Things that have names: fields of the credential, settings of the integration, headers (in lower case). */
struct hook_values {
	const char *(*find)(const char *name, void *arg); /* NULL: none */
	void *arg;
};
const char *hook_value(const struct hook_values *v, const char *name); /* NULL: none */

/* ---- calls ---- */

struct hook_request {
	const char *method;   /* "GET" */
	const char *path;     /* below api.base, or an absolute URL on one of the partner's hosts */
	const char *endpoint; /* template for metrics and logs; NULL: the path */
	struct hook_fields query, headers;
	const char *body; /* NULL: none */
	size_t body_len;
	const char *content_type;
	bool repeatable; /* may be sent again when it failed; GETs are */
};
struct hook_answer {
	const struct http_response *http;
	const cJSON *json; /* NULL: no body */
};
/* A dialogue: where it stands.  `kept` is for what the hook wants to know again when it is called again. */
struct hook_talk {
	int step;                         /* 0: nothing was asked yet */
	const struct hook_answer *answer; /* to what was asked last; NULL at step 0 */
	const cJSON **kept;               /* *kept: NULL at step 0; of the arena */
};
enum { HOOK_DONE = 0, HOOK_ASKS = 1 }; /* beside -EINVAL */

/* ---- what each is given, and gives ---- */

struct hook_signing {
	const char *method, *url; /* whole, with its query */
	const char *body;         /* "" if none */
	size_t body_len;
	struct hook_values credential, settings;
	int64_t now_ms;    /* Redis' clock */
	const char *nonce; /* 32 hex digits, new with each call */
};
struct hook_signed {
	struct hook_fields headers, query;
};

struct hook_login {
	struct hook_values credential, settings;
	int64_t now_ms;
	struct hook_talk talk;
};
struct hook_token {
	const char *token;
	int64_t life_ms; /* 0: an hour */
};

struct hook_page {
	const struct manifest_collection *collection;
	struct hook_answer answer;
	const char *cursor;  /* what this page was asked for with; NULL: the first */
	const char *found;   /* what pagination.cursor finds in the answer; NULL: nothing */
	int number, records; /* pages so far, this one too; records of this one */
};

struct hook_webhook {
	const char *method, *url;
	struct hook_values headers, credential;
	const char *body;
	size_t body_len;
	const cJSON *json; /* the body's; NULL: it is not JSON */
	int64_t now_ms;
};
struct hook_event {
	const char *type, *id, *external_id; /* NULL: not said */
	int64_t happened_ms;                 /* 0: not said */
};

struct hook_action {
	const char *name; /* "push_status" */
	const cJSON *in;  /* its input */
	const char *key;  /* of idempotency: the same at each attempt */
	struct hook_values settings;
	int64_t now_ms;
	struct hook_talk talk;
};

/* The C side of a partner; a NULL slot means the manifest's own way, and each that is there is named in the manifest's `hooks`. */
struct driver_hooks {
	const char *partner;
	/* Turns a raw body into the JSON the manifest's paths address. Appends JSON text to out. */
	int (*decode_body)(const char *body, size_t len, struct buf *out, struct err *err);
	/* What shows that a call is ours, beside what `auth` says: called when it is about to be sent. */
	int (*sign_request)(const struct hook_signing *in, struct arena *a, struct hook_signed *out,
			    struct err *err);
	/* auth.kind "hook": a token, by whatever dialogue.  HOOK_ASKS: *ask. -EACCES: these credentials are refused for good. */
	int (*login)(const struct hook_login *in, struct arena *a, struct hook_request *ask,
		     struct hook_token *out, struct err *err);
	/* pagination.kind "cursor": the next page's cursor; NULL: this was the last. */
	int (*next_page)(const struct hook_page *in, struct arena *a, const char **cursor,
			 struct err *err);
	/* An item in place of the one that came; *out may be that one, or share parts of it (hook_copy). -EINVAL: set aside, with
	 * err->where the field. */
	int (*adapt_item)(const struct manifest_collection *c, const cJSON *item, struct arena *a,
			  const cJSON **out, struct err *err);
	/* 0: it is genuine, and what it says.  -EACCES: it is not. */
	int (*verify_webhook)(const struct hook_webhook *in, struct arena *a,
			      struct hook_event *out, struct err *err);
	/* The next call of an action.  HOOK_ASKS: *ask; HOOK_DONE: *result, an object of the arena, or NULL. */
	int (*plan_action)(const struct hook_action *in, struct arena *a, struct hook_request *ask,
			   const cJSON **result, struct err *err);
};

/* ---- JSON of an arena: never freed by itself ---- */

cJSON *hook_object(struct arena *a);
cJSON *hook_copy(struct arena *a, const cJSON *object); /* shallow: what is in it is shared */
cJSON *hook_text(struct arena *a, const char *s);       /* NULL: null */
cJSON *hook_number(struct arena *a, double n);
/* Adds or replaces a member, which becomes the object's. */
void hook_set(struct arena *a, cJSON *object, const char *name, cJSON *v);

#endif
