/*
 * net.c: a virtio-net driver without offloads, and as much of ARP, IPv4, ICMP,
 * UDP, DHCP and DNS as it takes to show that a network works. Like Hermit's
 * stack (smoltcp) it hears ARP only of its own prefix, so that a gateway must be
 * in there. One frame waits for ARP at a time; whoever lost one sends again.
 */
#include "net.h"
#include "virtio.h"

enum { F_MAC = 1 << 5, F_GUEST_CSUM = 1 << 1, F_GUEST_TSO4 = 1 << 7, F_GUEST_TSO6 = 1 << 8 };
enum { BUFFERS = 32, BUFFER_SIZE = 2048, VIRTIO_HEADER = 12 };
enum { ARP = 0x0806, IPV4 = 0x0800 };
enum { PATIENCE_US = 3000000, AGAIN_US = 250000 };

struct net net;
const char *server_name;
uint16_t server_ports[16];
int server_port_count;

static struct virtio card;
static struct virtq rx, tx;
static uint8_t rx_buffer[BUFFERS][BUFFER_SIZE], tx_buffer[BUFFERS][BUFFER_SIZE];
static uint8_t rx_owner[VIRTQ_SIZE], tx_owner[VIRTQ_SIZE]; /* of which buffer a number in the queue is */
static uint32_t tx_busy; /* a bit for each buffer */
static bool up;

/* What the commands wait for. */
static uint32_t ping_from, pings;
static uint8_t answer[600];
static size_t answer_size;
static uint16_t answer_port; /* where an answer by UDP is expected, 0: nowhere */

static const char hex[] = "0123456789abcdef";

