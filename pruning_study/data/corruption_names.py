"""Names and severities of the corruptions, apart from what makes them, which takes long to import."""

# Names in the tables of Hooker et al. -> names in the package `imagecorruptions-imaug`
CORRUPTIONS = {
    "brightness": "brightness",
    "contrast": "contrast",
    "defocus_blur": "defocus_blur",
    "elastic": "elastic_transform",
    "fog": "fog",
    "frosted_glass_blur": "glass_blur",
    "gaussian_noise": "gaussian_noise",
    "impulse_noise": "impulse_noise",
    "jpeg_compression": "jpeg_compression",
    "pixelate": "pixelate",
    "shot_noise": "shot_noise",
    "zoom_blur": "zoom_blur",
}
SEVERITIES = (1, 2, 3, 4, 5)
