/* Seeded bugs: deliberate defects, each with a number, that prove what the tests can find. In what
 * we build for use FL_BUG is its right side and nothing else; tests/seeded_bugs builds core, brain
 * and simulator once more with all of them, and chooses one when it runs. */
#pragma once

#ifdef FL_SEEDED_BUGS
extern int fl_seeded_bug; /* 0: none */
#define FL_BUG(number, broken, right) (fl_seeded_bug == (number) ? (broken) : (right))
#else
#define FL_BUG(number, broken, right) (right)
#endif
