import pytest

from pruning_study.data.examples import Normalization
from pruning_study.options.config import PruneConfig
from pruning_study.steps.context import JobContext
from pruning_study.tracking.store import Store
from tests.plans import planned


@pytest.fixture
def setting(tiny_npz):
    return planned(PruneConfig(dataset=str(tiny_npz), ratio="2"))


def test_normalisation_is_that_of_the_training_split(setting):
    pixels = setting.context.data.train_images[setting.context.train_indices] / 255
    (mean,), (std,) = setting.context.normalization
    assert (mean, std) == pytest.approx((pixels.mean(), pixels.std()))
    assert float(setting.context.train.images.mean()) == pytest.approx(0, abs=1e-5)


def test_normalised_in_another_way_it_is_another_context(setting):
    _ = setting.context.train
    context = setting.context
    other = context.normalized_as(Normalization([0.0], [1.0]))
    assert float(other.train.images.max()) == 1.0
    assert float(setting.context.train.images.mean()) == pytest.approx(0, abs=1e-5)
    assert other.model is context.model
    assert other.normalized_as(Normalization([0.0], [1.0])) is other
    assert context.normalized_as(context.normalization) is context
    assert context.normalized_as(Normalization([0.0], [1.0])).train is other.train


def test_images_stay_in_memory_in_the_two_normalisations_that_were_used_last(setting):
    first, second, third = (setting.context.normalized_as(Normalization([mean], [1.0])) for mean in (0.0, 0.1, 0.2))
    images = first.images, second.images
    assert (first.images, second.images) == images
    _ = third.images
    assert second.images is images[1]
    assert first.images is not images[0]


def test_at_another_point_data_and_model_are_shared(setting):
    other = setting.at(epsilon=0.5, distill=0.25)
    assert (other.plan.epsilon, other.plan.options.distill) == (0.5, 0.25)
    assert (setting.plan.epsilon, setting.plan.options.distill) == (5e-4, 0.0)
    assert other.context.data is setting.context.data
    assert other.context.model is setting.context.model
    assert other.context.train is setting.context.train


def test_the_context_of_a_job_shares_what_is_in_memory(setting):
    store = Store(None, "sqlite:///of-nothing.db", "1")
    job = JobContext(setting.context, store, "7")
    assert job.train is setting.context.train
    assert job.early_networks is setting.context.early_networks
    setting.context.forget_images()
    images = job.images
    assert setting.context.images is images


def test_normalised_in_another_way_the_context_of_a_job_keeps_its_job(setting):
    store = Store(None, "sqlite:///of-nothing.db", "1")
    other = JobContext(setting.context, store, "7").normalized_as(Normalization([0.0], [1.0]))
    assert (other.store, other.job_run_id, other.normalization) == (store, "7", Normalization([0.0], [1.0]))
