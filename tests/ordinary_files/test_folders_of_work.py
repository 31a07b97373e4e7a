"""Folders that people work in."""

from urllib.parse import quote

import numpy as np
import pytest

from analysis.audit import audit
from analysis.audit import result as audit_result
from pruning_study.tracking import reach


@pytest.mark.parametrize("name", ["a%41", "what?", "100 %", "a#b"])
def test_the_default_store_lies_in_a_folder_of_any_name(tmp_path, name):
    """It was made in another folder, or not at all. (MLflow leaves an empty folder with the escaped name beside it.)"""
    folder = tmp_path / name
    folder.mkdir()
    reach.ensure(f"sqlite:///{quote(str(folder))}/mlflow.db")  # as MLflow writes the address of its default store
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {folder}
    assert (folder / "mlflow.db").stat().st_size > 0
    assert {path.name.partition("-")[0].removesuffix(".lock") for path in folder.iterdir()} == {"mlflow.db"}


@pytest.mark.parametrize("first", ["sound", "chance"])
def test_an_audit_takes_the_place_of_one_of_which_just_one_is_at_chance(tmp_path, first):
    """It was refused as a file that the command had not made."""
    label = np.repeat([0, 1, 2], 40)
    before = np.where(np.arange(120) % 10, label, (label + 1) % 3)
    sound = audit.audit_predictions(label, before, before)
    chance = audit.audit_predictions(label, before, np.zeros(120, int))
    assert chance.chance_level.any_at_chance
    folder = tmp_path / "audit"
    for result in (sound, chance) if first == "sound" else (chance, sound):
        audit_result.write(result, folder)
    assert {path.name for path in folder.iterdir()} >= set(audit_result.FILES)
