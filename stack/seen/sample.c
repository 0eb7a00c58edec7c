/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/seen/sample.h"
#include "stack/seen/page.h"
#include "stack/share/client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stack/lwip/uvl.h"

/* Frames that were being written as they were read are none. */
static void
check_frames(struct uvs_seen *copy, const struct uvs_seen *from)
{
	atomic_thread_fence(memory_order_acquire);
	for (int i = 0; i < UVS_LOST_REASONS; i++) {
		uint32_t turn = copy->lost[i].last.turn;

		if ((turn & 1) != 0 ||
		    turn != atomic_load_explicit(&from->lost[i].last.turn, memory_order_relaxed))
			copy->lost[i].last.turn = 0;
	}
}

void
uvs_sample_take(const struct uvs_view *v, struct uvs_sample *s)
{
	const struct uvs_seen *seen = v->part[UVS_PART_SEEN];

	for (unsigned int i = 0; i < uvs_nb_counters; i++)
		s->has[i] = uvs_counter_read(v, i, &s->value[i]);
	if (seen == NULL)
		return;
	memcpy(&s->seen, seen, sizeof(s->seen));
	check_frames(&s->seen, seen);
	s->seen.name[sizeof(s->seen.name) - 1] = '\0';
	s->seen.nic[sizeof(s->seen.nic) - 1] = '\0';
	if (s->seen.queues > UVS_SEEN_QUEUES)
		s->seen.queues = 0;
	s->pid = s->seen.pid;
}

uint64_t
uvs_sample_value(const struct uvs_sample *s, const char *name)
{
	int i = uvs_counter_find(name);

	return i >= 0 && s->has[i] ? s->value[i] : 0;
}

/* ------------------------------------------------------------------------------------ gathering */

static struct uvs_sample *
add_samples(struct uvs_samples *s, uint32_t n)
{
	struct uvs_sample *more = realloc(s->sample, (s->n + n) * sizeof(*more));

	if (more == NULL)
		abort();
	s->sample = more;
	memset(more + s->n, 0, n * sizeof(*more));
	s->n += n;
	return more + s->n - n;
}

void
uvs_samples_free(struct uvs_samples *s)
{
	free(s->sample);
	free(s->nic);
	memset(s, 0, sizeof(*s));
}

const struct uvs_sample *
uvs_samples_before(const struct uvs_samples *before, const struct uvs_sample *s)
{
	for (uint32_t i = 0; i < before->n; i++)
		if (before->sample[i].pid == s->pid && before->sample[i].slot == s->slot &&
		    strcmp(before->sample[i].host, s->host) == 0)
			return &before->sample[i];
	return NULL;
}

/* ----------------------------------------------------------------------------- pages of processes
 */

/* Mapped, and of this build; NULL: neither, *of_another_build says which. */
static struct uvs_seen *
map_page(int dir, const char *file, int prot, bool *of_another_build)
{
	size_t size = UVS_SEEN_LWIP + sizeof(struct uvl);
	int fd =
		openat(dir, file, (prot & PROT_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
	struct uvs_seen *p = MAP_FAILED;
	struct stat st;

	*of_another_build = fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size < size;
	if (fd >= 0 && !*of_another_build)
		p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return NULL;
	if (atomic_load_explicit(&p->magic, memory_order_acquire) == UVS_SEEN_MAGIC &&
	    p->seen_size == sizeof(*p) && p->lwip_size == sizeof(struct uvl) &&
	    p->nb_counters == uvs_nb_counters)
		return p;
	*of_another_build = p->magic != 0; /* 0: it is just being made */
	munmap(p, size);
	return NULL;
}

static void
unmap_page(struct uvs_seen *p)
{
	munmap(p, UVS_SEEN_LWIP + sizeof(struct uvl));
}

typedef void (*page_fn)(void *arg, struct uvs_seen *page);

/* The page of a process, for f; false: there is none to be had. */
static bool
with_page(int dir, const char *file, const struct uvs_whom *whom, int prot, page_fn f, void *arg)
{
	pid_t pid = uvs_seen_pid_of(file);
	bool of_another_build;
	struct uvs_seen *p;

	if (pid == 0 || (whom->pid != 0 && pid != whom->pid))
		return false;
	p = map_page(dir, file, prot, &of_another_build);
	if (p == NULL && of_another_build)
		fprintf(stderr,
			"uvstack: process %d runs another build: use the uvstack beside its "
			"libuvstack.so\n",
			pid);
	if (p == NULL)
		return false;
	if (whom->nic == NULL || strncmp(p->nic, whom->nic, sizeof(p->nic) - 1) == 0)
		f(arg, p);
	unmap_page(p);
	return true;
}

static int
each_page(const struct uvs_whom *whom, int prot, page_fn f, void *arg, char err[UVS_ERR_LEN])
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	if (whom->host != NULL)
		return 0;
	if (uvs_seen_dir(path, false, err) < 0)
		return -EACCES;
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL)
		with_page(dirfd(d), e->d_name, whom, prot, f, arg);
	if (d != NULL)
		closedir(d);
	return 0;
}

