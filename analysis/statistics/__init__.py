"""Pure functions of arrays: class metrics, recall distortion, resampling and hypothesis tests."""
