"""The report's section on a search for the smallest network in which no class loses more than a limit."""

from analysis.common.points import points
from analysis.rendering import chain_front, chain_table
from analysis.rendering.page import Items, Section, pictures
from analysis.runs.chain_searches import ChainTrials
from analysis.statistics.limits import Limits
from analysis.statistics.pareto import Choice, choose, on_front, shown
from analysis.study.study import StudyData

_CHAINS = (
    "The command pruning-study compress tried chains of pruning, fine-tuning, class offsets and number formats "
    "on validation images. Losses are since the dense network, in points; the number after each loss is its upper "
    "bound at 95 % confidence. The table has the chains on the Pareto front of the minimized quantity and the worst "
    "class's bound. It also has the chosen or nearest chain, and the choice by accuracy alone. Chains within the "
    "limits come first."
)


def section(study: StudyData, number: int) -> Section:
    """Return the section on one of the study's searches; the first is number 1."""
    search = study.chain_searches[number - 1]
    limits = Limits(search.max_class_loss, search.max_accuracy_loss)
    choice, front = choose(search.trials, limits), on_front(search.trials)
    picture = chain_front.front(search, front, choice.best, choice.by_accuracy)
    drawn = pictures({f"chains_{number}": picture})
    table = chain_table.table(shown(search.trials, choice, limits), search.minimize)
    return Section(f"The smallest network: {search.name}", [_CHAINS, Items(_sentences(search, choice)), table, *drawn])


def _sentences(search: ChainTrials, choice: Choice) -> list[str]:
    of_class, of_accuracy = (100 * limit for limit in (search.max_class_loss, search.max_accuracy_loss))
    limits = f"{of_class:g} points of any class and {of_accuracy:g} of the accuracy"
    if choice.best is None:
        nearest = _chain(search, choice.nearest)
        chosen = f"None of {len(search.trials)} chains keeps to the limits, {limits}. The nearest is {nearest}."
    else:
        chosen = (
            f"Of {len(search.trials)} chains, the best within the limits, {limits}, is {_chain(search, choice.best)}."
        )
    if choice.by_accuracy is None:
        return [chosen, "No chain keeps to the limit of the accuracy either."]
    if choice.by_accuracy == choice.best:
        return [chosen, "By accuracy alone the choice would be the same."]
    return [chosen, f"By accuracy alone the choice would be {_chain(search, choice.by_accuracy)}."]


def _chain(search: ChainTrials, place: int) -> str:
    row = search.trials.loc[place]
    loss, bound = (points(row[name]) for name in ("class_loss", "class_loss_upper"))
    return f"{row['chain']} (worst class {row['worst_class']}: {loss} points, at most {bound})"
