"""Updates against examples, the fastest batch size against a program's costs, the best rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.analysis.evidence import Evidence
from bench.analysis.recommend import MARGIN
from bench.report import words
from bench.report.figures import draw
from bench.report.figures.spec import FigureSpec
from bench.report.frames import groups, records

Floats = NDArray[np.float64]

CRITICAL = ["critical", "critical_low", "critical_high"]
LEVEL = 36  # points, that a program's name of three lines needs above another
CURVE_COLOUR = draw.PROGRAM_COLOURS["scikit-learn"]
POINTS = 241  # of a curve
FLAT = 1.3  # times the fewest passes: up to here the arms lie side by side


def between(low: float, high: float) -> str:
    """Write an interval's ends: "[210, 290]"; one that nothing bounds above is "over 210"."""
    if math.isinf(high):
        return f"[{words.number(low)}, unbounded]"
    return f"[{words.number(low)}, {words.number(high)}]"


def tradeoff_data(evidence: Evidence) -> pd.DataFrame:
    """Updates and passes to each target by tuned batch size, and the curve fitted to them.

    A row per target and batch size: `target, middle, batch_size, mean_batch, updates, epochs` with
    `_low` and `_high` (inf: not reached), the columns of `Evidence.tradeoff` of the target,
    `in_fit, n_train`; empty where no target is reached.
    """
    if evidence.tradeoff.empty:
        return pd.DataFrame()
    tuned = evidence.summary[evidence.summary["protocol"] == "tuned"]
    columns = ["target", "batch_size", "mean_batch"]
    columns += [f"{axis}{end}" for axis in ("updates", "epochs") for end in ("", "_low", "_high")]
    data = tuned[columns].merge(evidence.tradeoff, on="target")
    if not np.isfinite(data.loc[data["target"] == evidence.target, "updates"]).any():
        return pd.DataFrame()
    data.insert(1, "middle", data["target"] == evidence.target)
    left_out = data["left_out"].str.split(", ")
    pairs = zip(data["batch_size"].astype(str), left_out, strict=True)
    data["in_fit"] = [batch_size not in out for batch_size, out in pairs]
    return data.assign(n_train=evidence.problem.n_train)


def tradeoff_title(data: pd.DataFrame) -> str:
    """Whether the trade-off is a hyperbola, and up to which batch size larger batches pay."""
    row = next(records(data[data["middle"]]))
    by = {
        "hyperbolic": "Updates and passes are consistent with a hyperbola",
        "not hyperbolic": "Updates and passes do not lie on a hyperbola",
        "not identified": "Updates and passes: no hyperbola can be identified",
    }[row.reading]
    if row.reading == "not hyperbolic":
        by += f" (p = {words.number(row.p_lack_of_fit)})"
    if math.isnan(row.critical):
        return f"{by}, and {row.model_free_reason}"
    return (
        f"{by}: the passes double at batches of {words.number(row.critical)} "
        f"{between(row.critical_low, row.critical_high)}"
    )


def hyperbola(row: Any, batches: Floats) -> tuple[Floats, Floats]:
    """Updates and passes of the fitted curve at these batches."""
    updates = row.s_min + row.e_min / batches
    return updates, batches * updates / row.n_train


def joined(rows: pd.DataFrame, batches: Floats) -> tuple[Floats, Floats]:
    """Updates and passes between the arms that were reached, interpolated log-log."""
    reached = rows[np.isfinite(rows["updates"])]
    log_updates = np.interp(
        np.log(batches), np.log(reached["mean_batch"]), np.log(reached["updates"])
    )
    updates = np.exp(log_updates)
    return updates, batches * updates / float(rows["n_train"].iloc[0])


def _curve_of(rows: pd.DataFrame, low: float, high: float) -> tuple[Floats, Floats]:
    """The curve that leads between two batches: the hyperbola, or the arms joined."""
    row = next(records(rows))
    batches = np.geomspace(low, high, POINTS)
    if row.critical_by == "hyperbola":
        return hyperbola(row, batches)
    return joined(rows, batches)


