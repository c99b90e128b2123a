/* SPDX-License-Identifier: Apache-2.0 */
/* check: the daemon's own check of a configuration file, eventbusd --check. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/eventbusctl/ctl.h"

/* The daemon beside this program, else the one in $PATH. */
static const char *daemon_path(char path[PATH_MAX])
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';
		if (snprintf(path, PATH_MAX, "%s/eventbusd", dirname(self)) < PATH_MAX &&
		    access(path, X_OK) == 0) {
			return path;
		}
	}
	return "eventbusd";
}

static void exec_daemon(const char *file)
{
	char path[PATH_MAX];
	const char *daemon = daemon_path(path);

	if (file) {
		execlp(daemon, "eventbusd", "--check", file, (char *)NULL);
	} else {
		execlp(daemon, "eventbusd", "--check", (char *)NULL);
	}
}

/* {"ok": true, "lines": [what the daemon printed]} */
static int print_lines(FILE *from, int pid)
{
	json_t *lines = json_array();
	char *line = NULL;
	size_t size = 0;
	int wstatus, status;

	while (getline(&line, &size, from) > 0) {
		line[strcspn(line, "\n")] = '\0';
		json_array_append_new(lines, json_string(line));
	}
	free(line);
	if (waitpid(pid, &wstatus, 0) != pid) {
		wstatus = -1;
	}
	status = WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : 1;
	ctl_print_json(stdout, json_pack("{s:b,s:o}", "ok", status == 0, "lines", lines));
	return status;
}

static int check_as_json(const struct ctl *ctl, const char *file)
{
	int fds[2], status;
	FILE *from;
	pid_t pid;

	if (pipe(fds) != 0) {
		return ctl_fail(ctl, EX_OSERR, "pipe: %s", strerror(errno));
	}
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		exec_daemon(file);
		fprintf(stderr, "eventbusd: %s\n", strerror(errno));
		_exit(EX_UNAVAILABLE);
	}
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return ctl_fail(ctl, EX_OSERR, "fork: %s", strerror(errno));
	}
	from = fdopen(fds[0], "r");
	status = print_lines(from, pid);
	fclose(from);
	return status;
}

int check_main(struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {CTL_OPTIONS, {NULL, 0, NULL, 0}};
	int opt, status;

	ctl->usage =
		"usage: eventbusctl check [FILE] [--json]\n\n"
		"Runs eventbusd --check: every mistake with file, line and column. Exit status 0 "
		"when\nthere is none.\n";
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		status = ctl_option(ctl, opt);
		if (status >= 0) {
			return status;
		}
	}
	if (argc - optind > 1) {
		return ctl_misused(ctl, "unexpected argument \"%s\"", argv[optind + 1]);
	}
	if (ctl->json) {
		return check_as_json(ctl, argv[optind]);
	}
	exec_daemon(argv[optind]);
	return ctl_fail(ctl, EX_UNAVAILABLE,
			"cannot run eventbusd: %s (is it installed and in $PATH?)",
			strerror(errno));
}
