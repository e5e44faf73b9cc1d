"""The HTML report: its content as blocks, its figures as Vega-Lite charts, and the page that holds them."""
