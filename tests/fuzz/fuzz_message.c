/* Templates of notifications, and addresses: a line has no line break whatever the value, HTML and mrkdwn no tag of a value's, and what is
 * taken for an address holds nothing that would end it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

/* The first line is a value, the rest the template. */
static void fill(const char *text, const cJSON *values, enum message_escape how)
{
	struct buf out = BUF_INIT;
	struct err err = { 0 };
	int rc = message_fill("x", text, how, 1000, values, &out, &err);

	need(rc == 0 || (rc == -EINVAL && *err.text));
	if (rc == 0) {
		need(out.len <= 1000);
		if (how == MESSAGE_LINE)
			need(!strpbrk(buf_str(&out), "\r\n"));
		if ((how == MESSAGE_HTML || how == MESSAGE_MRKDWN) && !strpbrk(text, "<>"))
			need(!strpbrk(buf_str(&out), "<>"));
	}
	buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup(size ? (const char *)data : "", size), *rest = strchr(text, '\n');
	cJSON *values = cJSON_CreateObject();

	if (rest)
		*rest++ = '\0';
	cJSON_AddStringToObject(values, "v", text);
	for (int how = MESSAGE_LINE; how <= MESSAGE_MRKDWN; how++)
		fill(rest ? rest : text, values, (enum message_escape)how);
	if (!message_email_problem(text))
		need(strchr(text, '@') && !strpbrk(text, " \r\n\t<>,;\"()"));
	if (!message_phone_problem(text))
		need(text[0] == '+' && !text[1 + strspn(text + 1, "0123456789")]);
	if (!message_token_problem(text))
		need(!strpbrk(text, " \r\n"));
	cJSON_Delete(values);
	free(text);
	return 0;
}
