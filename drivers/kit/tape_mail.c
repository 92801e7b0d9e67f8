/* Mails on a tape: their answers are dialogues, and what comes of one is found out anew each time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/mail_replay.h"
#include "drivers/kit/tape.h"

cJSON *tape_dialogue_print(const struct mail_dialogue *d, const struct http_response *r)
{
	cJSON *v = cJSON_CreateObject(), *lines = cJSON_AddArrayToObject(v, "dialogue");

	for (const char *line = buf_str(&d->lines); *line; line += strcspn(line, "\n") + 1) {
		char *text = mem_strndup(line, strcspn(line, "\n"));

		cJSON_AddItemToArray(lines, cJSON_CreateString(text));
		free(text);
	}
	if (r->status == 0 && r->failure) {
		cJSON_AddStringToObject(v, "failure", r->failure);
		cJSON_AddStringToObject(v, "detail", r->detail);
	}
	return v;
}

static int wrong(struct buf *problem, const char *where, int i, const char *what)
{
	if (i < 0)
		buf_printf(problem, "%s: %s", where, what);
	else
		buf_printf(problem, "%s[%d]: %s", where, i, what);
	return -EINVAL;
}

static int read_dialogue(const cJSON *response, struct mail_dialogue *out, struct buf *problem)
{
	const cJSON *lines = cJSON_GetObjectItemCaseSensitive(response, "dialogue"), *line;
	int i = 0;

	if (!cJSON_IsArray(lines))
		return wrong(problem, "dialogue", -1, "expected a list of lines");
	cJSON_ArrayForEach (line, lines) {
		if (i >= MAIL_DIALOGUE_LINES_MAX)
			return wrong(problem, "dialogue", i, "a dialogue has at most 1000 lines");
		if (!cJSON_IsString(line) || !mail_dialogue_add(out, line->valuestring))
			return wrong(
				problem, "dialogue", i,
				"expected a line \"C: …\" of ours or \"S: …\" of the server's, of at most 4000 bytes");
		i++;
	}
	return 0;
}

int tape_dialogue_check(const cJSON *response, struct buf *problem)
{
	static const char *const texts[] = { "failure", "detail" };
	struct mail_dialogue d = { 0 };
	int rc = read_dialogue(response, &d, problem);

	for (size_t i = 0; i < ARRAY_LEN(texts) && rc == 0; i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(response, texts[i]);

		if (v && !cJSON_IsString(v))
			rc = wrong(problem, texts[i], -1, "expected a text");
	}
	for (const cJSON *v = response->child; v && rc == 0; v = v->next)
		if (strcmp(v->string, "dialogue") != 0 && strcmp(v->string, "failure") != 0 &&
		    strcmp(v->string, "detail") != 0 && strcmp(v->string, "//") != 0)
			rc = wrong(problem, v->string, -1,
				   "a mail's answer has dialogue, failure and detail");
	mail_dialogue_clear(&d);
	return rc;
}

static int astray(struct tape *t, int i, const struct mail_replay *r, struct err *err)
{
	char *path = mem_printf("exchanges[%d].response.dialogue[%d]", i, r->line);

	tape_add_problem(t, path, buf_str(&r->problem));
	err_set(err, -ENOENT, ERR_INTERNAL, "replay", "%s: %s", path, buf_str(&r->problem));
	free(path);
	return -ENOENT;
}

int tape_answer_mail(struct tape *t, const cJSON *request, const struct http_request *q,
		     struct http_response *out, struct err *err)
{
	int i, rc;
	const cJSON *response = tape_find(t, request, &i, err);
	struct mail_dialogue d = { 0 };
	struct mail_replay r = { .dialogue = &d };

	if (!response)
		return -ENOENT;
	rc = read_dialogue(response, &d, &r.problem);
	if (rc == 0) {
		r.failure = tape_failure_word(json_str(response, "failure"));
		r.detail = json_str(response, "detail");
		rc = mail_replay(&r, q, out);
	} else {
		rc = -EBADMSG;
	}
	if (rc == -EBADMSG)
		rc = astray(t, i, &r, err);
	buf_clear(&r.problem);
	mail_dialogue_clear(&d);
	return rc;
}
