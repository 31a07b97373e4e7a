"""The table of options: one record for each option of `pruning-study`.

A record has everything about an option: its type, default, check and help, the commands that have it, whether a study's
file may give it, the conditions under which it has an effect, and the meaning of its param. The records define the
dataclasses of the commands, click's options, the sections of the help, the warnings about options without effect, the
keys of studies, the params that runs log, and the command that `pruning-analysis recommend` prints.
"""

import math
from pathlib import Path

from analysis.runs.options.names import (
    CORRUPTIONS,
    DECAYS,
    NUMBER_FORMATS,
    OPTIMIZERS,
    PROTOCOLS,
    QUANTIZATIONS,
    SEVERITIES,
    SPARSE_SCHEDULES,
)
from analysis.runs.options.recipes import RECIPES
from analysis.runs.options.record import AUTO, Option, Prerequisite, option, section
from analysis.runs.options.values import (
    assignments,
    boolean,
    choice,
    choice_or_import_path,
    class_fractions,
    duration,
    gpu_share,
    integer,
    nonempty_text,
    path,
    positive_range,
    registered_name,
    seeds,
    several,
    steps_or_share,
    theta_and_gamma,
    weight_bits,
    within,
)
from analysis.runs.registry import PRUNERS, REGULARIZERS
from analysis.runs.schema import text

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
    *("objective", "max_class_loss", "max_accuracy_loss", "minimize", "n_trials", "timeout", "budget", "confirm_seeds"),
    *("number_format", "all", "device", "experiment", "force"),
)
MOST_SHOWN = 15  # a command with at most this many options shows all of them
# Commands that share options. The configs of `prune` and `iterate` inherit that of `train`, and so all of its options.
TRAINING_COMMANDS = ("train", "prune", "iterate")
EVERY_COMMAND = (
    *TRAINING_COMMANDS,
    "study",
    "tune",
    "compress",
    "exemplars",
    "groups",
    "robustness",
    "quantize",
    "export",
    "verify",
)

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
    need.or_if(lambda config: "decoupled" in REGULARIZERS[config.regularizer]) for need in IN_SOME_TRAINING
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
CUBIC_LAW = Prerequisite("with --schedule rigl or set", lambda config: config.schedule not in SPARSE_SCHEDULES)
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
class DataOptions:
    """Options that choose the network and its data."""

    dataset: str = option(
        "fashion-mnist-mini",
        nonempty_text,
        "Data set: a name such as mnist or cifar10, an .npz file, or a folder of images.",
        (*TRAINING_COMMANDS, "tune", "compress", "groups", "quantize", "export"),
    )
    model: str = option(
        "lenet5",
        nonempty_text,
        "Network: lenet5, lenet5-half and lenet5-double (of other widths), lenet-300-100 (linear layers alone), "
        "resnet20, resnet32, resnet44, resnet56, resnet110, wrn16-4, wrn22-8, wrn28-10 (wide ResNets), alexnet, vgg11, "
        "resnet18 (from torchvision, adapted to images of 28 to 32 pixels), torchvision:NAME (unchanged; most need "
        "--image-size 224), timm:NAME, or package.module:factory for a function of your own that returns a network. "
        "The function is called with num_classes and in_channels, and with image_size=(height, width) if it has a "
        "parameter of that name.",
        (*TRAINING_COMMANDS, "tune", "compress", "quantize", "export"),
    )
    weights: Path | None = option(
        AUTO,
        path,
        "File of trained weights for this network and these classes, to use in place of training: .safetensors, or "
        "a state dict in .pt, .pth or .ckpt. Auto: train the network.",
        (*TRAINING_COMMANDS, "compress", "quantize"),
    )
    count_zeros: bool = option(
        "false",
        boolean,
        "Count zeros in the file of --weights as kept weights, for example because quantization has rounded weights to "
        "0. By default a file with pruned layers is refused, so that ratios do not count its zeros as parameters.",
        (*TRAINING_COMMANDS, "compress", "quantize"),
        needs=(GIVEN_WEIGHTS,),
    )
    class_names: Path | None = option(
        AUTO,
        path,
        "Text file with one class name a line, in the order of the outputs of the network. Auto: the order in the "
        "metadata of --weights, else the order of the data's classes.",
        (*TRAINING_COMMANDS, "compress", "quantize"),
        needs=(GIVEN_WEIGHTS,),
    )
    recipe: str | None = option(
        AUTO,
        choice(RECIPES),
        f"Set of training hyperparameters: {', '.join(RECIPES)}. Auto: resnet-cifar for resnet18 to resnet110, "
        "wide-resnet for wide ResNets, else lenet5.",
        (*TRAINING_COMMANDS, "tune", "compress", "quantize"),
        in_command={
            "iterate": {
                "default": "prune-responsibly",
                "help": f"Set of training hyperparameters: {', '.join(RECIPES)}. In each iteration the network is "
                "trained as the dense network was.",
            }
        },
    )
    protocol: str = option(
        "paper",
        choice(PROTOCOLS),
        "Follow the text of Good et al., 2022 (paper), or their released code (released).",
        (*TRAINING_COMMANDS, "tune"),
        in_command={
            "tune": {
                "help": "Follow the text of Good et al., 2022 (paper); a search cannot follow their released code."
            }
        },
    )
    validation_fraction: float = option(
        "0.1",
        within(0, 1),
        "Share of the training images that is held out to choose the best epoch, between 0 and 1. Leave it out if "
        "the data set has validation images of its own.",
        (*TRAINING_COMMANDS, "tune", "compress"),
        in_command={"iterate": {"default": "0.2"}},
    )
    class_fractions: tuple[str, ...] | None = option(
        AUTO,
        class_fractions,
        "Share of a class's training images to keep, to train on unbalanced classes, written CLASS=SHARE. Several are "
        "written 5=0.2,8=0.5, so a class name must have no comma. Each seed leaves out different images. Validation "
        "and test images are all kept. Auto: all images are kept.",
        TRAINING_COMMANDS,
    )


