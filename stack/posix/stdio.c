/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Streams over sockets. The C library reads and writes a stream's descriptor by itself, so a stream
 * over one of ours is a custom one, which fileno() still knows the number of; dprintf likewise goes
 * through write().
 */
#include "stack/posix/posix.h"

struct stream {
	struct stream *next;
	FILE *fp;
	int fd;
};

static struct stream *streams;
static pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t
stream_read(void *cookie, char *buf, size_t n)
{
	return read(((struct stream *)cookie)->fd, buf, n);
}

static ssize_t
stream_write(void *cookie, const char *buf, size_t n)
{
	ssize_t r = write(((struct stream *)cookie)->fd, buf, n);

	return r < 0 ? 0 : r; /* fopencookie's convention; errno is set */
}

static int
stream_close(void *cookie)
{
	struct stream *s = cookie, **at;
	int r;

	pthread_mutex_lock(&streams_lock);
	for (at = &streams; *at && *at != s; at = &(*at)->next)
		;
	if (*at)
		*at = s->next;
	pthread_mutex_unlock(&streams_lock);
	r = close(s->fd);
	free(s);
	return r;
}

static FILE *
stream_open(int fd, const char *mode)
{
	static const cookie_io_functions_t io = {
		.read = stream_read, .write = stream_write, .close = stream_close};
	struct stream *s = malloc(sizeof(*s));

	if (!s)
		return NULL;
	s->fd = fd;
	s->fp = fopencookie(s, mode, io);
	if (!s->fp) {
		free(s);
		return NULL;
	}
	pthread_mutex_lock(&streams_lock);
	s->next = streams;
	streams = s;
	pthread_mutex_unlock(&streams_lock);
	return s->fp;
}

static bool
is_socket(int fd)
{
	struct uvp_file *f = uvp_get(fd);
	bool yes = f && f->kind == UVP_SOCKET;

	if (f)
		uvp_put(f);
	return yes;
}

UVP_EXPORT FILE *
fdopen(int fd, const char *mode)
{
	return is_socket(fd) ? stream_open(fd, mode) : R(fdopen)(fd, mode);
}

static int
number_of(FILE *fp)
{
	struct stream *s;
	int fd = -1;

	if (!streams)
		return -1;
	pthread_mutex_lock(&streams_lock);
	for (s = streams; s; s = s->next)
		if (s->fp == fp)
			fd = s->fd;
	pthread_mutex_unlock(&streams_lock);
	return fd;
}

UVP_EXPORT int
fileno(FILE *fp)
{
	int fd = number_of(fp);

	return fd >= 0 ? fd : R(fileno)(fp);
}

UVP_EXPORT int
fileno_unlocked(FILE *fp)
{
	int fd = number_of(fp);

	return fd >= 0 ? fd : R(fileno_unlocked)(fp);
}

static int
print_to(int fd, const char *text, size_t n)
{
	size_t done = 0;
	ssize_t r;

	while (done < n) {
		r = write(fd, text + done, n - done);
		if (r < 0)
			return -1;
		done += (size_t)r;
	}
	return (int)n;
}

UVP_EXPORT int
vdprintf(int fd, const char *fmt, va_list ap)
{
	char *text;
	int n;

	if (!is_socket(fd))
		return R(vdprintf)(fd, fmt, ap);
	n = vasprintf(&text, fmt, ap);
	if (n < 0)
		return n;
	n = print_to(fd, text, (size_t)n);
	free(text);
	return n;
}

UVP_EXPORT int
dprintf(int fd, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vdprintf(fd, fmt, ap);
	va_end(ap);
	return n;
}

UVP_EXPORT int __dprintf_chk(int fd, int flag, const char *fmt, ...);
UVP_EXPORT int
__dprintf_chk(int fd, int flag, const char *fmt, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, fmt);
	n = vdprintf(fd, fmt, ap);
	va_end(ap);
	return n;
}

UVP_EXPORT int __vdprintf_chk(int fd, int flag, const char *fmt, va_list ap);
UVP_EXPORT int
__vdprintf_chk(int fd, int flag, const char *fmt, va_list ap)
{
	(void)flag;
	return vdprintf(fd, fmt, ap);
}
