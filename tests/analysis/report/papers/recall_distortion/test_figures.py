import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from analysis.rendering import drawing
from analysis.report.papers.recall_distortion import figures
from analysis.study.arrays import run_arrays
from analysis.study.cells import alphas as alphas_of
from analysis.study.cells import cells as cells_of
from analysis.study.settings import CELL
from tests.text_boxes import hidden_texts

STRENGTH = {"mp": 0.02, "gp": 0.026, "up": 0.016, "none": 0.0}
DENSE = {"mnist": 4.0, "cifar10": 2.2, "cifar100": 0.8}
CLASSES = {"mnist": 10, "cifar10": 10, "cifar100": 100}
PRUNERS = ("mp", "gp", "up", "rp", "none")


def simulated_runs(
    pairs=(("cifar10", "resnet56"),), pruners=PRUNERS, ratios=(2.0, 4.0, 10.0, 20.0, 50.0), seeds=8, classes=None
):
    """Recalls of 200 images per class: difficulty mostly of the class, partly of the seed, stretched by pruning."""
    rng = np.random.default_rng(0)
    rows = []
    for dataset, model in pairs:
        count = classes or CLASSES[dataset]
        difficulty = rng.normal(0, 0.6, count)
        for seed in range(seeds):
            own = difficulty + rng.normal(0, 0.25, count) + 0.004 * int("".join(filter(str.isdigit, model)) or 0)
            before = rng.binomial(200, 1 / (1 + np.exp(-DENSE[dataset] - own))) / 200
            for pruner in pruners:
                for ratio in (1.0,) if pruner == "none" else ratios:
                    if pruner == "rp":
                        after = rng.dirichlet(np.full(count, 0.15))
                    else:
                        loss = STRENGTH[pruner] * (ratio - 4)
                        logit = DENSE[dataset] - loss + (1 + 0.3 * loss) * own + rng.normal(0, 0.1, count)
                        after = rng.binomial(200, 1 / (1 + np.exp(-logit))) / 200
                    rows.append(
                        {"dataset": dataset, "model": model, "pruner": pruner, "ratio": ratio, "seed": seed}
                        | {"accuracy_before": before.mean(), "accuracy_after": after.mean()}
                        | {f"recall_before/class {c}": value for c, value in enumerate(before)}
                        | {f"recall_after/class {c}": value for c, value in enumerate(after)}
                        | {"dense_run_id": f"{dataset}-{model}-{seed}", "run_id": f"{len(rows)}"}
                    )
    return pd.DataFrame(rows)


def recalls(runs, when):
    return runs.filter(regex=f"^recall_{when}/").to_numpy()


def frames(runs):
    return alphas_of(run_arrays(runs)), cells_of(run_arrays(runs)), runs


def networks(alpha, *, ratio=10.0, pruner="mp", model="resnet56", dataset="cifar10", chance=(), after=0.8, before=0.9):
    """Frame of alphas of one cell; accuracy before and after the same for all, `chance` the places that guess."""
    count = len(alpha)
    return pd.DataFrame(
        {"dataset": dataset, "model": model, "pruner": pruner, "ratio": ratio, "seed": range(count), "alpha": alpha}
        | {"accuracy_before": before, "accuracy_after": after, "at_chance": [i in chance for i in range(count)]}
        | {"dense_run_id": [f"{dataset} {model} {i}" for i in range(count)]}
    )


def described(alphas, marks, settings=()):
    """Cells of such frames, with the marks given in the order of the cells."""
    grouped = alphas.groupby([*CELL, *settings], dropna=False, sort=False)
    cells = grouped.agg(n=("alpha", "size"), n_at_chance=("at_chance", "sum"), alpha_mean=("alpha", "mean"))
    return cells.reset_index().assign(mark=list(marks), ci_low=0.5, ci_high=1.5)


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.axison]


