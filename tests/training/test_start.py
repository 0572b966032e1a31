import json
import shutil
from pathlib import Path

import pytest

from phi2demo.errors import ModelError, SettingsError
from phi2demo.training.presets import PRESETS
from phi2demo.training.start import check_start

TINY = PRESETS["tiny"]


def test_a_base_of_the_shape_is_fine(tiny_base: Path) -> None:
    check_start(tiny_base, TINY)


def test_what_is_no_base_is_refused_at_once(tiny_adapter: Path, tiny_base: Path, tmp_path: Path) -> None:
    for folder in (Path("nope"), Path("/nope"), tiny_base / "config.json"):
        with pytest.raises(SettingsError, match=f"--start {folder} is no folder here; give that of a base"):
            check_start(folder, TINY)
    with pytest.raises(SettingsError, match="holds an adapter, which is no base; give the folder of its base"):
        check_start(tiny_adapter, TINY)
    with pytest.raises(ModelError, match=r"has no config\.json, so it is no model"):
        check_start(tmp_path, TINY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_position_embeddings": 128}, "has max_position_embeddings 128, the preset 256"),
        ({"model_type": "llama"}, "holds a model of type 'llama'; give a base that pretrain made"),
    ],
)
def test_another_shape_is_refused(tiny_base: Path, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(SettingsError, match=message):
        check_start(other, TINY)
