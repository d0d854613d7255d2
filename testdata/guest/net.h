/* net.h: between net.c (card, ARP, IPv4, ICMP, UDP, commands) and tcp.c. */
#ifndef NET_H
#define NET_H

#include "kernel.h"

/* Addresses and ports are numbers; on the wire they are big-endian. */
static inline uint16_t get16(const void *p) { const uint8_t *b = p; return b[0] << 8 | b[1]; }
static inline uint32_t get32(const void *p) { return (uint32_t)get16(p) << 16 | get16((const uint8_t *)p + 2); }
static inline void put16(void *p, uint16_t v) { uint8_t *b = p; b[0] = v >> 8; b[1] = v; }
static inline void put32(void *p, uint32_t v) { put16(p, v >> 16); put16((uint8_t *)p + 2, v); }

struct net {
	uint8_t mac[6];
	uint32_t ip, mask, gateway, dns[2];
	unsigned mtu;
};

extern struct net net;

enum { ICMP = 1, TCP = 6, UDP = 17 };
enum { ETH_HEADER = 14, IP_HEADER = 20, UDP_HEADER = 8, TCP_HEADER = 20, MAX_MTU = 1500 };

/* Room for the payload of an IPv4 packet; ip_send sends it. */
uint8_t *ip_payload(void);
void ip_send(uint32_t to, uint8_t protocol, size_t n);

/* The Internet checksum with the pseudo header of TCP and UDP. */
uint16_t transport_checksum(uint32_t from, uint32_t to, uint8_t protocol, const uint8_t *p, size_t n);

/* Takes what has arrived, and lets TCP do what is due; naps when there is nothing. */
void net_poll(void);

/* serve: what a client hears first, and the ports (none: all). */
extern const char *server_name;
extern uint16_t server_ports[16];
extern int server_port_count;

/* tcp.c */
void tcp_input(uint32_t from, const uint8_t *segment, size_t n);
void tcp_tick(void);
bool serves(uint16_t port); /* as a server, by TCP and UDP */
/* Sends text, prints the first line that comes back; returns why not, or NULL. */
const char *tcp_ask(uint32_t ip, uint16_t port, const char *text, size_t n);

#endif
