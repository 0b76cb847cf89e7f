/* Whether /dev/kvm runs a guest as fast as hardware does. That it opens says little: under a
 * hypervisor that only emulates it, guests are a thousand times slower, or never come to an end. */
#pragma once

enum fl_kvm_state {
    FL_KVM_WORKS,
    FL_KVM_ABSENT, /* no device, no right to open it, or no such processor */
    FL_KVM_BROKEN, /* opens, and a tiny guest fails or does not end in time */
};

/* Runs a guest of a few instructions, with interrupts, in a process of its own that is ended after
 * a second. Blocks for that long at most. */
enum fl_kvm_state fl_kvm_probe(void);
