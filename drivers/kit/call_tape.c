/* The door's end of a tape: a call as it is written down.  What is secret goes before it is kept: headers, parameters and fields by
 * their name, registered values wherever they stand, a token where the manifest says that it is.  So does the host: {base} and
 * {root} stand for it in requests, the manifest's own in answers. */
#include "drivers/kit/call_door.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "common/base/secret.h"
#include "drivers/kit/charset.h"
#include "drivers/kit/drop.h"
#include "drivers/kit/exchange_xml.h"
#include "drivers/kit/tape.h"

#define MASK "***"

/* ---- secrets ---- */

struct mask {
	const struct manifest *m;
	const struct route *route;
};

/* Also what a credential has that is no secret, a client's id or a user's name: a cassette is for everybody. */
static bool hides(const struct mask *k, const char *name)
{
	for (int i = 0; i < k->m->auth.n_needs; i++)
		if (strcmp(k->m->auth.needs[i], name) == 0)
			return true;
	return exchange_hides(k->m, name);
}

static void set_text(cJSON *v, const char *text)
{
	free(v->valuestring);
	v->valuestring = mem_strdup(text);
	v->type = (v->type & ~0xff) | cJSON_String;
}

static size_t origin_len(const char *url)
{
	const char *host = url ? strstr(url, "://") : NULL;

	return host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : 0;
}

/* Where the integration called another host, answers speak of that one. */
static void append_unmoved(const struct mask *k, const char *s, struct buf *out)
{
	const char *root = buf_str(&k->route->roots.root), *own = k->m->base_production, *hit;

	while (*root && (hit = strstr(s, root))) {
		buf_append(out, s, (size_t)(hit - s));
		buf_append(out, own, origin_len(own));
		s = hit + strlen(root);
	}
	buf_puts(out, s);
}

static void mask_text(const struct mask *k, cJSON *v)
{
	struct buf text = BUF_INIT;

	append_unmoved(k, v->valuestring, &text);
	secret_redact(&text);
	if (strcmp(buf_str(&text), v->valuestring) != 0)
		set_text(v, buf_str(&text));
	secret_free_buf(&text);
}

static void mask_tree(const struct mask *k, cJSON *v)
{
	for (; v; v = v->next) {
		bool scalar = cJSON_IsString(v) || cJSON_IsNumber(v);

		if (scalar && v->string && hides(k, v->string))
			set_text(v, MASK);
		else if (cJSON_IsString(v))
			mask_text(k, v);
		mask_tree(k, v->child);
	}
}

static bool name_hides(const char *name, size_t len, void *k)
{
	char *text = mem_strndup(name, len);
	bool yes = hides(k, text);

	free(text);
	return yes;
}

static void mask_xml(struct mask k, const cJSON *message)
{
	cJSON *body = cJSON_GetObjectItemCaseSensitive(message, "text");
	struct buf out = BUF_INIT;

	if (!body || !looks_like_xml(body->valuestring, strlen(body->valuestring)))
		return;
	xml_hide(body->valuestring, strlen(body->valuestring), name_hides, &k, &out);
	set_text(body, buf_str(&out));
	secret_free_buf(&out);
}

/* "a=b&c=d", as forms and queries have it. */
static void mask_form(const struct mask *k, cJSON *body)
{
	struct buf out = BUF_INIT;
	const char *s = body->valuestring;

	while (*s) {
		size_t pair = strcspn(s, "&"), name = strcspn(s, "=&");
		char *key = mem_strndup(s, name);

		buf_append(&out, s, name < pair ? name + 1 : pair);
		if (name < pair && hides(k, key))
			buf_puts(&out, MASK);
		else if (name < pair)
			buf_append(&out, s + name + 1, pair - name - 1);
		s += pair;
		if (*s)
			buf_putc(&out, *s++);
		free(key);
	}
	set_text(body, buf_str(&out));
	secret_free_buf(&out);
}

