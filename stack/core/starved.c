/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/instance.h"

void
uvs_starve(struct uvs_instance *in, struct uvs_starved *s)
{
	if (s->prev != NULL)
		return;
	in->seen->mem.starved++;
	s->next = in->starved;
	s->prev = &in->starved;
	if (s->next != NULL)
		s->next->prev = &s->next;
	in->starved = s;
}

void
uvs_unstarve(struct uvs_starved *s)
{
	if (s->prev == NULL)
		return;
	*s->prev = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	s->prev = NULL;
}

void
uvs_feed(struct uvs_instance *in)
{
	while (in->starved != NULL) {
		struct uvs_starved *s = in->starved;

		uvs_unstarve(s);
		s->fed(s);
	}
}
