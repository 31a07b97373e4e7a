import copy
import math
import os
import stat

import pytest
import torch
from torch import nn

from analysis.common.errors import StudyError
from pruning_study.models import checkpoints
from pruning_study.training.resumption import TrainingFile, TrainingState, load, save, zeros

MAKER = "torch on cpu from 0123"


def network(value, outputs=2):
    model = nn.Sequential(nn.Linear(3, outputs), nn.BatchNorm1d(outputs))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def some_state(model):
    mask = torch.tensor([[True, False, True], [False, True, True]])
    state = TrainingState(
        history=[{"val_loss": 0.1}, {"val_loss": 1 / 3}],
        seconds=2.5,
        velocity={name: tensor + 0.25 for name, tensor in zeros(model).items()},
        squares={name: tensor + 0.125 for name, tensor in zeros(model).items()},
        steps={name: torch.tensor(6.0) for name in zeros(model)},
        masks={"0.weight": mask},
        withheld={"0.weight": torch.where(mask, 0.0, 7.0)},
        weighting={"duals": torch.tensor([0.5, 0.25]), "steps": torch.tensor(3)},
    )
    state.keep_if_best(1, 0.1, model)
    state.add_to_sum(model)
    state.add_to_sum(model)
    return state


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "training.safetensors"


@pytest.fixture
def saved(path):
    """The file of a training whose weights are 5, saved with its generators at seeds 11 and 12."""
    model = network(5.0)
    with torch.random.fork_rng():
        torch.manual_seed(12)
        save(path, MAKER, some_state(model), model, torch.Generator().manual_seed(11))
    return path


