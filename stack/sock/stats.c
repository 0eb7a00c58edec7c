/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counters of an instance as JSON, nested by their groups: "lwip.tcp" is "tcp" in "lwip". Read
 * without the instance: each is a word, the sum is no snapshot. */
#include "stack/core/share.h"
#include "stack/seen/counters.h"
#include "stack/sock/sock_priv.h"
#include "stack/sock/stack.h"

#include <stdarg.h>
#include <stdio.h>

struct out {
	char *buf;
	size_t len, used;
	const char *group; /* that is open */
	bool comma;
};

static void __attribute__((format(printf, 2, 3))) put(struct out *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	o->used += (size_t)vsnprintf(o->used < o->len ? o->buf + o->used : NULL,
				     o->used < o->len ? o->len - o->used : 0, fmt, ap);
	va_end(ap);
}

/* The first `n` names of the path are common; how long they are, their dot included. */
static size_t
common(const char *a, const char *b, unsigned int *names)
{
	size_t i = 0, at = 0;

	*names = 0;
	for (;; i++) {
		bool ends = a[i] == '.' || a[i] == '\0', also = b[i] == '.' || b[i] == '\0';

		if (ends && also && i > 0) {
			(*names)++;
			at = a[i] == '.' && b[i] == '.' ? i + 1 : i;
		}
		if (a[i] != b[i] || a[i] == '\0')
			return at;
	}
}

static unsigned int
depth(const char *group)
{
	unsigned int n = *group != '\0';

	for (; *group != '\0'; group++)
		n += *group == '.';
	return n;
}

static void
change_group(struct out *o, const char *to)
{
	unsigned int shared;
	const char *p = to + common(o->group, to, &shared);

	for (unsigned int left = depth(o->group); left > shared; left--) {
		put(o, "}");
		o->comma = true;
	}
	for (p += *p == '.'; *p != '\0'; p += *p == '.') {
		size_t n = strcspn(p, ".");

		put(o, "%s\"%.*s\": {", o->comma ? ", " : "", (int)n, p);
		o->comma = false;
		p += n;
	}
	o->group = to;
}

/* The sum over n instances. False: none of them has it. */
static bool
read_all(struct uvs_instance *const *in, unsigned int n, unsigned int counter, uint64_t *sum)
{
	bool any = false;

	*sum = 0;
	for (unsigned int i = 0; i < n; i++) {
		struct uvs_view v;
		uint64_t value;

		uvs_inst_view(in[i], &v);
		if (!uvs_counter_read(&v, counter, &value))
			continue;
		*sum += value;
		any = true;
	}
	return any;
}

/* What n instances have counted together; without the braces around it. */
static void
tell(struct out *o, struct uvs_instance *const *in, unsigned int n)
{
	uint64_t value;

	o->group = "";
	o->comma = false;
	for (unsigned int i = 0; i < uvs_nb_counters; i++) {
		if (!read_all(in, n, i, &value))
			continue;
		if (strcmp(o->group, uvs_counters[i].group) != 0)
			change_group(o, uvs_counters[i].group);
		put(o, "%s\"%s\": %llu", o->comma ? ", " : "", uvs_counters[i].name,
		    (unsigned long long)value);
		o->comma = true;
	}
	change_group(o, "");
}

int
uvs_stats_json(struct uvs_instance *const *in, unsigned int n, char *buf, size_t len)
{
	struct out o = {.buf = buf, .len = len};

	put(&o, "{");
	tell(&o, in, n);
	for (unsigned int i = 0; n > 1 && i < n; i++) {
		put(&o, i == 0 ? ", \"stacks\": [{" : ", {");
		tell(&o, &in[i], 1);
		put(&o, i + 1 < n ? "}" : "}]");
	}
	put(&o, "}");
	return (int)o.used;
}
