/* An exchange as it goes into a dead letter.  Secrets are taken out three times: headers and parameters by their name,
 * fields of JSON, XML and form bodies by their name, and every registered value wherever it stands. */
#include "drivers/kit/call_door.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "drivers/kit/exchange_xml.h"

#define BODY_SHOWN_BYTES 4096
#define BODY_MARGIN_BYTES 4096 /* the longest secret that a cut through it can't show a part of */
#define BODY_READ_BYTES (64 * 1024)
#define NAME_MAX_BYTES 64

/* As they are once lower-cased and without '-', '_' and 'x-' before them. */
static const char *const secret_names[] = {
	"authorization",
	"proxyauthorization",
	"cookie",
	"setcookie",
	"apikey",
	"authtoken",
	"accesstoken",
	"refreshtoken",
	"idtoken",
	"clientsecret",
	"secret",
	"secretkey",
	"webhooksecret",
	"password",
	"passwd",
	"pwd",
	"token",
	"bearer",
	"clientassertion",
	"privatekey",
	"accesskey",
	"signature",
	"authkey",
	"apitoken",
	"apisecret",
	"sessiontoken",
	"codeverifier",
	"assertion",
	"credentials",
	"cardnumber",
	"creditcardnumber",
	"cvv",
	"cvc",
	"cvv2",
	"cvc2",
	"cardcvc",
	"securitycode",
	"seriescode",
	"messagepassword",
};

static bool name_is_secret(const char *name, size_t len)
{
	char plain[NAME_MAX_BYTES];
	size_t n = 0;

	if (len > 2 && strncasecmp(name, "x-", 2) == 0) {
		name += 2;
		len -= 2;
	}
	for (size_t i = 0; i < len && n < sizeof(plain) - 1; i++)
		if (name[i] != '-' && name[i] != '_')
			plain[n++] = (char)tolower((unsigned char)name[i]);
	plain[n] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(secret_names); i++)
		if (strcmp(plain, secret_names[i]) == 0)
			return true;
	return false;
}

static bool name_is_credential(const struct manifest *m, const char *name, size_t len)
{
	const char *own = m->auth.kind == AUTH_NONE ? NULL : m->auth.name;

	if (own && strlen(own) == len && strncasecmp(own, name, len) == 0)
		return true;
	for (int i = 0; i < m->auth.n_needs; i++) {
		const char *need = m->auth.needs[i];

		if (strlen(need) == len && strncasecmp(need, name, len) == 0 &&
		    strcmp(need, "client_id") != 0 && strcmp(need, "username") != 0)
			return true;
	}
	return name_is_secret(name, len);
}

bool exchange_hides(const struct manifest *m, const char *name)
{
	return name_is_credential(m, name, strlen(name));
}

static size_t skip_space(const char *s, size_t i, size_t len)
{
	while (i < len && isspace((unsigned char)s[i]))
		i++;
	return i;
}

/* From the opening quote to after the closing one, or to the end of a text that was cut. */
static size_t skip_string(const char *s, size_t i, size_t len)
{
	for (i++; i < len && s[i] != '"'; i++)
		if (s[i] == '\\')
			i++;
	return i < len ? i + 1 : len;
}

static size_t skip_scalar(const char *s, size_t i, size_t len)
{
	if (i < len && s[i] == '"')
		return skip_string(s, i, len);
	while (i < len && !strchr(",}] \t\r\n", s[i]))
		i++;
	return i;
}

/* Textual, since the body may be cut or broken: "name": scalar -> "name": "***". */
static void redact_json(const struct manifest *m, const char *s, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len;) {
		size_t end, colon, value;

		if (s[i] != '"') {
			buf_putc(out, s[i++]);
			continue;
		}
		end = skip_string(s, i, len);
		buf_append(out, s + i, end - i);
		colon = skip_space(s, end, len);
		if (end - i < 2 || colon >= len || s[colon] != ':' ||
		    !name_is_credential(m, s + i + 1, end - i - 2)) {
			i = end;
			continue;
		}
		value = skip_space(s, colon + 1, len);
		i = value;
		if (value < len && s[value] != '{' && s[value] != '[') {
			buf_puts(out, ":\"***\"");
			i = skip_scalar(s, value, len);
		} else {
			buf_putc(out, ':');
		}
	}
}

