/* The manifest: a partner as data (format 1).  Read once, validated whole: an unknown key, a wrong type, a missing
 * key, a bad value are each reported with path, line and the nearest known name; all errors at once.
 * Everything is owned by the manifest and immutable. */
#ifndef DRIVERS_KIT_MANIFEST_H
#define DRIVERS_KIT_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/hmac.h"
#include "common/base/json.h"
#include "common/queue/breaker.h"
#include "common/queue/limiter.h"
#include "common/store/rows.h"
#include "drivers/kit/manifest_events.h"
#include "drivers/kit/manifest_lookup.h"

struct zone;

/* What a partner answers in; whatever it is becomes the JSON that paths address (decode.h). */
enum body_format { FORMAT_JSON, FORMAT_JSONL, FORMAT_XML, FORMAT_CSV, FORMAT_TEXT };
enum request_format { BODY_JSON, BODY_FORM, BODY_XML, BODY_MAIL };
enum version_place { VERSION_SAID, VERSION_IN_PATH, VERSION_IN_HEADER };

enum auth_kind {
	AUTH_NONE,
	AUTH_API_KEY,
	AUTH_BASIC,
	AUTH_BEARER,
	AUTH_OAUTH2_CLIENT,
	AUTH_TWO_STEP, /* a call of its own answers with a token */
	AUTH_OAUTH2_CODE,
	AUTH_OAUTH2_DEVICE,
	AUTH_SIGNED,
	AUTH_HOOK,
	AUTH_OAUTH2_JWT, /* a claim, signed with our own key, is exchanged for a token */
};
enum auth_place { AUTH_IN_HEADER, AUTH_IN_QUERY, AUTH_IN_COOKIE, AUTH_IN_PATH };
enum expires_kind { EXPIRES_SECONDS, EXPIRES_AT, EXPIRES_FIXED, EXPIRES_JWT };

/* errors[] and auth.broken_on: first match wins; a rule matches when all that it names match. */
struct manifest_rule {
	int statuses[16], n_statuses; /* 5xx is written as -5 */
	const char *json;
	const cJSON *in;      /* path and array of values */
	const cJSON *not_in;  /* the same, of which it is none, nor missing */
	const char *contains; /* in the json value, or in the body where json is NULL ("text") */
	const char *header;   /* present */
	bool at_token_url;
	enum err_class class;
	enum err_action action;
	int64_t action_ms; /* of hold */
};

#define AUTH_HEADERS_MAX 8 /* of auth.headers, and of auth.sign.headers */
struct manifest_auth {
	enum auth_kind kind;
	enum auth_place place;
	const char *name, *prefix; /* header Authorization "Bearer " */
	const char *token_url;
	bool get; /* the token call's method; else POST */
	bool send_json, secret_in_basic;
	struct manifest_pairs params, headers; /* of the token call */
	const char *token_path;                /* access_token */
	enum expires_kind expires;
	const char *expires_path;
	int64_t expires_fixed_ms;
	int64_t early_ms; /* refresh margin: 5 min, at most a tenth of the life */
	int64_t usable_after_ms;
	int mint_count;
	int64_t mint_window_ms;
	double mint_share;                      /* 0 = no limit */
	const char *authorize_url, *device_url; /* where a person allows it */
	struct manifest_pairs authorize_params; /* of both: scope */
	struct manifest_refresh {
		bool single_use, keep_if_absent; /* true, true */
		const char *token;               /* path of the refresh token in an answer */
		int64_t dies_unused_ms;          /* 0: never */
		int64_t lapses_ms;               /* after it was granted; 0: not known */
	} refresh;
	struct manifest_sign {
		enum hmac_alg alg;
		const char *key;      /* of the credential */
		const char *template; /* what is signed */
		bool base64;          /* else hex */
		enum sign_ts { SIGN_TS_EPOCH, SIGN_TS_EPOCH_MS, SIGN_TS_ISO } ts;
		struct manifest_pairs headers;
	} sign; /* AUTH_SIGNED */
	const char *const *needs;
	int n_needs;
	const struct manifest_rule *broken_on;
	int n_broken_on;
	struct manifest_proof {
		const char *get; /* NULL: the first collection that stands by itself, one item */
		struct manifest_pairs query;
	} verify;
};

