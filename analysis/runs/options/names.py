"""Names that options accept. `pruning_study` defines their meanings."""

# Pruners, and the scope of each unless `--scope` overrides it
PRUNERS = {
    "mp": "global",
    "gp": "global",
    "up": "global",
    "rp": "global",
    "up-signed": "global",
    "up-sum": "global",
    "l1-unstructured": "layer",
    "random-unstructured": "layer",
    "global-unstructured": "global",
    "l1-structured": "layer",
    "l2-structured": "layer",
    "linf-structured": "layer",
    "random-structured": "layer",
    "fairgrape": "layer",
    "chip": "layer",
    "l1-filter": "layer",
    "none": "global",
}
PROTOCOLS = ("paper", "released")
DECAYS = ("none", "cosine", "linear")  # of the learning rate
REGULARIZERS = ("l2", "l1", "elastic", "decoupled")
SGD, ADAM = OPTIMIZERS = ("sgd", "adam")
# When the weights of a fine-tuned network are quantised
WHILE_TRAINING, AFTER_TRAINING = QUANTIZATIONS = ("while-training", "after-training")
NUMBER_FORMATS = ("float16", "dynamic-int8", "fixed-int8")
# Names as in the tables of Hooker et al.
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
# Schedules of networks that are sparse from their initial weights
SET, RIGL = SPARSE_SCHEDULES = ("set", "rigl")
# Long forms of pruners' short names, and names used elsewhere
PRUNINGS = {"mp": "magnitude pruning", "gp": "gradient pruning", "up": "undecayed pruning", "rp": "random pruning"}
OTHER_NAMES = {"magnitude": "mp", "gradient": "gp", "taylor": "gp", "undecayed": "up", "random": "rp", "l1": "mp"}
