"""What the report says about each paper, and the claims that a study is held against."""
