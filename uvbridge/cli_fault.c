/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verbs that make things go wrong: fault and link.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/cli.h"
#include "uvbridge/control.h"
#include "uvbridge/fault.h"
#include "uvbridge/table.h"

#define REORDER_NS 100000000ULL /* a frame that nobody overtakes goes on after so long */

static const char fault_help[] =
	"Usage: uvbridge fault FABRIC add PORT tx|rx [--filter EXPR] [--skip N] [--count N] "
	"VERDICT\n"
	"       uvbridge fault FABRIC list [--json]\n"
	"       uvbridge fault FABRIC remove HANDLE|--all\n"
	"       uvbridge fault FABRIC release HANDLE [--count N]\n"
	"       uvbridge fault FABRIC log\n"
	"A fault is on the cable of a port, in one direction: tx is from the port into the fabric, "
	"rx from\n"
	"the fabric to the port. The port need not be there yet. add prints the handle.\n"
	"  --filter EXPR   frames that a tcpdump filter matches (all)\n"
	"  --skip N        let the first N of them pass (0)\n"
	"  --count N       then do it N times (0: to all that follow)\n"
	"  --json          print the handle as JSON\n"
	"VERDICT is one of\n"
	"  --drop          lose it\n"
	"  --duplicate     deliver it twice\n"
	"  --delay TIME    deliver it so much later: 20ms, 500us, 1s\n"
	"  --reorder[=N]   let the next N frames (1) on its way overtake it, or 100 ms pass\n"
	"  --corrupt       flip one bit behind the Ethernet header\n"
	"  --truncate LEN  cut it to LEN bytes\n"
	"  --hold          keep it until `release`: all that are held, or --count of them; "
	"removing "
	"the\n"
	"                  fault releases them, too\n"
	"log prints what all faults decided, a JSON object a line; the same frames and seeds give "
	"the same\n"
	"bytes.\n"
	"Examples: uvbridge fault lab add web rx --filter 'tcp[tcpflags] & tcp-syn != 0' --count 1 "
	"--drop\n"
	"          uvbridge fault lab add web tx --filter icmp --hold\n"
	"          uvbridge fault lab release 2\n";

static const char link_help[] =
	"Usage: uvbridge link FABRIC PORT tx|rx [options]\n"
	"Gives one direction of a port's cable the properties of a line, in the words of "
	"tc-netem(8). They\n"
	"meet every frame after the rules of `uvbridge fault`, which also lists and removes "
	"them.\n"
	"  --rate RATE        10mbit, 1gbit, 64kbit\n"
	"  --queue BYTES      that may wait for the rate (no limit): 100KiB; more is lost as "
	"link_queue_full\n"
	"  --burst BYTES      that pass at once after a pause (0)\n"
	"  --delay TIME       20ms\n"
	"  --jitter TIME      more or less: uniformly, or with --normal the standard deviation\n"
	"  --normal           normally distributed jitter\n"
	"  --reorder          jitter may change the order\n"
	"  --loss P           each frame with this probability: 1%\n"
	"  --gemodel P[,R[,1-H[,1-K]]]\n"
	"                     Gilbert and Elliott: good to bad, bad to good (1-P), loss while bad "
	"(100%),\n"
	"                     loss while good (0%)\n"
	"  --nth N            every Nth frame is lost\n"
	"  --duplicate P      delivered twice\n"
	"  --corrupt P        one bit flipped\n"
	"  --filter EXPR      only frames that a tcpdump filter matches\n"
	"  --seed S           a number or a word that all chance comes from (0)\n"
	"  --json             print the handle as JSON\n"
	"Examples: uvbridge link lab web rx --rate 10mbit --queue 100KiB --delay 20ms\n"
	"          uvbridge link lab web tx --loss 1% --seed tuesday\n"
	"          uvbridge fault lab remove 3\n";

/* -------------------------------------------------------------------------------------- talking */

static int
add(const char *fabric, const struct uvb_fault_def *def, bool json)
{
	struct uvb_ctl_fault_add req = {.hdr = cli_ctl_hdr(UVB_CTL_FAULT_ADD, sizeof(req)),
					.def = *def};
	struct uvb_ctl_answer ans;
	int rc = cli_ask(fabric, &req, sizeof(req), &ans);

	if (rc == EXIT_OK)
		printf(json ? "{\"handle\":%u}\n" : "fault %u\n", ans.handle);
	return rc;
}

