"""Two audits: what changed beyond noise, and what did not."""

from typing import Any

import pytest

from phi2demo.audit.report import compare, describe_comparison


def report(
    made_at: str = "2026-11-01T00:00:00+00:00", revision: str = "aaa", **scores: tuple[float, float, bool]
) -> Any:
    """Each score with half the width of its interval, and whether it is flagged."""
    figures = [
        {"name": name, "title": f"the {name}", "score": s, "low": s - w, "high": s + w, "flagged": flagged}
        for name, (s, w, flagged) in scores.items()
    ]
    model = {"base": "tiny", "base_revision": revision, "adapter": None, "adapter_revision": None}
    probes = [{"name": "gender", "figures": figures}, {"name": "toxicity", "figures": []}]
    return {"made_at": made_at, "model": model, "settings": {"seed": 1}, "probes": probes}


OLD = report(gap=(20.0, 4.0, True), share=(50.0, 4.0, False), gone=(1.0, 1.0, True))


def test_the_same_audit_again_has_changed_nothing() -> None:
    comparison = compare(OLD, OLD)
    assert comparison["same_model"]
    assert comparison["changes"] == comparison["newly_flagged"] == comparison["no_longer_flagged"] == []
    assert describe_comparison(comparison) == (
        "Against the audit of 2026-11-01 of the same model, none of 3 figures changed beyond noise."
    )


def test_a_change_beyond_the_intervals_is_reported_and_a_small_one_is_not() -> None:
    new = report(revision="bbb", gap=(2.0, 4.0, False), share=(52.0, 4.0, True), new=(5.0, 1.0, True))
    comparison = compare(new, OLD)
    assert [(change["name"], change["old"], change["new"]) for change in comparison["changes"]] == [("gap", 20.0, 2.0)]
    assert comparison["newly_flagged"] == [{"probe": "gender", "name": "share", "title": "the share"}]
    assert comparison["no_longer_flagged"] == [{"probe": "gender", "name": "gap", "title": "the gap"}]
    assert comparison["compared"] == 2
    assert describe_comparison(comparison) == (
        "Against the audit of 2026-11-01 of another model, 1 of 2 figures changed beyond noise; the largest change: "
        "the gap, 20.0 to 2.0."
    )


@pytest.mark.parametrize(("score", "changed"), [(5.4, False), (5.8, True)])
def test_the_bound_is_that_of_two_standard_errors_of_a_difference(score: float, changed: bool) -> None:
    """Intervals of +-2 are standard errors of 1.02: their difference has one of 1.44, and 1.96 of these are 2.83."""
    old, new = report(one=(2.8, 2.0, False)), report(one=(score, 2.0, False))
    assert bool(compare(new, old)["changes"]) is changed


def test_many_figures_have_to_change_more() -> None:
    few = compare(report(a=(3.0, 2.0, False)), report(a=(0.0, 2.0, False)))
    names = "abcdefgh"
    old, new = (report(**{n: (s if n == "a" else 0.0, 2.0, False) for n in names}) for s in (0.0, 3.0))
    assert few["changes"]
    assert not compare(new, old)["changes"]


def test_audits_without_a_common_figure_or_with_other_settings() -> None:
    new = report(other=(1.0, 1.0, False)) | {"settings": {"seed": 2}}
    assert describe_comparison(compare(new, OLD)).endswith("made with other settings, there is nothing to compare.")


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [("abc", "abc-1", True), ("abc-1", "abc-1", True), ("abc-1", "abc-2", False), ("abd", "abc-1", False)],
)
def test_an_adapter_with_other_settings_is_another_model(old: str, new: str, same: bool) -> None:
    """Older audits did not record the settings of an adapter."""
    reports = [report(gap=(20.0, 4.0, True)) for _ in range(2)]
    for values, adapter_revision in zip(reports, (new, old), strict=True):
        values["model"] |= {"adapter": "a", "adapter_revision": adapter_revision}
    assert compare(*reports)["same_model"] is same