static void
sample_page(void *arg, struct uvs_seen *page)
{
	struct uvs_view v = {
		.part = {[UVS_PART_SEEN] = page, [UVS_PART_LWIP] = (char *)page + UVS_SEEN_LWIP}};
	struct uvs_sample *s = add_samples(arg, 1);

	uvs_sample_take(&v, s);
	s->alive = uvs_seen_is_alive(s->pid);
}

/* ---------------------------------------------------------------------------------- shared hosts
 */

static int
all_of(int fd, void *to, size_t size, off_t *at)
{
	ssize_t n = pread(fd, to, size, *at);

	*at += n;
	return n == (ssize_t)size ? 0 : -1;
}

static void
keep(struct uvs_samples *all, const struct uvs_sample *s, const struct uvs_whom *whom,
     const char *host)
{
	struct uvs_sample *mine;

	if (whom->pid != 0 && (s->is_manager || s->pid != whom->pid))
		return;
	mine = add_samples(all, 1);
	*mine = *s;
	snprintf(mine->host, sizeof(mine->host), "%s", host);
}

static int
read_answer(int fd, const struct uvs_whom *whom, const char *host, struct uvs_samples *all)
{
	struct uvs_samples_head head;
	struct uvs_sample *s = malloc(sizeof(*s));
	off_t at = 0;
	int rc = s != NULL ? all_of(fd, &head, sizeof(head), &at) : -1;

	if (rc == 0 && (head.sample_size != sizeof(*s) || head.nb_counters != uvs_nb_counters ||
			head.nb_samples > 1024 || head.nb_nic > 65536))
		rc = -1;
	for (uint32_t i = 0; rc == 0 && i < head.nb_samples; i++) {
		rc = all_of(fd, s, sizeof(*s), &at);
		if (rc == 0)
			keep(all, s, whom, host);
	}
	free(s);
	if (rc < 0 || head.nb_nic == 0)
		return rc;
	all->nic = realloc(all->nic, (all->nb_nic + head.nb_nic) * sizeof(*all->nic));
	if (all->nic == NULL)
		abort();
	rc = all_of(fd, all->nic + all->nb_nic, head.nb_nic * sizeof(*all->nic), &at);
	for (uint32_t i = 0; rc == 0 && i < head.nb_nic; i++)
		snprintf(all->nic[all->nb_nic + i].host, UVS_HOST_LABEL, "%s", host);
	all->nb_nic += rc == 0 ? head.nb_nic : 0;
	return rc;
}

static int
ask_host(const char *host, const struct uvs_whom *whom, struct uvs_samples *all,
	 char err[UVS_ERR_LEN])
{
	const char *label = strrchr(host, '/');
	int status, rc, fd = uvs_client_ask(host, "seen", false, &status, err);

	if (fd < 0)
		return fd;
	rc = read_answer(fd, whom, label != NULL ? label + 1 : host, all);
	close(fd);
	return rc == 0 ? 0
		       : uvs_fail(err, -EPROTO,
				  "the manager of host %.100s is of another build: use the uvstack "
				  "beside it",
				  host);
}

/* Of all hosts in the directory, one that does not answer is named and left out. */
static int
each_host(const struct uvs_whom *whom, struct uvs_samples *all, char err[UVS_ERR_LEN])
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	if (whom->host != NULL)
		return ask_host(whom->host, whom, all, err);
	if (whom->nic != NULL)
		return 0;
	if (uvs_rundir(path, false, err) < 0)
		return -EACCES;
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && ask_host(e->d_name, whom, all, err) < 0)
			fprintf(stderr, "uvstack: %s\n", err);
	if (d != NULL)
		closedir(d);
	return 0;
}

int
uvs_samples_read(const struct uvs_whom *whom, struct uvs_samples *s, char err[UVS_ERR_LEN])
{
	struct timespec t;
	int rc;

	memset(s, 0, sizeof(*s));
	clock_gettime(CLOCK_MONOTONIC, &t);
	s->when_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	rc = each_page(whom, PROT_READ, sample_page, s, err);
	if (rc == 0)
		rc = each_host(whom, s, err);
	if (rc == 0 && whom->pid != 0 && s->n == 0)
		rc = uvs_fail(err, -ESRCH, "process %d has no stack that can be seen", whom->pid);
	if (rc < 0)
		uvs_samples_free(s);
	return rc;
}

/* ------------------------------------------------------------------------------------- switches */

struct latency_switch {
	bool on;
	unsigned int n;
};

static void
switch_page(void *arg, struct uvs_seen *page)
{
	struct latency_switch *s = arg;

	atomic_store_explicit(&page->latency, s->on, memory_order_relaxed);
	s->n++;
}

int
uvs_latency_switch(const struct uvs_whom *whom, bool on, char err[UVS_ERR_LEN])
{
	struct latency_switch s = {.on = on};
	int rc, status;

	if (whom->host != NULL) {
		rc = uvs_client_ask(whom->host, on ? "latency on" : "latency off", false, &status,
				    err);
		if (rc >= 0)
			close(rc);
		return rc < 0 ? rc : 0;
	}
	rc = each_page(whom, PROT_READ | PROT_WRITE, switch_page, &s, err);
	if (rc == 0 && s.n == 0)
		rc = uvs_fail(err, -ESRCH,
			      "there is no process with a NIC of its own here; of a "
			      "shared host, say --host NAME");
	return rc;
}
