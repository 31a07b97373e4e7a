"""The table of options: one record for each option of `pruning-study`.

A record has everything about an option: its type, default, check and help, whether a study's file may give it, the
conditions under which it has an effect, and the meaning of its param. The records define the dataclasses of the
commands (`config`), click's options, the sections of the help, the warnings about options without effect, the keys of
studies, and the params that runs log. A check that follows from the type is not named.
"""

import math
from pathlib import Path

from analysis.runs.names import (
    CORRUPTIONS,
    DECAYS,
    NUMBER_FORMATS,
    OPTIMIZERS,
    PROTOCOLS,
    QUANTIZATIONS,
    SEVERITIES,
    SPARSE_SCHEDULES,
)
from analysis.runs.schema import text
from pruning_study.options.record import Prerequisite, option, records, section
from pruning_study.options.values import (
    assignments,
    choice,
    class_fractions,
    duration,
    integer,
    nonempty_text,
    seeds,
    several,
    steps_or_share,
    theta_and_gamma,
    weight_bits,
    within,
)
from pruning_study.pruning.pruners import PRUNERS, checked_name  # noqa: F401  # the help lists the names
from pruning_study.training.recipe_values import RECIPES
from pruning_study.training.regularizers import REGULARIZERS

# The headings of `--help`, in order
HEADINGS = (
    "Search",
    "Images",
    "Number format",
    "Files",
    "Pruning",
    "Fine-tuning and gradual pruning",
    "Data and network",
    "Training",
    "Machine and runs",
)
# The options that `-h` shows, in the order of their use
MAIN_OPTIONS = (
    *("dataset", "model", "image_size", "weights", "seed", "seeds", "epochs", "decay"),
    *("pruner", "ratio", "iterations", "weight_treatment", "schedule", "fine_tune_epochs", "class_offsets", "control"),
    *("objective", "max_class_loss", "max_accuracy_loss", "minimize", "n_trials", "budget", "confirm_seeds"),
    *("number_format", "all", "device", "experiment", "force"),
)
MOST_SHOWN = 15  # a command with at most this many options shows all of them
TRAINED = Prerequisite("with --weights: the network is not trained", lambda config: not config.weights)
TRAINED_OR_FINE_TUNED = Prerequisite(
    TRAINED.otherwise, lambda config: not config.weights or hasattr(config, "fine_tune_epochs")
)
GIVEN_WEIGHTS = Prerequisite("without --weights", lambda config: config.weights)
WEIGHTS_FINE_TUNED = Prerequisite(
    f"{TRAINED.otherwise}, and --fine-tune-epochs is 0",
    lambda config: not config.weights or getattr(config, "fine_tune_epochs", None) != 0,
)
IN_SOME_TRAINING = (TRAINED_OR_FINE_TUNED, WEIGHTS_FINE_TUNED)
# The penalty of decoupled decay depends on the momentum, which therefore changes scores even if nothing is trained.
IN_TRAINING_OR_PENALTY = tuple(
    need.or_if(lambda config: REGULARIZERS[config.regularizer].decoupled > 0) for need in IN_SOME_TRAINING
)
PRUNES = Prerequisite("with --pruner {pruner}, which prunes nothing", lambda config: config.pruner_record.prunes)
TAKES_EPSILON = Prerequisite("with --pruner {pruner}", lambda config: "epsilon" in config.pruner_record.needs)
TAKES_GRADIENT = Prerequisite(
    "with --pruner {pruner}, which needs no gradient", lambda config: "grad" in config.pruner_record.needs
)
# Scores may use the gradient of random batches.
IN_TRAINING_OR_SCORES = (TRAINED_OR_FINE_TUNED, WEIGHTS_FINE_TUNED.or_if(TAKES_GRADIENT.is_met))
STARTS_DENSE = Prerequisite("with --start initialization", lambda config: not config.starts_anew)
FINE_TUNED = Prerequisite("with --fine-tune-epochs 0", lambda config: config.fine_tune_epochs != 0)
GRADUAL = Prerequisite("without --schedule cubic", lambda config: config.starts_anew or config.schedule != "one-shot")
QUANTIZES = Prerequisite("with --weight-bits 32, which quantizes no weight", lambda config: config.weight_bits < 32)
HAS_RAMP = Prerequisite("with --ramp 0, which prunes at once", lambda config: config.starts_anew or config.ramp > 0)
FOLLOWS_DECAY = Prerequisite(
    f"{TRAINED.otherwise}, and fine-tuning follows --fine-tune-decay",
    lambda config: not config.weights or config.fine_tune_decay is None,
)
FOLLOWS_AVERAGE = Prerequisite(
    f"{TRAINED.otherwise}, and fine-tuning follows --fine-tune-average-epochs",
    lambda config: not config.weights or config.fine_tune_average_epochs is None,
)