/* -------------------------------------------------------------------------------------- parsing */

static bool
set_filter(const char *verb, const char *text, struct uvb_fault_def *def)
{
	int n = cli_filter(verb, text, def->insn, UVB_FAULT_INSNS);

	if (n < 0)
		return false;
	if (strlen(text) >= sizeof(def->text)) {
		cli_usage(verb, "--filter: %zu characters; %zu are the most: use several faults",
			  strlen(text), sizeof(def->text) - 1);
		return false;
	}
	def->nb_insns = (uint32_t)n;
	snprintf(def->text, sizeof(def->text), "%s", text);
	return true;
}

/* A number, or a word: FNV-1a. */
static uint64_t
parse_seed(const char *text)
{
	uint64_t n, h = 0xcbf29ce484222325ULL;

	if (cli_number(text, UINT64_MAX, &n))
		return n;
	for (; *text != '\0'; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3ULL;
	return h;
}

static bool
parse_gemodel(const char *text, struct uvb_fault_def *def)
{
	uint32_t v[4] = {0, 0, UVB_CERTAIN, 0};
	char copy[80], *save = NULL, *word;
	int n = 0;

	if (strlen(text) >= sizeof(copy))
		return false;
	memcpy(copy, text, strlen(text) + 1);
	for (word = strtok_r(copy, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save))
		if (n == 4 || !cli_percent(word, &v[n++]))
			return false;
	if (n == 1)
		v[1] = UVB_CERTAIN - v[0];
	def->ge_p = v[0];
	def->ge_r = v[1];
	def->ge_bad = v[2];
	def->ge_good = v[3];
	return n > 0;
}

static bool
parse_u32(const char *text, uint32_t *v)
{
	uint64_t n;

	if (!cli_number(text, UINT32_MAX, &n) || n == 0)
		return false;
	*v = (uint32_t)n;
	return true;
}

/* PORT and tx|rx. */
static bool
parse_place(const char *port, const char *dir, struct uvb_fault_def *def)
{
	if (!uvb_name_ok(port))
		return false;
	snprintf(def->port, sizeof(def->port), "%s", port);
	def->dir = strcmp(dir, "rx") == 0 ? UVB_FAULT_RX : UVB_FAULT_TX;
	return strcmp(dir, "rx") == 0 || strcmp(dir, "tx") == 0;
}

enum {
	OPT_FILTER = 1,
	OPT_SKIP,
	OPT_COUNT,
	OPT_JSON,
	OPT_RATE,
	OPT_QUEUE,
	OPT_BURST,
	OPT_DELAY,
	OPT_JITTER,
	OPT_NORMAL,
	OPT_REORDER,
	OPT_LOSS,
	OPT_GEMODEL,
	OPT_NTH,
	OPT_DUPLICATE,
	OPT_CORRUPT,
	OPT_SEED,
	OPT_VERDICT = 0x100, /* + enum uvb_fault_verdict */
};

/* -------------------------------------------------------------------------------------- fault add
 */

static bool
verdict_option(struct uvb_fault_def *def, enum uvb_fault_verdict verdict, const char *arg)
{
	uint64_t n;

	def->verdict = (uint8_t)verdict;
	switch (verdict) {
	case UVB_FAULT_DELAY:
		return cli_time(arg, &def->delay_ns) && def->delay_ns != 0;
	case UVB_FAULT_REORDER:
		def->delay_ns = REORDER_NS;
		def->length = 1;
		return arg == NULL || (parse_u32(arg, &def->length) && def->length <= UINT8_MAX);
	case UVB_FAULT_TRUNCATE:
		if (!cli_bytes(arg, &n) || n < UVB_FRAME_MIN || n >= UVB_FRAME_MAX)
			return false;
		def->length = (uint32_t)n;
		return true;
	default:
		return true;
	}
}

/* 0, or an exit status after saying what is wrong. */
static int
rule_option(struct uvb_fault_def *def, int opt, const char *arg, bool *json)
{
	bool ok = true;

	if (opt == OPT_FILTER)
		return set_filter("fault", arg, def) ? 0 : EXIT_USAGE;
	if (opt == OPT_SKIP)
		ok = cli_number(arg, UINT64_MAX, &def->skip);
	else if (opt == OPT_COUNT)
		ok = cli_number(arg, UINT64_MAX, &def->count);
	else if (opt == OPT_JSON)
		*json = true;
	else if (opt < OPT_VERDICT)
		return EXIT_USAGE;
	else if (def->verdict != 0)
		return cli_usage("fault", "one verdict is wanted, not two");
	else
		ok = verdict_option(def, (enum uvb_fault_verdict)(opt - OPT_VERDICT), arg);
	return ok ? 0 : cli_usage("fault", "\"%s\" is out of range, or has no unit", arg);
}

static int
fault_add_verb(const char *fabric, int argc, char **argv)
{
	static const struct option longs[] = {
		{"filter", required_argument, NULL, OPT_FILTER},
		{"skip", required_argument, NULL, OPT_SKIP},
		{"count", required_argument, NULL, OPT_COUNT},
		{"json", no_argument, NULL, OPT_JSON},
		{"drop", no_argument, NULL, OPT_VERDICT + UVB_FAULT_DROP},
		{"duplicate", no_argument, NULL, OPT_VERDICT + UVB_FAULT_DUPLICATE},
		{"delay", required_argument, NULL, OPT_VERDICT + UVB_FAULT_DELAY},
		{"reorder", optional_argument, NULL, OPT_VERDICT + UVB_FAULT_REORDER},
		{"corrupt", no_argument, NULL, OPT_VERDICT + UVB_FAULT_CORRUPT},
		{"truncate", required_argument, NULL, OPT_VERDICT + UVB_FAULT_TRUNCATE},
		{"hold", no_argument, NULL, OPT_VERDICT + UVB_FAULT_HOLD},
		{NULL, 0, NULL, 0},
	};
	static struct uvb_fault_def def;
	bool json = false;
	int opt, rc;

	def.kind = UVB_FAULT_RULE;
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		rc = opt == '?' ? EXIT_USAGE : rule_option(&def, opt, optarg, &json);
		if (rc != 0)
			return rc;
	}
	if (argc - optind != 2 || !parse_place(argv[optind], argv[optind + 1], &def))
		return cli_usage("fault", "add wants a port's name, then tx or rx");
	if (def.verdict == 0)
		return cli_usage("fault", "what is to be done to the frames? --drop, --delay, ...");
	return add(fabric, &def, json);
}

