"""Images that compressed networks forget (PIEs): a gallery of them, and a study of what people see in them."""
