"""An explanation in plain words: what was explained, and how far to believe it. For the page, the command line and files."""

from phi2demo.explain.attribution import Attribution, Curve
from phi2demo.explain.request import METHODS, VALUES
from phi2demo.tasks.form import FORMS


def question(attribution: Attribution) -> str:
    """What the explanation answers, in one line."""
    request, output = attribution.request, shown(attribution.output)
    if request.of == "difference":
        what = f"What did finetuning change about how likely “{output}” is"
    else:
        model = "second adapter" if request.of == "second" else f"{request.of} model"
        what = f"Which {attribution.kind} made the {model} write “{output}”"
    return f"{what} rather than “{shown(request.instead)}”?" if request.instead else f"{what}?"


def settings(attribution: Attribution) -> str:
    """How it was found, in one line."""
    request = attribution.request
    hidden = (
        f"hidden {attribution.kind} replaced by “{request.mask}”"
        if request.mask
        else f"hidden {attribution.kind} dropped"
    )
    base = f", the base asked {FORMS[request.base_form].lower()}" if "base" in request.uses else ""
    adapted = request.adapter_strength != 1 and request.uses != ("base",)
    strength = f", the adapter at {request.adapter_strength:g} of its strength" if adapted else ""
    read = ", the text read in sentence case" if request.is_recased else ""
    return f"{METHODS[request.method]}, {VALUES[request.value]} in nats, {hidden}{base}{strength}{read}"


def effect(attribution: Attribution) -> str:
    """What the text as a whole does, in one line."""
    base, full = float(attribution.base_values.sum()), float(attribution.full_values.sum())
    return (
        f"{full:.2f} with the whole text, {base:.2f} with all of it hidden: the text is worth {full - base:+.2f} nats"
    )


def trust_lines(attribution: Attribution) -> tuple[str, ...]:
    """The trust figures, a line each, with what is good."""
    trust = attribution.trust
    lines = [f"values and effect of the text differ by {trust.remainder:.1%}"]
    if trust.opened is not None and trust.split_evenly is not None:
        lines.append(f"tree opened {trust.opened:.0%}, {trust.split_evenly:.1%} of the credit only split evenly")
    if trust.standard_error is not None and attribution.units:
        strongest = attribution.ranked[0]
        lines.append(
            f"standard error of the strongest unit {trust.standard_error[strongest]:.2g}, "
            f"its value {attribution.totals[strongest]:+.2f}"
        )
    if trust.fit is not None:
        lines.append(f"the linear model explains {trust.fit:.0%} of the variance (R²)")
    if trust.deletion is not None:
        lines.append(_area("deletion", trust.deletion, better=trust.deletion.area < trust.deletion.random_area))
    if trust.insertion is not None:
        lines.append(_area("insertion", trust.insertion, better=trust.insertion.area > trust.insertion.random_area))
    if trust.agreement is not None:
        lines.append(f"SHAP and LIME agree {trust.agreement:.2f} (rank correlation)")
    lines.append(f"{trust.calls:,} prompts scored, {trust.seconds:.1f} s, seed {trust.seed}")
    return tuple(lines)


def shown(text: str, *, longest: int = 80) -> str:
    """A text in one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _area(name: str, curve: Curve, *, better: bool) -> str:
    verdict = "better" if better else "no better"
    return f"{name} area {curve.area:.2f}, random orders {curve.random_area:.2f}: {verdict} than chance"