enum limit_scope_kind { SCOPE_PARTNER, SCOPE_INTEGRATION, SCOPE_EGRESS, SCOPE_ENDPOINTS };
struct manifest_limit {
	enum limit_scope_kind scope;
	const char *group; /* of SCOPE_ENDPOINTS, else NULL */
	enum limit_kind kind;
	int64_t rate, window_ms, burst;
	double share;
	int64_t weight;            /* units a call takes */
	const char *weight_header; /* says afterwards what it took; NULL: always `weight` */
};
enum reset_unit { RESET_GUESSED, RESET_SECONDS, RESET_EPOCH, RESET_EPOCH_MS, RESET_DATE };
struct manifest_limit_header {
	int64_t window_ms;
	const char *limit, *remaining, *reset;
	enum reset_unit unit;
};

enum paging_kind {
	PAGING_NONE,
	PAGING_OFFSET,
	PAGING_PAGE,
	PAGING_CURSOR,
	PAGING_NEXT_URL,
	PAGING_LINK,
	PAGING_KEYSET,
	PAGING_ACK_QUEUE
};
#define PAGING_KINDS (PAGING_ACK_QUEUE + 1)
enum paging_place { PAGING_IN_QUERY, PAGING_IN_BODY, PAGING_IN_PATH };
enum stop_kind { STOP_EMPTY, STOP_SHORT_PAGE, STOP_TOTAL, STOP_HAS_MORE, STOP_NO_CURSOR };
struct manifest_stop {
	enum stop_kind kind;
	const char *path;
};
/* How what was read from a queue is confirmed, once it is stored. */
struct manifest_ack {
	const char *post, *put; /* one of them: a path template */
	const cJSON *json;      /* the body, with templates in its texts; NULL: none */
	const char *id;         /* path of what is confirmed; NULL: the collection's id */
};
struct manifest_paging {
	enum paging_kind kind;
	enum paging_place in; /* where size, offset, page or cursor go */
	const char *limit_param, *offset_param, *page_param, *cursor_param,
		*cursor;          /* cursor: a path in the answer */
	const char *next;         /* next_url: a path in the answer */
	const char *param, *key;  /* keyset: key, a path in the last record, goes to param */
	const char *total;        /* a path, or NULL */
	int64_t first;            /* first page number */
	const char *first_cursor; /* what stands for a cursor before there is one, or NULL */
	int size, max_pages;      /* 100, 10,000 */
	int rescan_overlap;       /* items a page goes back over the one before */
	int64_t expires_ms;       /* life of a cursor; 0: for ever */
	int64_t every_ms;         /* ack_queue: how often it is to be read; 0: not said */
	struct manifest_ack ack;
	struct manifest_stop stops[6];
	int n_stops;
};

struct manifest_incremental {
	bool on;
	const char *param, *value; /* value: a template with {since} */
	const char *format;        /* iso8601 iso8601_ms epoch epoch_ms, or strftime with % */
	const struct zone *tz;     /* that times are written in; NULL: UTC */
	int64_t overlap_ms, lookback_first_ms;
	int64_t step_ms; /* the longest window that is asked for at once; 0: to now */
};

enum map_as {
	MAP_TEXT,
	MAP_INT,
	MAP_NUMBER,
	MAP_BOOL,
	MAP_TIME,
	MAP_DATE,
	MAP_MONEY,
	MAP_JSON,
	MAP_URL,
	MAP_AS_COLUMN /* while reading: not said, so what the column holds */
};
struct manifest_column {
	int column; /* of rows.h's table */
	const char *name;
	const char *path; /* NULL: const or hash */
	enum map_as as;
	bool required;
	const cJSON *fallback; /* "default", or NULL */
	const cJSON *enums;    /* object: text -> text; "*" catches the rest; NULL */
	const cJSON *constant;
	const char *hash;      /* path of values to hash, or NULL */
	const char *currency;  /* path, for money: how many minor digits; NULL: 2 */
	const struct zone *tz; /* for times without a zone; NULL: UTC */
};

