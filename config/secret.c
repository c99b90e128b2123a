/* SPDX-License-Identifier: Apache-2.0 */
#include "config/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "config/report.h"

#define NAME_MAX_BYTES 128

bool secret_is_reference(const char *text)
{
	return strstr(text, "${") != NULL;
}

/* Reads "${NAME}" at s; *n: how long that is. The value is the environment's. */
static int variable(const char *s, size_t *n, const char **value, struct err_text *err)
{
	char name[NAME_MAX_BYTES];
	size_t len = strspn(s + 2, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				   "0123456789_");

	if (len == 0 || len >= sizeof(name) || s[2 + len] != '}') {
		return err_set(err, EB_EINVAL,
			       "${...} must hold the name of an environment "
			       "variable, such as ${NATS_TOKEN}");
	}
	memcpy(name, s + 2, len);
	name[len] = '\0';
	*value = getenv(name);
	if (!*value || !**value) {
		return err_set(err, EB_EINVAL, "environment variable %s is %s", name,
			       *value ? "empty" : "not set");
	}
	*n = len + 3;
	return 0;
}

/* The path with every ${NAME} replaced, below the folder of the configuration when relative. */
static int resolve_path(const char *config_file, const char *text, struct buf *path,
			struct err_text *err)
{
	const char *slash = config_file ? strrchr(config_file, '/') : NULL;

	if (text[0] != '/' && text[0] != '$' && slash) {
		buf_append(path, config_file, (size_t)(slash - config_file) + 1);
	}
	while (*text) {
		const char *value = "";
		size_t n = 0;

		if (text[0] == '$' && text[1] == '{') {
			int rc = variable(text, &n, &value, err);
			if (rc) {
				return rc;
			}
			buf_append_str(path, value);
			text += n;
		} else {
			buf_append(path, text++, 1);
		}
	}
	buf_append(path, "", 1);
	return 0;
}

static int read_all(int fd, const char *path, char **out, struct err_text *err)
{
	char *s = xmalloc(SECRET_MAX_BYTES + 1);
	size_t n = 0;
	ssize_t got;
	int rc;

	while ((got = read(fd, s + n, SECRET_MAX_BYTES + 1 - n)) != 0) {
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0 || (n += (size_t)got) > SECRET_MAX_BYTES) {
			rc = err_set(err, EB_EINVAL, "%s: %s", show(path).s,
				     got < 0 ? strerror(errno) : "larger than 64 KiB");
			goto fail;
		}
	}
	n -= n > 0 && s[n - 1] == '\n';
	if (n == 0 || memchr(s, '\0', n)) {
		rc = err_set(err, EB_EINVAL, "%s: %s", show(path).s,
			     n ? "holds a zero byte" : "is empty");
		goto fail;
	}
	*out = xstrndup(s, n);
	rc = 0;
fail:
	explicit_bzero(s, SECRET_MAX_BYTES + 1);
	free(s);
	return rc;
}

static int read_file(const char *path, char **out, struct err_text *err)
{
	struct stat st;
	int fd, rc;

	/* Looked at first: opening a FIFO would wait, opening a device may do something. */
	if (stat(path, &st)) {
		return err_set(err, EB_EINVAL, "%s: %s", show(path).s, strerror(errno));
	}
	if (!S_ISREG(st.st_mode)) {
		return err_set(err, EB_EINVAL, "%s: not a regular file", show(path).s);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		return err_set(err, EB_EINVAL, "%s: %s", show(path).s, strerror(errno));
	}
	rc = read_all(fd, path, out, err);
	close(fd);
	return rc;
}

int secret_read(const char *config_file, const char *text, bool from_file, char **out,
		struct err_text *err)
{
	struct buf path;
	const char *value = "";
	size_t n = 0;
	int rc;

	if (!from_file && !secret_is_reference(text)) {
		*out = xstrdup(text);
		return 0;
	}
	if (!from_file) {
		if (strncmp(text, "${", 2) != 0) {
			return err_set(err, EB_EINVAL, "${NAME} must be the whole value");
		}
		rc = variable(text, &n, &value, err);
		if (rc) {
			return rc;
		}
		if (text[n]) {
			return err_set(err, EB_EINVAL, "${NAME} must be the whole value");
		}
		*out = xstrdup(value);
		return 0;
	}
	buf_init(&path);
	rc = resolve_path(config_file, text, &path, err);
	if (!rc) {
		rc = read_file((const char *)buf_data(&path), out, err);
	}
	buf_finish(&path);
	return rc;
}
