/* A guest that has broken out of QEMU: a program that stands in QEMU's place, in QEMU's jail, and does
 * what such an attacker would do. It speaks as much QMP as the keeper needs. The last word of its last
 * argument, the guest's command line, says what to do once the machine runs:
 *   attack     tries everything; each line is a name and "ok" or the errno it met with. With a tap the words after it
 *              are an address to send from, one to send to, and a port
 *   stay       tries to outlive its keeper, and to have its tap outlive itself; says "stays", and does
 *   flood      writes FLOOD bytes, all values among them, as fast as they are taken
 * As "suid", a setuid program of root's, it says what it has become.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <arpa/inet.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FLOOD (100L << 20)

/* The descriptors of its network (keeper_launch.go), and what the kernel drops of an argument. */
enum { TAP = 100, RULES = 256 };
#define UPPER (1L << 32)

static void result(const char *name, long ret)
{
	int e = errno;

	printf("%s %s\n", name, ret >= 0 ? "ok" : strerrorname_np(e));
}

#define TRY(name, ...) do { errno = 0; result(name, syscall(__VA_ARGS__)); } while (0)
#define CALL(nr, ...) TRY(#nr, SYS_##nr, ##__VA_ARGS__)

static void files(void)
{
	static const char *const others[] = {
		"/etc/shadow", "/etc/passwd", "/hermit/secret", "/hermit/app", "/bin/sh", "/proc/self/status", "/proc/1/root",
		"/proc/1/mem", "/sys/kernel", "/dev/null", "/dev/mem", "/dev/kvm", "/dev/net/tun", "/run", "/tmp", "/root", "/..//etc/shadow",
	};
	struct dirent *d;
	DIR *root = opendir("/");

	for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
		char name[64];
		int fd;

		snprintf(name, sizeof name, "open:%s", others[i]);
		fd = open(others[i], O_RDONLY);
		result(name, fd);
		if (fd >= 0)
			close(fd);
	}
	while (root && (d = readdir(root)))
		if (d->d_name[0] != '.')
			printf("root:%s there\n", d->d_name);
	TRY("write:new", SYS_openat, AT_FDCWD, "/new", O_WRONLY | O_CREAT, 0600);
	TRY("write:app", SYS_openat, AT_FDCWD, "/app", O_RDWR);
	TRY("write:tmpfile", SYS_openat, AT_FDCWD, "/", O_RDWR | O_TMPFILE, 0600);
	TRY("write:unlink", SYS_unlink, "/app");
	CALL(mkdirat, AT_FDCWD, "/new", 0700);
	CALL(mknodat, AT_FDCWD, "/mem", S_IFCHR | 0600, 0x101);
	CALL(symlinkat, "/proc", AT_FDCWD, "/link");
	CALL(linkat, AT_FDCWD, "/app", AT_FDCWD, "/link", 0);
	CALL(renameat, AT_FDCWD, "/app", AT_FDCWD, "/new");
	CALL(truncate, "/app", 0);
	CALL(fchmodat, AT_FDCWD, "/app", 0777);
	CALL(fchownat, AT_FDCWD, "/app", 0, 0, 0);
	CALL(name_to_handle_at, AT_FDCWD, "/", NULL, NULL, 0);
	CALL(open_by_handle_at, AT_FDCWD, NULL, 0);
	for (int fd = 0; fd < 1024; fd++) {
		struct stat st;

		if (fstat(fd, &st) == 0 && !(root && fd == dirfd(root)))
			printf("fd:%d open\n", fd);
	}
}

