/* Faults to order.  A rule matches requests whose "METHOD /path?query" contains `match`; the first rule
 * that matches and is not used up decides.  Nothing here waits. */
#ifndef TESTS_SANDBOX_FAULTS_H
#define TESTS_SANDBOX_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/json.h"

struct fault {
	char *match;         /* "" matches all */
	int account;         /* 0 = any; else only requests with this account's token */
	int skip;            /* matches to let pass first */
	int times;           /* how often; -1 = until deleted */
	double probability;  /* of acting once it matches; 1 */
	int64_t delay_ms;    /* before anything else happens */
	int status;          /* 0 = the ordinary answer (after the delay) */
	char *body;          /* with status, or replacing the ordinary body (status 0) */
	int64_t retry_after; /* seconds; -1 = no header */
	bool abort;          /* close the connection without an answer */
	bool late; /* with abort or status: the work is done first, only its answer is lost */
	int acted;
};

struct faults;

struct faults *faults_new(uint64_t seed);
void faults_free(struct faults *f);
void faults_clear(struct faults *f);
/* Adds a rule from its JSON object.  0, or -EINVAL with a text. */
int faults_add(struct faults *f, const cJSON *rule, char problem[160])
	__attribute__((warn_unused_result));
/* The rule that acts on this request, counted, or NULL.  Copied: deleting rules does not disturb who waits; body is owned by the copy. */
bool faults_take(struct faults *f, const char *request_line, int account, struct fault *out);
void fault_clear(struct fault *f);
void faults_print(const struct faults *f, struct buf *out);

#endif
