/*
 * tcp.c: TCP for a few connections at a time (RFC 9293, without options but the
 * largest segment): a server that greets and echoes, and a client that asks one
 * question. What is sent stays in a buffer until it is acknowledged, and is sent
 * again as a whole; what arrives out of order is dropped.
 */
#include "net.h"

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
#ifdef MANY
enum { CONNECTIONS = 1024, BUFFER = 1024 };
#else
enum { CONNECTIONS = 16, BUFFER = 16384 };
#endif
enum { RESEND_US = 200000, GIVE_UP_US = 30000000, ASK_US = 5000000 };

enum state { CLOSED, SYN_SENT, SYN_RECEIVED, OPEN };

struct connection {
	enum state state;
	uint32_t ip, una, next, seen; /* sequence numbers: unacknowledged, next to send, next to receive */
	uint16_t port, local, mss;
	uint32_t window; /* the other side's */
	uint16_t offered; /* ours, as the other side knows it */
	uint64_t sent_at, heard_at;
	size_t size;     /* in buffer, from una on */
	bool finish, finished; /* FIN is to be sent after the buffer; the other side's has come */
	uint8_t buffer[BUFFER];
};

static struct connection all[CONNECTIONS];
static struct connection *client; /* that tcp_ask waits for */
static char line[256];
static size_t line_size;

const char *greeting(uint32_t ip, uint16_t port, size_t *n);

static void send_segment(uint32_t ip, uint16_t local, uint16_t port, uint32_t seq, uint32_t ack, int flags, uint16_t window, const uint8_t *data, size_t n)
{
	uint8_t *t = ip_payload();
	size_t header = flags & SYN ? TCP_HEADER + 4 : TCP_HEADER;

	put16(t, local);
	put16(t + 2, port);
	put32(t + 4, seq);
	put32(t + 8, flags & ACK ? ack : 0);
	t[12] = header << 2;
	t[13] = flags;
	put16(t + 14, window);
	put32(t + 16, 0);
	if (flags & SYN)
		put16(t + 20, 0x0204), put16(t + 22, net.mtu - IP_HEADER - TCP_HEADER);
	memcpy(t + header, data, n);
	put16(t + 16, transport_checksum(net.ip, ip, TCP, t, header + n));
	ip_send(ip, TCP, header + n);
}

static void reply(struct connection *c, uint32_t seq, int flags, const uint8_t *data, size_t n)
{
	c->offered = BUFFER - c->size;
	send_segment(c->ip, c->local, c->port, seq, c->seen, flags, c->offered, data, n);
}

/* Sends what has not been sent yet and the window has room for. */
static void push(struct connection *c)
{
	uint32_t limit = c->window < c->size ? c->window : c->size;

	if (c->state != OPEN)
		return;
	while (c->next - c->una < limit) {
		size_t n = limit - (c->next - c->una);

		if (n > c->mss)
			n = c->mss;
		reply(c, c->next, ACK | PSH, c->buffer + (c->next - c->una), n);
		c->next += n;
		c->sent_at = now_us();
	}
	if (c->finish && c->next - c->una == c->size) {
		reply(c, c->next, ACK | FIN, NULL, 0);
		c->next++;
		c->sent_at = now_us();
	}
}

static void put(struct connection *c, const void *data, size_t n)
{
	if (n > BUFFER - c->size)
		n = BUFFER - c->size;
	memcpy(c->buffer + c->size, data, n);
	c->size += n;
}

bool serves(uint16_t port)
{
	for (int i = 0; i < server_port_count; i++)
		if (server_ports[i] == port)
			return true;
	return server_name && server_port_count == 0;
}

static struct connection *find(uint32_t ip, uint16_t port, uint16_t local)
{
	for (int i = 0; i < CONNECTIONS; i++)
		if (all[i].state != CLOSED && all[i].ip == ip && all[i].port == port && all[i].local == local)
			return &all[i];
	return NULL;
}

static struct connection *create(enum state state, uint32_t ip, uint16_t port, uint16_t local)
{
	struct connection *c = NULL;

	for (int i = 0; i < CONNECTIONS && !c; i++)
		if (all[i].state == CLOSED)
			c = &all[i];
	if (!c)
		return NULL;
	memset(c, 0, offsetof(struct connection, buffer));
	c->state = state;
	c->ip = ip;
	c->port = port;
	c->local = local;
	c->mss = 536;
	c->una = c->next = now_us() << 6;
	c->sent_at = c->heard_at = now_us();
	return c;
}

static void read_options(struct connection *c, const uint8_t *t, size_t header)
{
	for (size_t i = TCP_HEADER; i + 4 <= header && t[i];)
		if (t[i] == 1) {
			i++;
		} else {
			if (t[i] == 2)
				c->mss = get16(t + i + 2);
			i += t[i + 1] > 1 ? t[i + 1] : 2;
		}
	if (c->mss > net.mtu - IP_HEADER - TCP_HEADER)
		c->mss = net.mtu - IP_HEADER - TCP_HEADER;
}

