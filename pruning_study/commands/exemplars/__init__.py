"""The images that compressed networks forget: a gallery of them, and a study of what people see in them."""
