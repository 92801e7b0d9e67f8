#include "scheduler/oauth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/io/target.h"
#include "common/store/store.h"
#include "drivers/kit/auth_authorize.h"

#define START "/oauth/start/"
#define CALLBACK "/oauth/callback"
#define COOKIE "longshore-browser"
#define COOKIE_S 3600
#define STEP_MS 10000
#define NAME_MS 2000 /* a name that is not looked up within this is not known here */
#define TEXT_MAX 300 /* of what a partner says, on a page */

static struct side {
	struct scheduler *s;
	bool outside;
} sides[2];

/* ---- pages ---- */

static void escape(struct buf *out, const char *s)
{
	for (size_t n = 0; *s && n < TEXT_MAX; s++, n++) {
		switch (*s) {
		case '&':
			buf_puts(out, "&amp;");
			break;
		case '<':
			buf_puts(out, "&lt;");
			break;
		case '>':
			buf_puts(out, "&gt;");
			break;
		case '"':
			buf_puts(out, "&quot;");
			break;
		default:
			buf_putc(out, *s);
		}
	}
}

/* The address of the page holds a code or a ticket: it goes no further. */
static void no_traces(struct httpd_request *q)
{
	httpd_add_header(q, "Cache-Control", "no-store");
	httpd_add_header(q, "Referrer-Policy", "no-referrer");
	httpd_add_header(q, "X-Content-Type-Options", "nosniff");
}

static void page(struct httpd_request *q, int status, const char *title, const char *text)
{
	struct buf out = BUF_INIT, clean = BUF_INIT;

	utf8_append_clean(&clean, text, strlen(text));
	buf_puts(&out,
		 "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Longshore"
		 "</title><body style=\"font:1.1em sans-serif;max-width:40em;margin:4em auto\">"
		 "<h1>");
	escape(&out, title);
	buf_puts(&out, "</h1><p>");
	escape(&out, buf_str(&clean));
	buf_puts(&out, "</p></body></html>\n");
	no_traces(q);
	httpd_add_header(q, "Content-Security-Policy",
			 "default-src 'none'; style-src 'unsafe-inline'");
	httpd_reply(q, status, "text/html; charset=utf-8", out.data, out.len);
	buf_clear(&out);
	buf_clear(&clean);
}

static void page_error(struct httpd_request *q, int rc, const struct err *err)
{
	bool ours = rc == -ECONNRESET || rc == -ETIMEDOUT || rc == -ENOKEY;

	page(q,
	     rc == -ENOENT   ? 404
	     : rc == -EACCES ? 403
	     : ours          ? 503
			     : 502,
	     "It did not work", err->text[0] ? err->text : "Please try again later.");
}

/* ---- who it is about ---- */

struct about {
	struct integration integration;
	const struct driver *driver;
	struct caller caller;
};

static int about_get(struct scheduler *s, int64_t id, struct about *out, struct err *err)
{
	int rc = integration_get(s->pg, id, &out->integration, err);

	if (rc == -ENOENT)
		err_set(err, rc, ERR_CLIENT, "integration", "There is no such integration.");
	if (rc < 0)
		return rc;
	out->driver = driver_find(s->drivers, out->integration.partner);
	if (!s->keyring)
		rc = err_set(err, -ENOKEY, ERR_INTERNAL, "secret key",
			     "The scheduler has no secret key (LONGSHORE_SECRET_KEY_FILE).");
	else if (!out->driver || out->driver->manifest->auth.kind != AUTH_OAUTH2_CODE)
		rc = err_set(err, -ENOENT, ERR_CLIENT, "integration",
			     "There is nothing to sign in to for this integration.");
	if (rc < 0) {
		integration_clear(&out->integration);
		return rc;
	}
	out->caller = (struct caller){ .door = s->door,
				       .driver = out->driver,
				       .integration = &out->integration,
				       .high = true };
	return 0;
}

