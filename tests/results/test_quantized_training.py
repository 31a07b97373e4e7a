"""The tables of quantized-training/, on networks whose losses are known by hand."""

import os
import subprocess
import sys

import numpy as np
import pytest
import quantized_training as study
import rebuild
import torch

import pruning_study
from analysis.common.errors import StudyError
from tests.samples import first_images

IMAGES, NETWORKS = 40, 3
LABEL = np.repeat(np.arange(10), IMAGES)


def right(*, lost=0, cls=0, more=(0, 0, 0)):
    """Networks that get all images right but `lost`, and `more` of each network, of one class."""
    answers = np.ones((NETWORKS, len(LABEL)), bool)
    for network, extra in enumerate(more):
        answers[network, IMAGES * cls : IMAGES * cls + lost + extra] = False
    return answers


@pytest.fixture
def answers():
    found = {study.DENSE: right(), study.CONTROL: right()}
    return found | {
        "while 4": right(lost=8, cls=3, more=(1, 2, 3)),
        "after 4": right(lost=8, cls=3),
        "while 8": right(lost=2, cls=5),
        "after 8": right(lost=2, cls=5, more=(0, 1, 2)),
    }


def test_the_largest_excess_loss_is_of_the_class_less_the_accuracy(answers):
    # 8 of 40 images of a class are 20 points, and of all 400 images 2.
    assert study.largest_excess(LABEL, answers, "after 4") == pytest.approx([18, 18, 18])
    assert study.largest_excess(LABEL, answers, study.CONTROL) == pytest.approx([0, 0, 0])


def test_while_training_is_compared_with_after_training_network_by_network(answers):
    both = study.comparisons(LABEL, answers)
    table = both[both["against"].eq("after-training")].set_index(["outcome", "bits"])
    # An image more is 2.5 points of the class and .25 of the accuracy.
    assert table["difference"]["largest_excess"].tolist() == pytest.approx([2 * 2.25, -2.25])
    assert table["difference"]["accuracy"].tolist() == pytest.approx([-0.5, 0.25])
    assert table["n"].tolist() == [NETWORKS] * 4
    p, p_holm = table["p"]["largest_excess"], table["p_holm"]["largest_excess"]
    # The first differences are 1, 2, 3 times 2.25: t is 2 * 3**.5; the second 0, -1, -2: t is -(3**.5).
    assert table["statistic"]["largest_excess"].tolist() == pytest.approx([2 * 3**0.5, -(3**0.5)])
    assert p_holm.tolist() == pytest.approx([2 * p[4], max(2 * p[4], p[8])])
    assert table["p_holm"]["accuracy"].isna().all()
    control = both[both["against"].eq("control")].set_index(["outcome", "bits"])
    assert control["difference"]["largest_excess"].tolist() == pytest.approx([18 + 2 * 2.25, 4.5])
    assert control["p_holm"].isna().all()


def test_the_summary_has_the_accuracy_of_all_networks(answers):
    table = study.summary(LABEL, answers).set_index("name")
    assert table["accuracy"]["control"] == 100
    assert table["accuracy"]["while 4"] == pytest.approx(100 - 2.5)
    assert table["largest_excess"]["while 4"] == pytest.approx(18 + 4.5)
    assert table["floor"]["control"] == 0


def test_the_losses_of_classes_are_against_the_control_and_after_training(answers):
    table = study.class_table(LABEL, answers, study.CIFAR10)
    losses = {pair: own["loss"].tolist() for pair, own in table.groupby(["name", "against"])}
    assert losses["while 4", "control"] == pytest.approx([25 if index == 3 else 0 for index in range(10)])
    assert losses["while 4", "after 4"] == pytest.approx([5 if index == 3 else 0 for index in range(10)])
    assert losses["while 8", "after 8"] == pytest.approx([-2.5 if index == 5 else 0 for index in range(10)])
    assert len(table) == 60


