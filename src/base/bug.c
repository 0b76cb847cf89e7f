/* Which of the seeded bugs this process has. */
#include "base/bug.h"

int fl_seeded_bug;
