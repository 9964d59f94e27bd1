/* svg - charts as SVG, readable on light and on dark, in one file without fonts or scripts.
 *
 * Everything is appended to a struct text, which remembers a failed allocation. A style is one or
 * more names of the style sheet, separated by blanks: SVG_N_SERIES colours "s0" to "s5", "mark" for
 * what the eye should find, "reference" for what curves are compared with; "dashed" and "thin"
 * change a line. Renderers that know no media queries show the light colours. */
#pragma once

#include "anomalyctl/axis.h"

#include <stdbool.h>
#include <stddef.h>

struct text;

#define SVG_N_SERIES 6

/* 960 px wide is a good page. title and description are for those who cannot see it. */
void svg_begin(struct text *text, double width, double height, const char *title,
               const char *description);
void svg_end(struct text *text);

/* A string at (x, y) px, the left end of its base line; escaped, what XML cannot hold becomes
 * U+FFFD. Styles of its own: "headline", "title", "label"; "middle" and "end" say what lies at x
 * instead of the left end. */
void svg_text(struct text *text, const char *style, double x, double y, const char *string);

/* Where values are drawn, in pixels. Ticks and labels stand around it: 45 px below, 50 px left, 25
 * px above. */
struct svg_panel {
    double left, top, width, height;
    struct axis x, y;
};

struct svg_point {
    double x, y;
};

/* Grid, ticks, labels of the axes. */
void svg_frame(struct text *text, const struct svg_panel *panel);

#define SVG_MAX_POINTS 1000

/* A line through points[n_points], x not falling. Points without a place leave a gap. Of more than
 * SVG_MAX_POINTS about as many are drawn, those that make the difference: first and last in every
 * 250th of width and height; if the line goes up and down too much for that, first, lowest, highest
 * and last in every 250th of the width. */
void svg_line(struct text *text, const struct svg_panel *panel, const char *style,
              const struct svg_point *points, size_t n_points);

/* A histogram: n_bars bars of equal width, which fill the panel. "hatched" tells one from another
 * without colour. */
void svg_bars(struct text *text, const struct svg_panel *panel, const char *style,
              const double *heights, size_t n_bars);

/* A vertical line with a label at its upper end, and a dot with one beside it ("" for none).
 * Nothing where the value has no place. */
void svg_vertical(struct text *text, const struct svg_panel *panel, const char *style, double x,
                  const char *label);
void svg_dot(struct text *text, const struct svg_panel *panel, const char *style,
             struct svg_point at, const char *label, bool is_label_above);

/* One entry of a legend at (x, y) px: what the style looks like, as line or area, and its name. */
void svg_key_line(struct text *text, const char *style, double x, double y, const char *name);
void svg_key_area(struct text *text, const char *style, double x, double y, const char *name);
