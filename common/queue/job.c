#include "common/queue/job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/queue.h"

#define SEQ_DIGITS 14
#define ID_DIGITS_MAX 15 /* scores are doubles: exact to 2^53 */
#define RESULT_TTL_MAX_S 86400
#define EXAMPLE "{\"task\":\"import_resources\",\"integration_id\":7}"

static const char *const lane_names[] = {
	[LANE_HIGH] = "high", [LANE_NORMAL] = "normal", [LANE_LOW] = "low"
};

const char *lane_name(enum lane l)
{
	return l >= LANE_HIGH && l <= LANE_LOW ? lane_names[l] : "?";
}

int lane_parse(const char *s, enum lane *out)
{
	for (int l = LANE_HIGH; s && l <= LANE_LOW; l++) {
		if (strcmp(s, lane_names[l]) == 0) {
			*out = (enum lane)l;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- members ---- */

/* Reads a decimal that fills p … end; at most 15 digits. */
static bool number_whole(const char *p, const char *end, int64_t *out)
{
	int64_t n = 0;

	if (p == end || end - p > ID_DIGITS_MAX)
		return false;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (*p - '0');
	}
	*out = n;
	return true;
}

/* Reads a decimal that ends at a blank; returns what follows the blank, NULL if it is none. */
static const char *number(const char *p, const char *end, int64_t *out)
{
	const char *blank = memchr(p, ' ', (size_t)(end - p));

	return blank && number_whole(p, blank, out) ? blank + 1 : NULL;
}

/* The header's last number ends at a blank or at the end of the line; returns where. */
static const char *last_number(const char *p, const char *end, int64_t *out)
{
	const char *blank = memchr(p, ' ', (size_t)(end - p));
	const char *stop = blank ? blank : end;

	return number_whole(p, stop, out) ? stop : NULL;
}

static int header_parse(const char *p, const char *end, struct job_header *h)
{
	int64_t attempts, crashes, born;
	const char *blank = memchr(p, ' ', (size_t)(end - p));

	if (!blank || blank == p || blank - p >= JOB_ID_MAX)
		return -EBADMSG;
	const char *id = p;
	size_t id_len = (size_t)(blank - p);
	for (size_t i = 0; i < id_len; i++) {
		if (id[i] < '!' || id[i] > '~')
			return -EBADMSG;
	}
	p = number(blank + 1, end, &attempts);
	if (p)
		p = number(p, end, &crashes);
	if (p)
		p = last_number(p, end, &born);
	if (!p || attempts > INT32_MAX || crashes > INT32_MAX)
		return -EBADMSG;
	memcpy(h->id, id, id_len);
	h->id[id_len] = '\0';
	h->attempts = (int)attempts;
	h->crashes = (int)crashes;
	h->born_ms = born;
	h->extra = p;
	h->extra_len = (size_t)(end - p);
	return 0;
}

int job_member_parse(const char *member, size_t len, struct job_header *h, int64_t *integration,
		     const char **payload, size_t *payload_len)
{
	const char *newline = memchr(member, '\n', len);
	int64_t seq, routed;
	struct job_header parsed;

	if (!newline || newline - member < 1 + SEQ_DIGITS + 1)
		return -EBADMSG;
	if (member[0] != '0' && member[0] != '1')
		return -EBADMSG;
	const char *p = number(member + 1, newline, &seq);
	if (p != member + 1 + SEQ_DIGITS + 1)
		return -EBADMSG;
	p = number(p, newline, &routed);
	if (!p || header_parse(p, newline, &parsed) < 0)
		return -EBADMSG;
	*h = parsed;
	*integration = routed;
	*payload = newline + 1;
	*payload_len = len - (size_t)(newline + 1 - member);
	return 0;
}

bool job_by_clock(const struct job_header *h)
{
	return !strncmp(h->id, JOB_CLOCK, strlen(JOB_CLOCK));
}

void job_header_print(const struct job_header *h, struct buf *out)
{
	buf_puts(out, h->id);
	buf_putc(out, ' ');
	buf_putint(out, h->attempts);
	buf_putc(out, ' ');
	buf_putint(out, h->crashes);
	buf_putc(out, ' ');
	buf_putint(out, h->born_ms);
	if (h->extra_len)
		buf_append(out, h->extra, h->extra_len);
}

/* ---- packs ---- */

static uint32_t length_at(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

int job_pack_count(const char *member, size_t len)
{
	struct job_header h;
	const char *p;
	size_t left;
	int64_t integration, count;
	int seen = 0;

	if (job_member_parse(member, len, &h, &integration, &p, &left) < 0 || h.id[0] != 'x' ||
	    !number_whole(h.id + 1, h.id + strlen(h.id), &count))
		return 0;
	for (; left >= 4 && left - 4 >= length_at(p); seen++) {
		size_t whole = 4 + (size_t)length_at(p);

		p += whole;
		left -= whole;
	}
	return left == 0 && seen == count ? seen : 0;
}

void job_pack_member(const char *member, size_t len, int at, struct buf *out)
{
	const char *p = memchr(member, '\n', len);
	const char *integration = member + 1 + SEQ_DIGITS;
	const char *id = memchr(integration + 1, ' ', (size_t)(p - integration - 1));

	p++;
	for (int i = 0; i < at; i++)
		p += 4 + (size_t)length_at(p);
	buf_printf(out, "%c%0*lld", member[0], SEQ_DIGITS, strtoll(member + 1, NULL, 10) + at);
	buf_append(out, integration, (size_t)(id + 1 - integration));
	buf_append(out, p + 4, length_at(p));
}

/* ---- payloads ---- */

static int refuse(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct err *err, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	err_set(err, -EINVAL, ERR_BAD_JOB, "job", "%s", buf_str(&text));
	buf_clear(&text);
	return -EINVAL;
}

static const char *kind_of(const cJSON *v)
{
	if (cJSON_IsString(v))
		return "a text";
	if (cJSON_IsNumber(v))
		return "a number";
	if (cJSON_IsArray(v))
		return "an array";
	if (cJSON_IsObject(v))
		return "an object";
	if (cJSON_IsBool(v))
		return "a boolean";
	return "null";
}

/* The member of that name; NULL where it is missing or null. */
static const cJSON *field(const cJSON *tree, const char *name)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(tree, name);

	return !v || cJSON_IsNull(v) ? NULL : v;
}

static int text_field(const cJSON *tree, const char *name, const char **out, struct err *err)
{
	const cJSON *v = field(tree, name);

	if (!v)
		return 0;
	if (!cJSON_IsString(v))
		return refuse(err, "\"%s\" is %s; expected a text", name, kind_of(v));
	if (v->valuestring[0] == '\0')
		return refuse(err, "\"%s\" is empty; expected a text, or leave it out", name);
	*out = v->valuestring;
	return 0;
}

static int int_field(const cJSON *tree, const char *name, int64_t min, int64_t *out,
		     struct err *err)
{
	const cJSON *v = field(tree, name);
	const char *want = min > 0 ? "a positive integer" : "an integer from 0";

	if (!v)
		return 0;
	if (!cJSON_IsNumber(v))
		return refuse(err, "\"%s\" is %s; expected %s", name, kind_of(v), want);
	double d = v->valuedouble;
	if (!(d >= (double)min && d <= 999999999999999.0) || d != (double)(int64_t)d)
		return refuse(err, "\"%s\" is %.17g; expected %s of at most %d digits", name, d,
			      want, ID_DIGITS_MAX);
	*out = (int64_t)d;
	return 0;
}

static int numbers_parse(const cJSON *tree, struct job *j, struct err *err)
{
	int64_t retries = -1;
	int rc = int_field(tree, "integration_id", 1, &j->integration_id, err);

	if (rc == 0)
		rc = int_field(tree, "max_retries", 0, &retries, err);
	if (rc == 0)
		rc = int_field(tree, "run_at", 0, &j->run_at_ms, err);
	if (rc == 0)
		rc = int_field(tree, "expires_in", 1, &j->expires_in_s, err);
	if (rc == 0)
		rc = int_field(tree, "run_id", 1, &j->run_id, err);
	if (rc == 0 && retries > 1000)
		rc = refuse(err, "\"max_retries\" is %lld; expected at most 1000",
			    (long long)retries);
	j->max_retries = (int)retries;
	j->no_retry = retries == 0;
	return rc;
}

static int mode_parse(const cJSON *tree, struct job *j, struct err *err)
{
	const char *mode = NULL;
	int rc = text_field(tree, "unique_mode", &mode, err);

	if (rc < 0 || !mode)
		return rc;
	if (strcmp(mode, "replace") != 0 && strcmp(mode, "reject") != 0)
		return refuse(err, "\"unique_mode\" is \"%.40s\"; expected reject or replace",
			      mode);
	if (!j->unique)
		return refuse(err, "\"unique_mode\" without \"unique\"; expected both or none");
	j->unique_replace = strcmp(mode, "replace") == 0;
	return 0;
}

static int texts_parse(const cJSON *tree, struct job *j, struct err *err)
{
	int rc = text_field(tree, "id", &j->id, err);

	if (rc == 0)
		rc = text_field(tree, "unique", &j->unique, err);
	if (rc == 0)
		rc = mode_parse(tree, j, err);
	if (rc == 0)
		rc = text_field(tree, "idempotency_key", &j->idempotency_key, err);
	if (rc == 0)
		rc = text_field(tree, "parent", &j->parent, err);
	if (rc == 0)
		rc = text_field(tree, "traceparent", &j->traceparent, err);
	return rc;
}

static int run_parse(const cJSON *tree, struct job *j, struct err *err)
{
	int rc = text_field(tree, "run_home", &j->run_home, err);

	if (rc == 0 && j->run_home && !queue_name_is_valid(j->run_home))
		return refuse(err, "\"run_home\" is \"%.60s\"; expected a partner's name",
			      j->run_home);
	return rc;
}

/* What is asked for of its outcome. */
static int outcome_parse(const cJSON *tree, struct job *j, struct err *err)
{
	const cJSON *record = field(tree, "record");
	int rc = int_field(tree, "result_ttl", 1, &j->result_ttl_s, err);

	if (rc < 0)
		return rc;
	if (j->result_ttl_s > RESULT_TTL_MAX_S)
		return refuse(err, "\"result_ttl\" is %lld; expected seconds, at most %d",
			      (long long)j->result_ttl_s, RESULT_TTL_MAX_S);
	if (record && !cJSON_IsBool(record))
		return refuse(err, "\"record\" is %s; expected true or false", kind_of(record));
	j->record = cJSON_IsTrue(record);
	if ((j->record || j->result_ttl_s) && j->id && strlen(j->id) >= JOB_ID_MAX)
		return refuse(err,
			      "\"id\" has %zu bytes; with \"result_ttl\" or \"record\" at most %d",
			      strlen(j->id), JOB_ID_MAX - 1);
	return 0;
}

static int tree_parse(const cJSON *tree, struct job *j, struct err *err)
{
	if (!cJSON_IsObject(tree))
		return refuse(err, "%s, not an object; a job is a JSON object such as %s",
			      kind_of(tree), EXAMPLE);
	const cJSON *task = field(tree, "task");
	if (!task)
		return refuse(err, "no \"task\"; a job names its task, such as %s", EXAMPLE);
	if (!cJSON_IsString(task) || task->valuestring[0] == '\0')
		return refuse(err, "\"task\" is %s; expected the name of a task, such as %s",
			      cJSON_IsString(task) ? "empty" : kind_of(task), EXAMPLE);
	j->task = task->valuestring;
	j->args = field(tree, "args");
	if (j->args && !cJSON_IsObject(j->args))
		return refuse(err, "\"args\" is %s; expected an object", kind_of(j->args));
	int rc = numbers_parse(tree, j, err);
	if (rc == 0)
		rc = texts_parse(tree, j, err);
	if (rc == 0)
		rc = run_parse(tree, j, err);
	return rc == 0 ? outcome_parse(tree, j, err) : rc;
}

int job_parse(const char *payload, size_t len, struct job *out, struct err *err)
{
	struct json_error je = { 0 };
	struct job j = { .max_retries = -1 };

	if (len > JOB_MAX_BYTES)
		return refuse(err, "%zu bytes; a job has at most %d", len, JOB_MAX_BYTES);
	if (len > 0 && payload[0] == '\x01')
		return refuse(err, "the first byte is 0x01; a job is a JSON object such as %s",
			      EXAMPLE);
	int rc = json_parse(payload, len, JOB_MAX_BYTES, &j.tree, &je);
	if (rc == -EILSEQ)
		return refuse(err,
			      "not UTF-8 at line %d column %d; a job is a JSON object such as %s",
			      je.line, je.column, EXAMPLE);
	if (rc < 0)
		return refuse(
			err, "not JSON: %s at line %d column %d; a job is a JSON object such as %s",
			je.text, je.line, je.column, EXAMPLE);
	rc = tree_parse(j.tree, &j, err);
	if (rc < 0) {
		job_clear(&j);
		return rc;
	}
	*out = j;
	return 0;
}

void job_clear(struct job *j)
{
	if (!j)
		return;
	cJSON_Delete(j->tree);
	*j = (struct job){ .max_retries = -1 };
}

void job_print(struct buf *out, const char *task, int64_t integration_id, const cJSON *args,
	       int64_t run_id, const char *parent)
{
	buf_puts(out, "{\"task\":");
	json_quote(out, task, strlen(task));
	if (integration_id)
		buf_printf(out, ",\"integration_id\":%lld", (long long)integration_id);
	if (args) {
		buf_puts(out, ",\"args\":");
		json_print(args, out);
	}
	if (run_id)
		buf_printf(out, ",\"run_id\":%lld", (long long)run_id);
	if (parent) {
		buf_puts(out, ",\"parent\":");
		json_quote(out, parent, strlen(parent));
	}
	buf_putc(out, '}');
}

static void print_text(struct buf *out, const char *name, const char *value)
{
	if (!value)
		return;
	buf_printf(out, ",\"%s\":", name);
	json_quote(out, value, strlen(value));
}

void job_print_keys(struct buf *out, const char *unique, bool replace, const char *idempotency_key)
{
	out->len--; /* the closing brace */
	print_text(out, "unique", unique);
	print_text(out, "unique_mode", unique && replace ? "replace" : NULL);
	print_text(out, "idempotency_key", idempotency_key);
	buf_putc(out, '}');
}

void job_print_run_home(struct buf *out, const char *run_home)
{
	out->len--;
	print_text(out, "run_home", run_home);
	buf_putc(out, '}');
}

void job_print_result_ttl(struct buf *out, int64_t seconds)
{
	out->len--;
	if (seconds)
		buf_printf(out, ",\"result_ttl\":%lld", (long long)seconds);
	buf_putc(out, '}');
}
