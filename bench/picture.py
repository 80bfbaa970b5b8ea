"""How bench/report.py shows figures: cells and tables of Markdown, and plots (SVG, by matplotlib)."""
import contextlib
import statistics


def number(value):
    """Three digits at least where the number has a fraction."""
    if value >= 10 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def cell(values):
    """The median, and half the distance between the extremes; nothing where nothing was measured."""
    if not values:
        return ""
    middle = statistics.median(values)
    spread = (max(values) - min(values)) / middle / 2 if middle else 0
    return f"{number(middle)} (±{spread:.0%})"


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


@contextlib.contextmanager
def panels(count, width, height, path, **options):
    """Axes side by side, saved as SVG that is the same for the same figures."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "asya"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, count, figsize=(width * count, height), squeeze=False, **options)
    yield axes[0]
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def colour(name):
    return "#c0392b" if name.startswith("runtime") else "#8aa"


def bars(by_title, names, unit, path, log=False):
    """A panel for each title, a bar for each server; `unit` is one for all, or one for each title."""
    down = list(reversed(names))
    with panels(len(by_title), 2.8, 0.35 * len(names) + 1.2, path, sharey=True) as axes:
        for place, (title, values) in zip(axes, by_title.items()):
            place.barh(down, [values.get(name, 0) for name in down], color=[colour(name) for name in down])
            place.set_title(title, fontsize=9)
            place.set_xlabel(unit if isinstance(unit, str) else unit[title], fontsize=8)
            place.tick_params(labelsize=8)
            if log and any(values.values()):
                place.set_xscale("log")


OTHERS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#17becf", "#7f7f7f")  # no red: that is the runtime's


def lines(by_title, across, along, unit, path):
    """A panel for each title, a line for each server over the numbers in `across`."""
    styles = ["-", "--", ":", "-."]
    with panels(len(by_title), 4.2, 3.4, path) as axes:
        for place, (title, by_name) in zip(axes, by_title.items()):
            ours = others = 0
            for name, values in by_name.items():
                is_ours = name.startswith("runtime")
                order = ours if is_ours else others
                style, colour_of = styles[order % len(styles)], colour(name) if is_ours else OTHERS[order % len(OTHERS)]
                ours, others = ours + is_ours, others + (not is_ours)
                shown = [number for number in across if number in values]
                place.plot(shown, [values[number] for number in shown], style, color=colour_of, label=name, marker=".")
            place.set_title(title, fontsize=9)
            place.set_xscale("log", base=2)
            place.set_yscale("log")
            place.set_xticks(list(across), [str(number) for number in across])
            place.set_xlabel(along, fontsize=8)
            place.set_ylabel(unit, fontsize=8)
            place.tick_params(labelsize=8)
        axes[0].legend(fontsize=7)
