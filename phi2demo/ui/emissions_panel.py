"""The panel of the Model tab with the energy and CO2e of this app so far."""

import math
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from phi2demo.emissions.footprint import WORLD, Emissions, regions
from phi2demo.emissions.meter import METHOD, Meter, MeterReading, detect_hardware, estimate_reading
from phi2demo.engine.loading import EngineLoader
from phi2demo.errors import Phi2DemoError
from phi2demo.ui import markup

_PRIVATE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class EmissionsPanel:
    """The components of the panel."""

    electricity: Any
    """The region whose electricity the app runs on."""
    update: Any
    used: Any


def build_emissions_panel() -> EmissionsPanel:
    """Lay out the panel."""
    gr.HTML('<h2 class="model-name">Energy and CO2e of this app</h2>', apply_default_css=False)
    used = gr.HTML("", apply_default_css=False, elem_classes="used")
    with gr.Row(elem_classes="used-actions"):
        electricity = gr.Dropdown(list(regions()), value=WORLD, label="Electricity of", elem_classes="region")
        update = gr.Button("Update", size="sm", min_width=0, scale=0)
    return EmissionsPanel(electricity, update, used)


def connect_emissions(panel: EmissionsPanel, handlers: "EmissionsHandlers") -> None:
    """Connect a new estimate with the region and the Update button."""
    for event in (panel.electricity.change, panel.update.click):
        event(handlers.used, panel.electricity, panel.used, **_PRIVATE)


class EmissionsHandlers:
    """Turns what the meter has counted into an estimate, or into an error in its place."""

    def __init__(self, loader: EngineLoader, meter: Meter) -> None:
        self._loader, self._meter = loader, meter

    def used(self, region: str) -> str:
        """Estimate what the app has used since it started, as HTML."""
        computed = self._meter.reading
        try:
            return _used(computed, self._estimate(computed, region))
        except Phi2DemoError as error:
            return markup.note(str(error), "warning")

    def _estimate(self, computed: MeterReading, region: str) -> Emissions:
        hardware = detect_hardware(self._loader.engine().info.device.partition(":")[0], 1)
        return estimate_reading(computed, hardware, region=region)


def _used(computed: MeterReading, estimate: Emissions) -> str:
    if not computed.calls:
        return "<p>The model has computed nothing yet. Ask it something on another tab, then come back.</p>"
    each_wh = estimate.energy_kwh * 1000 / computed.calls
    return (
        f"<p>Since it started, its model has computed for {_amount(computed.busy_s)} s in {computed.calls:,} "
        f"batch{'es' * (computed.calls != 1)}, with {_amount(computed.processor_s)} s of processor time, on "
        f"{escape(estimate.hardware)}: <strong>{_amount(estimate.energy_kwh * 1000)} Wh</strong>, "
        f"<strong>{_amount(estimate.co2e_kg * 1000)} g CO2e</strong>, {_amount(each_wh)} Wh a batch.</p>"
        f'<p class="note">An estimate, not a measurement at the plug. {escape(METHOD)} PUE {estimate.pue:g}. '
        f"{escape(_intensity(estimate))}</p>"
    )


def _intensity(estimate: Emissions) -> str:
    return f"Electricity: {estimate.region}, {estimate.intensity_g_per_kwh:g} g CO2e per kWh ({estimate.intensity_source})."


def _amount(value: float) -> str:
    """Write four significant digits, with commas between thousands."""
    if value == 0:
        return "0"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 12)}f}"
