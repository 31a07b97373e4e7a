"""Methods that are meant to spare classes: what each of them kept, on validation images and on new ones."""