def ticks(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def segments(axes):
    return [line for collection in axes.collections for line in getattr(collection, "get_segments", list)()]


def dots(axes):
    """Points drawn with `scatter`, (points, 2), in the order drawn."""
    scattered = [c.get_offsets() for c in axes.collections if type(c).__name__ == "PathCollection"]
    return np.asarray(np.concatenate(scattered))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def medians(axes):
    return [line.get_ydata()[0] for line in axes.lines if line.get_color() == drawing.BELOW]


def test_boxes_stand_at_the_median_of_each_ratio_with_its_mark():
    alphas = pd.concat([networks([2.5, 1.5, 2.0], ratio=50.0), networks([0.7, 0.9, 0.8, 1.0], ratio=2.0)])
    (axes,) = figures.boxplots(alphas, described(alphas, "><"), "pruner").axes
    assert medians(axes) == [pytest.approx(0.85), 2.0]
    assert ticks(axes) == ["2 <\nn 4", "50 >\nn 3"]
    assert sorted(dots(axes)[:, 1]) == [0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 2.5]
    assert 1.0 in [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]


def test_a_single_seed_has_no_mark():
    alphas = networks([0.7])
    (axes,) = figures.boxplots(alphas, described(alphas, [""]), "pruner").axes
    assert ticks(axes) == ["10\nn 1"]


def test_networks_at_chance_are_crosses_that_do_not_squash_the_rest():
    alphas = networks([0.9, 15.0, 1.1, -15.0, 1.3], chance=(1, 3))
    figure = figures.boxplots(alphas, described(alphas, "?"), "pruner")
    (axes,) = figure.axes
    networks_drawn, crosses, below, above = axes.collections
    assert networks_drawn.get_offsets()[:, 1].tolist() == [0.9, 1.1, 1.3]
    assert crosses.get_offsets()[:, 1].tolist() == [15.0, -15.0]
    assert ticks(axes) == ["10 ?\nn 5\n2 at\nchance"]
    assert axes.get_ylim() == pytest.approx((0.868, 1.332))
    assert [triangle.get_offsets().tolist() for triangle in (below, above)] == [[[0, 0]], [[0, 1]]]
    assert texts(axes) == ["1", "1"]
    assert "Beyond the axis: 2 networks." in figure.get_supxlabel().replace("\n", " ")


def test_an_axis_ends_before_a_lone_outlier_and_not_before_a_high_ratio():
    low, high = networks(np.linspace(0.9, 1.1, 30), ratio=2.0), networks(np.linspace(2.8, 3.2, 10), ratio=50.0)
    alphas = pd.concat([low, high])
    (axes,) = figures.boxplots(alphas, described(alphas, "?>"), "pruner").axes
    assert axes.get_ylim()[1] > 3.2
    assert texts(axes) == []
    alphas = pd.concat([low, networks([*np.linspace(2.8, 3.2, 9), 40.0], ratio=50.0)])
    (axes,) = figures.boxplots(alphas, described(alphas, "?>"), "pruner").axes
    assert 3.2 < axes.get_ylim()[1] < 4
    assert texts(axes) == ["1"]


def test_an_undefined_alpha_is_not_drawn():
    alphas = pd.concat([networks([0.9, np.nan]), networks([np.nan], ratio=50.0)])
    (axes,) = figures.boxplots(alphas, described(alphas, ["?", ""]), "pruner").axes
    assert dots(axes)[:, 1].tolist() == [0.9]


@pytest.fixture(scope="module")
def several():
    many = networks([1.0] * 9, dataset="svhn", model="resnet20")
    parts = [
        many,
        networks([1.0], dataset="svhn", model="resnet8"),
        *(networks([1.0], pruner=pruner) for pruner in ("none", "rp", "ours", "gp", "mp", "up-signed")),
        *(networks([1.0], model=model, pruner=p) for model in ("resnet110", "resnet20") for p in ("mp", "up-signed")),
        networks([1.0] * 2, dataset="mnist", model="wide"),
        networks([1.0], dataset="mnist", model="lenet5"),
    ]
    alphas = pd.concat(parts)
    return alphas, described(alphas, "?" * alphas.drop_duplicates(CELL).shape[0])


@pytest.mark.parametrize(
    ("by", "panels", "fixed"),
    [
        (
            "pruner",
            ["mp (magnitude)", "gp (gradient)", "rp (random)", "ours", "up-signed", "none (not pruned)"],
            "by pruner: cifar10, resnet56",
        ),
        ("model", ["resnet20", "resnet56", "resnet110"], "by model: cifar10, mp"),
        ("dataset", ["mnist, lenet5", "cifar10, resnet56", "svhn, resnet20"], "by data set: mp"),
        ("model under up", ["resnet20", "resnet56", "resnet110"], "by model: cifar10, up-signed"),
    ],
)
def test_a_figure_takes_the_papers_data_set_and_model_or_the_usual_ones_and_says_so(several, by, panels, fixed):
    alphas, cells = several
    for figure in (figures.boxplots(alphas, cells, by), figures.intervals(cells, by)):
        assert titles(figure) == panels
        assert figure.get_suptitle().replace("\n", " ").endswith(fixed)


def test_without_the_papers_the_data_set_and_model_of_most_runs():
    alphas = pd.concat([networks([1.0] * 3, dataset="b", model="y"), networks([1.0] * 2, dataset="a", model="x")])
    (axes,) = figures.boxplots(alphas, described(alphas, "??"), "pruner").axes
    assert axes.figure.get_suptitle().endswith(": b, y")


def test_models_are_not_compared_under_the_control():
    parts = [networks([1.0] * n, model=model, pruner=p) for model in ("a1", "a2") for p, n in (("none", 5), ("gp", 1))]
    cells = described(pd.concat(parts), "?" * 4)
    assert figures.intervals(cells, "model").get_suptitle().endswith("cifar10, gp")


def test_up_itself_comes_before_its_signed_kind():
    parts = [networks([1.0], model=model, pruner=p) for model in ("a1", "a2") for p in ("up", "up-signed")]
    cells = described(pd.concat(parts), "?" * 4)
    assert figures.intervals(cells, "model under up").get_suptitle().endswith("cifar10, up")


def test_nothing_to_compare_is_no_figure():
    alphas = networks([1.0, 1.1])
    cells = described(alphas, "?")
    runs = simulated_runs(pruners=("mp",), ratios=(2.0,), seeds=2)
    for by in ("model", "dataset", "model under up"):
        assert figures.boxplots(alphas, cells, by) is None
        assert figures.intervals(cells, by) is None
        assert figures.scatter_matrix(runs, by) is None
    assert figures.tradeoff(networks([np.nan])) is None


def test_settings_become_panels_of_their_own():
    alphas = pd.concat(
        [
            networks([0.8, 0.9], pruner="mp").assign(**{"params.epsilon": np.nan}),
            networks([1.0, 1.1], pruner="up").assign(**{"params.epsilon": "0.0005"}),
            networks([2.0, 2.2], pruner="up").assign(**{"params.epsilon": "0.01"}),
        ]
    )
    cells = described(alphas, "???", ["params.epsilon"])
    figure = figures.boxplots(alphas, cells, "pruner", ["params.epsilon"])
    assert titles(figure) == ["mp (magnitude)", "up (undecayed)\nepsilon 0.0005", "up (undecayed)\nepsilon 0.01"]
    assert [medians(axes) for axes in figure.axes] == [[pytest.approx(0.85)], [1.05], [2.1]]
    lines = figures.tradeoff(alphas, ["params.epsilon"]).axes[0].get_legend_handles_labels()[1]
    assert lines == ["mp (magnitude)", "up (undecayed), epsilon 0.0005", "up (undecayed), epsilon 0.01"]


def test_where_all_settings_are_too_many_panels_the_main_one_is_drawn():
    def study(*distills):
        made = [
            networks([1.0, 1.1], pruner=pruner).assign(**{"params.schedule": schedule, "params.distill": distill})
            for pruner in ("mp", "gp")
            for schedule in ("cubic", "one-shot")
            for distill in distills
        ]
        return pd.concat(made)

    names = ["params.distill", "params.schedule"]
    few = figures.tradeoff(study("0.0", "0.5"), names)
    assert len(few.axes[0].get_legend_handles_labels()[1]) == 8
    assert "mp (magnitude), cubic, teacher" in few.axes[0].get_legend_handles_labels()[1]
    many = figures.tradeoff(study("0.5", "0.0", "0.9"), names)
    assert many.axes[0].get_legend_handles_labels()[1] == ["mp (magnitude)", "gp (gradient)"]
    assert " ".join(many.get_suptitle().split()).endswith("one of several settings")


def test_an_interval_is_drawn_from_end_to_end_in_the_colour_of_its_mark():
    alphas = pd.concat(
        [networks([1.0, 1.0], ratio=ratio) for ratio in (2.0, 4.0, 10.0)] + [networks([0.6], ratio=50.0)]
    )
    low, high, mean = [0.7, 0.9, 1.2, np.nan], [0.9, 1.1, 1.6, np.nan], [0.8, 1.0, 1.4, 0.6]
    cells = described(alphas, ["<", "?", ">", ""]).assign(ci_low=low, ci_high=high, alpha_mean=mean)
    (axes,) = figures.intervals(cells, "pruner").axes
    assert [line.tolist() for line in segments(axes)] == [[[i, low[i]], [i, high[i]]] for i in range(3)]
    (means,) = [marks for marks in axes.collections if isinstance(marks, PathCollection)]
    assert means.get_offsets()[:, 1].tolist() == mean
    colors = [drawing.BELOW, drawing.NEUTRAL, drawing.ABOVE, drawing.NEUTRAL]
    assert [to_hex(color) for color in means.get_edgecolors()] == colors
    assert [to_hex(color) for color in means.get_facecolors()] == [*colors[:3], "#ffffff"]
    assert axes.get_ylim()[0] < 0.6 < 1.6 < axes.get_ylim()[1]


def test_an_interval_of_networks_at_chance_is_named_at_the_edge():
    alphas = pd.concat([networks([1.0, 1.2], ratio=2.0), networks([-9.0, 1.0], ratio=50.0, chance=(0, 1))])
    cells = described(alphas, "??").assign(ci_low=[0.9, -30.0], ci_high=[1.3, 22.0])
    figure = figures.intervals(cells, "pruner")
    assert figure.axes[0].get_ylim() == pytest.approx((0.868, 1.332))
    assert texts(figure.axes[0]) == ["-4.00"]
    assert "Beyond the axis: 1 cell." in figure.get_supxlabel().replace("\n", " ")


def example(before, after, ratio=10.0, pruner="mp", seed=0):
    """A run of two classes of equal support."""
    return {
        **{"dataset": "cifar10", "model": "resnet56", "pruner": pruner, "ratio": ratio, "seed": seed},
        **{"recall_before/X": before[0], "recall_before/Y": before[1], "accuracy_before": sum(before) / 2},
        **{"recall_after/X": after[0], "recall_after/Y": after[1], "accuracy_after": sum(after) / 2},
    }


def test_the_papers_example_is_a_line_of_slope_four_thirds():
    # Of a hundred images of either class, 120 right answers are above chance.
    runs = pd.DataFrame([example((0.9, 0.7), (0.7, 0.5))]).assign(**{"support/X": 100.0, "support/Y": 100.0})
    (axes,) = figures.scatter_matrix(runs, "pruner").axes
    assert dots(axes) == pytest.approx(np.array([[1 / 8, 1 / 6], [-1 / 8, -1 / 6]]))
    unchanged, line, *_ = axes.lines
    assert np.ptp(unchanged.get_ydata()) / np.ptp(unchanged.get_xdata()) == pytest.approx(1)
    assert np.ptp(line.get_ydata()) / np.ptp(line.get_xdata()) == pytest.approx(4 / 3)
    assert texts(axes) == ["alpha 1.33   r² 1.00\nA 0.600   n 1 x 2"]
    assert axes.get_ylabel() == "ratio 10\nrecall balance after"


def test_a_scatter_pools_the_seeds_and_the_control_stands_in_the_first_row():
    rows = [
        example((0.9, 0.7), (0.9, 0.7), 2.0),
        example((0.9, 0.7), (0.9, 0.7), 2.0, seed=1),
        example((0.9, 0.7), (0.7, 0.9), 2.0, seed=2),
        example((0.9, 0.7), (1.0, 0.6), 50.0),
        example((0.9, 0.7), (0.9, 0.7), 1.0, "none"),
    ]
    grid = figures.scatter_matrix(pd.DataFrame(rows), "pruner").axes
    assert [axes.get_subplotspec().num1 for axes in grid] == [0, 1, 2]  # there is none in the fourth place
    assert texts(grid[0]) == ["alpha 0.33   r² 0.11\nA 0.800   n 3 x 2"]
    assert texts(grid[1]) == ["alpha 1.00   r² 1.00\nA 0.800   n 1 x 2"]
    assert texts(grid[2]) == ["alpha 2.00   r² 1.00\nA 0.800   n 1 x 2"]
    assert [axes.get_ylabel().split("\n")[0] for axes in grid[:3]] == ["ratio 2", "ratio 1", "ratio 50"]


def test_every_class_of_every_network_is_a_point_and_none_outside_unless_said():
    runs = simulated_runs([("cifar10", "resnet56"), ("cifar100", "resnet56")], ratios=(2.0, 50.0), seeds=3)
    figure = figures.scatter_matrix(runs, "dataset")
    for axes, count in zip(figure.axes, (30, 300, 30, 300), strict=True):
        points = dots(axes)
        assert len(points) == count
        inside = (points >= (axes.get_xlim()[0], axes.get_ylim()[0])) & (
            points <= (axes.get_xlim()[1], axes.get_ylim()[1])
        )
        assert inside.all()
    pruned = figures.scatter_matrix(simulated_runs(ratios=(2.0,), seeds=3), "pruner")
    random = next(axes for axes in pruned.axes if axes.get_title().startswith("rp"))
    outside = ~((dots(random)[:, 1] >= random.get_ylim()[0]) & (dots(random)[:, 1] <= random.get_ylim()[1]))
    assert f"\n{outside.sum()} outside" in texts(random)[0]
    assert f"Beyond the axis: {outside.sum()} points." in pruned.get_supxlabel().replace("\n", " ")


def test_a_balanced_network_has_no_slope():
    (axes,) = figures.scatter_matrix(pd.DataFrame([example((0.8, 0.8), (0.7, 0.5))]), "pruner").axes
    assert texts(axes)[0].startswith("alpha n/a   r² n/a\n")


def curves(axes):
    return {c.get_label(): c.lines[0].get_ydata().tolist() for c in axes.containers}


def test_the_tradeoff_starts_at_the_dense_network_and_is_centred_on_it():
    alphas = pd.concat(
        [
            networks([0.8, 1.0], ratio=2.0, after=[0.92, 0.94]),
            networks([1.4, 1.6], ratio=10.0, after=[0.7, 0.8]),
            networks([0.9, 0.7], ratio=1.0, pruner="none", after=0.91),
        ]
    )
    upper, lower = figures.tradeoff(alphas).axes
    assert curves(upper) == {"mp (magnitude)": pytest.approx([0.9, 0.93, 0.75])}
    assert curves(lower) == {"mp (magnitude)": pytest.approx([1.0, 0.9, 1.5])}
    assert np.mean(upper.get_ylim()) == pytest.approx(0.9)
    assert np.mean(lower.get_ylim()) == pytest.approx(1.0)
    # Standard error of two values: half their distance.
    bars = upper.containers[0].lines[2][0].get_segments()
    assert [np.ptp(bar[:, 1]) / 2 for bar in bars] == pytest.approx([0, 0.01, 0.05])
    assert ticks(lower) == ["1", "2", "10"]
    control = next(line for line in lower.lines if line.get_label() == "none (not pruned)")
    assert control.get_ydata()[0] == pytest.approx(0.8)


def test_the_tradeoff_draws_no_mean_over_dense_networks_that_its_methods_do_not_share():
    one, two = (
        networks([0.8, 1.0], before=accuracy).assign(**{"params.epochs": epochs})
        for accuracy, epochs in ((0.9, "30"), (0.5, "5"))
    )
    apart = pd.concat([one, two.assign(dense_run_id=["other 0", "other 1"])])
    for alphas, dashed in ((pd.concat([one, two]), 1), (apart, 0)):
        upper, lower = figures.tradeoff(alphas, ["params.epochs"]).axes
        lines = [line for axes in (upper, lower) for line in axes.lines if line.get_linestyle() == "--"]
        assert len(lines) == dashed + 1  # the other one is alpha 1
        assert ("dense" in upper.get_ylabel()) == bool(dashed)
    assert curves(upper) == {
        "mp (magnitude), epochs 30": pytest.approx([0.9, 0.8]),
        "mp (magnitude), epochs 5": pytest.approx([0.5, 0.8]),
    }


def test_the_tradeoff_keeps_what_was_measured_at_ratio_1():
    alphas = pd.concat(
        [
            networks([1.1, 1.3], ratio=1.0, after=[0.86, 0.88]),
            networks([1.4, 1.6], ratio=10.0),
            networks([0.6, 0.8], ratio=1.0, pruner="gp", after=0.85),
        ]
    )
    upper, lower = figures.tradeoff(alphas).axes
    assert curves(upper) == {"mp (magnitude)": pytest.approx([0.87, 0.8]), "gp (gradient)": [0.85]}
    assert curves(lower) == {"mp (magnitude)": pytest.approx([1.2, 1.5]), "gp (gradient)": [0.7]}
    bars = lower.containers[0].lines[2][0].get_segments()
    assert [np.ptp(bar[:, 1]) / 2 for bar in bars] == pytest.approx([0.1, 0.1])


def test_a_pruners_name_is_never_read_as_a_formula():
    figure = figures.tradeoff(pd.concat([networks([1.0, 1.1], pruner="$a_b$"), networks([1.0], pruner="$\\bad{$")]))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["$\\bad{$", "$a_b$"]
    assert not any(text.get_parse_math() for text in legend.get_texts())
    FigureCanvasAgg(figure).draw()


def test_the_tradeoff_has_one_legend_that_names_each_method_once_in_one_colour():
    """GP is on the second data set alone, and UP on the first: MP and UP have the same colour in both columns."""
    cells = [
        networks([1.0, 1.1], dataset=dataset, pruner=pruner)
        for dataset, pruners in (("mnist", ("mp", "up")), ("fashion-mnist", ("mp", "gp", "up")), ("cifar10", ("up",)))
        for pruner in pruners
    ]
    cells += [networks([0.9, 0.8], ratio=1.0, pruner="none", dataset=name) for name in ("mnist", "cifar10")]
    figure = figures.tradeoff(pd.concat(cells))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "mp (magnitude)",
        "up (undecayed)",
        "gp (gradient)",
        "none (not pruned)",
    ]
    assert all(axes.get_legend() is None for axes in figure.axes)
    colors = {(c.get_label(), c.lines[0].get_color()) for axes in figure.axes for c in axes.containers}
    assert len(colors) == 3
    assert {line.get_color() for line in legend.get_lines()} == {color for _, color in colors} | {drawing.NEUTRAL}


