/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Happy path: socket, bind with everything forbidden, group, mode, listen.
 *
 * Failure modes:
 * - the file exists and nobody answers: replaced, under a lock on its folder, so that two
 *   daemons that start at once do not remove each other's;
 * - the file exists and somebody answers, or is no socket: refused, untouched;
 * - the file was replaced by someone else while we ran: left alone at the end.
 */
#include "daemon/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"

#define BACKLOG 512

struct listener {
	uv_pipe_t pipe;
	char *path;
	bool own_file; /* we made it and remove it */
	dev_t dev;
	ino_t ino;
	struct log_repeat accept_log;
	void (*on_connection)(void *ctx, uv_stream_t *server);
	void *ctx;
};

static int failed(struct err_text *err, const char *what, const char *path)
{
	return err_set(err, EB_EIO, "socket %s: %s: %s", path, what, strerror(errno));
}

/* Whether nobody listens at addr: 0 = nobody, EB_EEXIST = somebody, EB_EIO. */
static int probe(const struct sockaddr_un *addr, struct err_text *err)
{
	struct stat st;
	int fd, rc;

	if (lstat(addr->sun_path, &st) != 0) {
		return errno == ENOENT ? 0 : failed(err, "cannot look at it", addr->sun_path);
	}
	if (!S_ISSOCK(st.st_mode)) {
		return err_set(err, EB_EEXIST, "socket %s: a file that is not a socket is there",
			       addr->sun_path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return failed(err, "no socket", addr->sun_path);
	}
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ? 0 : errno;
	close(fd);
	if (rc == ECONNREFUSED || rc == ENOENT) {
		return 0;
	}
	if (rc == 0 || rc == EAGAIN) {
		return err_set(err, EB_EEXIST, "socket %s: another daemon listens there",
			       addr->sun_path);
	}
	errno = rc;
	return failed(err, "cannot tell whether it is in use", addr->sun_path);
}

/* bind() that lets nobody in but ourselves, whatever the umask. */
static int bind_private(int fd, const struct sockaddr_un *addr)
{
	mode_t old = umask(0177);
	int rc = bind(fd, (const struct sockaddr *)addr, sizeof(*addr));
	int saved = errno;

	umask(old);
	errno = saved;
	return rc;
}

static int bind_over_stale(int fd, const struct sockaddr_un *addr, struct err_text *err)
{
	char *copy = xstrdup(addr->sun_path);
	int dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	free(copy);
	if (dir < 0 || flock(dir, LOCK_EX) != 0) {
		rc = failed(err, "cannot lock its folder", addr->sun_path);
		goto out;
	}
	rc = probe(addr, err);
	if (rc == 0) {
		if (unlink(addr->sun_path) != 0 && errno != ENOENT) {
			rc = failed(err, "cannot remove the stale one", addr->sun_path);
		} else if (bind_private(fd, addr) != 0) {
			rc = failed(err, "cannot bind", addr->sun_path);
		}
	}
out:
	if (dir >= 0) {
		close(dir);
	}
	return rc;
}

/* One missing folder is made, for a first start by hand. */
static void make_folder(const char *path)
{
	char *copy = xstrdup(path);
	const char *folder = dirname(copy);

	if (mkdir(folder, 0755) == 0) {
		log_info("socket", "made the folder path=%s", folder);
	}
	free(copy);
}

static int set_owner(const struct listener_options *o, struct err_text *err)
{
	uint32_t gid;

	if (o->group) {
		if (!config_group_id(o->group, &gid)) {
			return err_set(err, EB_EINVAL, "socket.group: no group \"%s\"", o->group);
		}
		if (chown(o->path, (uid_t)-1, (gid_t)gid) != 0) {
			return failed(err, "cannot give it to the group", o->path);
		}
	}
	if (chmod(o->path, o->mode) != 0) {
		return failed(err, "cannot set its mode", o->path);
	}
	return 0;
}

static int open_own(struct listener *l, const struct listener_options *o, int *out,
		    struct err_text *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	int fd, rc = 0;

	if (strlen(o->path) >= sizeof(addr.sun_path)) {
		return err_set(err, EB_EINVAL, "socket.path: longer than %zu bytes: %s",
			       sizeof(addr.sun_path) - 1, o->path);
	}
	memcpy(addr.sun_path, o->path, strlen(o->path));
	make_folder(o->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return failed(err, "no socket", o->path);
	}
	if (bind_private(fd, &addr) != 0) {
		rc = errno == EADDRINUSE ? bind_over_stale(fd, &addr, err)
					 : failed(err, "cannot bind", o->path);
	}
	if (rc != 0) {
		goto close_fd;
	}
	rc = set_owner(o, err);
	if (rc != 0) {
		goto unlink_file;
	}
	if (lstat(o->path, &st) != 0) {
		rc = failed(err, "cannot look at it", o->path);
		goto unlink_file;
	}
	l->own_file = true;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	*out = fd;
	return 0;
unlink_file:
	unlink(o->path);
close_fd:
	close(fd);
	return rc;
}

/* A socket from the service manager: 1 with *fd, 0 when there is none. */
static int inherited(int *fd, struct err_text *err)
{
	int n = sd_listen_fds(1);

	if (n <= 0) {
		return 0;
	}
	if (n > 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, -1, NULL, 0) <= 0) {
		return err_set(err, EB_EINVAL,
			       "socket activation: exactly one Unix stream socket is expected, "
			       "%d were passed",
			       n);
	}
	*fd = SD_LISTEN_FDS_START;
	return 1;
}

