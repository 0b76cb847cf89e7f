/* What-if: the same seed gives the same words, tasks that have no place wait with the core's
 * reason and get one later, and a scenario that is not good is refused with one sentence. Method:
 * small scenarios through the one entry point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sim/whatif.h"

#define HOSTS "'hosts':[{'count':2,'cpu':1024,'memory':1000,'zones':['a','b']}],"
#define DEFINITIONS "'definitions':[{'family':'job','cpu':512,'memory':300}],"
#define TWICE "'arrivals':[{'definition':'job','at':[0.5],'count':6,'minutes':{'fixed':30}}]"

struct played {
    struct fl_buf table, svg;
    struct fl_whatif_totals totals;
    struct fl_err err;
    int rc;
};

/* Quotes are single ones in the text. */
static void play(struct played *p, const char *text)
{
    FL_CLEANUP_FREE char *copy = fl_strndup(text, strlen(text));
    for (char *at = copy; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    *p = (struct played){FL_BUF_INIT(1 << 20), FL_BUF_INIT(1 << 20), {0}, {0}, 0};
    p->rc = fl_whatif_run(fl_str_of(copy), &p->table, &p->svg, &p->totals, &p->err);
}

static void drop(struct played *p)
{
    fl_buf_free(&p->table);
    fl_buf_free(&p->svg);
}

static void refused(const char *text, const char *words)
{
    struct played p;
    play(&p, text);
    assert_true(p.rc < 0);
    if (!strstr(p.err.text, words))
        print_message("# %s\n", p.err.text);
    assert_non_null(strstr(p.err.text, words));
    drop(&p);
}

static void what_has_no_place_waits_and_gets_one(FL_UNUSED void **state)
{
    struct played p;
    play(&p, "{'hours':2," HOSTS DEFINITIONS TWICE "}");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.totals.arrived, 6);
    assert_int_equal(p.totals.delayed, 2);
    assert_int_equal(p.totals.placed, 6);
    assert_int_equal(p.totals.ended, 6);
    assert_int_equal(p.totals.waiting, 0);
    assert_in_range(p.totals.waited_minutes, 58, 64);
    assert_non_null(strstr(p.table.p, "RESOURCE:CPU 2"));
    assert_non_null(strstr(p.table.p, "512 CPU units"));
    assert_non_null(strstr(p.svg.p, "</svg>"));
    drop(&p);
}

static void what_never_fits_waits_to_the_end(FL_UNUSED void **state)
{
    struct played p;
    play(&p, "{'hours':1," HOSTS "'definitions':[{'family':'big','cpu':64,'memory':2000}],"
             "'arrivals':[{'definition':'big','at':[0],'minutes':{'fixed':1}}]}");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.totals.placed, 0);
    assert_int_equal(p.totals.waiting, 1);
    assert_non_null(strstr(p.table.p, "RESOURCE:MEMORY 2"));
    drop(&p);
}

static void constraints_and_ports_hold(FL_UNUSED void **state)
{
    struct played p;
    play(&p, "{'hours':1," HOSTS "'definitions':[{'family':'p','cpu':1,'memory':4,'ports':[80]},"
             "{'family':'z','cpu':1,'memory':4,'placementConstraints':[{'type':'memberOf',"
             "'expression':'attribute:ecs.availability-zone == a'},{'type':'distinctInstance'}]}],"
             "'arrivals':[{'definition':'p','at':[0],'count':3,'minutes':{'fixed':600}},"
             "{'definition':'z','at':[0],'count':2,'minutes':{'uniform':[600,700]}}]}");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.totals.placed, 3);
    assert_int_equal(p.totals.waiting, 2);
    assert_non_null(strstr(p.table.p, "p: RESOURCE:PORTS 2"));
    assert_non_null(strstr(p.table.p, "z: memberOf 1, the call's own constraints 1"));
    drop(&p);
}