static void mask_at(const cJSON *json, const char *path)
{
	const cJSON *token = json && path ? json_path(json, path) : NULL;

	if (token && cJSON_IsString(token))
		set_text((cJSON *)token, MASK); /* the tree is ours */
}

static void mask_token(const struct manifest *m, const cJSON *response)
{
	const cJSON *json = cJSON_GetObjectItemCaseSensitive(response, "json");

	mask_at(json, m->auth.token_path ? m->auth.token_path : "access_token");
	mask_at(json, m->auth.refresh.token);
}

/* ---- the request ---- */

static int hex_value(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
	       : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
					    : -1;
}

static void append_decoded(const char *s, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++) {
		int high = s[i] == '%' && i + 2 < len ? hex_value(s[i + 1]) : -1;
		int low = high >= 0 ? hex_value(s[i + 2]) : -1;

		if (low >= 0 && high * 16 + low > 0) {
			buf_putc(out, (char)(high * 16 + low));
			i += 2;
		} else {
			buf_putc(out, s[i]);
		}
	}
}

/* A name that is there twice has a list. */
static void add_pair(cJSON *query, const char *name, const char *value)
{
	cJSON *there = cJSON_GetObjectItemCaseSensitive(query, name), *list;

	if (!there) {
		cJSON_AddStringToObject(query, name, value);
		return;
	}
	if (!cJSON_IsArray(there)) {
		list = cJSON_CreateArray();
		cJSON_AddItemToArray(list, cJSON_CreateString(there->valuestring));
		cJSON_ReplaceItemInObjectCaseSensitive(query, name, list);
		there = list;
	}
	cJSON_AddItemToArray(there, cJSON_CreateString(value));
}

static void add_query(cJSON *request, const char *s)
{
	cJSON *query = cJSON_AddObjectToObject(request, "query");

	while (*s) {
		size_t pair = strcspn(s, "&"), n = strcspn(s, "=&");
		struct buf name = BUF_INIT, value = BUF_INIT;

		append_decoded(s, n, &name);
		if (n < pair)
			append_decoded(s + n + 1, pair - n - 1, &value);
		if (name.len && utf8_is_valid(name.data, name.len) &&
		    utf8_is_valid(buf_str(&value), value.len))
			add_pair(query, name.data, buf_str(&value));
		s += pair + (s[pair] == '&');
		buf_clear(&name);
		secret_free_buf(&value);
	}
}

static bool begins(const char *s, const struct buf *with)
{
	return with->len && strncmp(s, with->data, with->len) == 0 &&
	       strchr("/?", s[with->len]); /* or its end */
}

static void add_url(cJSON *request, const struct route *r, const char *url)
{
	struct buf text = BUF_INIT;
	const char *rest = url, *mark;

	if (begins(url, &r->roots.base)) {
		buf_puts(&text, "{base}");
		rest += r->roots.base.len;
	} else if (begins(url, &r->roots.root)) {
		buf_puts(&text, "{root}");
		rest += r->roots.root.len;
	}
	mark = strchr(rest, '?');
	buf_append(&text, rest, mark ? (size_t)(mark - rest) : strlen(rest));
	cJSON_AddStringToObject(request, "url", buf_str(&text));
	add_query(request, mark ? mark + 1 : "");
	buf_clear(&text);
}

/* The manifest's own, which a partner may tell versions by; not those that every call has. */
static void add_headers(cJSON *request, const struct exchange *x)
{
	const struct manifest_pairs *own = &x->route->driver->manifest->headers;
	cJSON *headers = cJSON_AddObjectToObject(request, "headers");

	for (int i = 0; i < x->route->n_headers; i++)
		for (int k = 0; k < own->n; k++)
			if (strcasecmp(own->v[k].name, x->route->headers[i].name) == 0)
				cJSON_AddStringToObject(headers, own->v[k].name,
							x->route->headers[i].value);
	if (x->spec->content_type)
		cJSON_AddStringToObject(headers, "Content-Type", x->spec->content_type);
}

