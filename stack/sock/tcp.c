/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP sockets over lwIP's raw API.
 *
 * The PCB belongs to the socket from creation until one of: lwIP reports an error (it has freed
 * it), the connection is over in both directions (TIME_WAIT: lwIP frees it some day without a
 * word), the socket closes. From then on s->tcp.pcb is NULL and no callback mentions the socket.
 *
 * Costs: receive: the callback links a pbuf, no allocation; reading copies once. Send: tcp_write
 * copies once into mbufs. Nothing here walks a list. */
#include "stack/sock/dgram.h"
#include "stack/sock/stack.h"

#include <stdlib.h>
#include <sys/param.h>

/* lwIP counts a listener's backlog in 16 bits. */
#define LWIP_MAX_BACKLOG 65535

static struct uvs_ports *
ports(const struct uvs_sock *s)
{
	return &uvs_tables(s->in)->tcp;
}

/* ---------------------------------------------------------------------------------------- level */

/* What a send buffer grows to by itself: 350 full segments, less than a receive ring holds by
 * default. More overflows the ring of a receiver that waits for a processor, again and again. */
#define AUTO_SNDBUF (512u << 10)
/* What a socket may hold unsent when memory is tight. */
#define TIGHT_SNDBUF 16384u

static uint32_t
send_limit(const struct uvs_sock *s)
{
	uint32_t limit = (uint32_t)s->opt.sndbuf / 2;

	if (unlikely(uvs_mem_tight(&s->in->mem)))
		return MIN(limit, TIGHT_SNDBUF);
	/* As the kernel: unless the application has chosen, twice what may be on its way. */
	if (!s->opt.sndbuf_chosen && s->tcp.pcb != NULL)
		limit = MAX(limit, MIN(2 * s->tcp.pcb->cwnd, AUTO_SNDBUF));
	return MIN(limit, (uint32_t)TCP_SND_BUF);
}

static uint32_t
queued(const struct uvs_sock *s)
{
	/* lwIP credits the SYN's and the FIN's acknowledgement, too: it may show more than all. */
	if (s->tcp.pcb == NULL || s->tcp.pcb->snd_buf >= TCP_SND_BUF)
		return 0;
	return TCP_SND_BUF - s->tcp.pcb->snd_buf;
}

static uint32_t
notsent(const struct uvs_sock *s)
{
	return s->tcp.pcb->snd_lbb - s->tcp.pcb->snd_nxt;
}

/* TCP_NOTSENT_LOWAT: as long as less is unsent, a whole segment more is taken. */
static uint32_t
notsent_space(const struct uvs_sock *s)
{
	uint32_t low = (uint32_t)s->opt.notsent_lowat, unsent;

	if (likely(low == 0))
		return UINT32_MAX;
	unsent = notsent(s);
	return unsent < low ? MAX(low - unsent, (uint32_t)s->tcp.pcb->mss) : 0;
}

static uint32_t
space_below(const struct uvs_sock *s, uint32_t limit)
{
	uint32_t used = queued(s);

	if (s->starved.prev != NULL || s->tcp.pcb->snd_queuelen >= TCP_SND_QUEUELEN - 8)
		return 0;
	return MIN(used < limit ? limit - used : 0, notsent_space(s));
}

static uint32_t
send_space(const struct uvs_sock *s)
{
	return space_below(s, send_limit(s));
}

/* As sk_stream_is_writeable(): free at least a third of the buffer. */
static bool
writable(const struct uvs_sock *s)
{
	uint32_t limit, space;

	if (s->tcp.pcb == NULL)
		return true;
	limit = send_limit(s);
	space = space_below(s, limit);
	if (unlikely(s->opt.notsent_lowat != 0))
		return queued(s) * 3 <= limit * 2 &&
		       notsent(s) < (uint32_t)s->opt.notsent_lowat / 2 && space > 0;
	if (s->tcp.chain != 0)
		return space >= s->tcp.chain;
	return space * 3 >= limit;
}

static bool
readable(const struct uvs_sock *s)
{
	uint32_t low = s->opt.rcvlowat > 1 ? (uint32_t)s->opt.rcvlowat : 1;

	return s->tcp.rx.bytes >= low;
}

static uint32_t
level_of_connection(struct uvs_sock *s)
{
	bool rd = s->shut_rd || s->tcp.fin, wr = s->shut_wr;
	uint32_t level = 0;

	if ((rd && wr) || s->tcp.state == UVS_TCP_CLOSED)
		level |= EPOLLHUP;
	if (rd)
		level |= EPOLLIN | EPOLLRDHUP;
	if (s->tcp.state != UVS_TCP_SYN_SENT) {
		if (readable(s))
			level |= EPOLLIN;
		if (wr || writable(s))
			level |= EPOLLOUT;
		else
			s->tcp.want_out = true;
	}
	return level;
}

