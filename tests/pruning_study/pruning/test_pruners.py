import importlib
import sys
import textwrap

import pytest
import torch
from torch import tensor

from analysis.common.errors import StudyError
from pruning_study.pruning import masks, pruners, scores
from pruning_study.pruning.pruners import PRUNERS
from tests.error_lines import refused


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("mp", set()),
        ("none", set()),
        ("l1-unstructured", set()),
        ("global-unstructured", set()),
        ("random-unstructured", {"generator"}),
        ("l2-structured", set()),
        ("random-structured", {"generator"}),
        ("chip", {"maps"}),
        ("l1-filter", set()),
        ("fairgrape", {"class_grads"}),
        ("gp", {"grad"}),
        ("rp", {"generator"}),
        ("up", {"grad", "epsilon", "penalty_grad"}),
        ("up-signed", {"grad", "epsilon", "penalty_grad"}),
        ("up-sum", {"grad", "epsilon", "penalty_grad"}),
    ],
)
def test_needs(name, needed):
    assert PRUNERS[name].needs == needed


def test_records():
    assert all(record.name == name for name, record in PRUNERS.items())
    by_layer = {name: record.unit for name, record in PRUNERS.items() if record.scope == "layer"}
    assert by_layer == {
        "l1-unstructured": "weight",
        "random-unstructured": "weight",
        "l1-structured": "channel",
        "l2-structured": "channel",
        "linf-structured": "channel",
        "random-structured": "channel",
        "fairgrape": "weight",
        "chip": "filter",
        "l1-filter": "filter",
    }
    assert [name for name, record in PRUNERS.items() if record.ordinal] == ["fairgrape"]
    assert [name for name, record in PRUNERS.items() if not record.prunes] == ["none"]
    signed = {name for name, record in PRUNERS.items() if record.choose is masks.signed_quantile}
    assert signed == {"up-signed"}
    assert PRUNERS["up"].score is scores.undecayed


