/* A static program for what a shell cannot ask: what a system call answers inside the container.
 *   probe NR [ARG...]      prints "ok" or the errno's number
 *   probe i386 NR          the same through int $0x80 (no arguments)
 *   probe x32 NR           the same with the x32 bit
 *   probe sigs             prints the signals that are blocked or ignored at start
 *   probe notify TEXT      sends the text to $NOTIFY_SOCKET
 *   probe keyring          prints the description of the session's keyring
 *   probe chroot-escape    tries to leave the root by the classic way; prints "out" or "in"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void answer(long ret)
{
	if (ret == -1)
		printf("%d\n", errno);
	else
		printf("ok\n");
}

int main(int argc, char **argv)
{
	long a[7] = { 0 };

	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "sigs")) {
		sigset_t set;
		struct sigaction sa;

		sigprocmask(SIG_SETMASK, NULL, &set);
		for (int s = 1; s < 65; s++) {
			if (sigismember(&set, s) == 1)
				printf("blocked %d\n", s);
			if (syscall(SYS_rt_sigaction, s, NULL, &sa, 8) == 0 && sa.sa_handler == SIG_IGN)
				printf("ignored %d\n", s);
		}
		printf("end\n");
		return 0;
	}
	if (!strcmp(argv[1], "notify")) {
		struct sockaddr_un to = { .sun_family = AF_UNIX };
		int s = socket(AF_UNIX, SOCK_DGRAM, 0);

		strncpy(to.sun_path, getenv("NOTIFY_SOCKET"), sizeof(to.sun_path) - 1);
		answer(sendto(s, argv[2], strlen(argv[2]), 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : 0);
		return 0;
	}
	if (!strcmp(argv[1], "keyring")) {
		char text[256] = "";

		syscall(SYS_keyctl, 6 /* KEYCTL_DESCRIBE */, -3 /* the session's */, text, sizeof(text) - 1);
		puts(text);
		return 0;
	}
	if (!strcmp(argv[1], "chroot-escape")) {
		struct stat before, after;

		stat("/", &before);
		mkdir("/tmp/jail", 0700);
		if (chroot("/tmp/jail") == 0)
			for (int i = 0; i < 64; i++)
				if (chdir("..") != 0)
					break;
		if (chroot(".") == 0 && stat("/", &after) == 0 && (after.st_ino != before.st_ino || after.st_dev != before.st_dev))
			puts("out");
		else
			puts("in");
		return 0;
	}
	if (!strcmp(argv[1], "i386")) {
		long ret = atol(argv[2]);

		__asm__ volatile("int $0x80" : "+a"(ret) : "b"(0), "c"(0), "d"(0), "S"(0), "D"(0) : "memory", "r8", "r9", "r10", "r11");
		if ((int)ret < 0)
			printf("%d\n", -(int)ret);
		else
			printf("ok\n");
		return 0;
	}
	if (!strcmp(argv[1], "x32")) {
		answer(syscall(0x40000000 | atol(argv[2]), 0, 0, 0, 0, 0, 0));
		return 0;
	}
	for (int i = 1; i < argc && i < 8; i++)
		a[i - 1] = strtol(argv[i], NULL, 0);
	answer(syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]));
	return 0;
}
