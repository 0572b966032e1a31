"""Energy and CO2e on the Model tab: what this app has used so far, and a calculator for whatever a person types."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import gradio as gr

from phi2demo.emissions.calculator import CORES, METHOD, OWN, PUBLISHED, Form, amount, calculate, hardware_titles
from phi2demo.emissions.footprint import WORLD, Emissions, Hardware, average_pue, regions
from phi2demo.emissions.meter import METHOD as METER_METHOD
from phi2demo.emissions.meter import Meter, Work, estimate_work
from phi2demo.engine.loader import EngineLoader
from phi2demo.errors import Phi2DemoError, SettingsError
from phi2demo.ui import markup

Updates = dict[Any, Any]

_TYPED = ("watts", "intensity")
"""Fields that may be left empty."""

_PRIVATE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class EmissionsPanel:
    """Its components."""

    electricity: Any
    """Whose electricity the app runs on."""
    update: Any
    used: Any
    take_over: Any
    fields: dict[str, Any]
    """Of the calculator, by the names of `Form`."""
    examples: list[Any]
    """Buttons, one for each published figure."""
    result: Any
    filled: Any
    """The form as a button filled it in, and what is said of it; None before."""


def build_emissions_panel() -> EmissionsPanel:
    """Lay it out."""
    gr.HTML('<h2 class="model-name">Energy and CO2e of this app</h2>', apply_default_css=False)
    used = gr.HTML("", apply_default_css=False, elem_classes="used")
    with gr.Row(elem_classes="used-actions"):
        electricity = gr.Dropdown(list(regions()), value=WORLD, label="Electricity of", elem_classes="region")
        update = gr.Button("Update", size="sm", min_width=0, scale=0)
        take_over = gr.Button("Put into the calculator", size="sm", min_width=0, scale=0)
    with gr.Accordion("Calculate energy and CO2e of anything else", open=False, elem_classes="calculator"):
        with gr.Row(elem_classes="published"):
            gr.HTML("<span>Published figures to check it by:</span>", apply_default_css=False)
            examples = [gr.Button(each.title, size="sm", min_width=0, scale=0) for each in PUBLISHED]
        fields = _fields()
        start = calculate(Form())
        result = gr.HTML(_calculated(start.emissions, start.energy, start.gas), apply_default_css=False)
    return EmissionsPanel(electricity, update, used, take_over, fields, examples, result, gr.State(None))


def _fields() -> dict[str, Any]:
    start = Form()
    with gr.Row(elem_classes="calculator-fields"):
        return {
            "hardware": gr.Dropdown(list(hardware_titles()), value=CORES, label="Hardware"),
            "watts": _typed("Watts of each", visible=False),
            "count": gr.Number(start.count, label="Count"),
            "hours": gr.Number(start.hours, label="Hours"),
            "usage": gr.Number(start.usage, label="Usage, %"),
            "memory_gb": gr.Number(start.memory_gb, label="Memory, GB"),
            "pue": gr.Number(average_pue(), label="PUE"),
            "region": gr.Dropdown(list(regions()), value=WORLD, label="Region"),
            "intensity": _typed("Own g CO2e per kWh", placeholder="the region's"),
        }


def _typed(label: str, *, placeholder: str = "", visible: bool = True) -> Any:
    """A number or nothing; gradio's box for numbers shows 0 where it has no value."""
    return gr.Textbox(label=label, placeholder=placeholder, max_lines=1, visible=visible)


def connect_emissions(panel: EmissionsPanel, handlers: "EmissionsHandlers") -> None:
    """Live: every change is calculated; what is typed is never replaced but by a button."""
    fields = panel.fields
    others = [field for name, field in fields.items() if name != "watts"]
    # the change of a box that is not yet seen is told at once, so it comes last
    filled = [*others, panel.result, panel.filled, fields["watts"]]
    gr.on(
        # gradio tells the input of a text box by its keys: not what is pasted or deleted
        [field.change if name in _TYPED else field.input for name, field in fields.items()],
        handlers.calculate,
        {*fields.values(), panel.filled},
        [panel.result, fields["watts"]],
        trigger_mode="always_last",
        **_PRIVATE,
    )
    for at, button in enumerate(panel.examples):
        button.click(handlers.published_at(at), None, filled, **_PRIVATE)
    for event in (panel.electricity.change, panel.update.click):
        event(handlers.used, panel.electricity, panel.used, **_PRIVATE)
    panel.take_over.click(handlers.take_over, panel.electricity, filled, **_PRIVATE)


