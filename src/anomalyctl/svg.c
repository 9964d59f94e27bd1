#include "anomalyctl/svg.h"

#include "base/text.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Series take their colour from `color`, so that dark needs no second set of rules; custom
 * properties would do too, but fewer programs know them. */
static const char style_sheet[] =
    "<style>\n"
    "svg{color:#1c2733;font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',"
    "sans-serif}\n"
    "text{fill:currentColor;font-variant-numeric:tabular-nums}\n"
    ".paper{fill:#fff}.grid{stroke:#e6eaef;stroke-width:1}.axis{stroke:#9aa7b4;stroke-width:1}\n"
    ".headline{font-size:22px;font-weight:600}.title{font-size:16px;font-weight:600}\n"
    ".label{color:#566472}.tick{color:#566472;font-size:12px}\n"
    ".middle{text-anchor:middle}.end{text-anchor:end}\n"
    ".halo{font-size:12px;font-weight:600;stroke:#fff;stroke-width:4;stroke-linejoin:round;"
    "paint-order:stroke}\n"
    ".line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round;"
    "stroke-linecap:round}\n"
    ".area{fill:currentColor;fill-opacity:.22;stroke:currentColor;stroke-width:1.5;"
    "stroke-linejoin:round}\n"
    ".area.hatched{fill:url(#hatch);fill-opacity:1}\n"
    ".dot{fill:#fff;stroke:currentColor;stroke-width:2.5}\n"
    ".thin{stroke-width:1.5}.dashed{stroke-dasharray:2 5}\n"
    ".reference{color:#7b8997;stroke-width:1.25;stroke-dasharray:6 5}.mark{color:#1c2733}\n"
    ".s0{color:#1765c1}.s1{color:#cc4a05}.s2{color:#0a7d6c}.s3{color:#8a3ec2}.s4{color:#946800}"
    ".s5{color:#c22a72}\n"
    "@media (prefers-color-scheme:dark){\n"
    "svg,.mark{color:#e4e9ee}.paper,.dot{fill:#12181f}.halo{stroke:#12181f}\n"
    ".grid{stroke:#252e38}.axis{stroke:#5a6773}.label,.tick{color:#9fadba}"
    ".reference{color:#84929f}\n"
    ".s0{color:#6cb0ff}.s1{color:#ff9857}.s2{color:#41cdb7}.s3{color:#c99bff}.s4{color:#e0b94c}"
    ".s5{color:#ff86b9}\n"
    "}\n"
    "</style>\n"
    "<defs><pattern id=\"hatch\" class=\"s1\" width=\"6\" height=\"6\" "
    "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
    "<path d=\"M3 0v6\" stroke=\"currentColor\" stroke-opacity=\".55\" stroke-width=\"1.5\"/>"
    "</pattern></defs>\n";

/* A tenth of a pixel is as fine as anybody sees. */
static void append_px(struct text *text, const char *before, double px)
{
    text_puts(text, before);
    text_double(text, round(px * 10) / 10 + 0.0); /* + 0.0: no -0 */
}

/* Characters that XML 1.0 forbids, however they are written. */
static bool is_forbidden(const char *bytes, size_t length)
{
    const unsigned char first = (unsigned char)bytes[0];

    return length == 0 || (first < 0x20 && first != '\t' && first != '\n' && first != '\r') ||
           (length == 3 &&
            (memcmp(bytes, "\xEF\xBF\xBE", 3) == 0 || memcmp(bytes, "\xEF\xBF\xBF", 3) == 0));
}

static void append_escaped(struct text *text, const char *string)
{
    for (size_t i = 0, n = strlen(string); i < n;) {
        const size_t length = text_utf8_length(string + i, n - i);

        if (is_forbidden(string + i, length))
            text_puts(text, "\xEF\xBF\xBD");
        else if (strchr("&<>\"", string[i]))
            text_printf(text, "&#%d;", string[i]);
        else
            text_append(text, string + i, length);
        i += length ? length : 1;
    }
}

