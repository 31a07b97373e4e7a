"""Names that options accept, except those of pruners, regularisers and models, which are in `pruning_study`."""

PROTOCOLS = ("paper", "released")
DECAYS = ("none", "cosine", "linear")  # how the learning rate decays
SGD, ADAM = OPTIMIZERS = ("sgd", "adam")
# When the weights of a fine-tuned network are quantized
WHILE_TRAINING, AFTER_TRAINING = QUANTIZATIONS = ("while-training", "after-training")
NUMBER_FORMATS = ("float16", "dynamic-int8", "fixed-int8")
# Named as in the tables of Hooker et al. (2019)
CORRUPTIONS = (
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic",
    "fog",
    "frosted_glass_blur",
    "gaussian_noise",
    "impulse_noise",
    "jpeg_compression",
    "pixelate",
    "shot_noise",
    "zoom_blur",
)
SEVERITIES = (1, 2, 3, 4, 5)
# Schedules of networks that are sparse from their initial weights on
SET, RIGL = SPARSE_SCHEDULES = ("set", "rigl")
