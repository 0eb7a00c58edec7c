/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The life cycle of the process's stack. */
#include "stack/sock/stack.h"
#include "stack/core/clock.h"
#include "stack/core/eal.h"
#include "stack/core/fds.h"
#include "stack/core/log.h"
#include "stack/core/share.h"
#include "stack/core/telemetry.h"
#include "stack/core/waiter.h"
#include "stack/seen/page.h"
#include "stack/share/proto.h"
#include "stack/sock/sock_priv.h"

#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const struct uvs_model *uvs_model = &uvs_model_shared;

static struct {
	struct uvs_conf conf;
	bool conf_read, conf_ok;
	uint32_t epoch;
	struct uvs_instance **in; /* [n], never freed: a forked child makes others */
	unsigned int n;
	struct uvs_share *share[UVS_STACKS_MAX]; /* slots of a host; NULL: the port is its own */
	bool running;                            /* atomic */
	int failed;    /* errno of a start that went wrong: do not try again */
	pid_t eal_pid; /* process in which EAL was started; 0: none */
	int claim;     /* descriptor by which the port is claimed, or -1 */
} stack = {.epoch = 1, .claim = -1};

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;

/* --------------------------------------------------------------------------------- configuration
 */

static void
read_conf(void)
{
	const char *path = getenv(UVS_CONF_ENV);
	struct uvs_conf_error err;

	stack.conf_read = true;
	uvs_conf_defaults(&stack.conf);
	if (path == NULL || *path == '\0') {
		uvs_log(UVS_LOG_ERROR, "%s is not set: use uvrun", UVS_CONF_ENV);
		return;
	}
	if (uvs_conf_load_with(&stack.conf, path, getenv(UVS_CONF_SETS_ENV), &err) < 0) {
		uvs_log(UVS_LOG_ERROR, "%s", err.text);
		return;
	}
	if (stack.conf.model == UVS_MODEL_SEPARATE)
		uvs_model = &uvs_model_separate;
	stack.conf_ok = true;
}

const struct uvs_conf *
uvs_stack_conf(void)
{
	static bool read; /* atomic */

	if (!__atomic_load_n(&read, __ATOMIC_ACQUIRE)) {
		pthread_mutex_lock(&start_lock);
		if (!stack.conf_read)
			read_conf();
		if (stack.conf_ok)
			uvs_log_setup(&stack.conf);
		pthread_mutex_unlock(&start_lock);
		__atomic_store_n(&read, true, __ATOMIC_RELEASE);
	}
	return stack.conf_ok ? &stack.conf : NULL;
}

static struct uvs_instance *
instance_new(void)
{
	struct uvs_instance *in = aligned_alloc(64, (sizeof(*in) + 63) & ~63ul);

	if (in == NULL)
		abort();
	uvs_inst_init(in, &stack.conf);
	return in;
}

static struct uvs_instance **
instances_new(unsigned int n)
{
	struct uvs_instance **in = calloc(n, sizeof(*in));

	if (in == NULL)
		abort();
	for (unsigned int i = 0; i < n; i++)
		in[i] = instance_new();
	return in;
}

struct uvs_instance *const *
uvs_stack_instances(unsigned int *n)
{
	struct uvs_instance **in = __atomic_load_n(&stack.in, __ATOMIC_ACQUIRE);

	if (unlikely(in == NULL)) {
		uvs_stack_conf();
		pthread_mutex_lock(&start_lock);
		if (stack.in == NULL) {
			stack.n = stack.conf.stacks;
			__atomic_store_n(&stack.in, instances_new(stack.n), __ATOMIC_RELEASE);
		}
		in = stack.in;
		pthread_mutex_unlock(&start_lock);
	}
	*n = stack.n;
	return in;
}

bool
uvs_stack_has(const struct uvs_instance *in)
{
	for (unsigned int i = 0; stack.in != NULL && i < stack.n; i++)
		if (stack.in[i] == in)
			return true;
	return false;
}

uint32_t
uvs_stack_epoch(void)
{
	return __atomic_load_n(&stack.epoch, __ATOMIC_RELAXED);
}

bool
uvs_stack_may_bind_low(void)
{
	return true; /* the address is the stack's own; whoever may drive its port may use its ports
		      */
}