/* tcp_poll() of the kernel. */
static uint32_t
tcp_level(struct uvs_sock *s)
{
	uint32_t level;

	if (s->tcp.state == UVS_TCP_LISTEN)
		level = s->tcp.accept_n > 0 ? EPOLLIN : 0;
	else
		level = level_of_connection(s);
	return s->err != 0 ? level | EPOLLERR : level;
}

/* ------------------------------------------------------------------------------- PCB and its end
 */

/* As tcp_done(): both directions are over. */
static void
dead(struct uvs_sock *s)
{
	s->tcp.state = UVS_TCP_CLOSED;
	s->shut_rd = s->shut_wr = true;
}

/* TIME_WAIT is over and the socket still there: closed by both at once, when lwIP tells neither of
 * the change to TIME_WAIT nor of its end. */
static void
outlived(struct uvs_sock *s)
{
	s->use = NULL;
	s->tcp.pcb = NULL;
	dead(s);
}

/* The port stays taken until lwIP frees the PCB, which after a close may be long after the socket.
 */
static void
pcb_destroyed(u8_t id, void *data)
{
	struct uvs_port_use *u = data;

	(void)id;
	if (u == NULL)
		return;
	if (u->owner != NULL)
		outlived(u->owner);
	uvs_ports_remove(u);
	free(u);
}

static const struct tcp_ext_arg_callbacks port_callbacks = {.destroy = pcb_destroyed};

static void
tie_port(struct tcp_pcb *pcb, struct uvs_port_use *u)
{
	pcb->ext_args[0].callbacks = &port_callbacks;
	pcb->ext_args[0].data = u;
}

static void
untie_port(struct tcp_pcb *pcb)
{
	pcb->ext_args[0].callbacks = NULL;
	pcb->ext_args[0].data = NULL;
}

/* The PCB goes its own way. */
static struct tcp_pcb *
detach(struct uvs_sock *s)
{
	struct tcp_pcb *pcb = s->tcp.pcb;

	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
	if (s->use != NULL) {
		s->use->owner = NULL;
		s->use = NULL;
	}
	s->tcp.pcb = NULL;
	return pcb;
}

/* Nothing comes from a PCB in TIME_WAIT any more. But before the FIN was delivered the last data
 * may not have been either: stay. */
static bool
let_time_wait_go(struct uvs_sock *s)
{
	if (s->tcp.pcb->state != TIME_WAIT || !s->tcp.fin)
		return false;
	detach(s);
	dead(s);
	return true;
}

/* ------------------------------------------------------------------------------------- callbacks
 */

static void
window_reset(struct tcp_pcb *pcb)
{
	/* lwIP resets connections on close whose window is not whole: to it that means unread data.
	 * Whether there is some, we know better. */
	pcb->rcv_wnd = TCP_WND_MAX(pcb);
}

static uint32_t
receive_limit(const struct uvs_sock *s)
{
	return MIN((uint32_t)s->opt.rcvbuf / 2, (uint32_t)TCP_WND_MAX(s->tcp.pcb));
}

/* What the peer was told that it may send, and has not sent yet: it has to be taken, whatever the
 * limit says now (RFC 9293, 3.8.6: a window is not shrunk). */
static uint32_t
announced(const struct tcp_pcb *pcb)
{
	int32_t left = (int32_t)(pcb->rcv_ann_right_edge - pcb->rcv_nxt);

	return left > 0 ? (uint32_t)left : 0;
}

/* Bytes were read: open the window. lwIP's tcp_recved() knows neither limits per socket nor more
 * than 64 KiB at once. Tell the peer when it is worth a segment: two segments, or half of a small
 * buffer. */
static void
open_window(struct uvs_sock *s, size_t n)
{
	struct tcp_pcb *pcb = s->tcp.pcb;
	uint32_t limit, news;
	size_t wnd;

	if (pcb == NULL || n == 0)
		return;
	limit = receive_limit(s);
	wnd = MIN(pcb->rcv_wnd + n, MAX(limit, s->tcp.rx.bytes) - s->tcp.rx.bytes);
	pcb->rcv_wnd = (tcpwnd_size_t)MAX(wnd, announced(pcb));
	news = tcp_update_rcv_ann_wnd(pcb);
	if (news >= MIN((uint32_t)pcb->mss * 4, MAX(limit / 2, (uint32_t)pcb->mss))) {
		tcp_ack_now(pcb);
		tcp_output(pcb);
	}
}

static err_t
on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct uvs_sock *s = arg;

	(void)pcb;
	(void)err;
	/* lwIP keeps this one segment, drops what follows it, and asks again: the peer waits. But
	 * who reads gets on. */
	if (p != NULL && s->tcp.rx.bytes > 0 && unlikely(uvs_mem_full(&s->in->mem))) {
		s->in->seen->mem.tcp_rx_refused++;
		return ERR_MEM;
	}
	if (p == NULL) {
		s->tcp.fin = true;
		let_time_wait_go(s);
	} else {
		uvs_queue_append(s->in, &s->tcp.rx, p);
	}
	uvs_publish(s, p == NULL ? UVS_STATE_CHANGED : EPOLLIN);
	return ERR_OK;
}