def _arms(axes: Axes, rows: pd.DataFrame) -> None:
    """Points of the middle target with their intervals, in the colours of the batch sizes.

    An interval of updates is one of passes as well, so it runs along the diagonal; labels stand
    where neither it nor the curve goes.
    """
    n_train = int(rows["n_train"].iloc[0])
    reached = rows[np.isfinite(rows["updates"])]
    axes.plot(reached["updates"], reached["epochs"], color=draw.MUTED, linewidth=0.9)
    limit = FLAT * reached["epochs"].min()
    knee = reached.loc[reached["epochs"] >= limit, "batch_size"].min()
    for row in records(reached):
        colour = draw.batch_colour(int(row.batch_size), n_train)
        ends = [row.updates_low, row.updates_high], [row.epochs_low, row.epochs_high]
        axes.plot(*ends, color=colour, linewidth=2.2, alpha=0.45, solid_capstyle="butt")
        fill = colour if row.in_fit else draw.PAPER
        axes.plot(row.updates, row.epochs, "o", color=colour, mfc=fill, ms=6, zorder=4)
        shift, ha, va = _label_place(row.epochs < limit, row.batch_size == knee)
        axes.annotate(
            words.batch_label(int(row.batch_size), n_train),
            (row.updates, row.epochs),
            xytext=shift,
            textcoords="offset points",
            ha=ha,
            va=va,
            fontsize=8.5,
            zorder=6,
        )


def _label_place(flat: bool, knee: bool) -> tuple[tuple[int, int], str, str]:
    """Where an arm's name stands: above its flat end, right of its steep one, below the knee.

    There the two ends meet, and to the right stands the name of the first arm of the flat one.
    """
    if flat:
        return (-3, 5), "right", "bottom"
    return ((-5, -3), "right", "top") if knee else ((8, 3), "left", "center")


def _asymptotes(axes: Axes, row: Any) -> None:
    """The least updates and the least passes of the fit, dotted and named."""
    style: Any = {"color": CURVE_COLOUR, "linewidth": 1.0, "linestyle": (0, (1, 2))}
    small: Any = {"textcoords": "offset points", "fontsize": 8, "color": CURVE_COLOUR}
    if row.s_min > 0:
        axes.axvline(row.s_min, **style)
        axes.annotate(
            f"least {words.number(row.s_min)}",
            (row.s_min, 0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-4, 4),
            ha="right",
            **small,
        )
    if row.e_min > 0:
        least = row.e_min / row.n_train
        axes.axhline(least, **style)
        axes.annotate(
            f"least\n{words.number(least)}",
            (1, least),
            xycoords=axes.get_yaxis_transform(),
            xytext=(3, 0),
            va="center",
            **small,
        )


def _mark_critical(axes: Axes, rows: pd.DataFrame) -> None:
    """The critical batch size on its curve: a diamond, and its interval as a broad stroke."""
    row = next(records(rows))
    if math.isnan(row.critical):
        return
    reached = rows.loc[np.isfinite(rows["updates"]), "mean_batch"]
    ends = np.clip([row.critical_low, row.critical_high], reached.min(), reached.max())
    axes.plot(*_curve_of(rows, *ends), color=draw.INK, linewidth=6, alpha=0.25, zorder=2)
    (updates, *_), (epochs, *_) = _curve_of(rows, row.critical, row.critical)
    axes.plot(updates, epochs, "D", mfc=draw.PAPER, mec=draw.INK, ms=8, mew=1.6, zorder=5)
    axes.annotate(
        f"passes doubled:\nbatches of {words.number(row.critical)}",
        (updates, epochs),
        xytext=(46, 30),
        textcoords="offset points",
        va="center",
        fontweight="bold",
        fontsize=8.5,
        arrowprops={"arrowstyle": "-", "color": draw.INK, "lw": 0.7, "shrinkB": 6},
    )


