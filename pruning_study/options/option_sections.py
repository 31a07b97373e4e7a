"""The sections that `--help` shows options in, and examples of each command."""

_DATA = (
    *("dataset", "model", "weights", "recipe", "protocol", "data_dir", "image_size", "max_data_gib"),
    *("validation_fraction", "test_fraction", "class_fractions"),
)
_TRAINING = (
    "seed",
    "seeds",
    "epochs",
    "batch_size",
    "learning_rate",
    "momentum",
    "weight_decay",
    "decay",
    "kept_epoch",
    "average_epochs",
    "precision",
)
_PRUNING = (
    *(
        "pruner",
        "ratio",
        "sparsity",
        "iterations",
        "keep",
        "weight_treatment",
        "rewind_step",
        "setting",
        "scope",
        "epsilon",
        "prune_output_layer",
        "shrink",
        "dense_run_id",
    ),
    *("gradient_objective", "gradient_batches", "gradient_mode"),
)
_FINE_TUNING = (
    *("fine_tune_epochs", "fine_tune_learning_rate", "fine_tune_decay", "fine_tune_average_epochs"),
    *("schedule", "ramp", "ramp_steps", "regrow"),
    *("start", "begin", "end", "frequency"),
    *("data_quotas", "data_density"),
    *("distill", "temperature", "performance_weighted"),
    *("constraint", "constraint_images", "constraint_step"),
    *("class_weights", "class_weight_power"),
    *("class_offsets", "offset_shrinkage"),
)
_SEARCH = (
    *("objective", "epsilon_range", "tune_schedule", "tune_mitigation", "tune_decay"),
    *("n_trials", "timeout", "confirm_seeds", "study_name"),
)
_MACHINE = (
    *("workers", "executor", "gpus_per_step", "device", "engine", "experiment", "frames", "study"),
    *("dry_run", "force", "log_model", "details"),
)
_FILES = ("key", "output", "picture")
_IMAGES = ("corruptions", "severities", "images", "folder")
_FORMAT = ("number_format", "all", "format")
# A command shows the options that it has of each section.
SECTIONS = {
    "Search": _SEARCH,
    "Images": _IMAGES,
    "Number format": _FORMAT,
    "Files": _FILES,
    "Pruning": _PRUNING,
    "Fine-tuning and gradual pruning": _FINE_TUNING,
    "Data and network": _DATA,
    "Training": _TRAINING,
    "Machine and runs": _MACHINE,
}
EXAMPLES = {
    "train": (
        "pruning-study train",
        "pruning-study train --dataset cifar10 --model resnet20 --seed 0-4",
    ),
    "prune": (
        "pruning-study prune --pruner up --ratio 2,10,50",
        "pruning-study prune --ratio 20 --schedule cubic --class-offsets dense",
        "pruning-study prune --dataset photos/ --model torchvision:resnet18 --image-size 64 --ratio 4",
    ),
    "iterate": (
        "pruning-study iterate --pruner l1-unstructured --iterations 5",
        "pruning-study iterate --dataset mnist --pruner global-unstructured --weight-treatment rewind --seed 0-5",
        "pruning-study iterate --pruner mp --iterations 21 --weight-treatment rewind --rewind-step 500",
    ),
    "study": (
        "pruning-study study studies/quick.yaml --dry-run",
        "pruning-study study studies/quick.yaml",
    ),
    "tune": (
        "pruning-study tune --ratio 10 --n-trials 20",
        "pruning-study tune --objective both --tune-schedule --n-trials 40",
    ),
    "exemplars": (
        "pruning-study exemplars --study quick --pruner mp --ratio 10",
        "pruning-study exemplars --frames results/lenet5/frames --dataset fashion-mnist --pruner mp --ratio 10",
    ),
    "tally": (
        "pruning-study tally labelling_sheet.csv --key labelling_key.csv",
        "pruning-study tally filled/anna.csv filled/ben.csv --key exemplars/labelling_key.csv --output tallied",
    ),
    "groups": ("pruning-study groups --dataset qmnist --output qmnist_groups.csv",),
    "robustness": (
        "pruning-study robustness --images 1000 --severities 1,3,5",
        "pruning-study robustness RUN_ID --folder natural-adversarial/",
    ),
    "quantize": (
        "pruning-study quantize",
        "pruning-study quantize RUN_ID --number-format fixed-int8",
        "pruning-study quantize --all --experiment lenet5-up",
    ),
    "export": (
        "pruning-study export RUN_ID --output model.onnx",
        "pruning-study export RUN_ID --shrink true --output small.onnx",
    ),
    "send": ("pruning-study send unsent-run",),
}
