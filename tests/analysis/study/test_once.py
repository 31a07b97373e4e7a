"""What follows from a study is worked out once for each study."""

from dataclasses import dataclass

from analysis.study.once import once

asked = []


@dataclass(frozen=True, eq=False)
class Numbers:
    values: tuple[int, ...]

    @property
    @once
    def total(self):
        asked.append("total")
        return sum(self.values)


@once
def squares(numbers):
    asked.append("squares")
    return [value**2 for value in numbers.values]


def test_a_function_and_a_property_are_worked_out_once_for_each_object():
    first, same = Numbers((1, 2)), Numbers((1, 2))
    assert [first.total, first.total, squares(first)] == [3, 3, [1, 4]]
    assert squares(first) is squares(first)
    assert asked == ["total", "squares"]
    assert [same.total, squares(same)] == [3, [1, 4]]
    assert asked == ["total", "squares"] * 2