@section("Data and network")
class ReadingOptions:
    """Options on where images are, and how they are read."""

    test_fraction: float | None = option(
        AUTO,
        within(0, 1),
        "Share of each class's images that is held out for testing, if the data set is a folder of classes without "
        "subfolders train and test. All seeds test on the same images. Auto: 0.2.",
        (*TRAINING_COMMANDS, "tune", "compress", "exemplars", "groups"),
    )
    data_dir: Path = option(
        AUTO,
        path,
        "Folder of the data sets. Auto: the environment variable PRUNING_STUDY_DATA, else the folder data.",
        EVERY_COMMAND,
        in_study=False,
    )
    image_size: int | None = option(
        AUTO,
        integer(1),
        "Height and width in pixels that all images are resized to. Auto: keep their size.",
        (*TRAINING_COMMANDS, "tune", "compress", "exemplars", "groups", "quantize", "export"),
    )
    max_data_gib: float = option(
        "16",
        within(0, math.inf),
        "Most memory, in GiB, that the images and labels of a data set may take. A larger data set is refused before "
        "it is read.",
        EVERY_COMMAND,
        in_study=False,
    )


@section("Training")
class TrainingOptions:
    """Options of the training of a network."""

    seed: int = option(
        "0",
        integer(0),
        "Seed of the initial weights, the order of batches, the validation split and random pruning. Several seeds, "
        "written 0-4 or 0,2,5, train one network after the other, each in a separate job.",
        (*TRAINING_COMMANDS, "compress", "quantize"),
        typed=seeds,
        in_command={
            "compress": {
                "help": "Seed of the initial weights, the order of batches and the validation split. Several seeds, "
                "written 0-4 or 0,2,5, train several networks: each chain is evaluated on all of them, and the first "
                "network is delivered.",
            },
            "quantize": {
                "help": "Seed of the network that is quantized: of its initial weights, the order of batches and the "
                "validation split. Several seeds, written 0-4 or 0,2,5, train one network after the other, each in a "
                "separate job.",
            },
        },
    )
    epochs: int | None = option(
        AUTO,
        integer(1),
        "Epochs of training before pruning. Auto: the recipe's number.",
        (*TRAINING_COMMANDS, "tune", "compress", "quantize"),
        needs=(TRAINED,),
        in_command={
            "iterate": {
                "help": "Epochs of each iteration; the first iteration trains the dense network. Auto: the recipe's "
                "number."
            },
            "quantize": {"help": "Epochs of training in float32. Auto: the recipe's number."},
        },
    )
    batch_size: int | None = option(
        AUTO,
        integer(1),
        "Images in a batch. Auto: the recipe's number.",
        (*TRAINING_COMMANDS, "tune", "compress"),
        needs=IN_TRAINING_OR_SCORES,
    )
    learning_rate: float | None = option(
        AUTO,
        within(0, math.inf),
        "Learning rate of the recipe's first phase; later phases change in proportion. With very few epochs, training "
        "begins with a later phase. Auto: the recipe's value, or 0.001 with the optimizer adam.",
        (*TRAINING_COMMANDS, "tune", "compress"),
        needs=(TRAINED,),
    )
    optimizer: str = option(
        "sgd",
        choice(OPTIMIZERS),
        "Optimizer of training and fine-tuning: SGD with Nesterov momentum (sgd), or Adam (adam, only with the engine "
        "torch).",
        (*TRAINING_COMMANDS, "tune"),
        needs=IN_TRAINING_OR_PENALTY,
    )
    momentum: float | None = option(
        AUTO,
        within(0, 1, low_too=True),
        "Momentum, from 0 to below 1: Nesterov momentum of sgd, or beta1 of adam, the share of the mean gradient kept "
        "at each step. Auto: the recipe's value, or 0.9 with adam.",
        (*TRAINING_COMMANDS, "tune"),
        needs=IN_TRAINING_OR_PENALTY,
    )
    weight_decay: float | None = option(
        AUTO,
        within(0, math.inf, low_too=True),
        "Weight decay: how strongly --regularizer pulls weights towards 0. Auto: the recipe's value, or 0 with "
        "--protocol released.",
        (*TRAINING_COMMANDS, "tune"),
    )
    regularizer: str = option(
        "l2",
        choice(REGULARIZERS),
        "How the weight decay w pulls weights towards 0. Either the loss has a penalty: w/2 times the sum of squared "
        "weights (l2), w times the sum of absolute weights (l1), or half of each (elastic). Or each step multiplies "
        "the weights by 1 - learning rate * w (decoupled).",
        (*TRAINING_COMMANDS, "tune"),
    )
    decay: str = option(
        "none",
        choice(DECAYS),
        "How the learning rate decays from step to step, to 0 at the end of each phase: along a cosine (cosine) or a "
        "line (linear), or not at all (none).",
        (*TRAINING_COMMANDS, "tune", "compress"),
        needs=(*IN_SOME_TRAINING, FOLLOWS_DECAY),
    )
    kept_epoch: str | None = option(
        AUTO,
        choice(("best", "last")),
        "Keep the network of the epoch with the lowest validation loss (best; test loss with --protocol released), or "
        "of the last epoch (last). Auto: last if the learning rate decays to 0, else best.",
        (*TRAINING_COMMANDS, "tune"),
        needs=IN_SOME_TRAINING,
    )
    average_epochs: int = option(
        "0",
        integer(0),
        "Number of last epochs whose weights are averaged, instead of keeping those of one epoch; BatchNorm statistics "
        "are then measured again. 0: no average.",
        (*TRAINING_COMMANDS, "tune"),
        needs=(*IN_SOME_TRAINING, FOLLOWS_AVERAGE),
    )