class TestScope:
    layers = (tensor([1.0, 4.0, 2.0, 3.0]), tensor([[9.0, 8.0], [7.0, 6.0], [9.0, 5.0]]))

    def kept(self, name, k, scope=None):
        return [mask.int().tolist() for mask in PRUNERS[name].masks(self.layers, k, scope=scope)]

    def test_global_compares_all_layers(self):
        assert self.kept("mp", 4) == self.kept("mp", 4, "global") == [[0, 0, 0, 0], [[1, 1], [1, 0], [1, 0]]]

    def test_layer_keeps_the_same_share_of_every_layer(self):
        """Five of ten weights: two of four, three of six."""
        assert self.kept("mp", 5, "layer") == [[0, 1, 0, 1], [[1, 1], [0, 0], [1, 0]]]

    def test_layer_gives_ties_to_the_lower_index(self):
        """Two of ten: 0.8 of four and 1.2 of six are each rounded to one, of two scores of 9."""
        assert self.kept("mp", 2, "layer") == [[0, 1, 0, 0], [[1, 0], [0, 0], [0, 0]]]

    def test_a_signed_quantile_is_taken_in_each_layer(self):
        """Half of each layer: tau is the median, 0.5 of -3, -1, 2, 5 and -4 of the negative layer, which keeps all."""
        layers = [tensor([-3.0, -1.0, 2.0, 5.0]), tensor([-5.0, -4.0, -4.0, -1.0])]
        chosen = PRUNERS["up-signed"].masks(layers, 4, scope="layer")
        assert [mask.tolist() for mask in chosen] == [[True, True, True, True], [True, True, True, True]]
        layers[0][1] = 0.25
        chosen = PRUNERS["up-signed"].masks(layers, 4, scope="layer")
        assert [mask.tolist() for mask in chosen] == [[True, False, True, True], [True, True, True, True]]

    def test_layer_chooses_among_the_weights_that_are_left(self):
        """Four of ten: 1.6 of four and 2.4 of six are two each; the first layer has only one left."""
        left = [tensor([True, False, False, False]), tensor([[True, False], [True, True], [False, True]])]
        chosen = PRUNERS["mp"].masks(self.layers, 4, left, scope="layer")
        assert [mask.int().tolist() for mask in chosen] == [[1, 0, 0, 0], [[1, 0], [1, 0], [0, 0]]]

    @pytest.mark.parametrize("name", ["mp", "l1-unstructured"])
    def test_numbers_of_each_layer_are_kept_as_they_are(self, name):
        assert self.kept(name, (1, 4)) == [[0, 1, 0, 0], [[1, 1], [1, 0], [1, 0]]]

    @pytest.mark.parametrize("name", ["mp", "up-signed"])
    def test_a_layer_without_weights_left_stays_empty(self, name):
        left = [torch.zeros(4, dtype=torch.bool), torch.ones(3, 2, dtype=torch.bool)]
        chosen = PRUNERS[name].masks(self.layers, 5, left, scope="layer")
        assert [int(mask.sum()) for mask in chosen] == [0, 3]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of scores in a folder that is the current one."""
    source = """
        import functools
        import torch
        def score(theta, grad):
            return theta.abs().sqrt() * grad.abs()
        @torch.no_grad()
        def decorated(theta, generator):
            return theta
        def powered(theta, power):
            return theta.abs() ** power
        def weights(w):
            return w
        square = functools.partial(powered, power=2)
        def make(power):
            return lambda theta: theta.abs() ** power
        def by_position(theta, /):
            return theta
        def preset(theta, epsilon=3.0):
            return theta
        bound = functools.partial(lambda theta, epsilon: theta, epsilon=3.0)
        number = 3
    """
    (tmp_path / "own_scores.py").write_text(textwrap.dedent(source))
    monkeypatch.delitem(sys.modules, "own_scores", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path / "own_scores.py"


@pytest.mark.usefixtures("own")
class TestOwnPruner:
    def test_is_found_in_the_current_folder_by_its_signature(self):
        record = pruners.pruner("own_scores:score")
        assert (record.name, record.needs) == ("own_scores:score", {"grad"})
        assert (record.scope, record.unit, record.choose, record.prunes) == ("global", "weight", masks.exact_k, True)
        assert record.score(tensor([4.0, -9.0]), tensor([1.0, -2.0])).tolist() == [2.0, 6.0]
        assert pruners.pruner("own_scores:decorated").needs == {"generator"}

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("magnitude", r"did you mean mp \(magnitude pruning\)\?"),
            ("upp", "did you mean up"),
            ("own_scores:nothing", "cannot be imported .*AttributeError"),
            ("no_such_module:score", "cannot be imported .*ModuleNotFoundError"),
            (":score", "cannot be imported"),
            ("own_scores:number", "not callable"),
            ("own_scores:powered", "'power': .* theta, grad, epsilon, generator"),
            ("own_scores:square", "'power': .* theta, grad, epsilon, generator"),
            ("own_scores:weights", "'w': .* theta, grad, epsilon, generator"),
            ("own_scores:by_position", "by position only"),
            ("own_scores:preset", "'epsilon'"),
            ("own_scores:bound", "'epsilon'"),
            ("torch:abs", "has no readable signature"),
            ("os:getcwd", "'theta'"),
        ],
    )
    def test_what_is_no_pruner_is_one_line(self, name, message):
        with refused("pruner", message):
            pruners.pruner(name)

    def test_its_digest_changes_with_its_source(self, own):
        before = {name: pruners.pruner(f"own_scores:{name}").digest for name in ("score", "decorated")}
        assert before["score"] == before["decorated"]
        own.write_text(own.read_text() + "# changed\n")
        for name in ("score", "decorated"):
            # The function in memory is still the old one, which must not pass for the new one.
            with pytest.raises(StudyError, match="has changed"):
                pruners.pruner(f"own_scores:{name}")
        del sys.modules["own_scores"]
        importlib.invalidate_caches()
        assert pruners.pruner("own_scores:score").digest != before["score"]

    def test_a_module_that_it_imports_counts_too(self, own):
        own.with_name("powers.py").write_text("power = 1\n")
        own.write_text(own.read_text() + "import powers\n")
        before = pruners.pruner("own_scores:score").digest
        own.with_name("powers.py").write_text("power = 2\n")
        with pytest.raises(StudyError, match="has changed"):
            pruners.pruner("own_scores:score")
        for name in ("own_scores", "powers"):
            del sys.modules[name]
        importlib.invalidate_caches()
        assert pruners.pruner("own_scores:score").digest != before

    def test_the_module_that_is_named_counts_too(self, own):
        """A module may make the score by a function of another module, with numbers of its own."""
        made = own.with_name("made_scores.py")
        digests = []
        for power in (1, 2):
            made.write_text(f"from own_scores import make\nscore = make({power})\n")
            sys.modules.pop("made_scores", None)
            importlib.invalidate_caches()
            digests.append(pruners.pruner("made_scores:score").digest)
        assert digests[0] != digests[1]

    def test_the_projects_own_have_no_digest(self):
        assert {pruner.digest for pruner in PRUNERS.values()} == {None}

    def test_what_is_known_without_an_import(self):
        pruners.check_name("no_such_module:score")
        assert (pruners.prunes("no_such_module:score"), pruners.own_scope("no_such_module:score")) == (True, "global")
        assert [pruners.prunes(name) for name in ("none", "mp")] == [False, True]