/* Many items by their ids in one call. */
struct manifest_batch {
	const char *get; /* NULL: the partner cannot */
	struct manifest_pairs query;
	const char *join; /* between the ids: "," */
	int max;          /* ids a call: 50 */
};

/* How it is known that an item is there no more. */
enum deletes_by { DELETES_NEVER, DELETES_FULL_SCAN, DELETES_SCAN_OF_PARENT, DELETES_WEBHOOK };
struct manifest_deletes {
	enum deletes_by by;
	const char *
		tombstone; /* path in an item that says itself that it is deleted; NULL: none does */
	const cJSON *value; /* what stands there then; NULL: true */
	double brake;       /* a scan that would mark more than this share asks first … */
	int few;            /* … but for so many rows */
};

#define PARALLEL_MAX 32
struct manifest_collection {
	const char *name;
	const char *get;   /* path template; NULL: embedded, or post */
	const char *post;  /* the same for a list that is asked for with a body */
	const cJSON *json; /* that body, with templates in its texts; NULL: none */
	struct manifest_pairs query;
	const char *records, *id, *updated_at;
	const char *id_prefix; /* "" */
	const char *detail;    /* "/listings/{id}", or NULL */
	struct manifest_pairs detail_query;
	const char *detail_records; /* where the item is in that answer; NULL: where it is found */
	int64_t detail_ttl_ms;      /* of a kept answer to that; 0: none is kept */
	struct manifest_incremental incremental;
	const char *group;        /* of endpoints, with limits of its own; NULL */
	uint64_t parent_columns;  /* set of the columns of the parent's row in {parent.X} */
	const char *each;         /* parent collection, or NULL: one call per parent */
	const char *embedded;     /* path inside the parent's item, with each; or NULL */
	const char *when_changed; /* the parent's column, or NULL */
	const char *
		upcoming; /* the parent's column of time or date, or NULL: called only for what is not over */
	struct manifest_batch batch;
	int parallel; /* calls that one job has under way, of its parents or of items by their ids */
	int lane;     /* enum lane of its jobs */
	struct manifest_deletes deletes;
	const char *
		merged_into; /* path, in an item that is no more, of the id or ids that it became; NULL: none says so */
	enum row_table table;
	uint64_t columns; /* the set of rows.h */
	const struct manifest_column *map;
	int n_map;
	const char *const *extra;
	int n_extra; /* top-level keys kept raw; "*" keeps the whole item */
	const char *const *personal;
	int n_personal; /* paths inside an item of what is told of people: not in cassettes */
	const char *belongs_collection,
		*belongs_id;           /* resource_external_id comes from this path; or parent */
	struct manifest_paging paging; /* own, or the manifest's */
};

#define BREAKER_GROUPS_MAX 8
/* Endpoints that break by themselves: a path of the API, and whatever is below it. */
struct manifest_group {
	const char *name;
	const char *const *endpoints;
	int n_endpoints;
};
struct manifest_breaker {
	struct breaker_rules rules;
	const char *probe; /* path of a cheap GET, or NULL: the next call */
	const struct manifest_group *groups;
	int n_groups;
};

/* Which functions the C of the folder has (drivers/hooks.h). */
struct manifest_hooks {
	bool decode_body, sign_request, login, next_page, adapt_item, verify_webhook, plan_action;
};

enum setting_type { SETTING_TEXT, SETTING_INT, SETTING_NUMBER, SETTING_BOOL, SETTING_URL };
/* What {cfg.NAME} may be. */
struct manifest_setting {
	const char *name, *about;
	enum setting_type type;
	bool required;
	const cJSON *fallback; /* "default", or NULL */
	const char *const *choices;
	int n_choices;
};

/* An element of XML that is a list even where there is one of it, or none in its parent. */
struct manifest_list {
	const char *parent, *name; /* parent NULL: in any */
};