/* ------------------------------------------------------------------------------------------ link
 */

static int
link_option(struct uvb_fault_def *def, int opt, const char *arg, bool *json)
{
	bool ok = true;

	switch (opt) {
	case OPT_FILTER:
		return set_filter("link", arg, def) ? 0 : EXIT_USAGE;
	case OPT_JSON:
		*json = true;
		break;
	case OPT_NORMAL:
		def->flags |= UVB_FAULT_NORMAL;
		break;
	case OPT_REORDER:
		def->flags |= UVB_FAULT_REORDERS;
		break;
	case OPT_SEED:
		def->seed = parse_seed(arg);
		break;
	case OPT_RATE:
		ok = cli_rate(arg, &def->rate_bps);
		break;
	case OPT_QUEUE:
		ok = cli_bytes(arg, &def->queue_bytes);
		break;
	case OPT_BURST:
		ok = cli_bytes(arg, &def->burst_bytes);
		break;
	case OPT_DELAY:
		ok = cli_time(arg, &def->delay_ns);
		break;
	case OPT_JITTER:
		ok = cli_time(arg, &def->jitter_ns);
		break;
	case OPT_LOSS:
		ok = cli_percent(arg, &def->loss);
		break;
	case OPT_GEMODEL:
		ok = parse_gemodel(arg, def);
		break;
	case OPT_NTH:
		ok = parse_u32(arg, &def->nth);
		break;
	case OPT_DUPLICATE:
		ok = cli_percent(arg, &def->duplicate);
		break;
	case OPT_CORRUPT:
		ok = cli_percent(arg, &def->corrupt);
		break;
	default:
		return EXIT_USAGE;
	}
	return ok ? 0 : cli_usage("link", "\"%s\" is out of range, or has no unit", arg);
}