@section("Data and network")
class DatasetOptions:
    """Options on the images."""

    dataset: str = option("fashion-mnist-mini")
    """Data set: a name such as mnist or cifar10, an .npz file, or a folder of images."""

    image_size: int | None = option(check=integer(1))
    """Height and width in pixels that all images are resized to. Auto: keep their size."""


@section("Data and network")
class ModelOptions:
    """The network."""

    model: str = option("lenet5")
    """Network: lenet5, lenet5-half and lenet5-double (of other widths), lenet-300-100 (linear layers alone), resnet20,
    resnet32, resnet44, resnet56, resnet110, wrn16-4, wrn22-8, wrn28-10 (wide ResNets), alexnet, vgg11, resnet18 (from
    torchvision, adapted to images of 28 to 32 pixels), torchvision:NAME (unchanged; most need --image-size 224),
    timm:NAME, or package.module:factory for a function of your own that returns a network. The function is called with
    num_classes and in_channels, and with image_size=(height, width) if it has a parameter of that name."""


@section("Data and network")
class NetworkOptions:
    """Options on how a dense network comes about."""

    weights: Path | None = option()
    """File of trained weights for this network and these classes, to use in place of training: .safetensors, or a state
    dict in .pt, .pth or .ckpt. Auto: train the network."""

    count_zeros: bool = option("false", needs=(GIVEN_WEIGHTS,))
    """Count zeros in the file of --weights as kept weights, for example because quantization has rounded weights to 0.
    By default a file with pruned layers is refused, so that ratios do not count its zeros as parameters."""

    class_names: Path | None = option(needs=(GIVEN_WEIGHTS,))
    """Text file with one class name a line, in the order of the outputs of the network. Auto: the order in the metadata
    of --weights, else the order of the data's classes."""

    recipe: str | None = option(check=choice(RECIPES))
    """Set of training hyperparameters: {RECIPES}. Auto: resnet-cifar for resnet18 to resnet110, wide-resnet for wide
    ResNets, else lenet5."""

    protocol: str = option("paper", choice(PROTOCOLS))
    """Follow the text of Good et al., 2022 (paper), or their released code (released)."""

    validation_fraction: float = option("0.1", within(0, 1))
    """Share of the training images that is held out to choose the best epoch, between 0 and 1. Leave it out if the data
    set has validation images of its own."""

    class_fractions: tuple[str, ...] | None = option(check=class_fractions)
    """Share of a class's training images to keep, to train on unbalanced classes, written CLASS=SHARE. Several are
    written 5=0.2,8=0.5, so a class name must have no comma. Each seed leaves out different images. Validation and test
    images are all kept. Auto: all images are kept."""


@section("Data and network")
class SplitOptions:
    """The share of test images."""

    test_fraction: float | None = option(check=within(0, 1))
    """Share of each class's images that is held out for testing, if the data set is a folder of classes without
    subfolders train and test. All seeds test on the same images. Auto: 0.2."""


@section("Data and network")
class FolderOptions:
    """The folder of the data sets."""

    data_dir: Path = option(in_study=False)
    """Folder of the data sets. Auto: the environment variable PRUNING_STUDY_DATA, else the folder data."""


@section("Training")
class SeedOptions:
    """The seed of one network."""

    seed: int = option("0", integer(0), seeds)
    """Seed of the initial weights, the order of batches, the validation split and random pruning. Several seeds,
    written 0-4 or 0,2,5, train one network after the other."""