#define ADAPTER_FIRST "1" /* the manifest itself, beside its adapters */
/* A version of the driver: what it has otherwise, who gets it, and the manifest that comes of it. */
struct manifest_adapter {
	const char *name;
	const cJSON *overlay;
	double percent;   /* of the integrations, by a hash of their ids */
	const char *flag; /* or all of them, while it is on; NULL: none */
	struct manifest *manifest;
};

struct manifest {
	const char *partner, *title, *path;         /* path: the file */
	const char *base_production, *base_sandbox; /* sandbox may be NULL */
	const char *version, *version_name;         /* name: of the header */
	enum version_place version_in;
	enum body_format format;
	enum request_format body;
	const char *const *drop; /* elements of XML answers that nothing may see */
	int n_drop;
	const struct manifest_list *xml_lists;
	int n_xml_lists;
	struct manifest_pairs headers;
	int64_t wait_ms, connect_ms, write_ms, read_ms, total_ms;
	int concurrency_partner, concurrency_integration;
	int jobs_partner, jobs_integration; /* in flight: 2000, 64 */
	struct manifest_auth auth;
	const struct manifest_limit *limits;
	int n_limits;
	const struct manifest_limit_header *limit_headers;
	int n_limit_headers;
	const char *const *retry_after;
	int n_retry_after; /* header names, lower-case, in order */
	const struct manifest_rule *errors;
	int n_errors;
	struct manifest_paging paging;
	const struct manifest_collection *collections;
	int n_collections;
	const struct manifest_lookup *lookups;
	int n_lookups;
	bool critical; /* false: a failure degrades to what is cached */
	struct manifest_breaker breaker;
	struct manifest_hooks hooks;
	struct manifest_adapter *adapters;
	int n_adapters;
	struct manifest_webhooks webhooks;
	const struct manifest_action *actions;
	int n_actions;
	struct manifest_channel channel;
	const struct manifest_setting *typed; /* settings, as declared */
	int n_typed;
	const char *const *daily; /* collections whose contract the scheduler checks */
	int n_daily;
	const char *fixtures; /* of recorded answers, a folder; NULL: manifest_fixtures */
	const char *const *settings;
	int n_settings; /* {cfg.X} names in use: what integration add --set may carry */
};

/* Reads and validates.  0, or -EINVAL with one line per problem appended ("drivers/x/manifest.json:12: limits[0].windw: unknown key; did you mean \"window\"?"),
 * -ENOENT.  *out is freed with manifest_free. */
int manifest_load(const char *file, struct manifest **out, struct buf *problems)
	__attribute__((warn_unused_result));
int manifest_parse(const char *file_shown, const char *text, size_t len, struct manifest **out,
		   struct buf *problems) __attribute__((warn_unused_result));
void manifest_free(struct manifest *m);
const struct manifest_collection *manifest_collection(const struct manifest *m,
						      const char *name); /* NULL */
const char *manifest_fixtures(
	const struct manifest
		*m); /* the name of the folder, beside the manifest, of its cassettes */
/* Whether it may stand for api.base: by its scheme; and which those are, "http:// nor https://". */
bool manifest_takes_url(const struct manifest *m, const char *url);
const char *manifest_schemes(const struct manifest *m);
const struct manifest_setting *manifest_setting(const struct manifest *m,
						const char *name); /* NULL: not declared */
/* False: `wanted` says what is ("a whole number"). */
bool setting_fits(const struct manifest_setting *s, const char *text, struct buf *wanted);
const struct manifest_lookup *manifest_lookup(const struct manifest *m,
					      const char *name); /* NULL */
/* One of them with its defaults, as JSON text: what it asks and what it makes of the answer. */
void manifest_print_lookup(const struct manifest_lookup *l, struct buf *out);
/* Everything with its defaults, as JSON text, for `longshore driver show`. */
void manifest_print(const struct manifest *m, struct buf *out);
/* The format as JSON Schema, for editors: one line.  Appends. */
void manifest_schema(struct buf *out);

#endif