/* name=value&name=value, as in a form or after the ? of a URL. */
static void redact_pairs(const struct manifest *m, const char *s, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len;) {
		const char *amp = memchr(s + i, '&', len - i);
		size_t end = amp ? (size_t)(amp - s) : len;
		const char *eq = memchr(s + i, '=', end - i);

		if (eq && name_is_credential(m, s + i, (size_t)(eq - s) - i)) {
			buf_append(out, s + i, (size_t)(eq - s) - i + 1);
			buf_puts(out, "***");
		} else {
			buf_append(out, s + i, end - i);
		}
		if (amp)
			buf_putc(out, '&');
		i = end + 1;
	}
}

static bool looks_like_form(const char *s, size_t len)
{
	return len > 0 && memchr(s, '=', len) && !memchr(s, '{', len) && !memchr(s, '<', len) &&
	       !memchr(s, ' ', len);
}

static bool name_hides(const char *name, size_t len, void *m)
{
	return name_is_credential(m, name, len);
}

/* XML may carry JSON in its text, and an error page scripts. */
static void redact_tree(const struct manifest *m, const struct buf *known, struct buf *clean)
{
	struct buf text = BUF_INIT;

	if (looks_like_xml(known->data, known->len)) {
		xml_hide(known->data, known->len, name_hides, (void *)m, &text);
		redact_json(m, buf_str(&text), text.len, clean);
	} else {
		redact_json(m, known->data, known->len, clean);
	}
	secret_free_buf(&text);
}

static void append_body(const struct manifest *m, const char *s, size_t len, struct buf *out)
{
	size_t read = len < BODY_READ_BYTES ? len : BODY_READ_BYTES, shown;
	struct buf known = BUF_INIT, clean = BUF_INIT;

	buf_append(&known, s, read);
	secret_redact(&known);
	if (looks_like_form(known.data, known.len))
		redact_pairs(m, known.data, known.len, &clean);
	else
		redact_tree(m, &known, &clean);
	shown = clean.len;
	if (read < len)
		shown = shown > BODY_MARGIN_BYTES ? shown - BODY_MARGIN_BYTES : 0;
	if (shown > BODY_SHOWN_BYTES)
		shown = BODY_SHOWN_BYTES;
	/* not through a character */
	while (shown > 0 && shown < clean.len && ((unsigned char)clean.data[shown] & 0xc0) == 0x80)
		shown--;
	json_quote(out, buf_str(&clean), shown);
	secret_free_buf(&known);
	secret_free_buf(&clean);
}

/* Before it is quoted: a secret that stands escaped in the text would be escaped twice, which nobody finds. */
static void append_safe(const char *s, struct buf *out)
{
	struct buf clean = BUF_INIT;

	buf_puts(&clean, s);
	secret_redact(&clean);
	json_quote(out, buf_str(&clean), clean.len);
	secret_free_buf(&clean);
}

static void append_header(const struct manifest *m, const char *name, const char *value, bool first,
			  struct buf *out)
{
	if (!first)
		buf_putc(out, ',');
	json_quote(out, name, strlen(name));
	buf_putc(out, ':');
	if (name_is_credential(m, name, strlen(name)))
		buf_puts(out, "\"***\"");
	else
		append_safe(value, out);
}

static void append_response_headers(const struct manifest *m, const struct http_response *h,
				    struct buf *out)
{
	const char *p = h->headers.data, *end = p ? p + h->headers.len : NULL;
	bool first = true;