@section("Pruning")
class PruningOptions:
    """Options on what is pruned."""

    pruner: str = option(
        "mp",
        choice_or_import_path(PRUNERS, "pruner"),
        f"Way to choose the weights that are pruned: {', '.join(PRUNERS)}, or package.module:function for a score of "
        "your own. mp prunes the smallest weights. chip and l1-filter prune whole output channels of convolutions, and "
        "pruners whose names end in -structured prune whole input channels.",
        ("prune", "iterate"),
    )
    ratio: tuple[float, ...] = option(
        AUTO,
        several(within(1, math.inf, low_too=True)),
        "Pruning ratio: parameters before / parameters after. Several ratios are written 2,4,10. Auto: 10, or 1 with "
        "--pruner none.",
        ("prune", "tune"),
        in_command={
            "tune": {
                "default": "10",
                "help": "Pruning ratio: parameters before / parameters after. If several are given, written 5,10, the "
                "search also chooses one of them.",
            }
        },
    )
    sparsity: tuple[float, ...] | None = option(
        AUTO,
        several(within(0, 1, low_too=True)),
        "Share of the prunable weights that is pruned, from 0 to below 1, in place of --ratio. Several are written "
        "0.5,0.9. Auto: the share that --ratio prunes.",
        ("prune",),
    )
    scope: str | None = option(
        AUTO,
        choice(("global", "layer")),
        "Compare the scores of all layers (global), or prune the same share of every layer (layer). Auto: layer for "
        "l1-unstructured, random-unstructured, fairgrape and the pruners of whole channels (-structured, chip, "
        "l1-filter), else global.",
        ("prune", "iterate", "tune"),
        needs=(PRUNES,),
    )
    epsilon: float | None = option(
        AUTO,
        within(0, math.inf, low_too=True),
        "Weight of the penalty in the scores of the undecayed pruners up, up-signed and up-sum; with --regularizer l2 "
        "the penalty is the squared weights. Auto: the weight decay, or 5e-4 if that is 0 or with "
        "--protocol released.",
        ("prune", "iterate"),
        needs=(TAKES_EPSILON,),
    )
    prune_output_layer: bool = option(
        "false",
        boolean,
        "Prune weights of the last layer too.",
        ("prune", "iterate", "tune"),
        needs=(PRUNES,),
    )
    keep_layers: tuple[str, ...] | None = option(
        AUTO,
        several(nonempty_text),
        "Layers that are not pruned, by the names of their weights in the state dict or by patterns, written "
        "'head.*,conv1.weight'. Auto: only the last one, unless --prune-output-layer is given.",
        ("prune", "iterate", "tune"),
        needs=(PRUNES,),
    )
    shrink: bool = option(
        "false",
        boolean,
        "Also remove the channels that no layer reads any more, and show the size and the speed of the smaller network "
        "(needs the extra structured).",
        ("prune", "iterate"),
        in_study=False,
    )
    control: str = option(
        "make",
        choice(("make", "none")),
        "Also make the control, the same network fine-tuned for as many epochs without pruning, and show what each "
        "class lost beyond the control (make), or compare only with the network before pruning (none). An existing "
        "control is used again, for all ratios and pruners.",
        ("prune",),
        in_study=False,
    )
    dense_run_id: str | None = option(
        AUTO,
        nonempty_text,
        "MLflow run ID of the trained network to prune. Auto: the run with the same training options, which is made if "
        "it does not exist.",
        ("prune", "iterate", "compress"),
        in_study=False,
    )
    gradient_objective: str | None = option(
        AUTO,
        choice(("regularized", "data")),
        "Loss whose gradient the scores use: with weight decay (regularized) or without (data). Auto: regularized, or "
        "data with --protocol released.",
        ("prune", "iterate", "tune"),
        needs=(TAKES_GRADIENT,),
    )
    gradient_batches: int | None = option(
        AUTO,
        integer(1),
        "Number of batches that the scores' gradient is averaged over. Auto: the whole training set, or 1 batch with "
        "--protocol released.",
        ("prune", "iterate", "tune"),
        needs=(TAKES_GRADIENT,),
    )
    gradient_mode: str | None = option(
        AUTO,
        choice(("eval", "train")),
        "Compute the scores' gradient as in evaluation (eval), or with BatchNorm and image augmentation as in training "
        "(train). Auto: eval, or train with --protocol released.",
        ("prune", "iterate", "tune"),
        needs=(TAKES_GRADIENT,),
    )