static err_t
on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct uvs_sock *s = arg;

	(void)pcb;
	(void)len;
	if (let_time_wait_go(s)) {
		uvs_publish(s, UVS_STATE_CHANGED);
	} else if (s->tcp.want_out && writable(s)) {
		s->tcp.want_out = false;
		uvs_publish(s, EPOLLOUT);
	}
	return ERR_OK;
}

static int
error_of(const struct uvs_sock *s, err_t err)
{
	if (err == ERR_ABRT)
		return ETIMEDOUT; /* the only reason for which lwIP gives up */
	if (err == ERR_CLSD)
		return 0; /* closed both ways, in order */
	if (s->tcp.state == UVS_TCP_SYN_SENT)
		return ECONNREFUSED;
	return s->tcp.fin && !s->shut_wr ? EPIPE : ECONNRESET;
}

/* lwIP has freed, or is about to free, the PCB. e: errno, or 0. */
static void
lose_pcb(struct uvs_sock *s, int e)
{
	if (s->use != NULL)
		s->use->owner = NULL;
	s->use = NULL;
	s->tcp.pcb = NULL;
	dead(s);
	if (e != 0)
		uvs_sock_fail(s, e);
	else
		uvs_publish(s, UVS_STATE_CHANGED);
}

static void
on_err(void *arg, err_t err)
{
	lose_pcb(arg, error_of(arg, err));
}

/* A connect() that is in vain ends at once, as in Linux. What is open is not given up for what
 * anybody may claim (RFC 5927). */
void
uvs_tcp_error(const struct uvs_icmp_error *e)
{
	struct uvs_sock *s;
	struct tcp_pcb *pcb;
	struct tcp_hdr tcp; /* eight bytes of it: ports and sequence number */

	if (e->len < 8 || e->err == EMSGSIZE)
		return;
	memcpy(&tcp, e->quoted, 8);
	pcb = uvl_tcp_find(&e->local.ip, ntohs(tcp.src), &e->remote.ip, ntohs(tcp.dest),
			   ip_current_input_netif());
	if (pcb == NULL || pcb->state != SYN_SENT || pcb->errf != on_err ||
	    ntohl(tcp.seqno) != pcb->lastack)
		return;
	s = pcb->callback_arg;
	tcp_err(pcb, NULL);
	tcp_abandon(pcb, 0);
	lose_pcb(s, e->err);
}

/* Mbufs are there again. */
static void
on_fed(struct uvs_starved *starved)
{
	struct uvs_sock *s =
		(struct uvs_sock *)((char *)starved - offsetof(struct uvs_sock, starved));

	s->tcp.want_out = false;
	uvs_publish(s, EPOLLOUT);
}

static void
tcp_apply(struct uvs_sock *s)
{
	struct tcp_pcb *pcb = s->tcp.pcb;

	if (s->use != NULL)
		uvs_ports_share(s->use, s->opt.reuseaddr != 0, s->opt.reuseport != 0);
	uvs_opts_no_ecn(&s->opt); /* the protocol's: RFC 3168, 20.1 */
	if (pcb == NULL)
		return;
	pcb->netif_idx = (u8_t)s->opt.device;
	pcb->tos = uvs_opts_tos(&s->opt, &s->remote.ip);
	pcb->ttl = uvs_opts_ttl(&s->opt, &s->remote.ip);
	if (s->opt.keepalive)
		ip_set_option(pcb, SOF_KEEPALIVE);
	else
		ip_reset_option(pcb, SOF_KEEPALIVE);
	if (s->tcp.state == UVS_TCP_LISTEN) {
		((struct tcp_pcb_listen *)pcb)->defer_accept = (u8_t)s->opt.defer_accept;
		return;
	}
	pcb->user_timeout =
		((u32_t)s->opt.user_timeout + TCP_SLOW_INTERVAL - 1) / TCP_SLOW_INTERVAL;
	pcb->syn_retries = (u8_t)s->opt.syncnt;
	if (uvl_tcp_cc(pcb) != s->opt.congestion)
		uvl_tcp_cc_set(pcb, s->opt.congestion);
	pcb->keep_idle = (u32_t)s->opt.keepidle * 1000;
	pcb->keep_intvl = (u32_t)s->opt.keepintvl * 1000;
	pcb->keep_cnt = (u32_t)s->opt.keepcnt;
	if (s->opt.maxseg != 0 && s->opt.maxseg < pcb->mss)
		pcb->mss = (u16_t)s->opt.maxseg;
	if (s->opt.nodelay && !s->opt.cork)
		tcp_nagle_disable(pcb);
	else
		tcp_nagle_enable(pcb);
	uvl_tcp_hold(pcb, s->opt.cork);
	uvl_tcp_due(pcb); /* timers have changed */
	if (s->tcp.state == UVS_TCP_OPEN && !s->opt.cork && pcb->unsent != NULL)
		tcp_output(pcb);
}