def _curves(axes: Axes, data: pd.DataFrame) -> None:
    """Passes against updates: the middle target in full, the others as faint lines."""
    middle = data[data["middle"]]
    for which, axis in (("x", "updates"), ("y", "epochs")):
        ends = middle[f"{axis}_low"], middle[f"{axis}_high"]
        low, high = draw.finite_range(data[axis], *ends, pad=1.3)
        draw.log_axis(axes, which, low / 1.3, high, draw.plain)
    axes.set_xlabel("updates of the weights", loc="left")
    for _, rows in groups(data[~data["middle"]], "target"):
        reached = rows[np.isfinite(rows["updates"])]
        axes.plot(reached["updates"], reached["epochs"], "-o", color=draw.GRID, lw=1.4, ms=3.5)
        for row in records(reached.iloc[:1]):
            axes.annotate(
                words.number(row.target),
                (row.updates, row.epochs),
                xytext=(0, 6),
                textcoords="offset points",
                ha="right",
                color=draw.MUTED,
                fontsize=8,
            )
    row = next(records(middle))
    if math.isfinite(row.s_min):
        batches = np.geomspace(middle["mean_batch"].min(), middle["mean_batch"].max(), POINTS)
        updates, epochs = hyperbola(row, batches)
        dash: Any = "solid" if row.reading == "hyperbolic" else (0, (5, 2))
        axes.plot(updates, epochs, color=CURVE_COLOUR, linestyle=dash, linewidth=1.6)
        _asymptotes(axes, row)
    _arms(axes, middle)
    _mark_critical(axes, middle)


KINDS = {"b_crit": ("hyperbola", "o"), "model_free": ("passes doubled", "D")}


def _by_target(axes: Axes, data: pd.DataFrame) -> None:
    """Critical batch size of each target, fitted and model-free; the one that leads is filled."""
    draw.batch_axis(axes, sorted(set(data["batch_size"])), int(data["n_train"].iloc[0]))
    axes.grid(visible=False, axis="y")
    targets = list(records(data.drop_duplicates("target")))
    axes.set_ylim(len(targets) - 0.4, -0.6)
    axes.set_yticks(range(len(targets)), [words.number(row.target) for row in targets])
    for label, row in zip(axes.get_yticklabels(), targets, strict=True):
        label.set(color=draw.INK, fontweight="bold" if row.middle else "normal")
    first, last = axes.get_xlim()
    for place, row in enumerate(targets):
        for shift, (kind, (name, marker)) in zip((-0.16, 0.16), KINDS.items(), strict=True):
            leads = (kind == "b_crit") == (row.critical_by == "hyperbola")
            leads = leads and not math.isnan(row.critical)
            colour = CURVE_COLOUR if kind == "b_crit" else draw.INK
            value, low, high = (getattr(row, f"{kind}{end}") for end in ("", "_low", "_high"))
            y = place + shift
            axes.plot(np.clip([low, high], first, last), [y, y], color=colour, linewidth=2)
            if math.isfinite(value):
                fill = colour if leads else draw.PAPER
                axes.plot(value, y, marker, color=colour, mfc=fill, ms=6.5, mew=1.4)
            text = name if place == 0 else ""
            if math.isnan(value):
                text = f"{text} not identified".strip()
            axes.annotate(
                text,
                (min(max(low, first), last), y),
                xytext=(-6, 0),
                textcoords="offset points",
                color=colour,
                fontsize=8.5,
                ha="right",
                va="center",
            )


def tradeoff_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """The trade-off curve with the arms on it, and the critical batch size of each target."""
    margins = draw.Margins(left=0.58, right=0.42, top=0.56)
    figure, (left, right) = draw.panels(2, narrow=narrow, height=4.2, margins=margins)
    target = words.number(data.loc[data["middle"], "target"].iloc[0])
    draw.head(
        left, f"Passes to a training loss of {target}", "median, 95% interval; grey: other losses"
    )
    _curves(left, data)
    draw.head(right, "Critical batch size", "by training loss; filled: the one that leads")
    _by_target(right, data)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def fastest_data(evidence: Evidence) -> pd.DataFrame:
    """The fastest batch size against c0 / c1, what starting an update costs in samples.

    Rows of `kind` "curve", by ascending `ratio`: `measured` (of the arms, by medians of reporting
    seeds), `low, high` (batches within the margin of it, interpolated), `closed_form` with `_low`
    and `_high` (NaN: not identified). Rows of kind "program": its `ratio`, `measured` (picked on
    tuning seeds, with the seconds that were measured), `low, high` (the set that cannot be told
    apart), `closed_form`. All with `program ("" of curves), reading, n_seeds, n_train`.
    """
    middle = evidence.summary["target"] == evidence.target
    arms = evidence.summary[middle & (evidence.summary["protocol"] == "tuned")]
    arms = arms[np.isfinite(arms["updates"])].sort_values("batch_size")
    programs = evidence.fastest
    if programs.empty or len(arms) < 2:
        return pd.DataFrame()
    n_train = evidence.problem.n_train
    with np.errstate(divide="ignore"):
        ratios = (programs["c0"] / programs["c1"]).to_numpy(float)
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    ends = min([0.2, *known / 3]), max([10.0 * n_train, *known * 3])
    row = evidence.tradeoff[evidence.tradeoff["target"] == evidence.target].iloc[0]
    curve = _fastest_curve(np.geomspace(*ends, POINTS), arms, row, n_train)
    points = programs.assign(
        kind="program",
        ratio=np.clip(ratios, *ends),
        low=programs["measured_low"],
        high=programs["measured_high"],
    )
    data = pd.concat([curve, points], ignore_index=True)[FASTEST]
    data["program"] = data["program"].fillna("")
    return data.assign(reading=row["reading"], n_seeds=int(row["n_seeds"]), n_train=n_train)


