"""Figures as a part of the page: SVG with real text whose colours are the page's CSS variables.

Inside a page an SVG shares the page's styles and ids: what matplotlib writes is stripped of what
would leak (its global style, its ids) and of what the page does not need.
"""

from __future__ import annotations

import html
import re

from bench.report.figures import draw

VARIABLES = {
    draw.INK: "ink",
    draw.MUTED: "muted",
    draw.GRID: "grid",
    draw.PAPER: "paper",
    draw.SHADE: "shade",
    draw.PROGRAM_COLOURS["scikit-learn"]: "teal",
    draw.PROGRAM_COLOURS["PyTorch"]: "rust",
    draw.PROGRAM_COLOURS["JAX"]: "blue",
    draw.OTHER_PROGRAM_COLOUR: "olive",
    **{colour: name for name, colour in draw.OUTCOME_COLOURS.items()},
    **{colour: f"cause{place}" for place, colour in enumerate(draw.CAUSE_COLOURS)},
    **{colour: f"field{place}" for place, colour in enumerate(draw.FIELD_COLOURS)},
    **{colour: f"b{step}" for step, colour in enumerate(draw.scale_colours())},
}
"""CSS variable of each colour that figures use."""

DARK = {
    "ink": "#e8ebef",
    "muted": "#a3adb9",
    "grid": "#2b333d",
    "paper": "#14181d",
    "shade": "#1e242b",
    "teal": "#4fc3b8",
    "rust": "#f0936a",
    "blue": "#7fb6ee",
    "olive": "#c3cf6b",
    "solved": "#2fa898",
    "slow": "#1f5a53",
    "stuck": "#6d7682",
    "dead": "#d7dce2",
    "diverged": "#e0657a",
    "cause0": "#a88bc4",
    "cause1": "#c9a227",
    "cause2": "#7d9cc0",
    "cause3": "#c2929b",
    "field0": "#1c2229",
    "field1": "#1f2e35",
    "field2": "#224047",
    "field3": "#27555c",
    "field4": "#2c6c73",
    "field5": "#33848b",
    **{f"b{step}": colour for step, colour in enumerate(draw.scale_colours(dark=True))},
}
"""Colours of the variables in dark mode."""

_HEX = re.compile(r"#[0-9a-f]{6}\b")


def css_variables() -> tuple[str, str]:
    """Declarations of the figures' CSS variables: on light paper, on dark."""
    light = "".join(f"--{name}:{colour};" for colour, name in VARIABLES.items())
    dark = "".join(f"--{name}:{colour};" for name, colour in DARK.items())
    return light, dark


def _variable(match: re.Match[str]) -> str:
    colour = match.group()
    return f"var(--{VARIABLES[colour]})" if colour in VARIABLES else colour


def inline_svg(svg: str, name: str, alt: str) -> str:
    """An SVG file's text as an element of the page, without the space kept for its title.

    Parameters
    ----------
    svg
        What matplotlib wrote.
    name
        Letters, digits, "-" and "_": prefix of all ids, so that figures do not share any.
    alt
        The figure in words, for those who do not see it; escaped here.
    """
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if size is None:
        raise ValueError(f"the SVG of figure {name} has no viewBox")
    width, height = float(size.group(1)), float(size.group(2))
    top = 72 * draw.TITLE  # points; the page sets the title itself
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    # tags only: what stands between them are words and numbers for people
    body = re.sub(r"<[^>]*>", lambda tag: _tidy(tag.group(), name), body)
    return (
        f'<svg role="img" aria-label="{html.escape(alt, quote=True)}" '
        f'viewBox="0 {top:g} {width:g} {height - top:g}" style="max-width:{width * 4 / 3:.0f}px">'
        f"{body.strip()}"
    )


def _tidy(tag: str, name: str) -> str:
    """One tag with ids of its own, colours as variables, and coordinates to 1/100 point."""
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = tag.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    tag = re.sub(r"\s?font-family: [^;]*;", "", tag)
    tag = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", tag)
    tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
    return re.sub(r"\s+", " ", _HEX.sub(_variable, tag))