@pytest.mark.slow
def test_the_words_of_the_tradeoff_do_not_overlap():
    for datasets in (("mnist",), ("mnist", "fashion-mnist"), ("mnist", "fashion-mnist", "cifar10")):
        cells = [
            networks([1.0, 1.1], dataset=dataset, pruner=pruner, ratio=ratio).assign(**{"params.epsilon": epsilon})
            for dataset in datasets
            for pruner in ("up", "up-signed")
            for epsilon in ("0.0005", "0.07158707475562237")
            for ratio in (1.109, 1.418, 1.965, 36.06)
        ]
        assert hidden_texts(figures.tradeoff(pd.concat(cells), ["params.epsilon"])) == []


def test_a_control_at_chance_leaves_the_tradeoff_without_a_line():
    figure = figures.tradeoff(networks([1.0, 1.1], ratio=1.0, pruner="none", chance=(0, 1), after=0.1))
    assert curves(figure.axes[0]) == {}


def test_the_tradeoff_has_the_papers_ratios_where_all_are_there():
    ratios = (2.0, 4.0, 6.0, 8.0, 10.0, 20.0)
    alphas = pd.concat([networks([1.0, 1.1], ratio=ratio) for ratio in ratios])
    assert ticks(figures.tradeoff(alphas).axes[1]) == ["1", "2", "4", "6", "8", "10"]
    assert ticks(figures.tradeoff(alphas[alphas["ratio"] != 8]).axes[1]) == ["1", "2", "4", "6", "10", "20"]