static void
attach(struct uvs_sock *s, struct tcp_pcb *pcb)
{
	s->tcp.pcb = pcb;
	tcp_arg(pcb, s);
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_err);
	tcp_apply(s);
}

/* ---------------------------------------------------------------------------------------- bind */

static int
new_pcb(struct uvs_sock *s)
{
	struct tcp_pcb *pcb;

	if (s->tcp.pcb != NULL)
		return 0;
	pcb = tcp_new_ip_type(s->domain == AF_INET ? IPADDR_TYPE_V4
			      : s->opt.v6only      ? IPADDR_TYPE_V6
						   : IPADDR_TYPE_ANY);
	if (pcb == NULL)
		return -ENOBUFS;
	attach(s, pcb);
	return 0;
}

/* The port table has decided; lwIP's own tcp_bind() would walk its lists to decide again. */
static void
register_bound(struct uvs_sock *s)
{
	struct tcp_pcb *pcb = s->tcp.pcb;

	ip_addr_set(&pcb->local_ip, &s->local.ip);
	pcb->local_port = s->local.port;
	TCP_REG(&tcp_bound_pcbs, pcb);
	tie_port(pcb, s->use);
}

static int
tcp_bind_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	int r;

	if (s->tcp.state != UVS_TCP_CLOSED || s->tcp.connecting)
		return -EINVAL;
	r = new_pcb(s);
	if (r == 0)
		r = uvs_sock_bind_port(s, ports(s), a);
	if (r == 0)
		register_bound(s);
	return r;
}

/* -------------------------------------------------------------------------------------- listen */

static void
accept_push(struct uvs_sock *l, struct uvs_sock *child)
{
	if (l->tcp.accept_n++ == 0)
		l->tcp.accept_tail = &l->tcp.accept_head;
	child->tcp.listener = l;
	child->tcp.accept_next = NULL;
	*l->tcp.accept_tail = child;
	l->tcp.accept_tail = &child->tcp.accept_next;
}

static struct uvs_sock *
accept_pop(struct uvs_sock *l)
{
	struct uvs_sock *child = l->tcp.accept_head;

	if (child == NULL)
		return NULL;
	l->tcp.accept_head = child->tcp.accept_next;
	l->tcp.accept_n--;
	child->tcp.listener = NULL;
	return child;
}

/* Of the listeners that share an address each gets its share of connections, by the four-tuple. */
static struct uvs_sock *
choose_listener(struct uvs_sock *leader, const struct tcp_pcb *pcb)
{
	struct uvs_sock *s = leader;
	uint32_t n = 0, hash;

	if (leader->tcp.group_next == leader)
		return leader;
	do
		n++;
	while ((s = s->tcp.group_next) != leader);
	hash = IP_IS_V6_VAL(pcb->remote_ip) ? ip_2_ip6(&pcb->remote_ip)->addr[3]
					    : ip_2_ip4(&pcb->remote_ip)->addr;
	hash = hash * 2654435761u ^ pcb->remote_port * 40503u;
	for (hash = (hash >> 8) % n; hash > 0; hash--)
		s = s->tcp.group_next;
	return s;
}

static int
child_port(struct uvs_sock *s, struct tcp_pcb *pcb)
{
	struct uvs_port_use *u = calloc(1, sizeof(*u));
	int r;

	if (u == NULL)
		return -ENOMEM;
	s->local = (struct uvs_addr){pcb->local_ip, pcb->local_port};
	s->remote = (struct uvs_addr){pcb->remote_ip, pcb->remote_port};
	u->local = s->local;
	u->remote = s->remote;
	u->reuseaddr = s->opt.reuseaddr != 0;
	u->reuseport = s->opt.reuseport != 0;
	u->owner = s;
	r = uvs_ports_add(ports(s), u);
	if (r < 0) {
		free(u);
		return r;
	}
	s->use = u;
	tie_port(pcb, u);
	return 0;
}

/* The window grew with the peer's window scale option: cut it to what the socket may hold, and what
 * lwIP believes to have announced to what a segment with SYN can say (RFC 7323, 2.2). */
static void
limit_window(struct uvs_sock *s)
{
	struct tcp_pcb *pcb = s->tcp.pcb;
	uint32_t most;

	if (announced(pcb) > UINT16_MAX)
		pcb->rcv_ann_right_edge = pcb->rcv_nxt + UINT16_MAX;
	most = MAX(receive_limit(s), announced(pcb));
	pcb->rcv_wnd = (tcpwnd_size_t)MIN((uint32_t)pcb->rcv_wnd, most);
	pcb->rcv_ann_wnd = (tcpwnd_size_t)MIN((uint32_t)pcb->rcv_ann_wnd, most);
}

