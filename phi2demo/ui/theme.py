"""The theme of the page: one accent, one type family, three sizes. The rest is in assets/style.css."""

from typing import Any

import gradio as gr

from phi2demo.settings import ASSETS

STYLES = [ASSETS / "style.css", ASSETS / "evaluate.css"]
SCRIPT = ASSETS / "page.js"

_FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

_BOTH = {
    "body_text_color_subdued": "var(--ink-2)",
    "background_fill_primary": "var(--panel)",
    "background_fill_secondary": "var(--paper)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--accent)",
    "color_accent_soft": "var(--accent-soft)",
    "block_background_fill": "transparent",
    "block_border_color": "var(--line)",
    "block_label_background_fill": "transparent",
    "block_label_text_color": "var(--ink-2)",
    "block_title_text_color": "var(--ink-2)",
    "block_title_background_fill": "transparent",
    "block_info_text_color": "var(--ink-2)",
    "input_background_fill": "var(--panel)",
    "input_background_fill_focus": "var(--panel)",
    "input_border_color": "var(--edge)",
    "input_border_color_focus": "var(--accent)",
    "input_placeholder_color": "var(--ink-2)",
    "button_primary_background_fill": "var(--accent)",
    "button_primary_background_fill_hover": "var(--accent-strong)",
    "button_primary_border_color": "var(--accent)",
    "button_primary_border_color_hover": "var(--accent-strong)",
    "button_primary_text_color": "var(--on-accent)",
    "button_secondary_background_fill": "var(--panel)",
    "button_secondary_background_fill_hover": "var(--accent-soft)",
    "button_secondary_border_color": "var(--edge)",
    "button_secondary_text_color": "var(--ink)",
    "slider_color": "var(--accent)",
    "link_text_color": "var(--accent)",
    "link_text_color_hover": "var(--accent-strong)",
    "link_text_color_visited": "var(--accent)",
    "link_text_color_active": "var(--accent-strong)",
    "error_background_fill": "var(--panel)",
    "error_border_color": "var(--danger)",
    "error_text_color": "var(--danger)",
}
"""Light and dark take the same names; assets/style.css gives them both values."""

_FIRST_PAINT = {
    "body_background_fill": "#f8f7f4",
    "body_background_fill_dark": "#15171a",
    "body_text_color": "#1f2326",
    "body_text_color_dark": "#e9e7e2",
}
"""--paper and --ink of assets/style.css: the page shows them before the style is there."""

_ONCE = {
    "color_accent": "var(--accent)",
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_padding": "0",
    "block_label_padding": "0",
    "block_radius": "8px",
    "input_radius": "8px",
    "input_border_width": "1px",
    "input_padding": "10px 12px",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "layout_gap": "20px",
    "form_gap_width": "0px",
    "button_large_padding": "9px 20px",
    "button_large_radius": "8px",
    "button_large_text_weight": "600",
    "button_small_padding": "5px 10px",
    "button_small_radius": "6px",
    "button_small_text_weight": "400",
    "button_transition": "background-color 0.12s",
    "container_radius": "8px",
    "block_title_text_weight": "500",
    "block_label_text_weight": "500",
    "shadow_drop": "none",
    "shadow_drop_lg": "0 4px 16px rgb(0 0 0 / 12%)",
}


def build_theme() -> Any:
    """Return the theme, for `launch`."""
    theme = gr.themes.Base(font=_FONT, font_mono=_MONO, spacing_size="md", radius_size="md", text_size="md")
    values = _ONCE | _FIRST_PAINT
    for name, value in _BOTH.items():
        values |= {name: value, f"{name}_dark": value}
    return theme.set(**values)