FASTEST = ["kind", "program", "ratio", "measured", "low", "high"]
FASTEST += ["closed_form", "closed_form_low", "closed_form_high"]


def _fastest_curve(
    ratios: Floats, arms: pd.DataFrame, row: pd.Series[Any], n_train: int
) -> pd.DataFrame:
    """Rows of kind "curve": the fastest of the arms, what comes near it, and the closed form."""
    batch, updates = (arms[c].to_numpy(float) for c in ("mean_batch", "updates"))
    fine = np.geomspace(batch[0], batch[-1], POINTS)
    between_arms = np.exp(np.interp(np.log(fine), np.log(batch), np.log(updates)))
    cost = updates * (ratios[:, None] + batch)
    fine_cost = between_arms * (ratios[:, None] + fine)
    near = fine_cost <= MARGIN * cost.min(axis=1, keepdims=True)
    frame = pd.DataFrame({"kind": "curve", "program": "", "ratio": ratios})
    frame["measured"] = arms["batch_size"].to_numpy()[cost.argmin(axis=1)].astype(float)
    frame["low"] = fine[near.argmax(axis=1)]
    frame["high"] = fine[::-1][near[:, ::-1].argmax(axis=1)]
    for end in ("", "_low", "_high"):
        closed = np.sqrt(row[f"b_crit{end}"] * ratios)
        frame[f"closed_form{end}"] = np.clip(closed, 1.0, n_train)
    return frame


def fastest_title(data: pd.DataFrame) -> str:
    """What starting an update costs each program, and the batch size that is fastest there."""
    n_train = int(data["n_train"].iloc[0])
    programs = data[(data["kind"] == "program") & ~data["measured"].isna()]
    if programs.empty:
        return "The fastest batch size depends on what starting an update costs"
    costs = [f"{words.number(row.ratio)} samples in {row.program}" for row in records(programs)]
    best = [int(batch_size) for batch_size in programs["measured"]]
    return (
        f"Starting an update costs as much as {words.join(costs)}: fastest "
        f"{'is' if len(set(best)) == 1 else 'are'} {_batches(best, n_train)}"
    )


def _batches(batch_sizes: list[int], n_train: int) -> str:
    """Write batch sizes in a sentence: "batches of 16 and 256", "batches of 16 and full batch"."""
    distinct = list(dict.fromkeys(batch_sizes))
    if all(1 < b < n_train for b in distinct):
        return f"batches of {words.join(map(words.count, distinct))}"
    return words.join(words.batch_name(b, n_train) for b in distinct)


def _steps(axes: Axes, curve: pd.DataFrame) -> None:
    """The fastest arm against c0 / c1: a step for each batch size, in its colour."""
    n_train = int(curve["n_train"].iloc[0])
    axes.plot(curve["ratio"], curve["measured"], color=draw.MUTED, lw=0.8, drawstyle="steps-mid")
    for batch_size, rows in groups(curve, "measured"):
        axes.plot(
            rows["ratio"],
            rows["measured"],
            color=draw.batch_colour(int(batch_size), n_train),
            linewidth=4.5,
            solid_capstyle="butt",
            zorder=4,
        )