/* ----------------------------------------------------------------------------------------- start
 */

struct uvs_sock_ports *
uvs_sock_ports_new(void)
{
	return calloc(1, sizeof(struct uvs_sock_ports));
}

static void
open_ports(struct uvs_ports *p, struct uvs_port_table *all, struct uvs_share *share, uint64_t kin)
{
	p->all = all;
	if (share == NULL)
		return;
	p->claims = uvs_share_claims(share);
	p->who = (struct uvs_claimant){uvs_share_slot(share), kin};
	p->home = uvs_share_home(share);
}

static int
tables_new(struct uvs_instance *in, struct uvs_share *share, struct uvs_sock_ports *all,
	   uint64_t kin)
{
	struct uvs_sock_tables *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return -ENOMEM;
	in->sock = t;
	if (all == NULL)
		all = t->own = uvs_sock_ports_new();
	if (all == NULL)
		return -ENOMEM;
	t->tcp.tcp = true;
	open_ports(&t->tcp, &all->tcp, share, kin);
	open_ports(&t->udp, &all->udp, share, kin);
	for (int v6 = 0; v6 < 2; v6++)
		open_ports(&t->ping[v6], &all->ping[v6], NULL, kin);
	return 0;
}

int
uvs_stack_attach(struct uvs_instance *in, uint16_t port_id, struct uvs_share *share,
		 struct uvs_sock_ports *all, uint64_t kin)
{
	int r = tables_new(in, share, all, kin);

	if (r < 0)
		return r;
	r = uvs_inst_start(in, port_id, share);
	if (r < 0)
		return r;
	uvs_inst_enter(in);
	r = uvs_icmp_start(in);
	uvs_inst_leave(in);
	return r;
}

void
uvs_stack_detach(struct uvs_instance *in)
{
	uvs_inst_enter(in);
	uvs_inst_stop(in);
	uvs_inst_leave(in);
	free(uvs_tables(in)->own);
	free(in->sock);
	in->sock = NULL;
}

struct uvs_sock_tables *
uvs_tables(struct uvs_instance *in)
{
	return in->sock;
}

static bool
view_of(void *in, uint32_t slot, struct uvs_view *v)
{
	(void)slot; /* there is one */
	uvs_inst_view(in, v);
	return true;
}

/* Whoever looks from outside looks there, if the process has one stack. */
static void
show(struct uvs_instance *in)
{
	char err[UVS_ERR_LEN];
	struct uvs_seen *page = uvs_seen_make(&stack.conf, err);

	if (page != NULL) {
		uvs_inst_show(in, page);
		if (stack.conf.telemetry)
			uvs_telemetry_register(view_of, in, 1);
	} else {
		uvs_log(UVS_LOG_NOTICE, "uvstack will not see this process: %s", err);
	}
}

/* Slots for the instances, if the host has any: of the manager's, or of this process's own. */
static int
start_host(void)
{
	if (stack.conf.mode == UVS_MODE_SHARED)
		return uvs_share_attach(&stack.conf, stack.share, stack.n);
	return uvs_eal_start(&stack.conf, NULL);
}

static int
start_instances(void *arg)
{
	struct uvs_sock_ports *all = uvs_sock_ports_new();
	bool shared = stack.conf.mode == UVS_MODE_SHARED;
	int port = shared ? 0 : uvs_eal_port(&stack.conf), r = 0;
	uint64_t kin = 0;

	(void)arg;
	if (port < 0 || all == NULL)
		return port < 0 ? port : -ENOMEM;
	if (!shared && stack.n == 1)
		show(stack.in[0]);
	if (!shared && stack.n > 1)
		r = uvs_share_alone(&stack.conf, (uint16_t)port, stack.share, stack.n);
	for (unsigned int i = 0; r == 0 && stack.share[0] != NULL && i < stack.n; i++)
		kin |= 1ULL << uvs_share_slot(stack.share[i]);
	for (unsigned int i = 0; r == 0 && i < stack.n; i++)
		r = uvs_stack_attach(stack.in[i], (uint16_t)port, stack.share[i], all, kin);
	return r;
}

static long
addresses_ready(void *arg)
{
	return uvs_addresses_ready(arg);
}

