#include "anomalyctl/svg.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "support/alloc_fail.h"
#include "support/cmocka.h"
#include "support/xml.h"

#include <math.h>
#include <stdlib.h>

static const struct svg_panel panel = {
    .left = 100,
    .top = 50,
    .width = 200,
    .height = 100,
    .x = {.label = "x & y", .low = 0, .high = 10},
    .y = {.label = "y",     .low = 0, .high = 1 },
};

static void assert_contains(const struct text *text, const char *wanted)
{
    if (!strstr(text->data, wanted))
        fail_msg("no %s in\n%s", wanted, text->data);
}

static size_t count(const char *text, const char *wanted)
{
    size_t n = 0;

    for (; (text = strstr(text, wanted)); text++)
        n++;
    return n;
}

static void append_page(struct text *text)
{
    const struct svg_point points[] = {
        {0,  0.5},
        {10, 1  }
    };

    svg_begin(text, 960, 300, "Title <1>", "\"Described\" & done");
    svg_frame(text, &panel);
    svg_line(text, &panel, "s0", points, 2);
    svg_bars(text, &panel, "s1 hatched", (const double[]){0.5, 0, 1}, 3);
    svg_vertical(text, &panel, "mark", 5, "threshold");
    svg_dot(text, &panel, "mark", points[0], "dot", false);
    svg_key_line(text, "s0 dashed", 10, 20, "line");
    svg_key_area(text, "s1 hatched", 10, 40, "area");
    svg_end(text);
}

static void page_is_well_formed_and_stands_alone(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    append_page(&text);
    assert_false(text_failed(&text));
    assert_true(xml_is_well_formed(text.data));
    assert_contains(&text, "viewBox=\"0 0 960 300\"");
    assert_contains(&text, "<title id=\"title\">Title &#60;1&#62;</title>");
    assert_contains(&text, "<desc id=\"description\">&#34;Described&#34; &#38; done</desc>");
    assert_contains(&text, "prefers-color-scheme:dark");
    assert_contains(&text, "class=\"paper\"");
    assert_null(strstr(text.data, "<script"));
    assert_null(strstr(text.data, "@import"));
    assert_int_equal(count(text.data, "http"), 1); /* the name space */
}

static void strings_are_escaped_and_mended(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    svg_text(&text, "label", 1, 2, "a<b>&\"c\" µ \xff\x01\xEF\xBF\xBE\xC3");
    assert_string_equal(text.data,
                        "<text class=\"label\" x=\"1\" y=\"2\">a&#60;b&#62;&#38;&#34;c&#34; µ "
                        "\uFFFD\uFFFD\uFFFD\uFFFD</text>\n");
}

static void line_goes_through_its_points(void **state)
{
    (void)state;
    const struct svg_point points[] = {
        {0,  0   },
        {5,  0.25},
        {10, 1   }
    };
    CLEANUP(text_clear) struct text text = {0};

    svg_line(&text, &panel, "s0 dashed", points, 3);
    assert_string_equal(text.data,
                        "<path class=\"line s0 dashed\" d=\"M100 150h0L200 125L300 50\"/>\n");
}

static void line_has_a_gap_at_nan(void **state)
{
    (void)state;
    const struct svg_point points[] = {
        {0,  0          },
        {1,  (double)NAN},
        {5,  0.5        },
        {10, 1          }
    };
    CLEANUP(text_clear) struct text text = {0};

    svg_line(&text, &panel, "s0", points, 4);
    assert_contains(&text, "d=\"M100 150h0M200 100h0L300 50\"");
}

static void line_on_a_log_axis_leaves_out_what_has_no_logarithm(void **state)
{
    (void)state;
    struct svg_panel log_panel = panel;
    const struct svg_point points[] = {
        {0,  0  },
        {1,  -3 },
        {5,  10 },
        {10, 100}
    };
    CLEANUP(text_clear) struct text text = {0};

    log_panel.y = (struct axis){.label = "y", .is_log = true, .low = 1, .high = 100};
    svg_line(&text, &log_panel, "s0", points, 4);
    assert_contains(&text, "d=\"M200 100h0L300 50\"");
}

static void huge_and_tiny_values_stay_inside(void **state)
{
    (void)state;
    const struct svg_point points[] = {
        {-1e308, -1e308          },
        {1e-320, 1e-320          },
        {1e308,  (double)INFINITY}
    };
    CLEANUP(text_clear) struct text text = {0};

    svg_line(&text, &panel, "s0", points, 3);
    assert_contains(&text, "d=\"M100 150h0L300 50\"");
}

static void no_points_and_one_point_are_drawn(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    svg_line(&text, &panel, "s0", NULL, 0);
    assert_contains(&text, "d=\"\"");
    svg_line(&text, &panel, "s0", &(struct svg_point){5, 0.5}, 1);
    assert_contains(&text, "d=\"M200 100h0\""); /* its round ends make a dot */
    svg_bars(&text, &panel, "s0", NULL, 0);
    assert_true(xml_is_well_formed(text.data));
}

