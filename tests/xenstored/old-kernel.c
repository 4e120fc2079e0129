/*
 * Runs a program as on a kernel before Linux 5.1: every system call that came later fails with ENOSYS. Those are
 * pidfd_open, clone3, close_range, openat2, epoll_pwait2 and others; they have the same numbers on all architectures.
 *
 *   old-kernel PROGRAM [ARGUMENT...]
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { FIRST_OF_5_1 = 424 };

int main(int argc, char **argv)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_OF_5_1, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof filter / sizeof *filter, .filter = filter };

    if (argc < 2) {
        fputs("Usage: old-kernel PROGRAM [ARGUMENT...]\n", stderr);
        return 2;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("old-kernel: seccomp");
        return 1;
    }
    execvp(argv[1], argv + 1);
    fprintf(stderr, "old-kernel: %s: %s\n", argv[1], strerror(errno));
    return 1;
}
