/* What partners whose calls change something hold in the end: every record that was ever made, in order, so that a test can say that none
 * was made twice.  Nothing here waits. */
#ifndef TESTS_SANDBOX_BOOKS_H
#define TESTS_SANDBOX_BOOKS_H

#include "tests/sandbox/exchange.h"

/* {"tickets": […], "payments": […], …}; the trees are the books'. */
cJSON *books_add(const char *kind, const char *prefix,
		 int account); /* with "id" PREFIX-N and "account" */
cJSON *books_find(const char *kind, int account, const char *id); /* NULL */
const cJSON *books_all(const char *kind);
void books_print(struct buf *out);
/* GET and POST /_control/books: all of it; {"kind", "id", "fields"} changes a record, as the partner's own people would. */
void books_routes(struct httpd *h, struct sandbox *s);
void books_free(void);

/* A whole answer that was given under an idempotency key. */
struct stored_answer {
	int status;
	char *body;
};
/* NULL: there is none. *other: it was for another request. */
const struct stored_answer *books_answer(int account, const char *key, const char *request,
					 size_t len, bool *other);
void books_keep_answer(int account, const char *key, const char *request, size_t len, int status,
		       const char *body);

void maintenance_routes(struct httpd *h, struct sandbox *s);
void stripe_routes(struct httpd *h, struct sandbox *s);
void messengers_routes(struct httpd *h, struct sandbox *s); /* SendGrid, Twilio, Slack, FCM */

#endif