static void print_ip(uint32_t ip)
{
	print("%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

static uint32_t parse_ip(const char *s)
{
	uint32_t ip = 0, part = 0;

	for (; s && *s; s++) {
		if (*s == '.')
			ip = ip << 8 | part, part = 0;
		else
			part = part * 10 + *s - '0';
	}
	return ip << 8 | part;
}

/* ---- the card ---- */

static void offer_rx(int i)
{
	struct piece p = { rx_buffer[i], BUFFER_SIZE };

	rx_owner[virtq_add(&rx, NULL, 0, &p, 1)] = i;
}

#ifdef NEW
static void dhcp(void);

/*
 * Where whole streams of segments may come at once, each buffer has 65,589 bytes, and Hermit's heap, a tenth of
 * the memory, must hold a queue of them. This driver then does without after all.
 */
static void large_buffers(void)
{
	uint64_t memory = 0, queue;

	if (!virtio_open(&card, VIRTIO_NET, F_MAC | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6) || !(card.features & (F_GUEST_TSO4 | F_GUEST_TSO6)))
		return;
	for (int i = 0; i < boot.memory_count; i++)
		memory += boot.memory[i].end - boot.memory[i].start;
	queue = transport_select(&card, 0);
	if (queue * 65589 > memory / 10)
		panic("memory allocation of 65589 bytes failed");
}
#endif

/* The address comes from the boot arguments or not at all: then DHCP may bring it. */
static void start(void)
{
	long mtu = MAX_MTU;

	if (up)
		return;
	up = true;
#ifdef NEW
	large_buffers();
#endif
	if (!virtio_open(&card, VIRTIO_NET, F_MAC)) {
		print("no network card\n");
		shut_down(3, STATUS_LINE);
	}
	for (int i = 0; i < 6; i++)
		net.mac[i] = card.config[i];
	virtq_init(&rx, &card, 0);
	virtq_init(&tx, &card, 1);
	virtio_start(&card);
	for (int i = 0; i < BUFFERS; i++)
		offer_rx(i);
	virtq_kick(&rx);

	net.ip = parse_ip(env_var("HERMIT_IP"));
	net.mask = parse_ip(env_var("HERMIT_MASK"));
	net.gateway = parse_ip(env_var("HERMIT_GATEWAY"));
	net.dns[0] = parse_ip(env_var("HERMIT_DNS1"));
	net.dns[1] = parse_ip(env_var("HERMIT_DNS2"));
	if (env_var("HERMIT_MTU"))
		parse_int(env_var("HERMIT_MTU"), &mtu);
	net.mtu = mtu < MAX_MTU ? mtu : MAX_MTU;
#ifdef NEW
	if (env_var("HERMIT_IP")) {
		klog(WARN, "device", "HERMIT_IP was set to %s, but Hermit was built with DHCPv4.", env_var("HERMIT_IP"));
		klog(WARN, "device", "HERMIT_IP will be overwritten if a DHCP configuration is acquired.");
	}
	dhcp();
	net.mtu = mtu < MAX_MTU ? mtu : MAX_MTU; /* Hermit does not ask for option 26 */
	klog(INFO, "network", "DHCP config acquired!");
#endif
}

/* A buffer for a frame, behind the device's header; there is always one, sooner or later. */
static uint8_t *frame(int *index)
{
	uint32_t size;

	for (;;) {
		for (int i; (i = virtq_take(&tx, &size)) >= 0;)
			tx_busy &= ~(1U << tx_owner[i]);
		for (int i = 0; i < BUFFERS; i++)
			if (!(tx_busy >> i & 1)) {
				*index = i;
				return tx_buffer[i] + VIRTIO_HEADER;
			}
	}
}

static void send_frame(int i, size_t n)
{
	struct piece p = { tx_buffer[i], 0 };

	memset(tx_buffer[i], 0, VIRTIO_HEADER);
	if (n < 60)
		memset(tx_buffer[i] + VIRTIO_HEADER + n, 0, 60 - n), n = 60;
	tx_busy |= 1U << i;
	p.len = VIRTIO_HEADER + n;
	tx_owner[virtq_add(&tx, &p, 1, NULL, 0)] = i;
	virtq_kick(&tx);
}

/* ---- ARP ---- */

static struct { uint32_t ip; uint8_t mac[6]; } neighbours[16];
static int neighbour_count;
static struct { int index; size_t size; uint32_t hop; } waiting = { -1, 0, 0 };

static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };

static const uint8_t *neighbour(uint32_t ip)
{
	for (int i = 0; i < 16; i++)
		if (neighbours[i].ip == ip && ip)
			return neighbours[i].mac;
	return NULL;
}

static void learn(uint32_t ip, const uint8_t *mac)
{
	int i = 0;

	while (i < 16 && neighbours[i].ip != ip)
		i++;
	if (i == 16)
		i = neighbour_count++ % 16;
	neighbours[i].ip = ip;
	memcpy(neighbours[i].mac, mac, 6);
}

static void send_arp(int operation, uint32_t ip, const uint8_t *mac)
{
	static const uint8_t head[] = { 0, 1, 8, 0, 6, 4, 0 };
	int i;
	uint8_t *f = frame(&i), *a = f + ETH_HEADER;

	memcpy(f, operation == 1 ? broadcast : mac, 6);
	memcpy(f + 6, net.mac, 6);
	put16(f + 12, ARP);
	memcpy(a, head, 7);
	a[7] = operation;
	memcpy(a + 8, net.mac, 6);
	put32(a + 14, net.ip);
	memcpy(a + 18, mac, 6);
	put32(a + 24, ip);
	send_frame(i, ETH_HEADER + 28);
}

static void arp_input(const uint8_t *a, size_t n)
{
	uint32_t from = get32(a + 14);

	if (n < 28 || (from ^ net.ip) & net.mask || !net.ip)
		return; /* "source IP address not in same network" */
	learn(from, a + 8);
	if (a[7] == 1 && get32(a + 24) == net.ip)
		send_arp(2, from, a + 8);
	if (waiting.index >= 0 && waiting.hop == from) {
		memcpy(tx_buffer[waiting.index] + VIRTIO_HEADER, a + 8, 6);
		send_frame(waiting.index, waiting.size);
		waiting.index = -1;
	}
}

/* ---- IPv4 ---- */

static uint32_t sum(const uint8_t *p, size_t n, uint32_t v)
{
	for (; n > 1; p += 2, n -= 2)
		v += get16(p);
	if (n)
		v += *p << 8;
	while (v >> 16)
		v = (v & 0xffff) + (v >> 16);
	return v;
}

uint16_t transport_checksum(uint32_t from, uint32_t to, uint8_t protocol, const uint8_t *p, size_t n)
{
	return ~sum(p, n, (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) + protocol + n);
}

static int packet = -1;

uint8_t *ip_payload(void)
{
	return frame(&packet) + ETH_HEADER + IP_HEADER;
}

void ip_send(uint32_t to, uint8_t protocol, size_t n)
{
	static uint16_t id;
	uint8_t *f = tx_buffer[packet] + VIRTIO_HEADER, *ip = f + ETH_HEADER;
	uint32_t hop = (to ^ net.ip) & net.mask ? net.gateway : to;
	const uint8_t *mac = to == 0xffffffff ? broadcast : neighbour(hop);
	static const uint8_t nobody[6];

	memset(ip, 0, IP_HEADER);
	ip[0] = 0x45;
	put16(ip + 2, IP_HEADER + n);
	put16(ip + 4, ++id);
	put16(ip + 6, 0x4000); /* do not fragment */
	ip[8] = 64;
	ip[9] = protocol;
	put32(ip + 12, net.ip);
	put32(ip + 16, to);
	put16(ip + 10, ~sum(ip, IP_HEADER, 0));
	memcpy(f + 6, net.mac, 6);
	put16(f + 12, IPV4);
	if (mac) {
		memcpy(f, mac, 6);
		send_frame(packet, ETH_HEADER + IP_HEADER + n);
		return;
	}
	if (!hop)
		return; /* no route */
	if (waiting.index >= 0)
		tx_busy &= ~(1U << waiting.index);
	waiting.index = packet;
	waiting.size = ETH_HEADER + IP_HEADER + n;
	waiting.hop = hop;
	tx_busy |= 1U << packet;
	send_arp(1, hop, nobody);
}

static void icmp_input(uint32_t from, const uint8_t *p, size_t n)
{
	if (n >= 8 && p[0] == 8) { /* echo */
		uint8_t *reply = ip_payload();

		memcpy(reply, p, n);
		reply[0] = 0;
		put16(reply + 2, 0);
		put16(reply + 2, ~sum(reply, n, 0));
		ip_send(from, ICMP, n);
	} else if (n >= 8 && p[0] == 0 && from == ping_from) {
		pings++;
	} else if (n >= 8 && p[0] == 3 && p[1] == 4) { /* Hermit's stack takes no notice; the test wants to */
		print("only %u bytes pass\n", get16(p + 6));
	}
}

/* ---- UDP ---- */

static void udp_send(uint32_t to, uint16_t from_port, uint16_t to_port, size_t n)
{
	uint8_t *u = tx_buffer[packet] + VIRTIO_HEADER + ETH_HEADER + IP_HEADER;
	uint16_t check;

	put16(u, from_port);
	put16(u + 2, to_port);
	put16(u + 4, UDP_HEADER + n);
	put16(u + 6, 0);
	check = transport_checksum(net.ip, to, UDP, u, UDP_HEADER + n);
	put16(u + 6, check ? check : 0xffff);
	ip_send(to, UDP, UDP_HEADER + n);
}

static char text[128];
static size_t text_size;

static void put_text(const char *s, size_t n)
{
	for (size_t i = 0; i < n && text_size < sizeof text; i++)
		text[text_size++] = s[i];
}

static void to_text(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(put_text, fmt, ap);
	va_end(ap);
}

/* What the server says of itself and of who asks. */
const char *greeting(uint32_t ip, uint16_t port, size_t *n)
{
	text_size = 0;
	to_text("%s %u.%u.%u.%u:%u\n", server_name, ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255, port);
	*n = text_size;
	return text;
}

/* Nobody listens on the packet's port. */
static void port_unreachable(uint32_t from, const uint8_t *ip, size_t n)
{
	uint8_t *reply = ip_payload();

	if (n > 548 - 8)
		n = 548 - 8;
	memset(reply, 0, 8);
	reply[0] = reply[1] = 3;
	memcpy(reply + 8, ip, n);
	put16(reply + 2, ~sum(reply, 8 + n, 0));
	ip_send(from, ICMP, 8 + n);
}

static bool udp_input(uint32_t from, const uint8_t *u, size_t n)
{
	size_t size = n - UDP_HEADER, head;
	const char *s;
	uint8_t *reply;

	if (n < UDP_HEADER || get16(u + 4) != n)
		return true;
	if (answer_port && get16(u + 2) == answer_port) {
		answer_size = size < sizeof answer ? size : sizeof answer;
		memcpy(answer, u + UDP_HEADER, answer_size);
	} else if (serves(get16(u + 2))) {
		s = greeting(from, get16(u), &head);
		if (head + size > MAX_MTU - IP_HEADER - UDP_HEADER)
			return true;
		reply = ip_payload() + UDP_HEADER;
		memcpy(reply, s, head);
		memcpy(reply + head, u + UDP_HEADER, size);
		udp_send(from, get16(u + 2), get16(u), head + size);
	} else {
		return false;
	}
	return true;
}

/* ---- arrival ---- */

static void input(const uint8_t *f, size_t n)
{
	const uint8_t *ip = f + ETH_HEADER;
	size_t size, header;

	if (n < ETH_HEADER + IP_HEADER || (memcmp(f, net.mac, 6) && memcmp(f, broadcast, 6)))
		return;
	if (get16(f + 12) == ARP)
		arp_input(ip, n - ETH_HEADER);
	if (get16(f + 12) != IPV4 || ip[0] >> 4 != 4)
		return;
	header = (ip[0] & 15) * 4;
	size = get16(ip + 2);
	if (header < IP_HEADER || size < header || size > n - ETH_HEADER || sum(ip, header, 0) != 0xffff)
		return;
	if (get32(ip + 16) != net.ip && !(ip[9] == UDP && answer_port == 68))
		return;
	if (ip[9] == ICMP)
		icmp_input(get32(ip + 12), ip + header, size - header);
	else if (ip[9] == UDP)
		udp_input(get32(ip + 12), ip + header, size - header) || (port_unreachable(get32(ip + 12), ip, size), 0);
	else if (ip[9] == TCP)
		tcp_input(get32(ip + 12), ip + header, size - header);
}

void net_poll(void)
{
	static int quiet;
	uint32_t size;
	int i, taken = 0;

	for (; taken < BUFFERS && (i = virtq_take(&rx, &size)) >= 0; taken++) {
		i = rx_owner[i];
		if (size > VIRTIO_HEADER)
			input(rx_buffer[i] + VIRTIO_HEADER, size - VIRTIO_HEADER);
		offer_rx(i);
	}
	tcp_tick();
	if (taken) {
		virtq_kick(&rx);
		quiet = 0;
	} else if (++quiet > 100) {
		nap(200);
	}
}

/* ---- commands ---- */

static void show(const char *what)
{
	print("%s mac=", what);
	for (int i = 0; i < 6; i++)
		print(i ? ":%c%c" : "%c%c", hex[net.mac[i] >> 4], hex[net.mac[i] & 15]);
	print(" ip="), print_ip(net.ip);
	print(" mask="), print_ip(net.mask);
	print(" gateway="), print_ip(net.gateway);
	print(" dns="), print_ip(net.dns[0]);
	print(","), print_ip(net.dns[1]);
	print(" mtu=%u\n", net.mtu);
}

static void ping(uint32_t to, long count)
{
	uint64_t begin, total = 0;

	ping_from = to;
	pings = 0;
	for (long i = 0; i < count; i++) {
		uint32_t before = pings;
		uint64_t again = 0;

		for (begin = now_us(); pings == before && now_us() - begin < PATIENCE_US; net_poll())
			if (now_us() >= again) {
				uint8_t *p = ip_payload();

				memset(p, 0, 64);
				p[0] = 8;
				put16(p + 6, i);
				put16(p + 2, ~sum(p, 64, 0));
				ip_send(to, ICMP, 64);
				again = now_us() + AGAIN_US;
			}
		total += now_us() - begin;
	}
	print("ping "), print_ip(to);
	print(": %u answers, %lu us\n", pings, pings ? total / pings : 0);
}

/* Sends one datagram, again and again, until something comes back. */
static bool ask(uint32_t to, uint16_t from_port, uint16_t port, const uint8_t *question, size_t n)
{
	uint64_t begin = now_us(), again = 0;

	answer_port = from_port;
	for (answer_size = 0; !answer_size && now_us() - begin < PATIENCE_US; net_poll())
		if (now_us() >= again) {
			memcpy(ip_payload() + UDP_HEADER, question, n);
			udp_send(to, from_port, port, n);
			again = now_us() + AGAIN_US;
		}
	answer_port = 0;
	return answer_size;
}

enum { DHCP_SIZE = 300 };

/* The value of a DHCP option of at least n bytes in the answer, or NULL. */
static const uint8_t *dhcp_option(int kind, int n)
{
	for (size_t i = 240; i + 2 <= answer_size && answer[i] != 255; i += 2 + answer[i + 1])
		if (answer[i] == kind && answer[i + 1] >= n && i + 2 + n <= answer_size)
			return answer + i + 2;
	return NULL;
}

static bool dhcp_step(uint8_t kind, uint32_t wanted, uint32_t server)
{
	static uint8_t q[DHCP_SIZE];
	const uint8_t *o;

	memset(q, 0, sizeof q);
	q[0] = q[1] = 1;
	q[2] = 6;
	put32(q + 4, 0x4865726d);
	memcpy(q + 28, net.mac, 6);
	put32(q + 236, 0x63825363);
	memcpy(q + 240, ((uint8_t[]){ 53, 1, kind, 50, 4 }), 5);
	put32(q + 245, wanted);
	memcpy(q + 249, ((uint8_t[]){ 54, 4 }), 2);
	put32(q + 251, server);
	q[255] = 255;
	if (kind == 1)
		q[243] = 255;
	if (!ask(0xffffffff, 68, 67, q, sizeof q) || answer_size < 240 || get32(answer + 4) != 0x4865726d)
		return false;
	o = dhcp_option(53, 1);
	return o && *o == (kind == 1 ? 2 : 5);
}

static void dhcp(void)
{
	const uint8_t *o;
	uint32_t wanted;

	net.ip = net.mask = net.gateway = net.dns[0] = net.dns[1] = 0;
	net.mtu = MAX_MTU;
	if (!dhcp_step(1, 0, 0) || !(o = dhcp_option(54, 4)) || (wanted = get32(answer + 16), !dhcp_step(3, wanted, get32(o)))) {
		print("dhcp: no answer\n");
		return;
	}
	net.ip = get32(answer + 16);
	if ((o = dhcp_option(1, 4)))
		net.mask = get32(o);
	if ((o = dhcp_option(3, 4)))
		net.gateway = get32(o);
	if ((o = dhcp_option(6, 4)))
		net.dns[0] = get32(o);
	if ((o = dhcp_option(6, 8)))
		net.dns[1] = get32(o + 4);
	if ((o = dhcp_option(26, 2)))
		net.mtu = get16(o) < MAX_MTU ? get16(o) : MAX_MTU;
	show("dhcp");
}

static void resolve(const char *name)
{
	uint8_t q[300] = { 0x12, 0x34, 1, 0, 0, 1 };
	size_t n = 12, i;

	for (const char *s = name; *s && n < 250;) {
		size_t label = 0;

		while (s[label] && s[label] != '.')
			label++;
		q[n++] = label;
		memcpy(q + n, s, label);
		n += label;
		s += label + (s[label] == '.');
	}
	memcpy(q + n, ((uint8_t[]){ 0, 0, 1, 0, 1 }), 5);
	print("resolve %s: ", name);
	if (!ask(net.dns[0], 5353, 53, q, n + 5)) {
		print("no answer\n");
		return;
	}
	/* The first record of type A behind the question. A name ends with a zero, or a pointer of two bytes. */
	for (i = n + 5; i < answer_size; i += 10 + get16(answer + i + 8)) {
		while (i < answer_size && answer[i] && answer[i] < 0xc0)
			i += 1 + answer[i];
		i += i < answer_size && answer[i] ? 2 : 1;
		if (i + 14 <= answer_size && get16(answer + i) == 1) {
			print_ip(get32(answer + i + 10));
			print("\n");
			return;
		}
		if (i + 10 > answer_size)
			break;
	}
	print("no address, code %u\n", answer[3] & 15);
}

static void print_bytes(const uint8_t *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		print("%c", s[i] == '\n' ? '|' : s[i]);
	print("\n");
}

void net_command(const char *command, const char *const *args, int n)
{
	uint32_t to = n ? parse_ip(args[0]) : 0;
	long number = 1;
	const char *problem;

	start();
	if (n > 1)
		parse_int(args[1], &number);
	if (!strcmp(command, "net")) {
		show("net");
	} else if (!strcmp(command, "dhcp")) {
		dhcp();
	} else if (!strcmp(command, "ping") && n >= 1) {
		ping(to, number);
	} else if (!strcmp(command, "resolve") && n == 1) {
		resolve(args[0]);
	} else if (!strcmp(command, "udp") && n == 3) {
		print("udp %s %s: ", args[0], args[1]);
		if (ask(to, 40000, number, (const uint8_t *)args[2], strlen(args[2])))
			print_bytes(answer, answer_size);
		else
			print("no answer\n");
	} else if (!strcmp(command, "connect") && n == 3) {
		problem = tcp_ask(to, number, args[2], strlen(args[2]));
		print("connect %s %s: %s\n", args[0], args[1], problem);
	} else if (!strcmp(command, "serve") && n >= 1) {
		server_name = args[0];
		for (int i = 1; i < n && i <= 16; i++)
			if (parse_int(args[i], &number))
				server_ports[server_port_count++] = number;
		print("serving as %s\n", server_name);
		for (;;)
			net_poll();
	} else {
		print("usage: net | dhcp | ping IP [N] | resolve NAME | udp IP PORT TEXT | connect IP PORT TEXT | serve NAME [PORT...]\n");
		shut_down(2, STATUS_LINE);
	}
}
