/* Webhooks on their way to whoever wants them; Guesty's signed by Standard Webhooks (svix-id, svix-timestamp, svix-signature), each
 * attempt anew. */
#ifndef TESTS_SANDBOX_TELL_H
#define TESTS_SANDBOX_TELL_H

#include "common/base/json.h"
#include "common/io/http.h"
#include "tests/sandbox/exchange.h"

/* Wait.  One attempt: the status of the answer, or 0; `answer` gets its body. */
int tell_send(const char *url, const struct http_header *headers, int n_headers, const char *body,
	      struct buf *answer);
int tell_once(const char *url, const char *secret, const char *id, const char *body,
	      struct buf *answer);
/* {"event", "listing" or "reservation": the item, "publishedAt"}, appended. */
void tell_body(const char *event, const char *noun, const cJSON *item, struct buf *out);
/* POST /_control/webhook; handlers of the control's kind. */
void tell_routes(struct httpd *h, struct sandbox *s);
void tell_free(void);

#endif
