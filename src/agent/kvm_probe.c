/* A guest without a kernel: twenty million instructions and three ticks of the timer. */
#include "agent/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

#ifdef __x86_64__

enum {
    MEMORY = 0x10000,
    CODE_AT = 0x1000,
    PATIENCE_S = 1,
    DONE_PORT = 0xf4,
    DONE_WORD = 0x4b,
};

/* Three pages that the guest does not use, as Intel's processors want them. */
#define TSS_AT 0xfffbd000UL

/* Real mode, loaded at CODE_AT. Counting shows speed; a tick that wakes `hlt` shows interrupts. */
static const unsigned char code[] = {
    0xfa,                               /* cli                            */
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, /* ax, ds, ss = 0                 */
    0xbc, 0x00, 0x70,                   /* sp = 0x7000                    */
    0x66, 0xb9, 0x00, 0x2d, 0x31, 0x01, /* ecx = 20,000,000               */
    0x66, 0x49, 0x75, 0xfc,             /* decl %ecx; jnz                 */
    0xb8, 0x4f, 0x10, 0xa3, 0x80, 0x00, /* vector 0x20 = 0:handler        */
    0x31, 0xc0, 0xa3, 0x82, 0x00,       /*                                */
    0xb0, 0x11, 0xe6, 0x20,             /* interrupt controller: vectors  */
    0xb0, 0x20, 0xe6, 0x21,             /*   from 0x20 on, the timer only */
    0xb0, 0x04, 0xe6, 0x21,             /*                                */
    0xb0, 0x01, 0xe6, 0x21,             /*                                */
    0xb0, 0xfe, 0xe6, 0x21,             /*                                */
    0xb0, 0x34, 0xe6, 0x43,             /* timer: every 1024 clocks       */
    0x30, 0xc0, 0xe6, 0x40,             /*                                */
    0xb0, 0x04, 0xe6, 0x40,             /*                                */
    0x31, 0xdb, 0xfb,                   /* bx = 0; sti                    */
    0xf4, 0x83, 0xfb, 0x03, 0x72, 0xfa, /* hlt until bx is 3              */
    0xfa, 0xb0, 0x4b, 0xe6, 0xf4,       /* cli; tell port 0xf4            */
    0xeb, 0xfe,                         /* for ever                       */
    0x43, 0xb0, 0x20, 0xe6, 0x20, 0xcf, /* handler: bx++, end, return     */
};

static int make_machine(int kvm)
{
    struct kvm_pit_config timer = {0};
    int machine = ioctl(kvm, KVM_CREATE_VM, 0);
    if (machine < 0 || ioctl(machine, KVM_SET_TSS_ADDR, TSS_AT) < 0 ||
        ioctl(machine, KVM_CREATE_IRQCHIP, 0) < 0 || ioctl(machine, KVM_CREATE_PIT2, &timer) < 0)
        return -1;
    char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    memcpy(memory + CODE_AT, code, sizeof(code));
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY,
                                                 .userspace_addr = (uintptr_t)memory};
    return ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -1 : machine;
}

static int make_processor(int machine)
{
    struct kvm_sregs segments;
    struct kvm_regs registers = {.rip = CODE_AT, .rflags = 2};
    int processor = ioctl(machine, KVM_CREATE_VCPU, 0);
    if (processor < 0 || ioctl(processor, KVM_GET_SREGS, &segments) < 0)
        return -1;
    segments.cs.base = 0;
    segments.cs.selector = 0;
    if (ioctl(processor, KVM_SET_SREGS, &segments) < 0 ||
        ioctl(processor, KVM_SET_REGS, &registers) < 0)
        return -1;
    return processor;
}

static bool run_guest(int kvm)
{
    int machine = make_machine(kvm);
    int processor = machine < 0 ? -1 : make_processor(machine);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (processor < 0 || size < (int)sizeof(struct kvm_run))
        return false;
    const struct kvm_run *run =
        mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, processor, 0);
    if (run == MAP_FAILED || ioctl(processor, KVM_RUN, 0) < 0)
        return false;
    const unsigned char *word = (const unsigned char *)run + run->io.data_offset;
    return run->exit_reason == KVM_EXIT_IO && run->io.port == DONE_PORT && *word == DONE_WORD;
}

/* Everything of the machine goes with the process. The alarm's own action ends it, in a guest too.
 */
static bool child_succeeds(int kvm)
{
    pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGALRM, SIG_DFL);
        (void)alarm(PATIENCE_S);
        _exit(run_guest(kvm) ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

enum fl_kvm_state fl_kvm_probe(void)
{
    FL_CLEANUP_FD int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        return FL_KVM_ABSENT;
    return child_succeeds(kvm) ? FL_KVM_WORKS : FL_KVM_BROKEN;
}

#else

enum fl_kvm_state fl_kvm_probe(void)
{
    return FL_KVM_ABSENT;
}

#endif
