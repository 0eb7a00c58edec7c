/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The verb that makes time pass.
 */
#include <inttypes.h>
#include <time.h>

#include "uvbridge/cli.h"
#include "uvbridge/control.h"

#define LOOK_NS 200000 /* between two looks at a clock that goes */

static const char clock_help[] =
	"Usage: uvbridge clock FABRIC [--json]\n"
	"       uvbridge clock FABRIC real | stop | step TIME [--timeout SEC] | warp TIME | auto "
	"on|off\n"
	"The clock that delays, time stamps, captures and hosts on uveth ports go by.\n"
	"  real       it goes as the kernel's; after virtual time, from where that stood\n"
	"  stop       virtual: it stands still (virtual is another word for it)\n"
	"  step TIME  on by TIME: to everything that falls due on the way, one after the other, "
	"each "
	"once\n"
	"             everybody has done what there was to do; ends when it is there (10 s at "
	"most, "
	"or SEC)\n"
	"  warp TIME  on by TIME at once, whatever falls due on the way\n"
	"  auto on    it goes by itself: whenever nobody has anything to do, to when somebody "
	"has\n"
	"  auto off   it stands still\n"
	"  --timeout SEC   how long step waits for everybody (10)\n"
	"Example: uvbridge clock lab stop && uvbridge clock lab step 5s\n";

static int
show(const char *fabric, bool json)
{
	char err[UVB_ERR_LEN];
	struct uvb_view *view;
	const struct uvb_hdr *h;
	uint64_t now, until;
	bool is_virtual;

	if (uvb_view_open(fabric, &view, err) != 0)
		return cli_fail("%s", err);
	h = uvb_map_hdr(&view->map);
	now = uvb_clock_ns(h);
	is_virtual = uvb_clock_is_virtual(h);
	until = uvb_load(&h->clock_until);
	if (json)
		printf("{\"virtual\":%s,\"auto\":%s,\"now\":%" PRIu64 ",\"elapsed\":%" PRIu64 "}\n",
		       is_virtual ? "true" : "false", until == UVB_CLOCK_FREE ? "true" : "false",
		       now, is_virtual ? now - uvb_load(&h->clock_base) : 0);
	else if (is_virtual)
		printf("virtual, %s; %.9f s since it became so\n",
		       until == UVB_CLOCK_FREE ? "goes by itself"
		       : until > now           ? "on its way"
					       : "stands still",
		       (double)(now - uvb_load(&h->clock_base)) / 1e9);
	else
		printf("real, %.9f s\n", (double)now / 1e9);
	uvb_view_close(view);
	return EXIT_OK;
}

/* Until the clock shows `target`. */
static int
await(const char *fabric, uint64_t target, double timeout)
{
	uint64_t end = uvb_now_ns() + (uint64_t)(timeout * 1e9);
	char err[UVB_ERR_LEN];
	struct uvb_view *view;
	int rc = EXIT_OK;

	if (uvb_view_open(fabric, &view, err) != 0)
		return cli_fail("%s", err);
	while (uvb_clock_ns(uvb_map_hdr(&view->map)) < target && rc == EXIT_OK) {
		nanosleep(&(struct timespec){0, LOOK_NS}, NULL);
		if (uvb_now_ns() > end)
			rc = cli_fail("%s: the clock has not got there in %g s: a host is busy all "
				      "the time, or stopped (uvbridge show %s queues)",
				      fabric, timeout, fabric);
	}
	uvb_view_close(view);
	return rc;
}

static int
request(const char *fabric, enum uvb_ctl_clock_op op, uint64_t ns, double timeout)
{
	struct uvb_ctl_clock req = {
		.hdr = cli_ctl_hdr(UVB_CTL_CLOCK, sizeof(req)), .op = op, .ns = ns};
	struct uvb_ctl_answer ans;
	int rc = cli_ask(fabric, &req, sizeof(req), &ans);

	return rc == EXIT_OK && op == UVB_CLOCK_STEP ? await(fabric, ans.clock, timeout) : rc;
}

static int
timed(const char *fabric, enum uvb_ctl_clock_op op, const char *text, double timeout)
{
	uint64_t ns;

	if (!cli_time(text, &ns))
		return cli_usage("clock", "\"%s\" is no time: 5s, 20ms", text);
	return request(fabric, op, ns, timeout);
}

static int
run(const char *fabric, int n, char **word, double timeout)
{
	if (n == 1 && strcmp(word[0], "real") == 0)
		return request(fabric, UVB_CLOCK_REAL, 0, 0);
	if (n == 1 && (strcmp(word[0], "stop") == 0 || strcmp(word[0], "virtual") == 0))
		return request(fabric, UVB_CLOCK_STOP, 0, 0);
	if (n == 2 && strcmp(word[0], "step") == 0)
		return timed(fabric, UVB_CLOCK_STEP, word[1], timeout);
	if (n == 2 && strcmp(word[0], "warp") == 0)
		return timed(fabric, UVB_CLOCK_WARP, word[1], 0);
	if (n == 2 && strcmp(word[0], "auto") == 0 && strcmp(word[1], "on") == 0)
		return request(fabric, UVB_CLOCK_AUTO, 0, 0);
	if (n == 2 && strcmp(word[0], "auto") == 0 && strcmp(word[1], "off") == 0)
		return request(fabric, UVB_CLOCK_STOP, 0, 0);
	return cli_usage("clock", "real, stop, step TIME, warp TIME or auto on|off is wanted");
}

int
cli_clock(int argc, char **argv)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'},
					      {"timeout", required_argument, NULL, 't'},
					      {"help", no_argument, NULL, 'h'},
					      {NULL, 0, NULL, 0}};
	double timeout = 10;
	bool json = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (opt == 'h') {
			fputs(clock_help, stdout);
			return EXIT_OK;
		}
		if (opt == '?' || (opt == 't' && !cli_seconds(optarg, &timeout)))
			return cli_usage("clock", "what is that?");
		json |= opt == 'j';
	}
	if (optind == argc)
		return cli_usage("clock", "a fabric's name is wanted");
	if (optind + 1 == argc)
		return show(argv[optind], json);
	return run(argv[optind], argc - optind - 1, argv + optind + 1, timeout);
}
