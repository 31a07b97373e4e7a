"""Names of constraints and their usual dual steps, apart from the constraints, which take long to import."""

CEAG, EQUALIZED_LOSS = "ceag", "equalized-loss"
TRAIN, VALIDATION = "train", "validation"
# Sizes of dual steps by constraint and images: those of the released code, and for validation images ours.
DUAL_STEPS = {
    (CEAG, TRAIN): 0.01,
    (CEAG, VALIDATION): 0.5,
    (EQUALIZED_LOSS, TRAIN): 1e-4,
    (EQUALIZED_LOSS, VALIDATION): 0.01,
}
