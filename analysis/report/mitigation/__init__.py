"""Mitigations, which are meant to spare classes: their gains on validation images and on test images."""