def test_a_network_at_chance_is_in_no_box_and_no_slope():
    rows = [example((0.9, 0.7), (0.9, 0.7)), example((0.9, 0.7), (1.0, 0.0), seed=1)]
    axes = figures.scatter_matrix(pd.DataFrame(rows), "pruner").axes[0]
    assert texts(axes)[0].startswith("alpha 1.00")
    assert "A 0.800" in texts(axes)[0]
    alphas = networks([1.0, 1.2, 9.0], chance=(2,))
    box = figures.boxplots(alphas, described(alphas, "?"), "pruner").axes[0].lines
    assert max(np.max(line.get_ydata()) for line in box) == pytest.approx(1.2)


def test_the_tradeoff_leaves_out_and_names_what_is_at_chance():
    alphas = pd.concat([networks([0.9, 1.1]), networks([9.0, -30.0], pruner="gp", chance=(0, 1), after=0.1)])
    figure = figures.tradeoff(alphas)
    assert curves(figure.axes[1]) == {"mp (magnitude)": [1.0, 1.0], "gp (gradient)": [1.0]}
    assert "Networks at chance: gp (gradient) at ratio 10 (2 of 2);" in figure.get_supxlabel().replace("\n", " ")
    assert figure.axes[0].get_ylim()[0] > 0.7


