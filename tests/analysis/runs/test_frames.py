"""What is made of a frame is made once, and anew where the frame has changed."""

import pandas as pd

from analysis.runs.frames import once_per_frame


def test_what_is_made_of_a_frame_is_made_once_until_the_frame_changes():
    asked = []

    @once_per_frame
    def total(frame):
        asked.append(frame)
        return int(frame["a"].sum())

    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert [total(frame), total(frame), len(asked)] == [3, 3, 1]
    frame.loc[0, "a"] = 5
    assert [total(frame), total(frame), len(asked)] == [7, 7, 2]
    frame["c"] = 0.5
    assert [total(frame), total(pd.DataFrame({"a": [1]})), len(asked)] == [7, 1, 4]
