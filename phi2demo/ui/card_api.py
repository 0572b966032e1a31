"""The endpoint /card."""

import gradio as gr

from phi2demo.cards.shelf import Shelf
from phi2demo.ui.endpoint import told_to_client

NAME = "card"


def add_card_endpoint(shelf: Shelf) -> None:
    """Add /card to the current page. It asks no model, so it does not wait for one."""

    def card(use: str = "") -> str:
        """Give the model card of what is loaded, as Markdown with its front matter.

        Parameters:
            use: "finetuned", "base" or "second" (the second adapter); empty: finetuned where there is an adapter.

        Returns:
            The card; where the model's folder has none, one made from its files.
        """
        with told_to_client():
            return shelf.card(use or shelf.uses[0]).text

    gr.api(card, api_name=NAME, concurrency_id="cards", concurrency_limit=2)