/* The host is up when it has its addresses: what runs on it is told so by its first call, and would
 * take an answer of "no such address" for the truth. Bounded: a network may have no router. */
#define ADDRESSES_NS (15 * UVS_NS_PER_S)

static void
await_addresses(struct uvs_instance *in)
{
	uint64_t until = uvs_clock_ns() + ADDRESSES_NS, now;
	struct uvs_waiter *w = uvs_waiter_self();

	while (uvs_model->call(in, addresses_ready, in) == 0) {
		now = uvs_clock_ns();
		if (now >= until) {
			uvs_log(UVS_LOG_WARNING, "the network has given this host no address yet");
			return;
		}
		uvs_wait(w, NULL, RTE_MIN(until, now + 10 * UVS_NS_PER_MS));
	}
}

/* True if no other process of this configuration has the port. The claim is a lock of the
 * configuration's file: it ends with the process, however that ends. A forked child closes its
 * copy (uvs_stack_forget). */
static bool
claim_port(void)
{
	const char *path = getenv(UVS_CONF_ENV);
	int fd;

	if (stack.claim >= 0)
		return true;
	fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return true; /* nobody can tell */
	fd = uvs_fd_adopt(fd);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		uvs_fd_close(fd);
		return false;
	}
	stack.claim = fd;
	return true;
}

static int
start_everything(void)
{
	int r;

	if (stack.eal_pid != 0 && stack.eal_pid != getpid()) {
		uvs_log(UVS_LOG_ERROR, "a forked process cannot start a stack of its own after its "
				       "parent has; its sockets here fail");
		return -ENETDOWN;
	}
	stack.eal_pid = getpid();
	claim_port(); /* if it is another's, the driver says so */
	r = start_host();
	if (r == 0)
		r = uvs_aside(start_instances, NULL);
	if (r == 0)
		r = uvs_model->start(stack.in, stack.n);
	for (unsigned int i = 0; r == 0 && i < stack.n; i++)
		await_addresses(stack.in[i]);
	return r;
}

