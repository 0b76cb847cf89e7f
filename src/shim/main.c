/* fairlead-shim, as a program: `fairlead-shim <container directory>` or `fairlead-shim --hold …`.
 */
#include <string.h>

#include "shim/hold.h"
#include "shim/shim.h"

int main(int argc, char *argv[])
{
    if (argc > 2 && strcmp(argv[1], "--hold") == 0)
        return hold_main(argc - 2, argv + 2);
    return argc == 2 ? shim_run(argv[1], NULL) : 2;
}
