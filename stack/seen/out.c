/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/seen/out.h"

#include <string.h>

void
out_begin(struct out *o, FILE *f, bool json)
{
	*o = (struct out){.f = f, .json = json, .first_table = true};
	if (json)
		fputc('{', f);
}

void
out_table(struct out *o, const char *name)
{
	if (o->json)
		fprintf(o->f, "%s\"%s\": [", o->first_table ? "" : ", ", name);
	else if (!o->first_table)
		fputc('\n', o->f);
	o->first_table = false;
	o->first_row = true;
}

void
out_row(struct out *o)
{
	o->first_field = true;
	o->titles_n = o->line_n = 0;
	if (o->json)
		fputs(o->first_row ? "{" : ", {", o->f);
}

/* Strings come from other processes, too. */
static void
json_string(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			fprintf(f, "\\u%04x", (unsigned char)*s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

static void
printable(char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			*s = '?';
}

static void
append(char *to, size_t room, size_t *used, int width, const char *value)
{
	int n = snprintf(to + *used, room - *used, "%s%*s", *used != 0 ? "  " : "", width, value);

	*used += (size_t)n < room - *used ? (size_t)n : room - *used - 1;
}

static void
text_field(struct out *o, const char *title, int width, const char *value)
{
	if (o->first_row)
		append(o->titles, sizeof(o->titles), &o->titles_n, width, title);
	append(o->line, sizeof(o->line), &o->line_n, width, value);
}

static void
json_name(struct out *o, const char *title)
{
	fprintf(o->f, "%s\"%s\": ", o->first_field ? "" : ", ", title);
	o->first_field = false;
}

static void
number(struct out *o, const char *title, int width, const char *text)
{
	if (!o->json) {
		text_field(o, title, width, text);
		return;
	}
	json_name(o, title);
	fputs(text, o->f);
}

void
out_num(struct out *o, const char *title, int width, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	number(o, title, width, text);
}

void
out_real(struct out *o, const char *title, int width, int decimals, double value)
{
	char text[64];

	snprintf(text, sizeof(text), "%.*f", decimals, value);
	number(o, title, width, text);
}

void
out_str(struct out *o, const char *title, int width, const char *value)
{
	if (!o->json) {
		text_field(o, title, width, value);
		return;
	}
	json_name(o, title);
	json_string(o->f, value);
}

static void
put_line(FILE *f, char *line)
{
	size_t n = strlen(line);

	while (n > 0 && line[n - 1] == ' ')
		line[--n] = '\0';
	printable(line);
	fprintf(f, "%s\n", line);
}

void
out_row_end(struct out *o)
{
	if (o->json) {
		fputc('}', o->f);
	} else {
		if (o->first_row)
			put_line(o->f, o->titles);
		put_line(o->f, o->line);
	}
	o->first_row = false;
}

void
out_table_end(struct out *o, const char *none)
{
	if (o->json)
		fputc(']', o->f);
	else if (o->first_row)
		fprintf(o->f, "%s\n", none);
}

void
out_end(struct out *o)
{
	if (o->json)
		fputs("}\n", o->f);
}
