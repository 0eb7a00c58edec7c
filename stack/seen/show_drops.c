/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack drops: what was lost, why and where, and what the last of it looked like.
 *
 * Stacks keep the first bytes of the last frame of each reason as they are; tcpdump makes a line of
 * them, here and now. */
#include "stack/seen/show.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE_MAX_LEN 256
#define FRAMES_MAX   1024

/* Frames to be decoded, and what has come of them. */
struct frames {
	uint32_t n;
	const struct uvs_lost_frame *frame[FRAMES_MAX];
	char (*line)[LINE_MAX_LEN];
};

/* ------------------------------------------------------------------------------------- decoding */

struct pcap_head {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, sigfigs, snaplen, linktype;
};

struct pcap_record {
	uint32_t s, us, caplen, len;
};

static uint32_t
kept(const struct uvs_lost_frame *f)
{
	return f->len < UVS_SEEN_HEADER ? f->len : UVS_SEEN_HEADER;
}

/* As a capture file, in memory. */
static int
capture(const struct frames *f)
{
	struct pcap_head head = {0xa1b2c3d4, 2, 4, 0, 0, UVS_SEEN_HEADER, 1};
	int fd = memfd_create("drops.pcap", 0);
	bool good = fd >= 0 && write(fd, &head, sizeof(head)) == (ssize_t)sizeof(head);

	for (uint32_t i = 0; good && i < f->n; i++) {
		struct pcap_record r = {0, 0, kept(f->frame[i]), f->frame[i]->len};

		good = write(fd, &r, sizeof(r)) == (ssize_t)sizeof(r) &&
		       write(fd, f->frame[i]->header, r.caplen) == (ssize_t)r.caplen;
	}
	if (good && lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void
in_hex(const struct uvs_lost_frame *f, char *text, size_t len)
{
	size_t n = 0;

	for (uint32_t i = 0; i < kept(f) && n + 3 < len; i++)
		n += (size_t)snprintf(text + n, len - n, "%02x", f->header[i]);
}

/* One line for each frame, in their order; what tcpdump does not say stays in hex. */
static void
decode(struct frames *f)
{
	char command[64];
	int fd;
	FILE *p;

	f->line = calloc(f->n != 0 ? f->n : 1, sizeof(*f->line));
	if (f->line == NULL)
		abort();
	for (uint32_t i = 0; i < f->n; i++)
		in_hex(f->frame[i], f->line[i], 2 * 32 + 1);
	fd = f->n != 0 ? capture(f) : -1;
	if (fd < 0)
		return;
	snprintf(command, sizeof(command), "tcpdump -tnner - 2>/dev/null </dev/fd/%d", fd);
	p = popen(command, "re");
	for (uint32_t i = 0; p != NULL && i < f->n; i++) {
		char line[LINE_MAX_LEN];

		if (fgets(line, sizeof(line), p) == NULL)
			break;
		line[strcspn(line, "\n")] = '\0';
		memcpy(f->line[i], line, sizeof(line));
	}
	if (p != NULL)
		pclose(p);
	close(fd);
}

/* --------------------------------------------------------------------------------------- the table
 */

static const struct uvs_lost_frame *
last_frame(const struct uvs_sample *s, unsigned int i)
{
	enum uvs_lost why = uvs_counters[i].why;

	return why != UVS_LOST_NONE && s->seen.lost[why].last.turn != 0 ? &s->seen.lost[why].last
									: NULL;
}

static bool
has_dropped(const struct uvs_sample *s, unsigned int i)
{
	return uvs_counters[i].type == UVS_DROPS_COUNTER && s->has[i] && s->value[i] != 0;
}

static void
collect(const struct uvs_samples *all, struct frames *f)
{
	for (uint32_t k = 0; k < all->n; k++)
		for (unsigned int i = 0; i < uvs_nb_counters && f->n < FRAMES_MAX; i++)
			if (has_dropped(&all->sample[k], i) &&
			    last_frame(&all->sample[k], i) != NULL)
				f->frame[f->n++] = last_frame(&all->sample[k], i);
}

struct table {
	const struct uvs_show *show;
	const struct uvs_samples *before, *now;
	const struct frames *frames;
	uint32_t next_frame;
	struct out o;
};

static void
row(struct table *t, const struct uvs_sample *s, unsigned int i)
{
	const struct uvs_counter *c = &uvs_counters[i];
	bool known = last_frame(s, i) != NULL && t->next_frame < t->frames->n;
	char reason[UVS_COUNTER_NAME];

	snprintf(reason, sizeof(reason), "%s.%s", c->group, c->name);
	out_row(&t->o);
	uvs_show_who(&t->o, s);
	out_str(&t->o, "reason", -23, reason);
	out_str(&t->o, "where", -19, c->place);
	out_num(&t->o, "count", 9, s->value[i]);
	if (t->show->interval > 0)
		out_real(&t->o, "per_s", 8, 1, uvs_show_counter_rate(t->before, t->now, s, i));
	if (t->o.json)
		out_str(&t->o, "why", 0, c->help);
	out_str(&t->o, "last_frame", 0, known ? t->frames->line[t->next_frame++] : "");
	out_row_end(&t->o);
}

/* By the names that DPDK and its drivers give to what is lost. */
static bool
is_loss(const char *name)
{
	static const char *const words[] = {"drop",       "missed", "nombuf",  "no_mbuf",
					    "mbuf_alloc", "error",  "discard", "far_"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(name, words[i]) != NULL)
			return true;
	return false;
}

static uint64_t
nic_before(const struct uvs_samples *before, const struct uvs_nic_counter *c)
{
	for (uint32_t i = 0; i < before->nb_nic; i++)
		if (strcmp(before->nic[i].name, c->name) == 0 &&
		    strcmp(before->nic[i].host, c->host) == 0)
			return before->nic[i].value;
	return c->value;
}

static void
nic_rows(struct table *t)
{
	for (uint32_t i = 0; i < t->now->nb_nic; i++) {
		const struct uvs_nic_counter *c = &t->now->nic[i];

		if (c->value == 0 || !is_loss(c->name))
			continue;
		out_row(&t->o);
		out_str(&t->o, "host", -10, c->host);
		out_str(&t->o, "xstat", -32, c->name);
		out_num(&t->o, "count", 9, c->value);
		if (t->show->interval > 0)
			out_real(&t->o, "per_s", 8, 1,
				 uvs_show_rate(t->before, t->now, nic_before(t->before, c),
					       c->value));
		out_row_end(&t->o);
	}
}

static void
print(struct table *t)
{
	out_begin(&t->o, stdout, t->show->json);
	out_table(&t->o, "drops");
	for (uint32_t k = 0; k < t->now->n; k++)
		for (unsigned int i = 0; i < uvs_nb_counters; i++)
			if (has_dropped(&t->now->sample[k], i))
				row(t, &t->now->sample[k], i);
	out_table_end(&t->o, "nothing was dropped");
	if (t->now->nb_nic != 0) {
		out_table(&t->o, "nic");
		nic_rows(t);
		out_table_end(&t->o, "the NIC dropped nothing");
	}
	out_end(&t->o);
}

int
uvs_show_drops(const struct uvs_show *show)
{
	struct uvs_samples before, now;
	struct frames f = {.n = 0};
	struct table t = {.show = show, .before = &before, .now = &now, .frames = &f};

	if (uvs_show_read(show, &before, &now) < 0)
		return 1;
	collect(&now, &f);
	decode(&f);
	print(&t);
	free(f.line);
	uvs_samples_free(&before);
	uvs_samples_free(&now);
	return 0;
}