def test_the_tradeoff_has_a_column_for_each_data_set():
    alphas = pd.concat(
        [
            networks([1.4, 1.6], dataset="fashion-mnist", model="lenet5", before=0.88),
            networks([0.8, 1.0], dataset="mnist", model="lenet5", before=0.98),
        ]
    )
    first, second, *lower = figures.tradeoff(alphas).axes
    assert [axes.get_title() for axes in (first, second)] == ["mnist, lenet5, n 2", "fashion-mnist, lenet5, n 2"]
    assert [np.mean(axes.get_ylim()) for axes in (first, second)] == pytest.approx([0.98, 0.88])
    assert [curves(axes)["mp (magnitude)"][1] for axes in lower] == pytest.approx([0.9, 1.5])
    many = pd.concat([networks([1.0], dataset=name) for name in "abcde"])
    assert len(figures.tradeoff(many).axes) == 2


def test_random_pruning_is_in_the_tradeoff_where_it_is_alone():
    alphas = pd.concat(
        [networks([1.0, 1.2]), networks([0.1, 0.3], pruner="rp", after=0.3), networks([1.0], pruner="none")]
    )
    figure = figures.tradeoff(alphas)
    assert list(curves(figure.axes[0])) == ["mp (magnitude)"]
    assert "Random pruning is left out" in figure.get_supxlabel().replace("\n", " ")
    alone = figures.tradeoff(alphas[alphas["pruner"] != "mp"])
    assert list(curves(alone.axes[0])) == ["rp (random)"]
    assert "Random" not in alone.get_supxlabel()