/* The other side has everything up to ack. */
static void acknowledge(struct connection *c, uint32_t ack)
{
	uint32_t n = ack - c->una;

	if (n == 0 || n > c->next - c->una)
		return;
	if (c->state == SYN_RECEIVED || c->state == SYN_SENT) {
		c->state = OPEN;
		c->una = c->next;
		return;
	}
	c->una = ack;
	if (n > c->size)
		n = c->size; /* the FIN has a number too */
	memmove(c->buffer, c->buffer + n, c->size - n);
	c->size -= n;
	if (c->finish && !c->size && c->una == c->next && c->finished)
		c->state = CLOSED;
}

static void data_input(struct connection *c, const uint8_t *data, size_t n)
{
	if (c == client) {
		for (size_t i = 0; i < n && line_size < sizeof line - 1; i++)
			line[line_size++] = data[i];
		return;
	}
	put(c, data, n);
}

void tcp_input(uint32_t from, const uint8_t *t, size_t n)
{
	size_t header = n < TCP_HEADER ? 0 : t[12] >> 4 << 2, greeting_size;
	uint32_t seq = get32(t + 4), ack = get32(t + 8);
	int flags = t[13];
	struct connection *c;
	const char *s;

	if (header < TCP_HEADER || header > n || transport_checksum(from, net.ip, TCP, t, n))
		return;
	n -= header;
	c = find(from, get16(t), get16(t + 2));
	if (c && flags & SYN && !(flags & ACK) && seq + 1 != c->seen)
		c->state = CLOSED, c = NULL; /* an old port, used again */
	if (!c && flags & SYN && !(flags & ACK) && serves(get16(t + 2)) && (c = create(SYN_RECEIVED, from, get16(t), get16(t + 2)))) {
		c->seen = seq + 1;
		read_options(c, t, header);
		reply(c, c->next++, SYN | ACK, NULL, 0);
		return;
	}
	if (!c) {
		if (!(flags & RST))
			send_segment(from, get16(t + 2), get16(t), flags & ACK ? ack : 0, seq + n + !!(flags & (SYN | FIN)), RST | ACK, 0, NULL, 0);
		return;
	}
	if (flags & RST) {
		c->state = CLOSED;
		return;
	}
	c->heard_at = now_us();
	if (c->state == SYN_SENT && (flags & (SYN | ACK)) == (SYN | ACK)) {
		c->seen = seq + 1;
		seq++;
		read_options(c, t, header);
	}
	c->window = get16(t + 14);
	if (flags & ACK) {
		bool opens = c->state == SYN_RECEIVED;

		acknowledge(c, ack);
		if (opens && c->state == OPEN) {
			s = greeting(c->ip, c->port, &greeting_size);
			put(c, s, greeting_size);
		}
	}
	if (c->state != OPEN)
		return;
	if (n || flags & (FIN | SYN) || seq != c->seen) { /* the last is a probe of a closed window, too */
		if (seq == c->seen && n <= BUFFER - c->size) {
			data_input(c, t + header, n);
			c->seen += n;
			if (flags & FIN && !c->finished) {
				c->seen++;
				c->finished = c->finish = true;
			}
		}
		reply(c, c->next, ACK, NULL, 0);
	}
	push(c);
	if (c->offered < BUFFER / 2 && BUFFER - c->size >= BUFFER / 2)
		reply(c, c->next, ACK, NULL, 0); /* there is room again */
}

void tcp_tick(void)
{
	uint64_t now = now_us();

	for (int i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &all[i];

		if (c->state == CLOSED || c->una == c->next || now - c->sent_at < RESEND_US)
			continue;
		if (now - c->heard_at > GIVE_UP_US) {
			c->state = CLOSED;
			continue;
		}
		c->sent_at = now;
		if (c->state == OPEN) {
			c->next = c->una;
			push(c);
		} else {
			reply(c, c->una, c->state == SYN_SENT ? SYN : SYN | ACK, NULL, 0);
		}
	}
}

const char *tcp_ask(uint32_t ip, uint16_t port, const char *text, size_t n)
{
	static uint16_t local;
	uint64_t begin = now_us();
	bool asked = false, closed;

	if (!local)
		local = 49152 + now_us() % 16000;
	client = create(SYN_SENT, ip, port, local++);
	line_size = 0;
	reply(client, client->next++, SYN, NULL, 0);
	while (client->state != CLOSED && now_us() - begin < ASK_US && !(client->finished && !client->size)) {
		net_poll();
		if (client->state == OPEN && !asked) {
			put(client, text, n);
			put(client, "\n", 1);
			push(client);
			asked = true;
		}
		if (asked && line_size && line[line_size - 1] == '\n' && !client->finish) {
			client->finish = true;
			push(client);
		}
	}
	closed = client->state == CLOSED;
	client->state = CLOSED;
	client = NULL;
	if (!line_size)
		return asked ? "no reply" : closed ? "refused" : "no answer";
	while (line_size && line[line_size - 1] == '\n')
		line_size--;
	for (size_t i = 0; i < line_size; i++)
		if (line[i] == '\n')
			line[i] = '|';
	line[line_size] = 0;
	return line;
}