void svg_begin(struct text *text, double width, double height, const char *title,
               const char *description)
{
    append_px(text, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", width);
    append_px(text, " ", height);
    append_px(text, "\" width=\"", width);
    append_px(text, "\" height=\"", height);
    text_puts(text, "\" role=\"img\" aria-labelledby=\"title description\">\n<title id=\"title\">");
    append_escaped(text, title);
    text_puts(text, "</title>\n<desc id=\"description\">");
    append_escaped(text, description);
    text_puts(text, "</desc>\n");
    text_puts(text, style_sheet);
    text_puts(text, "<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n");
}

void svg_end(struct text *text)
{
    text_puts(text, "</svg>\n");
}

void svg_text(struct text *text, const char *style, double x, double y, const char *string)
{
    text_printf(text, "<text class=\"%s\"", style);
    append_px(text, " x=\"", x);
    append_px(text, "\" y=\"", y);
    text_puts(text, "\">");
    append_escaped(text, string);
    text_puts(text, "</text>\n");
}

/* The panel */

static double right(const struct svg_panel *panel)
{
    return panel->left + panel->width;
}

static double bottom(const struct svg_panel *panel)
{
    return panel->top + panel->height;
}

/* NaN where the value has no place. */
static double place_x(const struct svg_panel *panel, double x)
{
    return panel->left + axis_place(&panel->x, x) * panel->width;
}

static double place_y(const struct svg_panel *panel, double y)
{
    return bottom(panel) - axis_place(&panel->y, y) * panel->height;
}

static void append_straight(struct text *text, const char *style, struct svg_point from,
                            struct svg_point to)
{
    text_printf(text, "<path class=\"%s\"", style);
    append_px(text, " d=\"M", from.x);
    append_px(text, " ", from.y);
    append_px(text, "L", to.x);
    append_px(text, " ", to.y);
    text_puts(text, "\"/>\n");
}

static void append_ticks_x(struct text *text, const struct svg_panel *panel)
{
    double ticks[AXIS_MAX_TICKS];
    char number[AXIS_NUMBER_MAX];
    const size_t n_ticks = axis_ticks(&panel->x, ticks);

    for (size_t i = 0; i < n_ticks; i++) {
        const double x = place_x(panel, ticks[i]);
        append_straight(text, "grid", (struct svg_point){x, panel->top},
                        (struct svg_point){x, bottom(panel)});
        svg_text(text, "tick middle", x, bottom(panel) + 19,
                 axis_number(number, ticks[i], axis_digits(&panel->x)));
    }
}

static void append_ticks_y(struct text *text, const struct svg_panel *panel)
{
    double ticks[AXIS_MAX_TICKS];
    char number[AXIS_NUMBER_MAX];
    const size_t n_ticks = axis_ticks(&panel->y, ticks);

    for (size_t i = 0; i < n_ticks; i++) {
        const double y = place_y(panel, ticks[i]);
        append_straight(text, "grid", (struct svg_point){panel->left, y},
                        (struct svg_point){right(panel), y});
        svg_text(text, "tick end", panel->left - 9, y + 4,
                 axis_number(number, ticks[i], axis_digits(&panel->y)));
    }
}

void svg_frame(struct text *text, const struct svg_panel *panel)
{
    append_ticks_x(text, panel);
    append_ticks_y(text, panel);
    append_straight(text, "axis", (struct svg_point){panel->left, bottom(panel)},
                    (struct svg_point){right(panel), bottom(panel)});
    svg_text(text, "label middle", panel->left + panel->width / 2, bottom(panel) + 42,
             panel->x.label);
    svg_text(text, "label", panel->left, panel->top - 13, panel->y.label);
}

/* Lines */

#define N_PARTS 250
_Static_assert(4 * N_PARTS == SVG_MAX_POINTS, "at most four points for each column");

/* Points of one line that follow each other in one cell of the panel; pixels. */
struct cell {
    int number; /* -1: no place */
    size_t n;
    struct svg_point first, lowest, highest, last;
    bool lowest_is_earlier;
};

struct pen {
    struct text *text;
    bool is_down;
    struct svg_point at;
};

static void pen_draw_to(struct pen *pen, struct svg_point to)
{
    if (pen->is_down && to.x == pen->at.x && to.y == pen->at.y)
        return;
    append_px(pen->text, pen->is_down ? "L" : "M", to.x);
    append_px(pen->text, " ", to.y);
    if (!pen->is_down) /* a round end makes a lone point a dot */
        text_puts(pen->text, "h0");
    pen->is_down = true;
    pen->at = to;
}

/* In a whole column the extremes count, in a small cell they hardly differ. */
static void pen_draw_cell(struct pen *pen, const struct cell *cell, bool is_column)
{
    if (cell->n == 0)
        return;
    pen_draw_to(pen, cell->first);
    if (is_column) {
        pen_draw_to(pen, cell->lowest_is_earlier ? cell->lowest : cell->highest);
        pen_draw_to(pen, cell->lowest_is_earlier ? cell->highest : cell->lowest);
    }
    pen_draw_to(pen, cell->last);
}

static void cell_add(struct cell *cell, struct svg_point point)
{
    if (cell->n == 0)
        cell->first = cell->lowest = cell->highest = point;
    if (point.y > cell->lowest.y) { /* pixels grow downwards */
        cell->lowest = point;
        cell->lowest_is_earlier = false;
    }
    if (point.y < cell->highest.y) {
        cell->highest = point;
        cell->lowest_is_earlier = true;
    }
    cell->last = point;
    cell->n++;
}

static int find_cell(const struct svg_panel *panel, struct svg_point px, int n_rows)
{
    if (!isfinite(px.x) || !isfinite(px.y))
        return -1;

    const int column = (int)((px.x - panel->left) / panel->width * N_PARTS);
    const int row = (int)((px.y - panel->top) / panel->height * n_rows);
    return column * n_rows + (row < n_rows ? row : n_rows - 1); /* the lower edge is inside */
}

static struct svg_point place(const struct svg_panel *panel, struct svg_point point)
{
    return (struct svg_point){place_x(panel, point.x), place_y(panel, point.y)};
}

/* Cells in both directions keep the steep start of a curve that rises; one that goes up and down
 * through many of them gets whole columns. */
static int choose_rows(const struct svg_panel *panel, const struct svg_point *points,
                       size_t n_points)
{
    size_t n_cells = 0;
    int last = -1;

    for (size_t i = 0; i < n_points; i++) {
        const int cell = find_cell(panel, place(panel, points[i]), N_PARTS);
        n_cells += cell != last;
        last = cell;
    }
    return n_cells <= (size_t)2 * N_PARTS ? N_PARTS : 1;
}

void svg_line(struct text *text, const struct svg_panel *panel, const char *style,
              const struct svg_point *points, size_t n_points)
{
    const bool is_whole = n_points <= SVG_MAX_POINTS;
    const int n_rows = is_whole ? 1 : choose_rows(panel, points, n_points);
    struct pen pen = {.text = text};
    struct cell cell = {0};

    text_printf(text, "<path class=\"line %s\" d=\"", style);
    for (size_t i = 0; i < n_points; i++) {
        const struct svg_point px = place(panel, points[i]);
        const int number = find_cell(panel, px, n_rows);

        if (is_whole || number != cell.number) {
            pen_draw_cell(&pen, &cell, n_rows == 1);
            cell = (struct cell){.number = number};
        }
        if (number >= 0)
            cell_add(&cell, px);
        else
            pen.is_down = false;
    }
    pen_draw_cell(&pen, &cell, n_rows == 1);
    text_puts(text, "\"/>\n");
}

void svg_bars(struct text *text, const struct svg_panel *panel, const char *style,
              const double *heights, size_t n_bars)
{
    bool is_up = false; /* no outline where there is nothing */

    text_printf(text, "<path class=\"area %s\" d=\"", style);
    for (size_t i = 0; i <= n_bars; i++) {
        const bool is_bar = i < n_bars && heights[i] > 0;

        if (is_bar && !is_up) {
            append_px(text, "M", panel->left + panel->width * (double)i / (double)n_bars);
            append_px(text, " ", bottom(panel));
        }
        if (is_bar) {
            append_px(text, "V", place_y(panel, heights[i]));
            append_px(text, "H", panel->left + panel->width * (double)(i + 1) / (double)n_bars);
        } else if (is_up)
            append_px(text, "V", bottom(panel));
        is_up = is_bar;
    }
    text_puts(text, "\"/>\n");
}

/* Marks */

/* Beside (x, y), towards the middle of the panel. */
static void append_mark_label(struct text *text, const struct svg_panel *panel, const char *style,
                              struct svg_point at, const char *label)
{
    const bool is_right = at.x > panel->left + panel->width * 0.4;
    char styles[64];

    if (!*label)
        return;
    (void)snprintf(styles, sizeof(styles), "halo %s%s", style, is_right ? " end" : "");
    svg_text(text, styles, at.x + (is_right ? -10 : 10), at.y, label);
}

void svg_vertical(struct text *text, const struct svg_panel *panel, const char *style, double x,
                  const char *label)
{
    const struct svg_point top = {place_x(panel, x), panel->top};
    char styles[64];

    if (!isfinite(top.x))
        return;
    (void)snprintf(styles, sizeof(styles), "line thin %s", style);
    append_straight(text, styles, top, (struct svg_point){top.x, bottom(panel)});
    append_mark_label(text, panel, style, (struct svg_point){top.x, panel->top + 14}, label);
}

void svg_dot(struct text *text, const struct svg_panel *panel, const char *style,
             struct svg_point at, const char *label, bool is_label_above)
{
    const struct svg_point px = {place_x(panel, at.x), place_y(panel, at.y)};

    if (!isfinite(px.x) || !isfinite(px.y))
        return;
    text_printf(text, "<circle class=\"dot %s\" r=\"4.5\"", style);
    append_px(text, " cx=\"", px.x);
    append_px(text, "\" cy=\"", px.y);
    text_puts(text, "\"/>\n");
    is_label_above |= px.y > bottom(panel) - 40;
    append_mark_label(text, panel, style,
                      (struct svg_point){px.x, px.y + (is_label_above ? -12 : 20)}, label);
}

void svg_key_line(struct text *text, const char *style, double x, double y, const char *name)
{
    char styles[64];

    (void)snprintf(styles, sizeof(styles), "line %s", style);
    append_straight(text, styles, (struct svg_point){x, y - 4}, (struct svg_point){x + 26, y - 4});
    svg_text(text, "", x + 36, y, name);
}

void svg_key_area(struct text *text, const char *style, double x, double y, const char *name)
{
    text_printf(text, "<path class=\"area %s\"", style);
    append_px(text, " d=\"M", x);
    append_px(text, " ", y + 1);
    text_puts(text, "v-12h26v12z\"/>\n");
    svg_text(text, "", x + 36, y, name);
}