@section("Pruning")
class IterationOptions:
    """Options of iterative pruning."""

    iterations: int = option(
        "20",
        integer(2),
        "Number of iterations: the first trains the dense network, and each later one prunes the network once more.",
        ("iterate",),
    )
    keep: float = option(
        "0.8",
        within(0, 1),
        "Share of the remaining weights that each iteration keeps, between 0 and 1; pruners of channels keep this "
        "share of each layer's channels.",
        ("iterate",),
    )
    weight_treatment: str = option(
        "finetune",
        choice(("finetune", "rewind")),
        "Continue to train the kept weights from their present values (finetune), or first reset them to their initial "
        "values or to their values at --rewind-step (rewind).",
        ("iterate",),
    )
    rewind_step: int = option(
        "0",
        integer(0),
        "Step of the dense network's training that --weight-treatment rewind goes back to; a step is a batch. 0: the "
        "initial values.",
        ("iterate",),
    )


@section("Fine-tuning and gradual pruning")
class FineTuningOptions:
    """Options of the training during or after pruning, and of the mitigations that spare classes."""

    fine_tune_epochs: int | None = option(
        AUTO,
        integer(0),
        "Epochs of training after pruning; 0 leaves the network as pruned. Auto: the recipe's number.",
        ("prune", "tune", "compress"),
        needs=(STARTS_DENSE,),
        in_command={
            "compress": {
                "help": "Largest number of epochs of training after pruning; half as many are tried too. Auto: the "
                "recipe's number."
            }
        },
    )
    fine_tune_learning_rate: float | None = option(
        AUTO,
        within(0, math.inf),
        "Learning rate of the recipe's first phase of fine-tuning. With very few epochs, fine-tuning begins with a "
        "later phase. Auto: the recipe's value, or 0.001 with the optimizer adam.",
        ("prune", "tune", "compress"),
        needs=(STARTS_DENSE, FINE_TUNED),
    )
    fine_tune_decay: str | None = option(
        AUTO,
        choice(DECAYS),
        "How the learning rate of fine-tuning decays (see --decay). Auto: the value of --decay.",
        ("prune", "tune", "compress"),
        needs=(STARTS_DENSE, FINE_TUNED),
        auto_follows="decay",
        in_command={
            "compress": {
                "default": "cosine",
                "help": "How the learning rate of fine-tuning decays (see --decay). At a constant rate, chance "
                "decides which classes are ahead when training ends, which widens the bounds of all losses.",
            }
        },
    )
    fine_tune_average_epochs: int | None = option(
        AUTO,
        integer(0),
        "Number of last epochs of fine-tuning whose weights are averaged. Auto: the value of --average-epochs.",
        ("prune", "tune"),
        needs=(STARTS_DENSE, FINE_TUNED),
        auto_follows="average_epochs",
    )
    schedule: str = option(
        "one-shot",
        choice(("one-shot", "cubic", *SPARSE_SCHEDULES)),
        "Prune all at once before fine-tuning (one-shot), or step by step while fine-tuning (cubic); or train a "
        "network that is sparse from initialization, and exchange kept weights for others (set, rigl).",
        ("prune", "tune"),
        needs=(PRUNES,),
    )
    ramp: float = option(
        "0.5",
        within(0, 1, low_too=True),
        "Share of the fine-tuning epochs over which the schedule cubic prunes, from 0 to below 1; 0 prunes at once.",
        ("prune", "tune"),
        needs=(PRUNES, GRADUAL),
    )
    ramp_steps: int = option(
        "1",
        integer(1),
        "Number of times in an epoch that the schedule cubic prunes.",
        ("prune", "tune"),
        needs=(PRUNES, GRADUAL, HAS_RAMP),
    )
    regrow: bool | None = option(
        AUTO,
        boolean,
        "Let weights that were pruned step by step come back as long as pruning goes on. Auto: true if a network "
        "is pruned while it is trained from its initial weights, else false.",
        ("prune", "tune"),
        needs=(PRUNES, GRADUAL, CUBIC_LAW, HAS_RAMP),
    )
    start: str = option(
        "dense",
        choice(("dense", "initialization")),
        "Prune the trained network and fine-tune it (dense), or train a new network from the same initial weights and "
        "prune it step by step meanwhile (initialization).",
        ("prune",),
    )
    begin: int | float | None = option(
        AUTO,
        steps_or_share,
        "Training step at which --start initialization begins to prune, or share of the training if written with a "
        "decimal point. Auto: 0.2, or 0 with --schedule rigl or set.",
        ("prune",),
        needs=(PRUNES,),
    )
    end: int | float | None = option(
        AUTO,
        steps_or_share,
        "Training step, or share of the training, after which nothing more is pruned. Auto: 0.75.",
        ("prune",),
        needs=(PRUNES,),
    )
    frequency: int | None = option(
        AUTO,
        integer(1),
        "Training steps from one pruning to the next. Auto: 100.",
        ("prune",),
        needs=(PRUNES,),
    )
    distill: float = option(
        "0",
        within(0, 1, low_too=True, high_too=True),
        "Distillation: share of the fine-tuning loss that compares the network with the dense network instead of the "
        "labels, from 0 to 1.",
        ("prune", "tune"),
    )
    temperature: float = option(
        "2",
        within(0, math.inf),
        "Softmax temperature for distillation (--distill).",
        ("prune", "tune"),
    )
    weight_bits: int = option(
        "32",
        weight_bits,
        "Bits per weight of convolutions and linear layers in the final network: 2 to 8, or 32 for float32. Each "
        "output channel has its own scale. The activations stay float32.",
        ("prune",),
    )
    quantization: str = option(
        "while-training",
        choice(QUANTIZATIONS),
        "Fine-tune with weights of --weight-bits (while-training), or fine-tune in float32 and round the weights of "
        "the final network (after-training).",
        ("prune",),
        needs=(QUANTIZES,),
    )
    class_offsets: str = option(
        "none",
        choice(("none", "dense")),
        "After fine-tuning, add an offset to each class's logit so that, relative to the dense network, no class loses "
        "more recall than the network loses accuracy (dense). The offsets are fitted on validation images and are part "
        "of the network.",
        ("prune", "tune"),
    )
    offset_shrinkage: float = option(
        "1",
        within(0, math.inf, low_too=True),
        "How strongly noise shrinks --class-offsets: with 1 a class that changed no more than by chance gets almost no "
        "offset, with 0 every change is corrected in full.",
        ("prune", "tune"),
        search_range=(0.0, 4.0),
    )
    class_weights: str = option(
        "none",
        choice(("none", "dense")),
        "Fine-tune with a weight for each class, (1 / recall)^POWER, from the dense network's recall on validation "
        "images (dense).",
        ("prune", "tune"),
    )
    class_weight_power: float = option(
        "1",
        within(0, math.inf, low_too=True),
        "POWER of --class-weights: a larger one gives more weight to classes of low recall in the dense network. With "
        "0 all classes have equal weight.",
        ("prune", "tune"),
        search_range=(0.0, 4.0),
    )
    constraint: str = option(
        "none",
        choice(("none", "ceag", "equalized-loss")),
        "Fine-tune under a constraint on every class: its loss of recall since the dense network exceeds that of "
        "accuracy by at most 0.01 (ceag), or its cross-entropy equals the mean over all images (equalized-loss).",
        ("prune", "tune"),
    )
    constraint_images: str = option(
        "train",
        choice(("train", "validation")),
        "Images on which --constraint is measured: the latest training images of each class, at each step (train), or "
        "the validation images, after each epoch (validation).",
        ("prune", "tune"),
    )
    constraint_step: float | None = option(
        AUTO,
        within(0, math.inf),
        "Step size of --constraint: each time that the constraint of a class is measured, its multiplier in the loss "
        "grows by this number times the violation. Auto: 0.01 for ceag and 0.0001 for equalized-loss; on validation "
        "images, 0.5 for ceag and 0.01 for equalized-loss.",
        ("prune", "tune"),
        search_range=(1e-5, 1.0),
    )
    performance_weighted: str = option(
        "none",
        theta_and_gamma,
        "Fine-tune on the predictions of the dense network, with the label in place of a wrong prediction, and with a "
        "weight for each image: THETA + (1 - THETA) (1 - p)^GAMMA, where p is the dense network's probability of the "
        "image's label. Written THETA,GAMMA, such as 0.5,1.",
        ("prune",),
    )
    data_quotas: str = option(
        "none",
        choice(("none", "recall")),
        "Fine-tune on a part of the training images: the lower a class's recall in the dense network, on validation "
        "images, the larger the part of the class's training images (recall).",
        ("prune",),
    )
    data_density: float = option(
        "0.5",
        within(0, 1, high_too=True),
        "Share of the training images that --data-quotas keeps.",
        ("prune",),
    )


