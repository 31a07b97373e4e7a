import copy
import logging
import math

import pytest
import torch
from torch import nn

from pruning_study import models
from pruning_study.data.examples import Examples
from pruning_study.steps import engine_choice
from pruning_study.training import engines
from pruning_study.training.distillation import Distillation
from pruning_study.training.native import compiler, stack
from pruning_study.training.optimizer import Optimizer
from tests.pruning_study.training.native import made_up_compiler

SHAPE = (1, 28, 28)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine_choice.say_once.cache_clear()


@pytest.fixture
def lenet5():
    return models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))


def choose(model, name=None, device="cpu"):
    return engine_choice.choose(name, model, SHAPE, device=device)


def reasons(caplog):
    """What is said of the choice, without the line that a library is compiled."""
    return [record.message for record in caplog.records if record.name == engine_choice.__name__]


def test_torch_is_used_where_it_is_asked_for(lenet5, caplog):
    assert choose(lenet5, "torch") is engines.TORCH
    assert not caplog.records


def test_where_native_cannot_be_used_torch_is_and_one_line_says_why(lenet5, caplog):
    assert choose(lenet5, "native", device="cuda") is choose(lenet5, "native", device="cuda") is engines.TORCH
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "not on cuda" in caplog.messages[0]


def test_on_a_gpu_torch_is_used_without_a_line(lenet5, caplog):
    assert choose(lenet5, device="cuda") is engines.TORCH
    assert not caplog.records


@pytest.mark.attack
def test_a_network_that_the_native_engine_cannot_train__gives_one_line(caplog):
    """Without --engine native nothing is said, because nothing can be done."""
    model = models.build("wrn16-4", num_classes=10, in_channels=1, image_size=(28, 28))
    assert choose(model) is engines.TORCH
    assert not caplog.messages
    assert choose(model, "native") is engines.TORCH
    (line,) = caplog.messages
    assert "not native: WideResNet is no nn.Sequential and has no method `stack`" in line


def test_adam_is_trained_by_torch_without_a_line(lenet5, caplog):
    assert engine_choice.choose(None, lenet5, SHAPE, device="cpu", optimizer="adam") is engines.TORCH
    assert not caplog.records


@pytest.mark.parametrize("name", [None, "torch"])
def test_bf16_is_trained_by_torch_without_a_line(lenet5, caplog, name):
    assert engine_choice.choose(name, lenet5, SHAPE, device="cpu", precision="bf16") is engines.TORCH_BF16
    assert not caplog.records


@pytest.mark.attack
@pytest.mark.parametrize(
    ("cxx", "reason"),
    [
        ("g++ '", "$CXX is not a command: No closing quotation"),
        ("no-such-compiler", "there is no compiler no-such-compiler"),
        ("false", "the compiler false fails: no message"),
        ("cat /proc/self/comm", "the compiler cat fails"),
        ("true", "does not load"),
    ],
)
def test_a_compiler_that_is_missing_or_broken__gives_one_line_and_torch_trains(
    lenet5, caplog, monkeypatch, tmp_path, cxx, reason
):
    monkeypatch.setenv("CXX", cxx)
    if cxx == "true":  # says that it compiled, and wrote nothing
        reason = f"its library cannot be written to {tmp_path / 'pruning-study'}: No such file or directory"
    assert choose(lenet5) is engines.TORCH
    assert reason in caplog.text
    (line,) = reasons(caplog)
    assert "\n" not in line