static err_t
on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct uvs_sock *leader = arg, *l, *child;

	if (err != ERR_OK || pcb == NULL || leader == NULL)
		return ERR_VAL; /* lwIP resets it */
	l = choose_listener(leader, pcb);
	child = uvs_sock_child(l);
	if (child == NULL || child_port(child, pcb) < 0) {
		free(child);
		return ERR_MEM; /* lwIP resets it */
	}
	child->tcp.state = UVS_TCP_OPEN;
	attach(child, pcb);
	limit_window(child);
	tcp_backlog_delayed(pcb); /* until accept() it fills the backlog */
	child->events = tcp_level(child);
	accept_push(l, child);
	uvs_publish(l, EPOLLIN);
	return ERR_OK;
}

static u16_t
lwip_backlog(uint32_t backlog)
{
	/* The kernel lets one more wait than listen() was told. */
	return (u16_t)MIN(backlog + 1, (uint32_t)LWIP_MAX_BACKLOG);
}

static void
now_listening(struct uvs_sock *s)
{
	s->tcp.state = UVS_TCP_LISTEN;
	s->shut_rd = s->shut_wr = s->tcp.fin = false;
	tcp_apply(s);
	__atomic_store_n(&s->listening, true, __ATOMIC_RELAXED);
	uvs_publish(s, 0);
}

static void
join_group(struct uvs_sock *s, struct uvs_sock *member)
{
	struct tcp_pcb *pcb = s->tcp.pcb;

	/* The socket's own PCB is not needed; its use of the port is its own from here. */
	untie_port(pcb);
	tcp_arg(pcb, NULL);
	tcp_err(pcb, NULL);
	tcp_close(pcb);
	s->tcp.pcb = NULL;
	s->tcp.group_next = member->tcp.group_next;
	member->tcp.group_next = s;
}

static int
start_listening(struct uvs_sock *s)
{
	struct tcp_pcb *pcb = s->tcp.pcb, *lpcb;

	/* lwIP frees this PCB and copies what is tied to it. */
	untie_port(pcb);
	lpcb = tcp_listen_with_backlog(pcb, lwip_backlog(s->tcp.backlog));
	if (lpcb == NULL) {
		tie_port(pcb, s->use);
		return -ENOBUFS;
	}
	tie_port(lpcb, s->use);
	s->tcp.pcb = lpcb;
	s->tcp.group_next = s;
	tcp_arg(lpcb, s);
	tcp_accept(lpcb, on_accept);
	return 0;
}

static int
tcp_listen_on(struct uvs_sock *s, int backlog)
{
	struct uvs_addr any = {.port = 0};
	struct uvs_sock *other;
	int r = 0;

	if (s->tcp.state == UVS_TCP_LISTEN) {
		s->tcp.backlog = (uint32_t)backlog;
		if (s->tcp.pcb != NULL)
			tcp_backlog_set(s->tcp.pcb, lwip_backlog((uint32_t)backlog));
		return 0;
	}
	if (s->tcp.state != UVS_TCP_CLOSED || s->tcp.connecting)
		return -EINVAL;
	if (s->use == NULL) {
		any.ip = s->domain == AF_INET ? (ip_addr_t)IPADDR4_INIT(0)
					      : (ip_addr_t)IPADDR_ANY_TYPE_INIT;
		r = tcp_bind_to(s, &any);
	}
	if (r == 0)
		r = uvs_ports_listen(s->use);
	if (r < 0)
		return r;
	s->tcp.backlog = (uint32_t)backlog;
	other = s->opt.reuseport ? uvs_ports_listener(s->use) : NULL;
	if (other != NULL)
		join_group(s, other);
	else
		r = start_listening(s);
	if (r == 0)
		now_listening(s);
	else
		uvs_ports_unlisten(s->use);
	return r;
}

static int
tcp_accept_one(struct uvs_sock *s, struct uvs_sock **out)
{
	struct uvs_sock *child;

	if (s->tcp.state != UVS_TCP_LISTEN)
		return -EINVAL;
	child = accept_pop(s);
	if (child == NULL)
		return -EAGAIN;
	if (child->tcp.pcb != NULL)
		tcp_backlog_accepted(child->tcp.pcb);
	uvs_publish(s, 0);
	*out = child;
	return 0;
}

/* Connections still in their handshake name the socket that listened when their SYN came: lwIP
 * hands that to on_accept(). The socket goes, so they get another one, or none. */
static void
hand_over_embryos(const struct tcp_pcb *lpcb, struct uvs_sock *heir)
{
	const struct tcp_pcb_listen *l = (const struct tcp_pcb_listen *)lpcb;

	for (struct tcp_pcb *p = l->waiting; p != NULL; p = p->wait_next) {
		if (p->is_half_open)
			tcp_arg(p, heir);
	}
}

