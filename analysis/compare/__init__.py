"""Compare networks before and after compression by class or group, with a table, sentences and a picture."""
