"""The results of a search for chains, put into words: lines to print, and the model card."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from analysis.common.points import points
from analysis.common.printable import folded
from analysis.compare import blocks
from analysis.compare.comparison import Comparison
from analysis.rendering import chain_table
from analysis.rendering.formats import markdown_cell, markdown_line
from analysis.runs import schema
from analysis.statistics.limits import Gate, Limits, merged
from analysis.statistics.pareto import Choice, keeps, shown
from pruning_study.models.latency import Compared
from pruning_study.models.onnx_export import INPUT, OUTPUT
from pruning_study.steps.text_tables import text_table
from pruning_study.study.compression import judgement
from pruning_study.study.compression.chains import Chain
from pruning_study.study.compression.judgement import POINTS, Judgement

READING = "Losses are in points since the dense network. At most: an upper bound with 95 % confidence."
_IN_BRACKETS = READING.replace("At most:", "In brackets, at most:")
BATCHES = (1, 64)  # batch sizes for which latency is measured
_VERDICTS = {
    "within": "Confirmed on test images.",
    "beyond": "Not confirmed: the choice fails on test images.",
    "undecided": "Not confirmed: the test images do not decide.",
}
_COSTS = {"size": "{} bytes", "latency": "{} of the dense network's time", "macs": "{} products"}


class Tested(NamedTuple):
    """A chain on test images.

    Attributes
    ----------
    chain : Chain
    comparison : Comparison
        The dense with the compressed networks. If the chain is the choice, the first network is delivered.
    limits : Limits
    """

    chain: Chain
    comparison: Comparison
    limits: Limits

    @property
    def networks(self) -> int:
        """Number of networks over which recalls, accuracies and losses are means."""
        return self.comparison.networks

    @property
    def delivered(self) -> Comparison:
        """The comparison of the first network."""
        right, predicted = (
            {side: rows[:1] for side, rows in sides.items()}
            for sides in (self.comparison.right, self.comparison.predicted)
        )
        return replace(self.comparison, right=right, predicted=predicted)

    @property
    def gates(self) -> list[Gate]:
        """The decisions on the losses of classes and of the accuracy."""
        return list(self.comparison.gates(self.limits).values())

    @property
    def classes(self) -> pd.DataFrame:
        """A row for each class: class, images, recall_before, recall_after, recall_delivered, loss, loss_upper."""
        table = self.comparison.table
        return table[["class", "images", "recall_before", "recall_after"]].assign(
            recall_delivered=self.delivered.table["recall_after"],
            loss=table["loss"],
            loss_upper=self.comparison.losses().mean.upper(),
        )


class Outcome(NamedTuple):
    """The outcome of a search for chains.

    Attributes
    ----------
    minimize : {"size", "latency", "macs"}
    limits : Limits
    chains : sequence of Chain
        Chains that could be made.
    trials : DataFrame
        A row for each of these chains, as `ChainSearch.trials` returns it.
    choice : Choice
    notes : sequence of str
        Sentences on what was not tried, and why.
    tested, by_accuracy : Tested, optional
        Test of the choice, if there is one; and of the chain that accuracy alone would choose, if it is a different
        chain.
    confirmed : Tested, optional
        Test of the choice on new networks.
    times : sequence of Compared
        Latencies of the dense network and the choice, for each batch size of `BATCHES`.
    """

    minimize: str
    limits: Limits
    chains: Sequence[Chain]
    trials: pd.DataFrame
    choice: Choice
    notes: Sequence[str]
    tested: Tested | None
    by_accuracy: Tested | None
    confirmed: Tested | None
    times: Sequence[Compared]

    @property
    def gates(self) -> list[Gate]:
        """The decisions on the choice on test images: for the means over networks, and for the delivered network."""
        if not self.tested or self.tested.networks == 1:
            return self.tested.gates if self.tested else []
        own = self.tested.delivered.gates(self.limits).values()
        return [*self.tested.gates, *(Gate(gate.state, f"The delivered network: {gate.reason}") for gate in own)]

    @property
    def state(self) -> str:
        """`within`, `beyond` or `undecided` on test images; `none` if no chain keeps to the limits."""
        return merged(self.gates).state if self.tested else "none"


def progress(chain: Chain, result: Judgement, minimize: str) -> str:
    """Return the line to print when a chain has been tried."""
    cost = _COSTS[minimize].format(chain_table.cost(result.cost, minimize))
    return f"{chain}: {cost}, {result.worst_class} may lose {points(result.class_loss_upper)} points"


def lines(outcome: Outcome) -> list[str]:
    """Return the lines to print: the limits, the chains on the Pareto front, and the sentences on the outcome."""
    said = map(folded, sentences(outcome))
    return ["", folded(str(outcome.limits)), "", _table(outcome), folded(_IN_BRACKETS), "", *said]


def sentences(outcome: Outcome) -> list[str]:
    """Describe the outcome of the search, a sentence or two a line."""
    best, nearest, by_accuracy = outcome.choice
    if best is None:
        lines = [
            f"No chain keeps to both limits on validation images. The nearest: {outcome.chains[nearest]}.",
            _on_validation(outcome, nearest),
        ]
    else:
        lines = [f"The choice: {outcome.chains[best]}.", _on_validation(outcome, best), *_on_test(outcome)]
        lines += _sizes(outcome, best)
    if by_accuracy is None:
        lines.append("No chain keeps to the limit of the accuracy either.")
    elif by_accuracy == best:
        lines.append("By accuracy alone the choice would be the same.")
    elif outcome.by_accuracy:
        lines += _by_accuracy(outcome, by_accuracy, outcome.by_accuracy)
    if outcome.confirmed:
        lines.append(f"On new networks: {_reason(outcome.confirmed.gates)}")
    return [*lines, *outcome.notes]


def model_card(
    outcome: Outcome, title: str, making: Mapping[str, str], how_to_load: str, image_shape: Sequence[int]
) -> str:
    """Return the model card of the choice, in Markdown.

    Parameters
    ----------
    outcome : Outcome
        An outcome with a choice.
    title : str
    making : mapping of str
        Facts on the origin of the network, by name: data set, runs, versions.
    how_to_load : str
        Python that loads the model.
    image_shape : (channels, height, width)
    """
    if not outcome.tested:
        raise ValueError("there is no choice")
    shape = f"[N, {', '.join(map(str, image_shape))}]"
    networks = outcome.tested.networks
    means = f" (means over {networks} networks, as losses are), and of the delivered network" if networks > 1 else ""
    return "\n".join(
        [
            f"# {markdown_line(title)}",
            "",
            *(f"- {markdown_line(line)}" for line in sentences(outcome)),
            "",
            "## Each class",
            "",
            f"Recall on test images, in percent, of the dense network and the compressed network{means}. " + READING,
            "",
            *_class_table(outcome.tested),
            "",
            f"![Recall of each class]({schema.CLASSES_PICTURE})",
            "",
            "## What else was tried",
            "",
            f"{len(outcome.chains)} chains of pruning, fine-tuning, class offsets and number formats, in "
            f"`{schema.TRIALS}`. The choice is made on validation images, and tested once on test images.",
            "",
            f"![Cost against the loss of the worst class]({schema.FRONT_PICTURE})",
            "",
            "## How it was made",
            "",
            *(f"- {markdown_line(name)}: {markdown_line(value)}" for name, value in making.items()),
            "",
            "## How to load it",
            "",
            f"With `{schema.COMPRESSED_MODEL}` and onnxruntime alone:",
            "",
            "```python",
            "import onnxruntime",
            "",
            f'session = onnxruntime.InferenceSession("{schema.COMPRESSED_MODEL}")',
            f'(logits,) = session.run(["{OUTPUT}"], {{"{INPUT}": images}})',
            "```",
            "",
            "With MLflow, from the tracking store of the run:",
            "",
            "```python",
            how_to_load,
            "```",
            "",
            f"The model takes any number of images at once, as uint8 from 0 to 255 of shape {shape}. It returns a "
            f"logit for each class, in the order of `{schema.CLASS_LOSSES}`. It normalises the images itself.",
            "",
        ]
    )


def _class_table(tested: Tested) -> list[str]:
    """Return the lines of a table in Markdown: all images, then each class, the one with the largest bound first."""
    names = {"before": "dense", "after": "compressed"} | ({"delivered": "delivered"} if tested.networks > 1 else {})
    accuracy, upper = tested.comparison.accuracy, tested.comparison.accuracy_losses().mean.upper()[0]
    whole = {"class": "**all images**", "images": accuracy["images"], "loss": accuracy["loss"], "loss_upper": upper}
    whole |= {"recall_before": accuracy["before"], "recall_after": accuracy["after"]}
    whole |= {"recall_delivered": tested.delivered.accuracy["after"]}
    classes = tested.classes.sort_values("loss_upper", ascending=False, kind="stable")
    rows = [whole, *classes.assign(**{"class": classes["class"].map(markdown_cell)}).to_dict("records")]
    columns = [*(f"recall_{name}" for name in names), "loss", "loss_upper"]
    return [
        f"| class | test images | {' | '.join(names.values())} | loss | at most |",
        f"| --- |{' ---: |' * (len(names) + 3)}",
        *(
            f"| {row['class']} | {row['images']:,} | {' | '.join(points(row[column]) for column in columns)} |"
            for row in rows
        ),
    ]


def _table(outcome: Outcome) -> str:
    """Return a table of the Pareto front, the choice or the nearest chain, and the choice by accuracy alone.

    Chains within the limits come first. Bounds are in brackets after losses, because a terminal is narrow.
    """
    trials, choice = outcome.trials, outcome.choice
    marks = {choice.by_accuracy: "by accuracy alone", choice.nearest: "the nearest", choice.best: "the choice"}
    rows = shown(trials, choice, outcome.limits)
    is_within = keeps(rows, outcome.limits)
    named = []
    for place in rows.index:
        remarks = [marks.get(place, ""), "" if is_within[place] else "breaks a limit"]
        remark = ", ".join(filter(None, remarks))
        named.append(f"{outcome.chains[place]} ({remark})" if remark else str(outcome.chains[place]))
    table = chain_table.table(rows.assign(chain=named), outcome.minimize)
    of_accuracy, of_class = (
        table[loss] + " (" + table[bound] + ")"
        for loss, bound in (("loss of accuracy", "accuracy, at most"), ("its loss", "class, at most"))
    )
    columns = [*table.columns[:2], "loss of accuracy", "worst class", "its loss"]
    cells = table.assign(**{"loss of accuracy": of_accuracy, "its loss": of_class})[columns]
    return text_table(columns, cells.to_numpy().tolist())


def _on_validation(outcome: Outcome, place: int) -> str:
    return _losses("On validation images", outcome.trials.loc[place], outcome.limits)


def _losses(where: str, row: Mapping[str, Any], limits: Limits) -> str:
    accuracy, class_loss = (_with_bound(row, name) for name in ("accuracy_loss", "class_loss"))
    return (
        f"{where} the accuracy loses {accuracy} points (limit {POINTS * limits.accuracy_loss:g}), and the "
        f"worst class, {row['worst_class']}, loses {class_loss} (limit {POINTS * limits.class_loss:g})."
    )


def _on_test(outcome: Outcome) -> list[str]:
    """Describe whether test images confirm the choice, and its losses on them."""
    tested = outcome.tested
    if not tested:
        return []
    lines = [f"{_VERDICTS[outcome.state]} {_reason(outcome.gates)}"]
    lines.append(_of_test("On test images", tested.comparison, tested.limits))
    if tested.networks > 1:
        lines.append(_of_test("In the delivered network", tested.delivered, tested.limits))
    return [*lines, *blocks.blocks(tested.comparison)[0].lines]


def _reason(gates: Sequence[Gate]) -> str:
    """Say why losses are not all within their limits, if they are not."""
    return " ".join(gate.reason for gate in gates if gate.state != "within") or "All losses are within the limits."


def _of_test(where: str, comparison: Comparison, limits: Limits) -> str:
    losses = comparison.losses().mean, comparison.accuracy_losses().mean
    return _losses(where, judgement.worst_losses(comparison.names, *losses), limits)


def _sizes(outcome: Outcome, best: int) -> list[str]:
    """Return sentences on the size and latency of the choice, compared with the dense network if that was tried."""
    row = outcome.trials.loc[best]
    dense = next((place for place, chain in enumerate(outcome.chains) if chain == Chain()), None)
    sizes = (
        f"The choice's file has {row['model_bytes']:,} bytes, and an image takes {row['macs']:,} products of a weight "
        "and an input"
    )
    if dense is not None:
        whole = outcome.trials.iloc[dense]
        shares = [row[name] / whole[name] for name in ("model_bytes", "macs")]
        sizes += (
            f": {POINTS * shares[0]:.1f} % of the bytes and {POINTS * shares[1]:.1f} % of the products of the dense "
            "network"
        )
    return [f"{sizes}.", *map(_time, BATCHES, outcome.times), *(_slower(outcome) if best != dense else [])]


def _slower(outcome: Outcome) -> list[str]:
    """Warn if the whole interval shows the choice slower than the dense network, for one image or for a batch."""
    slow = [
        "one image" if images == 1 else f"{images} images"
        for images, times in zip(BATCHES, outcome.times, strict=False)
        if times.share.low > 1
    ]
    if not slow:
        return []
    advice = "" if outcome.minimize == "latency" else "; --minimize latency searches for the fastest chain"
    return [f"The choice is slower than the dense network, for {' and for '.join(slow)}{advice}."]


def _time(images: int, times: Compared) -> str:
    median, low, high = (f"{POINTS * value:.0f}" for value in times.share)
    what = "An image takes" if images == 1 else f"{images} images take"
    return (
        f"{what} {times.second.median:.3g} ms on one thread, and {times.first.median:.3g} ms with the dense network: "
        f"{median} % (95 % interval {low} to {high} %)."
    )


def _by_accuracy(outcome: Outcome, place: int, test: Tested) -> list[str]:
    return [
        f"By accuracy alone the choice would be: {outcome.chains[place]}.",
        f"{_on_validation(outcome, place)} On test images: {_reason(test.gates)}",
    ]


def _with_bound(row: Mapping[str, Any], name: str) -> str:
    return f"{points(row[name])}, at most {points(row[f'{name}_upper'])}"
