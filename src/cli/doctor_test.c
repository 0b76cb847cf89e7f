/* The doctor's judgement of versions. Method: versions as runtimes and packages have them, against
 * rows as the table has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/ask.h"
#include "cli/doctor.h"

static void a_version_is_measured_by_its_own_branch(FL_UNUSED void **state)
{
    static const struct {
        const char *version, *fixed;
        bool is_fixed;
    } rows[] = {
        {"1.1.12", "1.1.12", true},
        {"1.1.11", "1.1.12", false},
        {"1.2.0", "1.1.12", true},
        {"1.0.3", "1.1.12", false},
        {"2.0", "1.1.12", true},
        {"1.2.8", "1.2.8 1.3.3", true},
        {"1.2.7", "1.2.8 1.3.3", false},
        {"1.3.0", "1.2.8 1.3.3", false},
        {"1.3.3", "1.2.8 1.3.3", true},
        {"1.4.0-rc.3", "1.2.8 1.3.3", true},
        {"1.1.99", "1.2.8 1.3.3", false},
        {"1.8.1", "1.20", false},
        {"1.20", "1.20", true},
        {"1.1.5+ds1", "1.1.12", false},
        {"unknown", "1.0.0", false},
        {"", "1.0.0", false},
        {"7", "1.0.0", false},
        {"99999999999.1", "1.0.0", false},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++)
        if (fl_doctor_is_fixed(fl_str_of(rows[i].version), rows[i].fixed) != rows[i].is_fixed)
            fail_msg("%s against %s", rows[i].version, rows[i].fixed);
}

static void a_program_is_heard_to_its_end(FL_UNUSED void **state)
{
    static const struct {
        const char *script, *said;
        int status;
    } rows[] = {
        {"echo 1.0", "1.0\n", 0},
        {"echo no >&2; exit 3", "no\n", 3},
        {"echo 1.0; exec >&- 2>&-; sleep 0.1", "1.0\n", 0},
        {"printf 123456789", "1234567", 0},
    };
    for (size_t i = 0; i < FL_ARRAY_SIZE(rows); i++) {
        const char *const argv[] = {"sh", "-c", rows[i].script, NULL};
        char text[8];
        assert_int_equal(fl_ask_program(argv, FL_DOCTOR_PATIENCE_MS, text, sizeof(text)),
                         rows[i].status);
        assert_string_equal(text, rows[i].said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_heard_to_its_end),
        cmocka_unit_test(a_version_is_measured_by_its_own_branch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
