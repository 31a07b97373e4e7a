"""The report's section on searches of epsilon."""

_TUNING = (
    "Trials of epsilon, the weight of undecayed pruning, each measured on validation images alone; then the winner and "
    "the anchors on test images: lambda, the paper's; MP, so large that it ranks as magnitude pruning; GP, 0, which is "
    "gradient pruning. Distortion is what alpha on new images has above 1, plus what the correlation of the classes' "
    "balances lacks of 1."
)
