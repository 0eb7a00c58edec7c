/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Columns that align themselves.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "uvbridge/table.h"

static void
add_text(struct table *t, char *text)
{
	if (t->next == t->room) {
		t->room = t->room != 0 ? 2 * t->room : 256;
		t->cell = realloc(t->cell, (size_t)t->room * sizeof(*t->cell));
	}
	if (t->cell == NULL || text == NULL)
		abort(); /* a table does not fit into memory: nothing else will */
	t->cell[t->next++] = text;
}

void
table_begin(struct table *t, const char *headings, const char *align)
{
	memset(t, 0, sizeof(*t));
	t->align = align;
	t->nb_columns = (int)strlen(align);
	while (headings != NULL) {
		const char *bar = strchr(headings, '|');

		add_text(t, bar != NULL ? strndup(headings, (size_t)(bar - headings))
					: strdup(headings));
		headings = bar != NULL ? bar + 1 : NULL;
	}
}

void
table_add(struct table *t, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	add_text(t, text);
}

static int
width_of(const struct table *t, int column)
{
	int w = 0;

	for (int i = column; i < t->next; i += t->nb_columns)
		if ((int)strlen(t->cell[i]) > w)
			w = (int)strlen(t->cell[i]);
	return w;
}

void
table_end(struct table *t, FILE *to)
{
	int width[TABLE_COLUMNS];

	for (int c = 0; c < t->nb_columns; c++)
		width[c] = width_of(t, c);
	for (int i = 0; i < t->next && t->next > t->nb_columns; i++) {
		int c = i % t->nb_columns;
		int w = t->align[c] == 'l' ? -width[c] : width[c];

		if (c == t->nb_columns - 1 && w < 0)
			w = 0; /* no blanks at the end of a line */
		fprintf(to, "%*s%s", w, t->cell[i], c == t->nb_columns - 1 ? "\n" : "  ");
	}
	for (int i = 0; i < t->next; i++)
		free(t->cell[i]);
	free(t->cell);
}
