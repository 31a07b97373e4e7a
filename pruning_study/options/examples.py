"""Examples of each command, for its help."""

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
    "compress": (
        "pruning-study compress --decay cosine --max-class-loss 15 --max-accuracy-loss 5 --n-trials 8",
        "pruning-study compress --dataset fashion-mnist --decay cosine --minimize latency --budget 30m",
        "pruning-study compress --dataset photos/ --model timm:resnet18 --image-size 64 --confirm-seeds 3",
    ),
    "exemplars": (
        "pruning-study exemplars --study quick --pruner mp --ratio 10",
        "pruning-study exemplars --frames results/lenet5/frames.zip --dataset fashion-mnist --pruner mp --ratio 10",
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
    "verify": (
        "pruning-study verify",
        "pruning-study verify results/proportion/frames --seed 300",
    ),
}