static void processes(void)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { (void *)0x400000, 1 };

	CALL(kill, 1, SIGKILL);
	CALL(tkill, 1, SIGKILL);
	CALL(tgkill, 1, 1, SIGKILL);
	TRY("tgkill:abort", SYS_tgkill, 1, 1, SIGABRT);
	CALL(rt_sigqueueinfo, 1, SIGKILL, NULL);
	CALL(pidfd_open, 1, 0);
	CALL(ptrace, PTRACE_ATTACH, 1, 0, 0);
	TRY("ptrace:traceme", SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
	CALL(process_vm_readv, 1, &here, 1, &there, 1, 0);
	CALL(kcmp, 1, 1, 0, 0, 0);
	CALL(fork);
	CALL(vfork);
	TRY("clone:process", SYS_clone, SIGCHLD, 0, 0, 0, 0);
	TRY("clone:userns", SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	TRY("clone:thread in a netns", SYS_clone, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND | CLONE_NEWNET, 0, 0, 0, 0);
	CALL(clone3, NULL, 0);
	CALL(execveat, AT_FDCWD, "/suid", NULL, NULL, 0);
}

static void sockets(void)
{
	static const struct { const char *name; int family, type; } all[] = {
		{ "socket:inet", AF_INET, SOCK_STREAM }, { "socket:inet6", AF_INET6, SOCK_DGRAM }, { "socket:unix", AF_UNIX, SOCK_STREAM },
		{ "socket:raw", AF_INET, SOCK_RAW }, { "socket:packet", AF_PACKET, SOCK_RAW }, { "socket:netlink", AF_NETLINK, SOCK_RAW },
		{ "socket:vsock", AF_VSOCK, SOCK_STREAM }, { "socket:alg", AF_ALG, SOCK_SEQPACKET },
	};
	int pair[2];

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		TRY(all[i].name, SYS_socket, all[i].family, all[i].type, 0);
	CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
}

static void kernel(void)
{
	CALL(mount, "none", "/", "tmpfs", 0, NULL);
	CALL(umount2, "/app", MNT_DETACH);
	CALL(pivot_root, "/", "/");
	CALL(chroot, "/usr");
	CALL(open_tree, AT_FDCWD, "/", 0);
	CALL(move_mount, AT_FDCWD, "/app", AT_FDCWD, "/", 0);
	CALL(fsopen, "proc", 0);
	CALL(mount_setattr, AT_FDCWD, "/", 0, NULL, 0);
	TRY("unshare:user", SYS_unshare, CLONE_NEWUSER);
	TRY("unshare:mount", SYS_unshare, CLONE_NEWNS);
	CALL(setns, 0, 0);
	CALL(bpf, 0, NULL, 0);
	CALL(perf_event_open, NULL, 0, -1, -1, 0);
	CALL(userfaultfd, 0);
	CALL(io_uring_setup, 8, NULL);
	CALL(keyctl, 0, 0);
	CALL(add_key, "user", "x", "y", 1, -1);
	CALL(init_module, NULL, 0, "");
	CALL(finit_module, 0, "", 0);
	CALL(kexec_load, 0, 0, NULL, 0);
	CALL(reboot, 0, 0, 0);
	CALL(sethostname, "x", 1);
	CALL(settimeofday, NULL, NULL);
	CALL(syslog, 2, NULL, 0);
	CALL(iopl, 3);
	CALL(ioperm, 0, 1, 1);
	CALL(personality, 0x0400000);
	CALL(fanotify_init, 0, 0);
	CALL(memfd_secret, 0);
	CALL(swapon, "/app", 0);
	CALL(modify_ldt, 0, NULL, 0);
}

static void privileges(void)
{
	struct { unsigned version; int pid; } header = { 0x20080522, 0 };
	struct rlimit more = { 65536, 65536 }, core = { RLIM_INFINITY, RLIM_INFINITY };
	gid_t zero = 0;

	CALL(setuid, 0);
	CALL(setgid, 0);
	CALL(setresuid, 0, 0, 0);
	CALL(setgroups, 1, &zero);
	CALL(capset, &header, NULL);
	TRY("prctl:ambient", SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0);
	TRY("prctl:securebits", SYS_prctl, PR_SET_SECUREBITS, 0, 0, 0, 0);
	TRY("prctl:newprivs", SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
	TRY("limit:files", SYS_prlimit64, 0, RLIMIT_NOFILE, &more, NULL);
	TRY("limit:core", SYS_prlimit64, 0, RLIMIT_CORE, &core, NULL);
	TRY("limit:another's", SYS_prlimit64, 1, RLIMIT_NOFILE, &more, NULL);
	CALL(setpriority, 0, 0, -10);
}

/* Calls that do many things, of which QEMU needs a few. */
static void arguments(void)
{
	int app = open("/app", O_RDONLY), one = 1;
	struct f_owner_ex owner = { F_OWNER_PID, 1 };
	struct flock lock = { .l_type = F_RDLCK };
	char key = 'x';

	TRY("ioctl:TIOCSTI", SYS_ioctl, 0, TIOCSTI, &key);
	TRY("ioctl:FIOSETOWN", SYS_ioctl, 3, FIOSETOWN, &one);
	TRY("ioctl:SIOCSPGRP", SYS_ioctl, 3, SIOCSPGRP, &one);
	TRY("ioctl:FIOASYNC", SYS_ioctl, 3, FIOASYNC, &one);
	TRY("ioctl:FIOCLEX", SYS_ioctl, 3, FIOCLEX);
	TRY("ioctl:SIOCGIFCONF", SYS_ioctl, 3, SIOCGIFCONF, NULL);
	TRY("ioctl:FICLONE", SYS_ioctl, app, 0x40049409, app);
	TRY("ioctl:KVM", SYS_ioctl, 3, KVM_GET_API_VERSION, 0);
	TRY("ioctl:vhost", SYS_ioctl, 3, 0xaf01, 0);
	TRY("fcntl:F_SETOWN", SYS_fcntl, 3, F_SETOWN, 1);
	TRY("fcntl:F_SETOWN_EX", SYS_fcntl, 3, F_SETOWN_EX, &owner);
	TRY("fcntl:F_SETSIG", SYS_fcntl, 3, F_SETSIG, SIGKILL);
	TRY("fcntl:F_SETSIG, upper half", SYS_fcntl, 3, UPPER | F_SETSIG, SIGKILL);
	TRY("fcntl:F_SETLEASE", SYS_fcntl, app, F_SETLEASE, F_RDLCK);
	TRY("fcntl:F_NOTIFY", SYS_fcntl, app, F_NOTIFY, 0);
	TRY("fcntl:F_OFD_SETLK", SYS_fcntl, app, F_OFD_SETLK, &lock);
	TRY("prctl:parent's death", SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
	TRY("prctl:parent's death, upper half", SYS_prctl, UPPER | PR_SET_PDEATHSIG, 0, 0, 0, 0);
	TRY("prctl:tracer", SYS_prctl, PR_SET_PTRACER, -1, 0, 0, 0);
	TRY("prctl:dumpable", SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
	TRY("prctl:core of another", SYS_prctl, PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, 1, 0, 0);
	TRY("prctl:subreaper", SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	TRY("prctl:dispatch", SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0);
	TRY("limit:read another's", SYS_prlimit64, 1, RLIMIT_NOFILE, NULL, &(struct rlimit){ 0 });
	CALL(sched_setaffinity, 1, 0, NULL);
	CALL(sched_setscheduler, 1, 0, NULL);
	CALL(ioprio_set, 1, 1, 0);
	CALL(migrate_pages, 1, 0, NULL, NULL);
	CALL(move_pages, 1, 0, NULL, NULL, NULL, 0);
	CALL(process_madvise, 1, NULL, 0, 0, 0);
	CALL(process_vm_writev, 1, NULL, 0, NULL, 0, 0);
	CALL(pidfd_getfd, 1, 0, 0);
	close(app);
}

/* What a tap can be asked for without any privilege. */
static void tap(void)
{
	struct ifreq req = { 0 };
	static const struct { const char *name; unsigned request; } all[] = {
		{ "tap:TUNSETPERSIST", TUNSETPERSIST }, { "tap:TUNSETOWNER", TUNSETOWNER }, { "tap:TUNSETGROUP", TUNSETGROUP },
		{ "tap:TUNSETLINK", TUNSETLINK }, { "tap:TUNSETDEBUG", TUNSETDEBUG }, { "tap:TUNSETQUEUE", TUNSETQUEUE },
		{ "tap:TUNSETIFF", TUNSETIFF }, { "tap:TUNSETIFINDEX", TUNSETIFINDEX }, { "tap:TUNSETTXFILTER", TUNSETTXFILTER },
		{ "tap:TUNATTACHFILTER", TUNATTACHFILTER }, { "tap:TUNDETACHFILTER", TUNDETACHFILTER }, { "tap:TUNGETFILTER", TUNGETFILTER },
		{ "tap:TUNSETFILTEREBPF", TUNSETFILTEREBPF }, { "tap:TUNSETCARRIER", TUNSETCARRIER }, { "tap:TUNGETDEVNETNS", TUNGETDEVNETNS },
		{ "tap:SIOCSIFHWADDR", SIOCSIFHWADDR }, { "tap:SIOCGIFHWADDR", SIOCGIFHWADDR }, { "tap:SIOCGSKNS", 0x894c },
	};

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		TRY(all[i].name, SYS_ioctl, TAP, all[i].request, &req);
	TRY("tap:TUNSETPERSIST, upper half", SYS_ioctl, TAP, UPPER | TUNSETPERSIST, 1);
	TRY("tap:TUNGETIFF", SYS_ioctl, TAP, TUNGETIFF, &req); /* QEMU needs it */
}

/* The nftables that stand between it and the namespace live as long as this socket is open. */
static void rules(void)
{
	struct message { struct nlmsghdr head; struct nfgenmsg body; } batch[3] = { 0 };
	struct { struct nlmsghdr head; struct nlmsgerr error; char rest[256]; } answer = { 0 };
	struct iovec iov = { batch, sizeof batch };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	TRY("rules:close", SYS_close, RULES);
	TRY("rules:close, upper half", SYS_close, UPPER | RULES);
	TRY("rules:close_range", SYS_close_range, RULES, ~0U, 0);
	TRY("rules:dup2", SYS_dup2, 0, RULES);
	TRY("rules:dup3", SYS_dup3, 0, RULES, O_CLOEXEC);
	TRY("rules:F_SETFD", SYS_fcntl, RULES, F_SETFD, FD_CLOEXEC);
	TRY("rules:F_SETFD, upper half", SYS_fcntl, UPPER | RULES, F_SETFD, FD_CLOEXEC);
	TRY("rules:FIOCLEX", SYS_ioctl, RULES, FIOCLEX);
	for (int i = 0; i < 3; i++) {
		batch[i].head = (struct nlmsghdr){ sizeof *batch, NLM_F_REQUEST | NLM_F_ACK, .nlmsg_seq = i };
		batch[i].head.nlmsg_type = i == 0 ? NFNL_MSG_BATCH_BEGIN : i == 2 ? NFNL_MSG_BATCH_END : NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE;
		batch[i].body.res_id = i == 1 ? 0 : htons(NFNL_SUBSYS_NFTABLES);
	}
	if (sendmsg(RULES, &msg, 0) < 0 || read(RULES, &answer, sizeof answer) < (ssize_t)(sizeof answer.head + sizeof answer.error)) {
		result("rules:flush", -1);
		return;
	}
	errno = -answer.error.error;
	result("rules:flush", errno ? -1 : 0);
}

static uint16_t checksum(const unsigned char *b, int n)
{
	uint32_t sum = 0;

	for (int i = 0; i < n; i += 2)
		sum += b[i] << 8 | b[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

/* One datagram, as a frame for the tap with its header of ten bytes. */
static void frame(const char *what, const char *from, const char *to, int port)
{
	unsigned char b[10 + 14 + 20 + 8 + 16] = { 0 }, *ip = b + 24, *udp = ip + 20;
	char name[32];
	uint16_t sum;

	memcpy(b + 10, "\2runh\1\2\0\0\0\0\7\10\0", 14);
	memcpy(ip, "\x45\0\0\x2c\0\0\0\0\x40\x11", 10);
	inet_pton(AF_INET, from, ip + 12);
	inet_pton(AF_INET, to, ip + 16);
	sum = checksum(ip, 20);
	memcpy(ip + 10, &sum, 2);
	udp[0] = udp[2] = (unsigned char)(port >> 8);
	udp[1] = udp[3] = (unsigned char)port;
	udp[5] = 8 + 16;
	strncpy((char *)udp + 8, what, 16);
	snprintf(name, sizeof name, "frame:%s", what);
	TRY(name, SYS_write, TAP, b, sizeof b);
}

static void network(const char *words)
{
	char from[32], to[32];
	int port;

	if (sscanf(words, "attack %31s %31s %d", from, to, &port) != 3)
		return;
	tap();
	rules();
	frame("loopback", from, "127.0.0.1", port);
	frame("stand-in", from, "169.254.138.1", port); /* an answer to nobody's question */
	frame("address", from, to, port);
}

static void stay(void)
{
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	ioctl(TAP, TUNSETPERSIST, 1);
	close(RULES);
	printf("stays\n");
	fflush(stdout);
	for (;;)
		poll(NULL, 0, -1);
}

static void flood(void)
{
	static unsigned char block[1 << 16];

	for (unsigned i = 0; i < sizeof block; i++)
		block[i] = (unsigned char)(i + (i >> 8));
	for (long n = 0; n < FLOOD; n += sizeof block)
		for (size_t at = 0; at < sizeof block;) {
			ssize_t w = write(1, block + at, sizeof block - at);

			if (w < 0)
				_exit(1);
			at += (size_t)w;
		}
}

static void say(const char *line)
{
	if (write(3, line, strlen(line)) < 0)
		_exit(1);
}

int main(int argc, char **argv)
{
	char line[4096];
	char *nothing[] = { NULL }, *suid[] = { "suid", NULL };

	if (argc == 1) {
		printf("suid %s\n", getuid() && geteuid() && prctl(PR_CAPBSET_READ, 21, 0, 0, 0) == 0 ? "nobody" : "root");
		sockets();
		return 3;
	}
	say("{\"QMP\": {}}\r\n");
	for (;;) {
		ssize_t n = read(3, line, sizeof line - 1);

		if (n <= 0)
			return 1;
		line[n] = 0;
		say("{\"return\": {}}\r\n");
		if (strstr(line, "\"cont\""))
			break;
	}
	if (strstr(argv[argc - 1], "flood")) {
		flood();
		return 3;
	}
	if (strstr(argv[argc - 1], "stay"))
		stay();
	files();
	processes();
	sockets();
	kernel();
	privileges();
	arguments();
	network(strstr(argv[argc - 1], "attack"));
	printf("end\n");
	fflush(stdout);
	execve("/usr/bin/suid", suid, nothing);
	result("execve", -1);
	return 3;
}
