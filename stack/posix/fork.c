/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fork, vfork, exec, exit.
 *
 * A child has no stack: port and instances are the parent's alone, who serves the child's sockets
 * (inherit.h). posix_spawn, system and popen fire no hooks: their children only close, dup and
 * exec, on the kernel's numbers; everything of the stack is close-on-exec.
 *
 * vfork is a fork that waits: a child that borrows the parent's memory would close the parent's
 * entries. The parent goes on when the child has called exec or exit, as it may expect.
 */
#include "stack/core/family.h"
#include "stack/posix/inherit.h"

void
uvp_fork_init(void)
{
	pthread_atfork(uvp_table_fork_prepare, uvp_table_fork_parent, uvp_fork_child);
}

void
uvp_fork_child(void)
{
	uvp_table_fork_child();
	uvp_thread_fork_child();
	uvp_timers_fork_child();
	uvs_family_join();
	UVP_IN_VOID(uvs_stack_forget());
}

/* The bare one runs no atfork handlers. */
UVP_EXPORT pid_t
_Fork(void)
{
	pid_t pid;

	if (uvp_table_size == 0)
		return R(_Fork)();
	uvp_table_fork_prepare();
	pid = R(_Fork)();
	if (pid == 0)
		uvp_fork_child();
	else
		uvp_table_fork_parent();
	return pid;
}

pid_t
uvp_vfork(void)
{
	int fds[2];
	pid_t pid;
	char c;

	if (R(pipe2)(fds, O_CLOEXEC) < 0)
		return R(fork)();
	/* The child's end must survive its closing of all it does not need, so that only exec or
	 * exit ends the wait: it is one of the library's own. */
	fds[1] = uvs_fd_adopt(fds[1]);
	pid = R(fork)();
	if (pid == 0) {
		uvs_sys_close(fds[0]);
		return 0;
	}
	uvs_fd_close(fds[1]);
	if (pid > 0)
		while (uvs_sys_read(fds[0], &c, 1) == -EINTR)
			;
	uvs_sys_close(fds[0]);
	return pid;
}

UVP_EXPORT pid_t
vfork(void)
{
	return uvp_vfork();
}

/* ------------------------------------------------------------------------------- exec and exit */

/* The stack ends with the process image: let what was sent go out first. Not if there is nothing to
 * execute: then the application goes on. */
static void
before_exec(const char *path)
{
	if (path && access(path, X_OK) < 0)
		return;
	uvs_family_leave();
	if (uvp_table_size == 0)
		return;
	uvp_inherit_exec();
	if (!uvs_stack_running())
		return;
	uvp_log_once("exec of %s: the sockets of the stack end here", path ? path : "a descriptor");
	UVP_IN_VOID(uvs_stack_stop());
}

UVP_EXPORT int
execve(const char *path, char *const argv[], char *const envp[])
{
	before_exec(path);
	return R(execve)(path, argv, envp);
}

UVP_EXPORT int
execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

/* Along PATH: the C library finds it, we only have to know that it will. */
static bool
in_path(const char *file, char *buf, size_t size)
{
	const char *p = getenv("PATH"), *end;

	for (p = p ? p : "/bin:/usr/bin"; *p; p = *end ? end + 1 : end) {
		end = strchrnul(p, ':');
		if ((size_t)snprintf(buf, size, "%.*s/%s", (int)(end - p), p, file) < size &&
		    access(buf, X_OK) == 0)
			return true;
	}
	return false;
}

UVP_EXPORT int
execvpe(const char *file, char *const argv[], char *const envp[])
{
	char path[PATH_MAX];

	uvs_family_leave(); /* even if there is nothing to execute: it is then unknown to the clock
			     */
	if (uvp_table_size != 0 && (uvs_stack_running() || uvp_heir)) {
		if (strchr(file, '/'))
			before_exec(file);
		else if (in_path(file, path, sizeof(path)))
			before_exec(path);
	}
	return R(execvpe)(file, argv, envp);
}

UVP_EXPORT int
execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

UVP_EXPORT int
fexecve(int fd, char *const argv[], char *const envp[])
{
	before_exec(NULL);
	return R(fexecve)(fd, argv, envp);
}

#define ARGV_FROM(first)                \
	va_list ap;                     \
	size_t n = 1;                   \
	va_start(ap, first);            \
	while (va_arg(ap, char *))      \
		n++;                    \
	va_end(ap);                     \
	char *argv[n + 1];              \
	va_start(ap, first);            \
	argv[0] = (char *)(first);      \
	for (size_t i = 1; i <= n; i++) \
	argv[i] = va_arg(ap, char *)

UVP_EXPORT int
execl(const char *path, const char *arg, ...)
{
	ARGV_FROM(arg);
	va_end(ap);
	return execve(path, argv, environ);
}

UVP_EXPORT int
execlp(const char *file, const char *arg, ...)
{
	ARGV_FROM(arg);
	va_end(ap);
	return execvpe(file, argv, environ);
}

UVP_EXPORT int
execle(const char *path, const char *arg, ...)
{
	char *const *envp;

	ARGV_FROM(arg);
	envp = va_arg(ap, char *const *);
	va_end(ap);
	return execve(path, argv, envp);
}

static void
stop_stack(void)
{
	if (uvp_table_size == 0 || uvp_inside() || !uvs_stack_running())
		return;
	uvp_server_finish();
	UVP_IN_VOID(uvs_stack_stop());
}

UVP_EXPORT void
_exit(int status)
{
	stop_stack();
	R(_exit)(status);
	__builtin_unreachable();
}

UVP_EXPORT void
_Exit(int status)
{
	_exit(status);
}

UVP_EXPORT void
quick_exit(int status)
{
	stop_stack();
	R(quick_exit)(status);
	__builtin_unreachable();
}

/* Streams over sockets are flushed by the C library only after the destructors: do it before. */
__attribute__((destructor)) static void
at_exit(void)
{
	if (uvp_table_size != 0 && uvs_stack_running())
		fflush(NULL);
	stop_stack();
}