int
cli_link(int argc, char **argv)
{
	static const struct option longs[] = {
		{"rate", required_argument, NULL, OPT_RATE},
		{"queue", required_argument, NULL, OPT_QUEUE},
		{"burst", required_argument, NULL, OPT_BURST},
		{"delay", required_argument, NULL, OPT_DELAY},
		{"jitter", required_argument, NULL, OPT_JITTER},
		{"normal", no_argument, NULL, OPT_NORMAL},
		{"reorder", no_argument, NULL, OPT_REORDER},
		{"loss", required_argument, NULL, OPT_LOSS},
		{"gemodel", required_argument, NULL, OPT_GEMODEL},
		{"nth", required_argument, NULL, OPT_NTH},
		{"duplicate", required_argument, NULL, OPT_DUPLICATE},
		{"corrupt", required_argument, NULL, OPT_CORRUPT},
		{"filter", required_argument, NULL, OPT_FILTER},
		{"seed", required_argument, NULL, OPT_SEED},
		{"json", no_argument, NULL, OPT_JSON},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	static struct uvb_fault_def def;
	bool json = false;
	int opt, rc;

	def.kind = UVB_FAULT_MODEL;
	while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (opt == 'h') {
			fputs(link_help, stdout);
			return EXIT_OK;
		}
		rc = opt == '?' ? EXIT_USAGE : link_option(&def, opt, optarg, &json);
		if (rc != 0)
			return rc;
	}
	if (argc - optind != 3 || !parse_place(argv[optind + 1], argv[optind + 2], &def))
		return cli_usage("link", "a fabric, a port's name, and tx or rx are wanted");
	return add(argv[optind], &def, json);
}

/* ------------------------------------------------------------------------------------ fault list
 */

/* "drop", "delay 20ms", "rate 10000000bit/s, loss 1%": for humans. */
static void
describe(const struct uvb_fault_def *d, char *text, size_t room)
{
	FILE *f = fmemopen(text, room, "w");
	const double percent = 100 / 4294967296.0;

	if (f == NULL)
		return;
	if (d->kind == UVB_FAULT_RULE)
		fprintf(f, "%s", uvb_fault_verdict_name(d->verdict));
	if (d->length != 0)
		fprintf(f, " %u", d->length);
	if (d->rate_bps != 0)
		fprintf(f, " rate %" PRIu64 "bit", d->rate_bps);
	if (d->queue_bytes != 0)
		fprintf(f, " queue %" PRIu64 "b", d->queue_bytes);
	if (d->burst_bytes != 0)
		fprintf(f, " burst %" PRIu64 "b", d->burst_bytes);
	if (d->delay_ns != 0)
		fprintf(f, " delay %gms", (double)d->delay_ns / 1e6);
	if (d->jitter_ns != 0)
		fprintf(f, " jitter %gms%s%s", (double)d->jitter_ns / 1e6,
			d->flags & UVB_FAULT_NORMAL ? " normal" : "",
			d->flags & UVB_FAULT_REORDERS ? " reorder" : "");
	if (d->loss != 0)
		fprintf(f, " loss %.4g%%", d->loss * percent);
	if ((d->ge_p | d->ge_r | d->ge_bad | d->ge_good) != 0)
		fprintf(f, " gemodel %.4g%%,%.4g%%,%.4g%%,%.4g%%", d->ge_p * percent,
			d->ge_r * percent, d->ge_bad * percent, d->ge_good * percent);
	if (d->nth != 0)
		fprintf(f, " nth %u", d->nth);
	if (d->duplicate != 0)
		fprintf(f, " duplicate %.4g%%", d->duplicate * percent);
	if (d->corrupt != 0)
		fprintf(f, " corrupt %.4g%%", d->corrupt * percent);
	fclose(f);
}

static void
list_table(const struct uvb_map *map)
{
	struct table t;

	table_begin(&t, "fault|port|dir|matched|hits|held|lost|queue full|what|filter",
		    "rllrrrrrll");
	for (uint32_t i = 0; i < UVB_FAULTS_MAX; i++) {
		const struct uvb_fault_shm *f = uvb_map_fault(map, i);
		uint32_t handle = atomic_load(&f->handle);
		char what[300] = "";

		if (handle == 0)
			continue;
		describe(&f->def, what, sizeof(what));
		table_add(&t, "%u", handle);
		table_add(&t, "%.31s", f->def.port);
		table_add(&t, "%s", uvb_fault_dir_name(f->def.dir));
		table_add(&t, "%" PRIu64, uvb_load(&f->matched));
		table_add(&t, "%" PRIu64, uvb_load(&f->hits));
		table_add(&t, "%" PRIu64, uvb_load(&f->held) - uvb_load(&f->released));
		table_add(&t, "%" PRIu64, uvb_load(&f->lost));
		table_add(&t, "%" PRIu64, uvb_load(&f->full));
		table_add(&t, "%s", what[0] == ' ' ? what + 1 : what);
		table_add(&t, "%.255s", f->def.text);
	}
	table_end(&t, stdout);
}