@section("Number format")
class NumberFormatOptions:
    """Options of the number formats in which networks are trained and stored."""

    precision: str = option(
        "float32",
        choice(("float32", "bf16")),
        "Number format in which layers compute during training: float32, or bf16 (bfloat16, only with the engine "
        "torch). Weights, loss, evaluation and the gradient for scores are float32 in both cases.",
        (*TRAINING_COMMANDS, "tune"),
        heading="Training",
        needs=IN_SOME_TRAINING,
    )
    number_format: tuple[str, ...] = option(
        ",".join(NUMBER_FORMATS),
        several(choice(NUMBER_FORMATS)),
        f"Number formats of the weights, each in a separate run: {', '.join(NUMBER_FORMATS)}. dynamic-int8 has integer "
        "weights, and finds the range of the activations for each batch of images. fixed-int8 has integer weights, and "
        "fixed ranges that are measured on 100 training images.",
        ("quantize",),
    )
    all: bool = option(
        "false",
        boolean,
        "Quantize every dense network of the experiment.",
        ("quantize",),
    )


@section("Machine and runs")
class MachineOptions:
    """Options on where networks are trained, and which runs are made."""

    device: str | None = option(
        AUTO,
        choice(("cpu", "cuda")),
        "Device to train on: cpu or cuda. Auto: cuda if there is a GPU, else cpu.",
        (*TRAINING_COMMANDS, "study", "tune", "compress", "robustness", "quantize"),
        in_study=False,
    )
    engine: str | None = option(
        AUTO,
        choice(("torch", "native")),
        "Training back end: torch (PyTorch) or native (C++ that is compiled for this CPU). Auto: native if it can "
        "train the network, else torch.",
        (*TRAINING_COMMANDS, "study", "tune", "compress", "quantize"),
        in_study=False,
    )
    experiment: str | None = option(
        AUTO,
        nonempty_text,
        "MLflow experiment of the runs. Auto: MLflow's current experiment.",
        (*TRAINING_COMMANDS, "study", "tune", "compress", "exemplars", "robustness", "quantize", "export"),
        in_study=False,
        in_command={
            "study": {
                "help": "MLflow experiment of the runs. Auto: the experiment that MLflow's environment variables name, "
                "else the one that FILE names under the key experiment, else an experiment with the name of the study."
            }
        },
    )
    force: bool = option(
        "false",
        boolean,
        "Make new runs, even if finished runs with these options exist.",
        (*TRAINING_COMMANDS, "robustness", "quantize"),
        in_study=False,
        in_command={"robustness": {"help": "Measure the networks again, even if they have been measured."}},
    )
    log_model: bool = option(
        "false",
        boolean,
        "Also log the network as an MLflow model in the format ONNX (needs the extra onnx). prune logs the network of "
        "each ratio, and iterate the network of each iteration that prunes.",
        TRAINING_COMMANDS,
        in_study=False,
    )
    details: bool = option(
        "false",
        boolean,
        "Also print the slopes expected on new test images, with their intervals.",
        ("prune",),
        in_study=False,
    )


