/* What a manifest says of webhooks (what a partner tells us) and actions (what we do there in steps).  Read and
 * checked whole with the rest of it; a part of manifest.h. */
#ifndef DRIVERS_KIT_MANIFEST_EVENTS_H
#define DRIVERS_KIT_MANIFEST_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/json.h"
#include "drivers/kit/manifest_lookup.h"
#include "drivers/kit/manifest_pairs.h"

struct manifest;

/* One request as data: exactly one of the paths is given. */
struct manifest_request {
	const char *get, *post, *put, *patch, *remove; /* path templates; remove: DELETE */
	struct manifest_pairs query;
	const cJSON *json; /* templates in its texts; NULL: no body */
};
/* Its path, and its method in *method; NULL: there is none. */
const char *request_path(const struct manifest_request *q, const char **method);

enum verify_scheme {
	VERIFY_NO_WEBHOOKS, /* the manifest has none */
	VERIFY_STANDARD,
	VERIFY_STRIPE,
	VERIFY_SLACK,
	VERIFY_TWILIO,
	VERIFY_SENDGRID,
	VERIFY_GITHUB,
	VERIFY_SHOPIFY,
	VERIFY_HMAC,
	VERIFY_SHA256_SUFFIX,
	VERIFY_BASIC,
	VERIFY_HEADER_TOKEN,
	VERIFY_URL_SECRET,
	VERIFY_NOTHING, /* "none" */
};
enum verify_alg { VERIFY_SHA1, VERIFY_SHA256, VERIFY_SHA512 };

struct manifest_verify {
	enum verify_scheme scheme;
	const char *prefix; /* of the headers' names (standard_webhooks), of the value else */
	const char *header; /* lower-case; NULL: the scheme's own */
	const char *timestamp, *id; /* headers of {ts} and {id}; NULL: the scheme's own */
	const char *split;          /* "t=,v1=": how the header is taken apart; NULL: whole */
	const char *signed_bytes;   /* "{ts}.{body}" */
	const char *key;            /* name of the credential */
	enum verify_alg alg;
	bool base64; /* else hex */
	int64_t tolerance_ms;
	bool i_know;
	struct manifest_request
		secret; /* where the partner tells its secret; none: the credential */
	const char *secret_path;
};

enum event_do {
	EVENT_FETCH,
	EVENT_UPSERT,
	EVENT_DELETE,
	EVENT_AUTH_REVOKED,
	EVENT_CREDENTIALS_ROTATED,
	EVENT_IGNORE,
	EVENT_DELIVERY, /* what became of a notification that was sent */
};
enum event_delivery { DELIVERY_NOT_SAID, DELIVERY_SENT, DELIVERY_DELIVERED, DELIVERY_FAILED };
struct manifest_event {
	const char *name;
	const char *collection, *id; /* NULL where `act` needs none */
	const char
		*item; /* path of the item; NULL: what holds the id at the collection's own path */
	struct manifest_pairs credentials; /* of credentials_rotated: name -> path */
	enum event_do act;
	/* Of delivery: what it says, and by which name of the message: the partner's (`id`) or ours. */
	int delivery;                   /* enum event_delivery */
	const char *reference, *reason; /* paths; NULL: none */
};

struct manifest_webhooks {
	struct manifest_verify verify;
	const char *
		records; /* path of the events in a delivery of many; NULL: a delivery is one event */
	const char *event, *happened_at; /* paths in an event, or header:NAME */
	const char *event_id;            /* the same; NULL: a hash */
	const char *const *hash;         /* paths of what is hashed; none: the body */
	int n_hash;
	/* One address for all customers: whose an event is.  Path in the event, and the setting of integrations
	 * that has the same value.  NULL: each integration has an address of its own. */
	const char *whose, *whose_setting;
	/* Of reports that come to an address told with the call: the parameter with our reference, and the setting of integrations that
	 * has another address (NULL: none).  NULL: there are none. */
	const char *callback_param, *callback_setting;
	struct manifest_request enrol, list, unenrol; /* register, register.list, register.remove */
	const char *enrol_id;                         /* path of a registration's name */
	const char *
		enrol_records; /* path of the registrations in what lists them; NULL: what holds our address */
	const char *enrol_on; /* path in one of them: whether the partner sends by it; NULL */
	bool enrol_each;      /* register names {event}: once for each of them */
	const struct manifest_event *events;
	int n_events;
};

struct manifest_step {
	const char *name;
	struct manifest_request request;
	struct manifest_pairs keep; /* name of {kept.NAME} -> path in the answer */
	struct manifest_request find_first;
	const char *find_records, *find_id;
	struct manifest_pairs find_keep; /* the same in a record that was found; none: as keep */
	int64_t find_after_ms; /* how long after it was sent the partner's list is believed */
	const char *idempotency_header, *idempotency_key; /* key: a template */
	int64_t keeps_ms;     /* how long the partner knows a key; 0: it is not relied upon */
	const char *replayed; /* header of an answer that is a stored one; NULL */
	bool repeatable;
	struct manifest_request undo;
};
/* What is queued when an action is done, as a request of its own. */
struct manifest_then {
	const char *action;
	const cJSON *args; /* object; templates in its texts */
	const char *
		when; /* template: it follows where all that this names has a value; NULL: where all that args name has */
	int lane; /* enum lane */
};
struct manifest_action {
	const char *name;
	const struct manifest_step *steps;
	int n_steps;
	const struct manifest_param *params; /* none: anything is taken */
	int n_params;
	const char *once;     /* template: requests of which it says the same are one; NULL */
	const char *external; /* name of the keep that names it at the partner; NULL */
	int64_t deadline_ms;  /* E2: tried again until then */
	int retries;          /* -1: as often as fits until the deadline */
	const struct manifest_then *then;
	int n_then;
};
/* How a company's people are told something by this partner: what an action's params are filled with (drivers/kit/notify.h). */
#define CHANNEL_PARTS_MAX 16
enum channel_address { ADDRESS_NEEDLESS, ADDRESS_EMAIL, ADDRESS_PHONE, ADDRESS_TOKEN };
struct manifest_part {
	const char *name; /* of the template's text, and of the param that it becomes */
	int escape;       /* enum message_escape: of the values in it */
	int max_bytes;
};
struct manifest_channel {
	const char
		*kind; /* email, sms, …: where templates have its texts; NULL: it is no channel */
	const char *action; /* that sends one */
	int address;        /* enum channel_address; what the param "to" is filled with */
	const struct manifest_part *parts;
	int n_parts;
};

#define ACTION_PARAMS_MAX 64
const struct manifest_action *manifest_action(const struct manifest *m,
					      const char *name); /* NULL */

#endif
