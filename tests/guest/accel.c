/* Prints how a machine can run here, as proa-vm finds it out: "kvm" or "tcg", and the kHz of the
 * processor's clock, which a machine that has no timer to measure with must be told. */
#include <stdio.h>

#include "runtime/vm/machine.h"

int main(void)
{
    bool kvm = false;
    unsigned int khz = 0;
    vm_accelerator(NULL, &kvm, &khz);
    printf("%s %u\n", kvm ? "kvm" : "tcg", khz);
    return 0;
}
