/* The plot: tasks that run and wait, how full the hosts are, and how many tasks found no place,
 * one above the other over the same hours. */
#include <stdio.h>

#include "sim/whatif_impl.h"

enum {
    WIDTH = 960,
    LEFT = 80,
    RIGHT = 940,
    PANEL = 170, /* a panel's height */
    PITCH = 240, /* from one panel's top to the next */
    TOP = 60,
    PANELS = 3,
    MARKS = 4, /* lines across a panel above the axis */
};

typedef double value_fn(const struct whatif_sample *sample);

static double running_of(const struct whatif_sample *s)
{
    return (double)s->running;
}

static double waiting_of(const struct whatif_sample *s)
{
    return (double)s->waiting;
}

static double cpu_of(const struct whatif_sample *s)
{
    return 100 * s->cpu;
}

static double memory_of(const struct whatif_sample *s)
{
    return 100 * s->memory;
}

static double delayed_of(const struct whatif_sample *s)
{
    return (double)s->delayed;
}

struct curve {
    const char *name, *colour;
    value_fn *value;
};

struct panel {
    const char *title;
    double highest; /* 0: by what there is */
    struct curve curves[2];
};

static const struct panel panels[PANELS] = {
    {"Tasks", 0, {{"running", "#1f6fb4", running_of}, {"waiting", "#d1495b", waiting_of}}},
    {"Used of what all hosts have, in %",
     100,
     {{"CPU", "#e08a00", cpu_of}, {"memory", "#3a8f5c", memory_of}}},
    {"Tasks that found no place at once, in five minutes",
     0,
     {{"found no place", "#d1495b", delayed_of}}},
};

/* The least of 4, 8, 12, 16, 20, 28, 40, 80 … that is not below the value: quarters are whole. */
static double round_up(double value)
{
    static const int steps[] = {1, 2, 3, 4, 5, 7};
    for (double unit = 4;; unit *= 10)
        for (size_t i = 0; i < FL_ARRAY_SIZE(steps); i++)
            if (unit * steps[i] >= value)
                return unit * steps[i];
}

static double highest_of(const struct whatif_history *history, const struct panel *panel)
{
    double highest = 0;
    for (size_t c = 0; c < FL_ARRAY_SIZE(panel->curves); c++)
        for (size_t i = 0; panel->curves[c].value && i < history->sample_count; i++)
            highest = FL_MAX(highest, panel->curves[c].value(&history->samples[i]));
    return panel->highest > 0 ? panel->highest : round_up(highest);
}

static double x_of(const struct whatif_history *history, double hour)
{
    return LEFT + (RIGHT - LEFT) * hour / history->scenario->hours;
}

static void write_text(struct fl_buf *out, double x, double y, const char *anchor, const char *text)
{
    fl_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
                  text);
}

static void write_line(struct fl_buf *out, double x1, double y1, double x2, double y2,
                       const char *colour)
{
    fl_buf_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n",
                  x1, y1, x2, y2, colour);
}

static void write_axes(const struct whatif_history *history, double top, double highest,
                       struct fl_buf *out)
{
    char text[32];
    uint32_t hours = history->scenario->hours;
    uint32_t pace = hours <= 24 ? (hours + 11) / 12 : (hours + 287) / 288 * 24;
    for (int i = 0; i <= MARKS; i++) {
        double y = top + PANEL - (double)PANEL * i / MARKS;
        write_line(out, LEFT, y, RIGHT, y, i ? "#dddddd" : "#555555");
        (void)snprintf(text, sizeof(text), "%.0f", highest * i / MARKS);
        write_text(out, LEFT - 8, y + 4, "end", text);
    }
    for (uint32_t hour = 0; hour <= hours; hour += pace) {
        double x = x_of(history, hour);
        write_line(out, x, top + PANEL, x, top + PANEL + 5, "#555555");
        (void)snprintf(text, sizeof(text), "%u h", hour);
        write_text(out, x, top + PANEL + 20, "middle", text);
    }
}

static void write_curve(const struct whatif_history *history, const struct curve *curve, double top,
                        double highest, struct fl_buf *out)
{
    fl_buf_printf(out, "<polyline fill=\"none\" stroke-width=\"1.8\" stroke=\"%s\" points=\"",
                  curve->colour);
    for (size_t i = 0; i < history->sample_count; i++) {
        const struct whatif_sample *s = &history->samples[i];
        fl_buf_printf(out, "%.1f,%.1f ", x_of(history, (double)s->at_ms / WHATIF_HOUR_MS),
                      top + PANEL - PANEL * curve->value(s) / highest);
    }
    fl_buf_add_z(out, "\"/>\n");
}

static void write_panel(const struct whatif_history *history, const struct panel *panel, double top,
                        struct fl_buf *out)
{
    double highest = highest_of(history, panel), x = RIGHT - 240;
    fl_buf_printf(out, "<text x=\"%d\" y=\"%.1f\" font-weight=\"bold\">%s</text>\n", LEFT, top - 12,
                  panel->title);
    write_axes(history, top, highest, out);
    for (size_t c = 0; c < FL_ARRAY_SIZE(panel->curves); c++) {
        const struct curve *curve = &panel->curves[c];
        if (!curve->value)
            continue;
        write_curve(history, curve, top, highest, out);
        fl_buf_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"18\" height=\"4\" fill=\"%s\"/>\n",
                      x, top - 18, curve->colour);
        write_text(out, x + 24, top - 12, "start", curve->name);
        x += 120;
    }
}

void whatif_svg_write(const struct whatif_history *history, struct fl_buf *out)
{
    int height = TOP + PANELS * PITCH - 20;
    fl_buf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                  "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\" "
                  "fill=\"#222222\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n"
                  "<text x=\"%d\" y=\"24\" font-size=\"16\">%u hosts, %u hours</text>\n",
                  WIDTH, height, WIDTH, height, WIDTH, height, LEFT, history->scenario->host_count,
                  history->scenario->hours);
    for (int i = 0; i < PANELS; i++)
        write_panel(history, &panels[i], TOP + PITCH * i, out);
    fl_buf_add_z(out, "</svg>\n");
}
