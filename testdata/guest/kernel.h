/* kernel.h: what the kernel half of the app gives to the application half. */
#ifndef KERNEL_H
#define KERNEL_H

#include "fdt.h"
#include "lib.h"

/* kernel.c: boot arguments, environment, console, end of life. */
extern int argc;
extern char **argv; /* argv[0] is always "bin" */
extern int envc;
extern char **envp; /* "K=V", in order of first mention */
const char *env_var(const char *key); /* NULL if not set */

extern struct fdt_content boot;
extern uint64_t heap; /* the first byte nobody uses */

/* The console keeps output back until a newline, or 256 bytes, have come. */
void console_write(const char *s, size_t n);
void console_flush(void);
void print(const char *fmt, ...);

enum level { OFF, ERROR, WARN, INFO, DEBUG };
void klog(enum level level, const char *module, const char *fmt, ...);

#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void panic_at(const char *file, int line, const char *fmt, ...);

enum last_words { STATUS_LINE, NO_STATUS_LINE };
_Noreturn void shut_down(int status, enum last_words how);
_Noreturn void triple_fault(void);
void debug_exit(int status); /* returns if there is no isa-debug-exit */

/* cpu.c: page tables, exceptions, time, naps. */
void map_memory(void);
void cpu_init(long freq_mhz); /* 0: not given */
uint64_t now_us(void);
void nap(unsigned us);    /* halts for that long, or less */
void sleep_us(uint64_t us);
unsigned cpu_mhz(void);
unsigned measure_mhz(void); /* the TSC against the APIC timer */
unsigned cpu_count(void);
bool cpu_has_rdseed(void);
bool cpu_has_fsgsbase(void);

/* acpi.c: empty but for the PCI image. */
void acpi_init(void);
void acpi_power_off(void); /* returns if that did not work */
bool acpi_listen_button(void); /* false: there is none */
bool acpi_button_pressed(void);

/* devices.c */
void devices_init(void);
void devices_print(void);

/* net.c, tcp.c: the network card, IPv4 and what is on it. */
void net_command(const char *command, const char *const *args, int n);

/* app.c: returns the exit status. */
int app_main(void);

#endif