static void a_seed_gives_the_same_words(FL_UNUSED void **state)
{
    static const char *const text =
        "{'seed':%d,'hours':6," HOSTS DEFINITIONS
        "'arrivals':[{'definition':'job','perHour':20,'minutes':{'exponential':10}}]}";
    char first[1024], other[1024];
    struct played a, b, c;
    (void)snprintf(first, sizeof(first), text, 7);
    (void)snprintf(other, sizeof(other), text, 8);
    play(&a, first);
    play(&b, first);
    play(&c, other);
    assert_int_equal(a.rc, 0);
    assert_in_range(a.totals.arrived, 60, 180);
    assert_string_equal(a.table.p, b.table.p);
    assert_string_equal(a.svg.p, b.svg.p);
    assert_string_not_equal(a.table.p, c.table.p);
    drop(&a);
    drop(&b);
    drop(&c);
}

static void bad_scenarios_are_refused(FL_UNUSED void **state)
{
    refused("{", "line ");
    refused("[]", "must be an object");
    refused("{'hours':0," HOSTS DEFINITIONS TWICE "}", "top.hours");
    refused("{'color':1," HOSTS DEFINITIONS TWICE "}", "\"color\"");
    refused("{" DEFINITIONS TWICE "}", "hosts must be a list");
    refused("{'hosts':[{'count':1,'cpu':'x','memory':1}]," DEFINITIONS TWICE "}", "hosts[0].cpu");
    refused("{" HOSTS "'definitions':[{'family':'job','cpu':1,'memory':9,'ports':80}]," TWICE "}",
            "definitions[0].ports must be a list");
    refused("{" HOSTS DEFINITIONS "'arrivals':[{'definition':'no'}]}", "arrivals[0].definition");
    refused("{" HOSTS DEFINITIONS "'arrivals':[{'definition':'job','perHour':1}]}",
            "arrivals[0].minutes");
    refused("{" HOSTS DEFINITIONS "'arrivals':[{'definition':'job','minutes':{'fixed':1}}]}",
            "either perHour or at");
    refused("{" HOSTS DEFINITIONS "'arrivals':[{'definition':'job','perHour':1,'daily':[1],"
            "'minutes':{'fixed':1}}]}",
            "24 numbers");
    refused("{" HOSTS "'definitions':[{'family':'job','cpu':1,'memory':9,'placementConstraints':"
            "[{'type':'memberOf','expression':'attribute:x =='}]}]," TWICE "}",
            "definitions[0]");
    refused("{" HOSTS DEFINITIONS "'arrivals':[{'definition':'job','perHour':1e6,'count':1000,"
            "'minutes':{'fixed':1}}]}",
            "more than 10000000");
}

static void yaml_will_do_and_its_faults_have_lines(FL_UNUSED void **state)
{
    struct played p;
    play(&p, "hours: 1\nhosts:\n  - {count: 1, cpu: 100, memory: 100, zones: ['1']}\n"
             "definitions: # what runs\n  - family: job\n    cpu: 10\n    memory: 10\n"
             "arrivals:\n  - {definition: job, at: [0.25], minutes: {fixed: 5}}\n");
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.totals.ended, 1);
    drop(&p);
    refused("", "cannot be read");
    refused("hours: 1\nhosts: [\n", "line 3");
    refused("hours: 1\nhours: 2\n", "line 2");
    refused("hours: &a 1\nseed: *a\n", "alias");
    refused("hours:\n  ? [1]\n  : 2\n", "line 2");
    refused("a: [[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]\n", "too deeply");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_no_place_waits_and_gets_one),
        cmocka_unit_test(what_never_fits_waits_to_the_end),
        cmocka_unit_test(constraints_and_ports_hold),
        cmocka_unit_test(a_seed_gives_the_same_words),
        cmocka_unit_test(bad_scenarios_are_refused),
        cmocka_unit_test(yaml_will_do_and_its_faults_have_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