/* A million points with one peak that must not be lost. */
static void long_line_is_thinned_and_keeps_its_peaks(void **state)
{
    (void)state;
    const size_t n_points = 1000000;
    AUTO_FREE struct svg_point *points = calloc(n_points, sizeof(*points));
    CLEANUP(text_clear) struct text text = {0};

    assert_non_null(points);
    for (size_t i = 0; i < n_points; i++)
        points[i] = (struct svg_point){10 * (double)i / (double)(n_points - 1),
                                       0.3 + 0.1 * (double)(i * 7919 % 1009) / 1009};
    points[234567].y = 1;
    points[765432].y = 0;
    svg_line(&text, &panel, "s0", points, n_points);
    assert_in_range(count(text.data, "L"), SVG_MAX_POINTS / 2, SVG_MAX_POINTS);
    assert_true(text.length < 20000);
    assert_contains(&text, "L146.9 50L");
    assert_contains(&text, "L253.1 150L");
    assert_contains(&text, "d=\"M100 120");
    assert_contains(&text, "L300 ");
}

/* Half of the rise is in the first column. */
static void thinned_curve_keeps_its_steep_start(void **state)
{
    (void)state;
    const size_t n_points = 300000;
    AUTO_FREE struct svg_point *points = calloc(n_points, sizeof(*points));
    CLEANUP(text_clear) struct text text = {0};

    assert_non_null(points);
    for (size_t i = 0; i < n_points; i++) {
        const double share = (double)i / (double)(n_points - 1);
        points[i] =
            share < 0.5 ? (struct svg_point){0, share} : (struct svg_point){20 * share - 10, share};
    }
    svg_line(&text, &panel, "s0", points, n_points);
    assert_contains(&text, "L100 100L"); /* the bend */
    assert_in_range(count(text.data, "L"), SVG_MAX_POINTS / 4, SVG_MAX_POINTS);
}

static void line_of_a_thousand_points_is_whole(void **state)
{
    (void)state;
    struct svg_point points[SVG_MAX_POINTS];
    CLEANUP(text_clear) struct text text = {0};

    for (size_t i = 0; i < SVG_MAX_POINTS; i++)
        points[i] = (struct svg_point){5 + (double)i / 1e5, i % 2};
    svg_line(&text, &panel, "s0", points, SVG_MAX_POINTS);
    assert_int_equal(count(text.data, "L"), SVG_MAX_POINTS - 1);
}

static void empty_bars_have_no_outline(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    svg_bars(&text, &panel, "s1", (const double[]){0, 0.5, 1, (double)NAN, 1}, 5);
    assert_string_equal(text.data, "<path class=\"area s1\" d=\"M140 150V100H180V50H220V150"
                                   "M260 150V50H300V150\"/>\n");
}

static void marks_without_a_place_are_left_out(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    svg_vertical(&text, &panel, "mark", (double)NAN, "threshold");
    svg_dot(&text, &panel, "mark", (struct svg_point){1, (double)NAN}, "dot", false);
    svg_dot(&text, &panel, "mark", (struct svg_point){(double)NAN, 1}, "dot", false);
    assert_null(text.data);
}

static void labels_stand_towards_the_middle(void **state)
{
    (void)state;
    CLEANUP(text_clear) struct text text = {0};

    svg_vertical(&text, &panel, "mark", 9, "far");
    assert_contains(&text, "mark end\" x=\"270\"");
    svg_vertical(&text, &panel, "mark", 1, "near");
    assert_contains(&text, "mark\" x=\"130\"");
    svg_dot(&text, &panel, "mark", (struct svg_point){1, 0}, "low", false);
    assert_contains(&text, "mark\" x=\"130\" y=\"138\">low"); /* above, not on the axis */
}

static void failed_allocations_are_remembered(void **state)
{
    (void)state;
    bool failed = true;

    for (int nth = 0; failed && nth < 100; nth++) {
        CLEANUP(text_clear) struct text text = {0};
        alloc_fail_in = nth;
        append_page(&text);
        alloc_fail_in = -1;
        failed = text_failed(&text);
        assert_true(failed || nth > 0);
    }
    assert_false(failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_is_well_formed_and_stands_alone),
        cmocka_unit_test(strings_are_escaped_and_mended),
        cmocka_unit_test(line_goes_through_its_points),
        cmocka_unit_test(line_has_a_gap_at_nan),
        cmocka_unit_test(line_on_a_log_axis_leaves_out_what_has_no_logarithm),
        cmocka_unit_test(huge_and_tiny_values_stay_inside),
        cmocka_unit_test(no_points_and_one_point_are_drawn),
        cmocka_unit_test(long_line_is_thinned_and_keeps_its_peaks),
        cmocka_unit_test(thinned_curve_keeps_its_steep_start),
        cmocka_unit_test(line_of_a_thousand_points_is_whole),
        cmocka_unit_test(empty_bars_have_no_outline),
        cmocka_unit_test(marks_without_a_place_are_left_out),
        cmocka_unit_test(labels_stand_towards_the_middle),
        cmocka_unit_test(failed_allocations_are_remembered),
    };

    return cmocka_run_group_tests_name("svg", tests, NULL, NULL);
}