class TestFile:
    def test_gives_back_state_weights_and_generators(self, saved):
        model, order, wanted = network(0.0), torch.Generator().manual_seed(0), some_state(network(5.0))
        with torch.random.fork_rng():
            state = load(saved, MAKER, model, order)
            draws = torch.rand(2, generator=order).tolist(), torch.rand(2).tolist()
        assert (state.history, state.seconds) == ([{"val_loss": 0.1}, {"val_loss": 1 / 3}], 2.5)
        assert (state.best_loss, state.best_epoch) == (0.1, 1)
        for given, tensors in (
            (state.best_weights, wanted.best_weights),
            (state.velocity, wanted.velocity),
            (state.squares, wanted.squares),
            (state.steps, wanted.steps),
            (state.masks, wanted.masks),
            (state.withheld, wanted.withheld),
            (state.weighting, wanted.weighting),
            (state.summed, {name: torch.full_like(t, 10.0, dtype=torch.float64) for name, t in zeros(model).items()}),
            (model.state_dict(), network(5.0).state_dict()),
        ):
            torch.testing.assert_close(given, dict(tensors), rtol=0, atol=0)
        seeded = [torch.rand(2, generator=torch.Generator().manual_seed(seed)).tolist() for seed in (11, 12)]
        assert list(draws) == seeded

    def test_a_loss_without_a_best_epoch_yet_stays_infinite(self, path):
        model = network(1.0)
        save(path, MAKER, TrainingState(velocity=zeros(model)), model, torch.Generator())
        state = load(path, MAKER, model, torch.Generator())
        assert (state.best_loss, state.best_epoch, state.best_weights) == (math.inf, 0, {})

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ("half", r"training\.safetensors.* complete"),
            ("empty", r"training\.safetensors.* complete"),
            ("maker", "saved by torch on cpu from 0123, .* uses native"),
            ("numbers", "unknown"),
            ("another file", "saved by None"),
        ],
    )
    def test_that_cannot_be_used_changes_nothing(self, saved, fault, message):
        tensors, metadata = checkpoints.load(saved)
        if fault in ("half", "empty"):
            content = saved.read_bytes()
            saved.write_bytes(content[: len(content) // 2] if fault == "half" else b"")
        elif fault == "numbers":
            checkpoints.save(saved, tensors, metadata | {"progress": '{"unknown": 1}'})
        elif fault == "another file":
            checkpoints.save(saved, {"0.weight": torch.zeros(2, 3)})
        model = network(0.0)
        before, order = copy.deepcopy(model.state_dict()), torch.Generator().manual_seed(0)
        states = order.get_state(), torch.get_rng_state()
        with pytest.raises((StudyError, RuntimeError, TypeError), match=message):
            load(saved, "native" if fault == "maker" else MAKER, model, order)
        torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
        assert torch.equal(order.get_state(), states[0])
        assert torch.equal(torch.get_rng_state(), states[1])


class TestTrainingFile:
    def test_half_written_does_not_hide_the_whole_one(self, saved, caplog):
        """A kill in the middle of a saving leaves the last whole file, which the next saving replaces."""
        aside = saved.with_suffix(".saving")
        aside.write_bytes(saved.read_bytes()[:500])
        model, file = network(0.0), TrainingFile(saved, MAKER, 0)
        with torch.random.fork_rng(), caplog.at_level("INFO"):
            state = file.resume(model, torch.Generator())
        assert "continues after epoch 2" in caplog.text
        state.history.append({"val_loss": 0.5})
        file.save_if_due(state, model, torch.Generator())
        with torch.random.fork_rng():
            assert len(load(saved, MAKER, model, torch.Generator()).history) == 3
        assert [path.name for path in saved.parent.iterdir()] == [saved.name]

    def test_damaged_is_one_warning_and_no_state(self, saved, caplog):
        saved.write_bytes(b"{")
        assert TrainingFile(saved, MAKER, 0).resume(network(0.0), torch.Generator()) is None
        assert len(caplog.messages) == 1
        assert "starts anew" in caplog.messages[0]

    def test_is_written_only_so_many_seconds_after_the_last_time(self, path):
        model = network(1.0)
        TrainingFile(path, MAKER, 60).save_if_due(TrainingState(), model, torch.Generator())
        assert not path.exists()
        TrainingFile(path, MAKER, 0).save_if_due(TrainingState(), model, torch.Generator())
        assert path.is_file()

    def test_without_a_path_is_neither_read_nor_written(self, caplog):
        file = TrainingFile(None, MAKER, 0)
        file.save_if_due(TrainingState(), network(1.0), torch.Generator())
        assert file.resume(network(1.0), torch.Generator()) is None
        assert not caplog.messages


@pytest.mark.attack
def test_a_symbolic_link_in_place_of_the_file_of_a_training__is_replaced_and_not_written_through(path, tmp_path):
    thesis = tmp_path / "thesis"
    thesis.write_text("months of work")
    path.parent.mkdir()
    path.symlink_to(thesis)
    model = network(5.0)
    save(path, MAKER, some_state(model), model, torch.Generator())
    assert thesis.read_text() == "months of work"
    assert not path.is_symlink()
    with torch.random.fork_rng():
        assert len(load(path, MAKER, model, torch.Generator()).history) == 2


@pytest.mark.attack
def test_a_umask_that_lets_everybody_write__leaves_a_saved_training_that_only_its_user_can_write(path):
    umask, model = os.umask(0), network(5.0)
    try:
        save(path, MAKER, some_state(model), model, torch.Generator())
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
    with torch.random.fork_rng():
        assert len(load(path, MAKER, model, torch.Generator()).history) == 2


def test_the_first_of_equally_low_losses_is_kept_as_a_copy():
    model, state = network(1.0), TrainingState()
    for epoch, loss in enumerate((0.5, 0.2, 0.2, math.nan, 0.3), start=1):
        state.keep_if_best(epoch, loss, model)
        with torch.no_grad():
            model[0].weight.add_(1)
    assert (state.best_epoch, state.best_loss) == (2, 0.2)
    assert state.best_weights["0.weight"].unique().tolist() == [2.0]
