#!/usr/bin/env python3
"""Draws the kernels that `gannet bench --json` measured below the machine's roofs: roofline.py BENCH.json OUT.svg

The roofline model is that of Williams, Waterman and Patterson (CACM 52/4, 2009): a kernel of I operations a byte does
at most min(peak, I * memory bandwidth).
"""
import json
import math
import sys

WIDTH, HEIGHT = 920, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 50, 60
COLOURS = ["#1b6ca8", "#d1495b", "#2e933c", "#8d6a9f", "#c98b1d", "#3d3d3d"]


class Axes:
    """Logarithmic on both sides; ranges are whole decades around what is drawn."""

    def __init__(self, xs, ys):
        self.x = (math.floor(math.log10(min(xs))), math.ceil(math.log10(max(xs))))
        self.y = (math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 0.02))

    def at(self, x, y):
        across = (math.log10(x) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(y) - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def text(x, y, words, anchor="start", size=12, colour="#222", turn=None):
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{turned}>{words}</text>'


def mark(x, y, rows, colour, title=""):
    """A circle for one row, a square for up to 32, a triangle for more."""
    if rows == 1:
        tag, shape = "circle", f'cx="{x:.1f}" cy="{y:.1f}" r="4.5"'
    elif rows <= 32:
        tag, shape = "rect", f'x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"'
    else:
        tag, shape = "path", f'd="M{x:.1f} {y - 5.5:.1f} l5.5 9.5 h-11 z"'
    return f'<{tag} {shape} fill="{colour}" fill-opacity="0.8"><title>{title}</title></{tag}>'


def line(a, b, colour="#bbb", width=1, dash=""):
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" stroke="{colour}" stroke-width="{width}"{dashed}/>'


def draw(report):
    roof, rows = report["roof"], report["kernel_speeds"]
    read, peaks = roof["read_gb_s"], {"int8": roof["int8_gops"], "fp32": roof["fp32_gflops"]}
    if "bf16_gflops" in roof:  # of tile registers
        peaks["bf16"] = roof["bf16_gflops"]
    points = [(r["operations"] / r["bytes"], r["gops"], r) for r in rows]
    axes = Axes([p[0] for p in points] + [0.1], [p[1] for p in points] + [max(peaks.values())])
    left, right = 10 ** axes.x[0], 10 ** axes.x[1]
    bottom, top = 10 ** axes.y[0], 10 ** axes.y[1]
    out = []
    for decade in range(axes.x[0], axes.x[1] + 1):
        out.append(line(axes.at(10**decade, bottom), axes.at(10**decade, top), "#eee"))
        x, y = axes.at(10**decade, bottom)
        out.append(text(x, y + 18, f"{10.0**decade:g}", "middle"))
    for decade in range(axes.y[0], axes.y[1] + 1):
        out.append(line(axes.at(left, 10**decade), axes.at(right, 10**decade), "#eee"))
        x, y = axes.at(left, 10**decade)
        out.append(text(x - 8, y + 4, f"{10.0**decade:g}", "end"))
    for name, peak in peaks.items():
        knee = peak / read
        start = max(left, bottom / read)
        out.append(line(axes.at(start, read * start), axes.at(knee, peak), "#555", 2))
        out.append(line(axes.at(knee, peak), axes.at(right, peak), "#555", 2, "" if name == "int8" else "6 4"))
        x, y = axes.at(knee, peak)
        label = f"{name} peak {peak:.0f} G/s"
        fits = x + 140 < WIDTH - RIGHT
        out.append(text(x + 6, y - 6, label) if fits else text(x - 8, y + 4, label, "end"))
    x, y = axes.at(left * 1.3, read * left * 1.3)
    if y > HEIGHT - BOTTOM:
        x, y = axes.at(bottom / read * 1.3, bottom * 1.3)
    slope = -math.degrees(math.atan2((HEIGHT - TOP - BOTTOM) / (axes.y[1] - axes.y[0]), (WIDTH - LEFT - RIGHT) / (axes.x[1] - axes.x[0])))
    out.append(text(x, y - 6, f"read {read:.1f} GB/s", turn=f"{slope:.1f}"))

    kinds = sorted({kind_of(r) for r in rows})
    for x, y, row in points:
        cx, cy = axes.at(x, y)
        colour = COLOURS[kinds.index(kind_of(row)) % len(COLOURS)]
        title = f'{row["kernel"]}, {row["size"]}, rows {row["rows"]}: {row["gb_s"]:.1f} GB/s, {row["gops"]:.1f} G/s'
        out.append(mark(cx, cy, row["rows"], colour, title))
    for i, kind in enumerate(kinds):
        y = TOP + 20 + 20 * i
        out.append(mark(WIDTH - RIGHT + 24, y - 4, 1, COLOURS[i % len(COLOURS)]))
        out.append(text(WIDTH - RIGHT + 36, y, kind))
    for i, count in enumerate(sorted({r["rows"] for r in rows})):
        y = TOP + 40 + 20 * (len(kinds) + i)
        out.append(mark(WIDTH - RIGHT + 24, y - 4, count, "#888"))
        out.append(text(WIDTH - RIGHT + 36, y, f"{count} row{'s' if count > 1 else ''}"))
    out.append(text(LEFT, 28, f'{report["model"].rstrip("/").split("/")[-1]}: kernels {report["kernels"]}, {report["threads"]} threads', size=15))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, "operations a byte", "middle"))
    out.append(text(20, (TOP + HEIGHT - BOTTOM) / 2, "10^9 operations a second", "middle", turn=-90))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *out, "</svg>"]) + "\n"


def kind_of(row):
    return row["kernel"].rsplit(" ", 1)[0] if " x " in row["kernel"] else row["kernel"]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        report = json.load(file)
    if not report.get("kernel_speeds"):
        sys.exit(f"{sys.argv[1]} has no kernel_speeds: run gannet bench MODEL --json with --rows")
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(draw(report))
