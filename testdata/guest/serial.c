/* serial.c: the 16550 UART at COM1, without interrupts. */
#include "lib.h"

enum { DATA = 0, IER = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5 };
enum { LSR_DATA_READY = 1, LSR_THR_EMPTY = 0x20 };

void serial_init(void)
{
	outb(SERIAL_PORT + IER, 0);
	outb(SERIAL_PORT + LCR, 0x80); /* divisor 1: 115200 baud */
	outb(SERIAL_PORT + DATA, 1);
	outb(SERIAL_PORT + IER, 0);
	outb(SERIAL_PORT + LCR, 0x03); /* 8N1 */
	/*
	 * No FIFOs here: switching them on clears them, and the first byte of a piped
	 * stdin may be there already. QEMU holds the rest back until it is read.
	 */
	outb(SERIAL_PORT + FCR, 0);
	outb(SERIAL_PORT + MCR, 0x0b);
}

/* What came before is lost, up to 16 bytes: as where Hermit's kernel sets the port up. */
void serial_reset(void)
{
	outb(SERIAL_PORT + FCR, 0x07);
}

void serial_write(const char *s, size_t n)
{
	for (; n; n--, s++) {
		while (!(inb(SERIAL_PORT + LSR) & LSR_THR_EMPTY))
			;
		outb(SERIAL_PORT + DATA, (uint8_t)*s);
	}
}

int serial_read(void)
{
	if (!(inb(SERIAL_PORT + LSR) & LSR_DATA_READY))
		return -1;
	return inb(SERIAL_PORT + DATA);
}
