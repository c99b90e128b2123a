/* SPDX-License-Identifier: Apache-2.0 */
/* A nats-server of the test's own: a free port, a private folder, gone with the test. */
#ifndef TESTS_INTEGRATION_NATS_SERVER_H
#define TESTS_INTEGRATION_NATS_SERVER_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct nats_server {
	pid_t pid; /* 0: not running */
	int port;
	char dir[64];
	char url[64];
	char config[96]; /* "": none */
};

static inline int server_free_port(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
	close(fd);
	return ntohs(sa.sin_port);
}

/* Ready when it greets. */
static inline int server_greets(const struct nats_server *s)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)s->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char c = 0;
	int ok = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && read(fd, &c, 1) == 1;

	close(fd);
	return ok && c == 'I';
}

static inline void server_exec(const struct nats_server *s)
{
	char port[16];
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(port, sizeof(port), "%d", s->port);
	dup2(null, 1);
	dup2(null, 2);
	if (s->config[0]) {
		execlp("nats-server", "nats-server", "-js", "-sd", s->dir, "-a", "127.0.0.1", "-p",
		       port, "-c", s->config, (char *)NULL);
	} else {
		execlp("nats-server", "nats-server", "-js", "-sd", s->dir, "-a", "127.0.0.1", "-p",
		       port, (char *)NULL);
	}
	_exit(127);
}

/* Starts it (again) on its port and folder, and returns when it can be talked to. */
static inline void server_run(struct nats_server *s)
{
	s->pid = fork();
	ck_assert_int_ge(s->pid, 0);
	if (s->pid == 0) {
		server_exec(s);
	}
	while (!server_greets(s)) {
		const struct timespec pause = {.tv_nsec = 5000000};

		ck_assert_int_eq(waitpid(s->pid, NULL, WNOHANG), 0);
		nanosleep(&pause, NULL); /* between two attempts to connect */
	}
}

static inline void server_init(struct nats_server *s)
{
	memset(s, 0, sizeof(*s));
	s->port = server_free_port();
	snprintf(s->dir, sizeof(s->dir), "/tmp/eb-nats-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(s->dir));
	snprintf(s->url, sizeof(s->url), "nats://127.0.0.1:%d", s->port);
}

static inline void server_start(struct nats_server *s)
{
	server_init(s);
	server_run(s);
}

static inline void server_kill(struct nats_server *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

static inline int server_unlink(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static inline void server_end(struct nats_server *s)
{
	if (s->pid) {
		server_kill(s);
	}
	nftw(s->dir, server_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