	buf_putc(out, '{');
	while (p && p < end) {
		const char *value = p + strlen(p) + 1;

		if (value >= end)
			break;
		append_header(m, p, value, first, out);
		first = false;
		p = value + strlen(value) + 1;
	}
	buf_putc(out, '}');
}

static void append_url(const struct caller *c, const struct route *r, const struct call_spec *spec,
		       struct buf *out)
{
	const struct manifest *m = c->driver->manifest;
	bool in_path = m->auth.place == AUTH_IN_PATH;
	bool in_url = m->auth.kind != AUTH_NONE && (in_path || m->auth.place == AUTH_IN_QUERY) &&
		      !spec->no_auth;
	const char *name = in_path ? "" : m->auth.name;
	struct buf url = BUF_INIT, clean = BUF_INIT;
	const char *mark;

	if (!r || route_url(r, spec, in_url ? name : NULL, "***", &url, NULL) < 0) {
		buf_reset(&url);
		buf_puts(&url, spec->path);
	}
	mark = memchr(buf_str(&url), '?', url.len);
	if (mark) {
		size_t head = (size_t)(mark - url.data) + 1;

		buf_append(&clean, url.data, head);
		redact_pairs(m, url.data + head, url.len - head, &clean);
	} else {
		buf_append(&clean, buf_str(&url), url.len);
	}
	secret_redact(&clean);
	json_quote(out, buf_str(&clean), clean.len);
	secret_free_buf(&url);
	secret_free_buf(&clean);
}

static void append_request(const struct caller *c, const struct route *r,
			   const struct call_spec *spec, struct buf *out)
{
	const struct manifest *m = c->driver->manifest;

	buf_puts(out, "\"method\":");
	json_quote(out, spec->method, strlen(spec->method));
	buf_puts(out, ",\"url\":");
	append_url(c, r, spec, out);
	buf_puts(out, ",\"endpoint\":");
	json_quote(out, spec->endpoint, strlen(spec->endpoint));
	buf_puts(out, ",\"request_headers\":{");
	for (int i = 0; r && i < r->n_headers; i++)
		append_header(m, r->headers[i].name, r->headers[i].value, i == 0, out);
	if (m->auth.kind != AUTH_NONE && m->auth.place != AUTH_IN_QUERY &&
	    m->auth.place != AUTH_IN_PATH && !spec->no_auth) {
		const char *name = m->auth.name ? m->auth.name : "Authorization";

		append_header(m, m->auth.place == AUTH_IN_COOKIE ? "Cookie" : name, "***",
			      !r || r->n_headers == 0, out);
	}
	buf_putc(out, '}');
	if (spec->body) {
		buf_puts(out, ",\"request_body\":");
		append_body(m, spec->body, spec->body_len, out);
	}
}

static void append_response(const struct manifest *m, const struct http_response *h,
			    struct buf *out)
{
	buf_printf(out, ",\"status\":%d", h->status);
	if (h->failure) {
		buf_puts(out, ",\"failure\":");
		json_quote(out, h->failure, strlen(h->failure));
		buf_puts(out, ",\"detail\":");
		append_safe(h->detail, out);
	}
	buf_printf(out, ",\"duration_ms\":%lld,\"response_headers\":", (long long)h->duration_ms);
	append_response_headers(m, h, out);
	buf_printf(out, ",\"response_bytes\":%zu,\"response_body\":", h->body.len);
	append_body(m, buf_str(&h->body), h->body.len, out);
}

void call_exchange_print(const struct caller *c, const struct call_spec *spec,
			 const struct call_result *r, struct buf *out)
{
	struct caller self = *c;
	struct route *route = NULL;
	struct buf text = BUF_INIT;

	if (route_get(&self, &route, NULL) < 0)
		route = NULL;
	buf_putc(&text, '{');
	append_request(c, route, spec, &text);
	append_response(c->driver->manifest, &r->http, &text);
	buf_putc(&text, '}');
	secret_redact(&text);
	buf_append(out, buf_str(&text), text.len);
	secret_free_buf(&text);
	route_put(route);
}
