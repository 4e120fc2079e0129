/*
 * Runs a program and sends it SIGTERM in the instant in which it has installed a handler for it: as soon as the kernel has
 * carried sigaction out, before the program's next instruction.
 *
 *   early-signal PROGRAM [ARGUMENT...]
 *
 * Ends as the program does. The exit code is 3 if the program never installs a handler.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "early-signal: %s: %s\n", what, strerror(errno));
    return 1;
}

/* Whether the process stands behind a sigaction that gave SIGTERM a handler. */
static int has_handler(pid_t pid, int *enters)
{
    struct __ptrace_syscall_info info;

    memset(&info, 0, sizeof info);
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0)
        return 0;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
        *enters = info.entry.nr == SYS_rt_sigaction && info.entry.args[0] == SIGTERM && info.entry.args[1] != 0;
    return info.op == PTRACE_SYSCALL_INFO_EXIT && *enters && info.exit.rval == 0;
}

int main(int argc, char **argv)
{
    int status, enters = 0, signal = 0;
    pid_t pid;

    if (argc < 2) {
        fputs("Usage: early-signal PROGRAM [ARGUMENT...]\n", stderr);
        return 2;
    }
    pid = fork();
    if (pid < 0)
        return fail("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
            _exit(fail("ptrace"));
        execvp(argv[1], argv + 1);
        _exit(fail(argv[1]));
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return fail(argv[1]);
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    do {
        if (ptrace(PTRACE_SYSCALL, pid, 0, signal) != 0 || waitpid(pid, &status, 0) != pid)
            return fail("ptrace");
        if (!WIFSTOPPED(status))
            return 3;
        /* A stop of a system call is no signal for the program. */
        signal = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
    } while (signal != 0 || !has_handler(pid, &enters));
    kill(pid, SIGTERM);
    if (ptrace(PTRACE_DETACH, pid, 0, 0) != 0)
        return fail("ptrace");
    if (waitpid(pid, &status, 0) != pid)
        return fail("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