@pytest.mark.attack
@pytest.mark.parametrize(("ends", "runs"), [("exit 1", 1), ("exit 0", 2)])
def test_a_broken_compiler_and_many_runs__is_started_for_the_first_run_only(
    lenet5, caplog, monkeypatch, tmp_path, ends, runs
):
    script, log = tmp_path / "compiler", tmp_path / "log"
    script.write_text(f"#!/bin/sh\necho run >> {log}\n{ends}\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    assert choose(lenet5) is choose(lenet5) is engines.TORCH
    assert log.read_text().split() == ["run"] * runs
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert choose(lenet5) is engines.TORCH
    assert len(reasons(caplog)) == 2


@pytest.mark.attack
def test_a_machine_without_a_compiler__gives_one_line_and_torch_trains(lenet5, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert choose(lenet5, "native") is engines.TORCH
    assert len(caplog.messages) == 1
    assert "no C++ compiler (Debian: g++)" in caplog.text


@pytest.mark.attack
def test_a_cache_that_cannot_be_written__gives_one_line_and_torch_trains(lenet5, caplog, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("CXX", "echo")
    assert choose(lenet5) is engines.TORCH
    assert "there is no cache for its library" in caplog.text
    assert len(caplog.messages) == 1


def test_another_cpu_has_another_library_and_one_without_avx2_has_none(lenet5, caplog, monkeypatch, tmp_path):
    paths = []
    monkeypatch.setattr(compiler, "compile_library", lambda command, source, path: paths.append(path))
    monkeypatch.setenv("CXX", "echo")
    for name, flags in (("one", "avx2 fma"), ("other", "avx2 fma"), ("other", "avx2 fma avx512f")):
        (tmp_path / "cpuinfo").write_text(f"model name : {name}\nflags : {flags}\n")
        monkeypatch.setattr(compiler, "CPU", tmp_path / "cpuinfo")
        paths.append(compiler.library("Network<>"))
    assert paths[0::2] == paths[1::2]
    assert len(set(paths)) == 3
    (tmp_path / "cpuinfo").write_text("model name : old\nflags : sse2 avx\n")
    assert choose(lenet5) is engines.TORCH
    assert "it needs a CPU with AVX-512 or AVX2" in caplog.text


@pytest.mark.attack
def test_a_compiler_whose_library_does_not_load__is_tried_twice_and_then_torch_trains_with_one_warning(
    lenet5, caplog, monkeypatch, tmp_path
):
    command, log = made_up_compiler.write(tmp_path)
    monkeypatch.setenv("CXX", command)
    assert choose(lenet5) is choose(lenet5) is engines.TORCH
    (line,) = reasons(caplog)
    assert "does not load, even after it was compiled again" in line
    assert len(log.read_text().splitlines()) == 2


@pytest.fixture
def linear():
    """A model whose library is compiled quickly."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 2))


@pytest.mark.compiler
@pytest.mark.attack
def test_a_library_in_the_cache_that_does_not_load__is_compiled_anew(linear, caplog):
    path = compiler.library(stack.read(linear, SHAPE).network)
    whole = path.read_bytes()
    path.write_bytes(whole[:18] + b"\xf3\0" + whole[20:])  # for RISC-V
    assert choose(linear).name == "native"
    assert not reasons(caplog)
    assert path.read_bytes()[:20] == whole[:20]


@pytest.mark.compiler
@pytest.mark.attack
def test_code_that_another_user_planted_in_a_cache_open_to_all__is_not_run(linear, caplog, tmp_path):
    (tmp_path / "planted.cpp").write_text(f"""
#include <fstream>
__attribute__((constructor)) static void run() {{ std::ofstream("{tmp_path}/run") << "it runs"; }}
""")
    path = compiler.library(stack.read(linear, SHAPE).network)
    planted = compiler.library("Network<>", tmp_path / "planted.cpp")
    planted.replace(path)
    path.parent.chmod(0o777)
    assert choose(linear) is engines.TORCH
    assert "other users can write to its cache" in caplog.text
    assert not (tmp_path / "run").exists()


@pytest.mark.compiler
def test_native_is_the_default(lenet5, caplog):
    assert choose(lenet5).name == choose(lenet5, "native").name == "native"
    assert not reasons(caplog)


@pytest.mark.compiler
def test_a_library_is_asked_for_once(lenet5, monkeypatch):
    assert choose(lenet5).name == "native"
    monkeypatch.setattr(compiler, "library", None)
    assert choose(lenet5).name == "native"


def test_the_torch_engines_identity_has_its_threads(monkeypatch):
    identities = set()
    for threads in (1, 2, 1):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        identities.add(engines.TORCH.identity)
    assert len(identities) == 2


def test_the_identity_has_the_precision_where_it_is_not_float32():
    threads = f"on threads: {torch.get_num_threads()}"
    assert engines.TORCH.identity == f"torch {threads}"
    assert engines.TORCH_BF16.identity == f"torch in bf16 {threads}"


def step(trainer, model, image, **more):
    """Train a model for a step on an image of class 1, and return the loss, the logits and the velocity."""
    velocity = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    seen = []
    hook = model.register_forward_hook(lambda module, images, logits: seen.append(logits.detach().tolist()))
    optimizer = Optimizer(2**-10, 0.5, 0.0, velocity)
    examples = Examples(torch.tensor(image), torch.tensor([1]))
    loss = trainer.train_epoch(model, engines.Steps(examples, [torch.tensor([0])], optimizer, **{"masks": {}, **more}))
    hook.remove()
    return loss, seen[0], velocity


def linear_of(weight):
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(weight))
    return model


# 8 binary digits: 257 is rounded to 256, 1 + 2**-8 to 1, and of the sums 256 + 3 to 260 and 128 - 3 stays.
WEIGHT, IMAGE = [[1 + 2**-8, 1.0], [0.5, -1.0]], [[257.0, 3.0]]


@pytest.mark.parametrize(
    ("trainer", "logits", "loss", "pixel"),
    [
        (engines.TORCH, [261.00390625, 125.5], 135.50390625, 257.0),
        (engines.TORCH_BF16, [260.0, 125.0], 135.0, 256.0),
    ],
    ids=["float32", "bf16"],
)
def test_the_step_of_a_linear_layer_by_hand(trainer, logits, loss, pixel):
    """The image is of the class with the small logit: the gradient is the image for the other class, and minus it."""
    model = linear_of(WEIGHT)
    found_loss, found_logits, velocity = step(trainer, model, IMAGE)
    assert found_logits == [logits]
    assert found_loss == loss
    assert velocity["0.weight"].tolist() == [[pixel, 3.0], [-pixel, -3.0]]
    ahead = 1.5 * 2**-10  # Nesterov: the gradient, and half of the velocity, which is the gradient here
    assert model[0].weight.tolist() == [
        [1 + 2**-8 - ahead * pixel, 1 - ahead * 3],
        [0.5 + ahead * pixel, -1 + ahead * 3],
    ]
    assert model[0].weight.dtype == velocity["0.weight"].dtype == torch.float32


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_torchs_sgd_to_the_last_bit(momentum):
    """The second layer is not used, so it has no gradient: it stays as it is, without weight decay."""

    class Partly(nn.ModuleList):
        def forward(self, images):
            return self[0](images)

    torch.manual_seed(0)
    model = Partly([nn.Linear(5, 3), nn.Linear(2, 2)])
    reference = copy.deepcopy(model)
    velocity = {name: torch.zeros_like(weights) for name, weights in model.named_parameters()}
    examples, batches = Examples(torch.randn(12, 5), torch.arange(12) % 3), torch.arange(12).split(4)
    engines.TORCH.train_epoch(model, engines.Steps(examples, batches, Optimizer(0.1, momentum, 0.01, velocity), {}))
    sgd = torch.optim.SGD(
        reference.parameters(), lr=0.1, momentum=momentum, nesterov=momentum > 0, weight_decay=0.01, fused=True
    )
    for weights in reference.parameters():
        sgd.state[weights]["momentum_buffer"] = torch.zeros_like(weights)
    for batch in batches:
        images, labels = examples.batch(batch)
        nn.functional.cross_entropy(reference(images), labels).backward()
        sgd.step()
        sgd.zero_grad()
    for name, weights in reference.named_parameters():
        assert model.get_parameter(name).equal(weights)
        assert velocity[name].equal(sgd.state[weights]["momentum_buffer"])


def two_images(*, factors=None, outcomes=None, **settings):
    """Train a network of weights 0 for one step on images (1, 0) and (0, 1), of the classes 0 and 1."""
    model = linear_of([[0.0, 0.0], [0.0, 0.0]])
    optimizer = Optimizer(1.0, 0.0, 0.0, {"0.weight": torch.zeros(2, 2)})
    examples = Examples(torch.eye(2), torch.tensor([0, 1]))
    whole = [torch.tensor([1, 0])]
    loss = engines.TORCH.train_epoch(
        model, engines.Steps(examples, whole, optimizer, {}, **settings, factors=factors, outcomes=outcomes)
    )
    return loss, model[0].weight.tolist()


def test_factors_multiply_the_loss_of_each_image():
    """Each image has the loss ln 2, and the gradient (-1/2, 1/2) for its class; half of both for the mean of two."""
    loss, weights = two_images(factors=torch.tensor([3.0, -1.0]))
    assert loss == pytest.approx((3 - 1) / 2 * math.log(2))
    assert weights == [[0.75, 0.25], [-0.75, -0.25]]
    assert two_images()[1] == [[0.25, -0.25], [-0.25, 0.25]]


def test_a_call_after_a_step_sets_the_factors_of_the_next_batch():
    """Each image is a batch, whose gradient is (-1/2, 1/2) for its class; the second is given the factor 2."""
    model, factors, numbers = linear_of([[0.0, 0.0], [0.0, 0.0]]), torch.ones(2), []
    optimizer = Optimizer(1.0, 0.0, 0.0, {"0.weight": torch.zeros(2, 2)})

    def double(number):
        numbers.append((number, model[0].weight.tolist()))
        factors.fill_(2.0)

    batches, train = [torch.tensor([1]), torch.tensor([0])], Examples(torch.eye(2), torch.tensor([0, 1]))
    engines.TORCH.train_epoch(model, engines.Steps(train, batches, optimizer, {}, factors=factors, stepped=double))
    assert numbers == [(0, [[0.0, -0.5], [0.0, 0.5]]), (1, model[0].weight.tolist())]
    assert model[0].weight.tolist() == [[1.0, -0.5], [-1.0, 0.5]]


def test_each_step_has_its_own_learning_rate():
    """Each image is a batch, whose gradient is (-1/2, 1/2) for its class."""
    model, train = linear_of([[0.0, 0.0], [0.0, 0.0]]), Examples(torch.eye(2), torch.tensor([0, 1]))
    optimizer = Optimizer([1.0, 0.25], 0.0, 0.0, {"0.weight": torch.zeros(2, 2)})
    engines.TORCH.train_epoch(model, engines.Steps(train, [torch.tensor([1]), torch.tensor([0])], optimizer, {}))
    assert model[0].weight.tolist() == [[0.125, -0.5], [-0.125, 0.5]]


def test_factors_multiply_the_teachers_part_too():
    """The teacher, sure of the other class, alone counts: gradient (1/2, -1/2)."""
    teacher = Distillation(nn.Identity(), 1.0, 1.0, 100 * torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
    loss, weights = two_images(factors=torch.tensor([3.0, -1.0]), distillation=teacher)
    assert loss == pytest.approx((3 - 1) / 2 * math.log(2))
    assert weights == [[-0.75, -0.25], [0.75, 0.25]]


def test_outcomes_are_of_the_images_seen_whatever_their_factors():
    model = linear_of([[2.0, 0.0], [0.0, -1.0]])
    optimizer = Optimizer(1.0, 0.0, 0.0, {"0.weight": torch.zeros(2, 2)})
    examples = Examples(torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]), torch.tensor([0, 1, 0]))
    outcomes = engines.Outcomes(torch.full((3,), -7.0), torch.ones(3, dtype=torch.bool))
    factors = torch.tensor([9.0, 0.0, 1.0])
    engines.TORCH.train_epoch(
        model, engines.Steps(examples, [torch.tensor([1, 0])], optimizer, {}, None, None, None, factors, outcomes)
    )
    assert outcomes.loss.tolist() == pytest.approx([math.log(1 + math.exp(-2)), math.log(1 + math.e), -7])
    assert outcomes.right.tolist() == [True, False, True]


def test_evaluation_gradient_and_teacher_are_float32_whatever_the_precision():
    model, teacher = linear_of(WEIGHT), linear_of(WEIGHT)
    images, labels = torch.tensor(IMAGE), torch.tensor([1])
    assert engines.TORCH_BF16.logits(model, images).tolist() == [[261.00390625, 125.5]]
    gradient = engines.TORCH_BF16.gradient(model, Examples(images, labels))
    assert gradient["0.weight"].tolist() == [[257.0, 3.0], [-257.0, -3.0]]
    seen = []
    teacher.register_forward_hook(lambda module, images, logits: seen.append(logits.tolist()))
    step(engines.TORCH_BF16, model, IMAGE, distillation=Distillation(teacher, 0.5, 1.0))
    assert seen == [[[261.00390625, 125.5]]]


def test_in_bf16_batchnorm_keeps_float32_statistics_and_pruned_weights_stay_0():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    mask = torch.rand(4, 1, 3, 3) > 0.5
    with torch.no_grad():
        model[0].weight.mul_(mask)
    types = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    step(engines.TORCH_BF16, model, torch.randn(1, 1, 4, 4).tolist(), masks={"0.weight": mask})
    assert {name: tensor.dtype for name, tensor in model.state_dict().items()} == types
    assert types["1.running_mean"] == torch.float32
    assert model[1].running_mean.count_nonzero() == 4
    assert model[0].weight[~mask].count_nonzero() == 0


@pytest.mark.compiler
def test_the_native_engines_identity_is_its_arithmetic_whatever_compiled_it(lenet5, monkeypatch):
    one = choose(lenet5).identity
    assert "arithmetic 2" in one
    monkeypatch.setenv("CXX", "g++ -O1")
    assert one == choose(lenet5).identity


@pytest.mark.compiler
@pytest.mark.attack
def test_a_model_whose_stack_of_layers_is_not_what_it_computes__is_trained_by_torch(caplog):
    class Liar(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(784, 10)

        def forward(self, images):
            return 2 * self.fc(images.flatten(1))

        def stack(self):
            return nn.Sequential(nn.Flatten(), self.fc)

    assert choose(Liar()) is engines.TORCH
    assert "its logits are not those of Liar" in caplog.text