@section("Machine and runs")
class StudyOptions:
    """Options on how a study is run."""

    workers: int | None = option(
        AUTO,
        integer(1),
        "Number of processes that train at once, one thread each. Auto: one for each core.",
        ("study", "verify"),
        in_study=False,
    )
    executor: str = option(
        "processes",
        choice(("processes", "ray")),
        "Train in processes of this machine (processes), or on a running Ray cluster (ray).",
        ("study",),
        in_study=False,
    )
    gpus_per_step: float = option(
        "0",
        gpu_share,
        "Number of GPUs, or share of one, for each training with Ray.",
        ("study",),
        in_study=False,
    )
    dry_run: bool = option(
        "false",
        boolean,
        "Only show the grid, how many of its runs exist, and how long the others will take, estimated from finished "
        "runs.",
        ("study",),
        in_study=False,
    )
    protocol: str | None = option(
        AUTO,
        choice(PROTOCOLS),
        "Follow the text of Good et al., 2022 (paper), or their released code (released). Auto: as FILE says, else "
        "paper.",
        ("study",),
        heading="Data and network",
    )


@section("Search")
class SearchOptions:
    """Options on what `tune` searches."""

    seeds: tuple[int, ...] = option(
        "0,1,2",
        several(integer(0)),
        "Seeds of the dense networks that every trial prunes, written 0,1,2.",
        ("tune",),
        heading="Training",
    )
    objective: str = option(
        "accuracy",
        choice(("accuracy", "alpha", "both")),
        "Aim on validation images: most accuracy, least distortion between classes (alpha), or both.",
        ("tune",),
    )
    epsilon_range: tuple[float, float] = option(
        "1e-8,1e2",
        positive_range,
        "Smallest and largest epsilon that the search tries, on a logarithmic scale.",
        ("tune",),
    )
    tune_schedule: bool = option(
        "false",
        boolean,
        "Also search the ramp of the schedule cubic and the share of distillation.",
        ("tune",),
    )
    tune_mitigation: bool = option(
        "false",
        boolean,
        "Also search the strength of the mitigation that every trial has: --offset-shrinkage of --class-offsets, "
        "--class-weight-power of --class-weights, or --constraint-step of --constraint.",
        ("tune",),
    )
    tune_decay: bool = option(
        "false",
        boolean,
        "Also search how the learning rate of fine-tuning decays (--fine-tune-decay).",
        ("tune",),
    )
    n_trials: int = option(
        "20",
        integer(1),
        "Number of trials, including the reference trials (anchors); each ratio has three anchors, or six with "
        "--tune-schedule.",
        ("tune", "compress"),
        in_command={
            "compress": {
                "default": "40",
                "help": "Number of chains to try, at least 4, because a search may begin with four fixed chains. Only "
                "--budget ends the search before.",
            }
        },
    )
    timeout: float | None = option(
        AUTO,
        within(0, math.inf),
        "Seconds after which no trial starts, except a reference trial. Auto: no limit.",
        ("tune",),
    )
    confirm_seeds: int = option(
        "0",
        integer(0),
        "Number of new dense networks on which the best trial is compared with the reference trials.",
        ("tune", "compress"),
        in_command={
            "compress": {
                "help": "Number of new dense networks on which the chosen chain is also tested; 0, or 2 or more."
            }
        },
    )
    study_name: str | None = option(
        AUTO,
        nonempty_text,
        "Name of the search; a search of the same name is continued. Auto: made from the options.",
        ("tune", "compress"),
    )