@section("Training")
class TrainingOptions:
    """Options of the training of a network."""

    epochs: int | None = option(check=integer(1), needs=(TRAINED,))
    """Epochs of the dense network's training, and of each iteration of `iterate`. Auto: the recipe's number."""

    batch_size: int | None = option(check=integer(1), needs=IN_TRAINING_OR_SCORES)
    """Images in a batch. Auto: the recipe's number."""

    learning_rate: float | None = option(check=within(0, math.inf), needs=(TRAINED,))
    """Learning rate of the recipe's first phase; later phases change in proportion. With very few epochs, training
    begins with a later phase. Auto: the recipe's value, or 0.001 with the optimizer adam."""

    optimizer: str = option("sgd", choice(OPTIMIZERS), needs=IN_TRAINING_OR_PENALTY)
    """Optimizer of training and fine-tuning: SGD with Nesterov momentum (sgd), or Adam (adam, only with the engine
    torch)."""

    momentum: float | None = option(check=within(0, 1, low_too=True), needs=IN_TRAINING_OR_PENALTY)
    """Momentum, from 0 to below 1: Nesterov momentum of sgd, or beta1 of adam, the share of the mean gradient kept at
    each step. Auto: the recipe's value, or 0.9 with adam."""

    weight_decay: float | None = option(check=within(0, math.inf, low_too=True))
    """Weight decay: how strongly --regularizer pulls weights towards 0. Auto: the recipe's value, or 0 with --protocol
    released."""

    regularizer: str = option("l2", choice(REGULARIZERS))
    """How the weight decay w pulls weights towards 0. Either the loss has a penalty: w/2 times the sum of squared
    weights (l2), w times the sum of absolute weights (l1), or half of each (elastic). Or each step multiplies the
    weights by 1 - learning rate * w (decoupled)."""

    decay: str = option("none", choice(DECAYS), needs=(*IN_SOME_TRAINING, FOLLOWS_DECAY))
    """How the learning rate decays from step to step, to 0 at the end of each phase: along a cosine (cosine) or a line
    (linear), or not at all (none)."""

    kept_epoch: str | None = option(check=choice(("best", "last")), needs=IN_SOME_TRAINING)
    """Keep the network of the epoch with the lowest validation loss (best; test loss with --protocol released), or of
    the last epoch (last). Auto: last if the learning rate decays to 0, else best."""

    average_epochs: int = option("0", integer(0), needs=(*IN_SOME_TRAINING, FOLLOWS_AVERAGE))
    """Number of last epochs whose weights are averaged, instead of keeping those of one epoch; BatchNorm statistics are
    then measured again. 0: no average."""

    precision: str = option("float32", choice(("float32", "bf16")), needs=IN_SOME_TRAINING)
    """Number format in which layers compute during training: float32, or bf16 (bfloat16, only with the engine torch).
    Weights, loss, evaluation and the gradient for scores are float32 in both cases."""


@section("Pruning")
class PrunerOptions:
    """Options on how weights are scored."""

    pruner: str = option("mp", checked_name)
    """Way to choose the weights that are pruned: {PRUNERS}, or package.module:function for a score of your own. mp
    prunes the smallest weights. chip and l1-filter prune whole output channels of convolutions, and pruners whose names
    end in -structured prune whole input channels."""

    epsilon: float | None = option(check=within(0, math.inf, low_too=True), needs=(TAKES_EPSILON,))
    """Weight of the penalty in the scores of the undecayed pruners up, up-signed and up-sum; with --regularizer l2 the
    penalty is the squared weights. Auto: the weight decay, or 5e-4 if that is 0 or with --protocol released."""

    shrink: bool = option("false", in_study=False)
    """Also remove the channels that no layer reads any more, and show the size and the speed of the smaller network
    (needs the extra structured)."""


@section("Pruning")
class RatioOptions:
    """How much is pruned."""

    ratio: tuple[float, ...] = option(check=several(within(1, math.inf, low_too=True)))
    """Pruning ratio: parameters before / parameters after. Several ratios are written 2,4,10; `tune` also
    chooses one of them. Auto: 10, or 1 with --pruner none."""


