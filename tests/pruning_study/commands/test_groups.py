import numpy as np
import pandas as pd
import pytest

from analysis.statistics import groups


def test_the_table_is_one_that_the_report_reads(run_command, tiny, tmp_path):
    image = np.zeros((1, 28, 28, 1), np.uint8)
    changes = {"test_images": np.concatenate([image, tiny["test_images"][1:]]), "test_writer": np.arange(200) // 50}
    np.savez(tmp_path / "letters.npz", **{**tiny, **changes})
    file = tmp_path / "new" / "my letters.csv"
    picture = tmp_path / "pictures" / "tilt.png"
    result = run_command("groups", "--dataset", tmp_path / "letters.npz", "--output", file, "--picture", picture)
    assert result.exit_code == 0, result.output
    assert f"{file}: 200 test images of letters by writer (4 groups)" in result.output
    assert f"pruning-analysis report --groups '{file}'\n" in result.output
    assert f"{picture}: the tilt of a few test images" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = groups.read(file, 200)
    assert found.groupings["writer"].tolist() == [str(number // 50) for number in range(200)]
    assert list(found.measures) == ["tilt", "absolute_tilt", "activation", "distance"]
    assert np.flatnonzero(np.isnan(found.measures["tilt"])).tolist() == [0]  # the image without ink
    assert pd.read_csv(file).isna().sum().sum() == 2
    assert sorted(path.name for path in file.parent.iterdir()) == ["my letters.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "zzz"], "error: --dataset: 'zzz' is no data set"),
        (["--output", "."], "error: --output: . is a folder: name a file"),
        (["--picture", "."], "error: --picture: . is a folder: name a file"),
        (["--test-fraction", "0.5"], "error: --test-fraction: fashion-mnist-mini has test images"),
    ],
)
def test_what_cannot_be_is_a_usage_error(run_command, options, message):
    result = run_command("groups", *options)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.attack
@pytest.mark.parametrize("option", ["--output", "--picture"])
@pytest.mark.parametrize("output", ["letters.npz", "link", "data/../letters.npz"])
def test_a_table_or_picture_over_the_data_set__is_refused_and_the_data_set_stays(
    run_command, tiny_npz, tmp_path, monkeypatch, option, output
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "letters.npz").write_bytes(tiny_npz.read_bytes())
    (tmp_path / "link").symlink_to("letters.npz")
    result = run_command("groups", "--dataset", "letters.npz", option, output)
    assert result.exit_code == 2
    assert f"{option}: images are read from {output}" in result.output
    assert (tmp_path / "letters.npz").read_bytes() == tiny_npz.read_bytes()
