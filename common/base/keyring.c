/* The keys, and where they come from. */
#include "common/base/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

#define FILE_MAX_BYTES 65536

void keyring_free(struct keyring *k)
{
	if (!k)
		return;
	secret_zero(k, sizeof(*k));
	free(k);
}

const struct key *keyring_find(const struct keyring *k, const char *id, size_t len)
{
	for (int i = 0; i < k->count; i++)
		if (strlen(k->keys[i].id) == len && memcmp(k->keys[i].id, id, len) == 0)
			return &k->keys[i];
	return NULL;
}

const char *keyring_id(const struct keyring *k, int i)
{
	return k && i < k->count ? k->keys[i].id : NULL;
}

bool keyring_has(const struct keyring *k, const char *id)
{
	return k && keyring_find(k, id, strlen(id)) != NULL;
}

static bool id_is_good(const char *id, size_t len)
{
	if (len == 0 || len > KEY_ID_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-",
			    id[i]) ||
		    !id[i])
			return false;
	return true;
}

/* `place` is for the message alone: "line 3 of FILE". */
static int key_add(struct keyring *k, const char *id, size_t id_len, const char *text,
		   size_t text_len, const char *place, struct err *err)
{
	struct buf raw = BUF_INIT;
	int rc = 0;

	if (!id_is_good(id, id_len))
		return err_set(err, -EINVAL, ERR_INTERNAL, "secret key",
			       "%s: a key's id is 1 to %d letters, digits, _ or -", place,
			       KEY_ID_MAX);
	if (keyring_find(k, id, id_len))
		return err_set(err, -EINVAL, ERR_INTERNAL, "secret key",
			       "%s: the id %.*s is there twice", place, (int)id_len, id);
	if (k->count == KEYRING_MAX)
		return err_set(err, -EINVAL, ERR_INTERNAL, "secret key", "%s: more than %d keys",
			       place, KEYRING_MAX);
	buf_reserve(&raw, text_len + 4); /* so that it never moves and leaves a copy */
	if (base64_decode(text, text_len, &raw) != 0)
		rc = err_set(err, -EINVAL, ERR_INTERNAL, "secret key",
			     "%s: the key is not base64; make one with: openssl rand -base64 32",
			     place);
	else if (raw.len != KEY_BYTES)
		rc = err_set(err, -EINVAL, ERR_INTERNAL, "secret key",
			     "%s: the key has %zu bytes, %d are needed; make one with: "
			     "openssl rand -base64 32",
			     place, raw.len, KEY_BYTES);
	if (rc == 0) {
		struct key *key = &k->keys[k->count++];

		memcpy(key->id, id, id_len);
		memcpy(key->bytes, raw.data, KEY_BYTES);
	}
	secret_free_buf(&raw);
	return rc;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* `id base64`, or nothing, or a comment. */
static int line_add(struct keyring *k, const char *p, const char *end, const char *place,
		    struct err *err)
{
	const char *id, *key, *id_end;

	while (p < end && is_blank(*p))
		p++;
	while (end > p && is_blank(end[-1]))
		end--;
	if (p == end || *p == '#')
		return 0;
	for (id = p; p < end && !is_blank(*p); p++)
		;
	id_end = p;
	while (p < end && is_blank(*p))
		p++;
	key = p;
	if (key == end)
		return err_set(err, -EINVAL, ERR_INTERNAL, "secret key",
			       "%s: expected an id, a space and 32 bytes in base64", place);
	return key_add(k, id, (size_t)(id_end - id), key, (size_t)(end - key), place, err);
}

static int lines_add(struct keyring *k, const struct buf *text, const char *file, struct err *err)
{
	const char *p = buf_str(text), *end = p + text->len;
	int rc = 0;

	for (int line = 1; p < end && rc == 0; line++) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		char *place = mem_printf("line %d of %s", line, file);

		rc = line_add(k, p, stop ? stop : end, place, err);
		free(place);
		p = stop ? stop + 1 : end;
	}
	if (rc == 0 && k->count == 0)
		rc = err_set(err, -ENOKEY, ERR_INTERNAL, "secret key",
			     "%s holds no key; add a line: k1 $(openssl rand -base64 32)", file);
	return rc;
}

static int read_all(int fd, struct buf *out)
{
	buf_reserve(out, FILE_MAX_BYTES + 1);
	for (;;) {
		ssize_t n = read(fd, out->data + out->len, FILE_MAX_BYTES + 1 - out->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		out->len += (size_t)n;
		if (out->len > FILE_MAX_BYTES)
			return -EFBIG;
		if (n == 0)
			return 0;
	}
}

/* Of the open file, not of the name: nobody can swap it in between. */
static int check_mode(int fd, const char *file, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_set(err, -errno, ERR_INTERNAL, "secret key", "%s: %s", file,
			       strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
		return err_set(err, -EINVAL, ERR_INTERNAL, "secret key", "%s is not a file", file);
	if (st.st_mode & S_IRWXO)
		return err_set(err, -EACCES, ERR_INTERNAL, "secret key",
			       "%s is open to every user of this machine; run: chmod 600 %s", file,
			       file);
	return 0;
}

static int file_load(struct keyring *k, const char *file, struct err *err)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), rc;
	struct buf text = BUF_INIT;

	if (fd < 0) {
		rc = errno == ENOENT ? -ENOKEY : -errno;
		return err_set(err, rc, ERR_INTERNAL, "secret key",
			       "cannot read the secret key file %s: %s", file, strerror(errno));
	}
	rc = check_mode(fd, file, err);
	if (rc == 0) {
		rc = read_all(fd, &text);
		if (rc < 0)
			err_set(err, rc, ERR_INTERNAL, "secret key", "cannot read %s: %s", file,
				strerror(-rc));
	}
	if (rc == 0)
		rc = lines_add(k, &text, file, err);
	secret_free_buf(&text);
	close(fd);
	return rc;
}

static int env_load(struct keyring *k, struct err *err)
{
	const char *text = getenv("LONGSHORE_SECRET_KEY");

	if (!text || !*text)
		return err_set(
			err, -ENOKEY, ERR_INTERNAL, "secret key",
			"no secret key: set LONGSHORE_SECRET_KEY_FILE to a file with a line: "
			"k1 $(openssl rand -base64 32)");
	text += strspn(text, " \t\r\n");
	return key_add(k, "env", 3, text, strcspn(text, " \t\r\n"), "LONGSHORE_SECRET_KEY", err);
}

int keyring_load(const char *file, struct keyring **out, struct err *err)
{
	struct keyring *k = mem_new(struct keyring);
	int rc = file && *file ? file_load(k, file, err) : env_load(k, err);

	if (rc < 0) {
		keyring_free(k);
		return rc;
	}
	*out = k;
	return 0;
}
