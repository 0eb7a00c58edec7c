/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/nic/facts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define KEY_WIDTH   18
#define VALUE_WIDTH 44

/* -------------------------------------------------------------------------------------- stating */

static struct fact *
state(struct facts *f, const char *key, enum fact_type type)
{
	struct fact *new = &f->fact[f->n < FACTS_MAX - 1 ? f->n++ : FACTS_MAX - 1];

	*new = (struct fact){.key = key, .type = type};
	return new;
}

void
fact_text(struct facts *f, const char *key, const char *value)
{
	snprintf(state(f, key, FACT_TEXT)->value, FACT_VALUE, "%s", value);
}

void
fact_number(struct facts *f, const char *key, uint64_t value)
{
	snprintf(state(f, key, FACT_NUMBER)->value, FACT_VALUE, "%" PRIu64, value);
}

void
fact_bool(struct facts *f, const char *key, bool value)
{
	snprintf(state(f, key, FACT_BOOL)->value, FACT_VALUE, "%s", value ? "true" : "false");
}

void
fact_list(struct facts *f, const char *key)
{
	state(f, key, FACT_LIST);
}

void
fact_word(struct facts *f, const char *word)
{
	char *value = f->fact[f->n - 1].value;
	size_t used = strlen(value);

	snprintf(value + used, FACT_VALUE - used, "%s%s", used ? " " : "", word);
}

void
fact_note(struct facts *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->fact[f->n - 1].note, FACT_NOTE, fmt, ap);
	va_end(ap);
}

void
fact_problem(struct facts *f, const char *fmt, ...)
{
	va_list ap;

	if (f->nproblems == PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(f->problem[f->nproblems++], FACT_NOTE, fmt, ap);
	va_end(ap);
}

/* ----------------------------------------------------------------------------------------- text */

static const char *
plain(const struct fact *fact)
{
	if (fact->type == FACT_BOOL)
		return strcmp(fact->value, "true") == 0 ? "yes" : "no";
	return fact->value[0] != '\0' ? fact->value : "none";
}

/* The value, in lines of words that fit; what the stack does stands beside the first. */
static void
print_fact(const struct fact *fact, FILE *out)
{
	char key[KEY_WIDTH + 1], line[FACT_VALUE + 1];
	const char *value = plain(fact), *note = fact->note;
	size_t at = 0;

	snprintf(key, sizeof(key), "%s", fact->key);
	for (char *c = key; *c != '\0'; c++)
		if (*c == '_')
			*c = ' ';
	do {
		size_t n = strlen(value + at);

		if (n > VALUE_WIDTH && note[0] != '\0')
			for (n = VALUE_WIDTH; n > 0 && value[at + n] != ' '; n--)
				;
		if (n == 0) /* one long word */
			n = strcspn(value + at, " ");
		snprintf(line, sizeof(line), "%.*s", (int)n, value + at);
		fprintf(out, note[0] != '\0' ? "%-*s  %-*s  %s\n" : "%-*s  %-*s%s\n", KEY_WIDTH,
			at == 0 ? key : "", note[0] != '\0' ? VALUE_WIDTH : 0, line,
			at == 0 ? note : "");
		at += n;
		at += value[at] == ' ';
	} while (value[at] != '\0');
}

void
facts_print(const struct facts *f, const char *device, FILE *out)
{
	fprintf(out, "%s: %s\n\n", device,
		f->nproblems == 0 ? "the stack can use it" : "the stack cannot use it");
	for (unsigned int i = 0; i < f->nproblems; i++)
		fprintf(out, "%s\n%s", f->problem[i], i + 1 == f->nproblems ? "\n" : "");
	for (unsigned int i = 0; i < f->n; i++)
		print_fact(&f->fact[i], out);
}

/* ----------------------------------------------------------------------------------------- JSON */

static void
quote(const char *text, size_t n, FILE *out)
{
	fputc('"', out);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void
quote_words(const char *words, FILE *out)
{
	const char *comma = "";

	fputc('[', out);
	while (*words != '\0') {
		size_t n = strcspn(words, " ");

		fputs(comma, out);
		quote(words, n, out);
		comma = ", ";
		words += n;
		words += *words == ' ';
	}
	fputc(']', out);
}

static void
json_fact(const struct fact *fact, FILE *out)
{
	quote(fact->key, strlen(fact->key), out);
	fputs(": {\"value\": ", out);
	if (fact->type == FACT_LIST)
		quote_words(fact->value, out);
	else if (fact->type == FACT_TEXT)
		quote(fact->value, strlen(fact->value), out);
	else
		fputs(fact->value, out);
	fputs(", \"stack\": ", out);
	quote(fact->note, strlen(fact->note), out);
	fputc('}', out);
}

void
facts_json(const struct facts *f, const char *device, FILE *out)
{
	fputs("{\"device\": ", out);
	quote(device, strlen(device), out);
	fprintf(out, ", \"usable\": %s, \"problems\": [", f->nproblems == 0 ? "true" : "false");
	for (unsigned int i = 0; i < f->nproblems; i++) {
		fputs(i > 0 ? ", " : "", out);
		quote(f->problem[i], strlen(f->problem[i]), out);
	}
	fputs("], \"facts\": {", out);
	for (unsigned int i = 0; i < f->n; i++) {
		fputs(i > 0 ? ",\n" : "\n", out);
		json_fact(&f->fact[i], out);
	}
	fputs("}}\n", out);
}