@section("Search")
class CompressionOptions:
    """Options on what `compress` aims at, and when it stops."""

    max_class_loss: float = option(
        "3",
        within(0, 100),
        "Largest loss of recall of any class, since the dense network, that is allowed, in percentage points. A chain "
        "is chosen only if the upper bound of every class's loss is below this limit.",
        ("compress",),
    )
    max_accuracy_loss: float = option(
        "1",
        within(0, 100),
        "Largest loss of accuracy, since the dense network, that is allowed, in percentage points. The upper bound of "
        "the loss must be below this limit.",
        ("compress",),
    )
    minimize: str = option(
        "size",
        choice(("size", "latency", "macs")),
        "What to minimise: bytes of the ONNX file (size), time for an image in ONNX Runtime on one thread (latency), "
        "or multiply-accumulate operations for an image (macs).",
        ("compress",),
    )
    budget: float | None = option(
        AUTO,
        duration,
        "Time after which no chain is started, such as 90s, 30m or 2h. Auto: no limit.",
        ("compress",),
    )
    register: str | None = option(
        AUTO,
        registered_name,
        "Name, or NAME@ALIAS, under which MLflow's model registry gets the network if test images confirm the choice. "
        "Auto: it is not registered.",
        ("compress",),
    )


@section("Images")
class ExemplarsOptions:
    """Options on which cell `exemplars` shows, and what it writes."""

    study: str | None = option(
        AUTO,
        nonempty_text,
        "Name of a study: read the experiment that contains its runs, in place of --experiment.",
        ("exemplars",),
        heading="Machine and runs",
    )
    frames: Path | None = option(
        AUTO,
        path,
        "Folder or file that pruning-analysis export wrote, or folder that contains several of them, to read in place "
        "of an experiment.",
        ("exemplars",),
        heading="Machine and runs",
    )
    dataset: str | None = option(
        AUTO,
        nonempty_text,
        "Data set of the cell: a name, an .npz file, or a folder of images. Auto: the one that the runs name.",
        ("exemplars",),
        heading="Data and network",
    )
    model: str | None = option(
        AUTO,
        nonempty_text,
        "Network of the cell. Auto: the only one in the runs.",
        ("exemplars",),
        heading="Data and network",
    )
    pruner: str | None = option(
        AUTO,
        nonempty_text,
        "Pruner of the cell, or number format of quantized networks. Auto: the only one in the runs, apart from the "
        "control.",
        ("exemplars",),
        heading="Pruning",
    )
    ratio: float | None = option(
        AUTO,
        within(1, math.inf, low_too=True),
        "Pruning ratio of the cell. Auto: the only one in the runs.",
        ("exemplars",),
        heading="Pruning",
    )
    sparsity: float | None = option(
        AUTO,
        within(0, 1, low_too=True),
        "Share of the prunable weights that is pruned, if the runs log it. Auto: the only one in the runs.",
        ("exemplars",),
        heading="Pruning",
    )
    setting: tuple[str, ...] | None = option(
        AUTO,
        assignments,
        "Further params of the cell, written name=value, such as schedule=cubic or number_format=fixed-int8. Auto: the "
        "only value of each param in the runs.",
        ("exemplars",),
        heading="Pruning",
    )
    images: int = option(
        "100",
        integer(2),
        "Number of images on the labelling sheet. It must be even, because half of them are exemplars.",
        ("exemplars",),
    )
    seed: int = option(
        "0",
        integer(0),
        "Seed of the random choice of images for the labelling sheet.",
        ("exemplars",),
        heading="Training",
    )
    output: Path = option(
        "exemplars",
        path,
        "Folder that the files are written to.",
        ("exemplars",),
        heading="Files",
    )


