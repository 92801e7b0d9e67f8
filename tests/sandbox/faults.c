#include "tests/sandbox/faults.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/sandbox/rng.h"

struct faults {
	struct fault *v;
	int n;
	struct rng rng;
};

struct faults *faults_new(uint64_t seed)
{
	struct faults *f = mem_new(struct faults);

	f->rng = rng_of(seed, 0xfa17, 0);
	return f;
}

void fault_clear(struct fault *f)
{
	free(f->match);
	free(f->body);
	*f = (struct fault){ 0 };
}

void faults_clear(struct faults *f)
{
	for (int i = 0; i < f->n; i++)
		fault_clear(&f->v[i]);
	free(f->v);
	f->v = NULL;
	f->n = 0;
}

void faults_free(struct faults *f)
{
	if (!f)
		return;
	faults_clear(f);
	free(f);
}

/* One key of a rule; a wrong one is refused, so that no test orders a fault that never comes. */
static int fault_key(struct fault *f, const cJSON *v)
{
	const char *key = v->string;

	if (strcmp(key, "match") == 0 && cJSON_IsString(v)) {
		free(f->match);
		f->match = mem_strdup(v->valuestring);
	} else if (strcmp(key, "body") == 0 && cJSON_IsString(v)) {
		free(f->body);
		f->body = mem_strdup(v->valuestring);
	} else if (strcmp(key, "abort") == 0 && cJSON_IsBool(v)) {
		f->abort = cJSON_IsTrue(v);
	} else if (strcmp(key, "late") == 0 && cJSON_IsBool(v)) {
		f->late = cJSON_IsTrue(v);
	} else if (!cJSON_IsNumber(v)) {
		return -EINVAL;
	} else if (strcmp(key, "account") == 0) {
		f->account = v->valueint;
	} else if (strcmp(key, "skip") == 0) {
		f->skip = v->valueint;
	} else if (strcmp(key, "times") == 0) {
		f->times = v->valueint;
	} else if (strcmp(key, "probability") == 0) {
		f->probability = v->valuedouble;
	} else if (strcmp(key, "delay_ms") == 0) {
		f->delay_ms = v->valueint;
	} else if (strcmp(key, "status") == 0 && v->valueint >= 100 && v->valueint < 600) {
		f->status = v->valueint;
	} else if (strcmp(key, "retry_after") == 0) {
		f->retry_after = v->valueint;
	} else {
		return -EINVAL;
	}
	return 0;
}

int faults_add(struct faults *f, const cJSON *rule, char problem[160])
{
	struct fault made = { .times = -1, .probability = 1.0, .retry_after = -1 };
	const cJSON *v;

	if (!cJSON_IsObject(rule)) {
		snprintf(problem, 160, "a fault is a JSON object");
		return -EINVAL;
	}
	cJSON_ArrayForEach (v, rule) {
		if (fault_key(&made, v) == 0)
			continue;
		snprintf(problem, 160, "unknown key or wrong type: %.100s", v->string);
		fault_clear(&made);
		return -EINVAL;
	}
	if (!made.match)
		made.match = mem_strdup("");
	f->v = mem_realloc(f->v, (size_t)(f->n + 1) * sizeof(*f->v));
	f->v[f->n++] = made;
	return 0;
}

static bool fault_acts(struct faults *f, struct fault *rule, const char *request_line, int account)
{
	if (rule->times == 0 || (rule->account && rule->account != account))
		return false;
	if (!strstr(request_line, rule->match))
		return false;
	if (rule->skip > 0) {
		rule->skip--;
		return false;
	}
	return rule->probability >= 1.0 || rng_unit(&f->rng) < rule->probability;
}

bool faults_take(struct faults *f, const char *request_line, int account, struct fault *out)
{
	for (int i = 0; i < f->n; i++) {
		struct fault *rule = &f->v[i];

		if (!fault_acts(f, rule, request_line, account))
			continue;
		if (rule->times > 0)
			rule->times--;
		rule->acted++;
		*out = *rule;
		out->match = NULL;
		out->body = rule->body ? mem_strdup(rule->body) : NULL;
		return true;
	}
	return false;
}

void faults_print(const struct faults *f, struct buf *out)
{
	buf_putc(out, '[');
	for (int i = 0; i < f->n; i++) {
		const struct fault *rule = &f->v[i];

		buf_puts(out, i ? ",\n{\"match\":" : "{\"match\":");
		json_quote(out, rule->match, strlen(rule->match));
		buf_printf(out, ",\"status\":%d,\"times_left\":%d,\"acted\":%d}", rule->status,
			   rule->times, rule->acted);
	}
	buf_putc(out, ']');
}
