/* Seeded bugs: deliberate defects, each with a number, that prove what the tests can find. In an
 * ordinary build FL_BUG is its right side and nothing else; with the option seeded_bugs the process
 * chooses one of them (tests/seeded_bugs.py). */
#pragma once

#ifdef FL_SEEDED_BUGS
extern int fl_seeded_bug; /* 0: none */
#define FL_BUG(number, broken, right) (fl_seeded_bug == (number) ? (broken) : (right))
#else
#define FL_BUG(number, broken, right) (right)
#endif
