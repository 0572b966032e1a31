"""Cards of models that are nowhere: one in a folder, hostile and well-formed, and one made on the spot."""

from pathlib import Path
from tempfile import mkdtemp

from phi2demo.cards.model_cards import ModelCards, Place
from phi2demo.engine.engine import Variant
from tests.cards.reports import adapter_facts, base_facts

CARD = """---
license: mit
language: [en, de]
model-index:
- name: adapter
  results:
  - task: {type: translation}
    dataset: {name: tatoeba.en-de, type: tatoeba.en-de}
    metrics:
    - type: bleu
      value: 26.4
      name: BLEU
      args: {n: 1618, low: 25.4, high: 27.4, base: {value: 20.0}, against_base: better}
---
# A card

## Training

Trained with care <script>window.hacked = 1</script> and ${window.hacked = 2} {{ window.hacked = 3 }}.
<img src="x" onerror="window.hacked = 4">

![The loss](loss.svg)

| a column that is long | another column that is long | a third column that is long | a fourth column |
| --- | --- | --- | --- |
| averyveryverylongwordwithoutanyspaceinit | averyveryverylongwordwithoutanyspaceinit | averyveryverylongword | x |

See [the citation](#citation), [the web](https://example.org/a) and [nothing](javascript:window.hacked=5).

## Citation

```bibtex
@misc{adapter, title = {A <b>title</b>}}
```

**APA:**

Example, A. (2026). *A title*.
"""

PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><script>parent.hacked = 6</script>'
    '<rect width="40" height="30" fill="green"/></svg>'
)


def scripted_model_cards(with_adapter: bool = True, folder: Path | None = None) -> ModelCards:
    """The finetuned model with its own card, the base without one."""
    root = folder or Path(mkdtemp())
    adapter, base = root / "adapter", root / "base"
    for made in (adapter, base):
        made.mkdir()
    (adapter / "README.md").write_text(CARD, encoding="utf-8")
    (adapter / "loss.svg").write_text(PICTURE, encoding="utf-8")
    places: dict[Variant, Place] = {}
    if with_adapter:
        places["finetuned"] = Place(adapter, lambda recorded: adapter_facts(reports=()))
    places["base"] = Place(base, lambda recorded: base_facts())
    return ModelCards(places)