char *listener_inherited_path(void)
{
	struct sockaddr_un a = {0};
	socklen_t n = sizeof(a) - 1;

	if (sd_listen_fds(0) != 1 ||
	    getsockname(SD_LISTEN_FDS_START, (struct sockaddr *)&a, &n) != 0 ||
	    a.sun_family != AF_UNIX) {
		return NULL;
	}
	return xstrdup(a.sun_path[0] ? a.sun_path : "(from the service manager)");
}

static void on_connection(uv_stream_t *server, int status)
{
	struct listener *l = server->data;

	if (status != 0) {
		log_repeated(&l->accept_log, LOG_LEVEL_WARN, "socket", "cannot accept: %s",
			     uv_strerror(status));
		return;
	}
	l->on_connection(l->ctx, server);
}

static void on_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	free(l->path);
	free(l);
}

int listener_create(const struct listener_options *o, struct listener **out, struct err_text *err)
{
	struct listener *l = xcalloc(1, sizeof(*l));
	int fd = -1, rc;

	l->path = xstrdup(o->path);
	rc = inherited(&fd, err);
	if (rc == 0) {
		rc = open_own(l, o, &fd, err);
	} else if (rc == 1) {
		rc = 0;
	}
	if (rc != 0) {
		free(l->path);
		free(l);
		return rc;
	}
	l->on_connection = o->on_connection;
	l->ctx = o->ctx;
	uv_pipe_init(o->loop, &l->pipe, 0);
	l->pipe.data = l;
	rc = uv_pipe_open(&l->pipe, fd);
	if (rc == 0) {
		rc = uv_listen((uv_stream_t *)&l->pipe, BACKLOG, on_connection);
	} else {
		close(fd);
	}
	if (rc != 0) {
		err_set(err, EB_EIO, "socket %s: cannot listen: %s", l->path, uv_strerror(rc));
		listener_close(l);
		return EB_EIO;
	}
	*out = l;
	return 0;
}

const char *listener_path(const struct listener *l)
{
	return l->path;
}

void listener_close(struct listener *l)
{
	struct stat st;

	if (!l) {
		return;
	}
	if (l->own_file && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino) {
		unlink(l->path);
	}
	uv_close((uv_handle_t *)&l->pipe, on_closed);
}