int
uvs_stack_start(void)
{
	int saved = errno, r;
	unsigned int n;

	if (uvs_stack_running())
		return 0;
	if (uvs_stack_conf() == NULL)
		return -ENETDOWN;
	uvs_stack_instances(&n);
	pthread_mutex_lock(&start_lock);
	r = stack.failed;
	if (r == 0 && !stack.running) {
		r = start_everything();
		stack.failed = r;
		__atomic_store_n(&stack.running, r == 0, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&start_lock);
	errno = saved;
	return r == 0 ? 0 : -ENETDOWN;
}

void
uvs_stack_join_clock(void)
{
	if (uvs_stack_running() || uvs_stack_conf() == NULL || stack.eal_pid != 0)
		return;
	if (stack.conf.mode == UVS_MODE_SHARED || claim_port())
		uvs_stack_start();
}

/* In every process, however short: without what only a stack needs, the log for one. */
void
uvs_stack_watch_clock(void)
{
	char fabric[UVS_CONF_STR];

	read_conf();
	if (!stack.conf_ok || stack.conf.app_clock != UVS_APP_CLOCK_FABRIC ||
	    !uvs_conf_fabric(&stack.conf, fabric, sizeof(fabric)))
		return;
	uvs_clock_watched = uvb_clock_map(fabric);
	uvs_clock_follow(uvs_clock_watched);
}

bool
uvs_stack_running(void)
{
	return __atomic_load_n(&stack.running, __ATOMIC_ACQUIRE);
}

int
uvs_stack_ready(struct uvs_instance *in)
{
	if (likely(uvs_stack_running()) || !uvs_stack_has(in))
		return 0;
	return uvs_stack_start();
}

/* ------------------------------------------------------------------------------------------ stop
 */

/* What exit() waits for. */
enum { LINGER_NONE, LINGER_CLOSE, LINGER_DATA };

/* Data gets all of exit_linger_ms; datagrams whose receiver is still asked for, and a connection
 * that only has its end to say (or to hear, so that the peer's end is acknowledged and not sent for
 * ever) a round trip with one retransmission. */
#define LINGER_CLOSE_NS (300 * UVS_NS_PER_MS)

static bool
has_data(const struct tcp_seg *seg)
{
	for (; seg != NULL; seg = seg->next) {
		if (seg->len > 0)
			return true;
	}
	return false;
}

static long
linger_for(void *arg)
{
	long what = uvl_etharp_waiting() || uvl_nd6_waiting() ? LINGER_CLOSE : LINGER_NONE;

	(void)arg;
	for (struct tcp_pcb *p = tcp_active_pcbs; p != NULL; p = p->next) {
		if (has_data(p->unsent) || has_data(p->unacked))
			return LINGER_DATA;
		if (p->unsent != NULL || p->unacked != NULL || p->state == FIN_WAIT_2)
			what = LINGER_CLOSE;
	}
	return what;
}

/* What the kernel does with the descriptors of a process that ends. */
static long
close_all(void *arg)
{
	uvs_tcp_close_all(arg);
	return 0;
}

static long
close_everywhere(void)
{
	long r = 0;

	for (unsigned int i = 0; i < stack.n; i++)
		r |= uvs_model->call(stack.in[i], close_all, stack.in[i]);
	return r;
}

static long
linger_for_any(void)
{
	long most = LINGER_NONE;

	for (unsigned int i = 0; i < stack.n; i++)
		most = RTE_MAX(most, uvs_model->call(stack.in[i], linger_for, NULL));
	return most;
}

static void
linger(void)
{
	uint64_t start = uvs_clock_ns(), now = start;
	uint64_t most = stack.conf.exit_linger_ms * UVS_NS_PER_MS;
	struct uvs_waiter *w = uvs_waiter_self();

	while (now - start < most) {
		long what = linger_for_any();

		if (what == LINGER_NONE || (what == LINGER_CLOSE && now - start >= LINGER_CLOSE_NS))
			break;
		uvs_wait(w, NULL, RTE_MIN(start + most, now + 5 * UVS_NS_PER_MS));
		now = uvs_clock_ns();
	}
}

#define STATS_LEN 8192 /* of an instance */

static bool
write_line(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	bool ok = f != NULL && fprintf(f, "%s\n", text) > 0;

	return f != NULL && fclose(f) == 0 && ok;
}

/* As a whole: who ends may be killed while he writes, and somebody may be reading. A pipe or a
 * terminal is written to as it is. */
static bool
replace_file(const char *path, const char *text)
{
	char part[UVS_CONF_STR + 32];
	struct stat st;
	int error;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return write_line(path, text);
	snprintf(part, sizeof(part), "%s.%d.part", path, (int)getpid());
	if (write_line(part, text) && rename(part, path) == 0)
		return true;
	error = errno;
	unlink(part);
	errno = error;
	return false;
}

static void
write_stats(void)
{
	size_t len = (stack.n + 1) * STATS_LEN;
	char path[UVS_CONF_STR + 16], *text = malloc(len);

	if (text == NULL)
		return;
	uvs_stats_json(stack.in, stack.n, text, len);
	uvs_log(UVS_LOG_DEBUG, "statistics: %s", text);
	if (stack.conf.stats_file[0] != '\0') {
		uvs_log_expand(stack.conf.stats_file, path, sizeof(path));
		if (!replace_file(path, text))
			uvs_log(UVS_LOG_WARNING, "stats_file %s: no statistics: %s", path,
				strerror(errno));
	}
	free(text);
}

void
uvs_stack_stop(void)
{
	if (!uvs_stack_running())
		return;
	if (close_everywhere() == 0)
		linger();
	write_stats();
	uvs_eal_trace_save(&stack.conf);
	uvs_model->stop();
	__atomic_store_n(&stack.running, false, __ATOMIC_RELEASE);
	stack.failed = -ENETDOWN;
	/* Never left again: threads that exit() found at work, and what runs after this on the way
	 * out, must not touch what is no more. Not at all if this thread was inside. */
	for (unsigned int i = 0; i < stack.n; i++) {
		if (!uvs_inst_enter(stack.in[i]))
			return;
		uvs_inst_stop(stack.in[i]);
		uvs_inst_seal(stack.in[i]);
	}
	uvs_share_end();
	uvs_seen_remove();
}

void
uvs_stack_forget(void)
{
	pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;

	start_lock = fresh;
	uvs_model->forget();
	uvs_self = NULL;
	uvl_enter(NULL);
	stack.in = NULL;
	memset(stack.share, 0, sizeof(stack.share));
	stack.running = false;
	stack.failed = 0;
	if (stack.claim >= 0)
		uvs_fd_close(stack.claim);
	stack.claim = -1;
	stack.epoch++;
}

/* ----------------------------------------------------------------------------------------- routes
 */

static enum uvs_route
loopback_route(const struct uvs_conf *c)
{
	return c->loopback == UVS_LOOPBACK_STACK ? UVS_ROUTE_STACK : UVS_ROUTE_KERNEL;
}

bool
uvs_stack_has_interface(const char *name, size_t len)
{
	const struct uvs_conf *c = uvs_stack_conf();
	char given[IFNAMSIZ] = "", vlan[IFNAMSIZ];

	memcpy(given, name, len < sizeof(given) ? len : sizeof(given) - 1);
	if (c == NULL || strcmp(given, UVS_IFNAME) == 0)
		return c != NULL;
	for (unsigned int i = 0; i < c->vlans.n; i++) {
		snprintf(vlan, sizeof(vlan), UVS_IFNAME ".%u", c->vlans.vlan[i].id);
		if (strcmp(given, vlan) == 0)
			return true;
	}
	return false;
}

static bool
on_link(const struct uvs_conf *c, uint32_t addr)
{
	struct in_addr a = {addr};
	bool on = uvs_conf_on_link4(&c->addresses, a);

	for (unsigned int i = 0; i < c->vlans.n && !on; i++)
		on = uvs_conf_on_link4(&c->vlans.vlan[i].addresses, a);
	return on;
}

static bool
has_router(const struct uvs_conf *c, int family)
{
	bool has = family == AF_INET ? c->gateway.addr.s_addr != 0 : c->gateway6.family != 0;

	for (unsigned int i = 0; i < c->vlans.n && !has; i++)
		has = (family == AF_INET ? &c->vlans.vlan[i].via : &c->vlans.vlan[i].via6)
			      ->family != 0;
	return has;
}

static bool
routed4(const struct uvs_conf *c, uint32_t addr)
{
	for (unsigned int i = 0; i < c->routes.n; i++) {
		const struct uvs_conf_net *n = &c->routes.route[i].dest;
		uint32_t mask = n->prefix == 0 ? 0 : htonl(0xffffffffu << (32 - n->prefix));

		if (n->family == AF_INET && ((addr ^ n->v4.s_addr) & mask) == 0)
			return true;
	}
	return has_router(c, AF_INET) || c->addresses.automatic;
}

static enum uvs_route
route_remote_v4(const struct uvs_conf *c, uint32_t addr)
{
	uint32_t host = ntohl(addr);

	/* connect() to 0.0.0.0 means this host. */
	if (host >> 24 == 127 || host == 0)
		return loopback_route(c);
	if (on_link(c, addr) || host >> 28 == 0xe || host == 0xffffffffu)
		return UVS_ROUTE_STACK;
	return routed4(c, addr) ? UVS_ROUTE_STACK : UVS_ROUTE_KERNEL;
}

static bool
is_own4(const struct uvs_conf *c, struct in_addr addr)
{
	bool own = uvs_conf_is_one4(&c->addresses, addr);

	for (unsigned int i = 0; i < c->vlans.n && !own; i++)
		own = uvs_conf_is_one4(&c->vlans.vlan[i].addresses, addr);
	return own;
}

static enum uvs_route
route_local_v4(const struct uvs_conf *c, uint32_t addr)
{
	uint32_t host = ntohl(addr);

	if (host == 0)
		return UVS_ROUTE_ANY;
	if (host >> 24 == 127)
		return loopback_route(c);
	if (host >> 28 == 0xe || c->addresses.automatic)
		return UVS_ROUTE_STACK;
	return is_own4(c, (struct in_addr){addr}) ? UVS_ROUTE_STACK : UVS_ROUTE_KERNEL;
}

/* Who has router advertisements, or a router, has no addresses that are elsewhere. */
static bool
routed6(const struct uvs_conf *c, const struct in6_addr *a)
{
	if (c->addresses6.automatic || has_router(c, AF_INET6) || IN6_IS_ADDR_LINKLOCAL(a) ||
	    IN6_IS_ADDR_MULTICAST(a) || uvs_conf_on_link6(&c->addresses6, a))
		return true;
	for (unsigned int i = 0; i < c->vlans.n; i++)
		if (uvs_conf_on_link6(&c->vlans.vlan[i].addresses6, a))
			return true;
	for (unsigned int i = 0; i < c->routes.n; i++)
		if (c->routes.route[i].dest.family == AF_INET6 &&
		    uvs_conf_within6(&c->routes.route[i].dest, a))
			return true;
	return false;
}

static enum uvs_route
route_remote_v6(const struct uvs_conf *c, const struct in6_addr *a)
{
	if (IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_UNSPECIFIED(a))
		return loopback_route(c);
	return routed6(c, a) ? UVS_ROUTE_STACK : UVS_ROUTE_KERNEL;
}

static enum uvs_route
route_local_v6(const struct uvs_conf *c, const struct in6_addr *a)
{
	if (IN6_IS_ADDR_UNSPECIFIED(a))
		return UVS_ROUTE_ANY;
	if (IN6_IS_ADDR_LOOPBACK(a))
		return loopback_route(c);
	/* Addresses that routers advertise cannot be told from strangers' yet: the stack knows. */
	if (c->addresses6.automatic || IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_MULTICAST(a))
		return UVS_ROUTE_STACK;
	if (uvs_conf_is_one6(&c->addresses6, a))
		return UVS_ROUTE_STACK;
	for (unsigned int i = 0; i < c->vlans.n; i++)
		if (uvs_conf_is_one6(&c->vlans.vlan[i].addresses6, a))
			return UVS_ROUTE_STACK;
	return UVS_ROUTE_KERNEL;
}

typedef enum uvs_route (*route4_fn)(const struct uvs_conf *c, uint32_t addr);
typedef enum uvs_route (*route6_fn)(const struct uvs_conf *c, const struct in6_addr *addr);

static enum uvs_route
route6(const struct uvs_conf *c, const struct sockaddr *addr, socklen_t len, route4_fn v4,
       route6_fn v6)
{
	struct sockaddr_in6 in;
	uint32_t mapped;

	if (len < (socklen_t)offsetof(struct sockaddr_in6, sin6_scope_id))
		return UVS_ROUTE_KERNEL;
	memset(&in, 0, sizeof(in));
	memcpy(&in, addr, RTE_MIN((size_t)len, sizeof(in)));
	if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
		memcpy(&mapped, &in.sin6_addr.s6_addr[12], sizeof(mapped));
		return v4(c, mapped);
	}
	if (uvs_conf_has_ipv6(c))
		return v6(c, &in.sin6_addr);
	return IN6_IS_ADDR_UNSPECIFIED(&in.sin6_addr) && v6 == route_local_v6 ? UVS_ROUTE_ANY
									      : UVS_ROUTE_KERNEL;
}