/* Take a listener out of its group. If it led and others remain, the next one leads. */
static void
leave_group(struct uvs_sock *s)
{
	struct uvs_sock *prev = s, *heir = s->tcp.group_next;

	while (prev->tcp.group_next != s)
		prev = prev->tcp.group_next;
	prev->tcp.group_next = heir;
	s->tcp.group_next = NULL;
	if (s->tcp.pcb == NULL) {
		uvs_ports_remove(s->use);
		free(s->use);
		s->use = NULL;
		return;
	}
	/* The leader's use of the port is tied to the PCB: swap it with the heir's. */
	heir->tcp.pcb = s->tcp.pcb;
	tcp_arg(heir->tcp.pcb, heir);
	hand_over_embryos(heir->tcp.pcb, heir);
	tie_port(heir->tcp.pcb, heir->use);
	uvs_ports_remove(s->use);
	free(s->use);
	s->use = NULL;
	s->tcp.pcb = NULL;
}

static void
stop_listening(struct uvs_sock *s)
{
	struct uvs_sock *child;

	while ((child = accept_pop(s)) != NULL) {
		/* Never accepted: reset, as the kernel does. */
		if (child->tcp.pcb != NULL)
			tcp_abort(detach(child));
		child->proto->close(child);
		free(child);
	}
	if (s->tcp.group_next != s) {
		leave_group(s);
	} else if (s->tcp.pcb != NULL) {
		struct tcp_pcb *pcb = s->tcp.pcb;

		tcp_arg(pcb, NULL);
		hand_over_embryos(pcb, NULL);
		s->use->owner = NULL;
		s->use = NULL;
		s->tcp.pcb = NULL;
		tcp_close(pcb);
	}
	__atomic_store_n(&s->listening, false, __ATOMIC_RELAXED);
	s->tcp.state = UVS_TCP_CLOSED;
}

/* ------------------------------------------------------------------------------------- connect */

static err_t
on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct uvs_sock *s = arg;

	(void)pcb;
	(void)err;
	s->tcp.state = UVS_TCP_OPEN;
	limit_window(s);
	tcp_apply(s); /* the MSS is known now */
	uvs_publish(s, UVS_STATE_CHANGED);
	return ERR_OK;
}

/* connect() once more, after EINPROGRESS. */
static int
connect_again(struct uvs_sock *s)
{
	int r;

	if (s->tcp.state == UVS_TCP_SYN_SENT)
		return -EALREADY;
	s->tcp.connecting = false;
	if (s->tcp.state == UVS_TCP_OPEN)
		return 0;
	r = uvs_sock_take_error(s);
	s->shut_rd = s->shut_wr = s->tcp.fin = false;
	uvs_publish(s, 0);
	return r < 0 ? r : -ECONNABORTED;
}

static int
choose_source(struct uvs_sock *s, const struct uvs_addr *to)
{
	struct uvs_addr from = {.port = 0};
	struct netif *n;
	int r = uvs_addr_source(s->opt.device, &s->local.ip, &to->ip, &n, &from.ip);

	if (r < 0)
		return r;
	if (s->use == NULL)
		return uvs_sock_bind_port(s, ports(s), &from);
	if (uvs_addr_is_any(&s->local.ip)) {
		s->local.ip = from.ip;
		uvs_ports_locate(s->use, &from.ip);
	}
	return 0;
}

static bool
can_be_peer(const ip_addr_t *ip)
{
	if (!IP_IS_V4(ip))
		return !ip_addr_isany(ip) && !ip6_addr_ismulticast(ip_2_ip6(ip));
	return !ip4_addr_ismulticast(ip_2_ip4(ip)) && ip_2_ip4(ip)->addr != IPADDR_BROADCAST;
}

static int
send_syn(struct uvs_sock *s, const struct uvs_addr *to)
{
	struct tcp_pcb *pcb = s->tcp.pcb;
	err_t err;

	if (pcb->local_port == 0)
		register_bound(s);
	ip_addr_set(&pcb->local_ip, &s->local.ip);
	err = tcp_connect(pcb, &to->ip, to->port, on_connected);
	if (err != ERR_OK)
		return err == ERR_MEM ? -ENOBUFS : uvs_errno(err);
	s->tcp.state = UVS_TCP_SYN_SENT;
	s->tcp.connecting = true;
	s->shut_rd = s->shut_wr = s->tcp.fin = false;
	return -EINPROGRESS;
}

static int
tcp_connect_to(struct uvs_sock *s, const struct uvs_addr *a)
{
	struct uvs_addr to = *a;
	int r;

	if (s->tcp.connecting)
		return connect_again(s);
	if (s->tcp.state == UVS_TCP_LISTEN || s->tcp.state == UVS_TCP_OPEN)
		return -EISCONN;
	if (uvs_addr_is_any(&to.ip))
		to.ip = uvs_addr_self(s->domain, s->opt.v6only);
	if (!can_be_peer(&to.ip) || to.port == 0)
		return !can_be_peer(&to.ip) ? -ENETUNREACH : -ECONNREFUSED;
	s->remote = to;
	r = new_pcb(s);
	if (r == 0)
		r = choose_source(s, &to);
	if (r < 0)
		return r;
	r = uvs_ports_connect(s->use, &to);
	if (r < 0)
		return r;
	r = send_syn(s, &to);
	uvs_publish(s, 0);
	return r;
}