def test_the_cost_of_a_class_is_its_loss_less_that_of_the_accuracy(answers):
    table = study.class_costs(LABEL, answers, study.CIFAR10).set_index(["name", "against"])
    # 8 of 40 images of a class, and 1, 2 and 3 more, are 25 points on average, and of all 400 images 2.5.
    row = table.loc["while 4", "control"]
    assert row[["class", "n"]].tolist() == ["cat", NETWORKS]
    assert row[["loss", "accuracy_loss", "cost"]].tolist() == pytest.approx([0.25, 0.025, 0.225])
    assert table.loc[("while 4", "after 4"), "cost"] == pytest.approx(0.045)
    assert table.loc[("after 8", "while 8"), ["class", "loss"]].tolist() == ["dog", pytest.approx(0.025)]


def test_a_folder_without_answers_is_left_alone(tmp_path):
    (tmp_path / study.LENET5).mkdir()
    study.write(tmp_path)
    assert not list((tmp_path / study.LENET5).iterdir())


@pytest.mark.parametrize("name", [study.LENET5, study.RESNET20])
def test_all_files_are_written_from_the_answers_alone(answers, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    packed = {name: np.packbits(own, axis=1) for name, own in answers.items()}
    changes = {name: own ^ packed[study.DENSE] for name, own in packed.items() if name != study.DENSE}
    np.savez_compressed(folder / study.ANSWERS, label=LABEL, dense=packed[study.DENSE], **changes)
    label, read = study.read(folder)
    assert (label == LABEL).all()
    assert all((read[name] == own).all() for name, own in answers.items())
    study.write(tmp_path)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    tables = {"networks.csv", "summary.csv", "comparisons.csv", "class_losses.csv", "class_costs.csv"}
    assert names == {study.ANSWERS, *tables, "figures/classes.png"}


@pytest.mark.slow
def test_tables_and_pictures_are_made_without_torch():
    code = f"import sys; sys.path.insert(0, {str(rebuild.RESULTS)!r}); import rebuild; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_controls_rounded_here_are_networks_that_were_quantized_after_training(run_command, store_uri, tmp_path):
    np.savez(tmp_path / "small.npz", **first_images(train=60))
    np.savez(tmp_path / "other.npz", **first_images(train=60, test=1))
    quick = ("--dataset", "small.npz", "--pruner", "none", "--epochs", 2, "--fine-tune-epochs", 2, "--batch-size", 32)

    def make(*options):
        result = run_command("prune", *quick, *options)
        assert result.exit_code == 0, result.output

    def collected(name, **data):
        (tmp_path / name).mkdir()
        study.collect(tmp_path / name, os.environ["MLFLOW_EXPERIMENT_NAME"], store_uri, **data)
        return study.read(tmp_path / name)

    for options in ((), *(("--weight-bits", bits) for bits in study.BITS)):
        make(*options)
    with pytest.raises(StudyError, match=r"other\.npz: its test images are not those"):
        collected("other", data=tmp_path / "other.npz")
    label, rounded = collected("rounded", data=tmp_path / "small.npz")
    for bits in study.BITS:
        make("--weight-bits", bits, "--quantization", "after-training")
    same_label, stored = collected("stored")
    assert np.array_equal(label, same_label)
    assert rounded.keys() - {study.ANEW} == stored.keys() >= set(study.QUANTIZED)
    assert np.array_equal(rounded[study.ANEW], stored["after 4"])  # LeNet5 has no BatchNorm
    for name, answers in stored.items():
        assert np.array_equal(rounded[name], answers), name
    assert not np.array_equal(stored["after 4"], stored["control"])


def test_new_statistics_of_batchnorm_are_the_means_over_batches(monkeypatch):
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (256, 6, 6, 1), dtype=np.uint8)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.last = torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(32, 3)

        def forward(self, pixels):
            return self.last(self.norm(self.conv(pixels / 255)).flatten(1))

    network = Network().eval()
    monkeypatch.setattr(pruning_study, "load_model", lambda run_id: network)
    study.rounded_afterwards(["a run"], images, 4, images)
    values = network.conv(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).transpose(0, 1).unflatten(1, (2, 128))
    torch.testing.assert_close(network.norm.running_mean, values.mean((2, 3, 4)).mean(1))
    torch.testing.assert_close(network.norm.running_var, values.permute(0, 1, 3, 4, 2).flatten(2).var(2).mean(1))
    assert not network.training
