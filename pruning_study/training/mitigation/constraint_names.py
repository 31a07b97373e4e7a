"""Names of constraints and their default dual steps, kept apart from the constraints, which are slow to import."""

CEAG, EQUALIZED_LOSS = "ceag", "equalized-loss"
TRAIN, VALIDATION = "train", "validation"
# Dual step sizes by constraint and images. The sizes for training images are from the released code of Hashemizadeh et
# al. (2024), and the sizes for validation images are this project's own.
DUAL_STEPS = {
    (CEAG, TRAIN): 0.01,
    (CEAG, VALIDATION): 0.5,
    (EQUALIZED_LOSS, TRAIN): 1e-4,
    (EQUALIZED_LOSS, VALIDATION): 0.01,
}