/* Back to a fresh socket: shutdown of a listener, connect() to AF_UNSPEC. */
static int
tcp_disconnect(struct uvs_sock *s)
{
	bool was_connecting = s->tcp.state == UVS_TCP_SYN_SENT;

	if (s->tcp.state == UVS_TCP_LISTEN)
		stop_listening(s);
	else if (was_connecting)
		tcp_close(detach(s)); /* lwIP would reset what is not there yet */
	else if (s->tcp.pcb != NULL)
		tcp_abort(detach(s));
	uvs_queue_drop(s->in, &s->tcp.rx);
	s->tcp.state = UVS_TCP_CLOSED;
	s->tcp.connecting = s->tcp.fin = s->shut_rd = s->shut_wr = false;
	s->remote.port = 0;
	s->err = was_connecting ? ECONNRESET : 0;
	uvs_publish(s, UVS_STATE_CHANGED);
	return 0;
}

/* --------------------------------------------------------------------------------------- receive
 */

static ssize_t
nothing_to_read(struct uvs_sock *s)
{
	int err;

	if (s->tcp.fin)
		return 0;
	err = uvs_sock_take_error(s);
	if (err < 0)
		return err;
	if (s->shut_rd)
		return 0;
	return s->tcp.state == UVS_TCP_CLOSED ? -ENOTCONN : -EAGAIN;
}

static ssize_t
tcp_recv_msg(struct uvs_sock *s, struct msghdr *msg, int flags)
{
	bool peek = flags & MSG_PEEK, discard = flags & MSG_TRUNC;
	size_t want = uvs_iov_len(msg->msg_iov, msg->msg_iovlen), n;

	if (flags & MSG_OOB)
		return -EINVAL;
	if (s->tcp.state == UVS_TCP_LISTEN)
		return -ENOTCONN;
	msg->msg_namelen = 0;
	msg->msg_controllen = 0;
	msg->msg_flags = 0;
	if (want == 0 && s->tcp.rx.bytes > 0)
		return 0;
	n = uvs_queue_read(s->in, &s->tcp.rx, discard ? NULL : msg->msg_iov, msg->msg_iovlen, want,
			   peek && !discard);
	if (n == 0)
		return nothing_to_read(s);
	if (!peek) {
		open_window(s, n);
		uvs_publish(s, 0);
	}
	return (ssize_t)n;
}

/* ------------------------------------------------------------------------------------------ send
 */

static int
cannot_send(struct uvs_sock *s)
{
	int err;

	if (s->tcp.state == UVS_TCP_SYN_SENT)
		return -EAGAIN;
	err = uvs_sock_take_error(s);
	if (err < 0)
		return err;
	return s->tcp.state != UVS_TCP_OPEN || s->shut_wr || s->tcp.pcb == NULL ? -EPIPE : 0;
}

/* What lwIP takes at once: its length is 16 bits, and whole segments save it a partial one. */
static u16_t
chunk(const struct uvs_sock *s, size_t n)
{
	uint32_t most = 0xffff - 0xffff % s->tcp.pcb->mss;

	return (u16_t)MIN(n, (size_t)most);
}

/* Bytes taken of one iovec. *full: stop. */
static size_t
write_some(struct uvs_sock *s, const char *data, size_t len, u8_t flags, bool *full)
{
	size_t done = 0;

	while (done < len) {
		u16_t n = chunk(s, MIN(len - done, (size_t)send_space(s)));
		u8_t more = done + n < len ? TCP_WRITE_FLAG_MORE : 0;

		if (n == 0 || tcp_write(s->tcp.pcb, data + done, n,
					flags | more | TCP_WRITE_FLAG_COPY) != ERR_OK) {
			*full = true;
			break;
		}
		done += n;
	}
	return done;
}

static size_t
write_iov(struct uvs_sock *s, const struct iovec *iov, size_t iovlen, bool more, bool *full)
{
	size_t done = 0;

	for (size_t i = 0; i < iovlen && !*full; i++)
		done += write_some(s, iov[i].iov_base, iov[i].iov_len,
				   more || i + 1 < iovlen ? TCP_WRITE_FLAG_MORE : 0, full);
	return done;
}

/* Refused though there was room: out of mbufs. Sockets with data in flight would hear of room by an
 * acknowledgement, the others only so. */
static void
note_refusal(struct uvs_sock *s)
{
	s->tcp.want_out = true;
	if (send_space(s) > 0) {
		s->starved.fed = on_fed;
		uvs_starve(s->in, &s->starved);
	}
	uvs_publish(s, 0);
}

static ssize_t
tcp_send_msg(struct uvs_sock *s, const struct msghdr *msg, int flags)
{
	bool full = false;
	size_t n;
	int err = cannot_send(s);

	if (err < 0)
		return err;
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	uvl_tcp_hold(s->tcp.pcb, s->opt.cork || (flags & MSG_MORE));
	n = write_iov(s, msg->msg_iov, msg->msg_iovlen, flags & MSG_MORE, &full);
	if (full)
		note_refusal(s);
	if (n == 0)
		return full ? -EAGAIN : 0;
	tcp_output(s->tcp.pcb);
	uvs_publish(s, 0);
	return (ssize_t)n;
}

