/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `uvbridge completion`: what can follow on a command line. The shells ask this program, and it
 * asks the help texts: what is in them is offered, so there is no second list to keep.
 *
 *   Usage: uvbridge fdb NAME add MAC PORT [--vlan VLAN]
 *          words in capitals stand for something: a fabric, a port, nothing we know; others are
 *          themselves, several with | between; in brackets are options
 *     --vlan VLAN   text
 *          an option, and after one space what its argument is
 *     tap     text
 *          a word that a capital KIND or KEY stands for
 */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uvbridge/cli.h"

#define HELP_MAX   16384
#define WORDS_MAX  64
#define OFFERS_MAX 512

static const char bash_script[] =
	"# bash completion for uvbridge\n"
	"_uvbridge()\n"
	"{\n"
	"\tmapfile -t COMPREPLY < <(\"${COMP_WORDS[0]}\" completion words -- \\\n"
	"\t\t\"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"}\n"
	"complete -o bashdefault -o default -F _uvbridge uvbridge\n";

static const char zsh_script[] =
	"#compdef uvbridge\n"
	"# zsh completion for uvbridge\n"
	"_uvbridge()\n"
	"{\n"
	"\tlocal -a found\n"
	"\tfound=(${(f)\"$(\"${words[1]}\" completion words -- \"${(@)words[2,CURRENT]}\" "
	"2>/dev/null)\"})\n"
	"\tif (( $#found )); then compadd -a found; else _files; fi\n"
	"}\n"
	"if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _uvbridge \"$@\"; "
	"else compdef _uvbridge uvbridge; fi\n";

/* What has been typed, and how far it has been understood. */
struct line {
	const char *typed;           /* of the last word, which is to be completed */
	const char *word[WORDS_MAX]; /* before it, without options and their arguments */
	uint32_t nb_words;
	const char *before; /* the word before it, whatever it is */
	const char *fabric; /* or NULL */
	char help[HELP_MAX];
	char offered[OFFERS_MAX][UVB_NAME_LEN];
	uint32_t nb_offered;
};

/* Print a word that continues what is typed, once. */
static void
offer(struct line *l, const char *word, size_t len)
{
	if (len == 0 || len >= sizeof(l->offered[0]) || len < strlen(l->typed) ||
	    strncmp(word, l->typed, strlen(l->typed)) != 0)
		return;
	for (uint32_t i = 0; i < l->nb_offered; i++)
		if (strlen(l->offered[i]) == len && memcmp(l->offered[i], word, len) == 0)
			return;
	if (l->nb_offered == OFFERS_MAX)
		return;
	memcpy(l->offered[l->nb_offered++], word, len);
	printf("%.*s\n", (int)len, word);
}

/* -------------------------------------------------------------------------------------- help text
 */

static void __attribute__((noreturn)) help_exec(int out, const char *verb, const char *kind)
{
	char *argv[] = {"uvbridge", (char *)verb, (char *)kind, "--help", NULL};

	if (kind == NULL) {
		argv[2] = "--help";
		argv[3] = NULL;
	}
	dup2(out, STDOUT_FILENO);
	execv("/proc/self/exe", argv);
	_exit(1);
}