static int
fault_list(const char *fabric, int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	char err[UVB_ERR_LEN], *text;
	struct uvb_view *view;

	if (argc > 2 || (argc == 2 && !json))
		return cli_usage("fault", "list takes --json or nothing");
	if (uvb_view_open(fabric, &view, err) != 0)
		return cli_fail("%s", err);
	text = json ? uvb_view_faults_json(view) : NULL;
	if (json)
		puts(text != NULL ? text : "");
	else if (atomic_load(&uvb_map_hdr(&view->map)->fault_seq) != 0)
		list_table(&view->map);
	free(text);
	uvb_view_close(view);
	return json && text == NULL ? cli_fail("no memory") : EXIT_OK;
}

/* --------------------------------------------------------------------------- remove, release, log
 */

static int
fault_remove_verb(const char *fabric, int argc, char **argv)
{
	struct uvb_ctl_fault req = {.hdr = cli_ctl_hdr(UVB_CTL_FAULT_REMOVE, sizeof(req))};
	struct uvb_ctl_answer ans;

	if (argc != 2 || (strcmp(argv[1], "--all") != 0 && !parse_u32(argv[1], &req.handle)))
		return cli_usage("fault", "remove wants a fault's number, or --all");
	return cli_ask(fabric, &req, sizeof(req), &ans);
}

static int
fault_release_verb(const char *fabric, int argc, char **argv)
{
	struct uvb_ctl_fault req = {.hdr = cli_ctl_hdr(UVB_CTL_FAULT_RELEASE, sizeof(req))};
	bool count = argc == 4 && strcmp(argv[2], "--count") == 0;
	struct uvb_ctl_answer ans;
	int rc;

	if ((argc != 2 && !count) || !parse_u32(argv[1], &req.handle))
		return cli_usage("fault", "release wants a fault's number, and may have --count N");
	if (count && (!cli_number(argv[3], UINT64_MAX, &req.count) || req.count == 0))
		return cli_usage("fault", "--count wants a number, not \"%s\"", argv[3]);
	rc = cli_ask(fabric, &req, sizeof(req), &ans);
	if (rc == EXIT_OK)
		printf("%u released\n", ans.number);
	return rc;
}

static int
print_log(const char *fabric)
{
	char err[UVB_ERR_LEN], chunk[65536];
	int dirfd = uvb_fabric_open(fabric, err), fd;
	ssize_t n = 0;

	if (dirfd < 0)
		return cli_fail("%s", err);
	fd = openat(dirfd, "decisions.log", O_RDONLY | O_CLOEXEC);
	close(dirfd);
	if (fd < 0)
		return errno == ENOENT ? EXIT_OK : cli_fail("decisions.log: %s", strerror(errno));
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		if (fwrite(chunk, 1, (size_t)n, stdout) != (size_t)n)
			break;
	close(fd);
	return n == 0 ? EXIT_OK : cli_fail("decisions.log: %s", strerror(errno));
}

static int
fault_log_verb(const char *fabric, int argc, char **argv)
{
	struct uvb_ctl_plain req = {.hdr = cli_ctl_hdr(UVB_CTL_FAULT_SYNC, sizeof(req))};
	struct uvb_ctl_answer ans;
	int rc;

	(void)argv;
	if (argc != 1)
		return cli_usage("fault", "log takes no arguments");
	rc = cli_ask(fabric, &req, sizeof(req), &ans);
	return rc == EXIT_OK ? print_log(fabric) : rc;
}

int
cli_fault(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const char *fabric, int argc, char **argv);
	} verbs[] = {{"add", fault_add_verb},
		     {"list", fault_list},
		     {"remove", fault_remove_verb},
		     {"release", fault_release_verb},
		     {"log", fault_log_verb}};

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(fault_help, stdout);
			return EXIT_OK;
		}
	for (size_t i = 0; argc >= 3 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[2], verbs[i].name) == 0)
			return verbs[i].run(argv[1], argc - 2, argv + 2);
	return cli_usage("fault", "a fabric, then add, list, remove, release or log is wanted");
}
