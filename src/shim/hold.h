/* `fairlead-shim --hold`: keeps the namespaces that a task's containers share. */
#pragma once

/* Arguments: the lock file, the directory for the shared memory, its size in bytes, and which
 * namespaces ("pid", "ipc" or "pid,ipc"). Makes them, prints "<own pid> <pid of process 1>\n" on
 * stdout (the same one where the pid namespace is not shared) and closes it; ends when nobody holds
 * the lock file shared any more. Returns an exit status. */
int hold_main(int argc, char *argv[]);
