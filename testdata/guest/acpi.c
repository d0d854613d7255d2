/*
 * acpi.c: for the image with the acpi feature: finds the ACPI tables, without
 * which such a kernel refuses to run, and powers off through them.
 * ACPI 6.5, 5.2.5 (RSDP), 5.2.9 (FADT), 7.4.2 (_S5).
 */
#include "kernel.h"
#include "variant.h"

#ifdef PCI

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
} __attribute__((packed));

struct table {
	char signature[4];
	uint32_t length;
	uint8_t rest[28]; /* of the header */
};

enum { FADT_DSDT = 40, FADT_PM1A_EVT = 56, FADT_PM1A_CNT = 64, POWER_BUTTON = 1 << 8 };

static uint16_t pm1a_event, pm1a_control, sleep_type;
static bool can_power_off;

static const struct rsdp *search_rsdp(uint64_t from, uint64_t to)
{
	for (; from < to; from += 16) {
		const uint8_t *p = (const uint8_t *)from;
		uint8_t sum = 0;

		if (memcmp(p, "RSD PTR ", 8))
			continue;
		for (int i = 0; i < 20; i++)
			sum += p[i];
		if (!sum)
			return (const struct rsdp *)p;
	}
	return NULL;
}

/* _S5_ is a package in byte code; its first element is the sleep type of PM1a. */
static void search_s5(const struct table *dsdt)
{
	static const uint8_t s5[] = { '_', 'S', '5', '_', 0x12 };
	const uint8_t *p = (const uint8_t *)dsdt, *end = p + dsdt->length - 9;

	for (; p < end; p++)
		if (!memcmp(p, s5, sizeof s5)) {
			sleep_type = p[7] == 0x0a ? p[8] : p[7];
			can_power_off = true;
			return;
		}
}

void acpi_init(void)
{
	const uint16_t *bios_data = (const uint16_t *)0x40e;
	const struct rsdp *r = NULL;
	const struct table *root;
	uint64_t ebda;

	__asm__("" : "+r"(bios_data)); /* gcc takes such low addresses for mistakes */
	ebda = (uint64_t)*bios_data << 4;
	if (ebda)
		r = search_rsdp(ebda, ebda + 1024);
	if (!r)
		r = search_rsdp(0xe0000, 0x100000);
	if (!r)
		panic("Hermit requires an ACPI-compliant system");

	root = (const struct table *)(uint64_t)r->rsdt;
	for (uint32_t at = sizeof *root; at + 4 <= root->length; at += 4) {
		uint32_t address;
		const struct table *t;

		memcpy(&address, (const char *)root + at, 4);
		t = (const struct table *)(uint64_t)address;
		klog(DEBUG, "acpi", "Found ACPI table: %c%c%c%c", t->signature[0], t->signature[1], t->signature[2],
		     t->signature[3]);
		if (!memcmp(t->signature, "FACP", 4)) {
			uint32_t dsdt;

			memcpy(&pm1a_event, (const char *)t + FADT_PM1A_EVT, 2);
			memcpy(&pm1a_control, (const char *)t + FADT_PM1A_CNT, 2);
			memcpy(&dsdt, (const char *)t + FADT_DSDT, 4);
			search_s5((const struct table *)(uint64_t)dsdt);
		}
	}
}

void acpi_power_off(void)
{
	if (!can_power_off)
		return;
	outw(pm1a_control, sleep_type << 10 | 1 << 13);
	/* QEMU stops the machine a moment later; what comes next must not be what ends it. */
	for (;;)
		asm volatile("hlt");
}

/* ACPI 6.5, 4.8.3.1: the enable register follows the status register. */
bool acpi_listen_button(void)
{
	if (!pm1a_event)
		return false;
	outw(pm1a_event + 2, inw(pm1a_event + 2) | POWER_BUTTON);
	return true;
}

bool acpi_button_pressed(void)
{
	return inw(pm1a_event) & POWER_BUTTON;
}

#else

bool acpi_listen_button(void)
{
	return false;
}

bool acpi_button_pressed(void)
{
	return false;
}

void acpi_init(void)
{
}

void acpi_power_off(void)
{
}

#endif
