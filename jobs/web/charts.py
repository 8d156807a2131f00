"""Charts as SVG, drawn here: numbers in, shapes out. Their words stand in the page's language of color and class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 44, 8, 14, 26


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of time."""

    #: What stands below it, where there is room.
    name: str
    #: Up, and down.
    above: float
    below: float = 0.0
    #: What a pointer that rests on it is told.
    said: str = ""


def bars(told: Sequence[Bar], title: str, *, height: int = 200, names: int = 6) -> Markup:
    """Return bars over time, what is `above` upwards and what is `below` downwards from one axis."""
    most_up = nice(max((one.above for one in told), default=0))
    most_down = nice(max((one.below for one in told), default=0)) if any(one.below for one in told) else 0
    inner = height - _TOP - _BOTTOM
    scale = inner / ((most_up + most_down) or 1)
    axis = _TOP + most_up * scale
    step = (_WIDTH - _LEFT - _RIGHT) / (len(told) or 1)
    wide = max(1.0, step * 0.72)
    parts = [_line(y, _figure(value)) for y, value in _grid(most_up, most_down, axis, scale)]
    every = max(1, -(-len(told) // names))
    for at, one in enumerate(told):
        x = _LEFT + at * step + (step - wide) / 2
        shapes = ""
        if one.above:
            shapes += _rect("in", x, axis - one.above * scale, wide, one.above * scale)
        if one.below:
            shapes += _rect("out", x, axis, wide, one.below * scale)
        if shapes:
            parts.append(f"<g><title>{escape(one.said)}</title>{shapes}</g>")
        if at % every == 0:
            parts.append(_text(x, height - 6, one.name))
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{axis:.1f}" y2="{axis:.1f}"/>')
    return _svg(parts, title, height)


def line(
    told: Sequence[tuple[str, float | None]], title: str, unit: Callable[[float], str], *, height: int = 140,
    names: int = 6,
) -> Markup:  # fmt: skip
    """Return a line over time; it has gaps where there is no value."""
    most = nice(max((value for _, value in told if value is not None), default=0))
    scale = (height - _TOP - _BOTTOM) / (most or 1)
    axis = height - _BOTTOM
    step = (_WIDTH - _LEFT - _RIGHT) / (len(told) or 1)
    parts = [_line(axis - value * scale, unit(value)) for value in (0, most / 2, most)]
    every = max(1, -(-len(told) // names))
    path, pen = [], "M"
    for at, (name, value) in enumerate(told):
        x = _LEFT + (at + 0.5) * step
        if value is None:
            pen = "M"
        else:
            path.append(f"{pen}{x:.1f} {axis - value * scale:.1f}")
            parts.append(_dot(x, axis - value * scale, f"{name}: {unit(value)}"))
            pen = "L"
        if at % every == 0:
            parts.append(_text(_LEFT + at * step, height - 6, name))
    parts.append(f'<path class="lag" d="{" ".join(path)}"/>')
    return _svg(parts, title, height)


def nice(value: float) -> float:
    """Return the next round number at or above a value: what an axis ends with."""
    if value <= 0:
        return 1
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value)


def _grid(most_up: float, most_down: float, axis: float, scale: float) -> list[tuple[float, float]]:
    # Counts have no halves.
    up = [(axis - value * scale, value) for value in (most_up / 2, most_up) if value == int(value)]
    down = [(axis + most_down * scale, most_down)] if most_down else []
    return [(axis, 0), *up, *down]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _line(y: float, said: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(said)}</text>'
    )


def _rect(look: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{look}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 1):.1f}" rx="1"/>'


def _dot(x: float, y: float, said: str) -> str:
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2"><title>{escape(said)}</title></circle>'


def _text(x: float, y: float, said: str) -> str:
    return f'<text x="{x:.1f}" y="{y}">{escape(said)}</text>'


def _svg(parts: Sequence[str], title: str, height: int) -> Markup:
    # Everything in it is ours or escaped above.
    view = f"0 0 {_WIDTH} {height}"
    head = f'<svg class="chart" viewBox="{view}" role="img" aria-label="{escape(title)}">'
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704