@section("Pruning")
class ScopeOptions:
    """Options on the layers that are pruned, and on the gradient that scores use."""

    scope: str | None = option(check=choice(("global", "layer")), needs=(PRUNES,))
    """Compare the scores of all layers (global), or prune the same share of every layer (layer). Auto: layer for
    l1-unstructured, random-unstructured, fairgrape and the pruners of whole channels (-structured, chip, l1-filter),
    else global."""

    prune_output_layer: bool = option("false", needs=(PRUNES,))
    """Prune weights of the last layer too."""

    keep_layers: tuple[str, ...] | None = option(check=several(nonempty_text), needs=(PRUNES,))
    """Layers that are not pruned, by the names of their weights in the state dict or by patterns, written
    'head.*,conv1.weight'. Auto: only the last one, unless --prune-output-layer is given."""

    gradient_objective: str | None = option(check=choice(("regularized", "data")), needs=(TAKES_GRADIENT,))
    """Loss whose gradient the scores use: with weight decay (regularized) or without (data). Auto: regularized, or data
    with --protocol released."""

    gradient_batches: int | None = option(check=integer(1), needs=(TAKES_GRADIENT,))
    """Number of batches that the scores' gradient is averaged over. Auto: the whole training set, or 1 batch with
    --protocol released."""

    gradient_mode: str | None = option(check=choice(("eval", "train")), needs=(TAKES_GRADIENT,))
    """Compute the scores' gradient as in evaluation (eval), or with BatchNorm and image augmentation as in training
    (train). Auto: eval, or train with --protocol released."""


@section("Pruning")
class DenseRunOptions:
    """The run that is pruned."""

    dense_run_id: str | None = option(in_study=False)
    """MLflow run ID of the trained network to prune. Auto: the run with the same training options, which is made if it
    does not exist."""


@section("Pruning")
class IterationOptions:
    """Options of iterative pruning."""

    iterations: int = option("20", integer(2))
    """Number of iterations: the first trains the dense network, and each later one prunes the network once more."""

    keep: float = option("0.8", within(0, 1))
    """Share of the remaining weights that each iteration keeps, between 0 and 1; pruners of channels keep this share of
    each layer's channels."""

    weight_treatment: str = option("finetune", choice(("finetune", "rewind")))
    """Continue to train the kept weights from their present values (finetune), or first reset them to their initial
    values or to their values at --rewind-step (rewind)."""

    rewind_step: int = option("0", integer(0))
    """Step of the dense network's training that --weight-treatment rewind goes back to; a step is a batch. 0: the
    initial values."""


@section("Fine-tuning and gradual pruning")
class FineTuningOptions:
    """Options of the training after pruning."""

    fine_tune_epochs: int | None = option(check=integer(0), needs=(STARTS_DENSE,))
    """Epochs of training after pruning; 0 leaves the network as pruned. `compress` also tries half as many. Auto: the
    recipe's number."""

    fine_tune_learning_rate: float | None = option(check=within(0, math.inf), needs=(STARTS_DENSE, FINE_TUNED))
    """Learning rate of the recipe's first phase of fine-tuning. With very few epochs, fine-tuning begins with a later
    phase. Auto: the recipe's value, or 0.001 with the optimizer adam."""

    fine_tune_decay: str | None = option(check=choice(DECAYS), needs=(STARTS_DENSE, FINE_TUNED))
    """How the learning rate of fine-tuning decays (see --decay). `compress` decays it along a cosine, because at a
    constant rate chance decides which classes are ahead when training ends. Auto: the value of --decay."""


