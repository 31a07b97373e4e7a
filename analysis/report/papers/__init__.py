"""The report's sections on each paper, and the papers' claims, which a study tests."""