class EmissionsHandlers:
    """Values to estimates, and back to what is shown. Errors are said in the place of the result."""

    def __init__(self, panel: EmissionsPanel, loader: EngineLoader, meter: Meter) -> None:
        self._panel, self._loader, self._meter = panel, loader, meter

    def calculate(self, values: Mapping[Any, Any]) -> Updates:
        """The result for the form as it is filled in."""
        fields = self._panel.fields
        shown: Updates = {fields["watts"]: gr.Textbox(visible=values[fields["hardware"]] == OWN)}
        try:
            form = self._form(values)
        except SettingsError as error:
            return shown | {self._panel.result: markup.status(str(error), "error")}
        filled, compared = values[self._panel.filled] or (None, "")
        return shown | {self._panel.result: _result(form, compared if form == filled else "")}

    def published_at(self, at: int) -> Any:
        """The handler that fills in one of the published figures."""

        def fill() -> Updates:
            example = PUBLISHED[at]
            compared = f"Published: {example.says}. Source: {example.source}."
            return self._filled(example.form, compared)

        return fill

    def take_over(self, region: str) -> Updates:
        """Fill in what this app has used: its mean power over its hours of computing."""
        try:
            found = self._estimate(self._meter.work, region)
        except Phi2DemoError as error:
            return {self._panel.result: markup.status(str(error), "error")}
        form = Form(OWN, watts=round(found.power_w, 2), hours=round(found.hours, 6), pue=found.pue, region=region)
        return self._filled(form, "The mean power of this app while its model computed, memory included.")

    def used(self, region: str) -> str:
        """What the app has used since it started."""
        work = self._meter.work
        try:
            return _used(work, self._estimate(work, region))
        except Phi2DemoError as error:
            return markup.note(str(error), "warning")

    def _form(self, values: Mapping[Any, Any]) -> Form:
        given = {name: values[field] for name, field in self._panel.fields.items()}
        return Form(**given | {name: _number(self._panel.fields[name].label, given[name]) for name in _TYPED})

    def _filled(self, form: Form, compared: str) -> Updates:
        values = {self._panel.fields[name]: value for name, value in asdict(form).items()}
        watts = self._panel.fields["watts"]
        values[watts] = gr.Textbox(form.watts, visible=form.hardware == OWN)
        return values | {self._panel.result: _result(form, compared), self._panel.filled: (form, compared)}

    def _estimate(self, work: Work, region: str) -> Emissions:
        return estimate_work(work, self._hardware(), region=region)

    def _hardware(self) -> Hardware:
        from phi2demo.emissions.hardware import detect

        return detect(self._loader.engine().info.device.partition(":")[0], 1)


def _number(label: str, typed: str | None) -> float | None:
    """Empty is None."""
    words = (typed or "").strip()
    try:
        return float(words) if words else None
    except ValueError as error:
        raise SettingsError(f"{label} is {words[:40]!r}: give a number such as 41.5.") from error


def _result(form: Form, compared: str = "") -> str:
    try:
        found = calculate(form)
    except SettingsError as error:
        return markup.status(str(error), "error")
    return _calculated(found.emissions, found.energy, found.gas, compared)


def _calculated(found: Emissions, energy: str, gas: str, compared: str = "") -> str:
    return (
        f'<p class="calculated" role="status"><strong>{escape(amount(found.energy_kwh))} kWh</strong>, '
        f"<strong>{escape(amount(found.co2e_kg))} kg CO2e</strong></p>"
        f'<p class="formula">{escape(energy)}</p><p class="formula">{escape(gas)}</p>'
        + markup.note(compared, "good")
        + f'<p class="note">{escape(METHOD)} {escape(_intensity(found))}</p>'
    )


def _used(work: Work, found: Emissions) -> str:
    if not work.calls:
        return "<p>The model has computed nothing yet. Ask it something on another tab, then come back.</p>"
    each_wh = found.energy_kwh * 1000 / work.calls
    return (
        f"<p>Since it started, its model has computed for {amount(work.busy_s)} s in {work.calls:,} "
        f"batch{'es' * (work.calls != 1)}, with {amount(work.processor_s)} s of processor time, on "
        f"{escape(found.hardware)}: <strong>{amount(found.energy_kwh * 1000)} Wh</strong>, "
        f"<strong>{amount(found.co2e_kg * 1000)} g CO2e</strong>, {amount(each_wh)} Wh a batch.</p>"
        f'<p class="note">An estimate, not a measurement at the plug. {escape(METER_METHOD)} PUE {found.pue:g}. '
        f"{escape(_intensity(found))}</p>"
    )


def _intensity(found: Emissions) -> str:
    if found.intensity_source == "given":
        return f"Electricity: {found.intensity_g_per_kwh:.4g} g CO2e per kWh, as given."
    return f"Electricity: {found.region}, {found.intensity_g_per_kwh:g} g CO2e per kWh ({found.intensity_source})."