@section("Fine-tuning and gradual pruning")
class GradualOptions:
    """Options of the training during or after pruning, and of the mitigations that spare classes."""

    fine_tune_average_epochs: int | None = option(check=integer(0), needs=(STARTS_DENSE, FINE_TUNED))
    """Number of last epochs of fine-tuning whose weights are averaged. Auto: the value of --average-epochs."""

    schedule: str = option("one-shot", choice(("one-shot", "cubic", *SPARSE_SCHEDULES)), needs=(PRUNES,))
    """Prune all at once before fine-tuning (one-shot), or step by step while fine-tuning (cubic); or train a network
    that is sparse from initialization, and exchange kept weights for others (set, rigl)."""

    ramp: float = option("0.5", within(0, 1, low_too=True), needs=(PRUNES, GRADUAL))
    """Share of the fine-tuning epochs over which the schedule cubic prunes, from 0 to below 1; 0 prunes at once."""

    ramp_steps: int = option("1", integer(1), needs=(PRUNES, GRADUAL, HAS_RAMP))
    """Number of times in an epoch that the schedule cubic prunes."""

    distill: float = option("0", within(0, 1, low_too=True, high_too=True))
    """Distillation: share of the fine-tuning loss that compares the network with the dense network instead of the
    labels, from 0 to 1."""

    class_offsets: str = option("none", choice(("none", "dense")))
    """After fine-tuning, add an offset to each class's logit so that, relative to the dense network, no class loses
    more recall than the network loses accuracy (dense). The offsets are fitted on validation images and are part of the
    network."""

    class_weights: str = option("none", choice(("none", "dense")))
    """Fine-tune with a weight for each class, (1 / recall)^POWER, from the dense network's recall on validation images
    (dense)."""

    class_weight_power: float = option("1", within(0, math.inf, low_too=True))
    """POWER of --class-weights: a larger one gives more weight to classes of low recall in the dense network. With 0
    all classes have equal weight."""

    constraint: str = option("none", choice(("none", "ceag", "equalized-loss")))
    """Fine-tune under a constraint on every class: its loss of recall since the dense network exceeds that of accuracy
    by at most 0.01 (ceag), or its cross-entropy equals the mean over all images (equalized-loss)."""

    constraint_images: str = option("train", choice(("train", "validation")))
    """Images on which --constraint is measured: the latest training images of each class, at each step (train), or the
    validation images, after each epoch (validation)."""


@section("Fine-tuning and gradual pruning")
class PruneOptions:
    """Options that only `prune` has."""

    sparsity: tuple[float, ...] | None = option(check=several(within(0, 1, low_too=True)), heading="Pruning")
    """Share of the prunable weights that is pruned, from 0 to below 1, in place of --ratio. Several are written
    0.5,0.9. Auto: the share that --ratio prunes."""

    control: str = option("make", choice(("make", "none")), in_study=False, heading="Pruning")
    """Also make the control, the same network fine-tuned for as many epochs without pruning, and show what each class
    lost beyond the control (make), or compare only with the network before pruning (none). An existing control is used
    again, for all ratios and pruners."""

    start: str = option("dense", choice(("dense", "initialization")))
    """Prune the trained network and fine-tune it (dense), or train a new network from the same initial weights and
    prune it step by step meanwhile (initialization)."""

    begin: int | float | None = option(check=steps_or_share, needs=(PRUNES,))
    """Training step at which --start initialization begins to prune, or share of the training if written with a decimal
    point. Auto: 0.2, or 0 with --schedule rigl or set."""

    end: int | float | None = option(check=steps_or_share, needs=(PRUNES,))
    """Training step, or share of the training, after which nothing more is pruned. Auto: 0.75."""

    frequency: int | None = option(check=integer(1), needs=(PRUNES,))
    """Training steps from one pruning to the next. Auto: 100."""

    weight_bits: int = option("32", weight_bits)
    """Bits per weight of convolutions and linear layers in the final network: 2 to 8, or 32 for float32. Each output
    channel has its own scale. The activations stay float32."""

    quantization: str = option("while-training", choice(QUANTIZATIONS), needs=(QUANTIZES,))
    """Fine-tune with weights of --weight-bits (while-training), or fine-tune in float32 and round the weights of the
    final network (after-training)."""

    performance_weighted: str = option("none", theta_and_gamma)
    """Fine-tune on the predictions of the dense network, with the label in place of a wrong prediction, and with a
    weight for each image: THETA + (1 - THETA) (1 - p)^GAMMA, where p is the dense network's probability of the image's
    label. Written THETA,GAMMA, such as 0.5,1."""

    data_quotas: str = option("none", choice(("none", "recall")))
    """Fine-tune on a part of the training images: the lower a class's recall in the dense network, on validation
    images, the larger the part of the class's training images (recall)."""