/* What `uvbridge VERB [KIND] --help` says. */
static void
help_read(struct line *l, const char *verb, const char *kind)
{
	size_t used = 0;
	int fds[2];
	ssize_t n;
	pid_t pid;

	l->help[0] = '\0';
	if (pipe(fds) != 0)
		return;
	pid = fork();
	if (pid == 0)
		help_exec(fds[1], verb, kind);
	close(fds[1]);
	while (used < sizeof(l->help) - 1 &&
	       (n = read(fds[0], l->help + used, sizeof(l->help) - 1 - used)) > 0)
		used += (size_t)n;
	l->help[used] = '\0';
	close(fds[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* Is what stands before an option, on its line, nothing, its short form, or a bracket? */
static bool
describes_option(const char *help, const char *at)
{
	const char *start = at;

	if (at > help && (at[-1] == '[' || at[-1] == '|'))
		return true;
	while (start > help && start[-1] != '\n')
		start--;
	start += strspn(start, " ");
	return start == at ||
	       (start[0] == '-' && start + 4 == at && strncmp(start + 2, ", ", 2) == 0);
}

/* Does an option that is described begin here? Its length, or 0. */
static size_t
option_len(const char *help, const char *at)
{
	size_t n = 1;

	if (*at != '-' || !describes_option(help, at))
		return 0;
	while (islower((unsigned char)at[n]) || at[n] == '-')
		n++;
	return n > 1 ? n : 0;
}

/* What an option's argument is, from the line that describes it; NULL: it has none. */
static const char *
option_argument(const char *help, const char *option, size_t *len)
{
	size_t n = strlen(option), word;

	for (const char *at = strstr(help, option); at != NULL; at = strstr(at + 1, option)) {
		if (option_len(help, at) != n || at[n] != ' ')
			continue;
		word = strcspn(at + n + 1, " ]\n");
		*len = word;
		if (word > 0 &&
		    (isupper((unsigned char)at[n + 1]) || memchr(at + n + 1, '|', word) != NULL))
			return at + n + 1;
	}
	return NULL;
}

static void
offer_options(struct line *l)
{
	size_t n;

	for (const char *at = l->help; *at != '\0'; at += n != 0 ? n : 1) {
		n = option_len(l->help, at);
		offer(l, at, n);
	}
	offer(l, "--help", 6);
}

/* The words that a KIND or a KEY stands for. */
static void
offer_described(struct line *l)
{
	for (const char *at = strstr(l->help, "\n  "); at != NULL; at = strstr(at + 1, "\n  ")) {
		const char *word = at + 3;
		size_t n = strcspn(word, " \n");

		if (islower((unsigned char)*word) && strncmp(word, "uvbridge", 8) != 0 &&
		    (isupper((unsigned char)word[n + 1]) || strncmp(word + n, "  ", 2) == 0 ||
		     strchr("abcdefghijklmnopqrstuvwxyz|", word[n + 1]) != NULL))
			offer(l, word, n);
	}
}

/* -------------------------------------------------------------------------------- what there is */

static void
offer_fabrics(struct line *l)
{
	char path[PATH_MAX], err[UVB_ERR_LEN];
	struct dirent *e;
	DIR *dir = uvb_rundir(path, false, err) == 0 ? opendir(path) : NULL;

	while (dir != NULL && (e = readdir(dir)) != NULL)
		if (uvb_name_ok(e->d_name))
			offer(l, e->d_name, strlen(e->d_name));
	if (dir != NULL)
		closedir(dir);
}

static void
offer_ports(struct line *l)
{
	char err[UVB_ERR_LEN];
	struct uvb_view *view;

	if (l->fabric == NULL || uvb_view_open(l->fabric, &view, err) != 0)
		return;
	for (uint32_t i = 0; i < view->map.nb_ports; i++) {
		char name[UVB_NAME_LEN];

		if (!uvb_map_ever_attached(&view->map, i))
			continue;
		memcpy(name, uvb_map_port(&view->map, i)->name, sizeof(name));
		name[UVB_NAME_LEN - 1] = '\0';
		if (uvb_name_ok(name))
			offer(l, name, strlen(name));
	}
	uvb_view_close(view);
}

static bool
is_word(const char *token, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(token, word, len) == 0;
}

/* What a token of a usage line, or an option's argument, can be. */
static void
offer_token(struct line *l, const char *token, size_t len)
{
	static const char *const ports[] = {"PORT", "FROM", "TO", "ADAPTER"};
	size_t n;

	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		if (is_word(token, len, ports[i]))
			offer_ports(l);
	if (is_word(token, len, "FABRIC") || (is_word(token, len, "NAME") && l->fabric == NULL))
		offer_fabrics(l);
	if (is_word(token, len, "KIND") || is_word(token, len, "KEY"))
		offer_described(l);
	for (; len > 0 && islower((unsigned char)*token); token += n + 1) {
		n = strcspn(token, "|");
		if (n >= len) {
			offer(l, token, len);
			return;
		}
		offer(l, token, n);
		len -= n + 1;
	}
}

/* ---------------------------------------------------------------------------------- usage lines */

/* The next token that is not an option, without its brackets; NULL at the end of the line. Three
 * dots at its end are left out: *more. */
static const char *
next_token(const char **at, size_t *len, bool *more)
{
	const char *p = *at;

	for (;;) {
		p += strspn(p, " ");
		if (*p == '\0' || *p == '\n')
			return NULL;
		if (strncmp(p, "[-", 2) == 0 || strncmp(p, "[options", 8) == 0 ||
		    strncmp(p, "[OPTION", 7) == 0 || *p == '-') {
			/* An option and its argument, to the bracket. */
			size_t n = strcspn(p, *p == '[' ? "]\n" : " \n");

			p += n + (p[n] == ']');
			p += strspn(p, ".");
			continue;
		}
		p += *p == '[';
		*len = strcspn(p, " ]\n");
		*at = p + *len + (p[*len] == ']');
		*more = strncmp(*at, "...", 3) == 0 ||
			(*len > 3 && strncmp(p + *len - 3, "...", 3) == 0);
		*at += strspn(*at, ".");
		if (*len > 3 && strncmp(p + *len - 3, "...", 3) == 0)
			*len -= 3;
		return p;
	}
}

static bool
token_matches(const char *token, size_t len, const char *word)
{
	if (!islower((unsigned char)*token))
		return true;
	while (len > 0) {
		size_t n = strcspn(token, "|");

		n = n < len ? n : len;
		if (is_word(token, n, word))
			return true;
		token += n + (n < len);
		len -= n + (n < len);
	}
	return false;
}

/* Go along a usage line with the words typed; offer what stands where they end. An alternative
 * that stands apart, "access VLAN | trunk LIST", counts as what may stand at its first place. */
static void
follow(struct line *l, const char *at)
{
	const char *token, *first = NULL;
	size_t len, i = 0;
	bool more = false;

	while ((token = next_token(&at, &len, &more)) != NULL) {
		if (is_word(token, len, "|")) {
			token = next_token(&at, &len, &more);
			if (token != NULL && i == l->nb_words + 1 && first != NULL)
				offer_token(l, token, len);
			continue;
		}
		if (i == l->nb_words) {
			first = token;
			offer_token(l, token, len);
		} else if (i < l->nb_words && !token_matches(token, len, l->word[i])) {
			return;
		} else if (i > l->nb_words + 1) {
			return;
		}
		/* The argument of an alternative does not count. */
		if (i < l->nb_words || first == token)
			i++;
		for (; more && i < l->nb_words && token_matches(token, len, l->word[i]); i++)
			;
		if (more && i == l->nb_words && first == NULL)
			offer_token(l, token, len);
	}
}

static void
offer_usage(struct line *l)
{
	for (const char *at = strstr(l->help, " uvbridge "); at != NULL;
	     at = strstr(at + 1, " uvbridge ")) {
		const char *start = at;

		while (start > l->help && start[-1] != '\n')
			start--;
		if (strncmp(start, "Usage:", 6) == 0 || strncmp(start, "       uvbridge ", 16) == 0)
			follow(l, at + strlen(" uvbridge "));
	}
}

/* ------------------------------------------------------------------------------------------- verb
 */

/* Words before the last one: options and what belongs to them are left out. */
static void
take_words(struct line *l, int n, char **word)
{
	size_t len;

	for (int i = 0; i < n && l->nb_words < WORDS_MAX; i++) {
		if (word[i][0] == '-') {
			i += option_argument(l->help, word[i], &len) != NULL;
			continue;
		}
		l->word[l->nb_words++] = word[i];
	}
}

static bool
is_verb(const char *word)
{
	const char *name;

	for (size_t i = 0; (name = cli_verb(i)) != NULL; i++)
		if (strcmp(name, word) == 0)
			return true;
	return false;
}

/* `port` has verbs of its own, each with its own help. */
static bool
has_kinds(const char *verb)
{
	return strcmp(verb, "port") == 0;
}

static void
complete(struct line *l, int n, char **word)
{
	const char *argument;
	bool kinds;
	size_t len;

	if (n == 0) {
		for (size_t i = 0; cli_verb(i) != NULL; i++)
			offer(l, cli_verb(i), strlen(cli_verb(i)));
		offer(l, "--help", 6);
		offer(l, "--version", 9);
		return;
	}
	if (!is_verb(word[0]))
		return;
	kinds = n > 1 && has_kinds(word[0]) && word[1][0] != '-';
	help_read(l, word[0], kinds ? word[1] : NULL);
	take_words(l, n, word);
	if (l->nb_words > 1u + kinds)
		l->fabric = l->word[1 + kinds];
	argument = n > 1 ? option_argument(l->help, word[n - 1], &len) : NULL;
	if (argument != NULL) {
		offer_token(l, argument, len);
		return;
	}
	if (l->typed[0] == '-')
		offer_options(l);
	else
		offer_usage(l);
}

int
cli_completion(int argc, char **argv)
{
	static struct line l;

	if (argc == 2 && strcmp(argv[1], "bash") == 0) {
		fputs(bash_script, stdout);
		return EXIT_OK;
	}
	if (argc == 2 && strcmp(argv[1], "zsh") == 0) {
		fputs(zsh_script, stdout);
		return EXIT_OK;
	}
	if (argc < 4 || strcmp(argv[1], "words") != 0 || strcmp(argv[2], "--") != 0)
		return cli_usage("completion", "give bash or zsh");
	l.typed = argv[argc - 1];
	complete(&l, argc - 4, argv + 3);
	return EXIT_OK;
}
