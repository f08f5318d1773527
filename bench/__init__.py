"""What it costs: ratios against a peer or a limit within one run, medians of three."""