static bool id_of(const char *text, int64_t *id)
{
	char *end;

	errno = 0;
	*id = strtoll(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && errno == 0 && *id > 0;
}

/* ---- there ---- */

static int may_start(const struct side *side, int64_t id, struct httpd_request *q, struct err *err)
{
	const char *ticket = httpd_query(q, "ticket");

	if (!side->outside && !ticket)
		return 0;
	return authorize_ticket_check(side->s->redis, id, ticket ? ticket : "", err);
}

/* The browser's name, as its cookie has it.  false: it has none. */
static bool browser_of(struct httpd_request *q, char out[AUTHORIZE_TOKEN_BYTES])
{
	const char *all = httpd_header(q, "cookie"), *at = all;
	size_t n = sizeof(COOKIE "=") - 1;

	while (at && (at = strstr(at, COOKIE "=")) != NULL && at != all && at[-1] != ' ' &&
	       at[-1] != ';')
		at += n;
	if (!at || strcspn(at + n, "; ") != AUTHORIZE_TOKEN_BYTES - 1)
		return false;
	memcpy(out, at + n, AUTHORIZE_TOKEN_BYTES - 1);
	out[AUTHORIZE_TOKEN_BYTES - 1] = '\0';
	return out[strspn(out,
			  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")] ==
	       '\0';
}

/* One that signs in twice at a time keeps its name; Lax: it comes back by a link from the partner. */
static void name_browser(const struct scheduler *s, struct httpd_request *q,
			 char out[AUTHORIZE_TOKEN_BYTES])
{
	bool tls = !strncmp(s->public_url, "https://", 8);
	char *cookie;

	if (!browser_of(q, out))
		authorize_browser_new(out);
	cookie = mem_printf(COOKIE "=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%s", out,
			    COOKIE_S, tls ? "; Secure" : "");
	httpd_add_header(q, "Set-Cookie", cookie);
	free(cookie);
}

/* The cookie must be of the host that the partner sends people back to. */
static int go_outside(struct scheduler *s, int64_t id, struct buf *url, struct err *err)
{
	char ticket[AUTHORIZE_TOKEN_BYTES];
	int rc = authorize_ticket_new(s->redis, id, ticket, err);

	if (rc == 0)
		buf_printf(url, "%s" START "%lld?ticket=%s", s->public_url, (long long)id, ticket);
	return rc;
}

static int begin(struct scheduler *s, struct about *a, struct httpd_request *q, struct buf *url,
		 struct err *err)
{
	struct buf back = BUF_INIT;
	char browser[AUTHORIZE_TOKEN_BYTES];
	int rc;

	buf_printf(&back, "%s" CALLBACK, s->public_url);
	name_browser(s, q, browser);
	rc = authorize_begin(&a->caller, back.data, browser, url, err);
	buf_clear(&back);
	return rc;
}

static int start_url(struct scheduler *s, int64_t id, struct httpd_request *q, struct buf *url,
		     struct err *err)
{
	struct about a;
	int rc;

	if (!s->public_url)
		return err_set(err, -ENOKEY, ERR_INTERNAL, "public url",
			       "The scheduler does not know its own address: --public-url or"
			       " LONGSHORE_PUBLIC_URL.");
	if (target_check(s->public_url, loop_now_ms() + NAME_MS, err) == -EACCES)
		return -ENOKEY;
	rc = about_get(s, id, &a, err);
	if (rc < 0)
		return rc;
	rc = httpd_query(q, "ticket") ? begin(s, &a, q, url, err) : go_outside(s, id, url, err);
	integration_clear(&a.integration);
	return rc;
}

static void start(struct httpd_request *q, void *arg)
{
	const struct side *side = arg;
	struct buf url = BUF_INIT;
	struct err err = { 0 };
	int64_t id = 0;
	int rc = -ENOENT;

	if (id_of(httpd_path(q) + strlen(START), &id))
		rc = may_start(side, id, q, &err);
	if (rc == 0)
		rc = start_url(side->s, id, q, &url, &err);
	if (rc == 0) {
		no_traces(q);
		httpd_add_header(q, "Location", url.data);
		httpd_reply_text(q, 302, "See the address in Location.\n");
	} else {
		log_event(LOG_WARN, "oauth_start_refused", LI("integration_id", id),
			  LS("reason", err.text));
		page_error(q, rc, &err);
	}
	buf_clear(&url);
}

/* ---- and back ---- */

static int accept_code(struct scheduler *s, const struct authorize_state *state, const char *code,
		       struct err *err)
{
	struct about a;
	int rc = about_get(s, state->integration, &a, err);

	if (rc < 0)
		return rc;
	rc = authorize_code(&a.caller, state, code, err);
	if (rc == 0)
		rc = auth_mended(s->redis, s->pg, a.driver, state->integration,
				 loop_now_ms() + STEP_MS, err);
	integration_clear(&a.integration);
	return rc;
}

/* The state is used up whatever comes of it. */
static int come_back(struct scheduler *s, struct httpd_request *q, int64_t *id, struct err *err)
{
	const char *state = httpd_query(q, "state"), *code = httpd_query(q, "code"),
		   *error = httpd_query(q, "error"), *why = httpd_query(q, "error_description");
	struct authorize_state st = { 0 };
	char browser[AUTHORIZE_TOKEN_BYTES];
	int rc = authorize_take(s->redis, s->keyring, state ? state : "", &st, err);

	if (rc < 0)
		return rc;
	*id = st.integration;
	if (!browser_of(q, browser) || strcmp(browser, st.browser) != 0)
		rc = err_set(err, -EACCES, ERR_AUTH, "browser",
			     "This sign-in was begun in another browser, or cookies are off: open"
			     " the link again, here.");
	else if (error)
		rc = err_set(err, -EACCES, ERR_AUTH, "oauth", "The partner says: %s%s%s", error,
			     why ? ": " : "", why ? why : "");
	else if (!code || !*code)
		rc = err_set(err, -EACCES, ERR_AUTH, "oauth", "The partner sent no code.");
	else
		rc = accept_code(s, &st, code, err);
	authorize_state_clear(&st);
	return rc;
}

static void callback(struct httpd_request *q, void *arg)
{
	const struct side *side = arg;
	struct err err = { 0 };
	int64_t id = 0;
	int rc = come_back(side->s, q, &id, &err);

	if (rc == 0) {
		log_event(LOG_INFO, "oauth_done", LI("integration_id", id));
		page(q, 200, "Done", "The account is connected. You may close this page.");
	} else {
		log_event(LOG_WARN, "oauth_failed", LI("integration_id", id),
			  LS("reason", err.text));
		page_error(q, rc, &err);
	}
}

void oauth_routes(struct scheduler *s, struct httpd *h, bool outside)
{
	struct side *side = &sides[outside];

	*side = (struct side){ s, outside };
	httpd_route(h, "GET", START, start, side);
	httpd_route(h, "GET", CALLBACK, callback, side);
}