static enum uvs_route
route(const struct sockaddr *addr, socklen_t len, route4_fn v4, route6_fn v6)
{
	const struct uvs_conf *c = uvs_stack_conf();
	struct sockaddr_in in;

	if (c == NULL || addr == NULL || len < (socklen_t)sizeof(addr->sa_family))
		return UVS_ROUTE_KERNEL;
	if (addr->sa_family == AF_INET6)
		return route6(c, addr, len, v4, v6);
	if (addr->sa_family != AF_INET || len < (socklen_t)sizeof(in))
		return UVS_ROUTE_KERNEL;
	memcpy(&in, addr, sizeof(in));
	return v4(c, in.sin_addr.s_addr);
}

enum uvs_route
uvs_route_local(const struct sockaddr *addr, socklen_t len)
{
	return route(addr, len, route_local_v4, route_local_v6);
}

enum uvs_route
uvs_route_remote(const struct sockaddr *addr, socklen_t len)
{
	return route(addr, len, route_remote_v4, route_remote_v6);
}

/* ---------------------------------------------------------------------------------------- waiting
 */

void
uvs_progress(void)
{
	uvs_model->progress();
}

int
uvs_wait(struct uvs_waiter *w, struct uvs_kwait *k, uint64_t deadline_ns)
{
	return uvs_model->wait(w, k, deadline_ns);
}
