#include <string.h>

#include "common/base/secret.h"
#include "drivers/kit/auth.h"
#include "scheduler/cli/cli.h"

#define CREDENTIALS_MAX_BYTES (64 * 1024)

static int no_credentials(const struct cli *c, const struct manifest *m)
{
	struct buf needs = BUF_INIT;
	int rc;

	for (int i = 0; i < m->auth.n_needs; i++)
		buf_printf(&needs, "%s\"%s\": …", i ? ", " : "", m->auth.needs[i]);
	rc = cli_misused(c,
			 "%s needs credentials: give --credentials FILE (or - for stdin) with"
			 " a JSON"
			 " object {%s}",
			 m->partner, buf_str(&needs));
	buf_clear(&needs);
	return rc;
}

/* Nothing of the content is ever printed: a broken secret is a secret. */
static int check(const struct cli *c, const struct manifest *m, bool app, const char *file,
		 const struct buf *text)
{
	struct json_error why = { 0 };
	struct err err = { 0 };
	cJSON *tree = NULL;
	int rc = json_parse(buf_str(text), text->len, CREDENTIALS_MAX_BYTES, &tree, &why);

	if (rc < 0)
		return cli_misused(c, "--credentials: %s is not JSON, at line %d column %d", file,
				   why.line, why.column);
	if (!cJSON_IsObject(tree))
		rc = cli_misused(c, "--credentials: %s holds no JSON object", file);
	else if (!app && auth_credentials_check(m, tree, &err) < 0)
		rc = cli_misused(c, "--credentials: %s", err.text);
	json_zero(tree);
	cJSON_Delete(tree);
	return rc;
}

int credentials_read(const struct cli *c, const struct manifest *m, bool app, const char *file,
		     struct secret *out)
{
	struct buf text = BUF_INIT;
	int rc;

	if (!file)
		return m->auth.n_needs && !app ? no_credentials(c, m) : 0;
	rc = read_input(c, "--credentials", file, CREDENTIALS_MAX_BYTES, &text);
	if (rc == 0)
		rc = check(c, m, app, file, &text);
	if (rc == 0)
		secret_set(out, text.data, text.len);
	secret_free_buf(&text);
	return rc;
}