def test_one_network_at_chance_does_not_squash_the_tradeoff():
    alphas = pd.concat(
        [networks([0.9, 1.1], ratio=2.0), networks([1.4, 1.6, 15.0], ratio=50.0, chance=(2,), after=[0.8, 0.8, 0.1])]
    )
    upper, lower = figures.tradeoff(alphas).axes
    # The means of the two others at ratio 50 are 1.5, with a standard error of .1, and .8.
    assert curves(lower)["mp (magnitude)"] == pytest.approx([1.0, 1.0, 1.5])
    assert lower.get_ylim() == pytest.approx((0.34, 1.66))
    assert upper.get_ylim() == pytest.approx((0.79, 1.01))


def every_figure(alphas, cells, runs):
    """All figures that have something to show, by name."""
    drawn = {}
    for first, draw in (
        (1, lambda by: figures.boxplots(alphas, cells, by)),
        (5, lambda by: figures.scatter_matrix(runs, by)),
        (9, lambda by: figures.intervals(cells, by)),
    ):
        drawn |= {f"figure_{number:02}": draw(by) for number, by in enumerate(figures.GROUPINGS, start=first)}
    drawn |= {"figure_13": figures.tradeoff(alphas)}
    return {name: figure for name, figure in drawn.items() if figure}


def test_a_whole_study_has_every_figure_and_a_small_one_those_with_something_to_show():
    runs = simulated_runs([("mnist", "lenet5"), ("cifar10", "resnet20"), ("cifar10", "resnet56")], seeds=2)
    runs = runs[runs["model"].ne("resnet56") | runs["ratio"].le(10)]
    names = [f"figure_{number:02}" for number in range(1, 14)]
    drawn = every_figure(*frames(runs))
    assert list(drawn) == names
    small = simulated_runs(pruners=("mp",), ratios=(10.0,), seeds=1)
    assert list(every_figure(*frames(small))) == [
        "figure_01",
        "figure_05",
        "figure_09",
        "figure_13",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "study",
    [
        {"pruners": ("mp",), "ratios": (10.0,), "seeds": 1},
        {"pruners": ("mp", "gp", "rp", "none"), "ratios": (2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 50.0, 100.0), "seeds": 2},
        {"pairs": [("cifar100", "resnet56")], "ratios": (50.0,), "seeds": 3},
    ],
    ids=["one network", "eight ratios", "hundred classes"],
)
def test_nothing_is_cut_and_no_two_ratios_touch(study):
    drawn = every_figure(*frames(simulated_runs(**study)))
    for name, figure in drawn.items():
        FigureCanvasAgg(figure).draw()
        ink, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert width < 13, name
        assert ink.min.min() >= 0, name
        assert (ink.max <= (width, height)).all(), name
        for axes in figure.axes:
            low, high = axes.get_xlim()
            labels = [
                label for label in axes.get_xticklabels() if axes.axison and low <= label.get_position()[0] <= high
            ]
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes)), name