static cJSON *request_of(const struct exchange *x, const char *url)
{
	const struct mask k = { x->route->driver->manifest, x->route };
	cJSON *request = cJSON_CreateObject(), *text;

	cJSON_AddStringToObject(request, "method", x->spec->method);
	cJSON_AddStringToObject(request, "endpoint", x->spec->endpoint);
	add_url(request, x->route, url);
	add_headers(request, x);
	if (x->spec->mail_to) {
		cJSON *mail = cJSON_AddObjectToObject(request, "mail");

		cJSON_AddStringToObject(mail, "from", x->spec->mail_from);
		cJSON_AddStringToObject(mail, "to", x->spec->mail_to);
	}
	if (x->spec->body)
		tape_add_body(request, x->spec->body, x->spec->body_len);
	text = cJSON_GetObjectItemCaseSensitive(request, "text");
	if (text && x->spec->content_type && strstr(x->spec->content_type, "form-urlencoded"))
		mask_form(&k, text);
	mask_xml(k, request);
	mask_tree(&k, request->child);
	return request;
}

/* ---- both ---- */

/* As it is read: what is not UTF-8 is mended where the door mends it, or nobody could look for what is personal in it. */
static cJSON *response_of(const struct manifest *m, const struct http_response *h)
{
	struct http_response as_read = *h;
	struct buf mended = BUF_INIT;
	const char *how;
	cJSON *v;

	if (m->format != FORMAT_XML && !m->hooks.decode_body && h->body.len &&
	    charset_mend(http_response_header(h, "content-type"), h->body.data, h->body.len,
			 &mended, &how))
		as_read.body = mended;
	v = tape_response_print(&as_read);
	secret_free_buf(&mended);
	return v;
}

static void keep(struct tape *t, const struct exchange *x, const struct http_request *q,
		 cJSON *request, const struct call_result *r)
{
	const struct mask k = { x->route->driver->manifest, x->route };
	cJSON *exchange = cJSON_CreateObject();
	cJSON *response = q->mail ? tape_dialogue_print(q->mail->dialogue, &r->http)
				  : response_of(k.m, &r->http);

	if (x->at_token_url)
		mask_token(k.m, response);
	mask_xml(k, response);
	mask_tree(&k, response->child);
	cJSON_AddItemToObject(exchange, "request", request);
	cJSON_AddItemToObject(exchange, "response", response);
	tape_keep(t, exchange, x->at_token_url);
}

/* As it would be without a credential in it. */
static int plain_request(const struct exchange *x, cJSON **out, struct err *err)
{
	struct buf url = BUF_INIT;
	int rc = route_url(x->route, x->spec, NULL, NULL, &url, err);

	if (rc == 0)
		*out = request_of(x, buf_str(&url));
	buf_clear(&url);
	return rc;
}

int exchange_pass(struct caller *c, const struct exchange *x, const struct http_request *q,
		  struct call_result *r, struct err *err)
{
	struct tape *t = c->door->tape;
	cJSON *request = NULL;
	int rc = t ? plain_request(x, &request, err) : 0;

	if (rc < 0)
		return rc;
	if (tape_replays(t))
		rc = q->mail ? tape_answer_mail(t, request, q, &r->http, err)
			     : tape_answer(t, request, &r->http, err);
	else
		rc = chaos_send(c, x, q, &r->http);
	/* before anybody has seen it: tape, log, dead letter, rows */
	drop_elements(x->route->driver->manifest->drop, x->route->driver->manifest->n_drop,
		      &r->http.body);
	if (rc == 0 && t && !tape_replays(t))
		keep(t, x, q, request, r); /* takes the request */
	else
		cJSON_Delete(request);
	return rc;
}

int64_t door_now_us(const struct door *d)
{
	return tape_replays(d->tape) ? tape_now_us(d->tape) : redis_now_us(d->redis);
}

int64_t door_now_ms(const struct door *d)
{
	return door_now_us(d) / 1000;
}

int64_t door_asked_us(const struct door *d)
{
	return d->tape ? tape_now_us(d->tape) : redis_now_us(d->redis);
}