/* ------------------------------------------------------------------------------- for native.c */

int
uvs_tcp_reserve(struct uvs_sock *s, size_t bytes, size_t segments)
{
	if (bytes > send_limit(s))
		return -EMSGSIZE;
	s->tcp.chain = 0;
	if (bytes <= send_space(s) && s->tcp.pcb->snd_queuelen + segments < TCP_SND_QUEUELEN - 8)
		return 0;
	s->tcp.chain = (uint32_t)bytes;
	s->tcp.want_out = true;
	uvs_publish(s, 0);
	return -EAGAIN;
}

void
uvs_tcp_starve(struct uvs_sock *s)
{
	note_refusal(s);
}

void
uvs_tcp_push(struct uvs_sock *s, bool now)
{
	if (now)
		tcp_output(s->tcp.pcb);
	uvs_publish(s, 0);
}

void
uvs_tcp_taken(struct uvs_sock *s, size_t bytes)
{
	open_window(s, bytes);
	uvs_publish(s, 0);
}

/* ------------------------------------------------------------------------------- shutdown, close
 */

static void
send_fin(struct uvs_sock *s)
{
	if (s->tcp.pcb == NULL)
		return;
	/* Out of memory: lwIP retries by itself. May move to LAST_ACK or FIN_WAIT_1, never frees.
	 */
	tcp_shutdown(s->tcp.pcb, 0, 1);
}

static int
tcp_shutdown_how(struct uvs_sock *s, int how)
{
	bool rd = how != SHUT_WR, wr = how != SHUT_RD;

	if (s->tcp.state == UVS_TCP_LISTEN)
		return rd ? tcp_disconnect(s) : 0;
	if (s->tcp.state == UVS_TCP_SYN_SENT)
		return tcp_disconnect(s);
	if (wr && !s->shut_wr && s->tcp.state == UVS_TCP_OPEN)
		send_fin(s);
	/* As in the kernel, who shuts a connection down knows that there is one: a connect() that
	 * was under way is over, and the next says EISCONN, not 0. */
	if (s->tcp.state == UVS_TCP_OPEN)
		s->tcp.connecting = false;
	s->shut_rd |= rd;
	s->shut_wr |= wr;
	uvs_publish(s, UVS_STATE_CHANGED);
	return s->tcp.state == UVS_TCP_CLOSED ? -ENOTCONN : 0;
}

/* RFC 1122, 4.2.2.13 and the kernel: unread data, or a linger time of zero, means RST. */
static void
close_connection(struct uvs_sock *s)
{
	bool unread = s->tcp.rx.bytes > 0;
	bool no_linger = s->opt.linger.l_onoff && s->opt.linger.l_linger == 0;
	struct tcp_pcb *pcb = detach(s);

	if (unread || no_linger) {
		tcp_abort(pcb);
		return;
	}
	tcp_nagle_disable(pcb); /* nothing follows that could be waited for */
	window_reset(pcb);
	/* ERR_MEM: as good as done, lwIP has noted it and retries. */
	if (tcp_close(pcb) != ERR_OK)
		tcp_abort(pcb);
}

void
uvs_tcp_close_all(struct uvs_instance *in)
{
	struct tcp_pcb *next;

	(void)in;
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = next) {
		struct uvs_sock *s = pcb->callback_arg;

		next = pcb->next;
		if (s == NULL || s->tcp.pcb != pcb) /* nobody's, or a listener's embryo */
			continue;
		close_connection(s);
		dead(s);
	}
}

static void
tcp_close_sock(struct uvs_sock *s)
{
	if (s->tcp.state == UVS_TCP_LISTEN)
		stop_listening(s);
	else if (s->tcp.pcb != NULL)
		close_connection(s);
	uvs_queue_drop(s->in, &s->tcp.rx);
}

/* ------------------------------------------------------------------------------------- questions
 */

static bool
tcp_has_peer(const struct uvs_sock *s)
{
	return s->tcp.state == UVS_TCP_OPEN;
}

static uint32_t
tcp_unread(const struct uvs_sock *s, bool datagram)
{
	(void)datagram;
	return s->tcp.rx.bytes;
}

static uint32_t
tcp_unsent(const struct uvs_sock *s)
{
	return queued(s);
}

const struct uvs_proto uvs_proto_tcp = {
	.bind = tcp_bind_to,
	.listen = tcp_listen_on,
	.connect = tcp_connect_to,
	.disconnect = tcp_disconnect,
	.accept = tcp_accept_one,
	.recv = tcp_recv_msg,
	.send = tcp_send_msg,
	.shutdown = tcp_shutdown_how,
	.has_peer = tcp_has_peer,
	.level = tcp_level,
	.unread = tcp_unread,
	.unsent = tcp_unsent,
	.apply = tcp_apply,
	.close = tcp_close_sock,
};