def _program_marks(axes: Axes, programs: pd.DataFrame) -> None:
    """Each program at its c0 / c1: a line, its fastest arm, and the set it belongs to."""
    for row in records(programs):
        colour = draw.PROGRAM_COLOURS.get(row.program, draw.OTHER_PROGRAM_COLOUR)
        axes.axvline(row.ratio, color=colour, linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
        axes.plot([row.ratio] * 2, [row.low, row.high], color=colour, linewidth=1.8, zorder=5)
        axes.plot(
            row.ratio,
            row.measured,
            draw.PROGRAM_MARKERS.get(row.program, "v"),
            color=colour,
            mfc=draw.PAPER,
            ms=9,
            mew=1.8,
            zorder=6,
        )


def _program_names(axes: Axes, programs: pd.DataFrame, n_train: int, levels: int) -> None:
    """Programs above the panel, with both answers to what is fastest there, moved apart.

    On two levels every other name stands above its neighbours.
    """
    width, _ = draw.panel_points(axes)
    order = programs.sort_values("ratio")
    to_axes = axes.transScale + axes.transLimits
    wanted = to_axes.transform([(x, 1.0) for x in order["ratio"]])[:, 0] * width
    places = draw.spread(wanted, 68 / levels, 20, width - 20)
    for rank, (row, place) in enumerate(zip(records(order), places, strict=True)):
        best = "none" if math.isnan(row.measured) else words.batch_label(int(row.measured), n_train)
        formula = "none" if math.isnan(row.closed_form) else words.number(row.closed_form)
        axes.annotate(
            f"{row.program}\nmeasured {best}\nformula {formula}",
            (place / width, 1),
            xycoords="axes fraction",
            xytext=(0, 3 + LEVEL * (rank % levels)),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=draw.PROGRAM_COLOURS.get(row.program, draw.OTHER_PROGRAM_COLOUR),
        )


def _size_axis(axes: Axes, n_train: int) -> None:
    """A vertical logarithmic axis of batch sizes, the full batch named."""
    sizes = [4**k for k in range(n_train.bit_length()) if 4**k <= n_train / 2.5]
    axes.set(yscale="log", ylim=(0.8, n_train * 1.25))
    axes.set_yticks([*sizes, n_train], [*map(words.count, sizes), "full"])
    axes.minorticks_off()


def fastest_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """The fastest batch size against c0 / c1: arms as steps, the closed form, the programs."""
    curve, programs = (data[data["kind"] == kind] for kind in ("curve", "program"))
    levels = 2 if narrow and len(programs) > 3 else 1
    more = LEVEL * (levels - 1)
    margins = draw.Margins(left=0.52, top=1.08 + more / 72, bottom=0.62, right=0.3)
    height = (4.3 if narrow else 4.7) + more / 72
    figure, (axes,) = draw.panels(1, narrow=narrow, height=height, margins=margins, width=9.0)
    n_train = int(data["n_train"].iloc[0])
    axes.set_title("Fastest batch size", loc="left", fontsize=9.5, fontweight="bold", pad=58 + more)
    draw.log_axis(axes, "x", curve["ratio"].min(), curve["ratio"].max(), draw.plain)
    _size_axis(axes, n_train)
    axes.set_xlabel("cost of starting an update, in samples", loc="left")
    axes.fill_between(
        curve["ratio"], curve["low"], curve["high"], color=draw.SHADE, linewidth=0, zorder=0
    )
    if curve["closed_form"].notna().any():
        x = curve["ratio"]
        draw.band(axes, x, curve["closed_form_low"], curve["closed_form_high"], draw.MUTED, 0.25)
        axes.plot(x, curve["closed_form"], color=draw.MUTED, lw=1.6, linestyle=(0, (5, 2)))
    _steps(axes, curve)
    _program_marks(axes, programs[~programs["measured"].isna()])
    _program_names(axes, programs, n_train, levels)
    draw.seeds_note(figure, data["n_seeds"])
    return figure


def best_rate_data(evidence: Evidence) -> pd.DataFrame:
    """Best rate of each batch size, and how it grows below and above the critical one.

    A row per batch size: `batch_size, mean_batch, learning_rate, at_edge, from_rate, to_rate` (the
    usable range), `stable` (largest at which at most 5% of the seeds fail; 0: none), `is_base`,
    `part` ("below"|"above"|"all": where the critical batch size is unknown), that part's `slope,
    slope_low, slope_high` (NaN: not identified), `critical, critical_low, critical_high, n_seeds`
    (tuning seeds), `n_train`.
    """
    growth = evidence.rate_growth
    if growth.empty:
        return pd.DataFrame()
    failed = evidence.stability[evidence.stability["kind"] == "failed"]
    columns = ["batch_size", "mean_batch", "learning_rate", "at_edge"]
    data = evidence.picks[columns].merge(
        evidence.widths[["batch_size", "from_rate", "to_rate"]], on="batch_size"
    )
    data = data.merge(failed[["batch_size", "stable"]], on="batch_size")
    data["is_base"] = data["batch_size"] == evidence.options["base_batch_size"]
    critical = growth["critical"].iloc[0]
    side = np.where(data["mean_batch"] <= critical, "below", "above")
    data["part"] = side if math.isfinite(critical) else "all"
    data = data.merge(growth[["part", "slope", "slope_low", "slope_high"]], on="part")
    row = evidence.tradeoff[evidence.tradeoff["target"] == evidence.target].iloc[0]
    data[CRITICAL] = row[CRITICAL].to_numpy(float)
    data["n_seeds"] = int(growth["n_seeds"].iloc[0])
    return data.assign(n_train=evidence.problem.n_train).sort_values(
        "batch_size", ignore_index=True
    )


def power(slope: float, low: float, high: float) -> str:
    """Write how a rate grows: "B^0.88 [0.85, 0.92]"."""
    if math.isnan(slope):
        return "an unknown power of B"
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"B^{_hundredths(slope)} (no interval: too few tuning seeds)"
    return f"B^{_hundredths(slope)} [{_hundredths(low)}, {_hundredths(high)}]"


def _hundredths(value: float) -> str:
    """Write an exponent: "0.88"."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def best_rate_title(data: pd.DataFrame) -> str:
    """How the best rate grows up to the critical batch size, and how beyond it."""
    parts = {row.part: row for row in records(data.drop_duplicates("part"))}
    grows = {part: power(row.slope, row.slope_low, row.slope_high) for part, row in parts.items()}
    if "all" in grows:
        return f"The best learning rate grows as {grows['all']} over all batch sizes"
    critical = words.number(data["critical"].iloc[0])
    said = [
        text.format(grows[part], critical)
        for part, text in (
            ("below", "as {} up to batches of {}"),
            ("above", "as {} from there on" if "below" in grows else "as {} above batches of {}"),
        )
        if part in grows
    ]
    return f"The best learning rate grows {', then '.join(said)}"


def _rule_lines(axes: Axes, data: pd.DataFrame) -> list[draw.EndLabel]:
    """Linear and square-root scaling from the base; labels of those that stay in the panel."""
    base = data[data["is_base"]].iloc[0]
    low, high = axes.get_ylim()
    x = np.geomspace(data["mean_batch"].min(), data["mean_batch"].max(), POINTS)
    ends = []
    for name, slope, dash in (("linear", 1.0, (0, (5, 2))), ("square root", 0.5, (0, (1, 1.3)))):
        y = base["learning_rate"] * (x / base["mean_batch"]) ** slope
        inside = (y > low) & (y < high)
        axes.plot(x[inside], y[inside], color=draw.MUTED, linestyle=dash, linewidth=1.2)
        if inside[-1]:
            ends.append(draw.EndLabel(x[-1], y[-1], name, draw.MUTED))
            continue
        axes.annotate(
            name,
            (x[inside][-1], y[inside][-1]),
            xytext=(-16, -1),
            textcoords="offset points",
            ha="right",
            va="top",
            color=draw.MUTED,
            fontsize=8.5,
        )
    return ends


def _growth_lines(axes: Axes, data: pd.DataFrame) -> None:
    """The fitted power of B, through the picks of each part."""
    for _, rows in groups(data[~data["at_edge"]], "part"):
        slope = rows["slope"].iloc[0]
        if math.isnan(slope):
            continue
        log_b = np.log(rows["mean_batch"])
        height = np.exp(np.log(rows["learning_rate"]).mean() + slope * (log_b - log_b.mean()))
        axes.plot(rows["mean_batch"], height, color=draw.INK, linewidth=1.6, zorder=3)


def _critical_band(axes: Axes, data: pd.DataFrame) -> None:
    """The critical batch size: a line, shaded over its interval."""
    critical, low, high = data[CRITICAL].iloc[0]
    if not math.isfinite(critical):
        return
    first, last = axes.get_xlim()
    axes.axvspan(max(low, first), min(high, last), color=draw.SHADE, linewidth=0, zorder=0)
    axes.axvline(critical, color=draw.MUTED, linewidth=0.9, zorder=1)
    room_right = critical**2 < first * last
    axes.annotate(
        f"passes doubled: {words.number(critical)}",
        (critical, 0.02),
        xycoords=axes.get_xaxis_transform(),
        xytext=(4 if room_right else -4, 0),
        textcoords="offset points",
        ha="left" if room_right else "right",
        fontsize=8.5,
        color=draw.MUTED,
    )


def best_rate_figure(data: pd.DataFrame, narrow: bool = False) -> Figure:
    """Best rate against batch size with its usable range, and the rules that people go by."""
    margins = draw.Margins(left=0.6, right=0.95, top=0.56)
    figure, (axes,) = draw.panels(1, narrow=narrow, height=3.9, margins=margins, width=9.0)
    n_train = int(data["n_train"].iloc[0])
    edge = "; △ the outermost tried" if data["at_edge"].any() else ""
    draw.head(axes, "Best learning rate", f"shaded: at most twice the time{edge}")
    draw.batch_axis(axes, list(data["batch_size"]), n_train)
    limits = draw.finite_range(data["learning_rate"], data["stable"], data["from_rate"])
    draw.log_axis(axes, "y", limits[0] / 1.2, limits[1] * 1.5, draw.plain)
    _critical_band(axes, data)
    draw.band(axes, data["mean_batch"], data["from_rate"], data["to_rate"], CURVE_COLOUR, 0.14)
    ends = _rule_lines(axes, data)
    _growth_lines(axes, data)
    stable = data[data["stable"] > 0]
    colour = draw.OUTCOME_COLOURS["diverged"]
    axes.plot(stable["mean_batch"], stable["stable"], color=colour, linewidth=1.0, alpha=0.7)
    for row in records(stable.iloc[-1:]):
        ends.append(draw.EndLabel(row.mean_batch, row.stable, "largest stable", colour))
    for row in records(data):
        shade = draw.batch_colour(int(row.batch_size), n_train)
        marker = "^" if row.at_edge else "o"
        axes.plot(row.mean_batch, row.learning_rate, marker, color=shade, ms=6.5, zorder=4)
    draw.end_labels(axes, ends)
    draw.seeds_note(figure, data["n_seeds"], "tuning seed")
    return figure


FIGURES = {
    "tradeoff": FigureSpec(
        tradeoff_data,
        tradeoff_figure,
        tradeoff_title,
        "Left: passes against updates to the target, a point a batch size at its own best rate, "
        "with the hyperbola updates = least updates + least examples / batch size; grey: the other "
        "two targets; hollow: not in the fit, since nothing bounds the median above. Diamond: the "
        "critical batch size, where the passes are twice their least. Right: the critical batch "
        "size of each target, by the hyperbola and without it. Where it is more than a tenth of "
        "all samples the least updates mix what curvature costs with what noise costs, for the "
        "noise of a batch vanishes at the full batch.",
    ),
    "fastest": FigureSpec(
        fastest_data,
        fastest_figure,
        fastest_title,
        "The batch size of the least time to the target against what starting an update costs, "
        "in samples. Steps: the fastest of the batch sizes studied; grey: within 1.25 times of it; "
        "dashed: the closed form, with its interval. Each program stands at its own cost, with "
        "the batch size that was fastest for it and the set that cannot be told apart.",
    ),
    "best_rate": FigureSpec(
        best_rate_data,
        best_rate_figure,
        best_rate_title,
        "The learning rate picked for each batch size on the tuning seeds, and the power of the "
        "batch size B that it grows as, below and above the critical batch size (with the interval "
        "over tuning seeds); broken lines: growing in proportion, and as the square root, from the "
        "base.",
    ),
}