@section("Number format")
class QuantizeOptions:
    """Options on what `quantize` stores."""

    number_format: tuple[str, ...] = option(",".join(NUMBER_FORMATS), several(choice(NUMBER_FORMATS)))
    """Number formats of the weights, each in a separate run: {NUMBER_FORMATS}. dynamic-int8 has integer weights, and
    finds the range of the activations for each batch of images. fixed-int8 has integer weights, and fixed ranges that
    are measured on 100 training images."""

    all: bool = option("false")
    """Quantize every dense network of the experiment."""


@section("Machine and runs")
class DeviceOptions:
    """The device."""

    device: str | None = option(check=choice(("cpu", "cuda")), in_study=False)
    """Device to train on: cpu or cuda. Auto: cuda if there is a GPU, else cpu."""


@section("Machine and runs")
class EngineOptions:
    """The back end that trains."""

    engine: str | None = option(check=choice(("torch", "native")), in_study=False)
    """Training back end: torch (PyTorch) or native (C++ that is compiled for this CPU). Auto: native if it can train
    the network, else torch."""


@section("Machine and runs")
class ExperimentOptions:
    """The experiment."""

    experiment: str | None = option(in_study=False)
    """MLflow experiment of the runs. Auto: MLflow's current experiment; of a study, the experiment that MLflow's
    environment variables name, else the one of FILE, else one with the name of the study."""


@section("Machine and runs")
class ForceOptions:
    """Whether runs are made anew."""

    force: bool = option("false", in_study=False)
    """Make new runs, or measure networks again, even if finished runs with these options exist."""


@section("Machine and runs")
class WorkerOptions:
    """The processes that train."""

    workers: int | None = option(check=integer(1), in_study=False)
    """Number of processes that train at once, one thread each. Auto: one for each core."""


@section("Machine and runs")
class StudyOptions:
    """Options on how a study is run."""

    dry_run: bool = option("false", in_study=False)
    """Only show the grid, how many of its runs exist, and how long the others will take, estimated from finished
    runs."""

    protocol: str | None = option(check=choice(PROTOCOLS), heading="Data and network")
    """Follow the text of Good et al., 2022 (paper), or their released code (released). Auto: as FILE says, else
    paper."""


@section("Search")
class TuneOptions:
    """Options on what `tune` searches."""

    seeds: tuple[int, ...] = option("0,1,2", several(integer(0)), heading="Training")
    """Seeds of the dense networks that every trial prunes, written 0,1,2."""

    objective: str = option("accuracy", choice(("accuracy", "alpha", "both")))
    """Aim on validation images: most accuracy, least distortion between classes (alpha), or both."""


@section("Search")
class SearchOptions:
    """Options of searches."""

    n_trials: int = option("20", integer(1))
    """Number of trials of `tune`, of which three for each ratio are references (anchors), or of chains of `compress`,
    which begins with up to four fixed ones. Only --budget ends a search before."""

    confirm_seeds: int = option("0", integer(0))
    """Number of new dense networks on which the best trial or chain is also tested: 0, or 2 or more."""

    study_name: str | None = option()
    """Name of the search; a search of the same name is continued. Auto: made from the options."""


@section("Search")
class CompressionOptions:
    """Options on what `compress` aims at, and when it stops."""

    max_class_loss: float = option("3", within(0, 100))
    """Largest loss of recall of any class, since the dense network, that is allowed, in percentage points. A chain is
    chosen only if the upper bound of every class's loss is below this limit."""

    max_accuracy_loss: float = option("1", within(0, 100))
    """Largest loss of accuracy, since the dense network, that is allowed, in percentage points. The upper bound of the
    loss must be below this limit."""

    minimize: str = option("size", choice(("size", "latency", "macs")))
    """What to minimise: bytes of the ONNX file (size), time for an image in ONNX Runtime on one thread (latency), or
    multiply-accumulate operations for an image (macs)."""

    budget: float | None = option(check=duration)
    """Time after which no chain is started, such as 90s, 30m or 2h. Auto: no limit."""


