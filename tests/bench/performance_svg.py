"""Charts of `make bench`: panels of lines side by side, in the look of `anomalyctl train --plot`.
Light and dark as the reader has it."""
import dataclasses
import math
from xml.sax.saxutils import escape

STYLE = """<style>
svg{color:#1c2733;font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
text{fill:currentColor;font-variant-numeric:tabular-nums}
.paper{fill:#fff}.grid{stroke:#e6eaef;stroke-width:1}.axis{stroke:#9aa7b4;stroke-width:1}
.title{font-size:16px;font-weight:600}.label{color:#566472}.tick{color:#566472;font-size:12px}
.middle{text-anchor:middle}.end{text-anchor:end}
.line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.dot{fill:#fff;stroke:currentColor;stroke-width:2}
.s0{color:#1765c1}.s1{color:#cc4a05}.s2{color:#0a7d6c}.s3{color:#8a3ec2}
@media (prefers-color-scheme:dark){
svg{color:#e4e9ee}.paper,.dot{fill:#12181f}.grid{stroke:#252e38}.axis{stroke:#5a6773}
.label,.tick{color:#9fadba}.s0{color:#6cb0ff}.s1{color:#ff9857}.s2{color:#41cdb7}.s3{color:#c99bff}
}
</style>
"""
PANEL_WIDTH, PANEL_HEIGHT, LEFT, GAP, TOP, BELOW = 380, 240, 72, 104, 112, 64
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclasses.dataclass
class Panel:
    x_label: str
    y_label: str
    lines: dict  # name: [(x, y), …]
    log_x: bool = True
    log_y: bool = False


def log_ticks(low, high):
    """Powers of ten; with 2 and 5 between them where there would be few."""
    steps = (1, 2, 5) if math.log10(high / low) <= 2.5 else (1,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / 6)) if steps == (1,) else 1
    return [step * 10.0 ** power for power in range(first, last + 1, every) for step in steps
            if low * (1 - 1e-9) <= step * 10.0 ** power <= high * (1 + 1e-9)]


def linear_ticks(high):
    """From 0, about five."""
    power = 10.0 ** math.floor(math.log10(high / 5))
    rest = high / 5 / power
    step = power * (1 if rest < 1.5 else 2 if rest < 3 else 5 if rest < 7 else 10)
    return [i * step for i in range(math.ceil(high / step - 1e-9) + 1)]


def axis(values, is_log):
    """(low, high, ticks); round numbers at both ends unless x is logarithmic."""
    low, high = min(values), max(values)
    if not is_log:
        ticks = linear_ticks(high if high > 0 else 1.0)
        return 0.0, ticks[-1], ticks
    steps = [step * 10.0 ** power for power in range(math.floor(math.log10(low)) - 1,
                                                     math.ceil(math.log10(high)) + 1)
             for step in (1, 2, 5)]
    low = max(step for step in steps if step <= low * (1 + 1e-9))
    high = min(step for step in steps + [10 * steps[-1]] if step >= high * (1 - 1e-9))
    if high <= low:
        high = 10 * low
    return low, high, log_ticks(low, high)


def place(value, low, high, is_log):
    """0 at low, 1 at high."""
    if is_log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def number(value):
    if value == 0 or 1e-3 <= abs(value) < 99999.5:
        return f"{value:,.10g}" if value >= 10000 else f"{value:.10g}"
    power = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa = value / 10.0 ** power
    before = "" if abs(mantissa - 1) < 1e-9 else f"{mantissa:.3g}·"
    return f"{before}10{str(power).translate(SUPERSCRIPTS)}"


def text(style, x, y, words):
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>\n'


def stroke(style, points):
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{style}" d="M{path}"/>\n'


def draw_panel(panel, left, styles):
    points = [point for line in panel.lines.values() for point in line]
    x_axis = axis([x for x, _ in points], panel.log_x)
    y_axis = axis([y for _, y in points], panel.log_y)
    right, bottom = left + PANEL_WIDTH, TOP + PANEL_HEIGHT

    def at(x, y):
        return (left + PANEL_WIDTH * place(x, *x_axis[:2], panel.log_x),
                bottom - PANEL_HEIGHT * place(y, *y_axis[:2], panel.log_y))

    out = ""
    for tick in x_axis[2]:
        x, _ = at(tick, y_axis[0])
        out += stroke("grid", [(x, TOP), (x, bottom)])
        out += text("tick middle", x, bottom + 19, number(tick))
    for tick in y_axis[2]:
        _, y = at(x_axis[0], tick)
        out += stroke("grid", [(left, y), (right, y)])
        out += text("tick end", left - 9, y + 4, number(tick))
    out += stroke("axis", [(left, bottom), (right, bottom)])
    out += text("label middle", left + PANEL_WIDTH / 2, bottom + 42, panel.x_label)
    out += text("label", left, TOP - 13, panel.y_label)
    for name, line in panel.lines.items():
        if line:
            out += stroke(f"line {styles[name]}", [at(*point) for point in line])
        for x, y in (at(*point) for point in line):
            out += f'<circle class="dot {styles[name]}" r="3" cx="{x:.1f}" cy="{y:.1f}"/>\n'
    return out


def chart(title, description, panels):
    """The text of an SVG file; panels without a point are left out."""
    panels = [panel for panel in panels if any(panel.lines.values())]
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    styles = {name: f"s{i % 4}" for i, name in enumerate(names)}
    width = LEFT + len(panels) * (PANEL_WIDTH + GAP) - GAP + 36
    height = TOP + PANEL_HEIGHT + BELOW
    out = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           f'width="{width}" height="{height}" role="img" aria-labelledby="title description">\n'
           f'<title id="title">{escape(title)}</title>\n'
           f'<desc id="description">{escape(description)}</desc>\n{STYLE}'
           '<rect class="paper" width="100%" height="100%"/>\n')
    out += text("title", LEFT, 32, title)
    x = LEFT
    for name in names:
        out += stroke(f"line {styles[name]}", [(x, 56), (x + 26, 56)])
        out += text("", x + 34, 60, name)
        x += 60 + 7.5 * len(name)
    for i, panel in enumerate(panels):
        out += draw_panel(panel, LEFT + i * (PANEL_WIDTH + GAP), styles)
    return out + "</svg>\n"
