/* Goal: agent and operator's commands agree on an installation's name. Method: known digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/install.h"

static void tag_is_six_digits_of_the_path(void **state)
{
    (void)state;
    char tag[FL_INSTALL_TAG_SIZE];
    fl_install_tag(FL_STR("/var/lib/fairlead"), tag);
    assert_string_equal(tag, "fl04108a");
}

static void trailing_slashes_do_not_count(void **state)
{
    (void)state;
    char plain[FL_INSTALL_TAG_SIZE];
    char slashed[FL_INSTALL_TAG_SIZE];
    fl_install_tag(FL_STR("/srv/a"), plain);
    fl_install_tag(FL_STR("/srv/a//"), slashed);
    assert_string_equal(plain, slashed);
    fl_install_tag(FL_STR("/srv/b"), slashed);
    assert_string_not_equal(plain, slashed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tag_is_six_digits_of_the_path),
        cmocka_unit_test(trailing_slashes_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