@section("Images")
class ExemplarsOptions:
    """Options on which cell `exemplars` shows, and what it writes."""

    study: str | None = option(heading="Machine and runs")
    """Name of a study: read the experiment that contains its runs, in place of --experiment."""

    frames: Path | None = option(heading="Machine and runs")
    """Folder or file that pruning-analysis export wrote, or folder that contains several of them, to read in place of
    an experiment."""

    dataset: str | None = option(heading="Data and network")
    """Data set of the cell: a name, an .npz file, or a folder of images. Auto: the one that the runs name."""

    model: str | None = option(heading="Data and network")
    """Network of the cell. Auto: the only one in the runs."""

    pruner: str | None = option(heading="Pruning")
    """Pruner of the cell, or number format of quantized networks. Auto: the only one in the runs, apart from the
    control."""

    ratio: float | None = option(check=within(1, math.inf, low_too=True), heading="Pruning")
    """Pruning ratio of the cell. Auto: the only one in the runs."""

    sparsity: float | None = option(check=within(0, 1, low_too=True), heading="Pruning")
    """Share of the prunable weights that is pruned, if the runs log it. Auto: the only one in the runs."""

    setting: tuple[str, ...] | None = option(check=assignments, heading="Pruning")
    """Further params of the cell, written name=value, such as schedule=cubic or number_format=fixed-int8. Auto: the
    only value of each param in the runs."""

    images: int = option("100", integer(2))
    """Number of images on the labelling sheet. It must be even, because half of them are exemplars."""

    seed: int = option("0", integer(0), heading="Training")
    """Seed of the random choice of images for the labelling sheet."""

    output: Path = option("exemplars", heading="Files")
    """Folder that the files are written to."""


@section("Training")
class VerifyOptions:
    """Options on which networks of a study `verify` trains again."""

    seed: int | None = option(check=integer(0), in_study=False)
    """Seed of the networks of STUDY that are trained again; needed with STUDY."""


@section("Files")
class GroupsOptions:
    """Options on which files `groups` writes."""

    output: Path = option("groups.csv")
    """CSV file that the table of test images and their groups is written to."""

    picture: Path | None = option()
    """PNG file for a picture that shows how far a few test images lean to the side (their tilt). Auto: no picture."""


@section("Images")
class RobustnessOptions:
    """Options on the images and networks that `robustness` measures."""

    corruptions: tuple[str, ...] | None = option(check=several(choice(CORRUPTIONS)))
    """Corruptions of the test images, written fog,contrast. Auto: all, which are {CORRUPTIONS}."""

    severities: tuple[int, ...] = option(text(SEVERITIES), several(integer(1, SEVERITIES[-1])))
    """Severities of each corruption, from 1 to 5, written 1,3,5."""

    images: int | None = option(check=integer(1))
    """Number of test images to corrupt: each class has its share, and every run gets the same images. Auto: all."""

    folder: Path | None = option()
    """Folder with images of some of the classes in <class>/, such as natural adversarial images, to measure in place of
    corrupted test images. Auto: none."""

    dataset: str | None = option(heading="Data and network")
    """Data set whose runs are measured and whose images are read: a name, an .npz file, or a folder of images. Auto:
    the data sets that the runs name."""

    model: str | None = option(heading="Data and network")
    """Import path of the runs' network, package.module:factory, if it is one of your own."""


@section("Number format")
class ExportOptions:
    """Options on what `export` writes."""

    format: str = option("onnx", choice(("onnx",)))
    """File format: onnx."""

    output: Path | None = option(heading="Files")
    """File to write the network to. Auto: no file, only the MLflow model."""

    shrink: bool = option("false", heading="Pruning")
    """Write the network to --output without the channels that no layer reads, and log no MLflow model of it (needs the
    extra structured)."""


OPTIONS = tuple(
    record
    for group in list(vars().values())
    if isinstance(group, type) and group.__module__ == __name__
    for record in records(group).values()
)


def sections() -> dict[str, list[str]]:
    """Return the names of the options under each heading of `--help`, in the order of the help."""
    names = {heading: [record.name for record in OPTIONS if record.heading == heading] for heading in HEADINGS}
    return {heading: list(dict.fromkeys(option_names)) for heading, option_names in names.items()}