@section("Training")
class VerifyOptions:
    """Options on which networks of a study `verify` trains again."""

    seed: int | None = option(
        AUTO,
        integer(0),
        "Seed of the networks of STUDY that are trained again; needed with STUDY.",
        ("verify",),
        in_study=False,
    )


@section("Files")
class GroupsOptions:
    """Options on which files `groups` writes."""

    output: Path = option(
        "groups.csv",
        path,
        "CSV file that the table of test images and their groups is written to.",
        ("groups",),
    )
    picture: Path | None = option(
        AUTO,
        path,
        "PNG file for a picture that shows how far a few test images lean to the side (their tilt). Auto: no picture.",
        ("groups",),
    )


@section("Images")
class RobustnessOptions:
    """Options on the images and networks that `robustness` measures."""

    corruptions: tuple[str, ...] | None = option(
        AUTO,
        several(choice(CORRUPTIONS)),
        f"Corruptions of the test images, written fog,contrast. Auto: all, which are {', '.join(CORRUPTIONS)}.",
        ("robustness",),
    )
    severities: tuple[int, ...] = option(
        text(SEVERITIES),
        several(integer(1, SEVERITIES[-1])),
        "Severities of each corruption, from 1 to 5, written 1,3,5.",
        ("robustness",),
    )
    images: int | None = option(
        AUTO,
        integer(1),
        "Number of test images to corrupt: each class has its share, and every run gets the same images. Auto: all.",
        ("robustness",),
    )
    folder: Path | None = option(
        AUTO,
        path,
        "Folder with images of some of the classes in <class>/, such as natural adversarial images, to measure in "
        "place of corrupted test images. Auto: none.",
        ("robustness",),
    )
    dataset: str | None = option(
        AUTO,
        nonempty_text,
        "Data set whose runs are measured and whose images are read: a name, an .npz file, or a folder of images. "
        "Auto: the data sets that the runs name.",
        ("robustness",),
        heading="Data and network",
    )
    model: str | None = option(
        AUTO,
        nonempty_text,
        "Import path of the runs' network, package.module:factory, if it is one of your own.",
        ("robustness",),
        heading="Data and network",
    )


@section("Number format")
class ExportOptions:
    """Options on what `export` writes."""

    format: str = option(
        "onnx",
        choice(("onnx",)),
        "File format: onnx.",
        ("export",),
    )
    output: Path | None = option(
        AUTO,
        path,
        "File to write the network to. Auto: no file, only the MLflow model.",
        ("export",),
        heading="Files",
    )
    shrink: bool = option(
        "false",
        boolean,
        "Write the network to --output without the channels that no layer reads, and log no MLflow model of it (needs "
        "the extra structured).",
        ("export",),
        heading="Pruning",
    )


_SECTIONS = (
    *(
        DataOptions,
        ReadingOptions,
        TrainingOptions,
        PruningOptions,
        IterationOptions,
        FineTuningOptions,
        NumberFormatOptions,
        MachineOptions,
    ),
    *(
        StudyOptions,
        VerifyOptions,
        SearchOptions,
        CompressionOptions,
        ExemplarsOptions,
        GroupsOptions,
        RobustnessOptions,
        ExportOptions,
    ),
)
OPTIONS = tuple(record for group in _SECTIONS for record in vars(group).values() if isinstance(record, Option))
