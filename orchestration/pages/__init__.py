"""Pages for a browser that are put together from what several rooms give: of an evaluation, and of the demo."""
